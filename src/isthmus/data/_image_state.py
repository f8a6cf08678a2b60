"""What pictures' `fit` learned, as JSON and tensors and back. Nothing in a file is believed before it is checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from isthmus.data._image_forms import CHANNELS, Extent, Form
from isthmus.data.base import ColumnFacts
from isthmus.errors import ModelFileError
from isthmus.storage import tensor_text, text_tensor

CONTAINERS = ("numpy", "list", "pillow", "files")
DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
LARGEST = 10**9  # elements of one sample
WORDS = ("name", "kind", "dtype")
NUMBERS = ("n_missing", "n_distinct", "constant", "mean", "standard_deviation", "minimum", "maximum")


@dataclass
class Learned:
    """All that `fit` learned about pictures.

    `shape` is (channels, height, width) of a sample, `free` whether its size may vary, `form` a picture as one of
    training was.
    """

    schema: list[ColumnFacts]
    container: str
    shape: tuple[int, int, int]
    free: bool
    gaps: bool
    extent: Extent
    form: Form


def to_state(learned: Learned) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A small document, and tensors with the facts about each channel."""
    form = {name: getattr(learned.form, name) for name in ("height", "width", "channels", "dtype", "axis")}
    document = {
        "container": learned.container,
        "shape": list(learned.shape),
        "free": learned.free,
        "gaps": learned.gaps,
        "extent": asdict(learned.extent),
        "form": form | {"kind": learned.form.kind, "mode": learned.form.mode},
    }
    tensors = {f"column_{field}": text_tensor([getattr(facts, field) for facts in learned.schema]) for field in WORDS}
    rows = [[float(getattr(facts, field)) for field in NUMBERS] for facts in learned.schema]
    return document, tensors | {"column_numbers": torch.tensor(rows, dtype=torch.float64)}


def from_state(document: dict[str, Any], tensors: dict[str, Tensor]) -> Learned:
    """The inverse of `to_state`; ModelFileError where the file cannot have come from there."""
    try:
        learned = Learned(
            _schema(tensors),
            document["container"],
            tuple(document["shape"]),
            document["free"],
            document["gaps"],
            Extent(**document["extent"]),
            Form(**document["form"]),
        )
        problem = _problem(learned)
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise ModelFileError(f"the description of the pictures cannot be read: {error}.") from error
    if problem:
        raise ModelFileError(f"the description of the pictures cannot be used: {problem}.")
    return learned


def _schema(tensors: dict[str, Tensor]) -> list[ColumnFacts]:
    names, kinds, dtypes = (tensor_text(tensors[f"column_{field}"]) for field in WORDS)
    rows = tensors["column_numbers"].tolist()
    if set(kinds) != {"numeric"}:
        raise ValueError(f"channels are numeric, not {', '.join(kinds)}")
    return [
        ColumnFacts(
            name,
            "numeric",
            dtype,
            n_missing=int(missing),
            n_distinct=int(distinct),
            constant=bool(constant),
            mean=mean,
            standard_deviation=deviation,
            minimum=low,
            maximum=high,
        )
        for name, dtype, (missing, distinct, constant, mean, deviation, low, high) in zip(
            names, dtypes, rows, strict=True
        )
    ]


def _problem(learned: Learned) -> str:
    """What `fit` cannot have learned."""
    form, extent, shape = learned.form, learned.extent, learned.shape
    sizes = (*shape, form.height, form.width)
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes) or len(shape) != 3:
        return f"the sizes are {sizes}"
    if math.prod(shape) > LARGEST:
        return f"a sample of shape {shape} is larger than any picture"
    if tuple(facts.name for facts in learned.schema) != CHANNELS.get(shape[0]) or form.channels not in CHANNELS:
        return f"the channels are {[facts.name for facts in learned.schema]} for a sample of shape {shape}"
    if learned.container not in CONTAINERS or form.dtype not in DTYPES:
        return f"the container is {learned.container!r} and the type {form.dtype!r}"
    if not all(isinstance(mark, bool) for mark in (learned.free, learned.gaps, extent.gaps, form.axis)):
        return "what is a yes or no is none"
    if not (math.isfinite(extent.low) and math.isfinite(extent.high) and extent.low < extent.high):
        return f"values reach from {extent.low!r} to {extent.high!r}"
    if form.mode not in ("", *MODES_BACK) or form.kind not in ("", *KINDS_BACK):
        return f"the mode is {form.mode!r} and the kind of file {form.kind!r}"
    return ""


MODES_BACK = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")
KINDS_BACK = ("PNG", "JPEG", "WebP", "BMP", "TIFF")
