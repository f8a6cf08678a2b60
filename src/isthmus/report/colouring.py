"""Which samples of the map get which mark: by class, by steps of a number, or by what a detector says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from isthmus.data.base import Data
from isthmus.errors import DataError, SettingError
from isthmus.report.figures import MARKS, SERIES, STEPS
from isthmus.report.readings import Readings, Rows
from isthmus.report.wording import clean, number

MOST_CLASSES = len(SERIES)
FEW_NUMBERS = 10  # so many different numbers are classes, more are steps


@dataclass(frozen=True)
class Group:
    """Samples with one mark."""

    label: str
    members: npt.NDArray[np.bool_]
    tone: str
    mark: str


@dataclass(frozen=True)
class Colours:
    """What the map is coloured by, and one value for each sample of X; None where a value is missing."""

    name: str
    values: Sequence[Any]


def split_colour(X: Any, data: Data, colour: object) -> tuple[Any, Colours | None]:
    """X as the model takes it, and what to colour by.

    Parameters
    ----------
    X : the data, or the path they lie at.
    data : the fitted data type.
    colour : the name of a column of X, one that the model was not fitted on as well; or one value for each sample.
    """
    if colour is None:
        return X, None
    X = data.read_more(X) if isinstance(X, str) or hasattr(X, "__fspath__") else X
    if not isinstance(colour, str):
        return X, Colours(clean(getattr(colour, "name", None) or "class", 40), _values(colour))
    if hasattr(X, "columns") or hasattr(X, "column_names"):
        frame = nw.from_native(X, eager_only=True)
        if colour not in frame.columns:
            names = ", ".join(repr(clean(name, 40)) for name in frame.columns[:12])
            raise SettingError(f"colour is {colour!r}, which is no column of X; X has: {names}.")
        known = colour in data.feature_names
        return (X if known else frame.drop(colour).to_native()), Colours(colour, _values(frame[colour].to_list()))
    if colour not in data.feature_names or not hasattr(X, "shape"):
        raise SettingError(f"colour is {colour!r}, which is no column of X; give one value for each sample instead.")
    column = X[:, [data.feature_names.index(colour)]]
    return X, Colours(colour, _values(column.toarray() if hasattr(column, "toarray") else np.asarray(column)))


def _values(given: Any) -> list[Any]:
    """Plain values, None for what is missing; raises SettingError for what is no list of values."""
    if hasattr(given, "to_list") or hasattr(given, "to_pylist"):
        given = given.to_list() if hasattr(given, "to_list") else given.to_pylist()
    try:
        values = np.asarray(given, dtype=object).ravel().tolist()
    except ValueError as error:
        raise SettingError("colour must be the name of a column, or one value for each sample.") from error
    return [None if value is None or value != value or type(value).__name__ == "NAType" else value for value in values]


def grouped(readings: Readings, places: Rows, colours: Colours | None) -> tuple[str, list[Group]]:
    """What the map is coloured by, in words, and its groups; `places` are those of the read rows that are drawn."""
    rows = readings.rows[places]
    if colours is not None:
        if len(colours.values) != readings.n_samples:
            raise DataError(
                f"X has {readings.n_samples} samples and {colours.name!r} {len(colours.values)} values; give one each."
            )
        return colours.name, groups([colours.values[row] for row in rows])
    if readings.answer is not None and "cluster" in readings.answer.table.columns:
        found = readings.answer.table["cluster"].to_numpy()[rows].tolist()
        return "group", groups(["none" if label < 0 else str(label) for label in found])
    if readings.threshold is not None:
        odd = readings.errors[places] > readings.threshold
        both = [Group("usual", ~odd, "series-1", "o"), Group("odd", odd, "alarm", "X")]
        return "what the detector says", [group for group in both if group.members.any()]
    return _own(readings, rows)


def _own(readings: Readings, rows: Rows) -> tuple[str, list[Group]]:
    """By the last column of few words, which often is the class; otherwise all alike."""
    columns = [
        place
        for place, column in enumerate(readings.data.spec.columns)
        if column.kind != "numeric" and column.size <= 9
    ]
    if not columns:
        return "", [Group("", np.ones(len(rows), dtype=bool), "series-1", "o")]
    column = columns[-1]
    batch, first = readings.batch(rows), int(np.argmax(readings.data.spec.column_of.numpy() == column))
    present = np.ones(len(rows), dtype=bool) if batch.weight is None else batch.weight[:, first].numpy() > 0
    words = [readings.data.describe(column, x) if there else None for x, there in zip(batch.x, present, strict=True)]
    return readings.data.spec.columns[column].name, groups(words)


def groups(values: Sequence[Any]) -> list[Group]:
    """Classes, the most frequent first, or five steps where there are many different numbers.

    >>> [(group.label, int(group.members.sum())) for group in groups(["b", "a", "b", None])]
    [('b', 2), ('a', 1), ('missing', 1)]
    >>> [group.label for group in groups(list(range(100)))]
    ['0 to 19', '20 to 39', '40 to 59', '60 to 79', '80 to 99']
    """
    missing = np.array([value is None for value in values], dtype=bool)
    present = [value for value in values if value is not None]
    words = any(isinstance(value, (str, bytes, bool, np.bool_)) for value in present)
    found = (
        _classes(values, present) if words or len(set(map(str, present))) <= FEW_NUMBERS else _steps(values, present)
    )
    return found + ([Group("missing", missing, "quiet", "o")] if missing.any() else [])


def _classes(values: Sequence[Any], present: Sequence[Any]) -> list[Group]:
    counts = Counter(map(_written, present))
    order = sorted(counts, key=lambda label: (-counts[label], label))
    if len(order) <= MOST_CLASSES and all(isinstance(value, (int, float, np.number)) for value in present):
        order = list(dict.fromkeys(map(_written, sorted(present))))  # numbers in their own order
    kept = order if len(order) <= MOST_CLASSES else order[: MOST_CLASSES - 1]
    labels = np.array([None if value is None else _written(value) for value in values], dtype=object)
    marks = list(MARKS)
    found = [
        Group(clean(label, 40), labels == label, SERIES[place], marks[place % len(marks)])
        for place, label in enumerate(kept)
    ]
    if len(kept) < len(order):
        rest = np.isin(labels.astype(str), order[len(kept) :])
        found.append(Group(f"{len(order) - len(kept)} others", rest, SERIES[-1], marks[len(kept) % len(marks)]))
    return found


def _steps(values: Sequence[Any], present: Sequence[Any]) -> list[Group]:
    """Five steps of about as many samples each."""
    try:
        order = sorted(present)
    except TypeError:  # of several kinds
        return _classes([None if value is None else str(value) for value in values], list(map(str, present)))
    starts = sorted({order[len(order) * step // 5] for step in range(5)})
    step_of = np.array([-1 if value is None else sum(value >= start for start in starts) - 1 for value in values])
    found = []
    for step in range(len(starts)):
        members = step_of == step
        inside = [value for value, member in zip(values, members, strict=True) if member]
        ends = list(dict.fromkeys(map(_written, (min(inside), max(inside)))))
        found.append(Group(" to ".join(ends), members, STEPS[step], "o"))
    return found


def _written(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        plain = float(value)
        return number(int(plain) if plain.is_integer() and abs(plain) < 1e15 else plain)
    return str(value)
