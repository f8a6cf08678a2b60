"""The upper end of scores: the cut that so large a share of new ones lies above, by ranks or by a fitted tail.

Axes: n scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from isthmus.errors import DataError
from isthmus.thresholds.base import Scores


def rank_above(scores: Scores, rate: float) -> float:
    """The smallest score that a new one, from where these came from, exceeds with probability `rate` at most.

    Raises
    ------
    DataError : when there are too few scores for so small a rate.

    >>> rank_above(np.arange(1.0, 100.0), 0.1)
    90.0
    """
    n = len(scores)
    rank = math.ceil((n + 1) * (1 - rate) - 1e-9)  # 0.05 and the like are no sums of powers of two
    if rank > n:
        needed = math.ceil(1 / rate - 1e-9) - 1
        raise DataError(
            f"a false-alarm rate of {rate:g} needs at least {needed} rows kept out of training, and there are "
            f"{n}; give more rows, a larger calibration share or a larger rate."
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


@dataclass(frozen=True)
class Pareto:
    """A generalised Pareto law of what exceeds a level; shape 0 is the exponential law, below 0 the tail ends."""

    shape: float
    scale: float

    def quantile(self, above: float) -> float:
        """What is exceeded with this probability."""
        if abs(self.shape) < 1e-9:
            return -self.scale * math.log(above)
        return self.scale / self.shape * math.expm1(-self.shape * math.log(above))


def fit_tail(excesses: Scores) -> Pareto:
    """The law that makes these excesses, all above 0, most likely, by SciPy."""
    from scipy.stats import genpareto

    unit = float(np.mean(excesses))
    values = np.sort(excesses / unit)  # sorted, so that the order of rows changes no digit
    variance = max(float(np.var(values)), 1e-6)
    shape, scale = 0.5 * (1 - 1 / variance), 0.5 * (1 + 1 / variance)  # as the moments have it, a mean of 1
    shape, _, scale = genpareto.fit(values, shape, floc=0.0, scale=scale)
    return Pareto(float(shape), unit * float(scale))


def rank_for_certain(scores: Scores, rate: float, confidence: float) -> float:
    """The smallest score that new ones exceed at a rate of `rate` at most, with this confidence.

    How often the score of rank k among n is exceeded follows a beta law with n + 1 - k and k.

    Raises
    ------
    DataError : when there are too few scores for that.
    """
    from scipy.stats import beta

    n = len(scores)
    ranks = np.arange(1, n + 1)
    enough = np.flatnonzero(beta.ppf(confidence, n + 1 - ranks, ranks) <= rate)
    if not len(enough):
        needed = math.ceil(math.log1p(-confidence) / math.log1p(-rate))
        raise DataError(
            f"a false-alarm rate of {rate:g} with a confidence of {confidence:g} needs at least {needed} rows kept out "
            f"of training, and there are {n}; give more rows, a larger calibration share or a smaller confidence."
        )
    return float(np.partition(scores, enough[0])[enough[0]])
