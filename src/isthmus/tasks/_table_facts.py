"""What an imputer keeps of its training table: usual words, whole numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.data import Tables
from isthmus.data._frames import Frame, is_path, open_table
from isthmus.data._numbers import dense
from isthmus.data._samples import TableSamples
from isthmus.data.base import ColumnFacts

ROWS = 2**14  # looked at together


def about(X: Any, data: Tables) -> tuple[dict[str, str], list[str]]:
    """The most frequent word of every column of text that is left out, and which numbers are whole throughout."""
    samples = data.open(X)
    if not isinstance(samples, TableSamples):  # too large to look at once more
        return {}, []
    columns = data.schema if samples.numbers.shape[1] == len(data.schema) else _numbers(data)
    whole = [facts.name for facts, one in zip(columns, _whole(samples.numbers), strict=True) if one]
    table = open_table(data.read_more(X) if is_path(X) else X, type(data).__name__)
    if not isinstance(table, Frame):
        return {}, whole
    counts = {
        facts.name: Counter(value for value in table.cells(table.names.index(facts.name)).values if value is not None)
        for facts in data.schema
        if facts.kind == "left out" and facts.identifier
    }
    return {name: min(count, key=lambda word: (-count[word], word)) for name, count in counts.items()}, whole


def used(data: Tables) -> list[ColumnFacts]:
    return [facts for facts in data.schema if facts.kind != "left out"]


def _numbers(data: Tables) -> list[ColumnFacts]:
    return [facts for facts in used(data) if facts.kind != "categorical"]


def _whole(numbers: Any) -> npt.NDArray[np.bool_]:
    """Which columns hold whole numbers alone."""
    odd = np.zeros(numbers.shape[1], dtype=bool)
    for start in range(0, numbers.shape[0], ROWS):
        piece = dense(numbers[start : start + ROWS])
        if piece.dtype.kind == "f":
            odd |= (np.isfinite(piece) & (piece != np.rint(piece))).any(0)
    return ~odd
