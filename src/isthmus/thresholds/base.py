"""Threshold: from the scores of usual rows to the score above which a row is odd."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from isthmus.part import Part

Scores = npt.NDArray[np.floating[Any]]
Verdicts = npt.NDArray[np.bool_]


class Threshold(Part):
    """A rule for the cut. A row is odd when its score is larger than the cut."""

    kind: ClassVar[str] = "thresholds"
    #: Whether it must be told which rows are odd; then `cut_labelled` is asked.
    labelled: ClassVar[bool] = False
    #: Share of the rows that must be kept out of training to set the cut; 0 sets it on the training rows.
    calibration: float = 0.0

    @abstractmethod
    def cut(self, scores: Scores) -> float:
        """The cut for these scores, shape (n_samples,); larger scores are odder."""

    def cut_labelled(self, scores: Scores, odd: Verdicts) -> float:
        """The same where it is known which rows are odd, shape (n_samples,); by itself it goes by the usual ones."""
        return self.cut(scores[~odd])
