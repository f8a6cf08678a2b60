"""What every estimator must survive: Autoencoder and the tasks."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import Tensor

import isthmus  # for `load`, which stands beside the checks: what is tried here is the public way
from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.checks.raw import (
    array,
    containers,
    containers_of_photos,
    copied,
    frame,
    name_of,
    photos,
    photos_with_holes,
    same,
)
from isthmus.checks.small import NETWORK
from isthmus.checks.turning import check_turning
from isthmus.errors import DataError, IsthmusWarning
from isthmus.estimator import Estimator
from isthmus.tasks.base import Answer, Task
from isthmus.training import Training

SHORT = Training(max_epochs=3, batch_size=16)
LONGER = Training(max_epochs=20, batch_size=8, learning_rate=0.02)


def checks(estimator: Estimator) -> Iterator[Callable[[Any], None]]:
    yield check_verbs_are_documented
    yield check_verbs_need_fit
    yield check_constructor_only_stores_and_clones
    yield check_same_seed_same_answer
    yield check_load_gives_the_same_answer
    yield check_rows_in_rows_out
    yield check_numeric_arguments_turn
    if isinstance(estimator, Task):
        yield check_answer_is_a_table


def check_verbs_are_documented(estimator: Estimator) -> None:
    """The ways in show the first line of each."""
    verbs = _verbs(estimator)
    assert verbs, f"{type(estimator).__name__} must name the methods that answer in `verbs`."
    for verb in ("fit", *verbs):
        method = getattr(estimator, verb, None)
        assert callable(method), f"{type(estimator).__name__} has no method {verb!r}, which its verbs name."
        assert method.__doc__, f"{type(estimator).__name__}.{verb} needs a docstring."


def check_verbs_need_fit(estimator: Estimator) -> None:
    for verb in _verbs(estimator):
        try:
            getattr(_small(estimator), verb)(array())
        except NotFittedError:
            continue
        raise AssertionError(f"{type(estimator).__name__}.{verb} must raise NotFittedError before fit.")


def check_constructor_only_stores_and_clones(estimator: Estimator) -> None:
    given = {name: object() for name in estimator.get_params(deep=False)}
    made = type(estimator)(**given)
    assert vars(made) == given, (
        f"the constructor of {type(estimator).__name__} must store its arguments and do no more."
    )
    fitted = _fit(estimator, _numbers(estimator))
    copy = clone(fitted)
    assert repr(copy.get_params()) == repr(fitted.get_params()), f"a clone of {estimator!r} has other settings."
    learned = sorted(vars(copy).keys() - given.keys())
    assert not learned, f"a clone of {estimator!r} must not be fitted; it has {', '.join(learned)}."


def check_same_seed_same_answer(estimator: Estimator) -> None:
    """Whatever the global random state, which stays as it is."""
    X, answers = _mixed(estimator), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        answers.append(_answers(_fit(estimator, X), X))
        assert torch.equal(before, torch.get_rng_state()), f"{estimator!r} changes torch's global random state."
    _compare(
        answers[0],
        answers[1],
        f"{type(estimator).__name__} with the same random_state gives another answer the second time",
    )


def check_load_gives_the_same_answer(estimator: Estimator) -> None:
    """Bit for bit."""
    X = _mixed(estimator)
    fitted = _fit(estimator, X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        fitted.save(path)
        loaded = isthmus.load(path)
    _compare(_answers(fitted, X), _answers(loaded, X), f"{type(estimator).__name__} answers differently after `load`")


def check_rows_in_rows_out(estimator: Estimator) -> None:
    """One answer per sample; where it is samples, in the container that came in. What came in stays as it is."""
    for X in _taken(estimator):
        before = copied(X)
        for verb, answer in _answers(_fit(estimator, X), X).items():
            what = f"{type(estimator).__name__}.{verb} on {name_of(X)}"
            assert len(answer) == len(X), f"{what} gives {len(answer)} answers for {len(X)} samples."
            allowed = (type(X),) if verb == "reconstruct" else (type(X), np.ndarray)
            assert type(answer) in allowed, f"{what} gives {name_of(answer)}."
        assert same(X, before), f"{type(estimator).__name__} changed {name_of(X)} in place."


def check_answer_is_a_table(estimator: Task) -> None:
    """What the command line, the server and the page show: a row per sample, and a sentence."""
    X = _mixed(estimator)
    answer = _fit(estimator, X).answer(_asked(estimator, X))
    assert isinstance(answer, Answer), f"{type(estimator).__name__}.answer must give an Answer."
    fits = isinstance(answer.table, pl.DataFrame) and len(answer.table) == len(X)
    assert fits, f"the table of {type(estimator).__name__}.answer must be a polars frame with a row for each sample."
    sentence = answer.headline.strip()
    assert sentence.endswith("."), (
        f"the headline of {type(estimator).__name__}.answer must be a sentence: {sentence!r}."
    )
    shown = isinstance(answer.highlights, pl.DataFrame) and len(answer.highlights) <= len(X)
    assert shown, f"the highlights of {type(estimator).__name__}.answer must be a polars frame of some of the rows."


def check_numeric_arguments_turn(estimator: Estimator) -> None:
    def result(one: Estimator) -> list[Tensor]:
        answers = _answers(_fit(one, _numbers(one)), _numbers(one))
        return [torch.from_numpy(np.asarray(answer)) for answer in answers.values()]

    ways: list[dict[str, Any]] = [{}, {"mode": "lossy"}] if getattr(estimator, "packs", False) else [{}]
    if getattr(estimator, "finds", False):  # who changes only what it finds must have learned to find something
        ways = [{"autoencoder__training": LONGER}]
    check_turning([_small(estimator).set_params(**way) for way in ways], result, inside=False)


def _only_pictures(estimator: Estimator) -> bool:
    return getattr(estimator, "only", "") == "images"


def _numbers(estimator: Estimator) -> Any:
    if not _only_pictures(estimator):
        return array()
    return photos_with_holes() if hasattr(estimator, "fills") else photos()  # who fills needs something to fill


def _mixed(estimator: Estimator) -> Any:
    return photos() if _only_pictures(estimator) else frame()


def _containers(estimator: Estimator) -> list[Any]:
    if _only_pictures(estimator):
        return containers_of_photos()
    only = getattr(estimator, "only", "")
    return [X for X in containers() if only in ("", fitting.data_type("auto", X, "").name())]


def _taken(estimator: Estimator) -> Iterator[Any]:
    """Data of every kind; what makes no sense to a task it refuses in a sentence."""
    for X in _containers(estimator):
        if fitting.data_type("auto", X, "").name() not in getattr(estimator, "refuses", ()):
            yield X
            continue
        try:
            _fit(estimator, X)
        except DataError:
            continue
        raise AssertionError(f"{type(estimator).__name__} says that it refuses {name_of(X)}, and takes it.")


def _verbs(estimator: Estimator) -> tuple[str, ...]:
    return ("transform", "reconstruct", "score_samples") if isinstance(estimator, Autoencoder) else estimator.verbs


def _small(estimator: Estimator) -> Estimator:
    """An unfitted copy that trains in a moment, with a fixed seed; what was set by hand stays."""
    copy: Estimator = clone(estimator)
    small: dict[str, Any] = {"n_components": 2, "network": NETWORK, "training": SHORT, "random_state": 0}
    if isinstance(estimator, Task):
        small = {"autoencoder": Autoencoder(**small), "tune": SHORT, "random_state": 0}
    settings = copy.get_params(deep=False)
    free = {name: value for name, value in small.items() if name in settings and settings[name] in (None, "auto")}
    copy.set_params(**free)
    return copy


def _fit(estimator: Estimator, X: Any) -> Any:
    """Fitted on few rows in few steps, of which the doctor need not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        return _small(estimator).fit(X, *_labels(estimator, X))


def _labels(estimator: Estimator, X: Any) -> list[Any]:
    """For tasks that learn from labels: two classes, which are numbers as well, and some that are unknown."""
    return [np.arange(len(X)) % 3 - 1] if getattr(estimator, "labels", False) else []


def _answers(fitted: Any, X: Any) -> dict[str, Any]:
    if getattr(fitted, "packs", False):  # bytes that no other model reads: what counts is what they become
        return {"decompress": fitted.decompress(fitted.compress(X))}
    answers = {verb: getattr(fitted, verb)(_asked(fitted, X)) for verb in _verbs(fitted)}
    if hasattr(fitted, "inverse_transform"):
        answers["inverse_transform"] = fitted.inverse_transform(fitted.transform(X))
    return answers


def _asked(estimator: Estimator, X: Any) -> Any:
    """What a verb is given: data, or how many samples it shall draw."""
    return len(X) if getattr(estimator, "draws", False) else X


def _compare(first: dict[str, Any], second: dict[str, Any], what: str) -> None:
    for verb, answer in first.items():
        assert same(answer, second[verb]), f"{what} to {verb}."
