"""Evaluate: how good a fitted model is, at what, and beside what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from isthmus.autoencoder import Autoencoder
from isthmus.errors import DataError, SettingError
from isthmus.evaluation import _code, _downstream, _preservation, _purposes, _reconstruction
from isthmus.evaluation._harness import MOST_NUMBERS, Harness, fill, harness, spread
from isthmus.evaluation._result import Evaluation, Measure
from isthmus.evaluation._target import Target, target_of
from isthmus.tasks.base import Task
from isthmus.training.applying import Array

MOST_DRAWN = 1_000
MOST_CODE = 4_096  # numbers in a code whose neighbours are looked for


def evaluate(
    model: Autoencoder | Task,
    X: Any,
    y: Any = None,
    task: str | None = None,
    *,
    cv: int | None = None,
    random_state: int = 0,
) -> Evaluation:
    """How good a fitted model is: what comes back, what the code is like, what can be told from it, what is drawn.

    Every figure stands beside that of PCA with a code of the same size, fitted and measured in the same folds, and
    where there is one beside that of the data themselves and of a guess. A perfect reconstruction is no proof by
    itself, since copying gives it too, and is not what every task needs: the result says what counts for which.

    Parameters
    ----------
    model : a fitted Autoencoder, or a task around one.
    X : samples that the model has not seen, as it takes them; of more than 5,000 evenly spread ones.
    y : a class or an amount for each sample, missing ones None or NaN; for models that restore also the clean
        counterparts of X. None leaves out what needs them.
    task : what it is to be good at, such as "reduce", "detect" or "generate"; None for the model's own.
    cv : number of folds: for each the model is fitted anew without it and measured on it, so that X may be what it was
        fitted on; None (the default) takes the model as it is.
    random_state : decides the folds and what is drawn.

    Returns
    -------
    An `Evaluation`: print it, or take `.table`, `.features`, `.notes`, `.to_html("page.html")`, `["trustworthiness"]`.

    Raises
    ------
    NotFittedError : before `fit`.
    SettingError : for an unknown task, or fewer than two folds.
    DataError : for samples that the model does not take, fewer than four of them, or a y that does not fit.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from isthmus import Autoencoder, evaluate
    >>> X, y = load_wine(return_X_y=True)
    >>> found = evaluate(Autoencoder(3, random_state=0).fit(X[::2]), X[1::2], y[1::2])
    >>> found.sections
    ['reconstruction', 'code', 'preservation', 'downstream', 'generation']
    >>> bool(found["accuracy, nearest neighbours"].value > found["accuracy, nearest neighbours"].guess)
    True
    """
    check_is_fitted(model)
    _check_folds(cv)
    name, purpose = _purposes.purpose_of(task, _own_task(model))
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    n_samples = len(autoencoder.data_.open(X))
    seen = harness(model, X, cv, random_state)
    clean = y if _counterparts(y) else None
    target = None if y is None or clean is not None else target_of(y, n_samples, seen.rows)
    rival = seen.pca_back()
    found = [*_reconstruction.measures(seen, rival)]
    if clean is not None:
        found += _reconstruction.restoring(seen, model, X, clean)
    left_out: list[str] = []
    found += _of_codes(seen, target, left_out)
    if name == "detect" and target is not None and len(target.names) == 2:
        scores = -np.asarray(_scores(model, X), dtype=np.float64)[seen.rows]
        found.append(_downstream.detection(seen, target, scores, rival))
    found += _generation(seen, model, random_state, left_out)
    found = [replace(one, matters=one.section in purpose.sections) for one in found]
    return Evaluation(
        type(model).__name__,
        name,
        _purposes.headline(type(model).__name__, name, seen, found),
        tuple(found),
        _reconstruction.features(seen, rival),
        (*_purposes.notes(seen, purpose, found, n_samples), *left_out),
        len(seen.rows),
        seen.refitted,
    )


def _check_folds(cv: object) -> None:
    if cv is not None and (isinstance(cv, bool) or not isinstance(cv, (int, np.integer)) or cv < 2):
        raise SettingError(f"cv is {cv!r}; it must be a whole number of at least 2, or None.")


def _own_task(model: Autoencoder | Task) -> str:
    """A task's verb is the name of its file."""
    return "reduce" if isinstance(model, Autoencoder) else type(model).__module__.rpartition(".")[2]


def _counterparts(y: Any) -> bool:
    """Whether y are samples themselves, and not one value for each."""
    if y is None or isinstance(y, (list, tuple)):
        return False
    if isinstance(y, str) or hasattr(y, "__fspath__"):
        return True
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return len(shape) > 1 and shape[1] > 1


def _scores(model: Autoencoder | Task, X: Any) -> Array:
    """The score of each sample, higher for more usual ones: the task's own, else the autoencoder's."""
    scorer: Any = model if hasattr(model, "score_samples") else model.autoencoder_
    scores: Array = scorer.score_samples(X)
    return scores


def _of_codes(seen: Harness, target: Target | None, left_out: list[str]) -> Iterator[Measure]:
    if seen.skips:
        left_out.append("The codes carry the maps of a U-Net (skips=True), so that nothing is said about them.")
        return
    yield from _code.measures(seen, target)
    if seen.size <= MOST_CODE:
        yield from _preservation.measures(seen)
        yield from () if target is None else _downstream.measures(seen, target)
    else:
        left_out.append(f"A code has {seen.size:,} numbers: what is near in it, and what it tells, was left out.")


def _generation(seen: Harness, model: Autoencoder | Task, seed: int, left_out: list[str]) -> Iterator[Measure]:
    source: Any = model if hasattr(model, "sample") else seen.autoencoder
    wanted = min(MOST_DRAWN, len(seen.rows), MOST_NUMBERS // seen.x.shape[1])
    data = seen.data
    try:
        drawn = source.sample(wanted, random_state=seed)
        samples = data.open(drawn)
        batch = data.batch(samples, spread(len(samples), wanted))
    except (SettingError, DataError, NotImplementedError) as error:
        left_out.append(f"Nothing was drawn: {error}")
        return
    if tuple(batch.x.shape[1:]) != seen.shape:
        left_out.append("Nothing is said about drawn samples, whose size is not that of the samples given.")
        return
    weight = None if batch.weight is None else batch.weight.flatten(1)
    rows = torch.nan_to_num(batch.x.flatten(1))
    yield from _preservation.generation(seen, fill(rows, weight), seed)
