"""Why a sample is odd, in words: the cells with the largest shares, or the places of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data._image_samples import ImageSamples
from isthmus.data.base import Data, Samples
from isthmus.light.model import scorer as light_scorer
from isthmus.light.wording import reason
from isthmus.module import AutoencoderModule
from isthmus.reading import Read, light_model, through_torch
from isthmus.tasks._heat import cost_sides, maps
from isthmus.tasks._panel import Panel
from isthmus.tasks._places import place_in_words
from isthmus.tasks._shares import Scored, agreed, distortions, expected_of, shares_of
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.training.packed import packed

#: The autoencoders that are asked, each with what else says how odd a row is.
Readings = Sequence[tuple[Autoencoder, Scored | None]]


def read_distortions(data: Data) -> Read:
    """The same, to be read from a model of these data."""
    return lambda module, batch: distortions(data, module, batch)


def row_scorer(model: Autoencoder, owner: str) -> Callable[[Any], Any]:
    """Minus the distortion of one row at a time: in NumPy where that will do, else through torch."""
    light = light_model(model._pack(), owner)
    if light is not None:
        return light_scorer(light, with_rate=False)
    return through_torch(model, lambda module, batch: -distortions(model.data_, module, batch), "score_samples")


def column_names(data: Data) -> list[str]:
    """What the columns of shares are called."""
    return [column.name for column in data.spec.columns] or list(data.feature_names)


def shares(model: Autoencoder, panel: Panel | None, X: Any) -> Array:
    """Each cell's share in making its row odd, in nats, (n_samples, n_columns)."""
    data, readings = model.data_, _readings(model, panel)
    if len(readings) > 1:
        return _explained(readings, data.open(X), None, data.number_type(X))[0]
    one, score = readings[0]

    def read(module: AutoencoderModule, batch: Batch) -> Tensor:
        return shares_of(one, score, module, batch._replace(target=expected_of(data, module, batch)))

    return one.read(X, read)


def _explained(
    readings: Readings, samples: Samples, rows: npt.NDArray[np.int64] | None, dtype: torch.dtype
) -> tuple[Array, Array]:
    """Of these rows, None for all: each cell's share, (n, D), and what is expected there, (n, *shape)."""
    data, n_rows = readings[0][0].data_, len(samples if rows is None else rows)

    def read(one: Autoencoder, what: Read, expected: Array | None = None) -> Array:
        module = packed(one.as_type(dtype), n_rows)

        def batches(index: slice) -> Batch:
            batch = data.batch(samples, index if rows is None else rows[index], dtype)
            return batch if expected is None else batch._replace(target=torch.from_numpy(expected[index]).to(dtype))

        return apply(module, batches, n_rows, lambda batch: what(module, batch), data.spec.size)

    expected = agreed(data, [read(one, partial(expected_of, data)) for one, _ in readings])
    found: Array = np.mean([read(one, partial(shares_of, one, score), expected) for one, score in readings], axis=0)
    return found, expected


def in_words(model: Autoencoder, panel: Panel | None, X: Any, rows: npt.NDArray[np.int64], n_reasons: int) -> list[str]:
    """What makes these rows odd: what stands in a cell and what was expected, or where in a picture."""
    data = model.data_
    if isinstance(data, Images) and hasattr(model.module_, "cells"):
        return _places(model, data, data.open(X).select(np.asarray(rows).tolist()), n_reasons)
    samples, rows = data.open(X), np.asarray(rows)
    found, expected = _explained(_readings(model, panel), samples, rows, torch.float64)
    given = data.batch(samples, rows, torch.float64).x
    return [_cells(data, found[i], given[i], torch.from_numpy(expected[i]), n_reasons) for i in range(len(rows))]


def _readings(model: Autoencoder, panel: Panel | None) -> Readings:
    """Who is asked: of tables all that the score is made of, else the model alone."""
    return [(model, None)] if panel is None or len(model.data_.spec.shape) != 1 else panel.readings()


def _cells(data: Data, shares: Array, given: Tensor, expected: Tensor, n_reasons: int) -> str:
    def tell(place: int) -> tuple[str, str]:
        return data.describe(place, given), data.describe(place, expected)

    return reason(shares, column_names(data), tell, n_reasons)


def _places(model: Autoencoder, data: Images, samples: ImageSamples, n_reasons: int) -> list[str]:
    """In words, where these pictures are odd."""
    dtype = data.number_type(samples)
    told = []
    for place, sides in enumerate(maps(model.as_type(dtype), data, samples, dtype, cost_sides)):
        height, width = samples.model_size(place)
        cost, present, lighter = sides[:, :height, :width].numpy()
        told.append(place_in_words(cost, n_reasons, present, lighter, samples.source.form(place).size))
    return told
