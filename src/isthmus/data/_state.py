"""What a table's `fit` learned, as JSON and tensors and back. Nothing in a file is believed before it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from isthmus.data._giveback import CONTAINERS, known_dtype
from isthmus.data._numbers import Scaler
from isthmus.data.base import ColumnFacts, ColumnKind
from isthmus.errors import ModelFileError
from isthmus.storage import tensor_text, text_tensor

KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)
WORDS = ("name", "kind", "dtype", "native", "left_out")
LISTS = ("levels", "categories")
WHOLE = ("n_missing", "n_distinct")
TRUTHS = ("constant", "identifier", "compressed")
REAL = ("mean", "standard_deviation", "minimum", "maximum")
SCALER = ("center", "scale", "compressed", "late_center", "late_scale")
FIELDS = ("schema", "scaler", "container", "from_array", "named", "whole_names")


@dataclass
class Learned:
    """All that `fit` learned about a table."""

    schema: list[ColumnFacts]
    scaler: Scaler
    container: str
    from_array: bool
    named: bool
    whole_names: bool


def to_state(learned: Learned) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A small document, and tensors for everything that grows with the columns."""
    document = {name: getattr(learned, name) for name in FIELDS[2:]}
    schema = learned.schema
    tensors = {f"column_{field}": text_tensor([getattr(facts, field) for facts in schema]) for field in WORDS}
    for field in LISTS:
        lists = [getattr(facts, field) for facts in schema]
        tensors[f"column_{field}"] = text_tensor([word for words in lists for word in words])
        tensors[f"column_{field}_counts"] = torch.tensor([len(words) for words in lists], dtype=torch.int64)
    for field in (*WHOLE, *TRUTHS, *REAL):
        values = [float(getattr(facts, field)) for facts in schema]
        tensors[f"column_{field}"] = torch.tensor(values, dtype=torch.float64)
    tensors |= {f"scaler_{field}": getattr(learned.scaler, field) for field in SCALER}
    return document, tensors


def from_state(document: dict[str, Any], tensors: dict[str, Tensor]) -> Learned:
    """The inverse of `to_state`; ModelFileError where the file cannot have come from there."""
    try:
        schema = _schema(tensors)
        scaler = Scaler(*(tensors[f"scaler_{field}"].clone().numpy() for field in SCALER))
        learned = Learned(schema, scaler, *(document[name] for name in FIELDS[2:]))
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError) as error:
        raise ModelFileError(f"the description of the table's columns cannot be read: {error}.") from error
    _check(learned)
    return learned


def _schema(tensors: dict[str, Tensor]) -> list[ColumnFacts]:
    fields: dict[str, list[Any]] = {field: tensor_text(tensors[f"column_{field}"]) for field in WORDS}
    for field in LISTS:
        fields[field] = _lists(tensor_text(tensors[f"column_{field}"]), tensors[f"column_{field}_counts"].tolist())
    kinds: list[tuple[tuple[str, ...], type]] = [(WHOLE, int), (TRUTHS, bool), (REAL, float)]
    for names, kind in kinds:
        fields |= {field: [kind(value) for value in tensors[f"column_{field}"].tolist()] for field in names}
    rows = zip(*fields.values(), strict=True)
    return [ColumnFacts(**dict(zip(fields, row, strict=True))) for row in rows]


def _lists(words: list[str], counts: list[int]) -> list[tuple[str, ...]]:
    if any(count < 0 for count in counts) or sum(counts) != len(words):
        raise ValueError("the lists of levels do not add up")
    ends = np.cumsum([0, *counts]).tolist()
    return [tuple(words[start:end]) for start, end in zip(ends[:-1], ends[1:], strict=True)]


def _check(learned: Learned) -> None:
    """Refuse what `fit` cannot have learned."""
    scaler, schema = learned.scaler, learned.schema
    numbers = sum(facts.kind not in ("categorical", "left out") for facts in schema)
    wrong = next((facts for facts in schema if facts.kind not in KINDS or not known_dtype(facts.dtype)), None)
    marks = [learned.from_array, learned.named, learned.whole_names]
    late = {len(scaler.compressed), len(scaler.late_center), len(scaler.late_scale)}
    finite = all(bool(torch.isfinite(cast(Tensor, getattr(scaler, field))).all()) for field in SCALER)
    problem = ""
    if wrong is not None:
        problem = f"column {wrong.name!r} is of kind {wrong.kind!r} and type {wrong.dtype!r}"
    elif learned.container not in CONTAINERS or not all(isinstance(mark, bool) for mark in marks):
        problem = f"the container is {learned.container!r}"
    elif not schema or not len(scaler.center) == len(scaler.scale) == numbers or len(late) > 1:
        problem = "the scaling has not one number for each column"
    elif not finite or bool((scaler.scale <= 0).any()) or bool((scaler.late_scale <= 0).any()):
        problem = "the scaling is not by finite numbers above 0"
    elif len(scaler.compressed) and not 0 <= int(scaler.compressed.min()) <= int(scaler.compressed.max()) < numbers:
        problem = "the scaling speaks of columns that are not there"
    if problem:
        raise ModelFileError(f"the description of the table's columns cannot be used: {problem}.")
