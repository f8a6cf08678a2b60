from __future__ import annotations

import numpy as np

from isthmus.errors import SettingError
from isthmus.thresholds.base import Scores, Threshold


class Quantile(Threshold):
    """Calls a given share of the training rows odd: scikit-learn's `contamination`.

    Parameters
    ----------
    share : share of the training rows above the cut, above 0 and at most 0.5.

    Raises
    ------
    SettingError : for a share outside these limits.

    >>> import numpy as np
    >>> scores = np.arange(100.0)
    >>> float((scores > Quantile(share=0.1).cut(scores)).mean())
    0.1
    """

    aliases = ("contamination",)

    def __init__(self, share: float = 0.1):
        self.share = share

    def cut(self, scores: Scores) -> float:
        if not 0 < self.share <= 0.5:
            raise SettingError(f"contamination is {self.share!r}; it must be a share above 0 and at most 0.5.")
        return float(np.percentile(scores, 100.0 * (1 - self.share)))
