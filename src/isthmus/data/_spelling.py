"""Text turned into the types that it spells: numbers, truth values, dates, moments."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from isthmus.errors import DataError

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "?")
#: Bytes that one cell may have.
LARGEST_CELL = 2**20
NUMBER = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|Inf|INF|infinity|Infinity)$"
CLOCK = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"


@dataclass(frozen=True)
class Spelling:
    """A way to write values of one type: what each cell must look like, and how all of them are turned into it."""

    pattern: str
    convert: Callable[[pl.Expr], pl.Expr]


def _number(text: pl.Expr, dtype: type[pl.DataType] = pl.Float64) -> pl.Expr:
    return text.str.strip_prefix("+").cast(dtype)


def _moment(text: pl.Expr, mark: str) -> pl.Expr:
    text = text.str.replace("T", " ", literal=True).str.replace("Z", "+00:00", literal=True)
    with_seconds = text.str.replace(r"^(\S+ \d{2}:\d{2})($|[+-])", "${1}:00${2}")
    return with_seconds.str.to_datetime(f"%Y-%m-%d %H:%M:%S%.f{mark}", time_unit="us")


WHOLE = Spelling(r"^[+-]?(0|[1-9]\d{0,18})$", lambda text: _number(text, pl.Int64))
FLOAT = Spelling(NUMBER, _number)
EUROPEAN = Spelling(r"^[+-]?(0|[1-9]\d*)(,\d+)?$", lambda text: _number(text.str.replace(",", ".", literal=True)))
DATE = Spelling(r"^\d{4}-\d{2}-\d{2}$", lambda text: text.str.to_date("%Y-%m-%d"))
MOMENT = Spelling(CLOCK + "$", lambda text: _moment(text, ""))
ZONED = Spelling(CLOCK + r"(Z|[+-]\d{2}:?\d{2})$", lambda text: _moment(text, "%z"))
TRUTH = Spelling(r"^(?i:true|false)$", lambda text: text.str.to_lowercase() == "true")
#: Tried one after the other; a column takes the first that fits all its cells.
SPELLINGS = (WHOLE, FLOAT, EUROPEAN, DATE, MOMENT, ZONED, TRUTH)


def typed(frame: pl.DataFrame, name: str, keep_text: frozenset[str] = frozenset(), comma: bool = False) -> pl.DataFrame:
    """Text as the numbers, truth values, dates or moments that all of a column spells; missing words become null.

    All columns go through together, for a table may have very many. `comma`: whether commas stand in decimals.
    """
    numbers = _clean_numbers(frame, keep_text)
    rest = frame.select([column for column in frame.columns if column not in numbers])
    if rest.width:
        rest = _spelled(rest, name, keep_text, comma)
    return pl.DataFrame([*numbers.values(), *rest.get_columns()]).select(frame.columns)


def _clean_numbers(frame: pl.DataFrame, keep_text: frozenset[str]) -> dict[str, pl.Series]:
    """The columns that are numbers throughout, without a blank or a missing word of their own: the usual case, fast."""
    numbers: dict[str, pl.Series] = {}
    for spelling, dtype in ((WHOLE, pl.Int64), (FLOAT, pl.Float64)):
        open_ = [column for column in frame.columns if column not in keep_text and column not in numbers]
        firsts = frame.select(pl.col(open_).drop_nulls().first()).row(0) if open_ else ()
        pairs = zip(open_, firsts, strict=True)
        likely = [column for column, first in pairs if first and re.search(spelling.pattern, first)]
        if likely:
            values = frame.select(pl.col(likely).cast(dtype, strict=False))
            odd = frame.select(pl.col(likely).str.contains(r"^[+-]?0\d|_").any()).row(0)
            lost = values.null_count().row(0)
            before = frame.select(pl.col(likely).null_count()).row(0)
            checks = zip(likely, odd, lost, before, strict=True)
            good = [column for column, code, after, gone in checks if not code and after == gone]
            numbers |= {column: values[column] for column in good}
    return numbers


def _spelled(frame: pl.DataFrame, name: str, keep_text: frozenset[str], comma: bool) -> pl.DataFrame:
    frame = frame.select(pl.all().str.strip_chars())
    _refuse_giants(frame, name)
    frame = frame.select(pl.when(~pl.all().is_in(list(MISSING))).then(pl.all()))
    firsts = frame.select(pl.all().drop_nulls().first()).row(0)
    pairs = zip(frame.columns, firsts, strict=True)
    open_ = {column: first for column, first in pairs if first is not None and column not in keep_text}
    for spelling in SPELLINGS:
        likely = [column for column, first in open_.items() if re.search(spelling.pattern, first)]
        if not likely or (spelling is EUROPEAN and not comma):
            continue
        fits = frame.select(pl.col(likely).str.contains(spelling.pattern).all()).row(0)
        converted = _convert(frame, [column for column, fit in zip(likely, fits, strict=True) if fit], spelling)
        open_ = {column: first for column, first in open_.items() if column not in converted.columns}
        frame = frame.with_columns(converted.get_columns())
    return frame


def _convert(frame: pl.DataFrame, columns: list[str], spelling: Spelling) -> pl.DataFrame:
    """Those of these columns that really hold such values; 2021-02-30 looks like a date and is none."""
    try:
        return frame.select(spelling.convert(pl.col(columns))) if columns else pl.DataFrame()
    except pl.exceptions.PolarsError:
        if len(columns) == 1:
            return pl.DataFrame()
    pieces = [_convert(frame, [column], spelling) for column in columns]
    return pl.DataFrame([series for piece in pieces for series in piece.get_columns()])


def _refuse_giants(frame: pl.DataFrame, name: str) -> None:
    longest = frame.select(pl.all().str.len_bytes().max()).row(0)
    for column, length in zip(frame.columns, longest, strict=True):
        if length is not None and length > LARGEST_CELL:
            row = frame[column].str.len_bytes().arg_max()
            raise DataError(
                f"{name} has a cell of {length / 2**20:.1f} MB in column {column!r}, row {row} (counting from 0); "
                f"cells may have 1 MB: shorten it, or look for a missing quotation mark."
            )
