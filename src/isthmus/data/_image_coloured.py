"""Grey pictures whose answers are to be in colour: the same pictures, with the forms that colour needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.data._image_forms import Form, Pixels
from isthmus.data._image_samples import ImageSamples, Source, Stack


def coloured(samples: ImageSamples) -> ImageSamples:
    """The same pictures in their own size, which come back in colour, whatever they are."""
    source = samples.source
    if isinstance(source, Stack):  # one array gives one array
        return ImageSamples(Stack(source.array, in_colour(source.form(0)), source.extent()), samples.container, None)
    return ImageSamples(_Coloured(source), samples.container, None)


class _Coloured:
    """Pictures that are as they were, and say of themselves that they are in colour."""

    def __init__(self, source: Source):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def form(self, place: int) -> Form:
        return in_colour(self.source.form(place))

    def forms(self) -> Sequence[Form]:
        return [in_colour(form) for form in self.source.forms()]

    def extent(self) -> Any:
        return self.source.extent()

    def pixels(self, rows: np.ndarray[Any, Any]) -> Pixels | list[Pixels]:
        return self.source.pixels(rows)

    def select(self, rows: Sequence[int]) -> _Coloured:
        return _Coloured(self.source.select(rows))


def in_colour(form: Form) -> Form:
    """The form of a picture that is otherwise like this one and may have any colour.

    A palette goes, as it holds few colours; so does a grey profile, which says nothing of colours. Black and white
    without anything in between becomes 8 bits, as do deeper greys where a picture file holds no deeper colours.

    >>> in_colour(Form(4, 6, mode="L", kind="PNG")).mode, in_colour(Form(4, 6, dtype="float32")).channels
    ('RGB', 3)
    """
    alpha = form.channels in (2, 4)
    if form.mode == "P" or (form.mode and form.channels < 3):
        profile = form.profile if form.channels > 2 else b""
        form = replace(form, mode="RGBA" if alpha else "RGB", dtype="uint8", palette=b"", profile=profile)
    dtype = "uint8" if form.dtype == "bool" else form.dtype
    return replace(form, channels=3 + alpha, axis=True, dtype=dtype)
