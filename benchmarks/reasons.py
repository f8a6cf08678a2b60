"""Is the reason the right one? One cell of a usual row is changed, and the column that ranks first is looked at.

    python3 dev.py bench reasons                 adult, telco-churn, titanic, nsl-kdd; three seeds
    python3 dev.py bench reasons --set titanic --seeds 5

A detector with its default settings learns from three quarters of the rows (of nsl-kdd from its normal connections).
Of each held-out row, 1,000 at most, one present cell is changed: a number by six standard deviations of the training
column, up or down; a category or an answer to the rarest one of the training rows. "Found odd" counts only rows that
the detector then calls odd. One rival looks at each column by itself: squared distance from the mean in standard
deviations, minus the logarithm of a category's share. The other was shown 6,000 training rows changed in the same way,
and in which column: scikit-learn's gradient boosting, which says how much there is to be known (a woman in place of a
man is not odd). Data are looked for in $ISTHMUS_DATA, or ../shared/data. Seed 0 was used to choose how shares are
computed; it is not measured.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _measuring import refuse, show
from sklearn.ensemble import HistGradientBoostingClassifier

from isthmus import AnomalyDetector

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "tabular"
MOST = 1_000  # rows that are spoiled
SHOWN = 6_000  # to the rival that is shown such changes
Numbers = np.ndarray


def adult() -> pl.DataFrame:
    text = gzip.open(DATA / "adult.csv.gz").read()
    return pl.read_csv(io.BytesIO(text), null_values=["?", " ?"])


def telco_churn() -> pl.DataFrame:
    frame = pl.read_csv(DATA / "telco-churn.csv", null_values=["", " "], infer_schema_length=None)
    return frame.drop("customerID")


def titanic() -> pl.DataFrame:
    return pl.read_csv(DATA / "titanic.csv")


def nsl_kdd() -> pl.DataFrame:
    text = gzip.open(DATA / "nsl-kdd-train20.csv.gz").read()
    frame = pl.read_csv(io.BytesIO(text), has_header=False)
    attack, difficulty = frame.columns[41], frame.columns[42]
    return frame.filter(pl.col(attack) == "normal").drop(attack, difficulty)


SETS: dict[str, Callable[[], pl.DataFrame]] = {
    "adult": adult,
    "telco-churn": telco_churn,
    "titanic": titanic,
    "nsl-kdd": nsl_kdd,
}


@dataclass
class Spoiled:
    """Held-out rows with one changed cell each: the rows, and which column was changed."""

    frame: pl.DataFrame
    columns: list[str]


def is_number(frame: pl.DataFrame, name: str) -> bool:
    """Whether a column is counted or measured; nought and one are answers."""
    column = frame[name]
    return column.dtype.is_numeric() and not set(column.drop_nulls().unique().head(3)) <= {0, 1}


def changed(training: pl.DataFrame, name: str, value: Any, up: bool) -> Any:
    """What stands in the cell afterwards; None where the column has nothing else to offer."""
    column = training[name].drop_nulls()
    if is_number(training, name):
        spread = float(column.cast(pl.Float64).std() or 0.0)
        return None if spread == 0 else float(value) + (6 if up else -6) * spread
    counts = column.value_counts().sort("count", name)
    others = [one for one in counts[name].to_list() if one != value]
    return others[0] if others else None


def spoil(training: pl.DataFrame, test: pl.DataFrame, random: np.random.Generator, most: int = MOST) -> Spoiled:
    """One cell of each row of the test part."""
    numbers = [name for name in training.columns if is_number(training, name)]
    frame = test.head(most).with_columns([pl.col(name).cast(pl.Float64) for name in numbers])
    rows, names = frame.to_dicts(), []
    for row in rows:
        for name in random.permutation(frame.columns):
            value = None if row[name] is None else changed(training, str(name), row[name], bool(random.random() < 0.5))
            if value is not None:
                row[name] = value
                names.append(str(name))
                break
    return Spoiled(pl.DataFrame(rows, schema=frame.schema), names)


def ranks(shares: Numbers, names: list[str], spoiled: Spoiled) -> Numbers:
    """The rank of the changed column of each row, from 1; one that is not explained at all comes last."""
    place = {name: at for at, name in enumerate(names)}
    order = np.argsort(-shares, axis=1, kind="stable")
    found = [
        int(np.flatnonzero(row == place[name])[0]) + 1 if name in place else len(names) + 1
        for row, name in zip(order, spoiled.columns, strict=True)
    ]
    return np.array(found)


def column_by_column(training: pl.DataFrame, spoiled: Spoiled) -> Numbers:
    """The rival's shares."""
    shares = []
    for name in training.columns:
        given = spoiled.frame[name]
        if is_number(training, name):
            column = training[name].cast(pl.Float64)
            surprise = 0.5 * ((given - column.mean()) / max(float(column.std() or 0.0), 1e-12)) ** 2
            shares.append(surprise.fill_null(0.0).to_numpy())
        else:
            counts = dict(training[name].drop_nulls().value_counts().iter_rows())
            whole = sum(counts.values())
            shares.append(
                np.array([0.0 if one is None else -np.log(counts.get(one, 0.5) / whole) for one in given.to_list()])
            )
    return np.stack(shares, 1)


def as_numbers(training: pl.DataFrame, frame: pl.DataFrame) -> Numbers:
    """Categories by how common they are."""
    columns = []
    for name in training.columns:
        if is_number(training, name):
            columns.append(frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        else:
            counts = training[name].drop_nulls().value_counts().sort("count", name, descending=True)
            places = {value: place for place, value in enumerate(counts[name].to_list())}
            columns.append(np.array([np.nan if one is None else places.get(one, -1) for one in frame[name].to_list()]))
    return np.stack(columns, 1).astype(float)


def shown_such_changes(training: pl.DataFrame, spoiled: Spoiled, seed: int) -> Numbers:
    """How likely a classifier that has learned from changed rows holds each column for the changed one."""
    repeated = pl.concat([training] * (1 + SHOWN // training.height))
    shown = spoil(training, repeated, np.random.default_rng(2000 + seed), SHOWN)
    names = list(training.columns)
    model = HistGradientBoostingClassifier(max_iter=40, learning_rate=0.15, random_state=seed)
    model.fit(as_numbers(training, shown.frame), [names.index(name) for name in shown.columns])
    found = np.zeros((spoiled.frame.height, len(names)))
    found[:, model.classes_] = model.predict_proba(as_numbers(training, spoiled.frame))
    return found


@dataclass
class Found:
    """Shares of the changed cells that rank first, and of those in the first three."""

    first: float
    odd: float
    three: float
    rival: float
    told: float
    numbers: float
    words: float
    seconds: float


def measure(frame: pl.DataFrame, seed: int, verbose: bool) -> Found:
    order = np.random.default_rng(seed).permutation(frame.height)
    cut = frame.height * 3 // 4
    training, test = frame[order[:cut].tolist()], frame[order[cut:].tolist()]
    spoiled = spoil(training, test, np.random.default_rng(1000 + seed))
    start = time.perf_counter()
    detector = AnomalyDetector(random_state=seed).fit(training)
    seconds = time.perf_counter() - start
    placed = ranks(detector.explain(spoiled.frame), detector.reason_columns_, spoiled)
    odd = detector.predict(spoiled.frame) == -1
    rival = ranks(column_by_column(training, spoiled), list(training.columns), spoiled)
    told = ranks(shown_such_changes(training, spoiled, seed), list(training.columns), spoiled)
    numeric = np.array([is_number(training, name) for name in spoiled.columns])
    if verbose:
        misses(placed, spoiled)
    first = placed == 1
    return Found(
        first=float(first.mean()),
        odd=float(first[odd].mean()),
        three=float((placed <= 3).mean()),
        rival=float((rival == 1).mean()),
        told=float((told == 1).mean()),
        numbers=float(first[numeric].mean()),
        words=float(first[~numeric].mean()),
        seconds=seconds,
    )


def misses(placed: Numbers, spoiled: Spoiled) -> None:
    """Which columns are not found, on stderr."""
    names = np.array(spoiled.columns)
    for name in sorted(set(spoiled.columns)):
        mine = placed[names == name]
        print(f"#   {name:>28}  {len(mine):4d} changed, {(mine == 1).mean():6.1%} first", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(SETS), action="append", help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--misses", action="store_true", help="say on stderr which columns are not found")
    given = parser.parse_args()
    if not DATA.is_dir():
        return refuse(f"{DATA} is not there; set ISTHMUS_DATA to the folder that holds tabular/.")
    warnings.simplefilter("ignore")
    rows = []
    for name in given.set or SETS:
        frame = SETS[name]()
        found = [measure(frame, seed, given.misses) for seed in range(1, 1 + given.seeds)]
        mean = lambda key, found=found: 100 * float(np.mean([getattr(one, key) for one in found]))  # noqa: E731
        spread = 100 * float(np.ptp([one.first for one in found]))
        cells = [f"{mean(key):.1f}" for key in ("numbers", "words", "odd", "three", "rival", "told")]
        fit = f"{np.mean([one.seconds for one in found]):.0f}"
        rows.append(
            [f"{name} ({frame.height:,} x {frame.width})", f"{mean('first'):.1f}", f"{spread:.1f}", *cells, fit]
        )
        print("#", *rows[-1], file=sys.stderr, flush=True)
    whose = ["numbers", "words", "found odd", "in three", "column by column", "shown such changes"]
    columns = ["set", "first, %", "spread", *whose, "fit, s"]
    show("The changed cell ranks first", f"{given.seeds} seeds, default detector", columns, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
