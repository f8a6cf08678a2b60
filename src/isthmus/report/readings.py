"""One look through the pass for all that the report shows: codes, errors, inputs and what came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data._image_samples import ImageSamples
from isthmus.data.base import Data, Samples
from isthmus.errors import DataError
from isthmus.module import AutoencoderModule
from isthmus.report.wording import number
from isthmus.tasks import AnomalyDetector
from isthmus.tasks.base import Answer, Task
from isthmus.training import Batch
from isthmus.training.applying import CHUNK, Array, apply

MOST_ROWS = 20_000  # read for the report; of more, evenly spread ones
MOST_READ = 100_000_000  # numbers in all samples that are read, so that a folder of photos takes a minute and no hour
MOST_HELD = 20_000_000  # numbers in samples that are held at a time
MOST_COMPARED = 4_000
MOST_SIDE = 1_024  # pixels of a picture on a side; of larger ones the middle is read
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Some samples as tensors, flattened to (m, size): given, come back, and what of it is present."""

    given: Tensor
    returned: Tensor
    weight: Tensor | None

    @property
    def present(self) -> Tensor:
        return torch.ones_like(self.given) if self.weight is None else (self.weight > 0).to(self.given)


class Readings:
    """What a fitted model makes of X.

    Parameters
    ----------
    model : an Autoencoder or a task around one.
    X : the data, as the model takes them.
    """

    def __init__(self, model: Autoencoder | Task, X: Any):
        self.model = model
        self.autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
        self.data: Data = self.autoencoder.data_
        self.module: AutoencoderModule = self.autoencoder.module_
        self.X = X
        self.samples: Samples = self.data.open(X)
        self.n_samples = len(self.samples)
        if not self.n_samples:
            raise DataError("X holds no sample; give at least one, or leave X out.")
        self.size = self.batch(np.arange(1)).x.numel()  # of one sample, which may be larger than those of training
        self.rows = spread(self.n_samples, max(1, min(MOST_ROWS, MOST_READ // self.size)))
        judges = isinstance(model, Task) and not model.draws
        self.answer: Answer | None = model.answer(self._looked_at) if judges else None
        self.code_size, self.pooled = 0, False  # numbers in a code; whether it is a grid, shown by its mean
        read = self.through(self.rows, self._read)
        self.codes: Array = np.nan_to_num(read[:, :-1].astype(np.float64))
        self.errors: Array = held(read[:, -1].astype(np.float64) if self.scores is None else self.scores[self.rows])

    @property
    def _looked_at(self) -> Any:
        """Pictures opened, so that files are looked at once; other data as they are."""
        return self.samples if isinstance(self.samples, ImageSamples) else self.X

    def _read(self, batch: Batch) -> Tensor:
        distortion = self.module.reconstruct(batch.x, batch.weight).distortion
        assert distortion is not None
        codes = self.module.encode(batch.x, batch.weight)
        self.code_size, self.pooled = codes[0].numel(), codes.ndim > 2
        each = codes.flatten(1, -2).mean(1) if self.pooled else codes
        return torch.cat([each, distortion.mean(0)[:, None]], 1)

    @cached_property
    def scores(self) -> Array | None:
        """What a detector says of every sample; None for other models."""
        if self.answer is None or not isinstance(self.model, AnomalyDetector):
            return None
        scores: Array = self.answer.table["score"].to_numpy()
        return held(scores)

    @property
    def threshold(self) -> float | None:
        return self.model.threshold_ if isinstance(self.model, AnomalyDetector) else None

    def batch(self, rows: Rows) -> Batch:
        """These rows of X as tensors, in the number type of the module."""
        dtype = next(self.module.parameters()).dtype
        samples = self.samples
        if not (isinstance(samples, ImageSamples) and self.data.spec.free and max(samples.canvas) > MOST_SIDE):
            return self.data.batch(samples, rows, dtype)
        size = (min(MOST_SIDE, samples.canvas[0]), min(MOST_SIDE, samples.canvas[1]))
        alone = [_middle(self.data.batch(samples.alone(int(row)), slice(0, 1), dtype), size) for row in rows]
        return Batch(torch.cat([one.x for one in alone]), torch.cat([one.weight for one in alone]))

    def through(self, rows: Rows, read: Callable[[Batch], Tensor]) -> Array:
        """What `read` gives for each of these rows, as many at a time as memory has room for."""
        step = max(1, min(CHUNK, MOST_HELD // (4 * self.size)))
        found: Array = np.concatenate(
            [self._through(rows[start : start + step], read) for start in range(0, len(rows), step)]
        )
        return found

    def _through(self, rows: Rows, read: Callable[[Batch], Tensor]) -> Array:
        return apply(self.module, lambda index: self.batch(rows[index]), len(rows), read)

    def part(self, rows: Rows) -> Part:
        """These rows, and what comes back for them."""
        batch = self.batch(rows)
        mean = self.through(rows, lambda batch: self.decoded(batch).mean)
        weight = None if batch.weight is None else batch.weight.flatten(1).double()
        return Part(batch.x.flatten(1).double(), torch.from_numpy(mean).flatten(1).double(), weight)

    def decoded(self, batch: Batch) -> Any:
        """The law that comes out for a batch."""
        return giving.decoded(self.module, batch)

    @cached_property
    def compared(self) -> Part:
        """As many of the read rows as fit for a comparison."""
        most = max(2, min(MOST_COMPARED, MOST_HELD // self.size))
        return self.part(self.rows[spread(len(self.rows), most)])

    def file_name(self, row: int) -> str:
        """The name of a sample's file, in brackets; empty where it has none."""
        names = getattr(self.samples, "names", [])
        return f" ({names[row]})" if names else ""

    def error_of(self, row: int) -> str:
        """The error of one of the rows of X, in words; a detector's score."""
        if self.scores is not None:
            return f"score {number(float(self.scores[row]))}"
        return f"error {number(float(self.errors[np.searchsorted(self.rows, row)]))}"

    def at_quantiles(self, quantiles: list[float]) -> Rows:
        """Places among the read rows whose errors stand at these quantiles, each place once."""
        order = np.argsort(self.errors, kind="stable")
        places = order[[round(quantile * (len(order) - 1)) for quantile in quantiles]]
        return np.asarray(list(dict.fromkeys(places.tolist())), dtype=np.int64)


class _Weighed(NamedTuple):
    x: Tensor
    weight: Tensor


def _middle(batch: Batch, size: tuple[int, int]) -> _Weighed:
    """The middle of a large picture, in the upper left corner of a canvas of this size."""
    starts = [max(0, side - most) // 2 for side, most in zip(batch.x.shape[2:], size, strict=True)]
    rows, columns = (slice(start, start + most) for start, most in zip(starts, size, strict=True))
    present = torch.ones_like(batch.x) if batch.weight is None else batch.weight
    x, weight = (one[:, :, rows, columns] for one in (batch.x, present))
    beyond = (0, size[1] - x.shape[3], 0, size[0] - x.shape[2])
    return _Weighed(functional.pad(x, beyond), functional.pad(weight, beyond))


def held(errors: Array) -> Array:
    """Errors as numbers that can be drawn: what is not finite becomes the largest number that is.

    >>> held(np.array([1.0, np.inf, 3.0, np.nan])).tolist()
    [1.0, 3.0, 3.0, 3.0]
    """
    finite = errors[np.isfinite(errors)]
    return np.where(np.isfinite(errors), errors, finite.max() if len(finite) else 0.0)


def spread(n: int, most: int) -> Rows:
    """All of n places, or `most` evenly spread ones.

    >>> spread(3, 10).tolist(), spread(11, 3).tolist()
    ([0, 1, 2], [0, 5, 10])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
