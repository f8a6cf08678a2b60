"""One column of a frame: read into plain values, judged at fit, matched with what was learned at open.

Plain values: numbers, yes/no and times as a NumPy array with NaN where missing (times in seconds, dates since
1970-01-01); text as a list of str with None where missing.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals as nw
import numpy as np

from isthmus.data.base import ColumnFacts, ColumnKind
from isthmus.errors import DataError

Nature = Literal["number", "boolean", "text", "date", "duration", "time", "empty", "nested"]
NATURES: dict[str, Nature] = {"Date": "date", "Datetime": "date", "Duration": "duration", "Time": "time"}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
#: From so many rows on, a text column of almost only different values counts as a key of the rows.
FEW_ROWS = 20
#: From so many rows on, whole numbers that are only 0 and 1 count as no and yes.
YES_NO_ROWS = 4
ANSWERS = {"true": 1.0, "yes": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "no": 0.0, "0": 0.0, "0.0": 0.0}
WORDS: dict[Nature, str] = {
    "number": "numbers",
    "boolean": "yes/no values",
    "text": "text",
    "date": "dates",
    "duration": "durations",
    "time": "times of day",
    "nested": "lists or records",
}


@dataclass
class Cells:
    """One column's plain values, what they are, and their type in our notation ("Int64", "Datetime|us|UTC")."""

    nature: Nature
    values: Any
    dtype: str

    def __len__(self) -> int:
        return len(self.values)

    def missing(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if self.nature in ("empty", "nested"):
            return np.ones(len(self.values), dtype=bool)
        if self.nature == "text":
            return np.array([value is None for value in self.values], dtype=bool)
        absent: np.ndarray[Any, np.dtype[np.bool_]] = np.isnan(self.values)
        return absent


# ---- reading -------------------------------------------------------------------------------------------------------


def from_series(series: nw.Series[Any]) -> Cells:
    """The plain values of a column of any frame that narwhals knows."""
    dtype = series.dtype
    name = type(dtype).__name__
    if dtype.is_integer() and not series.null_count():
        return Cells("number", series.to_numpy(), name)
    if dtype.is_numeric():
        wide = dtype.is_integer() or dtype.is_decimal()
        values = (series.cast(nw.Float64()) if wide else series).to_numpy()
        marks = f"|{dtype.precision}|{dtype.scale}" if isinstance(dtype, nw.Decimal) else ""
        return Cells("number", values.astype(np.float64, copy=False) if wide else values, name + marks)
    match name:
        case "Boolean":
            return Cells("boolean", series.cast(nw.Float64()).to_numpy().astype(np.float32), name)
        case "String" | "Categorical" | "Enum":
            return Cells("text", _texts(series), name)
        case "Date" | "Datetime":
            marks = f"|{dtype.time_unit}|{dtype.time_zone or ''}" if isinstance(dtype, nw.Datetime) else ""
            return Cells("date", _micros(series.dt.timestamp("us")), name + marks)
        case "Duration":
            marks = f"|{dtype.time_unit}" if isinstance(dtype, nw.Duration) else ""
            return Cells("duration", _spans(series), name + marks)
        case "List" | "Array" | "Struct" | "Binary":
            return Cells("nested", [None] * len(series), "Null")
    return from_objects(series.to_list())


def _texts(series: nw.Series[Any]) -> list[str | None]:
    values, absent = series.to_list(), series.is_null().to_numpy()
    if absent.any():
        return [None if gone else str(value) for value, gone in zip(values, absent, strict=True)]
    return values if series.dtype == nw.String else [str(value) for value in values]


def _spans(series: nw.Series[Any]) -> Any:
    """Seconds; taken from the array where it has them, as the way over `total_microseconds` may lose one."""
    values = series.to_numpy()
    if values.dtype.kind != "m":
        return _micros(series.dt.total_microseconds())
    whole = values.astype("timedelta64[us]")
    return np.where(np.isnat(whole), np.nan, whole.astype(np.int64) / 1e6)


def _micros(series: nw.Series[Any]) -> Any:
    return series.cast(nw.Float64()).to_numpy().astype(np.float64) / 1e6


def from_objects(values: Sequence[Any]) -> Cells:
    """The plain values of a list of Python objects; what is of several kinds becomes text."""
    absent = [is_absent(value) for value in values]
    present = [value for value, gone in zip(values, absent, strict=True) if not gone]
    if not present:
        return Cells("empty", list(values), "Null")
    nature, dtype = _nature(present)
    if nature == "nested":
        return Cells(nature, list(values), dtype)
    if nature == "text":
        return Cells(nature, [None if gone else str(value) for value, gone in zip(values, absent, strict=True)], dtype)
    numbers_ = [np.nan if gone else _number(value) for value, gone in zip(values, absent, strict=True)]
    return Cells(nature, np.array(numbers_, dtype=np.float64), dtype)


def is_absent(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating, decimal.Decimal)) and value != value


def _nature(present: list[Any]) -> tuple[Nature, str]:
    kinds = set(map(type, present))

    def every(*types: type) -> bool:
        return all(issubclass(kind, types) for kind in kinds)

    if every(bool, np.bool_):
        return "boolean", "Boolean"
    if every(numbers.Real, decimal.Decimal, np.bool_):
        return "number", "Int64" if every(numbers.Integral) else "Float64"
    if every(datetime.datetime):
        zones = {str(value.tzinfo) for value in present if value.tzinfo is not None}
        return "date", f"Datetime|us|{'UTC' if zones else ''}"
    for kind, dtype in ((datetime.date, "Date"), (datetime.timedelta, "Duration|us"), (datetime.time, "Time")):
        if every(kind):
            return NATURES[dtype.partition("|")[0]], dtype
    if any(issubclass(kind, (list, tuple, dict, set, bytes, np.ndarray)) for kind in kinds):
        return "nested", "Null"
    return "text", "String"


def _number(value: Any) -> float:
    """Seconds for what is a time, the number itself for a number."""
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=value.tzinfo or datetime.UTC) - EPOCH).total_seconds()
    if isinstance(value, datetime.date):
        return float((value - EPOCH.date()).days * 86400)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    return float(value)


# ---- judging, at fit -----------------------------------------------------------------------------------------------


def judge(name: str, cells: Cells, native: str, categories: tuple[str, ...], max_categories: int) -> ColumnFacts:
    """What this column is; ranges of numbers are added later, for all columns at once."""
    missing = int(np.count_nonzero(cells.missing()))
    facts = ColumnFacts(name, "left out", cells.dtype, native, n_missing=missing, categories=categories)
    if cells.nature == "nested":
        return with_changes(facts, left_out="its values are lists or records; give each of their parts a column")
    if missing == len(cells.values):
        return with_changes(facts, left_out="every value is missing")
    if cells.nature == "text":
        counts = Counter(value for value in cells.values if value is not None)
        return judge_text(facts, counts, max_categories, counts.total(), len(counts))
    if cells.nature == "boolean" or (cells.nature == "number" and _only_yes_no(cells)):
        return with_changes(facts, kind="boolean")
    return with_changes(facts, kind="numeric" if cells.nature == "number" else "date", identifier=_counts_rows(cells))


def judge_text(facts: ColumnFacts, counts: Counter[str], max_categories: int, n: int, distinct: int) -> ColumnFacts:
    """What a column of n words is, `distinct` of them different; the frequent ones are among the counts."""
    different = distinct > 0.9 * n or (distinct > max_categories and n / distinct < 2)
    facts = with_changes(facts, n_distinct=distinct, constant=distinct == 1)
    if n > FEW_ROWS and different:
        why = f"almost every value is different ({distinct} in {n} rows), as in a name or a key"
        return with_changes(facts, identifier=True, left_out=why)
    frequent = sorted(counts, key=lambda level: (-counts[level], level))[:max_categories]
    return with_changes(facts, kind="categorical", levels=tuple(frequent))


def _only_yes_no(cells: Cells) -> bool:
    values = cells.values
    if "Int" not in cells.dtype or len(values) < YES_NO_ROWS:
        return False
    return bool(np.nanmin(values) == 0 and np.nanmax(values) == 1)


def _counts_rows(cells: Cells) -> bool:
    """Whether whole numbers only ever rise or fall, or are row numbers in any order, as a key of the rows is."""
    n = len(cells.values)
    if "Int" not in cells.dtype or n <= FEW_ROWS or np.isnan(cells.values).any():
        return False
    values = cells.values.astype(np.float64)
    steps = np.diff(values)
    if (steps > 0).all() or (steps < 0).all():
        return True
    return bool(values.max() - values.min() == n - 1 and len(np.unique(values)) == n)


def with_changes(facts: ColumnFacts, **changes: Any) -> ColumnFacts:
    return replace(facts, **changes)


# ---- matching, at open ---------------------------------------------------------------------------------------------


def nature_of(facts: ColumnFacts) -> Nature:
    """What the training column's plain values were."""
    kinds: dict[ColumnKind, Nature] = {"numeric": "number", "boolean": "boolean", "categorical": "text"}
    return kinds.get(facts.kind) or NATURES[facts.dtype.partition("|")[0]]


def as_numbers(cells: Cells, facts: ColumnFacts) -> Any:
    """The numbers of a numeric, boolean or date column; raises DataError naming the cell that is none."""
    wanted = nature_of(facts)
    if cells.nature == "empty":
        return np.full(len(cells.values), np.nan)
    if cells.nature == "text":
        return np.array([_parsed(value, row, facts, wanted) for row, value in enumerate(cells.values)])
    if cells.nature != wanted and {cells.nature, wanted} != {"number", "boolean"}:
        raise DataError(
            f"column {facts.name!r} holds {WORDS[cells.nature]}, where training had {WORDS[wanted]}; "
            f"give it the type it had in training ({facts.dtype.partition('|')[0]})."
        )
    if wanted == "boolean":
        _refuse_other_than_yes_no(cells.values, facts)
    return cells.values


def _parsed(text: str | None, row: int, facts: ColumnFacts, wanted: Nature) -> float:
    if text is None or not text.strip():
        return np.nan
    try:
        if wanted == "boolean":
            return ANSWERS[text.strip().lower()]
        if wanted == "date":
            return _number(datetime.datetime.fromisoformat(text.strip()))
        if wanted == "time":
            return _number(datetime.time.fromisoformat(text.strip()))
        return float(text)
    except (ValueError, KeyError) as error:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise DataError(
            f"column {facts.name!r} holds the text {shown!r} in row {row} (counting from 0), where training had "
            f"{WORDS[wanted]}; correct the cell, or leave it empty if the value is missing."
        ) from error


def _refuse_other_than_yes_no(values: Any, facts: ColumnFacts) -> None:
    odd = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
    if len(odd):
        raise DataError(
            f"column {facts.name!r} holds {values[odd[0]]:g} in row {odd[0]} (counting from 0), where training had "
            f"only no (0) and yes (1); correct the cell, or fit with the column as floats if it may hold other numbers."
        )


def as_codes(cells: Cells, facts: ColumnFacts) -> np.ndarray[Any, np.dtype[np.int32]]:
    """For each row the place of its level; the place after the last for a value that is not known, -1 for missing."""
    known = {level: place for place, level in enumerate(facts.levels)}
    other = len(known)
    missing = cells.missing()
    if cells.nature == "text":
        codes = [-1 if value is None else known.get(value, other) for value in cells.values]
    else:
        codes = [
            -1 if gone else next((known[form] for form in _forms(value, cells.nature) if form in known), other)
            for value, gone in zip(cells.values, missing, strict=True)
        ]
    return np.array(codes, dtype=np.int32)


def _forms(value: Any, nature: Nature) -> list[str]:
    """How a value that is no text may have been written when it was one."""
    if nature == "boolean":
        return ["True", "true", "TRUE", "yes", "Yes", "1"] if value else ["False", "false", "FALSE", "no", "No", "0"]
    if nature == "date":
        moment = EPOCH + datetime.timedelta(seconds=float(value))
        return [moment.date().isoformat(), moment.replace(tzinfo=None).isoformat(sep=" "), moment.isoformat()]
    if nature == "number":
        whole = [str(int(value))] if float(value).is_integer() else []
        return [str(value), *whole, f"{float(value)}"]
    return [str(value)]
