"""What series' `fit` learned, as JSON and tensors and back. Nothing in a file is believed before it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isthmus.data import _state
from isthmus.data._numbers import Scaler
from isthmus.data.base import ColumnFacts
from isthmus.errors import ModelFileError

FIELDS = ("container", "flat", "n_steps", "uneven", "gaps")
LARGEST = 10**9  # elements of one sample


@dataclass
class Learned:
    """All that `fit` learned about series; `n_steps` is the length of the longest, `uneven` whether lengths differ."""

    schema: list[ColumnFacts]
    scaler: Scaler
    container: str
    flat: bool
    n_steps: int
    uneven: bool
    gaps: bool


def to_state(learned: Learned) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The channels as the columns of an array, and what series have beside them."""
    columns, tensors = _state.to_state(_state.Learned(learned.schema, learned.scaler, "numpy", True, False, False))
    return {"columns": columns, **{name: getattr(learned, name) for name in FIELDS}}, tensors


def from_state(document: dict[str, Any], tensors: dict[str, Tensor]) -> Learned:
    """The inverse of `to_state`; ModelFileError where the file cannot have come from there."""
    try:
        columns = _state.from_state(document["columns"], tensors)
        learned = Learned(columns.schema, columns.scaler, *(document[name] for name in FIELDS))
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"the description of the series cannot be read: {error}.") from error
    marks = [learned.flat, learned.uneven, learned.gaps]
    n_steps, n_channels = learned.n_steps, len(learned.schema)
    whole = isinstance(n_steps, int) and not isinstance(n_steps, bool) and 0 < n_steps * n_channels <= LARGEST
    numeric = all(facts.kind == "numeric" for facts in learned.schema)
    known = learned.container in ("numpy", "list") and all(isinstance(mark, bool) for mark in marks)
    if not (whole and numeric and known and (n_channels == 1 or not learned.flat)):
        raise ModelFileError(
            f"the description of the series cannot be used: {n_steps!r} steps of {n_channels} channels."
        )
    return learned
