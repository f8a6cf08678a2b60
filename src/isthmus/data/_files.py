"""Tables in files: CSV and TSV (also gzipped), Parquet, NDJSON, and "-" for what comes through a pipe."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from isthmus.atomic import shown
from isthmus.data import _csv, _ndjson
from isthmus.data._endings import ending_of, first_line
from isthmus.data._frames import Frame, default_names, open_table
from isthmus.data._giveback import Restored, give_back
from isthmus.data._numbers import dense
from isthmus.data._writing import write_frame
from isthmus.data.base import ColumnFacts
from isthmus.errors import DataError

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"


def read(path: Any, keep_text: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The table in a file, or on standard input where the path is "-".

    Parameters
    ----------
    path : the file; its ending says what it is, and on standard input its first bytes do.
    keep_text : columns of a CSV or NDJSON file that stay text even where they spell numbers.
    """
    name = "standard input" if str(path) == "-" else shown(path)
    data = _bytes(path, name)
    ending = "" if str(path) == "-" else ending_of(path, name)
    if data.startswith(GZIP) or ending.endswith(".gz"):
        data = _unzipped(data, name)
    kind = ending.removesuffix(".gz") or _guess(data)
    if not data:
        raise DataError(f"{name} is empty; it must hold a table.")
    if kind == ".parquet":
        return _parquet(data, name)
    if kind in (".csv", ".tsv"):
        return _csv.parse(data, name, keep_text)
    return _ndjson.parse(data, name, keep_text)


def _bytes(path: Any, name: str) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    if os.path.isdir(path):
        raise DataError(f"{name} is a directory; give the file inside it that holds the table.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{name} is no plain file; give a file, or - for standard input.")
    ending_of(path, name)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist; check the path.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}.") from error


def _unzipped(data: bytes, name: str) -> bytes:
    """The bytes inside, given up as soon as they turn out to be no text."""
    if not data.startswith(GZIP):
        raise DataError(f"{name} ends in .gz but is no gzip file; rename it, or compress it again.")
    pieces = []
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while piece := file.read(2**22):
                if b"\0" in piece:
                    raise DataError(f"{name} holds NUL bytes; what is compressed in it is no text table.")
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} is a damaged gzip file ({first_line(error)}); compress it again.") from error
    return b"".join(pieces)


def _guess(data: bytes) -> str:
    """What a stream without a name holds, by its first bytes."""
    if data.startswith(PARQUET):
        return ".parquet"
    return ".ndjson" if data.lstrip()[:1] in (b"{", b"[") else ".csv"


def _parquet(data: bytes, name: str) -> pl.DataFrame:
    _check_ends(data[:12], data[-4:], name)
    with parquet_errors(name):
        frame = pl.read_parquet(io.BytesIO(data))
    if not frame.height or not frame.width:
        raise DataError(f"{name} has {frame.height} rows and {frame.width} columns; it needs at least one of each.")
    return frame


def check_parquet(path: str) -> None:
    """Raise DataError where a file is no Parquet file by its first and last bytes; reads no more than these."""
    name = shown(path)
    try:
        with open(path, "rb") as file:
            start = file.read(12)
            file.seek(max(0, os.path.getsize(path) - 4))
            _check_ends(start, file.read(4), name)
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist; check the path.") from error
    except OSError as error:
        raise DataError(f"{name} cannot be opened: {error.strerror or error}.") from error


def _check_ends(start: bytes, end: bytes, name: str) -> None:
    if len(start) < 12 or not start.startswith(PARQUET) or end != PARQUET:
        raise DataError(f"{name} is no Parquet file, or its end is missing; write it anew.")


@contextlib.contextmanager
def parquet_errors(name: str, where: str = "") -> Iterator[None]:
    """One sentence for whatever a damaged file makes the reader say."""
    problem: BaseException
    try:
        yield
        return
    except DataError:
        raise
    except Exception as error:
        problem = error
    except BaseException as error:  # the reader's panics are no Exception
        if type(error).__name__ != "PanicException":
            raise
        problem = error
    raise DataError(f"{name} is a damaged Parquet file{where}: {first_line(problem)}.") from problem


# ---- writing -------------------------------------------------------------------------------------------------------


def write(X: Any, path: Any) -> None:
    """A table to a file of the kind that the ending says, all of it or none."""
    if str(path) == "-":
        raise DataError("the path is -, which only commands write to; give a file such as table.csv.")
    write_frame(as_polars(X), path)


def as_polars(X: Any) -> pl.DataFrame:
    """Any table as a polars frame."""
    if isinstance(X, pl.LazyFrame):
        return X.collect()
    if isinstance(X, pl.DataFrame):
        return X
    table = open_table(X, "Tables")
    if not isinstance(table, Frame):
        columns = [np.ascontiguousarray(values) for values in dense(table).T]
        return pl.DataFrame(dict(zip(default_names(len(columns)), columns, strict=True)), nan_to_null=True)
    return pl.DataFrame([_polars_series(table, place, name) for place, name in enumerate(table.names)])


def _polars_series(table: Frame, place: int, name: str) -> pl.Series:
    cells = table.cells(place)
    column = table.columns[place]
    if cells.nature == "nested":
        return pl.Series(name, column.to_list() if isinstance(column, nw.Series) else column, strict=False)
    missing = cells.missing()
    if cells.nature == "number":
        whole = "Int" in cells.dtype and not missing.any()
        return pl.Series(name, np.ascontiguousarray(cells.values), nan_to_null=not whole)
    if cells.nature == "text":
        return pl.Series(name, cells.values, dtype=pl.String)
    if cells.nature == "empty":
        return pl.Series(name, [None] * len(table))
    facts = ColumnFacts(name, "boolean" if cells.nature == "boolean" else "date", cells.dtype)
    values = np.where(missing, 0.0, cells.values)
    series: pl.Series = give_back([Restored(facts, values)], len(values), "polars", False, False)[name]
    return series.set(pl.Series(missing), None)
