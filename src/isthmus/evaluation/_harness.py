"""The harness of an evaluation: the data as tensors, folds of them, and what the model and PCA make of each fold."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data, Samples
from isthmus.errors import DataError, IsthmusWarning
from isthmus.metrics import explained_variance
from isthmus.tasks.base import Task
from isthmus.training import Batch
from isthmus.training.applying import Array, apply

MOST_ROWS = 5_000  # that are looked at; of more, evenly spread ones
MOST_NUMBERS = 2**25  # in all samples that are looked at
FOLDS = 5
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, rows to measure on, and the codes of all by a model that may have seen the first."""

    train: Rows
    test: Rows
    codes: Array


@dataclass(frozen=True)
class Harness:
    """What the sections of an evaluation look at.

    Parameters
    ----------
    autoencoder : the fitted one.
    rows : which samples of X these are.
    shape : of one sample as a tensor.
    x, back, weight : what went in, what comes back, and what of it is present, each (n, size); weight may be None.
        What comes back of a row is from the model of the fold in which the row was measured.
    filled : x with means where values are absent, as rivals need it.
    folds : see there.
    codes : by the fitted model, (n, numbers in a code).
    grid : the shape of one code.
    n_seen : how many samples the model was fitted on, 0 where that is not known.
    refitted : whether every fold has a model of its own.
    """

    autoencoder: Autoencoder
    rows: Rows
    shape: tuple[int, ...]
    x: Tensor
    back: Tensor
    weight: Tensor | None
    filled: Array
    folds: list[Fold]
    codes: Array
    grid: tuple[int, ...]
    n_seen: int
    refitted: bool

    @property
    def data(self) -> Data:
        return self.autoencoder.data_

    @property
    def size(self) -> int:
        """Numbers in a code."""
        return int(self.codes.shape[1])

    @property
    def skips(self) -> bool:
        """Whether the codes carry the maps of a network, so that there is nothing short about them."""
        return bool(getattr(getattr(self.autoencoder.module_, "architecture", None), "skips", False))

    @cached_property
    def pca(self) -> PCA | None:
        """PCA of the same size, fitted on all rows; None where it would have more components than rows."""
        return self._pca(self.filled)

    @cached_property
    def fold_pcas(self) -> list[PCA | None]:
        """The same, fitted on the rows that each fold learns from."""
        return [self._pca(self.filled[fold.train]) for fold in self.folds]

    def _pca(self, given: Array) -> PCA | None:
        size = min(self.size, given.shape[1])
        return None if len(given) <= size else PCA(size, random_state=0).fit(given)

    def explained(self, back: Tensor) -> list[float]:
        """The share of the variance of the measured rows of each fold that comes back."""
        return [
            explained_variance(
                self.x[fold.test], back[fold.test], None if self.weight is None else self.weight[fold.test]
            )
            for fold in self.folds
        ]

    def pca_back(self) -> Tensor | None:
        """What PCA gives back for every row, fitted without the row's fold."""
        back = torch.empty_like(self.x)
        for fold, fitted in zip(self.folds, self.fold_pcas, strict=True):
            if fitted is None:
                return None
            given = fitted.inverse_transform(fitted.transform(self.filled[fold.test]))
            back[fold.test] = torch.from_numpy(given).to(back)
        return back


def harness(model: Autoencoder | Task, X: Any, cv: int | None, seed: int) -> Harness:
    """Read X with the model; with `cv` also with models that are fitted anew, each without one fold of the rows."""
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    samples = autoencoder.data_.open(X)
    if len(samples) < 4:
        raise DataError(f"X holds {len(samples)} samples, of which nothing can be said; give at least 4, better 200.")
    size = autoencoder.data_.batch(samples, np.arange(1)).x.numel()  # may be larger than those of training
    rows = spread(len(samples), max(4, min(MOST_ROWS, MOST_NUMBERS // size)))
    batch, back, codes, grid = read(autoencoder, samples, rows)
    x, weight = batch.x.flatten(1), None if batch.weight is None else batch.weight.flatten(1)
    folds = [
        Fold(train, test, codes)
        for train, test in KFold(min(cv or FOLDS, len(rows)), shuffle=True, random_state=seed).split(rows)
    ]
    if cv:
        fresh = refit(model, X)
        for place, fold in enumerate(folds):
            fitted = fresh(rows[fold.train], place)
            _, theirs, own, _ = read(fitted, fitted.data_.open(X), rows)
            back[fold.test], folds[place] = theirs[fold.test], Fold(fold.train, fold.test, own)
    n_seen = getattr(autoencoder, "n_samples_", 0)
    shape = tuple(batch.x.shape[1:])
    return Harness(autoencoder, rows, shape, x, back, weight, fill(x, weight), folds, codes, grid, n_seen, bool(cv))


def read(autoencoder: Autoencoder, samples: Samples, rows: Rows) -> tuple[Batch, Tensor, Array, tuple[int, ...]]:
    """These rows, what comes back for them (n, size), their codes (n, numbers in a code) and the shape of a code."""
    data, dtype = autoencoder.data_, torch.float32
    module = autoencoder.as_type(dtype)
    batches = lambda part: data.batch(samples, rows[part], dtype)  # noqa: E731
    n, size = len(rows), data.batch(samples, rows[:1], dtype).x.numel()

    def through(look: Callable[[Batch], Tensor]) -> Tensor:
        return torch.from_numpy(apply(module, batches, n, look, size))

    codes = through(lambda batch: module.encode(batch.x, batch.weight))
    back = through(lambda batch: giving.decoded(module, batch).mean)
    weighed = data.batch(samples, rows[:1], dtype).weight is not None
    whole = Batch(through(lambda batch: batch.x), through(_weight) if weighed else None)
    return whole, back.flatten(1), codes.flatten(1).double().numpy(), tuple(codes.shape[1:])


def _weight(batch: Batch) -> Tensor:
    assert batch.weight is not None
    return batch.weight


def refit(model: Autoencoder | Task, X: Any) -> Callable[[Rows, int], Autoencoder]:
    """A function that fits the same autoencoder anew on some rows, with codes of the same size."""
    fitted = model if isinstance(model, Autoencoder) else model.autoencoder_
    fresh = clone(model) if isinstance(model, Autoencoder) else model.prepared(X)
    fresh.set_params(n_components=fitted.n_components_, verbose=False)

    def fit(rows: Rows, place: int) -> Autoencoder:
        one: Autoencoder = clone(fresh)
        if isinstance(one.random_state, (int, np.integer)):
            one.set_params(random_state=int(one.random_state) + place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IsthmusWarning)  # what the doctor said of the model itself stands there
            return one.fit_rows(X, rows)

    return fit


def fill(x: Tensor, weight: Tensor | None) -> Array:
    """x with the means of what is present where values are absent."""
    if weight is None:
        return x.double().numpy()
    present = (weight > 0).double()
    mean = (x.double() * present).sum(0) / present.sum(0).clamp_min(1)
    return torch.where(weight > 0, x.double(), mean).numpy()


def spread(n: int, most: int) -> Rows:
    """All of n places, or `most` evenly spread ones.

    >>> spread(3, 10).tolist(), spread(11, 3).tolist()
    ([0, 1, 2], [0, 5, 10])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def mean(values: Sequence[float]) -> float:
    """NaN where there is nothing."""
    return float(np.mean(values)) if len(values) else float("nan")
