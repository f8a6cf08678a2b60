"""A table as JSON: one object per line, or one list of objects."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import polars as pl

from isthmus.data._csv import clean
from isthmus.data._endings import first_line
from isthmus.data._spelling import typed
from isthmus.errors import DataError


def parse(data: bytes, name: str, keep_text: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The table in these bytes; a key that a row lacks is missing there."""
    data = clean(data, name)
    rows = _from_list(data, name) if data.lstrip()[:1] == b"[" else _from_lines(data, name)
    if not rows or not any(rows):
        raise DataError(f"{name} has no rows with values; it needs at least one.")
    names = dict.fromkeys(key for row in rows for key in row)
    return pl.DataFrame([_column(key, [row.get(key) for row in rows], name, key in keep_text) for key in names])


def _from_lines(data: bytes, name: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            rows.append(_object(_loads(line, f"{name}, line {number}"), f"{name}, line {number}"))
    return rows


def _from_list(data: bytes, name: str) -> list[dict[str, Any]]:
    values = _loads(data, name)
    return [_object(value, f"{name}, row {number} (counting from 0)") for number, value in enumerate(values)]


def _loads(text: bytes, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: this is no JSON ({first_line(error)}); write one object per line.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        repeated = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {repeated[:60]!r} stands there more than once")
    return row


def _constant(word: str) -> float | NoReturn:
    """NaN is a common way of saying that a number is missing; infinity is caught where numbers are checked."""
    return float(word)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f'{where}: a row is a JSON object such as {{"age": 39}}, not {str(value)[:40]!r}.')
    for key, cell in value.items():
        if isinstance(cell, (dict, list)):
            raise DataError(
                f"{where}: column {key!r} holds a {'list' if isinstance(cell, list) else 'record'}; "
                f"give each of its parts a key of its own."
            )
    return value


def _column(key: str, values: list[Any], name: str, keep_text: bool) -> pl.Series:
    """Values of one kind keep it; of several kinds they become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and not keep_text and kinds:
        numbers = [None if value is None or value != value else value for value in values]
        if float in kinds or any(abs(value) >= 2**63 for value in numbers if value is not None):
            return pl.Series(key, [_float(value) for value in numbers], dtype=pl.Float64)
        return pl.Series(key, numbers, dtype=pl.Int64)
    if kinds == {bool}:
        return pl.Series(key, values, dtype=pl.Boolean)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    column = pl.Series(key, texts, dtype=pl.String)
    dated = kinds == {str} and column.drop_nulls().head(1).str.contains(r"^\d{4}-\d{2}-\d{2}").all()
    return typed(column.to_frame(), name)[key] if dated and not keep_text else column


def _float(value: float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:
        return float("inf")
