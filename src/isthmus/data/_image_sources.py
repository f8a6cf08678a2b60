"""Whatever people hold pictures in becomes a source: one array, a list of arrays or images, or files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isthmus.data import _image_files as files
from isthmus.data import _image_modes as modes
from isthmus.data import _image_pillow as pillow
from isthmus.data._image_forms import CHANNELS, Form, Pixels
from isthmus.data._image_samples import Album, Picture, Source, Stack
from isthmus.data._series_samples import looks_like_series
from isthmus.errors import DataError

log = logging.getLogger("isthmus")
SHOWN = 20  # sentences about single files, before they are only counted


@dataclass
class Gathered:
    """Pictures that can be used, the container that they came in, and what there is to say about the others."""

    source: Source
    container: str
    skipped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    reduced: list[str] = field(default_factory=list)

    def remarks(self, channels: int) -> list[Remark]:
        """One line for each thing that a person may not expect of a model that sees so many channels."""
        # the rest of each sentence says how to leave the file out, which was done
        made = [Remark(logging.WARNING, f"left out: {one.partition('; ')[0]}") for one in self.skipped[:SHOWN]]
        if len(self.skipped) > SHOWN:
            made.append(Remark(logging.WARNING, f"left out: {len(self.skipped) - SHOWN} more damaged pictures"))
        for names, what in (
            (self.ignored, "ignored, as no picture by its name"),
            (self.several, "the first picture was taken, as it is animated or has several pages"),
            (self.reduced, "8 bits for each colour were taken of the 16 that it has"),
        ):
            if names:
                made.append(Remark(logging.INFO, f"{what}: {_few(names)}"))
        if channels <= 2 and (coloured := sum(form.channels > 2 for form in self.source.forms())):
            seen = "they have colours" if isinstance(self.source, Stack) else f"{coloured} of the pictures have colours"
            made.append(Remark(logging.WARNING, f"{seen}, and the model sees grey: results are grey too"))
        return made


@dataclass(frozen=True)
class Remark:
    """A line in the log."""

    level: int
    text: str


def say(remarks: Sequence[Remark], said: set[str]) -> None:
    """Each once: the same pictures are opened again for every question about them."""
    for remark in remarks:
        if remark.text not in said:
            said.add(remark.text)
            log.log(remark.level, "%s", remark.text)


def accepts(X: Any) -> bool:
    """Whether these look like pictures; reads no file."""
    if isinstance(X, files.ImageFiles):
        return True
    if files.is_path(X):
        return files.looks_like_pictures(str(X))
    if isinstance(X, np.ndarray):
        return X.ndim in (3, 4) and X.dtype.kind in "fiub"
    if not isinstance(X, (list, tuple)) or not X:
        return False
    return all(_is_picture(one) for one in X[:20]) and not looks_like_series(X)


def _is_picture(one: Any) -> bool:
    if files.is_path(one):
        return modes.kind_by_name(str(one)) is not None
    if isinstance(one, np.ndarray):
        return one.ndim in (2, 3) and one.dtype.kind in "fiub"
    return is_image(one)


def is_image(one: Any) -> bool:
    """Whether this is an image of Pillow's, asked without importing it."""
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(one).__mro__)


def gather(X: Any, skip: bool, max_pixels: int) -> Gathered:
    """The pictures, each looked at; DataError for the first that cannot be used, unless it is to be skipped."""
    if isinstance(X, np.ndarray):
        return Gathered(_stack(X), "numpy")
    listed = isinstance(X, (list, tuple))
    if isinstance(X, files.ImageFiles) or files.is_path(X) or (listed and X and all(map(files.is_path, X))):
        return _from_files(files.find(X), skip, max_pixels)
    if not listed:
        raise DataError(
            f"a {type(X).__name__} holds no pictures; give an array (n, height, width) or (n, height, width, "
            "channels), a list of arrays or images, a folder, a pattern, or a list of files."
        )
    return _from_list(X, skip, max_pixels)


def _stack(X: Pixels) -> Stack:
    if X.ndim == 2:
        raise DataError(
            f"X has shape {X.shape}, so it is a table; pictures are (n, height, width): "
            "use X.reshape(len(X), height, width)."
        )
    if X.ndim not in (3, 4):
        raise DataError(f"X has shape {X.shape}; pictures are (n, height, width) or (n, height, width, channels).")
    array = X[..., None] if X.ndim == 3 else X
    form = _form(array.shape[1:], X.dtype, X.ndim == 4, f"X of shape {X.shape}")
    if not len(X):
        raise DataError("X holds no pictures; give at least one.")
    return Stack(array, form, pillow.finite_extent(X, "X"))


def _form(shape: tuple[int, ...], dtype: Any, axis: bool, name: str) -> Form:
    """The form of an array (h, w, c)."""
    height, width, channels = shape
    if dtype.kind not in "fiub":
        raise DataError(f"{name} holds values of type {dtype}; the values of pictures are numbers.")
    if channels not in CHANNELS:
        hint = "; put the channels last with np.moveaxis" if len(shape) == 3 else ""
        raise DataError(f"{name} has {channels} channels on its last axis; pictures have 1 to 4{hint}.")
    if not height or not width:
        raise DataError(f"{name} has no pixels; give pictures that are at least 1 x 1.")
    return Form(height, width, channels, dtype.name, axis=axis)


def _from_list(X: Sequence[Any], skip: bool, max_pixels: int) -> Gathered:
    pictures: list[Picture] = []
    skipped: list[str] = []
    for place, one in enumerate(X):
        try:
            pictures.append(_picture(one, f"picture {place}", max_pixels))
        except DataError as error:
            if not skip:
                raise
            skipped.append(str(error))
    _refuse_none(pictures, skipped)
    container = "pillow" if all(map(is_image, X)) else "list"
    return Gathered(Album(pictures, max_pixels), container, skipped)


def _picture(one: Any, name: str, max_pixels: int) -> Picture:
    if is_image(one):
        pillow.refuse_large(name, one.width, one.height, max_pixels)
        with pillow.patient(max_pixels), pillow.complaints(name):
            pixels, form = modes.decode_image(one)
        return Picture(replace(form, kind=""), one, pillow.finite_extent(pixels, name))
    if not isinstance(one, np.ndarray):
        raise DataError(f"{name} is a {type(one).__name__}; a list of pictures holds arrays, images or paths.")
    if one.ndim not in (2, 3):
        raise DataError(f"{name} has shape {one.shape}; a picture is (height, width) or (height, width, channels).")
    array = one[..., None] if one.ndim == 2 else one
    form = _form(array.shape, one.dtype, one.ndim == 3, name)
    return Picture(form, array, pillow.finite_extent(one, name))


def _from_files(found: files.ImageFiles, skip: bool, max_pixels: int) -> Gathered:
    held = [place for place, file in enumerate(found.files) if file.pixels is None]
    checked = dict(
        zip(
            held,
            pillow.check_all(
                [found.files[place].path for place in held], [found.files[place].name for place in held], max_pixels
            ),
            strict=True,
        )
    )
    gathered = Gathered(Album([], max_pixels), "files", ignored=list(found.ignored))
    pictures = []
    for place, file in enumerate(found.files):
        seen = checked.get(place)
        if isinstance(seen, DataError):
            if not skip:
                raise seen
            gathered.skipped.append(str(seen))
        elif seen is not None:
            pictures.append(Picture(seen.form, file.path, seen.extent))
            gathered.several += [file.name] if seen.frames > 1 else []
            gathered.reduced += [file.name] if seen.deep else []
        elif file.form is not None and file.pixels is not None:
            pictures.append(Picture(file.form, file.pixels, pillow.finite_extent(file.pixels, file.name)))
    _refuse_none(pictures, gathered.skipped)
    gathered.source = Album(pictures, max_pixels)
    return gathered


def _refuse_none(pictures: Sequence[Picture], skipped: Sequence[str]) -> None:
    if not pictures and skipped:
        raise DataError(f"none of {len(skipped)} pictures can be used; the first: {skipped[0]}")
    if not pictures:
        raise DataError("there are no pictures; give at least one.")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
