"""What a task answers, and what a detector says about its rows; known before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import SettingError
from isthmus.words import several


@dataclass(frozen=True)
class Answer:
    """What a task says about data, for the ways in: a table with one row per sample, and the lines worth reading.

    `table` holds plain columns (a polars data frame), `headline` is one sentence, `highlights` are the few rows that a
    person should look at, as a polars data frame of words and numbers. `samples` are data of the type that came in, for
    tasks that answer with samples. `unit` is what one sample is called.
    """

    table: Any
    headline: str
    highlights: Any
    samples: Any = None
    unit: str = "row"


def odd_rows(
    scores: npt.NDArray[np.floating[Any]],
    threshold: float,
    n_rows: int,
    reasons: Callable[[npt.NDArray[np.int64]], list[str]],
    unit: str = "row",
    files: Sequence[str] = (),
) -> Answer:
    """A detector's answer.

    Parameters
    ----------
    scores : of all samples, in nats.
    threshold : the score above which a sample is odd.
    n_rows : how many samples to show at most.
    reasons : gives, for the samples in these places, what makes them odd.
    unit : what one sample is called.
    files : the names of the samples, where they come from files.
    """
    import polars as pl

    odd = scores > threshold
    table = pl.DataFrame({"row": np.arange(len(scores)), "score": scores, "odd": odd})
    oddest = np.argsort(-scores, kind="stable")[: min(n_rows, max(5, int(odd.sum())))]
    if files:
        table.insert_column(1, pl.Series("file", files, dtype=pl.String))
    highlights = table[oddest.tolist()].with_columns(pl.Series("why", reasons(oddest), dtype=pl.String))
    headline = f"{int(odd.sum())} of {len(scores)} {several(unit)} are odd (score above {threshold:.4g})."
    return Answer(table, headline, highlights, unit=unit)


def check_counts(n_reasons: int, n_rows: int) -> None:
    """Whether so many reasons and rows can be shown. Raises SettingError."""
    for name, value in (("n_reasons", n_reasons), ("n_rows", n_rows)):
        if value < 1:
            raise SettingError(f"{name} is {value}; it must be a whole number of at least 1.")
