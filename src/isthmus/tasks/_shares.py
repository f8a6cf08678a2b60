"""Each cell's share in making a row odd: how much less odd the row is once the cell holds what is expected there.

What is expected is what the model says while the cell is hidden: shown, an odd value would speak for itself, for a code
carries some of it to the output. A value that the code carries well costs little there, so that the code counts too:
half of minus the logarithm of its density, for the law of codes is only roughly normal. And a column with many
categories is odd more often without being wrong; what a random entry would cost there is taken off.

Where a score says how odd a row is, its nats count, and a quarter of the model's. Where it asks several models, all
have one expectation: the mean of their numbers, and the words and answers that most of them name.

Axes: B rows, D columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data
from isthmus.drawing import one_hot
from isthmus.light.model import CODE_PART, MODEL_PART, RANDOM_NUMBER, precision_of
from isthmus.module import AutoencoderModule
from isthmus.reconstruction import Reconstruction
from isthmus.training import Batch
from isthmus.training.applying import Array

#: How odd the samples of a pass are, (B,), in nats.
Scored = Callable[[Reconstruction], Tensor]


def distortions(data: Data, module: AutoencoderModule, batch: Batch) -> Tensor:
    """The distortion of each sample, (B,); for each present value where sizes may differ."""
    return _distortions(data, module.reconstruct(batch.x, batch.weight), batch)


def _distortions(data: Data, pass_: Reconstruction, batch: Batch) -> Tensor:
    distortion = pass_.distortion
    assert distortion is not None
    if not data.spec.free:
        return distortion.mean(0)
    present = torch.ones_like(batch.x) if batch.weight is None else (batch.weight > 0).to(batch.x)
    return distortion.mean(0) / present.flatten(1).sum(1).clamp_min(1)


def shares_of(model: Autoencoder, score: Scored | None, module: AutoencoderModule, batch: Batch) -> Tensor:
    """How much less odd each row is when one cell at a time takes its expected value, in nats, (B, D).

    The batch's targets are what is expected. `score` is None where the model alone says how odd samples are.
    """
    data, x, weight, expected = model.data_, *batch
    assert expected is not None
    oddness = _Oddness(model, module, score)
    before = oddness(batch)
    drops = []
    for column in range(data.spec.n_columns):
        cell = _cell(data, column, x)
        drop = before - oddness(Batch(torch.where(cell, expected, x), weight)) - oddness.random_entry(column)
        present = cell.expand_as(x) if weight is None else cell & (weight > 0)
        drops.append(torch.where(present.flatten(1).any(1), drop, 0.0))
    return torch.stack(drops, 1)


def expected_of(data: Data, module: AutoencoderModule, batch: Batch) -> Tensor:
    """What each cell of a row should hold by all others, (B, *shape); of other samples what comes back for them."""
    if len(data.spec.shape) != 1:
        return giving.decoded(module, batch).point
    x = batch.x
    given = torch.ones_like(x) if batch.weight is None else batch.weight
    expected = x.clone()
    for column in range(data.spec.n_columns):
        cell = _cell(data, column, x)
        hidden = Batch(x.masked_fill(cell, 0.0), given.masked_fill(cell, 0.0))
        expected = torch.where(cell, giving.decoded(module, hidden).point, expected)
    return expected


def agreed(data: Data, points: Sequence[Array]) -> Array:
    """One expectation out of several models', each (n, *shape).

    >>> import numpy as np
    >>> from isthmus.data import Tables
    >>> table = {"colour": ["red", "blue", "red", "blue"], "size": [1.0, 2.0, 3.0, 4.5]}
    >>> import polars as pl
    >>> data = Tables().fit(pl.DataFrame(table))
    >>> agreed(data, [np.array([[1.0, 0, 0, 2]]), np.array([[0.0, 1, 0, 3]]), np.array([[0.0, 1, 0, 7]])])
    array([[0., 1., 0., 4.]])
    """
    mean: Array = np.mean(points, axis=0)
    if len(points) == 1:
        return mean
    if len(data.spec.elements("categorical")):
        mean = one_hot(torch.from_numpy(mean), data.spec).numpy()
    answers = data.spec.elements("boolean").numpy()
    mean[:, answers] = mean[:, answers] > 0.5
    return mean


def _cell(data: Data, column: int, x: Tensor) -> Tensor:
    """Which values of a sample belong to a column, as a mask that goes with a batch."""
    shape = [1] * x.ndim
    shape[data.spec.axis] = data.spec.n_channels
    return (data.spec.column_of == column).to(x.device).view(shape)


class _Oddness:
    """How odd each row is: its distortion and, of tables, half of what its code costs, in nats, (B,); with a score
    its nats and a part of these.
    """

    def __init__(self, model: Autoencoder, module: AutoencoderModule, score: Scored | None = None):
        self.data, self.module, self.rows = model.data_, module, len(model.data_.spec.shape) == 1
        self.score = score
        if self.rows:
            like = next(module.parameters())
            density = model.code_density_
            self.mean = torch.from_numpy(density.mean).to(like)
            self.precision = torch.from_numpy(precision_of(density.covariance)).to(like)

    def __call__(self, batch: Batch) -> Tensor:
        pass_ = self.module.reconstruct(batch.x, batch.weight)
        found = _distortions(self.data, pass_, batch)
        if self.rows:
            assert pass_.code is not None
            away = pass_.code[0].flatten(1) - self.mean
            found = found + CODE_PART * 0.5 * ((away @ self.precision) * away).sum(1)
        return found if self.score is None else self.score(pass_) + MODEL_PART * found

    def random_entry(self, column: int) -> float:
        """What is odd about an entry that is drawn blindly."""
        columns = self.data.spec.columns
        if not self.rows or not columns or columns[column].kind == "numeric":
            return RANDOM_NUMBER if self.rows else 0.0
        return math.log(max(2, columns[column].size))
