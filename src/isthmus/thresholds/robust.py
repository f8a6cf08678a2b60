from __future__ import annotations

import numpy as np

from isthmus.part import Limit
from isthmus.thresholds.base import Scores, Threshold

PER_MEDIAN_DEVIATION = 1.4826  # standard deviations in a median absolute deviation, of a normal law
PER_MEAN_DEVIATION = 1.2533  # and in a mean absolute deviation


class Robust(Threshold):
    """The median of the scores plus k standard deviations, as the median absolute deviation tells them.

    A few odd rows among those that the cut is set on move neither the median nor the deviation (Iglewicz and Hoaglin
    1993). Where more than half of the scores are the same, the mean absolute deviation from the median counts.

    Parameters
    ----------
    k : how many standard deviations, at least 0.

    Raises
    ------
    SettingError : for a k below 0.

    >>> import numpy as np
    >>> usual = np.random.default_rng(0).normal(size=999)
    >>> spoiled = np.append(usual, [1000.0] * 30)
    >>> round(Robust(k=3.0).cut(usual), 1), round(Robust(k=3.0).cut(spoiled), 1)
    (2.8, 3.0)
    """

    aliases = ("mad", "median")
    limits = {"k": Limit(0)}

    def __init__(self, k: float = 3.5):
        self.k = k

    def cut(self, scores: Scores) -> float:
        middle = float(np.median(scores))
        distances = np.abs(scores - middle)
        spread = PER_MEDIAN_DEVIATION * float(np.median(distances)) or PER_MEAN_DEVIATION * float(np.mean(distances))
        return middle + self.k * spread
