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
from isthmus.reading import Read, light_model, through_torch
from isthmus.tasks._heat import cost_sides, maps
from isthmus.tasks._panel import Panel
from isthmus.tasks._places import place_in_words
from isthmus.tasks._shares import Scored, agreed, distortions, expected_of, shares_of
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.training.packed import packed


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
    samples, dtype = model.data_.open(X), model.data_.number_type(X)
    return _explained(model, panel, samples, np.arange(len(samples)), dtype)[0]


def _explained(
    model: Autoencoder, panel: Panel | None, samples: Samples, rows: npt.NDArray[np.int64], dtype: torch.dtype
) -> tuple[Array, Array]:
    """Of these rows: each cell's share, (n, D), and what is expected there, (n, *shape)."""
    data, readings = model.data_, _readings(model, panel)

    def read(one: Autoencoder, what: Read, expected: Array | None = None) -> Array:
        module = packed(one.as_type(dtype), len(rows))

        def batches(index: slice) -> Batch:
            batch = data.batch(samples, rows[index], dtype)
            return batch if expected is None else batch._replace(target=torch.from_numpy(expected[index]).to(dtype))

        return apply(module, batches, len(rows), lambda batch: what(module, batch), data.spec.size)

    expected = agreed(data, [read(one, partial(expected_of, data)) for one, _ in readings])
    found: Array = np.mean([read(one, partial(shares_of, one, score), expected) for one, score in readings], axis=0)
    return found, expected


def in_words(model: Autoencoder, panel: Panel | None, X: Any, rows: npt.NDArray[np.int64], n_reasons: int) -> list[str]:
    """What makes these rows odd: what stands in a cell and what was expected, or where in a picture."""
    data = model.data_
    if isinstance(data, Images) and hasattr(model.module_, "cells"):
        return _places(model, data, data.open(X).select(np.asarray(rows).tolist()), n_reasons)
    samples, rows = data.open(X), np.asarray(rows)
    found, expected = _explained(model, panel, samples, rows, torch.float64)
    given = data.batch(samples, rows, torch.float64).x
    return [_cells(data, found[i], given[i], torch.from_numpy(expected[i]), n_reasons) for i in range(len(rows))]


def _readings(model: Autoencoder, panel: Panel | None) -> Sequence[tuple[Autoencoder, Scored | None]]:
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
