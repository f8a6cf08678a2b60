from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from isthmus.likelihoods._scale import split_scale
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec


class Laplace(Likelihood):
    """Real numbers with heavier tails than the normal law: absolute error, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Parameters
    ----------
    scale : mean absolute deviation of the noise in units of the scaled data, or "learned".
    minimum : the smallest scale that can be learned.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Laplace()(torch.zeros(1, 2), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 3.0]]))
    tensor([[0.6931, 3.6931]])
    """

    aliases: ClassVar[tuple[str, ...]] = ("l1", "mae_loss")

    def __init__(self, scale: float | Literal["learned"] = 1.0, minimum: float = 1e-2):
        self.scale = scale
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(scale="learned")]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels * (2 if self.scale == "learned" else 1)

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        return _Laplace(*split_scale(raw, self.scale, self.minimum, spec.axis))


class _Laplace(Distribution):
    def __init__(self, mean: Tensor, scale: Tensor):
        self._mean = mean
        self._scale = scale

    def nll(self, target: Tensor) -> Tensor:
        return (target - self._mean).abs() / self._scale + self._scale.log() + math.log(2)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        mean = self._mean
        uniform = torch.rand(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype) - 0.5
        # rand can be 0, which would be an infinite draw
        share = (-2 * uniform.abs()).clamp_min(torch.finfo(mean.dtype).eps - 1)
        return mean - self._scale * uniform.sign() * torch.log1p(share)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(generator) if self._scale.ndim else self._mean
