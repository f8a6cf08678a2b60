from __future__ import annotations

from typing import Self

from isthmus.part import Limit
from isthmus.thresholds._tails import rank_above, rank_for_certain
from isthmus.thresholds.base import Scores, Threshold


class Conformal(Threshold):
    """Promises a false-alarm rate: of new usual rows at most this share is called odd, on average.

    Split-conformal (Vovk et al. 2005; Bates et al. 2023): the cut is set on rows kept out of training, and holds for
    any model as long as new usual rows come from where these came from. With few rows kept out the rate of one model
    may well be larger than asked, that of another smaller; `confidence` promises it for this very model.

    Parameters
    ----------
    rate : the false-alarm rate, between 0 and 1.
    calibration : share of the rows kept out of training to set the cut, between 0 and 1.
    confidence : how likely it shall be that this model's own rate is at most `rate`, between 0 and 1; None promises the
        rate on average over models.

    Raises
    ------
    SettingError : for a rate, calibration share or confidence outside (0, 1).
    DataError : when too few rows are kept out for so small a rate.

    >>> import numpy as np
    >>> Conformal(0.1).cut(np.arange(1.0, 100.0)), Conformal(0.1, confidence=0.95).cut(np.arange(1.0, 100.0))
    (90.0, 95.0)
    """

    limits = {
        "rate": Limit(0, 1, between=True),
        "calibration": Limit(0, 1, between=True),
        "confidence": Limit(0, 1, between=True, optional=True),
    }

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(confidence=0.9)]

    def __init__(self, rate: float = 0.05, calibration: float = 0.2, confidence: float | None = None):
        self.rate = rate
        self.calibration = calibration
        self.confidence = confidence

    def cut(self, scores: Scores) -> float:
        if self.confidence is None:
            return rank_above(scores, self.rate)
        return rank_for_certain(scores, self.rate, self.confidence)
