"""The cell that was changed is the reason: on made tables of numbers, words and answers that hang together."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest

from isthmus import AnomalyDetector
from isthmus.errors import DoctorWarning

KINDS = ["bicycle", "car", "lorry", "tram"]


def vehicles(n: int, seed: int) -> pl.DataFrame:
    """Weight, wheels, seats and fuel follow the kind; price follows the weight; colour follows nothing."""
    random = np.random.default_rng(seed)
    kind = random.choice(4, n, p=[0.35, 0.4, 0.2, 0.05])
    kilograms = np.array([14.0, 1400.0, 9000.0, 30000.0])[kind] * random.lognormal(0, 0.15, n)
    return pl.DataFrame(
        {
            "kind": np.array(KINDS)[kind],
            "kilograms": np.log(kilograms),
            "wheels": np.array([2.0, 4.0, 6.0, 16.0])[kind] + (random.random(n) < 0.02),
            "seats": np.array([1.0, 5.0, 2.0, 40.0])[kind] + random.integers(0, 2, n),
            "fuel": np.where(kind == 0, "none", np.where(kind == 3, "power", random.choice(["diesel", "petrol"], n))),
            "price": np.log(kilograms) + 0.3 * random.normal(size=n),
            "licence": kind != 0,
            "colour": random.choice(["red", "blue", "grey"], n),
        }
    )


def changed(frame: pl.DataFrame, training: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, list[str]]:
    """One cell of each row: a number by six standard deviations, anything else to the rarest that is not there."""
    random = np.random.default_rng(seed)
    rows, names = frame.to_dicts(), []
    for row in rows:
        name = str(random.choice([name for name in frame.columns if name != "colour"]))  # any colour is usual
        if frame[name].dtype.is_float():
            row[name] += random.choice([-6.0, 6.0]) * float(training[name].std() or 0.0)  # type: ignore[arg-type]
        else:
            counts = training[name].value_counts().sort("count")
            row[name] = next(one for one in counts[name].to_list() if one != row[name])
        names.append(name)
    return pl.DataFrame(rows, schema=frame.schema), names


@pytest.fixture(scope="module")
def detector() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        return AnomalyDetector(random_state=0).fit(vehicles(700, 0))


@pytest.mark.slow
def test_the_changed_column_ranks_first(detector: AnomalyDetector) -> None:
    spoiled, names = changed(vehicles(200, 1), vehicles(700, 0), seed=2)
    shares, columns = detector.explain(spoiled), np.array(detector.reason_columns_)
    first = columns[shares.argmax(1)] == names
    numbers = np.array([spoiled[name].dtype.is_float() for name in names])
    assert first.mean() >= 0.9 and first[numbers].mean() >= 0.95


@pytest.mark.slow
def test_the_words_name_the_changed_column_and_what_the_others_make_one_expect(detector: AnomalyDetector) -> None:
    """A bicycle by all other columns that says it is a tram."""
    row = vehicles(200, 1).filter(pl.col("kind") == "bicycle")[:1].with_columns(pl.lit("tram").alias("kind"))
    why = detector.answer(row).highlights["why"][0]
    assert why.startswith("kind = tram (expected bicycle, +")


@pytest.mark.slow
def test_columns_that_follow_nothing_are_no_reason(detector: AnomalyDetector) -> None:
    """Any colour is as good as another: its share is what a random entry is taken to cost, and no more."""
    place = detector.reason_columns_.index("colour")
    assert np.abs(detector.explain(vehicles(200, 1))[:, place] + np.log(3)).mean() < 1.5
