"""Codes as a graph of nearest neighbours, and its slowest waves: what hangs together lies together in them.

Axes: n codes, k neighbours of each, m waves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.neighbors import NearestNeighbors

Floats = npt.NDArray[np.float64]

N_NEIGHBORS = 15
BRIDGE = 0.01  # of the mean degree: how strongly every code hangs on all others, so that the graph is in one piece


def neighbour_graph(codes: Floats, k: int = N_NEIGHBORS) -> csr_array[Any]:
    """Who is near whom, (n, n), symmetric; the more neighbours two share, the heavier the edge between them."""
    k = max(1, min(k, len(codes) - 1))
    near: Any = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors_graph(mode="connectivity")
    near = csr_array(near) + diags_array(np.ones(len(codes)), format="csr")
    shared = (near @ near.T).tocsr()
    links = (near + near.T).tocsr()
    links.data[:] = 1.0
    weighted = csr_array(shared * links)
    weighted.data /= 2 * (k + 1) - weighted.data  # of all that either is near to (Jaccard)
    weighted.setdiag(0.0)
    weighted.eliminate_zeros()
    return weighted


def waves(graph: csr_array[Any], m: int, seed: int) -> Floats:
    """The m slowest waves on the graph, (n, m), each code's on the unit sphere (Ng, Jordan & Weiss 2002).

    Every code hangs on all others by a thread, which keeps apart pieces and single codes from taking waves of their own
    (Qin & Rohe 2013, "Regularized Spectral Clustering").
    """
    n = graph.shape[0]
    degree = np.asarray(graph.sum(1)).ravel()
    thread = BRIDGE * max(float(degree.mean()), 1e-12)
    scale = 1 / np.sqrt(degree + thread)

    def spread(vector: Floats) -> Floats:
        scaled = scale * np.ravel(vector)
        found: Floats = scale * (graph @ scaled + thread / n * scaled.sum())
        return found

    m = min(m, n)
    if n <= 2 * m + 2:
        whole = np.column_stack([spread(one) for one in np.eye(n)])
        vectors = np.linalg.eigh((whole + whole.T) / 2)[1][:, ::-1][:, :m]
    else:
        start = np.random.default_rng(seed).normal(size=n)
        operator: Any = LinearOperator((n, n), matvec=spread, dtype=np.float64)
        vectors = eigsh(operator, k=m, which="LA", v0=start, ncv=min(n, max(2 * m + 1, 40)), tol=1e-6)[1][:, ::-1]
    return vectors
