"""Series as they came, and what a batch takes of them.

n series, T steps of the longest, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.data.base import Rows, places
from isthmus.errors import DataError

Array = np.ndarray[Any, Any]


@dataclass
class SeriesSamples:
    """Series that fit together.

    Parameters
    ----------
    values : an array (n, T, C), or one array (steps, C) for each series.
    container : "numpy" for an array, "list" for a list.
    flat : whether they came without an axis of channels.
    lengths : the steps of each, (n,).
    n_steps : how long they are padded, at least as long as the longest.
    """

    values: Array | list[Array]
    container: str
    flat: bool
    lengths: np.ndarray[Any, np.dtype[np.int64]]
    n_steps: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        return int(self.values[0].shape[1])

    @property
    def uneven(self) -> bool:
        """Whether their lengths differ."""
        return bool((self.lengths != self.lengths[0]).any())

    def all_steps(self) -> Array:
        """The steps of all series, one after the other, (sum of steps, C)."""
        if isinstance(self.values, np.ndarray):
            return self.values.reshape(-1, self.n_channels)
        return np.concatenate(self.values)

    def padded(self, rows: Rows) -> Array:
        """Some of them side by side, (n_rows, n_steps, C); NaN where a series has ended."""
        if isinstance(self.values, np.ndarray) and self.values.shape[1] == self.n_steps:
            return self.values[rows]
        chosen = places(rows, len(self))
        floating = np.float32 if all(np.can_cast(self.values[row].dtype, np.float32) for row in chosen) else np.float64
        found = np.full((len(chosen), self.n_steps, self.n_channels), np.nan, dtype=floating)
        for place, row in enumerate(chosen):
            found[place, : self.lengths[row]] = self.values[row]
        return found


def gather(X: Any) -> SeriesSamples:
    """Arrays and lists of arrays lined up; DataError where they are no series."""
    if isinstance(X, SeriesSamples):
        return X
    if isinstance(X, (list, tuple)):
        return _listed(X)
    array = np.asarray(X)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or not array.size:
        raise DataError(
            f"series are arrays (n, steps, channels) or (n, steps), or lists of arrays (steps, channels) or (steps,); "
            f"these have shape {array.shape} and type {array.dtype}."
        )
    lengths = np.full(len(array), array.shape[1])
    return SeriesSamples(
        array if array.ndim == 3 else array[:, :, None], "numpy", array.ndim == 2, lengths, len(array[0])
    )


def _listed(X: Any) -> SeriesSamples:
    arrays = [np.asarray(one) for one in X]
    if not arrays:
        raise DataError("the list of series is empty; give at least one.")
    for place, one in enumerate(arrays):
        if one.ndim not in (1, 2) or one.dtype.kind not in "fiu" or not one.size:
            raise DataError(
                f"series {place} (counting from 0) has shape {one.shape} and type {one.dtype}; a series is an array of "
                "numbers (steps, channels) or (steps,) with at least one step."
            )
        if one.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"series {place} (counting from 0) has shape {one.shape} and the first one {arrays[0].shape}; all must "
                "have the same channels."
            )
    flat = arrays[0].ndim == 1
    lengths = np.array([len(one) for one in arrays])
    return SeriesSamples(
        [one[:, None] for one in arrays] if flat else arrays, "list", flat, lengths, int(lengths.max())
    )


def looks_like_series(X: Any) -> bool:
    """Whether this is a list of float arrays (steps, channels) of one number of channels and different lengths.

    >>> looks_like_series([np.zeros((3, 2)), np.zeros((5, 2))]), looks_like_series([np.zeros((3, 2)), np.zeros((3, 2))])
    (True, False)
    """
    if isinstance(X, SeriesSamples):
        return True
    if not isinstance(X, (list, tuple)) or not all(isinstance(one, np.ndarray) and one.ndim == 2 for one in X):
        return False
    floats = all(one.dtype.kind == "f" for one in X)
    return floats and len({one.shape[1] for one in X}) == 1 and len({len(one) for one in X}) > 1
