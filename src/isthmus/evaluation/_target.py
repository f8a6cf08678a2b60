"""What stands beside the samples: classes, numbers, or clean counterparts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import DataError
from isthmus.evaluation._harness import Rows

MOST_CLASSES = 100
FEW_NUMBERS = 20  # so many different whole numbers are classes, more are amounts


@dataclass(frozen=True)
class Target:
    """One value for each row that is looked at.

    Parameters
    ----------
    values : numbers, or the place of each class among `names`; unknown ones stand at 0.
    known : the places where there is one.
    names : of the classes; empty where y is an amount.
    """

    values: np.ndarray
    known: Rows
    names: tuple[Any, ...]

    @property
    def classes(self) -> bool:
        return bool(self.names)


def target_of(y: Any, n_samples: int, rows: Rows) -> Target:
    """The values for these rows out of the y of all samples.

    Raises
    ------
    DataError : for a y of another length, or one with nothing to tell apart.
    """
    listed = y.to_list() if hasattr(y, "to_list") else np.asarray(y, dtype=object).ravel().tolist()
    if len(listed) != n_samples:
        raise DataError(f"y has {len(listed)} values for {n_samples} samples; give one for each.")
    chosen = [listed[row] for row in rows]
    known = np.flatnonzero([not _unknown(value) for value in chosen])
    present = [chosen[place] for place in known]
    if len(set(present)) < 2:
        raise DataError("y has the same value for all samples, so that there is nothing to tell apart; leave y out.")
    if _amounts(present):
        values = np.zeros(len(rows))
        values[known] = np.asarray(present, dtype=np.float64)
        return Target(values, known, ())
    names = sorted(set(present), key=lambda name: (isinstance(name, str), name))
    if len(names) > MOST_CLASSES:
        raise DataError(f"y has {len(names)} different words; classes are at most {MOST_CLASSES}.")
    places = np.zeros(len(rows), dtype=np.int64)
    places[known] = [names.index(value) for value in present]
    return Target(places, known, tuple(names))


def _unknown(value: Any) -> bool:
    return value is None or value != value


def _amounts(values: Sequence[Any]) -> bool:
    """Whether these are amounts rather than classes."""
    if any(isinstance(value, (str, bool)) for value in values):
        return False
    numbers = np.asarray(values, dtype=np.float64)
    return bool((numbers != numbers.round()).any()) or len(np.unique(numbers)) > FEW_NUMBERS
