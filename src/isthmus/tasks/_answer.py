"""What a task answers, and what a detector says about its rows; known before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import SettingError
from isthmus.thresholds._p_values import discoveries, kept_out_scores, p_values_of
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


@dataclass(frozen=True)
class Cut:
    """What makes a score odd.

    Parameters
    ----------
    threshold : the score above which a sample is odd, in nats.
    calibration : scores of usual samples that were kept out of training, where there are any.
    fdr : instead of the threshold, the share of those called odd that may be usual.
    """

    threshold: float
    calibration: npt.NDArray[np.floating[Any]] | None = None
    fdr: float | None = None

    def odd(self, scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
        """Which of these scores are odd. Raises DataError for an fdr where too few samples were kept out."""
        if self.fdr is None:
            return scores > self.threshold
        calibration = kept_out_scores(self.calibration)
        return discoveries(p_values_of(scores, calibration), self.fdr, len(calibration))

    def said(self) -> str:
        """The rule, in brackets behind a number of samples."""
        if self.fdr is None:
            return f"score above {self.threshold:.4g}"
        return f"false-discovery rate {self.fdr:g}"


def odd_rows(
    scores: npt.NDArray[np.floating[Any]],
    cut: Cut,
    n_rows: int,
    reasons: Callable[[npt.NDArray[np.int64]], list[str]],
    unit: str = "row",
    files: Sequence[str] = (),
) -> Answer:
    """A detector's answer.

    Parameters
    ----------
    scores : of all samples, in nats.
    cut : what makes a score odd.
    n_rows : how many samples to show at most.
    reasons : gives, for the samples in these places, what makes them odd.
    unit : what one sample is called.
    files : the names of the samples, where they come from files.
    """
    import polars as pl

    odd = cut.odd(scores)
    columns: dict[str, Any] = {"row": np.arange(len(scores)), "score": scores, "odd": odd}
    if cut.calibration is not None:
        columns["p_value"] = p_values_of(scores, cut.calibration)
    table = pl.DataFrame(columns)
    oddest = np.argsort(-scores, kind="stable")[: min(n_rows, max(5, int(odd.sum())))]
    if files:
        table.insert_column(1, pl.Series("file", files, dtype=pl.String))
    highlights = table[oddest.tolist()].with_columns(pl.Series("why", reasons(oddest), dtype=pl.String))
    headline = f"{int(odd.sum())} of {len(scores)} {several(unit)} are odd ({cut.said()})."
    return Answer(table, headline, highlights, unit=unit)


def check_counts(n_reasons: int, n_rows: int) -> None:
    """Whether so many reasons and rows can be shown. Raises SettingError."""
    for name, value in (("n_reasons", n_reasons), ("n_rows", n_rows)):
        if value < 1:
            raise SettingError(f"{name} is {value}; it must be a whole number of at least 1.")
