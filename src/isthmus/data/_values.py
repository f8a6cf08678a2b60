"""From the elements of a tensor to the values of the columns, for tables and for readers."""

from __future__ import annotations

import datetime
from typing import Any

import torch
from torch import Tensor

from isthmus.data._columns import EPOCH
from isthmus.data._numbers import Scaler
from isthmus.data._samples import Layout
from isthmus.data.base import ColumnFacts
from isthmus.light.wording import written_number


def restored_values(x: Tensor, layout: Layout, scaler: Scaler) -> list[Any]:
    """The plain values of each used column: float64 numbers, or words with None for "other"."""
    x = x.detach().cpu()
    numbers = scaler.inverse(x.index_select(1, layout.number_elements)).numpy()
    values: list[Any] = [None] * len(layout.used)
    for index, column in enumerate(layout.number_columns.tolist()):
        values[column] = numbers[:, index]
    for column in layout.code_columns.tolist():
        words = [*layout.used[column].levels, None]
        values[column] = [words[place] for place in _largest(x, layout, column).tolist()]
    return values


def _largest(x: Tensor, layout: Layout, column: int) -> Tensor:
    start = int(layout.starts[column])
    return x[:, start : start + layout.sizes[column]].argmax(dim=1)


def written(column: int, x_row: Tensor, layout: Layout, scaler: Scaler) -> str:
    """One cell as a person would write it."""
    facts = layout.used[column]
    row = x_row.detach().cpu().reshape(1, -1)
    if facts.kind == "categorical":
        return [*facts.levels, "another value"][int(_largest(row, layout, column))]
    index = int(torch.searchsorted(layout.number_columns, column))
    value = float(scaler.inverse(row.index_select(1, layout.number_elements))[0, index])
    if facts.kind == "boolean":
        return "yes" if value > 0.5 else "no"
    if facts.kind == "date":
        return _written_time(facts, value)
    return written_number(value, facts.standard_deviation)


def _written_time(facts: ColumnFacts, seconds: float) -> str:
    span = datetime.timedelta(seconds=round(seconds))
    try:
        match facts.dtype.partition("|")[0]:
            case "Date":
                return (EPOCH + datetime.timedelta(days=round(seconds / 86400))).date().isoformat()
            case "Duration":
                return str(span)
            case "Time":
                clock = datetime.timedelta(seconds=min(max(span.total_seconds(), 0), 86399))
                return (EPOCH + clock).time().isoformat()
        return (EPOCH + span).replace(tzinfo=None).isoformat(sep=" ")
    except OverflowError:  # a decoder may dream of years that no calendar has
        return f"{seconds:.6g} seconds after 1970"
