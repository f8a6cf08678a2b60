from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.data import _files, _state
from isthmus.data._columns import Cells, as_codes, as_numbers, judge
from isthmus.data._frames import Frame, container_of, default_names, is_path, looks_like_a_table, open_table
from isthmus.data._giveback import Restored, give_back
from isthmus.data._matrix import add_statistics, judge_matrix, refuse_infinite, stack
from isthmus.data._numbers import SCALINGS, Matrix, Scaler, choose_scaler, dense, statistics
from isthmus.data._samples import LIMITS, Layout, TableSamples, make_batch
from isthmus.data._stream_find import find_source
from isthmus.data._stream_samples import ScratchSamples, StreamedSamples, joined, to_scratch
from isthmus.data._stream_source import Source
from isthmus.data._stream_survey import survey
from isthmus.data._values import restored_values, written
from isthmus.data.base import ColumnFacts, Data, Rows
from isthmus.errors import DataError, SettingError
from isthmus.spec import Column, SampleSpec
from isthmus.training.batch import Batch


class Tables(Data):
    """Tables: numbers, yes/no answers, categories, dates and missing values, in arrays, frames or files.

        DATA → corrupt → encoder → bottleneck → decoder → likelihood → DATA

    Takes NumPy arrays and what turns into them, scipy sparse matrices, frames of pandas, polars and pyarrow, and paths
    to CSV, TSV, Parquet and NDJSON files; `from_tensor` gives back the type that came, with its column types. Columns
    of a frame are matched by name. Text that is different in almost every row, and columns without any value, are left
    out of the tensor and come back empty. A value that training did not know takes a category's last place, "other".

    Parameters
    ----------
    scaling : what numbers are turned into. "auto" (the default): mean 0 and standard deviation 1, after an inverse
        hyperbolic sine where the tails are heavy, so that one billionaire does not flatten all other salaries;
        "standard": the same without that; "robust": median 0 and the middle half as wide as a normal law's;
        "minmax": from 0 to 1; "center": mean 0; "none".
    max_categories : how many of a column's most frequent levels are kept apart, at least 1; the rest is "other".
    streaming : whether Parquet, CSV and TSV files are read piece by piece, in bounded memory: True, False, or "auto"
        where the table would take more than half of the memory at hand. Training then needs room on the disk for a
        temporary copy of the columns in use. Several Parquet files are one table: a list, a pattern, or their folder.

    Raises
    ------
    SettingError : for an unknown scaling or fewer than one category.
    DataError : in `fit` and `open`, for what is no table, infinite values, or data that differ from the training's.

    >>> import numpy as np
    >>> tables = Tables().fit(np.array([[1.0, 5.0], [3.0, float("nan")]]))
    >>> x, weight, _ = tables.batch(tables.open([[3.0, float("nan")]]), np.array([0]))
    >>> x.tolist(), weight.tolist(), tables.from_tensor(x).tolist()
    ([[1.0, 0.0]], [[1.0, 0.0]], [[3.0, 5.0]])
    """

    owner: str = "Tables"
    #: Learned: whether the columns had names of their own.
    named: bool

    def __init__(self, scaling: str = "auto", max_categories: int = 100, streaming: bool | str = "auto"):
        self.scaling = scaling
        self.max_categories = max_categories
        self.streaming = streaming

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(scaling="minmax"), cls(scaling="none", max_categories=2)]

    @classmethod
    def accepts(cls, X: Any) -> bool:
        return looks_like_a_table(X)

    # ---- learning ----------------------------------------------------------------------------------------------

    def fit(self, X: Any) -> Self:
        self._check()
        table = self._table(X, self.read)
        if isinstance(table, Source):
            schema, matrix = survey(table, self.max_categories)
            container, named, whole_names = "polars", True, False
        elif isinstance(table, Frame):
            schema, matrix = self._judge_frame(table)
            container, named, whole_names = table.container, table.named, table.whole_names
        else:
            schema, matrix = judge_matrix(table), table
            container, named, whole_names = container_of(X), False, False
        from_array = not isinstance(table, (Frame, Source))
        places = [place for place, facts in enumerate(schema) if from_array or _is_number(facts)]
        refuse_infinite(matrix, [schema[place].name for place in places])
        found = statistics(matrix)
        answers = np.array([schema[place].kind == "boolean" for place in places], dtype=bool)
        scaler = choose_scaler(matrix, found, self.scaling, answers)
        compressed = set(scaler.compressed.tolist())
        for index, place in enumerate(places):
            schema[place] = add_statistics(schema[place], found, index, index in compressed)
        kept = [index for index, place in enumerate(places) if schema[place].kind != "left out"]
        return self._learned(schema, scaler.select(kept), container, from_array, named, whole_names)

    def _check(self) -> None:
        if self.scaling not in SCALINGS:
            raise SettingError(f"scaling is {self.scaling!r}; it must be one of {', '.join(SCALINGS)}.")
        if not isinstance(self.max_categories, (int, np.integer)) or self.max_categories < 1:
            raise SettingError(f"max_categories is {self.max_categories!r}; it must be a whole number of at least 1.")

        if self.streaming not in (True, False, "auto"):
            raise SettingError(f"streaming is {self.streaming!r}; it must be True, False or 'auto'.")

    def _table(self, X: Any, read: Callable[[Any], Any], words: frozenset[str] = frozenset()) -> Any:
        """X as a frame or a matrix; files too large for the memory as a source of pieces."""
        found = find_source(X, self.streaming, words)
        if isinstance(found, Source):
            return found
        return open_table(found if found is not None else read(X) if is_path(X) else X, self.owner)

    def _judge_frame(self, frame: Frame) -> tuple[list[ColumnFacts], Matrix]:
        schema, numbers = [], []
        for place, name in enumerate(frame.names):
            cells = frame.cells(place)
            facts = judge(name, cells, frame.native(place), frame.categories(place), self.max_categories)
            schema.append(facts)
            if _is_number(facts):
                numbers.append(cells.values)
        return schema, stack(numbers, len(frame))

    def _learned(
        self,
        schema: list[ColumnFacts],
        scaler: Scaler,
        container: str,
        from_array: bool,
        named: bool,
        whole_names: bool,
    ) -> Self:
        """Write down what was learned, by `fit` or in a file."""
        layout = Layout(schema, from_array)
        if not layout.width:
            reasons = "; ".join(f"{facts.name}: {facts.left_out}" for facts in schema[:3])
            raise DataError(f"no column of the table can be used ({reasons}); give at least one that varies.")
        self.schema, self.container, self.named = schema, container, named
        self.feature_names = [facts.name for facts in schema]
        self._scaler, self._layout, self._from_array, self._whole_names = scaler, layout, from_array, whole_names
        kinds = [facts.kind for facts in layout.used]
        unnamed = from_array and len(layout.used) == len(schema) and set(kinds) == {"numeric"}
        self.spec = SampleSpec(
            (layout.width,),
            columns=() if unnamed else tuple(map(_column, layout.used, layout.sizes)),
            gaps=any(facts.n_missing > 0 for facts in layout.used),
        )
        return self

    # ---- tensors out of tables ---------------------------------------------------------------------------------

    def open(self, X: Any) -> TableSamples | StreamedSamples:
        table = self._table(X, self.read_more, self._words())
        in_columns = isinstance(table, (Frame, Source))
        names = table.names if in_columns else default_names(table.shape[1])
        by_name = in_columns and self.named and (isinstance(table, Source) or table.named)
        if not by_name and len(names) != self.n_features_in:
            raise DataError(
                f"X has {len(names)} features, but {self.owner} is expecting {self.n_features_in} features as input."
            )
        places = self._places(names) if by_name else list(range(len(names)))
        if isinstance(table, Source):
            return self._streamed(table, places)
        if not isinstance(table, Frame):
            if self._from_array:
                return self._samples(table, None, container_of(X))
            columns = [Cells("number", values, "Float64") for values in dense(table).T]
            table = Frame(names, container_of(X), columns, named=False)
        return self._open_frame(table, places)

    def _streamed(self, source: Source, places: list[int]) -> StreamedSamples:
        pairs = zip(self.schema, places, strict=True)
        dtype = source.number_type([source.names[place] for facts, place in pairs if _is_number(facts)])

        def convert(piece: Any) -> TableSamples:
            return self._open_frame(open_table(piece, self.owner), places, dtype)

        return StreamedSamples(source, convert)

    def _places(self, names: list[str]) -> list[int]:
        """Where each column of training stands among these names; -1 for one that is left out and not there."""
        known, given = set(self.feature_names), {name: place for place, name in enumerate(names)}
        missing = [facts.name for facts in self.schema if facts.kind != "left out" and facts.name not in given]
        extra = [name for name in names if name not in known]
        if missing or extra:
            lacks = f"lacks the column{_plural(missing)} {_listed(missing)}, which training had" if missing else ""
            has = f"has the column{_plural(extra)} {_listed(extra)}, which training did not have" if extra else ""
            advice = " and ".join(["add what is missing"] * bool(missing) + ["drop what is new"] * bool(extra))
            raise DataError(f"the table {' and '.join(part for part in (lacks, has) if part)}; {advice}.")
        return [given.get(name, -1) for name in self.feature_names]

    def _open_frame(self, frame: Frame, places: list[int], dtype: Any = None) -> TableSamples:
        numbers, codes = [], []
        for facts, place in zip(self.schema, places, strict=True):
            if facts.kind == "categorical":
                codes.append(as_codes(frame.cells(place), facts))
            elif facts.kind != "left out":
                numbers.append(as_numbers(frame.cells(place), facts))
            elif self._from_array:  # the layout counts the matrix's columns
                numbers.append(np.full(len(frame), np.nan))
        matrix = stack(numbers, len(frame))
        if dtype is not None:  # of all pieces alike
            matrix = matrix.astype(dtype, copy=False)
        return self._samples(matrix, np.stack(codes, axis=1) if codes else None, frame.container)

    def _samples(self, numbers: Matrix, codes: Any, container: str) -> TableSamples:
        names = [facts.name for facts in self.schema if self._from_array or _is_number(facts)]
        low, high, missing = refuse_infinite(numbers, names)
        taken = slice(None) if self._layout.taken is None else self._layout.taken.numpy()
        ends = self._scaler.forward_(torch.from_numpy(np.stack([low, high])[:, taken]))
        wild = bool((ends.abs() > LIMITS[torch.float32]).any())
        gaps = bool(missing[taken].any()) or (codes is not None and bool((codes < 0).any()))
        return TableSamples(numbers, codes, container, gaps, wild)

    def for_training(self, samples: Any, rows: Any = None) -> tuple[Any, Any]:
        if not isinstance(samples, StreamedSamples):
            return super().for_training(samples, rows)
        return to_scratch(samples, rows)

    def batch(self, samples: Any, rows: Rows, dtype: torch.dtype = torch.float32) -> Batch:
        if isinstance(samples, StreamedSamples):
            parts = [(self.batch(piece, local, dtype), at) for piece, local, at in samples.parts(rows)]
            return parts[0][0] if len(parts) == 1 else joined(parts)
        if isinstance(samples, ScratchSamples):
            samples, rows = samples.at(rows)
        return make_batch(samples, rows, dtype, self._layout, self._scaler)

    # ---- tables out of tensors ---------------------------------------------------------------------------------

    def from_tensor(self, x: Tensor, container: str | None = None) -> Any:
        if x.ndim != 2 or x.shape[1] != self._layout.width:
            raise DataError(f"the tensor has shape {tuple(x.shape)}; it must be (n_rows, {self._layout.width}).")
        table = self.from_values(self.values(x), len(x), container)
        wanted = container or self.container
        if wanted.startswith("scipy") or (wanted == "numpy" and table.dtype.kind == "f"):
            return table.astype(np.float64 if x.dtype == torch.float64 else np.float32)
        return table

    def values(self, x: Tensor) -> list[Any]:
        """The plain values of each column that is not left out: float64 numbers (times in seconds), or words with None
        for "other".
        """
        return restored_values(x, self._layout, self._scaler)

    def from_values(
        self, values: list[Any], n_rows: int, container: str | None = None, words: Mapping[str, str] | None = None
    ) -> Any:
        """The inverse of `values`: a table of the container named, None for the training data's.

        `words` gives columns that are left out one word for all rows; without, they come back empty.
        """
        wanted, given = container or self.container, iter(values)
        constant = {name: [word] * n_rows for name, word in (words or {}).items()}
        columns = [
            Restored(facts, constant.get(facts.name) if facts.kind == "left out" else next(given))
            for facts in self.schema
        ]
        return give_back(columns, n_rows, wanted, wanted == self.container, self._whole_names)

    def describe(self, column: int, x_row: Tensor) -> str:
        return written(column, x_row, self._layout, self._scaler)

    # ---- files and names ---------------------------------------------------------------------------------------

    @staticmethod
    def read(path: Any) -> Any:
        return _files.read(path)

    def read_more(self, path: Any) -> Any:
        return _files.read(path, keep_text=self._words())

    def _words(self) -> frozenset[str]:
        return frozenset(facts.name for facts in self.schema if facts.kind in ("categorical", "left out"))

    @staticmethod
    def write(X: Any, path: Any) -> None:
        _files.write(X, path)

    def likelihood(self) -> str:
        return "normal" if all(facts.kind in ("numeric", "date") for facts in self._layout.used) else "mixed"

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        learned = _state.Learned(
            self.schema, self._scaler, self.container, self._from_array, self.named, self._whole_names
        )
        return _state.to_state(learned)

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        learned = _state.from_state(document, tensors)
        return self._learned(*(getattr(learned, name) for name in _state.FIELDS))


def _is_number(facts: ColumnFacts) -> bool:
    return facts.kind in ("numeric", "boolean", "date")


def _column(facts: ColumnFacts, size: int) -> Column:
    return Column(facts.name, facts.kind if facts.kind in ("boolean", "categorical") else "numeric", size)


def _plural(names: list[str]) -> str:
    return "s" if len(names) > 1 else ""


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
