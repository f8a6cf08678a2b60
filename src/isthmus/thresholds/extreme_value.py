from __future__ import annotations

import numpy as np

from isthmus.errors import DataError
from isthmus.part import Limit
from isthmus.thresholds._tails import fit_tail, rank_above
from isthmus.thresholds.base import Scores, Threshold

FEWEST = 10  # scores in the tail that a law is fitted on


class ExtremeValue(Threshold):
    """A very small false-alarm rate, from fewer rows than it would take to see one such alarm.

    Peaks over threshold (Siffer et al. 2017): what the largest scores exceed a high level by follows, whatever the law
    of the scores, nearly a generalised Pareto law. It is fitted on rows kept out of training and gives the cut beyond
    the largest of them. Where `Conformal` has rows enough, its promise is safer.

    Parameters
    ----------
    rate : the false-alarm rate, between 0 and 1.
    tail : share of the rows that count as the tail, between 0 and 1; for a rate that is not smaller it is `Conformal`.
    calibration : share of the rows kept out of training to set the cut, between 0 and 1.

    Raises
    ------
    SettingError : for a rate, tail or calibration share outside (0, 1).
    DataError : when fewer than ten different scores are in the tail.

    >>> import numpy as np
    >>> scores = np.random.default_rng(0).exponential(size=400)
    >>> 5 < ExtremeValue(0.001).cut(scores) < 9  # of this law a thousandth lies above 6.9
    True
    """

    aliases = ("pot", "peaks_over_threshold", "evt")
    limits = {
        "rate": Limit(0, 1, between=True),
        "tail": Limit(0, 1, between=True),
        "calibration": Limit(0, 1, between=True),
    }

    def __init__(self, rate: float = 0.001, tail: float = 0.1, calibration: float = 0.2):
        self.rate = rate
        self.tail = tail
        self.calibration = calibration

    def cut(self, scores: Scores) -> float:
        if self.rate >= self.tail:
            return rank_above(scores, self.rate)
        level = float(np.quantile(scores, 1 - self.tail))
        excesses = scores[scores > level] - level
        if len(np.unique(excesses)) < FEWEST:
            raise DataError(
                f"{len(np.unique(excesses))} different scores lie in the tail, the largest {self.tail:g} of "
                f"{len(scores)}, and {FEWEST} are needed; give more rows, or a larger tail or calibration share."
            )
        return level + fit_tail(excesses).quantile(self.rate * len(scores) / len(excesses))
