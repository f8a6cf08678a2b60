from __future__ import annotations

from isthmus.thresholds.base import Scores, Threshold


class Fixed(Threshold):
    """A cut chosen by hand.

    Parameters
    ----------
    value : the score above which a row is odd, in nats.

    >>> import numpy as np
    >>> Fixed(value=12.5).cut(np.array([1.0, 3.0]))
    12.5
    """

    def __init__(self, value: float = 0.1):
        self.value = value

    def cut(self, scores: Scores) -> float:
        return float(self.value)
