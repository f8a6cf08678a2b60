"""What a table's columns are, learned while it goes by in pieces: the facts that reading it whole would find."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from isthmus.data._columns import FEW_ROWS, YES_NO_ROWS, judge_text, with_changes
from isthmus.data._frames import Frame, open_table
from isthmus.data._matrix import stack
from isthmus.data._stream_scratch import Scratch
from isthmus.data._stream_source import Source
from isthmus.data.base import ColumnFacts

#: Different words of a column that are counted exactly; of more, the rare ones are let go and their number estimated.
COUNTED_WORDS = 100_000
#: Smallest hashes that are kept for such an estimate, which is then right within 3 %.
KEPT_HASHES = 4096
TEXTS: tuple[Any, ...] = (pl.String, pl.Categorical, pl.Enum)


@dataclass
class Words:
    """How often each word was seen, in bounded memory."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0
    hashes: Any = field(default_factory=lambda: np.zeros(0, np.uint64))
    exact: bool = True

    def add(self, series: pl.Series) -> None:
        found = series.drop_nulls().cast(pl.String).value_counts(name="times")
        words, times = found.get_columns()
        self.total += int(times.sum())
        self.counts.update(dict(zip(words.to_list(), times.to_list(), strict=True)))
        self.hashes = np.unique(np.concatenate([self.hashes, words.hash(seed=0).to_numpy()]))[:KEPT_HASHES]
        if len(self.counts) > COUNTED_WORDS:
            self.exact = False
            self.counts = Counter(dict(self.counts.most_common(COUNTED_WORDS // 2)))

    @property
    def distinct(self) -> int:
        """How many different words there are; of very many an estimate (Bar-Yossef et al. 2002)."""
        if self.exact or len(self.hashes) < KEPT_HASHES:
            return len(self.counts)
        return round((KEPT_HASHES - 1) / (float(self.hashes[-1]) / 2.0**64))


@dataclass
class Seen:
    """What one column has shown so far."""

    name: str
    nature: str = "empty"
    dtype: str = "Null"
    native: str = ""
    categories: tuple[str, ...] = ()
    missing: int = 0
    words: Words = field(default_factory=Words)
    last: float = float("nan")  # of whole numbers, to see whether they only rise or fall
    rising: bool = True
    falling: bool = True

    def note(self, frame: Frame, place: int) -> Any:
        """Look at the column in one piece; gives its numbers where it has any."""
        if not self.native:
            self.native, self.categories = frame.native(place), frame.categories(place)
        column = frame.columns[place].to_native()
        if isinstance(column.dtype, TEXTS):
            self.nature, self.dtype = "text", type(frame.columns[place].dtype).__name__
            self.missing += column.null_count()
            self.words.add(column)
            return None
        cells = frame.cells(place)
        absent = cells.missing()
        self.missing += int(np.count_nonzero(absent))
        if cells.nature in ("empty", "nested"):
            if cells.nature == "nested":
                self.nature, self.dtype = "nested", cells.dtype
            return np.full(len(absent), np.nan)
        self.nature, self.dtype = cells.nature, cells.dtype
        if "Int" in cells.dtype and not self.missing:
            self._follow(cells.values.astype(np.float64))
        return cells.values

    def _follow(self, values: Any) -> None:
        steps = np.diff(values, prepend=self.last)
        steps = steps[int(np.isnan(self.last)) :]
        self.rising, self.falling = self.rising and bool((steps > 0).all()), self.falling and bool((steps < 0).all())
        self.last = values[-1] if len(values) else self.last


def is_number(dtype: Any) -> bool:
    """Whether values of this polars type become numbers."""
    return bool(dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean)


def survey(source: Source, max_categories: int) -> tuple[list[ColumnFacts], Any]:
    """The facts of all columns but their ranges, and the number columns as a matrix on disk."""
    numbers = [name for name in source.names if is_number(source.schema[name])]
    scratch = Scratch(len(source), len(numbers), source.number_type(numbers))
    seen = [Seen(name) for name in source.names]
    for piece in source.pieces():
        frame = open_table(piece, "Tables")
        values = [one.note(frame, place) for place, one in enumerate(seen)]
        kept = [value for name, value in zip(source.names, values, strict=True) if is_number(source.schema[name])]
        scratch.append(stack(kept, len(frame)))
    places = {name: place for place, name in enumerate(numbers)}
    low, high, _ = scratch.extremes()
    schema = [_judged(one, len(source), max_categories, scratch, places.get(one.name, -1), (low, high)) for one in seen]
    used = [places[facts.name] for facts in schema if facts.kind in ("numeric", "boolean", "date")]
    return schema, scratch.select(np.array(used, dtype=np.int64))


def _judged(one: Seen, n: int, max_categories: int, scratch: Scratch, place: int, ends: Any) -> ColumnFacts:
    """The same as `judge` says of a column in memory."""
    facts = ColumnFacts(one.name, "left out", one.dtype, one.native, n_missing=one.missing, categories=one.categories)
    if one.nature == "nested":
        return with_changes(facts, left_out="its values are lists or records; give each of their parts a column")
    if one.missing == n:
        empty = one.nature == "empty"
        return with_changes(facts, dtype="Null" if empty else one.dtype, left_out="every value is missing")
    if one.nature == "text":
        return judge_text(facts, one.words.counts, max_categories, one.words.total, one.words.distinct)
    low, high = float(ends[0][place]), float(ends[1][place])
    whole = "Int" in one.dtype
    if one.nature == "boolean" or (whole and n >= YES_NO_ROWS and (low, high) == (0.0, 1.0)):
        return with_changes(facts, kind="boolean")
    counts = whole and n > FEW_ROWS and not one.missing
    identifier = counts and (one.rising or one.falling or (high - low == n - 1 and scratch.is_permutation(place, low)))
    return with_changes(facts, kind="numeric" if one.nature == "number" else "date", identifier=bool(identifier))
