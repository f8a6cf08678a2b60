"""How much labels are worth: scores over the number of labels, with pre-training and without."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone

from isthmus.errors import DataError, SettingError
from isthmus.fitting import random_numbers
from isthmus.tasks import SemiSupervisedClassifier, SemiSupervisedRegressor
from isthmus.tasks._known import Known, known_classes, known_numbers

Places = npt.NDArray[np.int64]
E = TypeVar("E", bound=SemiSupervisedClassifier | SemiSupervisedRegressor)


@dataclass(frozen=True)
class LearningCurve:
    """What `learning_curve` measured.

    `table` has a row for each number of labels and each draw of them: `labels`, `draw`, `with_pretraining`,
    `without`: scores on samples that neither training nor labels had a part in; accuracy for classes, R2 for numbers.
    """

    table: pl.DataFrame
    score: str

    def means(self) -> pl.DataFrame:
        """The mean score of each number of labels, and what pre-training adds, with its least and most over draws."""
        gain = pl.col("with_pretraining") - pl.col("without")
        return self.table.group_by("labels", maintain_order=True).agg(
            pl.col("with_pretraining").mean(),
            pl.col("without").mean(),
            gain.mean().alias("gain"),
            gain.min().alias("least_gain"),
            gain.max().alias("most_gain"),
        )

    def plot(self, axis: Any) -> None:
        """Draw both curves into an axis of matplotlib's, every draw as a point."""
        for name, label in (("with_pretraining", "with pre-training"), ("without", "without")):
            means = self.means()
            (line,) = axis.plot(means["labels"], means[name], label=label)
            axis.plot(self.table["labels"], self.table[name], ".", color=line.get_color(), alpha=0.5)
        axis.set(xscale="log", xlabel="labels", ylabel=f"{self.score} on new samples")
        axis.legend()


def learning_curve(
    estimator: E,
    X: Any,
    y: Any,
    n_labels: Sequence[int] = (10, 30, 100, 300),
    *,
    draws: int = 3,
    test: float = 0.3,
    random_state: int | np.random.RandomState | None = 0,
) -> LearningCurve:
    """Fit with few labels and with more, with pre-training on all samples and without, and score on others.

    Without, the same encoder and head begin at random and learn from the labelled samples alone, as the estimator's
    `tune` says. The autoencoder is trained once for each draw, on the samples that are not kept for scores.

    Parameters
    ----------
    estimator : a SemiSupervisedClassifier or SemiSupervisedRegressor; it stays as it is.
    X : the samples: an array, or anything that is indexed by an array of rows, such as a polars frame.
    y : the labels; samples whose label is unknown only serve pre-training.
    n_labels : how many labels to give, each at least 2, or one for each class.
    draws : how often to draw samples to keep and labels to give.
    test : share of the labelled samples kept for scores, above 0 and below 1.
    random_state : an int for the same draws every time.

    Raises
    ------
    SettingError : for a setting out of range.
    DataError : where there are not as many labels.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from isthmus import SemiSupervisedClassifier, Training
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SemiSupervisedClassifier(tune=Training(max_epochs=10), spread=1, random_state=0)
    >>> curve = learning_curve(model, X, y, n_labels=(6, 30), draws=1)
    >>> curve.table.columns, curve.score
    (['labels', 'draw', 'with_pretraining', 'without'], 'accuracy')
    """
    classes = isinstance(estimator, SemiSupervisedClassifier)
    parse: Callable[[Any, int | None], Known] = known_classes if classes else known_numbers
    known = parse(y, None)
    _check(known, n_labels, draws, test)
    random = random_numbers(random_state)
    found = []
    for draw in range(draws):
        order, kept = random.permutation(len(known.rows)), round(test * len(known.rows))
        held, free = known.rows[order[:kept]], _in_turns(order[kept:], known)
        rows = np.setdiff1d(np.arange(len(y)), held)
        inside, outside = X[rows], X[held]
        truth = np.asarray(known.values if known.classes is None else known.classes[known.values])[order[:kept]]
        models = _started(estimator, inside)
        for n in n_labels:
            some = np.sort(free[:n])
            taught = Known(np.searchsorted(rows, known.rows[some]), known.values[some], known.classes)
            scores = {name: _score(model, inside, taught, outside, truth) for name, model in models.items()}
            found.append({"labels": n, "draw": draw} | scores)
    return LearningCurve(pl.DataFrame(found).sort("labels", "draw"), "accuracy" if classes else "R2")


def _started(estimator: E, X: Any) -> dict[str, tuple[E, int]]:
    """The estimator with a trained autoencoder and with one as it begins, and the seed of what comes after."""
    trained, plain = clone(estimator), clone(estimator)
    if plain.tune in (False, "auto"):
        plain.set_params(tune=True)
    if isinstance(plain, SemiSupervisedClassifier):
        plain.set_params(spread=0)  # the others are not to be seen
    return {
        "with_pretraining": (trained, trained._start(X, None)),
        "without": (plain, plain._start(X, None, pretrained=False)),
    }


def _score(started: tuple[Any, int], X: Any, known: Known, new: Any, truth: Any) -> float:
    model, seed = started
    return float(copy.copy(model)._learn(X, known, seed).score(new, truth))


def _in_turns(order: Places, known: Known) -> Places:
    """These labels so that any first few hold the classes as all do, and each at least once."""
    if known.classes is None:
        return order
    values = known.values[order]
    turn = np.empty(len(order), dtype=np.int64)
    for place in range(len(known.classes)):
        turn[values == place] = np.arange((values == place).sum())
    return order[np.argsort(turn / np.bincount(values)[values], kind="stable")]


def _check(known: Known, n_labels: Sequence[int], draws: int, test: float) -> None:
    if not 0 < test < 1:
        raise SettingError(f"test is {test!r}; it must be a share above 0 and below 1.")
    if draws < 1:
        raise SettingError(f"draws is {draws!r}; it must be a whole number of at least 1.")
    least = 2 if known.classes is None else len(known.classes)
    left = len(known.rows) - round(test * len(known.rows))
    if not n_labels or min(n_labels) < least:
        raise SettingError(f"n_labels is {n_labels!r}; give numbers of labels of at least {least}.")
    if max(n_labels) > left:
        raise DataError(f"n_labels asks for {max(n_labels)} labels, and there are {left} beside those for scores.")
