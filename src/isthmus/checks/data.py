"""What every data type must survive: what goes in as samples comes out again.

Tried on the raw data of `raw.containers()` that the type accepts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.checks.raw import containers, copied, name_of, same
from isthmus.checks.small import largest_difference
from isthmus.checks.turning import check_turning
from isthmus.data.base import Data
from isthmus.training import Batch


def checks(data: Data) -> Iterator[Callable[[Any], None]]:
    yield check_samples_come_back
    yield check_batches_are_rows
    yield check_state_comes_back
    yield check_input_stays
    yield check_numeric_arguments_turn


def check_samples_come_back(data: Data) -> None:
    """Present values, as the type that they came in; for what it merges, a type may give nothing back."""
    for X, fitted, batch in _fitted(data):
        back = fitted.from_tensor(batch.x, fitted.open(X).container)
        assert type(back) is type(X), f"{data!r} gives {name_of(back)} back for {name_of(X)}."
        again = _all(fitted, back)
        present = _present(batch) & _present(again)
        share = float(present.sum() / _present(batch).sum())
        assert share > 0.5, f"{data!r} gives only {share:.0%} of the values in {name_of(X)} back."
        error = largest_difference(batch.x[present], again.x[present])
        assert error < 1e-4, f"{data!r} gives other values back for {name_of(X)} (by {error:.2g} after scaling)."


def check_batches_are_rows(data: Data) -> None:
    """In the order asked for, shaped as the spec says, with weight 0 or 1 for every value."""
    rows = np.array([5, 0, 3])
    for X, fitted, batch in _fitted(data):
        some = fitted.batch(fitted.open(X), rows, torch.float64)
        spec, found = fitted.spec, batch.x.shape[1:]
        shape = (len(batch.x), *(found[axis] if axis in spec.free else n for axis, n in enumerate(spec.shape)))
        assert batch.x.shape == shape, f"{data!r} gives batches of shape {tuple(batch.x.shape)}; its spec says {shape}."
        assert torch.equal(some.x, batch.x[rows]), f"{data!r} must give the rows in the order asked for."
        if batch.weight is not None:
            assert batch.weight.shape == batch.x.shape, f"{data!r} gives a weight of another shape than the samples."
            known = bool(((batch.weight == 0) | (batch.weight == 1)).all())
            assert known, f"{data!r} gives weights other than 0 and 1."
        assert bool(torch.isfinite(batch.x).all()), f"{data!r} must put a number in the place of absent values."


def check_state_comes_back(data: Data) -> None:
    """Through JSON and tensors, what was learned stays to the last bit."""
    for X, fitted, batch in _fitted(data):
        document, tensors = fitted.state()
        again = copy.deepcopy(data).restore(json.loads(json.dumps(document)), tensors)
        assert _same_batch(_all(again, X), batch), f"{data!r} makes other batches of {name_of(X)} after `restore`."
        back = [part.from_tensor(batch.x) for part in (fitted, again)]
        assert same(*back), f"{data!r} gives other samples back after `restore`."


def check_input_stays(data: Data) -> None:
    for X, fitted, batch in _fitted(data):
        before = copied(X)
        _all(copy.deepcopy(data).fit(X), X)
        fitted.from_tensor(batch.x)
        assert same(X, before), f"{data!r} changed {name_of(X)} in place."


def check_numeric_arguments_turn(data: Data) -> None:
    def result(part: Data) -> list[Tensor]:
        return [_trained_on(fitted, X) for X, fitted, _ in _fitted(part)]

    check_turning([data, *type(data).examples()], result)


def _fitted(data: Data) -> Iterator[tuple[Any, Data, Batch]]:
    """Raw data, a data type fitted on them, and all their rows in one batch."""
    for X in containers():
        if type(data).accepts(X):
            fitted = copy.deepcopy(data).fit(X)
            yield X, fitted, _all(fitted, X)


def _trained_on(data: Data, X: Any) -> Tensor:
    """All that training sees, which may be pieces of the samples."""
    samples, rows = data.for_training(data.open(X))
    return data.batch(samples, rows, torch.float64).x


def _all(data: Data, X: Any) -> Batch:
    samples = data.open(X)
    return data.batch(samples, np.arange(len(samples)), torch.float64)


def _present(batch: Batch) -> Tensor:
    return torch.ones_like(batch.x, dtype=torch.bool) if batch.weight is None else batch.weight > 0


def _same_batch(first: Batch, second: Batch) -> bool:
    return all(_same_tensor(a, b) for a, b in zip(first, second, strict=True))


def _same_tensor(first: Tensor | None, second: Tensor | None) -> bool:
    return torch.equal(first, second) if first is not None and second is not None else first is second
