"""Where a picture is odd: the distortion of each pixel, in nats, picture by picture where sizes differ.

Axes: B pictures, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.data import Images
from isthmus.data.base import Data, Samples
from isthmus.giving import takes_any_size, whole
from isthmus.module import AutoencoderModule
from isthmus.training import Batch
from isthmus.training.applying import Array, apply

SIDES = (("upper", "left"), ("middle", "middle"), ("lower", "right"))


def pixel_costs(module: AutoencoderModule, batch: Batch) -> Tensor:
    """Nats of each pixel, summed over channels, (B, 1, H, W)."""
    return module.cells(module.reconstruct(batch.x, batch.weight)).mean(0).sum(1, keepdim=True)


def costs(module: AutoencoderModule, data: Data, samples: Samples, dtype: torch.dtype) -> Iterator[Tensor]:
    """The same of each sample, (1, H, W), one after the other."""
    singles = data.singly(samples) if takes_any_size(module) else None
    if singles is not None:
        for single in singles:
            batch = data.batch(single, np.arange(1), dtype)
            yield torch.from_numpy(whole(module, batch, lambda batch: pixel_costs(module, batch), None))
        return
    batches = lambda rows: data.batch(samples, rows, dtype)  # noqa: E731
    yield from torch.from_numpy(
        apply(module, batches, len(samples), lambda batch: pixel_costs(module, batch), data.spec.size)
    )


def mean_distortions(module: AutoencoderModule, data: Data, samples: Samples, dtype: torch.dtype) -> Array | None:
    """Nats per present value of pictures that are read one by one, (n_samples,); None where they are read together."""
    if not takes_any_size(module) or (singles := data.singly(samples)) is None:
        return None
    found = []
    for single in singles:
        batch = data.batch(single, np.arange(1), dtype)
        cost = whole(module, batch, lambda batch: pixel_costs(module, batch), None)
        present = batch.x.numel() if batch.weight is None else int((batch.weight > 0).sum())
        found.append(float(cost.sum(dtype=np.float64)) / max(1, present))
    return np.asarray(found)


def heat_maps(module: AutoencoderModule, data: Images, samples: Any, dtype: torch.dtype) -> Any:
    """One map for each picture, in its own size."""
    return data.give_maps(costs(module, data, samples, dtype), samples)


def place_in_words(heat: npt.NDArray[Any]) -> str:
    """Where most of the heat of one map lies.

    >>> heat = np.zeros((9, 9))
    >>> heat[6:8, 1:3] = 5.0
    >>> place_in_words(heat)
    'rows 6-7, columns 1-2 (lower left): 100 % of what is odd'
    """
    excess = np.clip(heat - np.quantile(heat, 0.5), 0, None)
    total = float(excess.sum())
    if total <= 0:
        return "everywhere alike"
    rows, columns = _box(excess, 0.6 * total)
    share = excess[rows, columns].sum() / total
    names = [
        SIDES[min(2, 3 * (span.start + span.stop) // (2 * size))][axis]
        for axis, (span, size) in enumerate(zip((rows, columns), heat.shape, strict=True))
    ]
    where = "middle" if names == ["middle", "middle"] else " ".join(names)
    spans = (f"{name} {span.start}-{span.stop - 1}" for name, span in (("rows", rows), ("columns", columns)))
    return f"{', '.join(spans)} ({where}): {100 * share:.0f} % of what is odd"


def _box(excess: npt.NDArray[Any], enough: float) -> tuple[slice, slice]:
    """A box around the hottest place, grown where it gains most until it holds enough and what is beyond is cooler."""
    y, x = np.unravel_index(int(excess.argmax()), excess.shape)
    top, bottom, left, right = int(y), int(y) + 1, int(x), int(x) + 1
    while True:
        gains = {
            "top": excess[top - 1, left:right].mean() if top > 0 else -1.0,
            "bottom": excess[bottom, left:right].mean() if bottom < excess.shape[0] else -1.0,
            "left": excess[top:bottom, left - 1].mean() if left > 0 else -1.0,
            "right": excess[top:bottom, right].mean() if right < excess.shape[1] else -1.0,
        }
        side = max(gains, key=lambda name: gains[name])
        inside = excess[top:bottom, left:right]
        if gains[side] < 0 or (inside.sum() >= enough and gains[side] < 0.5 * inside.mean()):
            return slice(top, bottom), slice(left, right)
        top, bottom = top - (side == "top"), bottom + (side == "bottom")
        left, right = left - (side == "left"), right + (side == "right")
