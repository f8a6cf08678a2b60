"""Missing cells of tables: the Imputer beside the mean or mode, nearest neighbours and chained equations.

    python3 dev.py bench impute                  all four tables, three seeds
    python3 dev.py bench impute --set adult --seeds 1 --chained

At most 5,000 rows to learn from and 2,000 others; of both 20 % of all present cells are hidden, completely at random.
The error of a method on a table is one number: the mean over its columns of the root mean square error of hidden
numbers, divided by the column's standard deviation, and of the share of hidden words that it gets wrong; a column of
two values counts as words. Columns that never vary are left out. Nearest neighbours and chained equations see numbers
standardised and a column of zeros and ones for every word. Tables are looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

import isthmus
from isthmus import Imputer

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "tabular"
SETS = ("adult", "telco-churn", "titanic", "nsl-kdd")
SHARE = 0.2  # of the cells that are hidden
TRAINING, TEST = 5_000, 2_000  # rows at most
NEIGHBOURS = 5
Mask = np.ndarray


def read(name: str) -> pl.DataFrame:
    """A table as it is published, without keys of its rows."""
    if name == "adult":
        return pl.read_csv(DATA / "adult.csv.gz", null_values=["?"], infer_schema_length=None)
    if name == "telco-churn":
        table = pl.read_csv(DATA / "telco-churn.csv", null_values=[" "], infer_schema_length=None)
        return table.drop("customerID")
    if name == "titanic":
        return pl.read_csv(DATA / "titanic.csv", infer_schema_length=None)
    table = pl.read_csv(DATA / "nsl-kdd-train20.csv.gz", has_header=False, infer_schema_length=None)
    table = table.drop(table.columns[-2:])  # the attack's name and its difficulty
    return table.with_columns(pl.col(pl.Int64).cast(pl.Float64))  # some hold 0 and 1, and 2 in a few rows


@dataclass
class Trial:
    """Rows to learn from and others, both with gaps; what is hidden in the others, and what stood there."""

    training: pl.DataFrame
    given: pl.DataFrame
    truth: pl.DataFrame
    hidden: Mask


def trial(table: pl.DataFrame, seed: int) -> Trial:
    random = np.random.default_rng(seed)
    table = table.with_columns(pl.col(pl.Boolean).cast(pl.String))
    order = random.permutation(len(table))
    n_training = min(TRAINING, round(len(table) * 0.7))
    training, truth = table[order[:n_training]], table[order[n_training : n_training + TEST]]
    given, hidden = hide(truth, random)
    return Trial(hide(training, random)[0], given, truth, hidden)


def hide(table: pl.DataFrame, random: np.random.Generator, share: float = SHARE) -> tuple[pl.DataFrame, Mask]:
    """The table with a share of its present cells missing, and which ones these are."""
    hidden = (random.random(table.shape) < share) & np.stack([~one.is_null().to_numpy() for one in table], 1)
    columns = [one.set(pl.Series(hidden[:, place]), None) for place, one in enumerate(table)]
    return pl.DataFrame(columns), hidden


def errors(found: pl.DataFrame, one: Trial) -> dict[str, tuple[str, float]]:
    """Of each column its kind and its error; columns that do not vary, or of which nothing was hidden, are left out."""
    scored = {}
    for place, name in enumerate(one.truth.columns):
        places = np.flatnonzero(one.hidden[:, place])
        known = one.training[name].drop_nulls()
        if not len(places) or known.n_unique() < 2:
            continue
        truth, guess = one.truth[name].gather(places), found[name].gather(places)
        assert not guess.is_null().any(), f"{name} still has gaps"
        if is_number(known):
            squares = np.square(truth.to_numpy().astype(float) - guess.to_numpy().astype(float))
            scored[name] = ("number", float(np.sqrt(squares.mean()) / known.to_numpy().std()))
        else:
            scored[name] = ("words", float((truth.cast(pl.String) != guess.cast(pl.String)).mean()))
    return scored


def is_number(known: pl.Series) -> bool:
    return known.dtype.is_numeric() and known.n_unique() > 2


def summary(scored: dict[str, tuple[str, float]]) -> dict[str, float]:
    """The one number, and its two halves."""
    of = lambda kind: [value for own, value in scored.values() if own == kind]  # noqa: E731
    both = [value for _, value in scored.values()]
    return {
        "error": float(np.mean(both)),
        "numbers": float(np.mean(of("number"))),
        "words": float(np.mean(of("words"))),
    }


# ---- who fills


def imputer(one: Trial, seed: int) -> pl.DataFrame:
    found: pl.DataFrame = Imputer(random_state=seed).fit(one.training).transform(one.given)
    return found


def mean_or_mode(one: Trial, seed: int = 0) -> pl.DataFrame:
    return joined(one.given, [usual(one.training[column.name], len(column)) for column in one.given])


def usual(column: pl.Series, n_rows: int) -> pl.Series:
    known = column.drop_nulls()
    value = known.mean() if is_number(known) else known.value_counts(sort=True)[known.name][0]
    return pl.Series(column.name, [value] * n_rows)


def joined(given: pl.DataFrame, guesses: list[pl.Series]) -> pl.DataFrame:
    """The table with guesses where it has gaps; numbers may become fractions."""
    pairs = zip(given, guesses, strict=True)
    wide = [column.cast(pl.Float64) if guess.dtype.is_float() else column for column, guess in pairs]
    return pl.DataFrame(
        [
            column.zip_with(~column.is_null(), guess.cast(column.dtype).alias(column.name))
            for column, guess in zip(wide, guesses, strict=True)
        ]
    )


class OneHot:
    """Tables as numbers: standardised, and one column of zeros and ones for every word; NaN where a cell is missing."""

    def __init__(self, training: pl.DataFrame):
        self.known = {name: training[name].drop_nulls() for name in training.columns}
        self.levels = {name: sorted(k.unique().to_list()) for name, k in self.known.items() if not is_number(k)}

    def numbers(self, table: pl.DataFrame) -> np.ndarray:
        return np.concatenate([self._part(column) for column in table], 1)

    def _part(self, column: pl.Series) -> np.ndarray:
        if column.name not in self.levels:
            center, scale = self._scale(column.name)
            return ((column.cast(pl.Float64).fill_null(np.nan).to_numpy() - center) / scale)[:, None]
        hot = np.stack([(column == level).fill_null(False).to_numpy() for level in self.levels[column.name]], 1)
        return np.where(column.is_null().to_numpy()[:, None], np.nan, hot)

    def _scale(self, name: str) -> tuple[float, float]:
        return self.known[name].mean(), self.known[name].std() or 1.0

    def table(self, numbers: np.ndarray, given: pl.DataFrame) -> pl.DataFrame:
        """The table with its gaps filled by these numbers; of words the one with the largest."""
        widths = [len(self.levels.get(name, [0])) for name in given.columns]
        parts = np.split(numbers, np.cumsum(widths)[:-1], axis=1)
        guesses = []
        for name, part in zip(given.columns, parts, strict=True):
            if name in self.levels:
                words = [self.levels[name][place] for place in part.argmax(1)]
                guesses.append(pl.Series(name, words, dtype=given[name].dtype))
            else:
                center, scale = self._scale(name)
                guesses.append(pl.Series(name, part[:, 0] * scale + center))
        return joined(given, guesses)


def neighbours(one: Trial, seed: int = 0) -> pl.DataFrame:
    return _by(KNNImputer(n_neighbors=NEIGHBOURS, keep_empty_features=True), one)


def chained(one: Trial, seed: int = 0) -> pl.DataFrame:
    return _by(IterativeImputer(max_iter=5, n_nearest_features=20, random_state=seed, keep_empty_features=True), one)


def _by(rival: KNNImputer | IterativeImputer, one: Trial) -> pl.DataFrame:
    coder = OneHot(one.training)
    rival.fit(coder.numbers(one.training))
    return coder.table(rival.transform(coder.numbers(one.given)), one.given)


METHODS: dict[str, Callable[[Trial, int], pl.DataFrame]] = {
    "mean or mode": mean_or_mode,
    f"{NEIGHBOURS} nearest neighbours": neighbours,
    "chained equations": chained,
    "Imputer": imputer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, action="append", help="one of the tables; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--chained", action="store_true", help="run chained equations too, which take their time")
    given = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"there is no folder {DATA}; say with ISTHMUS_DATA where the data are.")
    warnings.simplefilter("ignore")
    table = Table(title=f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {given.seeds} seeds")
    for name in ("table", "method", "error", "sd over seeds", "numbers", "words", "seconds"):
        table.add_column(name, justify="left" if name in ("table", "method") else "right")
    for name in given.set or SETS:
        trials = [trial(read(name), seed) for seed in range(given.seeds)]
        for method, fill in METHODS.items():
            if method == "chained equations" and not given.chained:
                continue
            started, work = time.perf_counter(), time.process_time()
            found = [summary(errors(fill(one, seed), one)) for seed, one in enumerate(trials)]
            work = (time.process_time() - work) / len(trials)
            print(name, method, found, f"{time.perf_counter() - started:.0f} s", flush=True)
            means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
            spread = float(np.std([one["error"] for one in found]))
            figures = (means["error"], spread, means["numbers"], means["words"])
            table.add_row(name, method, *(f"{value:.3f}" for value in figures), f"{work:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
