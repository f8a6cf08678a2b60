"""What a picture is like outside, and its values on the way between its own unit and the tensor.

Axes: n pictures, h height, w width, c channels. Pixels are (n, h, w, c) in the picture's own type, tensors (n, c, h, w)
with 0 for black and 1 for full; NaN stands where a value is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isthmus.damage._colour import LUMA as LUMA
from isthmus.data._samples import as_tensor

Pixels = np.ndarray[Any, Any]

#: The channels of a picture, which their number decides.
CHANNELS = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
#: How many channels each mode has that one can ask for.
MODES = {"grey": 1, "grey_alpha": 2, "colour": 3, "colour_alpha": 4}
#: The value that is white, of types that are always used from end to end.
FULL = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}


@dataclass(frozen=True)
class Form:
    """What a picture is like outside, and what it must be again when it comes back.

    Parameters
    ----------
    height, width : in pixels, after the turn that a file asks for.
    channels : 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha.
    dtype : the type of its values.
    axis : whether, as an array, it has an axis for its channels.
    name : the name of its file, with the folders inside the one that was given.
    kind : the kind of its file: PNG, JPEG, WebP, BMP or TIFF.
    mode : Pillow's name for how its values are kept; empty for an array.
    palette : of a picture with a palette its colours, four bytes each.
    profile : its ICC colour profile.
    resolution : dots per inch, across and down.
    """

    height: int
    width: int
    channels: int = 1
    dtype: str = "uint8"
    axis: bool = False
    name: str = ""
    kind: str = ""
    mode: str = ""
    palette: bytes = b""
    profile: bytes = b""
    resolution: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.height, self.width


@dataclass(frozen=True)
class Extent:
    """From where to where values reach, of a type that says nothing about it; whether some are absent."""

    low: float = 0.0
    high: float = 1.0
    gaps: bool = False

    def joined(self, other: Extent) -> Extent:
        return Extent(min(self.low, other.low), max(self.high, other.high), self.gaps or other.gaps)

    def ends(self, dtype: Any) -> tuple[float, float]:
        """The values that become 0 and 1."""
        full = FULL.get(np.dtype(dtype).name)
        return (self.low, self.high) if full is None else (0.0, full)


def extent_of(values: Pixels) -> Extent | None:
    """None where the type says it all. Looks without copying; infinite ends are for the caller to refuse."""
    if values.dtype.name in FULL:
        return None
    if values.dtype.kind != "f":
        return Extent(float(values.min()), float(values.max()))
    gaps = bool(np.isnan(values.min()))
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    return Extent(0.0, 0.0, gaps) if np.isnan(low) else Extent(low, high, gaps)


def to_tensor(pixels: Pixels, channels: int, extent: Extent, dtype: torch.dtype) -> Tensor:
    """(n, h, w, c) in their own unit become (n, channels, h, w) between 0 and 1."""
    low, high = extent.ends(pixels.dtype)
    # wide types are scaled in float64, so that they come back as they were
    working = torch.float64 if dtype == torch.float64 or _wide(pixels.dtype) else torch.float32
    turned = as_tensor(pixels).permute(0, 3, 1, 2)
    x = turned.to(working, copy=True, memory_format=torch.contiguous_format)  # the pixels are the user's own
    x.sub_(low).div_(high - low)
    return to_channels(x, channels).to(dtype)


def to_pixels(x: Tensor, channels: int, extent: Extent, dtype: Any) -> Pixels:
    """The inverse of `to_tensor`; what lies outside a type's range is cut off, and whole numbers are rounded."""
    kind = np.dtype(dtype)
    low, high = extent.ends(kind)
    working = torch.float64 if x.dtype == torch.float64 or _wide(kind) else torch.float32
    turned = to_channels(x.detach().cpu(), channels).permute(0, 2, 3, 1)
    values = turned.to(working, copy=True, memory_format=torch.contiguous_format)  # the one copy of a large picture
    return _as_type(values.mul_(high - low).add_(low).numpy(), kind)


def to_channels(x: Tensor, wanted: int) -> Tensor:
    """(n, c, h, w) as grey or colour, with or without alpha; alpha that was not there is opaque."""
    if x.shape[1] == wanted:
        return x
    colours, alpha = (x[:, :-1], x[:, -1:]) if x.shape[1] in (2, 4) else (x, torch.ones_like(x[:, :1]))
    if wanted > 2 and colours.shape[1] == 1:
        colours = colours.expand(-1, 3, -1, -1)
    elif wanted <= 2 and colours.shape[1] == 3:
        colours = sum(part * channel for part, channel in zip(LUMA, colours.split(1, dim=1), strict=True))
    return torch.cat([colours, alpha], dim=1) if wanted in (2, 4) else colours


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, c, h, w) in another size: smooth where it grows, averaged where it shrinks."""
    if tuple(x.shape[2:]) == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def resized_pixels(pixels: Pixels, size: tuple[int, int] | None) -> Pixels:
    """The same for (n, h, w, c) in their own unit and type."""
    if size is None or pixels.shape[1:3] == size:
        return pixels
    working = torch.float64 if _wide(pixels.dtype) else torch.float32
    x = resized(as_tensor(pixels).permute(0, 3, 1, 2).to(working), size)
    return _as_type(x.permute(0, 2, 3, 1).contiguous().numpy(), pixels.dtype)


def _as_type(values: Pixels, kind: np.dtype[Any]) -> Pixels:
    """Values in another type; they are changed on the way."""
    if kind.kind == "b":
        return values > 0.5
    if kind.kind == "f":
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    # the largest whole numbers of 64 bits are no floats, so the next float below is the end
    high = float(limits.max) if float(limits.max) <= limits.max else float(np.nextafter(float(limits.max), 0))
    np.clip(np.rint(values, out=values), float(limits.min), high, out=values)
    return values.astype(kind)


def _wide(dtype: np.dtype[Any]) -> bool:
    """Whether float32 would lose some of it."""
    return dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2)
