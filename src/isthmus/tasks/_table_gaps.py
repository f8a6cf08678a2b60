"""Missing cells of tables: which ones they are, and the table with guesses where they were, nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from isthmus.data._columns import is_absent
from isthmus.data._frames import open_table
from isthmus.data._numbers import dense, is_sparse

Gone = np.ndarray[Any, np.dtype[np.bool_]]


def native(X: Any, owner: str) -> Any:
    """The table as an array, a sparse matrix, or a frame of pandas, polars or pyarrow."""
    if isinstance(X, (np.ndarray, pl.DataFrame)) or is_sparse(X):
        return X
    if isinstance(X, (list, tuple)):
        table = open_table(X, owner)
        return table if isinstance(table, np.ndarray) else np.array([list(row) for row in X], dtype=object)
    found = nw.from_native(X, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        return found.collect("polars").to_native()
    if not isinstance(found, nw.DataFrame):
        return np.asarray(X)
    name = found.implementation.value
    return X if name in ("pandas", "polars", "pyarrow") else found.to_pandas()


def joined(X: Any, guess: Any, names: list[str] | None) -> Any:
    """The table with what is missing taken from the guess.

    Parameters
    ----------
    X : the table as `native` gives it.
    guess : a table of the same kind without its gaps, its columns in the order of training.
    names : the columns of training, where those of X are found by name; a column that X lacks is the guess's.
    """
    if is_sparse(X):
        return _sparse(X, guess)
    if isinstance(X, np.ndarray):
        return _array(X, guess)
    if isinstance(X, pl.DataFrame):
        return pl.DataFrame(_in_order(X.columns, names, X.get_columns(), guess.get_columns(), _polars))
    if hasattr(X, "iloc"):
        return _pandas(X, guess, names)
    import pyarrow as pa

    columns = _in_order(X.column_names, names, X.columns, guess.columns, _pyarrow)
    return pa.table(columns, names=X.column_names if names is None else guess.column_names)


def missing(X: Any, names: list[str] | None) -> Gone:
    """Which cells are missing, (n_rows, n_columns), the columns in the order of training."""
    if isinstance(X, np.ndarray) or is_sparse(X):
        X = dense(X)
        if X.dtype.kind == "O":
            return np.array([[is_absent(value) for value in row] for row in X], dtype=bool)
        return np.isnan(X) if X.dtype.kind == "f" else np.zeros(X.shape, dtype=bool)
    frame = nw.from_native(X)
    columns = {column.name: _gone(column) for column in frame.iter_columns()}
    empty = np.ones(len(frame), dtype=bool)
    return np.stack([columns.get(name, empty) for name in (names or list(columns))], axis=1)


def _gone(column: nw.Series[Any]) -> Gone:
    found: Gone = column.is_null().to_numpy()
    return found | column.is_nan().fill_null(True).to_numpy() if column.dtype.is_float() else found


def row_of(X: Any, row: int) -> list[Any]:
    """The cells of one row."""
    if isinstance(X, np.ndarray) or is_sparse(X):
        return list(dense(X[[row]])[0].tolist())
    return list(nw.from_native(X)[row : row + 1].rows()[0])


def _in_order(given: Any, names: list[str] | None, columns: Any, guesses: Any, join: Callable[[Any, Any], Any]) -> Any:
    """Each column joined with its guess, in the order of training."""
    if names is None:
        return [join(column, guess) for column, guess in zip(columns, guesses, strict=True)]
    found = dict(zip(map(str, given), columns, strict=True))
    return [join(found[name], guess) if name in found else guess for name, guess in zip(names, guesses, strict=True)]


# ---- one kind of table each


def _array(X: Any, guess: Any) -> Any:
    result = X.copy()
    if X.dtype.kind == "f":
        gone = np.isnan(X)
        result[gone] = guess[gone]
    elif X.dtype.kind == "O":
        for place in range(X.shape[1]):
            column = X[:, place]
            gone = np.array([is_absent(value) for value in column], dtype=bool)
            if gone.any():
                result[gone, place] = _as_objects(guess[gone, place], column[~gone])
    return result


def _as_objects(guess: Any, present: Any) -> Any:
    """Guesses among Python objects: whole numbers where all that is there are such."""
    whole = len(present) and all(isinstance(value, (int, np.integer)) for value in present)
    if whole and not all(isinstance(value, (bool, np.bool_)) for value in present):
        return [int(value) for value in guess]
    return list(guess)


def _sparse(X: Any, guess: Any) -> Any:
    result = X.tocsr(copy=True)
    gone = np.isnan(result.data) if result.data.dtype.kind == "f" else np.zeros(len(result.data), dtype=bool)
    rows = np.repeat(np.arange(result.shape[0]), np.diff(result.indptr))
    result.data[gone] = guess.toarray()[rows[gone], result.indices[gone]]
    return result.asformat(X.format)


def _polars(column: pl.Series, guess: pl.Series) -> pl.Series:
    gone = column.is_null()
    if column.dtype.is_float():
        gone = gone | column.is_nan().fill_null(True)
    if gone.all():
        return guess.alias(column.name)
    if not gone.any():
        return column
    return column.zip_with(~gone, guess.cast(column.dtype).alias(column.name))


def _pandas(X: Any, guess: Any, names: list[str] | None) -> Any:
    import pandas as pd

    def join(column: Any, made: Any) -> Any:
        made = made.set_axis(X.index)
        gone = column.isna().to_numpy()
        if gone.all():
            return made
        if not gone.any():
            return column
        values = made.to_numpy()[gone]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.add_categories([one for one in pd.unique(values) if one not in column.cat.categories])
        column = column.copy()
        column.iloc[np.flatnonzero(gone)] = values
        return column

    columns = [X.iloc[:, place] for place in range(X.shape[1])]
    guesses = [guess.iloc[:, place] for place in range(guess.shape[1])]
    joined_ = _in_order(X.columns, names, columns, guesses, join)
    result = pd.DataFrame({place: one.set_axis(X.index) for place, one in enumerate(joined_)}, index=X.index)
    result.columns = X.columns if names is None or list(map(str, X.columns)) == names else guess.columns
    return result


def _pyarrow(column: Any, guess: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))
    if pc.all(gone).as_py():
        return guess
    if not pc.any(gone).as_py():
        return column
    if pa.types.is_dictionary(column.type):
        plain = column.cast(column.type.value_type)
        made = pc.if_else(gone, guess.cast(plain.type), plain)
        return made.dictionary_encode().cast(column.type)
    return pc.if_else(gone, guess.cast(column.type), column)
