"""What a detector's verdicts depend on: true effects that are known, in a table and a figure."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.evaluation import sensitivity
from isthmus.evaluation._mixing import mixed_up, stacked
from isthmus.likelihoods import Laplace, Mixed
from isthmus.networks import Dense

QUICK = Training(max_epochs=60, learning_rate=5e-3)


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def on_a_plane(n: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(2, 6))
    return random.normal(size=(n, 2)) @ mix + 0.05 * random.normal(size=(n, 6))


@pytest.mark.slow
def test_too_short_a_code_and_odd_rows_in_training_are_found_to_hurt() -> None:
    """Two hidden numbers: a code of two tells mixed-up rows from usual ones, one of one misses usual ones, too."""
    detector = AnomalyDetector(Autoencoder(2, network=Dense(()), training=QUICK))
    settings = {"widths": [], "losses": {}, "odd_shares": [0.4], "n_seeds": 1}
    found = sensitivity(detector, on_a_plane(600), sizes=[1, 2], **settings)
    auroc = {(row["aspect"], row["setting"]): row["auroc"] for row in found.table.iter_rows(named=True)}
    assert auroc["code size", "2, as it is"] > 0.9 > auroc["code size", "1"]
    assert auroc["odd rows in training", "0 %, as it is"] >= auroc["odd rows in training", "40 %"]
    assert found.table.filter(pl.col("setting").str.ends_with("as it is"))["agreement"].to_list() == pytest.approx(
        [1, 1]
    )
    assert found.headline.startswith("It depends most on code size: AUROC 0.")


@pytest.mark.slow
def test_labels_say_which_rows_are_odd_and_every_aspect_is_drawn() -> None:
    X, y = on_a_plane(260), np.arange(260) >= 240
    X[y] = np.random.default_rng(1).permuted(X[y], axis=0) + 2
    frame = pd.DataFrame(X, columns=list("abcdef"))
    detector = AnomalyDetector(Autoencoder(2, training=Training(max_epochs=8)))
    losses = {"absolute error": Mixed(numeric=Laplace())}
    found = sensitivity(detector, frame, y, widths=[(8,)], losses=losses, odd_shares=[0.05], n_seeds=2)
    aspects = ["code size", "capacity", "loss", "odd rows in training"]
    assert found.table["aspect"].unique(maintain_order=True).to_list() == aspects
    assert found.table.height == 3 + 2 + 2 + 2 and found.table["auroc"].is_between(0, 1).all()
    assert found.judged == "of 90 rows, 10 of them odd"
    figure = found.figure()
    assert [panel.get_title() for panel in figure.axes] == aspects
    drawn = [float(value) for value in figure.axes[0].lines[0].get_ydata()]
    assert drawn == found.table.filter(pl.col("aspect") == "code size")["auroc"].to_list()
    assert detector.autoencoder.n_components == 2 and not hasattr(detector, "autoencoder_")


@pytest.mark.parametrize("make", [pl.DataFrame, pd.DataFrame])
def test_mixing_keeps_columns_types_and_gaps(make: Any) -> None:
    frame = make({"word": ["a", "b", None, "d"] * 5, "number": [1.0, 2.0, 3.0, None] * 5, "count": list(range(20))})
    mixed = mixed_up(frame, np.random.default_rng(0))
    assert type(mixed) is type(frame) and list(mixed.columns) == list(frame.columns)
    assert [str(one) for one in mixed.dtypes] == [str(one) for one in frame.dtypes]
    assert sorted(mixed["count"].to_list() if make is pl.DataFrame else mixed["count"]) == list(range(20))
    assert list(mixed["count"]) != list(range(20))
    assert len(stacked(frame, mixed)) == 40


def test_what_cannot_be_varied_is_one_sentence() -> None:
    detector = AnomalyDetector(Autoencoder(1, training=Training(max_epochs=1)))
    with pytest.raises(DataError, match=r"X is the path 'x.csv'"):
        sensitivity(detector, "x.csv")
    with pytest.raises(DataError, match="without y, X must be a table"):
        sensitivity(detector, np.zeros((9, 4, 4)))
    with pytest.raises(DataError, match="y calls 1 of 20 rows odd"):
        sensitivity(detector, on_a_plane(20), np.arange(20) == 3)
    with pytest.raises(SettingError, match="give an AnomalyDetector"):
        sensitivity(Autoencoder(), on_a_plane(20))  # type: ignore[arg-type]
