"""A matrix in a temporary file: written once from top to bottom, then read in stretches of rows.

What is read goes into memory of our own, not into mapped pages, so that how much a process takes is bounded and seen.
The file has no name: it is gone as soon as nobody holds it, however the process ends.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np

from isthmus.data._numbers import Vector
from isthmus.errors import DataError

#: Bytes read at a time when all rows are gone through.
STRETCH = 2**22


class Scratch:
    """Rows of numbers on disk, used like the matrix that it stands for: `scratch[10:20]`, `scratch[rows]`.

    Parameters
    ----------
    n_rows, n_columns : how large it will be; whether the disk has room is asked at once.
    dtype : the type of its numbers.

    Raises
    ------
    DataError : where the disk has no room for it.

    >>> scratch = Scratch(3, 2, np.dtype("float32"))
    >>> scratch.append(np.arange(6).reshape(3, 2))
    >>> scratch[1:].tolist(), scratch[np.array([2, 0])].tolist(), scratch[:, np.array([1])][:2].tolist()
    ([[2.0, 3.0], [4.0, 5.0]], [[4.0, 5.0], [0.0, 1.0]], [[1.0], [3.0]])
    """

    def __init__(self, n_rows: int, n_columns: int, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.width = n_columns
        self.columns: Any = slice(None)  # of the file's columns, those that are shown
        self.order: Literal["C", "F"] = "C"  # how what is read lies in memory
        self.ndim = 2
        self.shape = (n_rows, n_columns)
        self.row_bytes = n_columns * self.dtype.itemsize
        self.written = 0
        _check_room(n_rows * self.row_bytes)
        self.file = tempfile.TemporaryFile(prefix="isthmus-", buffering=0)
        weakref.finalize(self, self.file.close)

    def __len__(self) -> int:
        return self.shape[0]

    def append(self, rows: Any) -> None:
        """Write the next rows."""
        values: Any = np.ascontiguousarray(rows, dtype=self.dtype)
        self.written += len(values)
        view = memoryview(values).cast("B") if values.size else memoryview(b"")
        try:
            while len(view):
                view = view[self.file.write(view) :]
        except OSError as error:
            raise DataError(
                f"the table could not be written to {tempfile.gettempdir()} ({error.strerror}); make room there, or "
                f"set TMPDIR to a folder with more."
            ) from error

    def read_into(self, start: int, out: Any) -> None:
        """Fill `out`, (n, width), which is whole in memory, with the rows from `start` on."""
        view = memoryview(out).cast("B") if out.size else memoryview(b"")
        self.file.seek(start * self.row_bytes)
        while len(view):
            count = self.file.readinto(view)
            if not count:
                raise DataError("the temporary file of the table has become shorter; start again.")
            view = view[count:]

    def stretch(self, start: int, stop: int) -> Any:
        """The rows from `start` to `stop`, all columns of the file."""
        out = np.empty((max(0, stop - start), self.width), dtype=self.dtype)
        self.read_into(start, out)
        return out

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            rows, columns = key
            shown = np.arange(self.width)[self.columns][columns]
            if isinstance(columns, (int, np.integer)):
                return np.concatenate([piece[rows, shown] for piece in self._stretches()])
            return self._showing(shown, order="F")
        if isinstance(key, slice):
            start, stop, _ = key.indices(len(self))
            return self._shown(self.stretch(start, stop))
        out = np.empty((len(key), self.width), dtype=self.dtype)
        for place, row in enumerate(np.asarray(key).tolist()):
            self.read_into(row, out[place])
        return self._shown(out)

    def select(self, columns: Any) -> Self:
        """The same file, with these columns alone."""
        return self._showing(columns, order="C")

    def _showing(self, columns: Any, order: Literal["C", "F"]) -> Self:
        view = object.__new__(type(self))
        view.__dict__ |= self.__dict__ | {"whole": self}  # which closes the file when it goes
        every = order == "C" and np.array_equal(columns, np.arange(self.width))
        view.columns = slice(None) if every else columns
        view.shape, view.order = (len(self), len(columns)), order  # sums depend on the order, by a rounding
        return view

    def _shown(self, values: Any) -> Any:
        return values if isinstance(self.columns, slice) else np.asarray(values[:, self.columns], order=self.order)

    def _stretches(self) -> Iterator[Any]:
        step = max(1, STRETCH // max(1, self.row_bytes))
        for start in range(0, len(self), step):
            yield self.stretch(start, min(start + step, len(self)))

    def extremes(self) -> tuple[Vector, Vector, Vector]:
        """Smallest and largest value of each column and how many are missing, (d,) each; NaN where none is present."""
        d = self.shape[1]
        low, high, missing = np.full(d, np.nan), np.full(d, np.nan), np.zeros(d)
        for piece in self._stretches():
            values = self._shown(piece)
            low = np.fmin(low, np.fmin.reduce(values, axis=0))
            high = np.fmax(high, np.fmax.reduce(values, axis=0))
            missing += np.count_nonzero(np.isnan(values), axis=0)
        return low.astype(np.float64), high.astype(np.float64), missing

    def is_permutation(self, column: int, lowest: float) -> bool:
        """Whether whole numbers in this column are n neighbours in any order, from `lowest` on."""
        seen = np.zeros(len(self), dtype=bool)
        for piece in self._stretches():
            seen[(piece[:, column] - lowest).astype(np.int64)] = True
        return bool(seen.all())


def _check_room(needed: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"the table needs {needed / 1e9:.1f} GB in {folder} while it is used, and {free / 1e9:.1f} GB are free "
            f"there; make room, or set TMPDIR to a folder with more."
        )
