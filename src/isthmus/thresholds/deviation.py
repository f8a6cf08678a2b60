from __future__ import annotations

import numpy as np

from isthmus.thresholds.base import Scores, Threshold


class Deviation(Threshold):
    """The mean of the training scores plus k standard deviations.

    Parameters
    ----------
    k : how many standard deviations.

    >>> import numpy as np
    >>> Deviation(k=2.0).cut(np.array([1.0, 3.0]))
    4.0
    """

    aliases = ("mean_plus_sd", "sigma")

    def __init__(self, k: float = 3.0):
        self.k = k

    def cut(self, scores: Scores) -> float:
        return float(np.mean(scores) + self.k * np.std(scores))
