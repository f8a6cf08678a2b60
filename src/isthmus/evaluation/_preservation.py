"""Whether neighbours stay neighbours: what is near in the code was near in the data, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness

from isthmus.evaluation._harness import Harness, spread
from isthmus.evaluation._result import NOTHING, Measure
from isthmus.metrics import sample_quality
from isthmus.training.applying import Array

MOST_ROWS = 1_500  # whose distances are all looked at
NEIGHBOURS = 10


def measures(harness: Harness) -> Iterator[Measure]:
    """Of a sample of the rows."""
    rows = spread(len(harness.rows), MOST_ROWS)
    given, codes = harness.filled[rows], harness.codes[rows]
    pca = harness.pca
    theirs = None if pca is None else pca.transform(given)
    k = min(NEIGHBOURS, (len(rows) - 1) // 2)
    texts = {
        "trustworthiness": f"whether the {k} nearest codes belong to samples that are near",
        "continuity": f"whether the {k} nearest samples have codes that are near",
        "order of distances": "rank correlation of all distances between samples with those between codes",
    }
    ours = preserved(given, codes, k)
    rivals = [NOTHING] * 3 if theirs is None else preserved(given, theirs, k)
    for (name, text), value, rival in zip(texts.items(), ours, rivals, strict=True):
        yield Measure("preservation", name, value, text, pca=rival)


def preserved(given: Array, codes: Array, k: int) -> list[float]:
    """Trustworthiness, continuity (the same with both spaces changed about), and the order of distances.

    >>> line = np.arange(20.0)[:, None]
    >>> [float(round(value, 6)) for value in preserved(line, -2 * line, 3)]
    [1.0, 1.0, 1.0]
    """
    if not codes.std(0).any() or not given.std(0).any():
        return [NOTHING] * 3
    both = [float(trustworthiness(a, b, n_neighbors=k)) for a, b in ((given, codes), (codes, given))]
    return [*both, float(spearmanr(pdist(given), pdist(codes)).statistic)]


# ---- what is drawn


def generation(harness: Harness, drawn: Array, seed: int) -> Iterator[Measure]:
    """How drawn samples lie among real ones; `drawn` (m, size) as the network sees them.

    The rival is PCA with a normal law of its scores and of what it leaves out.
    """
    real = torch.from_numpy(harness.filled[spread(len(harness.rows), len(drawn))])
    k = min(5, len(real) - 1, len(drawn) - 1)
    ours = sample_quality(real, torch.from_numpy(drawn), k)
    pca, theirs = harness.pca, None
    if pca is not None:
        random = np.random.default_rng(seed)
        scale = np.sqrt(np.maximum(pca.explained_variance_ - pca.noise_variance_, 0))
        rows = pca.mean_ + (random.normal(size=(len(drawn), len(scale))) * scale) @ pca.components_
        rows = rows + np.sqrt(pca.noise_variance_) * random.normal(size=rows.shape)
        theirs = sample_quality(real, torch.from_numpy(rows), k)
    texts = {
        "precision": "share of drawn samples that lie among real ones",
        "recall": "share of real samples that lie among drawn ones",
        "density": "how many real samples a drawn one lies near, 1 where both have one law",
        "coverage": "share of real samples with a drawn one nearby",
    }
    for name, text in texts.items():
        rival = NOTHING if theirs is None else float(getattr(theirs, name))
        yield Measure("generation", name, float(getattr(ours, name)), text, pca=rival)
