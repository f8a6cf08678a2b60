"""Separated values that are read piece by piece."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import polars as pl

from isthmus.atomic import shown
from isthmus.data import _csv, _files
from isthmus.data._spelling import EUROPEAN, typed
from isthmus.data._stream_errors import moved
from isthmus.data._stream_source import Source
from isthmus.errors import DataError

#: Bytes of text that one piece has, and that one row may have.
TEXT_PIECE, LARGEST_ROW = 2**22, 2**26


class CsvSource(Source):
    """A file of separated values, maybe gzipped, cut between rows; looked through once for where its pieces begin and
    which types its columns have.
    """

    def __init__(self, path: str, keep_text: frozenset[str]):
        self.path, self.name = path, shown(path)
        self.keep_text = set(keep_text)
        self.header, self.separator = b"", ","
        self.offsets: list[tuple[int, int, int]] = []  # of each piece: first byte, length, lines before it
        types: dict[str, set[Any]] = {}
        starts = [0]
        for data in self._cut():
            text = self._text(len(self.offsets) - 1, data)
            self.names = text.columns
            self._note_types(types, text, starts[-1])
            starts.append(starts[-1] + text.height)
        self.starts = np.array(starts, dtype=np.int64)
        self.schema = {name: _common(types.get(name, set())) for name in self.names}
        self.keep_text |= {name for name, dtype in self.schema.items() if dtype == pl.String}

    @property
    def size(self) -> int:
        return csv_size(self.path)

    def piece(self, index: int, columns: list[str] | None = None) -> pl.DataFrame:
        start, length, _ = self.offsets[index]
        with self._open() as file:
            file.seek(start)
            text = self._text(index, file.read(length))
        if columns is not None:
            text = text.select(columns)
        frame = self._typed(text, int(self.starts[index]))
        return frame.cast({name: self.schema[name] for name in frame.columns})

    def _typed(self, text: pl.DataFrame, first_row: int) -> pl.DataFrame:
        with moved(rows=first_row):
            return typed(text, self.name, frozenset(self.keep_text), comma=self.separator != ",")

    def _note_types(self, types: dict[str, set[Any]], text: pl.DataFrame, first_row: int) -> None:
        """What each column spells in this piece; decimal commas and points do not go together."""
        for series in self._typed(text, first_row):
            if series.null_count() == len(series):
                continue
            known: set[Any] = types.setdefault(series.name, set())
            known.add(series.dtype)
            if series.dtype == pl.Float64 and self.separator != ",":
                words = text[series.name].str.strip_chars()
                if words.str.contains(",", literal=True).any():
                    known.add("comma")
                elif not words.filter(series.is_not_null()).str.contains(EUROPEAN.pattern).all():
                    known.add("point")

    def _open(self) -> IO[bytes]:
        try:
            return cast(IO[bytes], gzip.open(self.path) if _packed(self.path) else open(self.path, "rb"))
        except OSError as error:
            raise DataError(f"{self.name} cannot be opened: {error.strerror or error}.") from error

    def _cut(self) -> Iterator[bytes]:
        """Stretches of whole rows; where they stand is noted on the way."""
        start, lines, rest = 0, 0, b""
        with self._open() as file:
            while True:
                more = _read(file, self.name)
                data = rest + more
                stop = _last_row_end(data) if more else len(data)
                if not stop and more and len(data) > LARGEST_ROW:
                    raise DataError(
                        f"{self.name} has a row of more than {LARGEST_ROW // 2**20} MB after line {lines}; look for a "
                        f"quotation mark that is never closed, or save it with newlines at the ends of lines."
                    )
                if data[:stop].strip() or (not start and not more):
                    self.offsets.append((start, stop, lines))
                    yield data[:stop]
                lines += data.count(b"\n", 0, stop)
                start, rest = start + stop, data[stop:]
                if not more:
                    return

    def _text(self, index: int, data: bytes) -> pl.DataFrame:
        """The cells of one piece as text; the first one's header stands before all others, too."""
        lines = self.offsets[index][2]
        if not index:
            data = _csv.clean(data, self.name)
            self.separator = _csv.sniff(data)
            self.header = _csv.header_bytes(data, self.separator, self.name)
        else:
            data = self.header + data
            lines -= self.header.count(b"\n")
        with moved(lines=lines):
            return _csv.texts(_csv.clean(data, self.name), self.name, self.separator)


def _read(file: IO[bytes], name: str) -> bytes:
    try:
        return file.read(TEXT_PIECE)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be read to its end ({error}); write it anew.") from error


def _last_row_end(data: bytes) -> int:
    """Where the last row ends whose newline is in no quotes; 0 where there is none."""
    stop = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, stop)
    while stop and quotes % 2:
        before = data.rfind(b"\n", 0, stop - 1) + 1
        quotes -= data.count(b'"', before, stop)
        stop = before
    return stop


def _common(types: set[Any]) -> Any:
    """The type of a column from those of its pieces, as reading it whole would find it."""
    if {"comma", "point"} <= types:
        return pl.String
    kinds = {kind for kind in types if not isinstance(kind, str)}
    if len(kinds) > 1:
        return pl.Float64 if kinds <= {pl.Int64, pl.Float64} else pl.String
    return kinds.pop() if kinds else pl.String


def csv_size(path: str) -> int:
    """Bytes that such a table takes in memory while it is read whole, about."""
    return os.path.getsize(path) * (20 if _packed(path) else 5)


def _packed(path: str) -> bool:
    with open(path, "rb") as file:
        return path.lower().endswith(".gz") or file.read(2) == _files.GZIP
