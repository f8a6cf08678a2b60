"""Threshold: from the scores of usual rows to the score above which a row is odd."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from isthmus.part import Part

Scores = npt.NDArray[np.floating[Any]]


class Threshold(Part):
    """A rule for the cut. A row is odd when its score is larger than the cut."""

    kind: ClassVar[str] = "thresholds"
    #: Share of the rows that must be kept out of training to set the cut; 0 sets it on the training rows.
    calibration: float = 0.0

    @abstractmethod
    def cut(self, scores: Scores) -> float:
        """The cut for these scores, shape (n_samples,); larger scores are odder."""
