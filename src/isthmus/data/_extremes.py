"""The range of each column of a matrix, and how many values it lacks: asked of all data that come in, so it is fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

Vector = np.ndarray[Any, np.dtype[np.float64]]  # one number per column, (d,)
#: Numbers that stay in the cache while they are looked at twice, and how long a loop must be to be fast.
STRETCH, LONG = 2**16, 512


def extremes(matrix: Any) -> tuple[Vector, Vector, Vector]:
    """Smallest and largest value of each column and how many are missing; (d,) each, NaN where none is present."""
    if sparse.issparse(matrix):
        return _sparse_extremes(matrix)
    if not isinstance(matrix, np.ndarray):  # on disk
        found: tuple[Vector, Vector, Vector] = matrix.extremes()
        return found
    d = matrix.shape[1]
    low, high, missing = np.full(d, np.nan), np.full(d, np.nan), np.zeros(d)
    for piece in _folded(matrix):
        least, most = piece.min(axis=0), piece.max(axis=0)
        if np.isnan(least).any():
            least, most = np.fmin.reduce(piece, axis=0), np.fmax.reduce(piece, axis=0)
            missing += np.count_nonzero(np.isnan(piece), axis=0).reshape(-1, d).sum(axis=0)
        low = np.fmin(low, np.fmin.reduce(least.reshape(-1, d), axis=0).astype(np.float64))
        high = np.fmax(high, np.fmax.reduce(most.reshape(-1, d), axis=0).astype(np.float64))
    return low, high, missing


def _folded(matrix: Any) -> Iterator[Any]:
    """Stretches of an array that stay in the cache. Of a narrow one several rows stand side by side, as if they were
    one: a loop over 30 columns is over before it is fast.
    """
    n, d = matrix.shape
    if not d:
        return
    fold = max(1, LONG // d) if matrix.flags.c_contiguous else 1
    rows, whole = fold * max(1, STRETCH // (fold * d)), n - n % fold
    for start in range(0, whole, rows):
        yield matrix[start : min(start + rows, whole)].reshape(-1, fold * d)
    if whole < n:
        yield matrix[whole:]


def _sparse_extremes(matrix: Any) -> tuple[Vector, Vector, Vector]:
    n, d = matrix.shape
    low, high = np.full(d, np.nan), np.full(d, np.nan)
    stored = np.bincount(matrix.indices, minlength=d)
    low[stored < n] = high[stored < n] = 0.0
    np.fmin.at(low, matrix.indices, matrix.data.astype(np.float64))
    np.fmax.at(high, matrix.indices, matrix.data.astype(np.float64))
    missing = np.bincount(matrix.indices[np.isnan(matrix.data)], minlength=d).astype(np.float64)
    return low, high, missing
