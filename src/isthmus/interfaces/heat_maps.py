"""`isthmus detect MODEL DATA --heat-maps FOLDER`: the odd pictures, with the places that make them so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import click

from isthmus.atomic import storage_error
from isthmus.errors import SettingError
from isthmus.interfaces.folders import check_writable, filling, inside
from isthmus.interfaces.held import Held
from isthmus.interfaces.messages import log
from isthmus.words import counted, several

LARGEST = 1024  # pixels on a side


def option() -> click.Option:
    return click.Option(
        ["--heat-maps"],
        metavar="FOLDER",
        help="A new folder for a picture of each odd one, in dim grey, which glows where the score comes from: the "
        "brighter, the more. Only for models of pictures.",
    )


def check(found: Held, path: str, data: str) -> None:
    """Whether the pictures can be drawn and written there, beside what is read."""
    given = f"--heat-maps is {path!r}"
    if not found.endings:
        raise SettingError(f"{given}, and this model is for {several(found.unit)} of a table; leave it out.")
    try:
        if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
            raise SettingError(f"{given}, which is there already; give the name of a new folder.")
        if os.path.isdir(data) and inside(os.path.realpath(path), os.path.realpath(data)):
            raise SettingError(f"{given}, which lies in {data!r}, where pictures are read; give a folder beside it.")
        check_writable(path)
    except (OSError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        raise storage_error(path, "written", error) from error


def write(detector: Any, X: Any, answer: Any, path: str) -> None:
    """One picture after the other, so that memory is bounded by the largest."""
    from isthmus.data._image_files import ImageFile, ImageFiles
    from isthmus.data._image_forms import Form
    from isthmus.report.heat import heated, look

    model = detector.autoencoder_
    samples, odd = model.data_.open(X), answer.table.filter("odd")["row"].to_list()
    with filling(path):
        for row, name in zip(odd, names([samples.names[row] for row in odd]), strict=True):
            seen = look(model.module_, model.data_, samples.alone(row), LARGEST)
            pixels = heated(seen.given, seen.cost)
            form = Form(pixels.shape[0], pixels.shape[1], 3, axis=True, name=name, kind="PNG", mode="RGB")
            ImageFiles([ImageFile(name, pixels=pixels, form=form)]).write(path)
    log.info("wrote %s to %s", counted(len(odd), "heat map"), path)


def names(files: Sequence[str]) -> list[str]:
    """The names of the pictures that are written, each different from all others.

    >>> names(["a.jpg", "b/c.tif"]), names(["a.jpg", "a.tif"])
    (['a.png', 'b/c.png'], ['a.jpg.png', 'a.tif.png'])
    """
    short = [PurePath(file).with_suffix(".png").as_posix() for file in files]
    return short if len(set(short)) == len(short) else [f"{file}.png" for file in files]
