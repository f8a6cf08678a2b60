"""Samples that are pictures, as pictures inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.spec import SampleSpec

Pixels = npt.NDArray[np.uint8]  # (height, width) grey, or (height, width, 3 or 4)
LARGEST = 320  # pixels on a side; larger pictures are made smaller for the page
SHARP = 96  # up to so many pixels on a side nothing may be lost


def are_pictures(spec: SampleSpec) -> bool:
    """Whether samples of this shape can be shown as pictures: one to four channels, height, width.

    >>> are_pictures(SampleSpec((3, 32, 32))), are_pictures(SampleSpec((64,)))
    (True, False)
    """
    return len(spec.shape) == 3 and spec.channels == 0 and spec.n_channels in (1, 2, 3, 4)


def pictures_of(given: Tensor, weight: Tensor | None = None, back: Tensor | None = None) -> list[list[Pixels]]:
    """Samples (n, c, h, w) as pixels to look at, one list for `given` and one for what came back.

    0 is black and 1 is white, unless the given values need more room. What lies beyond a picture, where its weight is
    0 up to the edge, is cut off.

    >>> pictures_of(torch.tensor([[[[0.0, 0.5, 1.0]]]]))[0][0].tolist()
    [[0, 128, 255]]
    """
    least, most = min(0.0, float(given.min())), max(1.0, float(given.max()))
    room = [_inside(weight, place) for place in range(len(given))]
    tensors = [given] if back is None else [given, back]
    return [[as_pixels(one[:, y, x], least, most) for one, (y, x) in zip(some, room, strict=True)] for some in tensors]


def _inside(weight: Tensor | None, place: int) -> tuple[slice, slice]:
    """The rows and columns of the picture that hold anything."""
    if weight is None or not bool((weight[place] > 0).any()):
        return slice(None), slice(None)
    present = (weight[place] > 0).any(0)
    ends = [torch.nonzero(present.any(axis)).flatten() for axis in (1, 0)]
    y, x = (slice(int(end[0]), int(end[-1]) + 1) for end in ends)
    return y, x


def as_pixels(picture: Tensor, least: float, most: float) -> Pixels:
    """One picture (c, h, w) with 8 bits a channel; two channels are grey and alpha.

    >>> as_pixels(torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]), 0.0, 1.0).tolist()
    [[[0, 0, 0, 255], [255, 255, 255, 0]]]
    """
    shares = ((picture.double() - least) / (most - least)).nan_to_num().clamp(0, 1)
    pixels: Pixels = np.rint(255 * shares.movedim(0, 2).numpy()).astype(np.uint8)
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[:, :, 0])
    return pixels if pixels.shape[2] > 2 else pixels[:, :, [0, 0, 0, 1]]


def difference(first: Pixels, second: Pixels) -> Pixels:
    """Where two pictures differ: black where they are alike, white where they differ most."""
    gap = np.abs(first.astype(np.float64) - second.astype(np.float64))
    gap = gap if gap.ndim == 2 else gap[:, :, :3].max(2)
    pixels: Pixels = np.rint(gap * (255 / max(1.0, gap.max()))).astype(np.uint8)
    return pixels


def source(pixels: Pixels, largest: int = LARGEST) -> str:
    """The picture as a data URI, made smaller where it is large."""
    from PIL import Image

    image: Any = Image.fromarray(pixels)
    if max(image.size) > largest:
        image.thumbnail((largest, largest))
    written = io.BytesIO()
    form = "JPEG" if max(image.size) > SHARP and image.mode in ("L", "RGB") else "PNG"
    image.save(written, form, optimize=True, **({"quality": 88} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def small(pixels: Pixels, side: int) -> Pixels:
    """A thumbnail of at most `side` pixels on a side, red, green, blue and alpha; tiny ones are made larger."""
    from PIL import Image

    image: Any = Image.fromarray(pixels).convert("RGBA")
    if max(image.size) > side:
        image.thumbnail((side, side))
    times = side // max(image.size)
    return np.asarray(image, dtype=np.uint8).repeat(times, 0).repeat(times, 1)
