"""Tensors back into pictures: in the form of training's, or each in the form of the picture that it belongs to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.data import _image_modes as modes
from isthmus.data._image_files import ImageFile, ImageFiles, write_file
from isthmus.data._image_forms import Extent, Form, Pixels, resized, to_pixels
from isthmus.data._image_samples import ROOM, ImageSamples, Stack
from isthmus.data._image_sources import is_image
from isthmus.errors import DataError

PLAIN_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def plain(form: Form) -> Form:
    """The form of any such picture: without what belongs to one alone."""
    mode = PLAIN_MODES[form.channels] if form.mode == "P" else form.mode
    return replace(form, name="", palette=b"", profile=b"", resolution=None, mode=mode)


def as_container(x: Tensor, container: str, form: Form, extent: Extent) -> Any:
    """Pictures (n, c, h, w) of the form of training's, in the size that they have."""
    pixels = to_pixels(x, form.channels, extent, form.dtype)
    form = replace(form, axis=form.axis or form.channels > 1)
    if container == "numpy":
        return _squeezed(pixels, form)
    if container == "list":
        return [_squeezed(one, form) for one in pixels]
    drawn = [_drawable(one, form, f"picture {place}") for place, one in enumerate(pixels)]
    if container == "pillow":
        return [modes.to_image(*one) for one in drawn]
    if container != "files":
        raise DataError(f"the container is {container!r}; it must be numpy, list, pillow or files.")
    ending = modes.ENDINGS[form.kind][0] if form.kind else _ending(drawn[0][1])
    return ImageFiles(
        [
            ImageFile(f"{place:05d}{ending}", pixels=one, form=replace(own, name=f"{place:05d}{ending}"))
            for place, (one, own) in enumerate(drawn)
        ]
    )


def like(x: Iterable[Tensor], samples: ImageSamples, extent: Extent) -> Any:
    """Each picture (c, h, w) in the form of the sample in the same place: type, size, mode, name."""
    return returned((in_form(one, samples, place, extent) for place, one in enumerate(x)), samples)


def returned(made: Iterable[Pixels], samples: ImageSamples, form: Callable[[int], Form] | None = None) -> Any:
    """Pixels (h, w, c) in the container of the samples; `form` gives each its form, by default that of its sample."""
    form_of = samples.source.form if form is None else form
    if isinstance(samples.source, Stack):
        return _squeezed(np.stack(list(made)), form_of(0))
    if samples.container == "files":
        shelf = _Shelf()
        kept = ((shelf.put(one), form_of(place)) for place, one in enumerate(made))
        return ImageFiles([ImageFile(own.name, pixels=one, form=own) for one, own in kept])
    return [_as_held(one, form_of(place)) for place, one in enumerate(made)]


def maps_like(maps: Iterable[Tensor], samples: ImageSamples) -> Any:
    """Each map (1, h, w) cut out of the canvas and spread over the sample in the same place; its sum stays."""
    made = []
    for place, one in enumerate(maps):
        height, width = samples.model_size(place)
        made.append(_spread(one[0, :height, :width].float().numpy(), samples.source.form(place).size))
    return np.stack(made) if isinstance(samples.source, Stack) else made


def _spread(amounts: Pixels, size: tuple[int, int]) -> Pixels:
    """Amounts per pixel, (h, w), over a grid of another size: each goes where its pixel lay.

    >>> _spread(np.array([[4.0, 8.0]]), (1, 4)).tolist(), _spread(np.array([[1.0, 2.0, 3.0]]), (1, 2)).tolist()
    ([[2.0, 2.0, 4.0, 4.0]], [[2.0, 4.0]])
    """
    rows, columns = (_overlaps(old, new, amounts.dtype) for old, new in zip(amounts.shape, size, strict=True))
    return amounts.copy() if amounts.shape == size else rows @ amounts @ columns.T


def _overlaps(old: int, new: int, dtype: Any) -> Pixels:
    """How much of each old pixel along an axis lies in each new one, (new, old)."""
    edges = np.arange(new + 1) * (old / new)
    starts = np.arange(old)
    shared: Pixels = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return shared.clip(0, 1).astype(dtype)


class _Shelf:
    """Pixels in memory, and beyond some amount in a file without a name, which goes when they go."""

    def __init__(self) -> None:
        self.room = ROOM

    def put(self, pixels: Pixels) -> Pixels:
        self.room -= pixels.nbytes
        if self.room >= 0:
            return pixels
        with tempfile.TemporaryFile() as file:
            kept: Pixels = np.memmap(file, pixels.dtype, "w+", shape=pixels.shape)
        kept[...] = pixels
        return kept


def in_form(x: Tensor, samples: ImageSamples, place: int, extent: Extent) -> Pixels:
    """A picture (c, h, w) as pixels: cut out of the canvas, in its own size, with the alpha that no model saw."""
    form = samples.source.form(place)
    height, width = samples.model_size(place)
    pixels: Pixels = to_pixels(resized(x[None, :, :height, :width], form.size), form.channels, extent, form.dtype)[0]
    if form.channels in (2, 4) and x.shape[0] in (1, 3):
        pixels[..., -1:] = samples.source.pixels(np.array([place]))[0][..., -1:]
    return pixels


def _squeezed(pixels: Pixels, form: Form) -> Pixels:
    return pixels if form.axis else pixels[..., 0]


def _as_held(pixels: Pixels, form: Form) -> Any:
    return modes.to_image(pixels, form) if form.mode else _squeezed(pixels, form)


# ---- into files


def write_pictures(X: Any, path: Any) -> None:
    """Pictures into a folder, or a single one into a file."""
    target = os.fspath(path)
    made = X if isinstance(X, ImageFiles) else ImageFiles(_numbered(X))
    alone = len(made) == 1 and not os.path.isdir(target) and modes.kind_by_name(target)
    if not alone:
        made.write(target)
        return
    file = made.files[0]
    if file.pixels is None or file.form is None:
        made.files = [replace(file, name=os.path.basename(target))]
        made.write(os.path.dirname(target) or os.curdir)
        return
    write_file(target, file.pixels, file.form)


def _numbered(X: Any) -> list[ImageFile]:
    listed = list(X) if isinstance(X, (list, tuple, np.ndarray)) else None
    if listed is None or (isinstance(X, np.ndarray) and X.ndim not in (3, 4)):
        raise DataError(
            f"{type(X).__name__} are no pictures to write; give an array (n, height, width) or (n, height, width, "
            "channels), a list of arrays or images, or what `reconstruct` gave."
        )
    made = []
    for place, one in enumerate(listed):
        pixels, form = _held(one, f"picture {place}")
        name = f"{place:05d}{_ending(form)}"
        made.append(ImageFile(name, pixels=pixels, form=replace(form, name=name)))
    return made


def _held(one: Any, name: str) -> tuple[Pixels, Form]:
    if is_image(one):
        pixels, form = modes.decode_image(one)
        return pixels, form
    if not isinstance(one, np.ndarray) or one.ndim not in (2, 3) or (one.ndim == 3 and one.shape[2] not in PLAIN_MODES):
        raise DataError(f"{name} is no picture to write; give arrays (height, width) or (height, width, channels).")
    pixels = one if one.ndim == 3 else one[..., None]
    return _drawable(pixels, Form(pixels.shape[0], pixels.shape[1], pixels.shape[2], pixels.dtype.name), name)


def _drawable(pixels: Pixels, form: Form, name: str) -> tuple[Pixels, Form]:
    """Values that a picture file can hold, and the form of them; floats become whole numbers of 8 bits."""
    channels = pixels.shape[2]
    if form.mode and form.mode != "P":
        return pixels, form
    if pixels.dtype.kind == "f":
        low, high = float(np.nanmin(pixels, initial=0.0)), float(np.nanmax(pixels, initial=1.0))
        if low < -1 or high > 2:
            raise DataError(
                f"{name} has values from {low:.4g} to {high:.4g}; floats are drawn from 0 to 1: scale them."
            )
        pixels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    simple = {("bool", 1): "1", ("uint16", 1): "I;16", ("int32", 1): "I"}
    mode = PLAIN_MODES[channels] if pixels.dtype == np.uint8 else simple.get((pixels.dtype.name, channels))
    if mode is None:
        raise DataError(
            f"{name} has {pixels.dtype.name} values in {channels} channels, which no picture file of ours can hold; "
            "convert it to uint8."
        )
    return pixels, replace(form, mode=mode, dtype=pixels.dtype.name)


def _ending(form: Form) -> str:
    """PNG wherever it can hold the picture."""
    return ".tif" if form.mode in ("F", "I", "CMYK", "YCbCr", "HSV") else ".png"
