"""The same simple algorithm on the code, on PCA of the same size and on the data themselves, cross-validated."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from isthmus.evaluation._harness import Harness, Rows, mean
from isthmus.evaluation._result import NOTHING, Measure
from isthmus.evaluation._target import Target
from isthmus.training.applying import Array

MOST_TRAINED = 2_000  # rows that an algorithm learns from
Given = Callable[[int], Array | None]  # of a fold


def measures(harness: Harness, target: Target) -> Iterator[Measure]:
    """How well y is told from each."""
    score = "accuracy" if target.classes else "R2"
    given: dict[str, Given] = {
        "value": lambda place: harness.folds[place].codes,
        "pca": lambda place: _projected(harness, place),
        "raw": lambda place: harness.filled,
    }
    guess = scores(harness, target, DummyClassifier() if target.classes else DummyRegressor(), given["raw"])
    for name, algorithm in _algorithms(target.classes, len(harness.rows)).items():
        found = {what: scores(harness, target, algorithm, take) for what, take in given.items()}
        yield Measure(
            "downstream",
            f"{score}, {name}",
            mean(found["value"]),
            f"the same {name} on the code, on PCA of the same size and on the data themselves",
            pca=mean(found["pca"]),
            raw=mean(found["raw"]),
            guess=mean(guess),
            spread=float(np.std(found["value"])) if found["value"] else NOTHING,
        )


def _algorithms(classes: bool, n_rows: int) -> dict[str, Any]:
    neighbours = min(5, max(1, n_rows // 4))
    if classes:
        linear, near = LogisticRegression(max_iter=300), KNeighborsClassifier(neighbours)
    else:
        linear, near = Ridge(), KNeighborsRegressor(neighbours)
    return {
        "nearest neighbours": make_pipeline(StandardScaler(), near),
        "linear": make_pipeline(StandardScaler(), linear),
    }


def scores(harness: Harness, target: Target, algorithm: Any, given: Given) -> list[float]:
    """One score for each fold; folds in which nothing can be learned are left out."""
    found = []
    for place, fold in enumerate(harness.folds):
        values = given(place)
        train, test = (np.intersect1d(rows, target.known) for rows in (fold.train, fold.test))
        train = train[:: max(1, len(train) // MOST_TRAINED)]
        if values is None or not len(test) or len(np.unique(target.values[train])) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of solvers that would go on for long
            fitted = clone(algorithm).fit(values[train], target.values[train])
            if len(test) > 1 or target.classes:
                found.append(float(fitted.score(values[test], target.values[test])))
    return found


def _projected(harness: Harness, place: int) -> Array | None:
    fitted = harness.fold_pcas[place]
    return None if fitted is None else fitted.transform(harness.filled)


# ---- odd ones


def detection(harness: Harness, target: Target, found: Array, rival: Tensor | None) -> Measure:
    """How well a score tells odd samples; the odd are those with -1, or 1 beside 0, else the rarer class.

    Parameters
    ----------
    found : the score of each row, higher for odder ones.
    rival : what PCA gives back; its squared error is a score as well.
    """
    odd = odd_ones(target)
    rows: Rows = target.known
    squares = None if rival is None else (harness.x - rival).square()
    if squares is not None and harness.weight is not None:
        squares = squares * (harness.weight > 0)
    return Measure(
        "detection",
        "AUROC of the score",
        float(roc_auc_score(odd[rows], found[rows])),
        f"how often an odd sample ({target.names[int(target.values[rows][odd[rows]][0])]!r} in y) scores above a usual",
        pca=NOTHING if squares is None else float(roc_auc_score(odd[rows], squares.sum(1).numpy()[rows])),
        guess=0.5,
    )


def odd_ones(target: Target) -> np.ndarray:
    """Which rows are the odd ones, where y has two classes."""
    if set(target.names) in ({-1, 1}, {0, 1}):
        odd = target.names.index(-1 if -1 in target.names else 1)
    else:
        odd = int(np.argmin(np.bincount(target.values[target.known], minlength=2)))
    found: np.ndarray = target.values == odd
    return found
