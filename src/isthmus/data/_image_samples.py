"""Pictures on their way into a tensor: one array, or many pictures of any size, whole or cut into patches.

Nothing is decoded before its batch is asked for; what was decoded is kept as long as there is room. All samples that
were opened together have one canvas: a smaller picture stands in its upper left corner, the rest has weight zero. So a
sample's tensor does not depend on the others in its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus.data import _image_pillow as pillow
from isthmus.data._image_forms import Extent, Form, Pixels, resized_pixels, to_tensor
from isthmus.data.base import Rows, places
from isthmus.errors import DataError
from isthmus.training.batch import Batch

ROOM = 512 * 2**20  # bytes of decoded pixels that are kept
FEW = 8  # pictures that are decoded at a time where they are made smaller at once
MOST_PATCHES = 256  # of one picture: beyond that they lie further apart
LEAST_PATCHES = 16  # of one picture, where it has room, however many pictures there are
ENOUGH_PATCHES = 2**14  # of all pictures


@dataclass(frozen=True)
class Picture:
    """One picture: an array (h, w, c), an image of Pillow's, or the path of a file; and what it is like."""

    form: Form
    source: Any
    extent: Extent | None = None


class Source(Protocol):
    """Pictures in their own unit."""

    def __len__(self) -> int: ...

    def form(self, place: int) -> Form:
        """What one picture is like."""
        ...

    def forms(self) -> Sequence[Form]:
        """Each form that occurs; one for all where all are alike."""
        ...

    def extent(self) -> Extent | None:
        """From where to where values reach, over all whose type does not say."""
        ...

    def pixels(self, rows: np.ndarray[Any, Any]) -> Pixels | list[Pixels]:
        """(n, h, w, c), or a list of (h, w, c)."""
        ...

    def select(self, rows: Sequence[int]) -> Source:
        """Some of the pictures."""
        ...


class Stack:
    """Pictures in one array (n, h, w, c), which is never copied."""

    def __init__(self, array: Pixels, form: Form, extent: Extent | None):
        self.array = array
        self._form = form
        self._extent = extent

    def __len__(self) -> int:
        return len(self.array)

    def form(self, place: int) -> Form:
        return self._form

    def forms(self) -> Sequence[Form]:
        return [self._form]

    def extent(self) -> Extent | None:
        return self._extent

    def pixels(self, rows: np.ndarray[Any, Any]) -> Pixels:
        found: Pixels = self.array[rows]
        return found

    def select(self, rows: Sequence[int]) -> Stack:
        return Stack(self.array[rows], self._form, self._extent)


class Album:
    """Pictures of any size, kind and type."""

    def __init__(self, pictures: Sequence[Picture], max_pixels: int):
        self.pictures = list(pictures)
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.pictures)

    def form(self, place: int) -> Form:
        return self.pictures[place].form

    def forms(self) -> Sequence[Form]:
        return [picture.form for picture in self.pictures]

    def extent(self) -> Extent | None:
        found = [picture.extent for picture in self.pictures if picture.extent is not None]
        return None if not found else _joined(found)

    def pixels(self, rows: np.ndarray[Any, Any]) -> list[Pixels]:
        chosen = [self.pictures[row] for row in rows]
        coded = [picture for picture in chosen if not isinstance(picture.source, np.ndarray)]
        decoded = iter(pillow.decode_all([one.source for one in coded], self.max_pixels) if coded else ())
        return [one.source if isinstance(one.source, np.ndarray) else _same(next(decoded), one.form) for one in chosen]

    def select(self, rows: Sequence[int]) -> Album:
        return Album([self.pictures[row] for row in rows], self.max_pixels)


def _same(pixels: Pixels, form: Form) -> Pixels:
    if pixels.shape != (*form.size, form.channels):
        raise DataError(f"{form.name or 'a picture'} has changed since it was opened; open the pictures again.")
    return pixels


def _joined(extents: Sequence[Extent]) -> Extent:
    whole = extents[0]
    for extent in extents[1:]:
        whole = whole.joined(extent)
    return whole


class ImageSamples:
    """Whole pictures that fit what was learned.

    Parameters
    ----------
    source : where the pictures are.
    container : the name of the type that they came in.
    size : the size they are brought to; None for their own.
    least : the smallest canvas, (height, width).
    skipped : why pictures were left out, a sentence each.
    """

    def __init__(
        self,
        source: Source,
        container: str,
        size: tuple[int, int] | None,
        least: tuple[int, int] = (1, 1),
        skipped: Sequence[str] = (),
    ):
        self.source, self.container, self.size, self.least, self.skipped = source, container, size, least, list(skipped)
        sizes = {size} if size is not None else {form.size for form in source.forms()}
        self.uniform = len(sizes) == 1
        self.canvas = (max(least[0], *(one[0] for one in sizes)), max(least[1], *(one[1] for one in sizes)))
        self.padded = sizes != {self.canvas}
        self._kept = Kept()

    def __len__(self) -> int:
        return len(self.source)

    @property
    def names(self) -> list[str]:
        """The name of each picture's file; an empty list where they have none."""
        names = [self.source.form(place).name for place in range(len(self))]
        return names if any(names) else []

    @property
    def gaps(self) -> bool:
        """Whether values may be absent."""
        found = self.source.extent()
        return self.padded or (found is not None and found.gaps)

    def model_size(self, place: int) -> tuple[int, int]:
        """How much of the canvas a picture takes."""
        return self.size or self.source.form(place).size

    def select(self, rows: Sequence[int]) -> ImageSamples:
        """Some of the pictures, on a canvas of their own."""
        return ImageSamples(self.source.select(rows), self.container, self.size, self.least)

    def alone(self, place: int) -> ImageSamples:
        """One picture, on a canvas of its own size."""
        return ImageSamples(self.source.select([place]), self.container, self.size)

    def pixels(self, rows: np.ndarray[Any, Any]) -> Pixels | list[Pixels]:
        """Pictures in their own unit, in the size that the model sees."""
        if isinstance(self.source, Stack):
            return resized_pixels(self.source.pixels(rows), self.size)
        return self._kept.get(rows, self.fresh)

    def fresh(self, rows: np.ndarray[Any, Any]) -> list[Pixels]:
        """The same, not from what was kept; only a few are in memory in their own size."""
        few = (self.source.pixels(rows[start : start + FEW]) for start in range(0, len(rows), FEW))
        return [resized_pixels(pixels[None], self.size)[0] for some in few for pixels in some]


class PatchSamples:
    """Square pieces of pictures, for training: row by row over each picture, overlapping by half where there is room.

    Parameters
    ----------
    whole : the pictures.
    side : height and width of a patch; a picture that is smaller gives one patch of its own size.
    """

    def __init__(self, whole: ImageSamples, side: int):
        self.whole, self.side, self.container = whole, side, whole.container
        self.canvas = (side, side)
        most = max(LEAST_PATCHES, min(MOST_PATCHES, ENOUGH_PATCHES // max(1, len(whole))))
        self.corners = [corners(whole.model_size(place), side, most) for place in range(len(whole))]
        self.starts = np.concatenate([[0], np.cumsum([len(one) for one in self.corners])]).astype(np.int64)
        small = any(min(whole.model_size(place)) < side for place in range(len(whole)))
        extent = whole.source.extent()
        self.gaps = small or (extent is not None and extent.gaps)
        self._kept = Kept()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def rows_of(self, pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which patches belong to these pictures."""
        pieces = [np.arange(self.starts[place], self.starts[place + 1]) for place in pictures]
        return np.concatenate(pieces) if pieces else np.arange(0)

    def pixels(self, rows: np.ndarray[Any, Any]) -> list[Pixels]:
        places = np.searchsorted(self.starts, rows, side="right") - 1
        pieces = [(int(place), int(row - self.starts[place])) for row, place in zip(rows, places, strict=True)]
        if isinstance(self.whole.source, Stack) and self.whole.size is None:
            return [self._patch(self.whole.source.array[place], place, piece) for place, piece in pieces]
        distinct = np.unique(places)
        cut = dict(zip(distinct.tolist(), self._kept.get(distinct, self._cut), strict=True))
        return [cut[place][piece] for place, piece in pieces]

    def _patch(self, pixels: Pixels, place: int, piece: int) -> Pixels:
        y, x = self.corners[place][piece]
        return pixels[y : y + self.side, x : x + self.side]

    def _cut(self, places: np.ndarray[Any, Any]) -> list[Pixels]:
        """All patches of each picture, (k, h, w, c); only the patches stay in memory."""
        cut = []
        for start in range(0, len(places), FEW):
            few = places[start : start + FEW]
            for place, pixels in zip(few.tolist(), self.whole.fresh(few), strict=True):
                cut.append(np.stack([self._patch(pixels, place, piece) for piece in range(len(self.corners[place]))]))
        return cut


class Kept:
    """Decoded pixels by place, as long as there is room: what came first stays, as every epoch asks for all."""

    def __init__(self) -> None:
        self.pixels: dict[int, Pixels] = {}
        self.room = ROOM

    def get(self, places: np.ndarray[Any, Any], make: Any) -> list[Pixels]:
        missing = np.array(sorted({int(place) for place in places} - self.pixels.keys()), dtype=np.int64)
        made = dict(zip(missing.tolist(), make(missing), strict=True)) if len(missing) else {}
        found = [self.pixels[place] if place in self.pixels else made[place] for place in places.tolist()]
        for place, pixels in made.items():
            if pixels.nbytes <= self.room:
                self.pixels[place] = pixels
                self.room -= pixels.nbytes
        return found


def corners(size: tuple[int, int], side: int, most: int = MOST_PATCHES) -> list[tuple[int, int]]:
    """Where patches begin, (y, x), so that they cover the picture, or are spread evenly over one too large for that.

    >>> corners((4, 6), 4)
    [(0, 0), (0, 2)]
    """
    steps = [math.ceil(max(0, length - side) / max(1, side // 2)) + 1 for length in size]
    short, long = sorted((0, 1), key=steps.__getitem__)
    steps[short] = min(steps[short], math.isqrt(most))
    steps[long] = min(steps[long], most // steps[short])
    ends = [
        np.linspace(0, max(0, length - side), n).round().astype(int).tolist()
        for length, n in zip(size, steps, strict=True)
    ]
    return [(y, x) for y in ends[0] for x in ends[1]]


def make_batch(samples: Any, rows: Rows, dtype: torch.dtype, channels: int, extent: Extent) -> Batch:
    """The rows as tensors (n, channels, *canvas): x is 0 and weight 0 where there is nothing."""
    pixels = samples.pixels(places(rows, len(samples)))
    if isinstance(pixels, list) and len({(one.shape, one.dtype) for one in pixels}) == 1:
        pixels = np.stack(pixels)
    if isinstance(pixels, np.ndarray) and pixels.shape[1:3] == samples.canvas:
        x = to_tensor(pixels, channels, extent, dtype)
    else:
        x = torch.full((len(pixels), channels, *samples.canvas), float("nan"), dtype=dtype)
        for place, one in enumerate(pixels):
            x[place, :, : one.shape[0], : one.shape[1]] = to_tensor(one[None], channels, extent, dtype)[0]
    return _weighed(x) if samples.gaps else Batch(x)


def _weighed(x: Tensor) -> Batch:
    gone = torch.isnan(x)
    if not bool(gone.any()):
        return Batch(x)
    return Batch(x.masked_fill_(gone, 0.0), (~gone).to(x.dtype))
