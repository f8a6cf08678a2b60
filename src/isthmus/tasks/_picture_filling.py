"""Pictures with gaps through a trained network, one after the other, each in its own form.

Axes: B pictures of a batch, c channels, H and W height and width of the canvas, h and w of a picture on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data._image_back import in_form
from isthmus.data._image_forms import Form, Pixels
from isthmus.data._image_samples import ImageSamples
from isthmus.data.images import Images
from isthmus.module import AutoencoderModule
from isthmus.tasks._picture_gaps import Gaps, merged
from isthmus.training import Batch
from isthmus.training.progress import CountBar

CHUNK = 2**20  # pixels of small pictures of one size that go through the network together


def filled(model: Autoencoder, gaps: Gaps, shares: list[float]) -> Iterator[Pixels]:
    """Each picture, (h, w, c), its missing values as the model expects them; which share of them there were goes to
    `shares`.
    """
    data = model.data_
    assert isinstance(data, Images)
    for place, made in enumerate(_expected(model, data, gaps)):
        pixels, missing = gaps.of(place)
        shares.append(float(missing.mean()))
        if made is None:
            yield pixels
        else:
            yield merged(pixels, in_form(made, gaps.samples, place, data.extent), missing, data.extent)


def lossless(samples: ImageSamples) -> Callable[[int], Form]:
    """The forms of the results: those of the pictures, but files that would lose something become PNG."""
    names = {samples.source.form(place).name for place in range(len(samples))}

    def form(place: int) -> Form:
        own = samples.source.form(place)
        if own.kind != "JPEG":
            return own
        name = str(PurePath(own.name).with_suffix(".png")) if own.name else ""
        name = f"{own.name}.png" if name in names else name
        return replace(own, name=name, kind="PNG", mode="L" if own.channels == 1 else "RGB")

    return form


@torch.inference_mode()
def _expected(model: Autoencoder, data: Images, gaps: Gaps) -> Iterator[Tensor | None]:
    """What the model expects of each picture, (c, H, W); None where nothing is missing."""
    samples, dtype = gaps.samples, data.number_type(gaps.samples)
    module = model.as_type(dtype)
    singles = data.singly(samples) if giving.takes_any_size(module) else None
    if singles is None:
        some = max(1, CHUNK // math.prod(samples.canvas))
        for start in range(0, len(samples), some):
            rows = np.arange(start, min(start + some, len(samples)))
            yield from _together(module, told(data.batch(samples, rows, dtype), gaps, rows), gaps, rows)
        return
    with CountBar(len(samples), model.verbose) as bar:
        for place, single in enumerate(singles):
            if not gaps.of(place)[1].any():
                yield None
                continue
            batch = told(data.batch(single, np.arange(1), dtype), gaps, np.array([place]))
            progress = lambda done, of, place=place: bar.show(place + done / of)  # noqa: E731
            yield torch.from_numpy(giving.whole(module, batch, lambda batch: giving.mean(module, batch), progress))


def _together(module: AutoencoderModule, batch: Batch, gaps: Gaps, rows: np.ndarray) -> Iterator[Tensor | None]:
    device = next(module.parameters()).device
    made = giving.mean(module, batch.to(device)).cpu()
    yield from (one if gaps.of(place)[1].any() else None for one, place in zip(made, rows.tolist(), strict=True))


def told(batch: Batch, gaps: Gaps, rows: np.ndarray) -> Batch:
    """The batch with a weight: below 0 where a value of a picture is missing, 0 outside of it."""
    weight = torch.ones_like(batch.x) if batch.weight is None else batch.weight.clone()
    for one, place in zip(weight, rows.tolist(), strict=True):
        height, width = gaps.samples.model_size(place)
        inside = one[:, :height, :width]
        missing = torch.from_numpy(gaps.pixels_missing(place).astype(np.float32))[None, None]
        if missing.shape[2:] != inside.shape[1:]:  # a pixel is missing where any part of it is
            missing = functional.adaptive_max_pool2d(missing, inside.shape[1:])
        inside[(missing[0] > 0).expand_as(inside) | (inside <= 0)] = -1.0
    return batch._replace(weight=weight)
