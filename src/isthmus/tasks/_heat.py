"""Where a picture is odd: the distortion of each pixel, in nats, picture by picture where sizes differ.

Axes: B pictures, C channels, K maps, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data.base import Data, Samples
from isthmus.errors import DataError, SettingError
from isthmus.module import AutoencoderModule
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.training.progress import CountBar

#: Maps of a batch, (B, K, H, W).
Read = Callable[[AutoencoderModule, Batch], Tensor]


# ---- what there is to know of each pixel


def pixel_costs(module: AutoencoderModule, batch: Batch) -> Tensor:
    """Nats of each pixel, summed over channels, (B, 1, H, W); absent values have none."""
    return module.cells(module.reconstruct(batch.x, batch.weight)).mean(0).sum(1, keepdim=True)


def channel_costs(module: AutoencoderModule, batch: Batch) -> Tensor:
    """How much cheaper each pixel gets when one channel takes its expected values, (B, C, H, W)."""
    cost = pixel_costs(module, batch)
    expected = giving.decoded(module, batch).point
    drops = []
    for channel in range(batch.x.shape[1]):
        changed = batch.x.clone()
        changed[:, channel] = expected[:, channel]
        drops.append(cost - pixel_costs(module, Batch(changed, batch.weight)))
    return torch.cat(drops, 1)


def cost_sides(module: AutoencoderModule, batch: Batch) -> Tensor:
    """Nats of each pixel, how present it is, and how much lighter than expected, (B, 3, H, W)."""
    present = torch.ones_like(batch.x) if batch.weight is None else (batch.weight > 0).to(batch.x)
    n_colours = 3 if batch.x.shape[1] > 2 else 1  # what follows is alpha, which is no light
    lighter = ((batch.x - giving.mean(module, batch)) * present)[:, :n_colours].mean(1, keepdim=True)
    return torch.cat([pixel_costs(module, batch), present.mean(1, keepdim=True), lighter], 1)


def returned_and_costs(module: AutoencoderModule, batch: Batch) -> Tensor:
    """What came back, and nats of each pixel, (B, C + 1, H, W)."""
    return torch.cat([giving.mean(module, batch), pixel_costs(module, batch)], 1)


# ---- of many pictures


def maps(
    module: AutoencoderModule, data: Data, samples: Samples, dtype: torch.dtype, read: Read = pixel_costs
) -> Iterator[Tensor]:
    """What `read` gives of each picture, (K, H, W), one after the other: large ones in tiles, never on one canvas.

    Raises SettingError for a module that does not tell the distortion of single values.
    """
    if not hasattr(module, "cells"):
        raise SettingError(
            "this network tells the distortion of a whole picture only; for a heat map give it a method `cells`, the "
            "distortion of every value, as isthmus.module.AutoencoderModule has it."
        )
    singles = data.singly(samples) if giving.takes_any_size(module) else None
    if singles is not None:
        yield from (torch.from_numpy(_alone(module, data, single, dtype, read)[0]) for single in singles)
        return
    batches = lambda rows: data.batch(samples, rows, dtype)  # noqa: E731
    yield from torch.from_numpy(apply(module, batches, len(samples), lambda batch: read(module, batch), data.spec.size))


def means_over_values(
    module: AutoencoderModule, data: Data, samples: Samples, dtype: torch.dtype, read: Read, verbose: bool | None
) -> Array | None:
    """Maps summed over a picture, for each of its present values, (n_samples, K).

    None where pictures are not read one by one, for then there are faster ways.
    """
    singles = data.singly(samples) if giving.takes_any_size(module) else None
    if singles is None:
        return None
    found = []
    with CountBar(len(samples), verbose) as bar:
        for place, single in enumerate(singles):
            made, n_present = _alone(module, data, single, dtype, read)
            found.append(made.sum((1, 2), dtype=np.float64) / max(1, n_present))
            bar.show(place + 1)
    return np.stack(found)


def singly(model: Autoencoder, X: Any, read: Read) -> Array | None:
    """The same of what a fitted model says of X; None where samples are no pictures of mixed sizes."""
    data = model.data_
    if not data.spec.free:
        return None
    dtype = data.number_type(X)
    return means_over_values(model.as_type(dtype), data, data.open(X), dtype, read, model.verbose)


def heat_maps(model: Autoencoder, X: Any) -> Any:
    """Nats of each pixel, in the picture's own size. Raises DataError where samples are no pictures."""
    data = model.data_
    if not isinstance(data, Images):
        raise DataError(
            f"a heat map is for pictures, and this model is for {data.name()}; `explain` tells their odd cells."
        )
    samples, dtype = data.open(X), data.number_type(X)
    return data.give_maps(maps(model.as_type(dtype), data, samples, dtype), samples)


def _alone(module: AutoencoderModule, data: Data, single: Samples, dtype: torch.dtype, read: Read) -> tuple[Array, int]:
    """The maps of one picture, and how many of its values are present."""
    batch = data.batch(single, np.arange(1), dtype)
    n_present = batch.x.numel() if batch.weight is None else int((batch.weight > 0).sum())
    return giving.whole(module, batch, lambda tile: read(module, tile), None), n_present
