"""Groups of codes: how they are found, how many there are, and which of them a new code belongs to.

Axes: n codes, d numbers in a code, k groups.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from isthmus.tasks._codes import on_sphere
from isthmus.tasks._graph import N_NEIGHBORS, neighbour_graph, waves
from isthmus.words import counted

Codes = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

log = logging.getLogger("isthmus")
METHODS = ("kmeans", "mixture", "graph", "density")
MOST_GROUPS = 15  # that "auto" looks for
MOST_IN_GRAPH = 20_000  # codes; of more, so many at random, and the others follow their nearest
ENOUGH_FOR_GRAPH = 200  # codes, for "auto"
LOOKED_AT = 2_000  # codes, for the silhouette
STARTS = 5


class Rule(Protocol):
    """Which group a code belongs to."""

    name: ClassVar[str]

    def of(self, codes: Codes) -> Labels:
        """The group of each, (n,); -1 for none."""
        ...

    def kept(self, groups: Labels) -> Rule:
        """The same with these groups alone, in this order."""
        ...

    def state(self) -> dict[str, Any]:
        """Its arrays by name."""
        ...


@dataclass(frozen=True)
class Center:
    """The group with the nearest centre."""

    name: ClassVar[str] = "center"
    centers: Codes  # (k, d)

    def of(self, codes: Codes) -> Labels:
        return _nearest(self.centers, codes)

    def kept(self, groups: Labels) -> Center:
        return Center(self.centers[groups])

    def state(self) -> dict[str, Any]:
        return vars(self)


@dataclass(frozen=True)
class Mixture:
    """The most probable of normal laws."""

    name: ClassVar[str] = "mixture"
    weights: Codes  # (k,)
    means: Codes  # (k, d)
    factors: Codes  # (k, d, d): Cholesky factors of the precisions

    def of(self, codes: Codes) -> Labels:
        model = GaussianMixture(len(self.weights))
        model.weights_, model.means_, model.precisions_cholesky_ = self.weights, self.means, self.factors
        model.covariances_ = self.factors  # only looked for, never looked at
        return np.asarray(model.predict(codes), dtype=np.int64)

    def kept(self, groups: Labels) -> Mixture:
        return Mixture(self.weights[groups], self.means[groups], self.factors[groups])

    def state(self) -> dict[str, Any]:
        return vars(self)


@dataclass(frozen=True)
class Beside:
    """The group of the nearest of the codes whose group is known."""

    name: ClassVar[str] = "beside"
    codes: Codes  # (n, d)
    labels: Labels  # (n,)

    def of(self, codes: Codes) -> Labels:
        return self.labels[_nearest(self.codes, codes)]

    def kept(self, groups: Labels) -> Beside:
        place = np.full(int(self.labels.max(initial=-1)) + 2, -1)  # the last is for -1
        place[groups] = np.arange(len(groups))
        return Beside(self.codes, place[self.labels])

    def state(self) -> dict[str, Any]:
        return vars(self)


RULES: dict[str, Any] = {rule.name: rule for rule in (Center, Mixture, Beside)}


def restored(name: str, tensors: dict[str, Tensor]) -> Rule:
    """A rule out of a file. Raises KeyError and TypeError where there is none."""
    rule: Rule = RULES[name](**{key: value.numpy() for key, value in tensors.items()})
    return rule


def stored(rule: Rule) -> dict[str, Tensor]:
    """A rule's arrays, for a file."""
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in rule.state().items()}


def _nearest(these: Codes, codes: Codes) -> Labels:
    found = NearestNeighbors(n_neighbors=1).fit(these).kneighbors(codes, return_distance=False)
    return np.asarray(found[:, 0], dtype=np.int64)


# ---- finding groups


def grouped(codes: Codes, n_clusters: int | None, method: str, seed: int) -> Rule:
    """The rule of the groups that these codes form, the largest first.

    Parameters
    ----------
    codes : (n, d).
    n_clusters : how many groups; None chooses by silhouette, of a mixture by BIC.
    method : one of METHODS.
    seed : of whatever starts at random.
    """
    rule = FINDERS[method](codes, n_clusters, seed)
    groups, sizes = np.unique((labels := rule.of(codes))[labels >= 0], return_counts=True)
    return rule.kept(groups[np.argsort(-sizes, kind="stable")])


def _by_kmeans(codes: Codes, n_clusters: int | None, seed: int) -> Rule:
    def fitted(k: int) -> Any:
        return KMeans(k, n_init=STARTS, random_state=seed).fit(codes)

    best = _best(codes, n_clusters, fitted, lambda model: -_silhouette(codes, model.labels_, seed))
    return Center(np.asarray(best.cluster_centers_, dtype=np.float64))


def _by_mixture(codes: Codes, n_clusters: int | None, seed: int) -> Rule:
    least = 1e-6 + 1e-3 * float(codes.var(0).mean())  # of a variance: a law must not close in on a few codes

    def fitted(k: int) -> Any:
        return GaussianMixture(k, reg_covar=least, n_init=2, max_iter=200, random_state=seed).fit(codes)

    best = _best(codes, n_clusters, fitted, lambda model: float(model.bic(codes)), first=1)
    return Mixture(best.weights_, best.means_, best.precisions_cholesky_)


def _by_graph(codes: Codes, n_clusters: int | None, seed: int) -> Rule:
    some = _some(codes, seed)
    most = MOST_GROUPS if n_clusters is None else n_clusters
    slowest = waves(neighbour_graph(some), most, seed)

    def fitted(k: int) -> Any:
        return KMeans(k, n_init=STARTS, random_state=seed).fit_predict(on_sphere(slowest[:, :k]))

    best = _best(some, n_clusters, fitted, lambda labels: -_silhouette(some, labels, seed))
    return Beside(some, np.asarray(best, dtype=np.int64))


def _by_density(codes: Codes, n_clusters: int | None, seed: int) -> Rule:
    some = _some(codes, seed)
    size = max(2, min(N_NEIGHBORS, len(some) // 10))
    labels = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(some)
    return Beside(some, np.asarray(labels, dtype=np.int64))


FINDERS: dict[str, Callable[[Codes, int | None, int], Rule]] = {
    "kmeans": _by_kmeans,
    "mixture": _by_mixture,
    "graph": _by_graph,
    "density": _by_density,
}


def _some(codes: Codes, seed: int) -> Codes:
    if len(codes) <= MOST_IN_GRAPH:
        return codes
    return codes[np.sort(np.random.default_rng(seed).permutation(len(codes))[:MOST_IN_GRAPH])]


def _best(
    codes: Codes, n_clusters: int | None, fitted: Callable[[int], Any], cost: Callable[[Any], float], first: int = 2
) -> Any:
    """What was fitted with so many groups, or with as many as cost least."""
    distinct = len(np.unique(codes, axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more groups than there are different codes
        if n_clusters is not None:
            return fitted(n_clusters)
        sizes = range(min(first, distinct), max(min(MOST_GROUPS, distinct - 1), min(first, distinct)) + 1)
        tried = [(size, fitted(size)) for size in sizes]
        costs = [cost(model) for _, model in tried]
    best = int(np.argmin(costs))
    log.info("n_clusters='auto' chose %s of %d to %d", counted(tried[best][0], "group"), sizes[0], sizes[-1])
    return tried[best][1]


def _silhouette(codes: Codes, labels: Labels, seed: int) -> float:
    """How much nearer codes lie to their own group than to the next one, -1 to 1; of many codes of some."""
    order = np.random.default_rng(seed).permutation(len(codes))[:LOOKED_AT]
    if not 1 < len(np.unique(labels[order])) < len(order):
        return -1.0
    return float(silhouette_score(codes[order], labels[order]))
