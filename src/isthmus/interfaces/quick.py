"""`isthmus detect` without torch: a plain dense detector and a table of numbers need NumPy and polars alone.

Whatever is not quite that, damaged files and unfitting tables included, is left to the ordinary way, which also has
the sentences for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    import polars as pl

    from isthmus.light.activations import Floats
    from isthmus.light.columns import Columns
    from isthmus.light.files import LightDetector

ENDINGS = (".csv", ".tsv")
#: From so many rows on looking for neighbours takes NumPy longer than torch takes to be loaded, and to look for them.
MANY_ROWS = 20_000


@dataclass(frozen=True)
class Quick:
    """What answers as an `AnomalyDetector` does."""

    detector: LightDetector

    def answer(self, X: Floats, n_reasons: int = 3, n_rows: int = 20, fdr: float | None = None) -> Any:
        """The same as `AnomalyDetector.answer`, of the numbers of a table."""
        from isthmus.tasks._answer import Cut, check_counts, odd_rows

        check_counts(n_reasons, n_rows)
        detector = self.detector
        why = lambda rows: [detector.reason(X[row], n_reasons) for row in rows]  # noqa: E731
        cut = Cut(detector.threshold, detector.calibration, fdr)
        return odd_rows(detector.scores(X), cut, n_rows, why)


def opened(model: str, data: str | None) -> tuple[Quick, Floats] | None:
    """The detector in a model file and the numbers of a table; None where only the ordinary way will do."""
    if data is None or not data.lower().endswith(ENDINGS):
        return None
    from isthmus.light.files import read_detector

    try:
        detector = read_detector(model)
        if detector is None:
            return None
        numbers = _numbers(_read(data, detector.model.columns), detector.model.columns)
    except (IsthmusError, OSError):
        return None
    if numbers is None or (detector.panel is not None and len(numbers) > MANY_ROWS):
        return None
    return Quick(detector), numbers


def _read(path: str, columns: Columns) -> pl.DataFrame:
    from isthmus.data._csv import parse

    with open(path, "rb") as file:
        data = file.read()
    used = set(columns.names)
    return parse(data, path, frozenset(name for name in columns.all_names if name not in used))


def _numbers(frame: pl.DataFrame, columns: Columns) -> Floats | None:
    """The table (n, n_features) as training had it, NaN where a value is missing; None where it is no such table."""
    import numpy as np
    import polars as pl

    names = columns.all_names if columns.named else frame.columns
    wanted = {place: names[place] for place in columns.places} if len(names) == columns.n_features else {}
    known = set(frame.columns) <= set(names) and set(wanted.values()) <= set(frame.columns)
    if not wanted or not known:
        return None
    numbers = np.full((frame.height, columns.n_features), np.nan)
    for place, kind in zip(columns.places, columns.kinds, strict=True):
        series = frame[wanted[place]]
        if not series.dtype.is_numeric() and series.dtype != pl.Boolean and series.null_count() < frame.height:
            return None
        values = series.cast(pl.Float64).to_numpy()
        if kind == "boolean" and not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            return None
        numbers[:, place] = values
    return None if np.isinf(numbers).any() else numbers
