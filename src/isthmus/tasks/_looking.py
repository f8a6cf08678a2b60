"""What tasks for pictures alone ask of their training pictures before they choose how to train."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from os import PathLike
from typing import Any

from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data.base import Data
from isthmus.errors import DataError
from isthmus.part import resolve


@dataclass(frozen=True)
class Look:
    """How many channels the pictures need, and the largest height or width, in pixels."""

    channels: int
    side: int


def pictures(model: Autoencoder, owner: str) -> Images:
    """The data type to train with, in a copy: pictures. Raises DataError where another one was asked for."""
    if model.data_type == "auto":
        return Images()
    given = copy.deepcopy(resolve("data", model.data_type, Data))
    if not isinstance(given, Images):
        raise DataError(f"{owner} is for pictures, and the data type is {given.name()}; leave data_type out.")
    return given


def look(images: Images, X: Any, owner: str) -> Look:
    """What these pictures are like. Raises DataError, in a sentence, for what is no picture."""
    if not isinstance(X, (str, PathLike)) and not Images.accepts(X):
        raise DataError(
            f"{owner} is for pictures; give an array (n, height, width) or (n, height, width, channels), a list of "
            f"arrays or images, a folder, a pattern, or a list of files, not {_said(X)}."
        )
    plain = Images(damaged=images.damaged, max_pixels=images.max_pixels)
    channels, height, width = plain.fit(X).spec.shape
    return Look(channels, max(height, width))


def _said(X: Any) -> str:
    """What was given, in few words."""
    shape = getattr(X, "shape", None)
    many = f" of shape {tuple(shape)}" if shape is not None and not callable(shape) else ""
    return f"a {type(X).__name__}{many}"
