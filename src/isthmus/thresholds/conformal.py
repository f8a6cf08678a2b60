from __future__ import annotations

import math

import numpy as np

from isthmus.errors import DataError
from isthmus.part import Limit
from isthmus.thresholds.base import Scores, Threshold


class Conformal(Threshold):
    """Promises a false-alarm rate: of new usual rows at most this share is called odd, on average.

    Split-conformal (Vovk et al. 2005; Bates et al. 2023): the cut is set on rows kept out of training, and holds for
    any model as long as new usual rows come from where these came from.

    Parameters
    ----------
    rate : the false-alarm rate, between 0 and 1.
    calibration : share of the rows kept out of training to set the cut, between 0 and 1.

    Raises
    ------
    SettingError : for a rate or calibration share outside (0, 1).
    DataError : when too few rows are kept out for so small a rate.

    >>> import numpy as np
    >>> Conformal(0.1).cut(np.arange(1.0, 100.0))
    90.0
    """

    limits = {"rate": Limit(0, 1, between=True), "calibration": Limit(0, 1, between=True)}

    def __init__(self, rate: float = 0.05, calibration: float = 0.2):
        self.rate = rate
        self.calibration = calibration

    def cut(self, scores: Scores) -> float:
        rank = math.ceil((len(scores) + 1) * (1 - self.rate))
        if rank > len(scores):
            needed = math.ceil(1 / self.rate) - 1
            raise DataError(
                f"a false-alarm rate of {self.rate:g} needs at least {needed} rows kept out of training, and there are "
                f"{len(scores)}; give more rows, a larger calibration share or a larger rate."
            )
        return float(np.sort(scores)[rank - 1])
