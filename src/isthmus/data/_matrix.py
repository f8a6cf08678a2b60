"""The numbers of a table as one matrix: put together, checked for infinite values, and described."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.data._extremes import extremes
from isthmus.data._frames import default_names
from isthmus.data._numbers import Matrix, Statistics, Vector, dense, is_sparse
from isthmus.data.base import ColumnFacts, ColumnKind
from isthmus.light.wording import infinite_value


def stack(columns: list[Any], n: int) -> Matrix:
    """Number columns side by side, (n, d); in float32 where that holds all of them exactly."""
    small = all(np.can_cast(column.dtype, np.float32) for column in columns)
    matrix = np.empty((n, len(columns)), dtype=np.float32 if small and columns else np.float64)
    for place, column in enumerate(columns):
        matrix[:, place] = column
    return matrix


def judge_matrix(matrix: Matrix) -> list[ColumnFacts]:
    """All columns of a matrix are numbers, those of a matrix of truth values yes/no; empty ones are left out."""
    n, d = matrix.shape
    answers = matrix.dtype.kind == "b" and not is_sparse(matrix)
    kind: ColumnKind = "boolean" if answers else "numeric"
    schema = [ColumnFacts(name, kind, "Boolean" if answers else "Float64") for name in default_names(d)]
    _, _, missing = extremes(matrix)
    for place in np.flatnonzero(missing):
        schema[place] = replace(schema[place], n_missing=int(missing[place]))
        if missing[place] == n:
            schema[place] = replace(schema[place], kind="left out", left_out="every value is missing")
    return schema


def refuse_infinite(matrix: Matrix, names: list[str]) -> tuple[Vector, Vector, Vector]:
    """The ranges of the columns and how many values each lacks, once it is sure that none is infinite."""
    low, high, missing = extremes(matrix)
    bad = np.flatnonzero(np.isinf(low) | np.isinf(high))
    if len(bad):
        rows = np.flatnonzero(np.isinf(dense(matrix[:, [bad[0]]])[:, 0].astype(np.float64)))
        raise infinite_value(names[bad[0]], int(rows[0]), len(rows))
    return low, high, missing


def add_statistics(facts: ColumnFacts, found: Statistics, index: int, compressed: bool) -> ColumnFacts:
    """The facts of a number column with what the statistics say of it; `index` is its place in the matrix."""
    if facts.kind == "left out":
        return facts
    return replace(
        facts,
        n_distinct=int(found.distinct[index]),
        constant=bool(found.constant[index]),
        mean=float(found.mean[index]),
        standard_deviation=float(found.deviation[index]),
        minimum=float(found.minimum[index]),
        maximum=float(found.maximum[index]),
        compressed=compressed,
    )
