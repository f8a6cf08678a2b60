from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.errors import SettingError
from isthmus.likelihoods._counts import gamma_draw, wide
from isthmus.likelihoods._scale import split_scale
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec


class StudentT(Likelihood):
    """Real numbers with outliers: far from its centre the law falls as a power, so that no single value rules the loss.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Lange, Little & Taylor 1989, "Robust Statistical Modeling Using the t Distribution". The decoder gives the centre,
    then the scale where that is learned, then the degrees of freedom where they are.

    Parameters
    ----------
    degrees_of_freedom : how fast the tails fall, above 1: 2 to 5 for many outliers, 30 is nearly normal; or "learned",
        then above 2, so that the variance is finite.
    scale : the width of the middle in units of the scaled data, or "learned". The standard deviation is larger, by
        sqrt(degrees_of_freedom / (degrees_of_freedom - 2)).
    minimum : the smallest scale that can be learned.

    Raises
    ------
    SettingError : for a scale that is neither a positive number nor "learned", or degrees of freedom that are neither
        a number above 1 nor "learned".

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = StudentT(degrees_of_freedom=3.0)(torch.zeros(1, 3), SampleSpec((3,)))
    >>> law.nll(torch.tensor([[0.0, 3.0, 30.0]]))
    tensor([[ 1.0009,  3.7735, 12.4151]])
    """

    aliases: ClassVar[tuple[str, ...]] = ("t", "student")

    def __init__(
        self,
        degrees_of_freedom: float | Literal["learned"] = 4.0,
        scale: float | Literal["learned"] = 1.0,
        minimum: float = 1e-2,
    ):
        self.degrees_of_freedom = degrees_of_freedom
        self.scale = scale
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(scale="learned"), cls(degrees_of_freedom="learned", scale="learned")]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels * (1 + (self.scale == "learned") + (self.degrees_of_freedom == "learned"))

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        degrees: float | str = self.degrees_of_freedom
        if degrees == "learned":
            rest = raw.shape[spec.axis] - spec.n_channels
            raw, free = raw.split([rest, spec.n_channels], dim=spec.axis)
            return _StudentT(*split_scale(raw, self.scale, self.minimum, spec.axis), 2 + functional.softplus(free))
        if isinstance(degrees, str) or not degrees > 1:
            raise SettingError(f"degrees_of_freedom is {degrees!r}; it must be a number above 1, or 'learned'.")
        return _StudentT(*split_scale(raw, self.scale, self.minimum, spec.axis), raw.new_tensor(degrees))


class _StudentT(Distribution):
    def __init__(self, centre: Tensor, scale: Tensor, degrees: Tensor):
        self._centre = centre
        self._scale = scale
        self._degrees = degrees

    def nll(self, target: Tensor) -> Tensor:
        half = wide(self._degrees) / 2
        norm = torch.lgamma(half) - torch.lgamma(half + 0.5) + 0.5 * (2 * math.pi * half).log()
        square = ((target - self._centre) / self._scale).square()
        tail = (self._degrees + 1) / 2 * torch.log1p(square / self._degrees)
        return norm.to(tail) + self._scale.log() + tail

    @property
    def mean(self) -> Tensor:
        return self._centre

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        centre = self._centre
        noise = torch.randn(centre.shape, generator=generator, device=centre.device, dtype=centre.dtype)
        half = (self._degrees / 2).expand_as(centre)
        return centre + self._scale * noise * (half / gamma_draw(half, generator)).sqrt()

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        return self.sample(generator) if self._scale.ndim else self._centre
