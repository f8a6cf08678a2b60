"""Pictures as pixels in their own type, and what a header must carry to give back the form that they came in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from isthmus.compression.container import as_bytes
from isthmus.data import Images
from isthmus.data import _image_modes as modes
from isthmus.data._image_files import ImageFile, ImageFiles
from isthmus.data._image_forms import Form, Pixels
from isthmus.data._image_samples import ImageSamples, Stack
from isthmus.errors import DataError

PLAIN = Form(0, 0)


def header_of(samples: ImageSamples) -> dict[str, Any]:
    """The container of pictures, the forms that occur, which each has, and the names of their files."""
    n = len(samples)
    if isinstance(samples.source, Stack):
        return {"n": n, "container": samples.container, "forms": [_short(samples.source.form(0))]}
    whole = [_lossless(samples.source.form(place)) for place in range(n)]
    nameless = [replace(form, name="") for form in whole]
    distinct = list(dict.fromkeys(nameless))
    header: dict[str, Any] = {"n": n, "container": samples.container, "forms": [_short(form) for form in distinct]}
    if len(distinct) > 1:
        places = {form: place for place, form in enumerate(distinct)}
        header["which"] = [places[form] for form in nameless]
    if any(form.name for form in whole):
        header["names"] = [form.name for form in whole]
    return header


def forms_in(header: dict[str, Any]) -> list[Form]:
    """The form of each picture."""
    forms = [_long(short) for short in header["forms"]]
    which = header.get("which") or [0] * header["n"]
    names = header.get("names") or [""] * header["n"]
    return [replace(forms[place], name=name) for place, name in zip(which, names, strict=True)]


def give_pictures(pixels: Sequence[Pixels], header: dict[str, Any]) -> Any:
    """Pictures (h, w, c) in the container that they came in."""
    forms = forms_in(header)
    if header["container"] == "files":
        pairs = zip(pixels, forms, strict=True)
        return ImageFiles([ImageFile(form.name, pixels=one, form=form) for one, form in pairs])
    if header["container"] == "numpy":
        stacked = np.stack(list(pixels))
        return stacked if forms[0].axis else stacked[..., 0]
    return [
        modes.to_image(one, form) if form.mode else one if form.axis else one[..., 0]
        for one, form in zip(pixels, forms, strict=True)
    ]


def refuse_hidden(data: Images, samples: ImageSamples) -> None:
    """A sentence for pictures of which the model does not see all: transparency, or colours."""
    seen = data.spec.shape[0]
    for form in samples.source.forms():
        name = form.name or "a picture"
        if form.channels in (2, 4) and seen in (1, 3):
            raise DataError(
                f"{name} has transparency, which this model does not see; fit with such pictures, or flatten it."
            )


def _lossless(form: Form) -> Form:
    """JPEG cannot hold pixels as they are, so what was one becomes a PNG."""
    if form.kind != "JPEG" and modes.kind_by_name(form.name) != "JPEG":
        return form
    return replace(form, kind="PNG", name=os.path.splitext(form.name)[0] + ".png" if form.name else "")


def _short(form: Form) -> dict[str, Any]:
    """Only what is not as usual."""
    return {name: value for name, value in asdict(form).items() if value != getattr(PLAIN, name) and name != "name"}


def _long(short: dict[str, Any]) -> Form:
    known = {field.name for field in fields(Form)}
    kept = {name: value for name, value in short.items() if name in known}
    for name in ("palette", "profile"):
        if name in kept:
            kept[name] = as_bytes(kept[name])
    if kept.get("resolution") is not None:
        kept["resolution"] = tuple(kept["resolution"])
    return Form(**kept)
