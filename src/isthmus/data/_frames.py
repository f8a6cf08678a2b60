"""What a table may come in: arrays, sparse matrices and the frames of other libraries, read column by column."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
from scipy import sparse

from isthmus.data._columns import Cells, from_objects, from_series
from isthmus.data._endings import first_line, names_a_table
from isthmus.data._numbers import is_sparse
from isthmus.errors import DataError


class CellTypeError(DataError, TypeError):
    """A cell of an array holds something that is no single value."""


@dataclass
class Frame:
    """A table of named columns that are read one at a time.

    Parameters
    ----------
    names : the columns' names.
    container : the name of the type that the table came in: numpy, pandas, polars or pyarrow.
    columns : the columns, as narwhals series, as lists of Python objects, or as cells already.
    named : whether the names are the table's own.
    whole_names : whether the names were whole numbers, as pandas has them by default.
    """

    names: list[str]
    container: str
    columns: list[Any] = field(repr=False)
    named: bool = True
    whole_names: bool = False

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def cells(self, place: int) -> Cells:
        """The plain values of one column."""
        column = self.columns[place]
        if isinstance(column, Cells):
            return column
        return from_series(column) if isinstance(column, nw.Series) else from_objects(column)

    def native(self, place: int) -> str:
        """The column's type as its library writes it."""
        column = self.columns[place]
        if not isinstance(column, nw.Series):
            return "object"
        values = column.to_native()
        dtype = values.dtype if hasattr(values, "dtype") else values.type
        if self.container == "pandas" and str(dtype) == "category":
            ordered = ",ordered" if dtype.ordered else ""
            return f"category[{dtype.categories.dtype}{ordered}]"
        return str(dtype)

    def categories(self, place: int) -> tuple[str, ...]:
        """All values that the column's type allows, where it lists them."""
        column = self.columns[place]
        if not isinstance(column, nw.Series):
            return ()
        values = column.to_native()
        if self.container == "pandas" and str(values.dtype) == "category":
            return tuple(str(value) for value in values.dtype.categories)
        return tuple(column.dtype.categories) if isinstance(column.dtype, nw.Enum) else ()


def is_path(X: Any) -> bool:
    return isinstance(X, (str, os.PathLike))


def looks_like_a_table(X: Any) -> bool:
    """Whether X is something that `open_table` reads; cheap, touches no file."""
    if is_path(X):
        return names_a_table(X)
    if is_sparse(X) or _is_frame(X):
        return True
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(row, (list, tuple, np.ndarray)) and np.ndim(row[:1]) == 1 for row in X[:20])
    if hasattr(X, "__array__"):
        return len(getattr(X, "shape", ())) == 2
    return False


def _is_frame(X: Any) -> bool:
    try:
        return isinstance(nw.from_native(X, pass_through=True), (nw.DataFrame, nw.LazyFrame))
    except nw.exceptions.NarwhalsError:  # a frame with a defect, which opening it will name
        return True


def open_table(X: Any, owner: str) -> Any:
    """A `Frame`, or a numeric matrix (n, d) as NumPy array or CSR; DataError for anything else."""
    if _is_frame(X):
        return _open_frame(X)
    array = _checked(X, owner)
    if is_sparse(array) or array.dtype.kind in "fiub":
        return array
    return _numeric(array)


def container_of(X: Any) -> str:
    """The name that stands for the type of an array or sparse matrix."""
    if not is_sparse(X):
        return "numpy"
    return "scipy matrix" if isinstance(X, sparse.spmatrix) else "scipy"


def _open_frame(X: Any) -> Frame:
    try:
        frame = nw.from_native(X)
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect("polars")
        columns = list(frame.iter_columns())
    except nw.exceptions.DuplicateError:
        _refuse_repeated([str(label) for label in getattr(X, "column_names", None) or X.columns])
        raise
    except Exception as error:  # whatever library it is, its errors are its own
        raise DataError(f"the frame cannot be read: {first_line(error)}.") from error
    container = {"polars": "polars", "pyarrow": "pyarrow"}.get(frame.implementation.value, "pandas")
    labels: list[Any] = [column.name for column in columns]
    names = [str(label) for label in labels]
    _refuse_repeated(names)
    if not columns:
        raise DataError("the frame has 0 feature(s) (shape=(0, 0)) while a minimum of 1 is required.")
    if not len(columns[0]):
        raise DataError(f"Found a frame with 0 sample(s) (shape=(0, {len(names)})) while a minimum of 1 is required.")
    return Frame(names, container, columns, whole_names=all(isinstance(label, (int, np.integer)) for label in labels))


def _refuse_repeated(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(f"the column name {repeated[0]!r} stands {names.count(repeated[0])} times; rename all but one.")


def _checked(X: Any, owner: str) -> Any:
    """X as a NumPy array or CSR with two axes, checked in scikit-learn's words."""
    from sklearn.utils import check_array

    if not is_sparse(X) and (X is None or isinstance(X, (dict, set, bytes, int, float))):
        raise DataError(f"a table is an array, a frame or a path, not {type(X).__name__}: Reshape your data.")
    if isinstance(X, (list, tuple)):
        X = _from_lists(X)
    try:
        array = check_array(
            X, accept_sparse="csr", dtype=None, ensure_all_finite=False, copy=False, estimator=owner, input_name="X"
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(str(error)) from error
    if is_sparse(array):
        if array.dtype.kind not in "fiub":
            raise DataError(f"the sparse matrix holds {array.dtype}; it must hold numbers.")
        array.sum_duplicates()
        return array
    if array.dtype.kind not in "fiubOUS":
        raise DataError(f"the array holds {array.dtype}; give numbers, or put the columns into a DataFrame.")
    return array


def _from_lists(rows: Any) -> Any:
    """Lists of numbers become numbers; where words are among them every cell keeps its own type."""
    try:
        array = np.asarray(rows)
        return np.array(rows, dtype=object) if array.dtype.kind in "US" else array
    except ValueError as error:
        raise DataError("the rows of the list differ in length; every row needs one cell per column.") from error


def _numeric(array: Any) -> Any:
    """An array of Python objects or words: one of float64 if every cell is a number, else a Frame."""
    for row, column in _odd_cells(array):
        value = array[row, column]
        raise CellTypeError(
            f"the cell in row {row}, column {column} holds a {type(value).__name__}; "
            f"a cell given as argument must be a string or a real number."
        )
    with contextlib.suppress(ValueError, TypeError):
        return array.astype(np.float64)
    objects = array.astype(str).astype(object) if array.dtype.kind == "S" else array.astype(object)
    columns = [objects[:, place].tolist() for place in range(objects.shape[1])]
    return Frame(default_names(len(columns)), "numpy", columns, named=False)


def _odd_cells(array: Any) -> Iterator[tuple[int, int]]:
    if array.dtype.kind != "O":
        return
    for (row, column), value in np.ndenumerate(array):
        if isinstance(value, (list, tuple, dict, set, bytes, np.ndarray, complex)):
            yield row, column


def default_names(count: int) -> list[str]:
    return [f"x{place}" for place in range(count)]
