"""Labels passed on from neighbour to neighbour, over the samples that have none.

Zhou et al. 2004, "Learning with Local and Global Consistency": (1 - a S) F = Y, where S says who is whose neighbour.
Iscen et al. 2019, "Label Propagation for Deep Semi-supervised Learning", weigh what was passed on by how sure it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

Floats = npt.NDArray[np.floating[Any]]
Places = npt.NDArray[np.int64]
NEIGHBOURS = 10
REACH = 0.99  # how far labels go: the share that each passes on
STEPS, ENOUGH = 100, 1e-6


def neighbour_graph(features: Floats, n_neighbours: int = NEIGHBOURS) -> Any:
    """Who is near whom, (n, n), symmetric, sparse, each row and column weighed by how many neighbours it has.

    The weight falls with the distance, in units of that to the last neighbour, so that crowded and empty places have
    the same weights.
    """
    n_samples = len(features)
    nearest = min(n_neighbours, n_samples - 1)
    search = NearestNeighbors(n_neighbors=nearest).fit(features)
    distances, places = search.kneighbors()  # nobody is his own neighbour
    reach = np.maximum(distances[:, -1:], np.finfo(np.float64).tiny)
    near = np.exp(-np.square(distances) / (reach * reach[places][:, :, 0]))
    starts = np.arange(0, near.size + 1, nearest)
    graph: Any = sparse.csr_array((near.ravel(), places.ravel(), starts), shape=(n_samples, n_samples))
    graph = graph.maximum(graph.T)
    scale: Any = sparse.diags_array(1 / np.sqrt(np.maximum(graph.sum(1), 1e-300)))
    return (scale @ graph @ scale).tocsr()


def spread_labels(graph: Any, rows: Places, classes: Places, n_classes: int) -> Floats:
    """The share of each class in what reached each sample, (n_samples, n_classes); even where nothing did.

    >>> line = neighbour_graph(np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]), 2)
    >>> spread_labels(line, np.array([0, 5]), np.array([0, 1]), 2).argmax(1).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    start = np.zeros((graph.shape[0], n_classes))
    start[rows, classes] = 1.0
    found = np.maximum(_solved(graph, start), 0.0)
    found /= np.maximum(found.sum(0), 1e-300)  # a class with many labels does not count for more
    total = found.sum(1, keepdims=True)
    reached = total > 1e-12 / len(found)
    return np.where(reached, found / np.where(reached, total, 1.0), 1 / n_classes)


def sureness(shares: Floats) -> Floats:
    """How sure a distribution over classes is, (n,): 1 for one class alone, 0 for all alike.

    >>> sureness(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [1.0, 0.0]
    """
    logs = np.log(np.where(shares > 0, shares, 1.0))
    found: Floats = np.clip(1 + (shares * logs).sum(1) / np.log(shares.shape[1]), 0.0, 1.0)
    return found


def _solved(graph: Any, start: Floats) -> Floats:
    """(1 - a S) F = start, by conjugate gradients, all columns at once."""
    found = np.zeros_like(start)
    rest, way = start.copy(), start.copy()
    size = np.square(rest).sum(0)
    first = size.copy()
    for _ in range(STEPS):
        step = way - REACH * (graph @ way)
        far = size / np.maximum((way * step).sum(0), 1e-300)
        found, rest = found + far * way, rest - far * step
        new = np.square(rest).sum(0)
        if (new <= ENOUGH**2 * first).all():
            break
        way, size = rest + new / np.maximum(size, 1e-300) * way, new
    return found
