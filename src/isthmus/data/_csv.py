"""Bytes of separated values: checked row by row, then read as text.

The reader behind it accepts a good deal of damage in silence (short rows, NUL bytes, unclosed quotes), so the damage
is looked for first. Lines count from 1, the header being line 1 as in an editor.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from isthmus.data._endings import first_line
from isthmus.data._spelling import LARGEST_CELL, MISSING, typed
from isthmus.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
QUOTE, NEWLINE = ord('"'), ord("\n")
PIECE = 2**23


@dataclass(frozen=True)
class Row:
    """Where one row of a file stands: its first line, its bytes, and how many cells it has."""

    line: int
    start: int
    stop: int
    cells: int


def parse(data: bytes, name: str, keep_text: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The table in these bytes; `keep_text` names columns that stay text even where they spell numbers."""
    data = clean(data, name)
    separator = sniff(data)
    frame = texts(data, name, separator)
    return typed(frame, name, keep_text, comma=separator != ",")


def texts(data: bytes, name: str, separator: str) -> pl.DataFrame:
    """All cells as text, under the header's names; `data` must be clean."""
    names = _header(data, separator, name)
    data = _check_rows(data, separator, len(names), name)
    try:
        return pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            separator=separator,
            infer_schema=False,
            new_columns=names,
            null_values=list(MISSING),
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise DataError(f"{name} cannot be read as separated values: {first_line(error)}.") from error


def header_bytes(data: bytes, separator: str, name: str) -> bytes:
    """The line of names with its newline; `data` must be clean."""
    _header(data, separator, name)
    return data[: next(_rows(data, ord(separator))).stop + 1]


def clean(data: bytes, name: str) -> bytes:
    """UTF-8 without byte order mark, lines ending in a newline; DataError for anything that is no such text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is encoded in UTF-16; save it as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    if (place := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise DataError(f"{name} holds a NUL byte in line {line}; it is no text file, or damaged: write it anew.")
    if not data.isascii():
        _check_utf8(data, name)
    if not data.strip():
        raise DataError(f"{name} is empty; it must have a line of column names and at least one row.")
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return data if data.endswith(b"\n") else data + b"\n"


def _check_utf8(data: bytes, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), PIECE):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + PIECE], final=start + PIECE >= len(data))
        except UnicodeDecodeError as error:
            place = start - held + error.start
            line = data.count(b"\n", 0, place) + 1
            raise DataError(
                f"{name} is not UTF-8: byte 0x{data[place]:02x} in line {line}; save it as UTF-8 (iconv -f LATIN1 -t "
                f"UTF-8, if it came from an old spreadsheet)."
            ) from error


def sniff(data: bytes) -> str:
    """The separator that cuts the first lines into the most cells, and into equally many."""
    lines = data[:65536].decode("utf-8", "replace").splitlines()[:20]
    lines = [line for line in lines[: len(lines) - (len(lines) > 1 and len(data) > 65536)] if line.strip()]

    def worth(separator: str) -> tuple[bool, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        return counts[0] > 1 and len(set(counts)) == 1, counts[0]

    try:
        return max(SEPARATORS, key=worth)
    except csv.Error:  # a cell beyond what the module takes; the header decides
        return max(SEPARATORS, key=lines[0].count)


def _header(data: bytes, separator: str, name: str) -> list[str]:
    first = next(_rows(data, ord(separator)), None)
    if first is None:
        raise DataError(f"{name} opens a quotation mark in line 1 that is never closed; close or remove it.")
    text = data[first.start : first.stop].decode("utf-8").strip("\r\n")
    if len(text) > LARGEST_CELL * 32:
        raise DataError(f"{name} has a first line of {len(text)} characters; it must be a line of column names.")
    try:
        cells = next(csv.reader([text], delimiter=separator), [])
    except csv.Error as error:
        raise DataError(f"{name} has a first line that cannot be read: {first_line(error)}.") from error
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    repeated = {column for column in names if names.count(column) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        column = min(repeated)
        raise DataError(f"{name} has {names.count(column)} columns named {column[:60]!r}; rename all but one.")
    return names


def _rows(data: bytes, separator: int) -> Iterator[Row]:
    """All rows, where quoted newlines and separators do not count."""
    for line, starts, stops, cells in _row_arrays(data, separator):
        for row in zip(line.tolist(), starts.tolist(), stops.tolist(), cells.tolist(), strict=True):
            yield Row(*row)


def _row_arrays(data: bytes, separator: int) -> Iterator[tuple[Any, Any, Any, Any]]:
    """For each piece of the file its finished rows: first line, first byte, last byte, number of cells."""
    codes = np.frombuffer(data, dtype=np.uint8)
    quoted, line = False, 1  # at the start of the piece
    begin, begin_line, cells_before = 0, 1, 0  # of the row that is not finished yet
    for start in range(0, len(codes), PIECE):
        piece = codes[start : start + PIECE]
        ends, cuts, quotes = piece == NEWLINE, piece == separator, piece == QUOTE
        breaks = np.flatnonzero(ends) + start
        if quoted or quotes.any():
            inside = np.logical_xor.accumulate(np.concatenate([[quoted], quotes]))[1:]
            quoted = bool(inside[-1])
            ends, cuts = ends & ~inside, cuts & ~inside
        stops, places = np.flatnonzero(ends) + start, np.flatnonzero(cuts) + start
        if len(stops):
            starts = np.concatenate([[begin], stops[:-1] + 1])
            lines = line + np.searchsorted(breaks, starts)
            lines[0] = begin_line
            cells = np.diff(np.searchsorted(places, stops), prepend=0) + 1
            cells[0] += cells_before
            cells_before = 0
            begin, begin_line = int(stops[-1]) + 1, line + int(np.count_nonzero(breaks <= stops[-1]))
            yield lines, starts, stops, cells
        cells_before += int(np.count_nonzero(places >= begin))
        line += len(breaks)


def _check_rows(data: bytes, separator: str, width: int, name: str) -> bytes:
    """The bytes of the rows below the header, blank ones removed; DataError for a row of another width."""
    blanks: list[tuple[int, int]] = []
    below, rows, finished = -1, 0, 0
    for lines, starts, stops, cells in _row_arrays(data, ord(separator)):
        if below < 0:
            below = int(stops[0]) + 1
            lines, starts, stops, cells = lines[1:], starts[1:], stops[1:], cells[1:]
        finished = int(stops[-1]) + 1 if len(stops) else max(finished, below)
        rows += len(stops)
        short = np.flatnonzero((stops - starts < 256) & (cells == 1) & (width > 1))
        empty = [index for index in short.tolist() if not data[starts[index] : stops[index]].strip()]
        blanks += [(int(starts[index]), int(stops[index]) + 1) for index in empty]
        cells[empty] = width
        odd = np.flatnonzero(cells != width)
        if len(odd):
            index = int(odd[0])
            raise DataError(
                f"{name} has {int(cells[index])} cells in line {int(lines[index])}, where the header has {width}; "
                f"correct the row (a cell that holds the separator needs quotation marks)."
            )
    if finished < len(data):
        line = data.count(b"\n", 0, max(finished, 0)) + 1
        raise DataError(f"{name} opens a quotation mark in line {line} that is never closed; close or remove it.")
    if rows == len(blanks):
        raise DataError(f"{name} has column names but no rows; it needs at least one.")
    return _without(data, below, blanks)


def _without(data: bytes, begin: int, blanks: list[tuple[int, int]]) -> bytes:
    """The bytes from `begin` on, except these stretches."""
    kept = []
    for start, stop in blanks:
        kept.append(data[begin:start])
        begin = stop
    return b"".join([*kept, data[begin:]]) if kept else data[begin:]
