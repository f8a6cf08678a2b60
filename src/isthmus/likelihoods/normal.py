from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from isthmus.likelihoods._scale import split_scale
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec


class Normal(Likelihood):
    """Real numbers with normal noise: squared error, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    With a fixed scale the distortion is squared error / (2 scale²) plus a constant. With a learned scale the decoder
    also says how sure it is of each element (Nix & Weigend 1994).

    Parameters
    ----------
    scale : standard deviation of the noise in units of the scaled data, or "learned".
    minimum : the smallest scale that can be learned; keeps the likelihood finite.

    Raises
    ------
    SettingError : for a scale that is neither a positive number nor "learned".

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Normal(scale=2.0)(torch.zeros(1, 3), SampleSpec((3,)))
    >>> law.nll(torch.tensor([[0.0, 2.0, 4.0]]))
    tensor([[1.6121, 2.1121, 3.6121]])
    """

    aliases: ClassVar[tuple[str, ...]] = ("mse", "gaussian")

    def __init__(self, scale: float | Literal["learned"] = 1.0, minimum: float = 1e-2):
        self.scale = scale
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(scale="learned")]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels * (2 if self.scale == "learned" else 1)

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        mean, scale = split_scale(raw, self.scale, self.minimum, spec.axis)
        return _Normal(mean, scale)


class _Normal(Distribution):
    def __init__(self, mean: Tensor, scale: Tensor):
        self._mean = mean
        self._scale = scale

    def nll(self, target: Tensor) -> Tensor:
        standard = (target - self._mean) / self._scale
        return 0.5 * standard.square() + self._scale.log() + 0.5 * math.log(2 * math.pi)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        mean = self._mean
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + self._scale * noise

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(generator) if self._scale.ndim else self._mean
