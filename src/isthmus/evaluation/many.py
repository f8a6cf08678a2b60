"""Fit many estimators on the same data at once: k seeds, sizes or settings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.errors import SettingError
from isthmus.tasks.base import Plan, Task
from isthmus.training import train_many

E = TypeVar("E", bound=Autoencoder | Task)


def fit_many(estimators: Sequence[E], X: Any) -> list[E]:
    """Fit estimators on the same data: what `fit` gives for each, in less time.

    Small dense autoencoders take their steps together in batched products, with different seeds, sizes, strengths of
    variants or learning rates: 16 of them in about the time of 8, or less. What cannot go together is fitted one after
    another; `isthmus.training.train_many` says what can. The data are looked at once where the settings for them agree.

    Parameters
    ----------
    estimators : Autoencoders, or tasks that own one (AnomalyDetector ...); each is fitted in place.
    X : the data, as for `fit`.

    Returns
    -------
    The same estimators, fitted, in the same order.

    Raises
    ------
    SettingError : for something that is no estimator of ours, or one that is given twice.

    Examples
    --------
    Detectors that differ by their seed only, and the mean of their scores, which depends less on chance than one:

    >>> import numpy as np
    >>> from isthmus import AnomalyDetector, fit_many
    >>> X = np.random.default_rng(0).normal(size=(300, 1)) @ np.ones((1, 4))
    >>> X[7] = [3.0, -3.0, 3.0, -3.0]
    >>> detectors = fit_many([AnomalyDetector(random_state=seed) for seed in range(4)], X)
    >>> scores = np.mean([detector.score_samples(X) for detector in detectors], axis=0)
    >>> int(np.argmin(scores))
    7
    """
    listed = list(estimators)
    _check(listed)
    plans = [Plan(one) if isinstance(one, Autoencoder) else one._plan(X) for one in listed]
    for group in _runs([plan for plan in plans if plan is not None and plan.rows is None], X):
        _train(group)
    for one, plan in zip(listed, plans, strict=True):
        if plan is None:
            one.fit(X)
        elif plan.rows is not None:  # on rows of its own
            plan.autoencoder.fit_rows(X, plan.rows)
        if isinstance(one, Task) and plan is not None:
            one._conclude(X, plan)
    return listed


def _runs(plans: Sequence[Plan], X: Any) -> list[list[tuple[Autoencoder, fitting.Run]]]:
    """The autoencoders of these plans with what training needs, those that are given the same tensors side by side."""
    opened: dict[object, tuple[Autoencoder, Any]] = {}
    groups: dict[object, list[tuple[Autoencoder, fitting.Run]]] = {}
    for plan in plans:
        model = plan.autoencoder
        key = (type(model.data_type), repr(model.data_type), model.precision)
        if key not in opened:
            opened[key] = (model, model._batches(X, None, None))
        first, source = opened[key]
        if model is not first:
            model.data_, model.n_samples_ = copy.deepcopy(first.data_), first.n_samples_
        groups.setdefault(key, []).append((model, model._start(*source)))
    return list(groups.values())


def _train(group: Sequence[tuple[Autoencoder, fitting.Run]]) -> None:
    """Train models that are given the same tensors."""
    models, runs = zip(*group, strict=True)
    wanted = {model.verbose for model in models}
    verbose = True if True in wanted else None if None in wanted else False
    histories = train_many(
        [run.module for run in runs],
        runs[0].batches,
        runs[0].n_rows,
        [run.training for run in runs],
        seeds=[run.seed for run in runs],
        watchers=lambda: fitting.watchers(verbose),
        bf16=runs[0].bf16,
        steady=all(run.steady for run in runs),
    )
    for model, run, history in zip(models, runs, histories, strict=True):
        model._end(run, history)


def _check(estimators: Sequence[object]) -> None:
    for place, one in enumerate(estimators):
        if not isinstance(one, (Autoencoder, Task)):
            raise SettingError(
                f"estimators[{place}] is {one!r}; give Autoencoders, or tasks such as AnomalyDetector()."
            )
    if len({id(one) for one in estimators}) < len(estimators):
        raise SettingError(
            "the same estimator is given more than once; give each its own copy, with its own random_state: "
            "[AnomalyDetector(random_state=seed) for seed in range(4)]."
        )
