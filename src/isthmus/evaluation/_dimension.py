"""How many directions data lie along, by the distances to nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from isthmus.errors import DataError
from isthmus.training.applying import Array

MOST_ROWS = 4_000
KEPT = 0.9  # of the ratios, as the largest come from rows at the edges
NEIGHBOURS = 20


@dataclass(frozen=True)
class Dimension:
    """An intrinsic dimension.

    Parameters
    ----------
    estimate : from the distances to the two nearest neighbours (Facco et al. 2017).
    error : its standard error, by halving the data over and over.
    likelihood : the maximum of the likelihood over 20 neighbours (Levina & Bickel 2005, averaged as MacKay and
        Ghahramani have it), which looks at larger pieces: noise raises it less, and bends more.
    """

    estimate: float
    error: float
    likelihood: float


def intrinsic_dimension(rows: Array, seed: int = 0) -> Dimension:
    """The dimension of the surface that rows (n, size) lie on.

    Raises
    ------
    DataError : for fewer than ten rows that differ.

    >>> random = np.random.default_rng(0)
    >>> plane = random.normal(size=(1000, 2)) @ random.normal(size=(2, 12))
    >>> round(intrinsic_dimension(plane).estimate)
    2
    """
    random = np.random.default_rng(seed)
    rows = np.unique(np.asarray(rows, dtype=np.float64), axis=0)
    if len(rows) < 10:
        raise DataError(f"there are {len(rows)} rows that differ; a dimension needs at least 10, better 500.")
    rows = rows[random.permutation(len(rows))[:MOST_ROWS]]
    halves = [half for _ in range(5) for half in np.array_split(random.permutation(len(rows)), 2)]
    spread = [two_nearest(rows[half]) for half in halves]
    return Dimension(two_nearest(rows), float(np.std(spread) / np.sqrt(2)), by_likelihood(rows))


def two_nearest(rows: Array) -> float:
    """The slope of -log(1 - F) over log of the second distance by the first, through the origin."""
    nearest = _distances(rows, 2)
    ratios = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))
    share = np.arange(1, len(ratios) + 1) / len(ratios)
    kept = slice(0, max(2, int(KEPT * len(ratios))))
    x, y = ratios[kept], -np.log1p(-np.minimum(share[kept], 1 - 1e-12))
    return float((x @ y) / max(float(x @ x), 1e-300))


def by_likelihood(rows: Array) -> float:
    """One over the mean of the log distance of the k-th neighbour by nearer ones."""
    k = min(NEIGHBOURS, len(rows) - 1)
    logs = np.log(_distances(rows, k))
    return float(1 / np.mean((logs[:, -1:] - logs[:, :-1]).sum(1) / max(1, k - 2)))


def _distances(rows: Array, k: int) -> Array:
    """(n, k), none of them zero."""
    found: Array = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()[0]
    return np.maximum(found, 1e-12 * max(float(found.max()), 1e-300))
