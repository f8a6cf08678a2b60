"""What of a table stands beside the symbols: its container, its types, and words that have no symbol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
from scipy import sparse

from isthmus.data import Tables
from isthmus.data._columns import Cells
from isthmus.data._frames import Frame, is_path, open_table
from isthmus.data._giveback import Restored, give_back
from isthmus.data._numbers import is_sparse
from isthmus.data._samples import TableSamples
from isthmus.data.base import ColumnFacts
from isthmus.errors import DataError


@dataclass
class Given:
    """A table as it came.

    Parameters
    ----------
    samples : as the data type opened it.
    header : what is not in the symbols: "container", "dtype" of the numbers, "order" of the columns where they have
        names, "words" of categories that training did not know, "left", the words of columns that are left out, and
        "nans", by column, the rows in which NaN stands, which in some frames is not the same as no value; True for all
        that have none.
    """

    samples: TableSamples
    header: dict[str, Any]


def given(data: Tables, X: Any) -> Given:
    """A table, opened, with what a header must carry of it. Raises DataError for what cannot be kept."""
    X = data.read_more(X) if is_path(X) else X
    samples = data.open(X)
    if not isinstance(samples, TableSamples):
        raise DataError("this table is larger than the memory; compress it piece by piece.")
    header: dict[str, Any] = {"container": samples.container, "dtype": samples.numbers.dtype.str}
    table = open_table(X, data.owner)
    if not isinstance(table, Frame):
        _refuse_left_numbers(data, samples)
        return Given(samples, header)
    frame_columns = _Columns(data, table)
    header |= {"words": _unknown_words(data, samples, frame_columns), "left": _left_words(data, frame_columns)}
    header["nans"] = _nans(data, frame_columns)
    return Given(samples, {name: value for name, value in header.items() if value})


class _Columns:
    """The columns of a frame by the place that they have in training; read when asked for."""

    def __init__(self, data: Tables, frame: Frame):
        by_name = data.named and frame.named
        places = {name: place for place, name in enumerate(frame.names)}
        self.places = [places.get(name, -1) for name in data.feature_names] if by_name else range(len(frame.names))
        self.frame = frame

    def cells(self, place: int) -> Cells | None:
        """None for a column that is not there."""
        return self.frame.cells(self.places[place]) if self.places[place] >= 0 else None

    def nans(self, place: int) -> list[int] | bool:
        """The rows with NaN; True where no row has no value, and nothing to say where the two are one."""
        column = self.frame.columns[self.places[place]] if self.places[place] >= 0 else None
        if self.frame.container == "pandas" or not isinstance(column, nw.Series) or not column.dtype.is_float():
            return False
        rows: list[int] = np.flatnonzero(column.is_nan().fill_null(False).to_numpy()).tolist()
        return rows and (rows if column.null_count() else True)


def _unknown_words(data: Tables, samples: TableSamples, columns: _Columns) -> dict[str, list[str]]:
    """By column, the words that are none of its levels, in order."""
    found = {}
    coded = [place for place, facts in enumerate(data.schema) if facts.kind == "categorical"]
    for index, place in enumerate(coded):
        assert samples.codes is not None
        rows = np.flatnonzero(samples.codes[:, index] == len(data.schema[place].levels))
        if len(rows) and (cells := columns.cells(place)) is not None:
            found[str(place)] = [str(cells.values[row]) for row in rows]
    return found


def _nans(data: Tables, columns: _Columns) -> dict[str, list[int] | bool]:
    places = [place for place, facts in enumerate(data.schema) if facts.kind == "numeric"]
    return {str(place): rows for place in places if (rows := columns.nans(place))}


def _left_words(data: Tables, columns: _Columns) -> dict[str, list[str | None]]:
    """By column, the words of those that the model does not see."""
    found: dict[str, list[str | None]] = {}
    for place, facts in enumerate(data.schema):
        if facts.kind != "left out" or (cells := columns.cells(place)) is None or cells.missing().all():
            if facts.kind == "left out" and cells is not None and cells.nature == "nested":
                raise DataError(
                    f"the column {facts.name!r} holds lists or records, which cannot be compressed; give each of their "
                    "parts a column, or drop it."
                )
            continue
        if cells.nature != "text":
            raise DataError(
                f"the column {facts.name!r} was empty in training, so that nothing is known of its {cells.nature} "
                "values; fit with a table that has some, or drop it."
            )
        found[str(place)] = cells.values
    return found


def _refuse_left_numbers(data: Tables, samples: TableSamples) -> None:
    for place, facts in enumerate(data.schema):
        if facts.kind == "left out":
            column = samples.numbers[:, [place]]
            column = column.toarray() if is_sparse(column) else column
            if not np.isnan(column.astype(np.float64)).all():
                raise DataError(f"the column {facts.name!r} was empty in training; fit with data that have it.")


def give_table(data: Tables, numbers: Any, codes: Any, header: dict[str, Any]) -> Any:
    """The table in the container that it came in."""
    n, container = len(numbers), header["container"]
    if data._from_array and container in ("numpy", "scipy", "scipy matrix"):
        return _matrix(data, numbers, container)
    values, nans = _values(data, numbers, codes, header), header.get("nans", {})
    columns = [
        _restored(facts, cells, nans.get(str(place)))
        for place, (facts, cells) in enumerate(zip(data.schema, values, strict=True))
    ]
    return give_back(columns, n, container, container == data.container, data._whole_names)


def _restored(facts: ColumnFacts, cells: Any, nans: list[int] | bool | None) -> Restored:
    if facts.kind == "left out":
        return Restored(replace(facts, kind="categorical"), cells)
    if facts.kind == "categorical" or cells.dtype.kind != "f" or not (absent := np.isnan(cells)).any():
        return Restored(facts, cells)
    if nans is not None:
        absent[slice(None) if nans is True else nans] = False
    return Restored(facts, np.where(absent, 0.0, cells), absent)


def _matrix(data: Tables, numbers: Any, container: str) -> Any:
    taken = data._layout.taken
    if taken is not None:
        whole = np.full((len(numbers), len(data.schema)), np.nan, numbers.dtype)
        whole[:, taken.numpy()] = numbers
        numbers = whole
    if container == "numpy":
        return numbers
    return sparse.csr_array(numbers) if container == "scipy" else sparse.csr_matrix(numbers)


def _values(data: Tables, numbers: Any, codes: Any, header: dict[str, Any]) -> list[Any]:
    """The plain values of each column; None for those that come back empty."""
    words, left = header.get("words", {}), header.get("left", {})
    found: list[Any] = []
    number = code = 0
    for place, facts in enumerate(data.schema):
        if facts.kind == "left out":
            found.append(left.get(str(place)))
        elif facts.kind == "categorical":
            others = iter(words.get(str(place), ()))
            levels = [*facts.levels, None]
            known = (
                (None if at < 0 else next(others) if at == len(facts.levels) else levels[at]) for at in codes[:, code]
            )
            found.append(list(known))
            code += 1
        else:
            found.append(numbers[:, number])
            number += 1
    return found
