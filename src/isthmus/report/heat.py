"""A picture with the places that make it odd: a dim grey picture, and light over them.

The colours go from dark to bright as the cost does, so they tell it to everybody, also in print without colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from isthmus.data._image_forms import LUMA, resized
from isthmus.data._image_samples import ImageSamples
from isthmus.data.base import Data
from isthmus.module import AutoencoderModule
from isthmus.report.pictures import LARGEST, Pixels, pictures_of
from isthmus.tasks._heat import maps, returned_and_costs
from isthmus.training.applying import Array

DIM = 0.5  # the white of the grey picture below
#: Red, green and blue, from where it begins to glow to the hottest place.
GLOW = ((0.75, 0.3, 0.05), (1.0, 0.6, 0.1), (1.0, 0.95, 0.4))
TOP = 0.995  # of the pixels glow less than the brightest
SMOOTH = 40  # times the width of the window over which pixels are averaged, where the picture has so many


@dataclass(frozen=True)
class Look:
    """One picture as the model sees it: given, come back, and what each pixel costs."""

    given: Pixels
    returned: Pixels
    cost: Array


def look(module: AutoencoderModule, data: Data, alone: ImageSamples, largest: int = LARGEST) -> Look:
    """One picture on its way through the model, a large one in tiles; at most `largest` pixels on a side are given."""
    dtype = next(module.parameters()).dtype
    both = next(maps(module, data, alone, dtype, returned_and_costs))
    batch, costs = data.batch(alone, slice(0, 1), dtype), both[None, -1:]
    if batch.weight is not None:  # a hole costs nothing, which may be more than what surely comes back
        costs = torch.where((batch.weight > 0).any(1, keepdim=True), costs, costs.min())
    x, back, cost = (_shrunk(one, largest) for one in (batch.x, both[None, :-1], costs))
    pixels = pictures_of(x, None, back)
    return Look(pixels[0][0], pixels[1][0], cost[0, 0].numpy())


def _shrunk(x: Tensor, largest: int) -> Tensor:
    """Pictures (1, c, h, w), made smaller where they are larger than that."""
    height, width = x.shape[2:]
    scale = min(1.0, largest / max(height, width))
    return resized(x, (max(1, round(scale * height)), max(1, round(scale * width))))


def heated(picture: Pixels, cost: Array) -> Pixels:
    """The picture in dim grey, and glowing where its pixels cost most; what costs the median or less is left dark.

    >>> heated(np.full((1, 3), 255, np.uint8), np.array([[0.0, 0.0, 5.0]])).tolist()
    [[[128, 128, 128], [128, 128, 128], [255, 242, 102]]]
    """
    excess = np.clip(np.nan_to_num(cost) - np.median(cost), 0, None)
    excess = uniform_filter(excess, max(1, max(cost.shape) // SMOOTH))
    top = float(np.quantile(excess, TOP, method="higher"))
    strength = np.clip(excess / (top if top > 0 else 1.0), 0, 1)
    grey = picture[..., :3] @ np.asarray(LUMA) if picture.ndim == 3 else picture
    dim = (DIM * grey / 255.0)[..., None]
    steps = np.linspace(0, 1, len(GLOW))
    glow = np.stack([np.interp(strength, steps, [one[channel] for one in GLOW]) for channel in range(3)], -1)
    cover = (strength**0.75)[..., None]
    pixels: Pixels = np.rint(255 * ((1 - cover) * dim + cover * glow)).astype(np.uint8)
    return pixels
