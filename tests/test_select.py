"""Columns that carry the code are kept, those that say nothing are not; and how much labels are worth."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from isthmus import Autoencoder, FeatureSelector, SemiSupervisedClassifier, SemiSupervisedRegressor, Training, load
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.evaluation import learning_curve
from isthmus.interfaces.cli import cli
from isthmus.networks import Dense

Floats = NDArray[np.floating[Any]]
TRAINING = Training(max_epochs=30, batch_size=16, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def table(n: int = 240) -> Floats:
    """Five columns that go together, five that go with none."""
    random = np.random.default_rng(0)
    together = random.normal(size=(n, 1)) + 0.4 * random.normal(size=(n, 5))
    return np.c_[together, random.normal(size=(n, 5))]


def selector(**settings: Any) -> FeatureSelector:
    model = Autoencoder(3, network=Dense((16,)), variant="denoising(damage='masking(share=0.5)')", training=TRAINING)
    return FeatureSelector(**({"autoencoder": model, "n_features": 5, "random_state": 0} | settings))


def test_columns_that_others_tell_are_kept() -> None:
    model = selector().fit(table())
    assert model.get_support().tolist() == [True] * 5 + [False] * 5
    correlation = np.corrcoef(table().T)[0, 1]
    assert 0.4 * correlation < model.scores_[:5].min() and model.scores_[:5].max() < 1  # no more than all variance
    assert model.scores_[5:].max() < 0.1


def test_gradients_are_those_of_the_code() -> None:
    X = table(60)
    model = selector(criterion="gradient").fit(X)
    autoencoder, step = model.autoencoder_, 1e-5
    codes = autoencoder.transform(X)
    for column in (0, 7):
        moved = [X.copy() for _ in range(2)]
        for one, sign in zip(moved, (-1, 1), strict=True):
            one[:, column] += sign * step * X.std(0)[column]
        slopes = (autoencoder.transform(moved[1]) - autoencoder.transform(moved[0])) / (2 * step) / codes.std(0)
        assert model.scores_[column] == pytest.approx(np.square(slopes).sum(1).mean(), rel=1e-3)


@pytest.mark.slow
def test_other_criteria_score_what_they_say() -> None:
    X = table()
    weights = selector(criterion="weights").fit(X)
    first = weights.autoencoder_.module_.network.encoder.layers[0].linear.weight
    np.testing.assert_allclose(weights.scores_, first.detach().double().square().sum(0), rtol=1e-5)
    shuffled = selector(criterion="shuffle").fit(X)
    assert (shuffled.scores_ >= 0).all() and shuffled.scores_.max() > 0
    lonely = np.c_[X, np.full(len(X), 3.0)]  # what never changes carries nothing
    assert selector(criterion="shuffle").fit(lonely).scores_[-1] == 0


def test_shares_and_numbers_of_columns() -> None:
    X = table(60)
    fitted = selector(n_features=0.3).fit(X)
    assert fitted.get_support().sum() == 3
    assert fitted.set_params(n_features=4).get_support().sum() == 4  # without another training
    for wrong in (0, -1, 1.5, "many", True):
        with pytest.raises(SettingError, match="n_features is .*; it must be a whole number of at least 1, or a share"):
            selector(n_features=wrong).fit(X)
    with pytest.raises(SettingError, match="criterion is 'entropy'; it must be one of explained, gradient, weights"):
        selector(criterion="entropy").fit(X)


@pytest.mark.slow
def test_what_comes_back_is_of_the_type_that_came(tmp_path: Path) -> None:
    X = table(60)
    names = [f"c{place}" for place in range(10)]
    for given in (X, X.astype(np.float32), sparse.csr_array(X), pd.DataFrame(X, columns=names), pl.DataFrame(X, names)):
        model = selector().fit(given)
        kept = model.transform(given)
        assert type(kept) is type(given) and kept.shape == (60, 5)
        if hasattr(given, "columns"):
            assert list(kept.columns) == list(model.get_feature_names_out())
        model.save(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(load(tmp_path / "model.safetensors").scores_, model.scores_)
    assert len(make_pipeline(selector(), LogisticRegression()).fit(X, X[:, 0] > 0).predict(X)) == 60


def test_the_way_back_has_zeros_where_columns_were_left_out() -> None:
    X = table(60)
    X[3, 2] = np.nan
    model = selector().fit(X)
    back = model.inverse_transform(model.transform(X))
    np.testing.assert_array_equal(back[:, :5], X[:, :5])
    assert not back[:, 5:].any()
    with pytest.raises(DataError, match=r"X has shape \(60, 10\); it must be \(n_samples, 5\), the columns kept"):
        model.inverse_transform(X)
    assert not hasattr(selector().fit(pl.DataFrame(X)), "inverse_transform")  # what is zero among words?


@pytest.mark.slow
def test_words_and_gaps() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 240)
    frame = pl.DataFrame(
        {
            "kind": np.array(["a", "b", "c"])[kind],
            "size": [
                None if i % 9 == 0 else float(value) for i, value in enumerate(kind + 0.2 * random.normal(size=240))
            ],
            "noise": random.normal(size=240),
            "word": random.choice(["x", "y", "z"], 240),
        }
    )
    model = selector(n_features=2).fit(frame)
    assert list(model.get_feature_names_out()) == ["kind", "size"]
    answer = model.answer(frame)
    assert answer.table.columns == ["kind", "size"] and answer.headline.startswith("Kept 2 columns of 4, with scores")


def test_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="columns are kept of tables, and these are images"):
        selector().fit(load_digits().images[:50])


def test_select_on_the_command_line(tmp_path: Path) -> None:
    pl.DataFrame(table(), [f"c{place}" for place in range(10)]).write_csv(tmp_path / "table.csv")
    run = CliRunner().invoke
    path, model = str(tmp_path / "table.csv"), str(tmp_path / "model.safetensors")
    settings = ["--max-epochs", "30", "--batch-size", "16", "--n-features", "5", "--seed", "0"]
    fitted = run(cli, ["fit", path, "--for", "select", *settings, "-o", model])
    assert fitted.exit_code == 0, fitted.output
    told = run(cli, ["select", model, path, "-o", str(tmp_path / "kept.csv")])
    assert told.exit_code == 0, told.output
    assert pl.read_csv(tmp_path / "kept.csv").columns == [f"c{place}" for place in range(5)]


# ---- learning curves
@pytest.mark.slow
def test_a_learning_curve_rises_and_its_samples_are_apart() -> None:
    X, y = load_digits(return_X_y=True)
    model = Autoencoder(16, network=Dense((64,)), training=Training(max_epochs=10, batch_size=64, learning_rate=2e-3))
    tuning = Training(max_epochs=15, batch_size=16, learning_rate=2e-3, validation=0.0)
    model = SemiSupervisedClassifier(model, tune=tuning, spread=0, random_state=0)
    curve = learning_curve(model, X[:800], y[:800], n_labels=(20, 200), draws=2)
    means = curve.means()
    assert means["labels"].to_list() == [20, 200] and len(curve.table) == 4
    for way in ("with_pretraining", "without"):
        assert means[way][1] > means[way][0] + 0.1 > 0.2
    np.testing.assert_allclose(means["gain"], means["with_pretraining"] - means["without"])
    assert not hasattr(model, "autoencoder_")  # the estimator that was given stays as it is
    again = learning_curve(model, X[:800], y[:800], n_labels=(20, 200), draws=2)
    assert again.table.equals(curve.table)


@pytest.mark.slow
def test_a_learning_curve_of_numbers_ignores_those_that_nobody_knows() -> None:
    X = table(120)
    y = np.where(np.arange(120) % 2 == 0, X[:, 0], np.nan)
    model = SemiSupervisedRegressor(selector().autoencoder, tune=False, random_state=0)
    curve = learning_curve(model, X, y, n_labels=(10, 30), draws=1)
    assert curve.score == "R2" and curve.table["with_pretraining"][1] > 0.5
    with pytest.raises(DataError, match="n_labels asks for 100 labels, and there are 42 beside those for scores"):
        learning_curve(model, X, y, n_labels=(100,))
    for settings, said in (
        ({"test": 1.0}, "test is 1.0"),
        ({"draws": 0}, "draws is 0"),
        ({"n_labels": (1,)}, "at least 2"),
    ):
        with pytest.raises(SettingError, match=said):
            learning_curve(model, X, y, **({"n_labels": (10,)} | settings))
