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
from isthmus.data.base import Data
from isthmus.light.model import scorer as light_scorer
from isthmus.light.wording import reason
from isthmus.module import AutoencoderModule
from isthmus.reading import Read, light_model, through_torch
from isthmus.tasks._heat import cost_sides, maps
from isthmus.tasks._panel import Panel
from isthmus.tasks._places import place_in_words
from isthmus.tasks._shares import Scored, distortions, expected_of, shares_of
from isthmus.training import Batch
from isthmus.training.applying import Array, apply


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
    return _mean([one.read(X, partial(_shares, one, score)) for one, score in _readings(model, panel)])


def in_words(model: Autoencoder, panel: Panel | None, X: Any, rows: npt.NDArray[np.int64], n_reasons: int) -> list[str]:
    """What makes these rows odd: what stands in a cell and what was expected, or where in a picture."""
    data = model.data_
    if isinstance(data, Images) and hasattr(model.module_, "cells"):
        return _places(model, data, data.open(X).select(np.asarray(rows).tolist()), n_reasons)
    samples = data.open(X)

    def batches(index: slice) -> Batch:
        return data.batch(samples, np.asarray(rows)[index], torch.float64)

    def read(one: Autoencoder, what: Read) -> Array:
        module = one.as_type(torch.float64)
        return apply(module, batches, len(rows), lambda batch: what(module, batch), data.spec.size)

    found = _mean([read(one, partial(_shares, one, score)) for one, score in _readings(model, panel)])
    expected = torch.from_numpy(read(model, lambda module, batch: expected_of(data, module, batch)))
    given = batches(slice(None)).x
    return [_cells(data, found[i], given[i], expected[i], n_reasons) for i in range(len(rows))]


def _readings(model: Autoencoder, panel: Panel | None) -> Sequence[tuple[Autoencoder, Scored | None]]:
    """Who is asked: of tables all that the score is made of, else the model alone."""
    return [(model, None)] if panel is None or len(model.data_.spec.shape) != 1 else panel.readings()


def _shares(model: Autoencoder, score: Scored | None, module: AutoencoderModule, batch: Batch) -> Tensor:
    return shares_of(model, module, batch, score)


def _mean(found: Sequence[Array]) -> Array:
    mean: Array = np.mean(found, axis=0)
    return mean


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
