from __future__ import annotations

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.thresholds._tails import rank_above
from isthmus.thresholds.base import Scores, Threshold


class Capacity(Threshold):
    """As many odd rows as somebody can look at: on average at most so many in every so many new rows.

    New rows must come from where those came from that it is fitted on, odd ones included. For an exact number in one
    batch there is `AnomalyDetector.predict_batch(X, at_most=20)`.

    Parameters
    ----------
    rows : how many rows can be looked at, at least 1.
    of : among how many, more than `rows`.
    calibration : share of the rows kept out of training to set the cut, between 0 and 1.

    Raises
    ------
    SettingError : where as many rows can be looked at as there are.
    DataError : when too few rows are kept out for so few.

    >>> import numpy as np
    >>> scores = np.arange(1.0, 100.0)
    >>> float((scores > Capacity(rows=5, of=100).cut(scores)).sum())
    4.0
    """

    limits = {"rows": Limit(1, whole=True), "of": Limit(2, whole=True), "calibration": Limit(0, 1, between=True)}

    def __init__(self, rows: int = 10, of: int = 1000, calibration: float = 0.2):
        self.rows = rows
        self.of = of
        self.calibration = calibration

    def check(self) -> None:
        super().check()
        if self.rows >= self.of:
            raise SettingError(f"rows of capacity is {self.rows} and of is {self.of}; it must be less than that.")

    def cut(self, scores: Scores) -> float:
        return rank_above(scores, self.rows / self.of)
