"""Scores of any unit, brought to one: how rare it is among usual samples to be as odd, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus.scores.base import tensor

#: Share of the usual samples beyond which the tail is a law and no longer a count.
TAIL = 0.1
#: Points of the curve below it.
KNOTS = 64


class Tail:
    """Minus the log of the share of usual samples that score at least as high, and its extrapolation.

    Up to where a tenth of them are left it is counted; from there on the excess follows an exponential law.

    Parameters
    ----------
    knots : scores, rising, (n,).
    nats : the nats at each of them.
    slope : nats for each unit of score beyond the last.

    >>> tail = Tail.fit(torch.arange(1000.0))
    >>> [round(float(nats), 1) for nats in tail(torch.tensor([0.0, 500.0, 900.0, 5000.0]))]
    [0.0, 0.7, 2.3, 83.7]
    """

    def __init__(self, knots: Tensor, nats: Tensor, slope: Tensor):
        self.knots, self.nats, self.slope = knots, nats, slope

    @classmethod
    def fit(cls, scores: Tensor) -> Tail:
        """Learn it from the scores of usual samples, (n,)."""
        scores = scores.double()
        nats = torch.linspace(0.0, -math.log(TAIL), KNOTS, dtype=torch.float64)
        knots = scores.quantile(1 - torch.exp(-nats))
        excess = scores[scores > knots[-1]] - knots[-1]
        least = 1e-3 * (knots[-1] - knots[0]) + 1e-9 * knots[-1].abs() + 1e-30
        mean = excess.mean() if len(excess) else least
        return cls(knots, nats, 1 / torch.maximum(mean, least))

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Tail:
        """The inverse of `state`."""
        knots = tensor(state, "knots", (None,))
        return cls(knots, tensor(state, "nats", (len(knots),)), tensor(state, "slope", ()))

    def state(self) -> dict[str, Tensor]:
        """All of it."""
        return {"knots": self.knots, "nats": self.nats, "slope": self.slope}

    def __call__(self, scores: Tensor) -> Tensor:
        """The nats of these scores, (n,): never falling where the scores rise."""
        knots, nats = self.knots.to(scores), self.nats.to(scores)
        place = torch.searchsorted(knots, scores.contiguous()).clamp(1, len(knots) - 1)
        low, high = knots[place - 1], knots[place]
        share = ((scores - low) / (high - low).clamp_min(torch.finfo(scores.dtype).tiny)).clamp(0, 1)
        inside = nats[place - 1] + share * (nats[place] - nats[place - 1])
        return inside + (scores - knots[-1]).clamp_min(0) * self.slope.to(scores)
