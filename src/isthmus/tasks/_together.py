"""Training the autoencoders of several plans on the same data, together where they can go together."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.errors import DoctorWarning
from isthmus.tasks.base import Plan
from isthmus.training import History, train_many


@dataclass(frozen=True)
class Started:
    """An autoencoder, what training it needs, and whether it only stands beside another, and is not spoken of."""

    model: Autoencoder
    run: fitting.Run
    aside: bool


def train_plans(plans: Sequence[Plan], X: Any) -> None:
    """Train all autoencoders of these plans, each on the rows of its plan."""
    opened: dict[object, tuple[Autoencoder, Any]] = {}
    groups: dict[object, list[Started]] = {}
    for plan in plans:
        for model, share in zip(plan.models, plan.shares or [None] * len(plan.models), strict=True):
            key, source = _source(opened, model, plan.rows, X)
            if share is not None:
                model.n_components = fitting.share_of_columns(share, model.data_.spec)
            aside = model is not plan.autoencoder
            with _quiet(aside):
                groups.setdefault(key, []).append(Started(model, model._start(*source), aside))
    for group in groups.values():
        for one, history in zip(group, _histories(group), strict=True):
            with _quiet(one.aside):
                one.model._end(one.run, history)


def _source(opened: dict[object, tuple[Autoencoder, Any]], model: Autoencoder, rows: Any, X: Any) -> tuple[object, Any]:
    """Where a model gets its batches from, the same for all that are given the same tensors, and what tells that."""
    key = (type(model.data_type), repr(model.data_type), model.precision, None if rows is None else id(rows))
    if key not in opened:
        opened[key] = (model, model._batches(X, rows, None))
    first, source = opened[key]
    if model is not first:
        model.data_, model.n_samples_ = copy.deepcopy(first.data_), first.n_samples_
    return key, source


def _histories(group: Sequence[Started]) -> list[History]:
    """Train models that are given the same tensors."""
    runs, wanted = [one.run for one in group], {one.model.verbose for one in group}
    verbose = True if True in wanted else None if None in wanted else False
    return train_many(
        [run.module for run in runs],
        runs[0].batches,
        runs[0].n_rows,
        [run.training for run in runs],
        seeds=[run.seed for run in runs],
        watchers=lambda: fitting.watchers(verbose),
        bf16=runs[0].bf16,
        steady=all(run.steady for run in runs),
    )


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Without the doctor's warnings, where that is wanted: his findings are kept all the same."""
    if not wanted:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield
