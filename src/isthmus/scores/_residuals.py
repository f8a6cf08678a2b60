"""What the model missed, and in which units: those of the misses of samples that were held out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus.errors import ModelFileError
from isthmus.reconstruction import Reconstruction
from isthmus.scores.base import tensor

#: Of more numbers than these only the variances are learned: a covariance would be large, and known badly.
MOST_NUMBERS = 1024
#: Of a variance in any direction, as a share of the mean one: directions that the model always gives back stay finite.
FLOOR = 1e-3


def returned(pass_: Reconstruction) -> Tensor:
    """What came back, (B, d)."""
    assert pass_.output is not None
    mean = pass_.output.mean
    return (mean.mean(0) if mean.ndim > pass_.target.ndim else mean).flatten(1)


def residual_of(pass_: Reconstruction) -> Tensor:
    """What was missed, (B, d); nothing where a value is absent."""
    residual = pass_.target.flatten(1) - returned(pass_)
    return residual if pass_.weight is None else torch.where(pass_.weight.flatten(1) > 0, residual, 0.0)


class Whitening:
    """Residuals in units of usual ones: with mean zero, and variance one in every direction.

    Parameters
    ----------
    mean : of usual residuals, (d,).
    factor : what they are multiplied by, (d, d), or (d,) of variances alone.
    """

    def __init__(self, mean: Tensor, factor: Tensor):
        self.mean, self.factor = mean, factor

    @classmethod
    def fit(cls, residual: Tensor, shrinkage: float) -> Whitening:
        """Learn it from usual residuals, (n, d), their covariance drawn towards its diagonal."""
        residual = residual.double()
        mean = residual.mean(0)
        residual = residual - mean
        variance = residual.square().mean(0)
        floor = FLOOR * variance.mean() + 1e-12
        if residual.shape[1] > MOST_NUMBERS:
            return cls(mean, (variance + floor).rsqrt())
        covariance = (1 - shrinkage) * (residual.mT @ residual / len(residual))
        values, vectors = torch.linalg.eigh(covariance + torch.diag(shrinkage * variance + floor))
        # contiguous as it will be out of a file, so that products round alike
        return cls(mean, (vectors * torch.maximum(values, floor).rsqrt()).contiguous())

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Whitening:
        """The inverse of `state`."""
        mean = tensor(state, "mean", (None,))
        found, size = state.get("factor"), len(mean)
        if found is None or tuple(found.shape) not in ((size,), (size, size)):
            raise ModelFileError("'factor' of a score in this file is missing or has another shape than its mean.")
        return cls(mean, found.double())

    def state(self) -> dict[str, Tensor]:
        """All of it."""
        return {"mean": self.mean, "factor": self.factor}

    def __call__(self, residual: Tensor) -> Tensor:
        """Residuals, (n, d), whitened."""
        factor, residual = self.factor.to(residual), residual - self.mean.to(residual)
        return residual * factor if factor.ndim == 1 else residual @ factor
