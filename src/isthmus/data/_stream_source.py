"""Tables that are read piece by piece, and Parquet files that are: one, or several with the same columns."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from isthmus.atomic import shown
from isthmus.data import _files
from isthmus.errors import DataError

#: Bytes of values that one piece holds, and columns of a Parquet file that are read at a time.
PIECE, COLUMNS = 2**22, 32
#: What one word takes in memory, about.
WORD = 64
FLOATS: tuple[Any, ...] = (pl.Float32, pl.Boolean)
SMALL: tuple[Any, ...] = (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)


class Source(ABC):
    """A table in pieces: the same rows, names and types as if it were read whole.

    Attributes
    ----------
    names : the columns' names.
    schema : the columns' types.
    starts : the first row of each piece, and the number of rows at the end.
    """

    names: list[str]
    schema: dict[str, Any]
    starts: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def n_pieces(self) -> int:
        return len(self.starts) - 1

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes that the table takes in memory at most while it is read whole, about."""

    @abstractmethod
    def piece(self, index: int, columns: list[str] | None = None) -> pl.DataFrame:
        """One piece, or these columns of it. Raises DataError where the file is damaged."""

    def pieces(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        for index in range(self.n_pieces):
            yield self.piece(index, columns)

    def number_type(self, columns: list[str]) -> Any:
        """The type of one matrix of these columns: float32 where that holds all of them exactly, as in `stack`."""
        small = [name for name in columns if self.schema[name] in SMALL]
        if not columns or any(self.schema[name] not in (*FLOATS, *SMALL) for name in columns):
            return np.float64
        gaps = small and any(sum(piece.null_count().row(0)) for piece in self.pieces(small))
        return np.float64 if gaps else np.float32


class ParquetSource(Source):
    """Parquet files with the same columns, one after the other, a stretch of rows at a time."""

    def __init__(self, paths: list[str]):
        self.paths = paths
        heights = []
        for path in paths:
            _files.check_parquet(path)
            with _files.parquet_errors(shown(path)):
                schema = dict(pl.read_parquet_schema(path))
                heights.append(int(_scan(path).select(pl.len()).collect().item()))
            if path == paths[0]:
                self.schema, self.names = schema, list(schema)
            elif schema != self.schema:
                raise DataError(
                    f"{shown(path)} has other columns, or other types of columns, than {shown(paths[0])}; files that "
                    f"are read as one table need the same."
                )
        if not sum(heights) or not self.names:
            count, width = sum(heights), len(self.names)
            raise DataError(f"{shown(paths[0])} has {count} rows and {width} columns; it needs at least one of each.")
        self.step = max(1024, PIECE // self._row_bytes() // 1024 * 1024)
        self.places = [
            (path, start, min(self.step, height - start))
            for path, height in zip(paths, heights, strict=True)
            for start in range(0, height, self.step)
        ]
        self.starts = np.cumsum([0, *(count for _, _, count in self.places)]).astype(np.int64)

    def _row_bytes(self) -> int:
        return sum(4 if dtype in (*FLOATS, *SMALL) else 8 if dtype.is_numeric() or dtype.is_temporal() else WORD
                   for dtype in self.schema.values())  # fmt: skip

    @property
    def size(self) -> int:
        return sum(os.path.getsize(path) for path in self.paths) + 2 * len(self) * self._row_bytes()

    def piece(self, index: int, columns: list[str] | None = None) -> pl.DataFrame:
        path, start, count = self.places[index]
        with _files.parquet_errors(shown(path), f" between rows {start} and {start + count} (counting from 0)"):
            names = self.names if columns is None else columns
            # a few columns at a time: the reader maps what it reads of the file into memory
            few = [names[place : place + COLUMNS] for place in range(0, len(names), COLUMNS)]
            frames = [_scan(path).select(part).slice(start, count).collect() for part in few]
            frame = pl.concat(frames, how="horizontal")
            if frame.height != count:
                raise DataError(f"{shown(path)} lost rows while it was read; leave files as they are until the end.")
            return frame


def _scan(path: str) -> pl.LazyFrame:
    return pl.scan_parquet(path, low_memory=True, glob=False, hive_partitioning=False)
