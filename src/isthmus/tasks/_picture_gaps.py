"""Which pixels of pictures are missing: NaN, no opacity, or what a mask says.

Axes: h height, w width, c channels of one picture, in its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from isthmus.data import Images
from isthmus.data._image_files import ImageFiles, is_path
from isthmus.data._image_forms import Extent, Pixels
from isthmus.data._image_samples import ImageSamples
from isthmus.errors import DataError

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Gaps:
    """What is missing in each picture.

    Parameters
    ----------
    samples : the pictures.
    mask : what marks missing pixels beside NaN and alpha: None, an array (h, w) for all pictures or (n, h, w), a list
        of arrays (h, w), or a path to one picture or to a folder with a mask of the same name for each.
    """

    def __init__(self, samples: ImageSamples, mask: Any = None):
        self.samples = samples
        self._marked = _marks(mask, samples)
        self._last: tuple[int, Pixels, Mask, Mask] | None = None

    def of(self, place: int) -> tuple[Pixels, Mask]:
        """One picture in its own unit, and which of its values are missing, (h, w, c) both."""
        _, pixels, _, values = self._looked_at(place)
        return pixels, values

    def pixels_missing(self, place: int) -> Mask:
        """Which of its pixels are missing by alpha or mask, (h, w)."""
        return self._looked_at(place)[2]

    def _looked_at(self, place: int) -> tuple[int, Pixels, Mask, Mask]:
        """The last one is kept, as it is asked for several times."""
        if self._last is None or self._last[0] != place:
            pixels: Pixels = self.samples.source.pixels(np.array([place]))[0]
            gone = self._gone(place, pixels)
            values = np.broadcast_to(gone[..., None], pixels.shape)
            values = values | np.isnan(pixels) if pixels.dtype.kind == "f" else values
            self._last = (place, pixels, gone, values)
        return self._last

    def _gone(self, place: int, pixels: Pixels) -> Mask:
        found = np.zeros(pixels.shape[:2], dtype=bool)
        if pixels.shape[2] in (2, 4):
            found |= pixels[..., -1] == 0
        if (marked := self._marked(place)) is None:
            return found
        if marked.shape != found.shape:
            name = self.samples.source.form(place).name or f"picture {place}"
            sizes = [" x ".join(map(str, one.shape)) for one in (found, marked)]
            raise DataError(
                f"{name} has {sizes[0]} pixels (height x width) and its mask {sizes[1]}; make the mask as large as its "
                "picture."
            )
        return found | marked


def merged(pixels: Pixels, made: Pixels, missing: Mask, extent: Extent) -> Pixels:
    """The picture with what was made where its values are missing; pixels that were seen through become opaque."""
    result = np.where(missing, made, pixels)
    if pixels.shape[2] in (2, 4):
        result[missing[..., -1], -1] = extent.ends(pixels.dtype)[1]
    return result


# ---- masks as people have them


def _marks(mask: Any, samples: ImageSamples) -> Callable[[int], Mask | None]:
    """The mask of the picture in a place."""
    if mask is None:
        return lambda place: None
    found = Images.read(mask) if is_path(mask) else mask
    if isinstance(found, ImageFiles):
        order = _order(found.names, samples.names, len(samples))
        return lambda place: _missing(found[order[place]], f"the mask {found.names[order[place]]}")
    if isinstance(found, np.ndarray) and found.ndim == 2:
        return lambda place: _missing(found, "the mask")
    if not isinstance(found, (list, tuple, np.ndarray)):
        raise DataError(
            f"mask is a {type(found).__name__}; it must be an array (height, width) or (n, height, width), a list of "
            "arrays, or the path of a picture or a folder."
        )
    if len(found) != len(samples):
        raise _counts_differ(len(samples), len(found))
    return lambda place: _missing(np.asarray(found[place]), f"mask {place}")


def _missing(mask: Pixels, name: str) -> Mask:
    """True where a mask is brighter than half of its brightest, (h, w)."""
    if mask.ndim == 3:
        mask = mask[..., :-1] if mask.shape[2] in (2, 4) else mask
        mask = mask.max(axis=2)
    if mask.ndim != 2 or mask.dtype.kind not in "biuf":
        raise DataError(f"{name} has shape {mask.shape} and type {mask.dtype}; a mask is (height, width), of numbers.")
    found: Mask = (mask > 0) & (mask.astype(np.float64) > mask.max() / 2)
    return found


def _order(masks: Sequence[str], names: Sequence[str], n_pictures: int) -> list[int]:
    """Which mask belongs to each picture: the only one, the one of its name, or the one in its place."""
    if len(masks) == 1:
        return [0] * n_pictures
    if not names:
        if len(masks) != n_pictures:
            raise DataError(
                f"there are {n_pictures} pictures and {len(masks)} masks; give one for each, or one for all."
            )
        return list(range(n_pictures))
    known = {str(PurePath(name).with_suffix("")): place for place, name in enumerate(masks)}
    lacking = [name for name in names if str(PurePath(name).with_suffix("")) not in known]
    if lacking:
        raise DataError(
            f"there is no mask of the name of {lacking[0]}; give each picture one, black where all is there."
        )
    return [known[str(PurePath(name).with_suffix(""))] for name in names]


def _counts_differ(n_pictures: int, n_masks: int) -> DataError:
    return DataError(f"there are {n_pictures} pictures and {n_masks} masks; give one for each, or one for all.")
