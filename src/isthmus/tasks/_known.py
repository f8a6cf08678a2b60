"""Labels of which some are unknown: classes, -1 where nobody knows; or numbers, NaN where nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from isthmus.errors import DataError

Places = npt.NDArray[np.int64]
UNKNOWN = -1


@dataclass(frozen=True)
class Known:
    """The labels that are known.

    Parameters
    ----------
    rows : the samples that have one, in order, (n_known,).
    values : of classes their places in `classes`, of numbers the numbers, (n_known,).
    classes : the classes in order; None for numbers.
    """

    rows: Places
    values: npt.NDArray[Any]
    classes: npt.NDArray[Any] | None = None

    def folds(self, most: int, seed: int) -> Iterator[tuple[Known, Known]]:
        """Parts of the known labels to learn from and to judge by; each is judged once, classes are spread evenly."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        order = order[np.argsort(self.values[order], kind="stable")] if self.classes is not None else order
        fold = np.empty(len(order), dtype=np.int64)
        fold[order] = np.arange(len(order)) % most
        for number in range(most):
            yield self._part(fold != number), self._part(fold == number)

    def fewest(self) -> int:
        """How many labels the rarest class has; of numbers half of all."""
        return len(self.rows) // 2 if self.classes is None else int(np.bincount(self.values).min())

    def _part(self, taken: npt.NDArray[np.bool_]) -> Known:
        return Known(self.rows[taken], self.values[taken], self.classes)


def known_classes(y: Any, n_samples: int | None, least: int = 2) -> Known:
    """The classes that y tells, at least so many; -1 and NaN tell nothing, nor do None and the empty word.

    >>> known_classes(["cat", "", "dog", None], 4).classes
    array(['cat', 'dog'], dtype='<U3')
    """
    labels = _flat(y, n_samples)
    if labels.dtype.kind in "OUS":
        known = np.array([not _unknown(label) for label in labels], dtype=bool)
        found = labels[known].tolist()
        if len({isinstance(label, (str, bytes)) for label in found}) > 1:
            raise DataError("some labels are words and others are numbers; give one kind.")
        labels[~known] = found[0] if found else ""
        labels = np.array(labels.tolist())
    else:
        known = ~np.isnan(labels) & (labels != UNKNOWN) if labels.dtype.kind in "iuf" else np.ones(len(labels), bool)
    rows = np.flatnonzero(known)
    check_classification_targets(labels[rows])
    classes, values = np.unique(labels[rows], return_inverse=True)
    if len(classes) < least:
        what = f"one class only, {classes[0].item()!r}" if len(classes) else "no class at all"
        raise DataError(f"the labels hold {what}; give labels of at least two classes, and -1 where they are unknown.")
    return Known(rows, values.astype(np.int64), classes)


def known_numbers(y: Any, n_samples: int | None) -> Known:
    """The numbers that y holds; NaN and None tell nothing.

    >>> known_numbers([1.5, None, 3.0], 3).rows.tolist()
    [0, 2]
    """
    listed = _flat(y, n_samples)
    try:
        numbers = np.array([np.nan if _unknown(n, None) else n for n in listed] if listed.dtype == object else listed)
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the labels must be numbers, and NaN where they are unknown ({error}).") from error
    if np.isinf(numbers).any():
        raise DataError("Input y contains infinity or a value too large; give finite numbers, NaN where unknown.")
    rows = np.flatnonzero(~np.isnan(numbers))
    if not len(rows):
        raise DataError("no label is known; give at least two numbers.")
    return Known(rows, numbers[rows])


def _flat(y: Any, n_samples: int | None) -> npt.NDArray[Any]:
    """One label for each sample, as an array; of frames' columns as plain values, whose gaps are None."""
    if y is None:
        raise DataError("this task requires y to be passed, but the target y is None; give a label for each sample.")
    if hasattr(y, "to_list") and getattr(y, "ndim", 1) == 1:
        y = y.to_list()
    if isinstance(y, (list, tuple)) and any(isinstance(label, str) or _unknown(label, None) for label in y):
        y = np.array(y, dtype=object)
    found: npt.NDArray[Any] = np.array(column_or_1d(y, warn=True))
    if n_samples is not None and len(found) != n_samples:
        raise DataError(f"there are {n_samples} samples and {len(found)} labels; give one label for each sample.")
    if found.dtype.kind == "f" and np.isinf(found).any():
        raise DataError("Input y contains infinity or a value too large; give finite labels.")
    return found


def _unknown(label: Any, marker: int | None = UNKNOWN) -> bool:
    """Whether this tells nothing."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, (str, bytes)):
        return not label.strip()
    return bool(label != label) or (marker is not None and not isinstance(label, bool) and bool(label == marker))
