"""A contact sheet: pictures beside what is most like them, in one picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from isthmus.atomic import replace_file
from isthmus.data import Images
from isthmus.data._image_forms import Extent, to_channels, to_tensor
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[Any]

ENDINGS = (".png", ".jpg", ".jpeg")
TILE, GAP, WORDS = 132, 10, 34  # pixels: a picture, what lies between two, two lines below each
PAPER, INK, QUIET, FRAME = "#ffffff", "#16181d", "#5d6470", "#c9ced6"


@dataclass(frozen=True)
class Hit:
    """Something found: its name, how far it is, and its pixels (h, w, c); None where its file is gone."""

    name: str
    distance: str
    pixels: Pixels | None


@dataclass(frozen=True)
class Line:
    """A picture that was looked up, and what was found."""

    name: str
    pixels: Pixels
    hits: Sequence[Hit]


@dataclass(frozen=True)
class Files:
    """Where the indexed pictures lie.

    Parameters
    ----------
    names : with the folders inside the one that was given.
    paths : in full; none where they lie in no files.
    n_items : how many there are.
    """

    names: Sequence[str]
    paths: Sequence[str]
    n_items: int

    def path(self, place: int, folder: str | None) -> str:
        return self.paths[place] if folder is None else os.path.join(folder, *self.names[place].split("/"))

    def pixels(self, places: Sequence[int], folder: str | None, pictures: Any) -> dict[int, Pixels | None]:
        """Of each place: out of `pictures`, all that are indexed, else out of its file; None where that is gone.

        Raises DataError where there are none.
        """
        if pictures is not None:
            source = Images().fit(pictures).open(pictures).source
            if len(source) != self.n_items:
                raise DataError(f"pictures holds {len(source)}, and the index {self.n_items}; give those of the index.")
            return {place: source.pixels(np.array([place]))[0] for place in places}
        if not self.paths:
            raise DataError("the indexed pictures lie in no files; give them as `pictures`.")
        paths = {place: self.path(place, folder) for place in places}
        there = [place for place in places if os.path.exists(paths[place])]
        if not there:
            raise DataError(
                f"the indexed pictures are not to be found: there is no {paths[places[0]]!r}; if they were moved, say "
                "in which folder they lie now (folder=...), or index them again."
            )
        found = Images.read([paths[place] for place in there])
        held: dict[int, Pixels | None] = dict.fromkeys(places)
        return held | dict(zip(there, found, strict=True))


def named(X: Any, names: Sequence[str] | None, n_samples: int) -> tuple[list[str], list[str]]:
    """Names of samples and the paths of their files; both empty where there are none."""
    pictures = getattr(getattr(X, "source", None), "pictures", [])
    paths = [os.path.abspath(one.source) for one in pictures if isinstance(one.source, str)]
    paths = paths if len(paths) == n_samples else []
    if names is None:
        return list(X.names) if paths else [], paths
    given = [str(name) for name in names]
    if len(given) != n_samples:
        raise DataError(f"there are {n_samples} samples and {len(given)} names; give one name for each sample.")
    return given, paths


def check_path(path: str | os.PathLike[str]) -> str:
    """The kind of the file at this path; SettingError for one that no sheet can be written to."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in ENDINGS:
        raise SettingError(
            f"a contact sheet is a picture, and {os.fspath(path)!r} ends in none of {', '.join(ENDINGS)}."
        )
    return "PNG" if ending == ".png" else "JPEG"


def draw_sheet(lines: Sequence[Line], path: str | os.PathLike[str]) -> Path:
    """One row for each line: the picture at the left, then what was found, the nearest first, with words below."""
    from PIL import Image, ImageDraw

    kind = check_path(path)
    columns = 1 + max(len(line.hits) for line in lines)
    step = TILE + GAP
    width, height = columns * step + 2 * GAP, len(lines) * (step + WORDS) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        top = GAP + row * (step + WORDS)
        _put(sheet, pen, (GAP, top), line.pixels, (line.name, "looked for"))
        pen.line([(GAP + step, top), (GAP + step, top + TILE)], fill=INK, width=2)
        for rank, hit in enumerate(line.hits, start=1):
            _put(sheet, pen, (2 * GAP + rank * step, top), hit.pixels, (hit.name, hit.distance))
    written = io.BytesIO()
    sheet.save(written, kind, **({"quality": 92} if kind == "JPEG" else {"optimize": True}))
    replace_file(path, [written.getvalue()])
    return Path(path)


def _put(sheet: Image.Image, pen: Any, corner: tuple[int, int], pixels: Pixels | None, words: tuple[str, str]) -> None:
    """One picture in the middle of its square, with two lines below."""
    from PIL import ImageFont

    left, top = corner
    if pixels is None:
        pen.rectangle([left, top, left + TILE, top + TILE], outline=FRAME)
        pen.text((left + 8, top + TILE // 2 - 6), "not found", fill=QUIET, font=ImageFont.load_default(12))
    else:
        image = thumbnail(pixels)
        sheet.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
    for line, (text, ink) in enumerate(zip(words, (INK, QUIET), strict=True)):
        font = ImageFont.load_default(12)
        pen.text((left, top + TILE + 3 + 15 * line), _fitted(text, font), fill=ink, font=font)


def _fitted(text: str, font: Any) -> str:
    """As much of the end as there is room for: names differ at their ends."""
    shown = text = "".join(one if one.isprintable() else "?" for one in text)
    while len(text) > 1 and font.getlength(shown) > TILE:
        text = text[1:]
        shown = f"…{text}"
    return shown


def thumbnail(pixels: Pixels) -> Image.Image:
    """A picture (h, w) or (h, w, c) of any type, as large as a square of the sheet; tiny ones in sharp blocks."""
    from PIL import Image

    whole = pixels[..., None] if pixels.ndim == 2 else pixels
    low, high = float(np.nanmin(whole)), float(np.nanmax(whole))
    extent = Extent(min(0.0, low), max(1.0, high)) if whole.dtype.kind == "f" else Extent(low, max(high, low + 1))
    values = to_channels(to_tensor(whole[None], whole.shape[2], extent, torch.float32), 3)[0]
    image = Image.fromarray(np.rint(255 * values.nan_to_num(0.0).clamp(0, 1).permute(1, 2, 0).numpy()).astype(np.uint8))
    scale = TILE / max(image.size)
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    return image.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)
