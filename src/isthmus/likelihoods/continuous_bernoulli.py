from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec

# Below this size of the logit the formulas divide a small difference by a small number; a series takes their place.
SMALL = 0.5


class ContinuousBernoulli(Likelihood):
    """Values anywhere in [0, 1], as grey levels are: a density over the whole interval, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders".
    Binary cross-entropy of values between 0 and 1 is no density: what is missing is a constant that depends on the
    logit, and with it the distortion of a grey pixel is right relative to the code's rate. The mean stays nearer to
    1/2 than the sigmoid of the logit; the most probable value is an end of the interval.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = ContinuousBernoulli()(torch.tensor([[0.0, 4.0]]), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.3, 0.9]])), law.mean
    (tensor([[ 0.0000, -1.0048]]), tensor([[0.5000, 0.7687]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("cb",)
    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        return _ContinuousBernoulli(raw)


class _ContinuousBernoulli(Distribution):
    """The density is exp(l x) / ((exp(l) - 1) / l) for the logit l, and flat where that is 0."""

    def __init__(self, logits: Tensor):
        self.logits = logits
        self.small = logits.abs() < SMALL
        # where the series is used, the formula must not see what would make its gradient infinite
        self._safe = torch.where(self.small, 1.0, logits)

    def nll(self, target: Tensor) -> Tensor:
        size = self._safe.abs()
        formula = self._safe.clamp_min(0) + torch.log(-torch.expm1(-size) / size)
        square = (self.logits / 2).square()
        series = self.logits / 2 + square * (
            1 / 6 + square * (-1 / 180 + square * (1 / 2835 + square * (-1 / 37800 + square / 467775)))
        )
        return torch.where(self.small, series, formula) - target * self.logits

    @property
    def mean(self) -> Tensor:
        half = self._safe / 2
        formula = 1 / torch.tanh(half) - 1 / half
        half = self.logits / 2
        square = half.square()
        series = half * (1 / 3 + square * (-1 / 45 + square * (2 / 945 + square * (-1 / 4725 + square * 2 / 93555))))
        return 0.5 + 0.5 * torch.where(self.small, series, formula)

    @property
    def point(self) -> Tensor:
        return (self.logits > 0).to(self.logits)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        logits = self.logits
        tiny = torch.finfo(logits.dtype).eps / 2
        share = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
        # the law of -l is that of l seen from the other end; from below 0 the inverse of the distribution is exact
        slope = -logits.abs().clamp_min(tiny)
        below = torch.log1p(share.clamp_max(1 - tiny) * torch.expm1(slope)) / slope
        return torch.where(logits > 0, 1 - below, below).clamp(0, 1)
