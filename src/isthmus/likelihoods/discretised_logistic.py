from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.likelihoods._scale import split_scale
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec

# With a scale of a level or more, sums over levels are integrals up to a smooth correction; below, the logistic
# function is 0 or 1 to within 1e-8 at this many levels from its centre.
WINDOW = 20


class DiscretisedLogistic(Likelihood):
    """Pixels as the whole numbers that they are: the probability of each of 2**bits levels, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    A logistic law is cut into the levels 0, 1 / (2**bits - 1), ..., 1; what it says below 0 and above 1 goes to the
    first and the last level. Salimans et al. 2017, "PixelCNN++", with one logistic for each value. The decoder gives
    two numbers per value, the centre, measured from mid-grey, and the scale. A target between two levels counts as the
    nearer one. Divided by log 2, the distortion is the bits that a lossless code of the picture takes, given its code.

    Parameters
    ----------
    bits : log2 of the number of levels, 8 for usual pictures; from 1 to 16.
    minimum : the smallest scale that can be learned, in units of the scaled data, where white is 1.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = DiscretisedLogistic(bits=1)(torch.zeros(1, 2), SampleSpec((1,)))
    >>> law.nll(torch.tensor([[1.0]])), law.mean
    (tensor([[0.6931]]), tensor([[0.5000]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("discretized_logistic", "logistic")
    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)
    limits = {"bits": Limit(1, 16, whole=True), "minimum": Limit(1e-6, 1)}

    def __init__(self, bits: int = 8, minimum: float = 1e-3):
        self.bits = bits
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(bits=6, minimum=0.01)]

    @property
    def levels(self) -> int:
        """How many values a target can have, evenly spread from 0 to 1."""
        return 1 << self.bits

    def n_parameters(self, spec: SampleSpec) -> int:
        return 2 * spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        centre, scale = split_scale(raw, "learned", self.minimum, spec.axis)
        last = self.levels - 1
        return _DiscretisedLogistic(last * (centre + 0.5), last * scale, last)


class _DiscretisedLogistic(Distribution):
    """Centre and scale are in levels, which are 0, 1, ..., last; level k is what lies between k - 1/2 and k + 1/2."""

    def __init__(self, centre: Tensor, scale: Tensor, last: int):
        self.centre = centre
        self.scale = scale
        self.last = last

    def nll(self, target: Tensor) -> Tensor:
        return self._nll((target * self.last).round().clamp(0, self.last))

    def _nll(self, level: Tensor) -> Tensor:
        """With F the logistic function, log(F(a) - F(b)) = log F(a) + log F(-b) + log(1 - exp(b - a)), where each term
        is exact however far away the centre is; the first and the last level have one border only.
        """
        above, below = ((level + half - self.centre) / self.scale for half in (0.5, -0.5))
        first, last = level <= 0, level >= self.last
        width = torch.log(-torch.expm1(-1 / self.scale).clamp_max(-torch.finfo(self.scale.dtype).tiny))
        inner = torch.where(first | last, 0.0, width)
        upper = torch.where(last, 0.0, functional.logsigmoid(above))
        lower = torch.where(first, 0.0, functional.logsigmoid(-below))
        return -(inner + upper + lower)

    @property
    def mean(self) -> Tensor:
        """The sum of P(level >= k) over k = 1, ..., last."""
        return torch.where(self.scale < 1, self._sum_near(), self._sum_smooth()).clamp(0, self.last) / self.last

    def _sum_near(self) -> Tensor:
        """Term by term near the centre; levels further below are reached for certain, those above never."""
        lowest = self.centre.floor() - WINDOW
        total = lowest.clamp(0, self.last)
        for step in range(2 * WINDOW):
            border = lowest + step  # between this level and the next
            counts = (border >= 0) & (border < self.last)
            total = total + torch.where(counts, torch.sigmoid((self.centre - border - 0.5) / self.scale), 0.0)
        return total

    def _sum_smooth(self) -> Tensor:
        """The integral from 0 to last, and the first two corrections of Euler and Maclaurin at the ends."""
        beyond = (self.centre - self.last) / self.scale
        total = self.scale * _rise_of_softplus(beyond, self.last / self.scale)
        for sign, distance in ((1, self.centre / self.scale), (-1, beyond)):
            slope = torch.sigmoid(distance) * torch.sigmoid(-distance)
            total = total - sign * slope / (24 * self.scale)
            total = total + sign * 7 * slope * (1 - 6 * slope) / (5760 * self.scale**3)
        return total

    @property
    def point(self) -> Tensor:
        """The level at the centre, or an end: they also have what lies beyond them."""
        nearest = self.centre.round().clamp(0, self.last)
        candidates = torch.stack([nearest, torch.zeros_like(nearest), torch.full_like(nearest, self.last)])
        nll = torch.stack([self._nll(level) for level in candidates])
        return candidates.gather(0, nll.argmin(0, keepdim=True)).squeeze(0) / self.last

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        centre = self.centre
        share = torch.rand(centre.shape, generator=generator, device=centre.device, dtype=centre.dtype)
        tiny = torch.finfo(centre.dtype).eps / 2
        return (centre + self.scale * torch.logit(share.clamp(tiny, 1 - tiny))).round().clamp(0, self.last) / self.last


def _rise_of_softplus(start: Tensor, step: Tensor) -> Tensor:
    """softplus(start + step) - softplus(start), exact for small steps too; steps are positive."""
    small = torch.log1p(torch.sigmoid(start) * torch.expm1(step.clamp_max(30)))
    return torch.where(step < 30, small, functional.softplus(start + step) - functional.softplus(start))
