from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.likelihoods._counts import gamma_draw, split_dispersion, wide
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class BetaBinomial(Likelihood):
    """Pixels as the whole numbers that they are, or shares of a known number of trials: each gets its probability.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    The number of successes among `trials`, whose probability follows a beta law; values are that number divided by
    `trials`, from 0 to 1. Unlike a logistic law cut into levels it is smooth at both ends and may be high at either or
    at both. The decoder gives two numbers per value: the logit of the mean, and the spread. A target between two levels
    counts as the nearer one.

    Parameters
    ----------
    trials : how many trials; 255 for pictures of 256 levels.
    minimum : the smallest spread that can be learned, where the beta law's two parameters sum to 1 / spread; towards 0
        the law is binomial, which is the narrowest there is.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = BetaBinomial(trials=2)(torch.tensor([[0.0, 0.5413]]), SampleSpec((1,)))  # a spread of 1
    >>> law.nll(torch.tensor([[0.0], [0.5], [1.0]])).exp().reciprocal(), law.mean
    (tensor([[0.3750],
            [0.2500],
            [0.3750]]), tensor([[0.5000]]))
    """

    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)
    limits = {"trials": Limit(1, 1_000_000, whole=True), "minimum": Limit(1e-6, 1)}

    def __init__(self, trials: int = 255, minimum: float = 1e-4):
        self.trials = trials
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(trials=63, minimum=0.01)]

    @property
    def levels(self) -> int:
        """How many values a target can have, evenly spread from 0 to 1."""
        return self.trials + 1

    def n_parameters(self, spec: SampleSpec) -> int:
        return 2 * spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        return _BetaBinomial(*split_dispersion(raw, "learned", self.minimum, spec.axis), self.trials)


class _BetaBinomial(Distribution):
    def __init__(self, logits: Tensor, spread: Tensor, trials: int):
        self.logits = logits
        self.spread = spread
        self.trials = trials

    def _logs(self) -> tuple[Tensor, Tensor]:
        """The logs of the beta law's two parameters."""
        logits, size = wide(self.logits), wide(self.spread).log()
        return functional.logsigmoid(logits) - size, functional.logsigmoid(-logits) - size

    def nll(self, target: Tensor) -> Tensor:
        return self._nll((wide(target) * self.trials).round().clamp(0, self.trials))

    def _nll(self, hits: Tensor) -> Tensor:
        misses, size = self.trials - hits, 1 / wide(self.spread)
        first, second = self._logs()
        trials = hits.new_tensor(self.trials)
        ways = torch.lgamma(trials + 1) - torch.lgamma(hits + 1) - torch.lgamma(misses + 1)
        chance = _log_rising(first, hits) + _log_rising(second, misses)
        return (torch.lgamma(size + trials) - torch.lgamma(size) - ways - chance).to(self.logits)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def point(self) -> Tensor:
        """An end, or the level where the ratio of neighbours falls below 1, which happens once at most."""
        first, second = (logs.exp() for logs in self._logs())
        turn = (self.trials * (first - 1) + 1 - second) / (first + second - 2)
        inside = torch.nan_to_num(turn.floor() + 1).clamp(0, self.trials)
        candidates = torch.stack([inside, torch.zeros_like(inside), torch.full_like(inside, self.trials)])
        nll = torch.stack([self._nll(hits) for hits in candidates])
        best = candidates.gather(0, nll.argmin(0, keepdim=True)).squeeze(0)
        return (best / self.trials).to(self.logits)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        drawn = [self._log_gamma(logs, generator) for logs in self._logs()]
        chance = torch.sigmoid(drawn[0] - drawn[1])
        hits = torch.binomial(torch.full_like(chance, self.trials), chance, generator=generator)
        return (hits / self.trials).to(self.logits)

    def _log_gamma(self, logs: Tensor, generator: torch.Generator | None) -> Tensor:
        """The log of a gamma draw, also where the draw itself would be 0: that of Γ(a) is Γ(a + 1) U^(1/a)."""
        size = logs.exp()
        share = torch.rand(logs.shape, generator=generator, device=logs.device, dtype=logs.dtype)
        tiny = torch.finfo(logs.dtype).tiny
        return gamma_draw(size + 1, generator).log() + share.clamp_min(tiny).log() / size.clamp_min(tiny)


def _log_rising(log_start: Tensor, steps: Tensor) -> Tensor:
    """log(a (a + 1) ... (a + steps - 1)) for the log of a, however small that is."""
    start = log_start.exp()
    rest = torch.lgamma(start + steps.clamp_min(1)) - torch.lgamma(start + 1)
    return torch.where(steps > 0, log_start + rest, 0.0)
