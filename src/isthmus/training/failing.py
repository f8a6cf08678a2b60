"""When a run cannot go on: how that is noticed, and the sentences that say why."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

from torch import Tensor

from isthmus.errors import TrainingWarning
from isthmus.training.batch import Batch
from isthmus.training.history import History


class NotFinite(Exception):
    """A loss is not a finite number; caught inside the run, never seen by a user."""

    def __init__(self, step: int, value: float):
        super().__init__()
        self.at_step, self.value = step, value


def check_finite(losses: Sequence[Tensor | float], step: int) -> None:
    """Raise `NotFinite` for the first of these losses that is not finite; the newest belongs to this step."""
    for index, loss in enumerate(losses):
        if not math.isfinite(value := float(loss)):
            raise NotFinite(step - len(losses) + index + 1, value)


def likely_cause(batches: Iterable[Batch], learning_rate: float) -> str:
    """Why a loss may have become infinite, and what to do; the batches are all the data."""
    if not all(batch.finite() for batch in batches):
        return "the data hold NaN or infinite values: give them weight 0 or replace them"
    return f"most likely the learning rate {learning_rate:g} is too large: try {learning_rate / 10:g}, or clip=1.0"


def warn_of_end(history: History, kept: int | None, stacklevel: int) -> None:
    """Say how a run ended before its time, and which weights it kept: those of epoch `kept`, or the last ones."""
    which = "the weights that it had then" if kept is None else f"the weights of epoch {kept}"
    warnings.warn(f"Training {history.ended}; {which} were kept.", TrainingWarning, stacklevel + 1)
