"""Estimators behave as scikit-learn's own: its contract suite, pipelines, searches, clone, output containers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    Clusterer,
    Compressor,
    Denoiser,
    FeatureSelector,
    Imputer,
    Retriever,
    SemiSupervisedClassifier,
    SemiSupervisedRegressor,
    Synthesizer,
    Training,
    load,
)
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.networks import Dense
from isthmus.variants import Denoising, L1Sparse

QUICK = Training(max_epochs=2)


def quick(**settings: Any) -> Autoencoder:
    return Autoencoder(**({"training": QUICK, "random_state": 0} | settings))


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        Autoencoder(training=Training(max_epochs=5)),
        Autoencoder(n_components=2, variant=["denoising", "variational"], training=QUICK),
        Autoencoder(network=Dense(widths=(8,), normalisation="batch", tied=True), training=QUICK),
        AnomalyDetector(Autoencoder(training=QUICK)),
        AnomalyDetector(quick(variant="variational"), contamination=0.2, scores="distortion"),
        Denoiser(Autoencoder(training=QUICK)),
        Imputer(Autoencoder(training=QUICK)),
        Synthesizer(Autoencoder(training=QUICK)),
        Clusterer(Autoencoder(training=QUICK), n_clusters=3),
        Retriever(Autoencoder(training=QUICK)),
        Compressor(Autoencoder(training=QUICK)),
        Compressor(Autoencoder(training=QUICK), mode="lossy"),
        SemiSupervisedClassifier(Autoencoder(training=QUICK), tune=QUICK),
        SemiSupervisedRegressor(Autoencoder(training=QUICK), tune=QUICK),
        FeatureSelector(Autoencoder(training=QUICK)),
    ],
    ids=[
        *("autoencoder", "denoising-variational", "tied", "detector", "variational-detector", "denoiser", "imputer"),
        *("synthesizer", "clusterer", "retriever", "compressor", "lossy", "few-labels-classifier"),
        *("few-labels-regressor", "selector"),
    ],
)
def test_scikit_learns_contract_holds_without_exceptions(estimator: Any) -> None:
    failed = {}
    for instance, check in estimator_checks_generator(estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check(instance)
            except Exception as error:
                if type(error).__name__ != "SkipTest":
                    failed[check.func.__name__] = repr(error)
    # -1 is a class there, and an unknown label here; scikit-learn excuses its own LabelSpreading alike
    excused = {"check_classifiers_classes"} if isinstance(estimator, SemiSupervisedClassifier) else set()
    assert set(failed) == excused, failed


@pytest.fixture
def iris() -> Any:
    return load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


@pytest.mark.slow
def test_a_pipeline_learns_more_from_codes_than_from_chance(iris: Any) -> None:
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), Autoencoder(2, random_state=0), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.8


@pytest.mark.slow
def test_grid_search_reaches_into_variant_and_training(iris: Any) -> None:
    grid = {"variant__weight": [0.0, 30.0], "training__max_epochs": [30]}
    search = GridSearchCV(quick(n_components=2, variant=L1Sparse()), grid, cv=2).fit(iris[0])
    assert search.best_params_ == {"variant__weight": 0.0, "training__max_epochs": 30}
    assert len(search.best_estimator_.history_) <= 30


def test_set_params_reaches_into_a_part_that_was_given_by_name() -> None:
    model = Autoencoder(variant="l1_sparse").set_params(variant__weight=0.5, training__max_epochs=3, network__tied=True)
    assert model.variant == L1Sparse(weight=0.5)
    assert model.training == Training(max_epochs=3)
    assert model.network == Dense(tied=True)


def test_clone_copies_settings_and_nothing_learned(iris: Any) -> None:
    model = quick(variant=Denoising("masking")).fit(iris[0])
    twin = clone(model)
    assert twin.get_params()["variant"] == model.variant
    assert twin.variant is not model.variant
    with pytest.raises(NotFittedError):
        twin.transform(iris[0])


def test_fit_leaves_the_parts_that_were_passed_in_untouched(iris: Any) -> None:
    variant, network = L1Sparse(weight=0.2), Dense(widths=(4,))
    before = repr((variant, network, vars(variant), vars(network)))
    quick(variant=variant, network=network).fit(iris[0])
    assert repr((variant, network, vars(variant), vars(network))) == before


@pytest.mark.parametrize(("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_gives_named_frames(iris: Any, container: str, frame: type) -> None:
    model = quick(n_components=2).set_output(transform=container).fit(iris[0])
    codes = model.transform(iris[0])
    assert isinstance(codes, frame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    np.testing.assert_array_equal(codes.to_numpy(), clone(model).set_output(transform="default").fit_transform(iris[0]))


def test_same_seed_same_result_and_the_users_random_state_is_left_alone(iris: Any) -> None:
    import torch

    torch.manual_seed(5)
    np.random.seed(5)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = quick(variant="variational").fit(iris[0]).transform(iris[0])
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    np.testing.assert_array_equal(quick(variant="variational").fit(iris[0]).transform(iris[0]), first)
    assert not np.array_equal(quick(variant="variational", random_state=1).fit(iris[0]).transform(iris[0]), first)


def test_float64_is_computed_in_float64_and_float32_in_float32(iris: Any) -> None:
    X = iris[0]
    model = quick(n_components=2).fit(X)
    wide, narrow = model.transform(X), model.transform(X.astype(np.float32))
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(wide, narrow, rtol=1e-4, atol=1e-5)
    assert 0 < np.abs(wide - narrow).max()


def test_precision_float64_trains_in_float64(iris: Any) -> None:
    import torch

    model = quick(precision="float64").fit(iris[0])
    assert next(model.module_.parameters()).dtype == torch.float64


def test_codes_go_back_to_samples(iris: Any) -> None:
    X = iris[0]
    model = Autoencoder(3, random_state=0).fit(X)
    back = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(back, model.reconstruct(X), rtol=1e-6)
    assert np.mean((back - X) ** 2) < 0.1 * X.var(0).mean()


def test_halves_share_the_trained_weights(iris: Any) -> None:
    import torch

    model = quick(n_components=2).fit(iris[0])
    batch = model.data_.batch(model.data_.open(iris[0]), np.arange(5), torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.encoder_(batch.x), model.transform(iris[0][:5].astype(np.float32)), rtol=1e-5, atol=1e-6
        )
        assert model.decoder_(model.encoder_(batch.x)).shape == (5, 4)
    assert {id(p) for p in model.encoder_.parameters()} == {id(p) for p in model.module_.parameters()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
@pytest.mark.parametrize("size", [1024, 1025])
def test_of_very_long_codes_a_model_keeps_the_variances(size: int, tmp_path: Path) -> None:
    """A covariance of 4,480 numbers, as U-Nets have, was 160 MB beside a network of 5."""
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    model = Autoencoder(size, network=Dense(()), training=Training(max_epochs=1), random_state=0).fit(X)
    codes = model.transform(X).astype(float)
    drawn = model.code_density_.draw(4000, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(np.asarray(drawn).var(0)[:9], codes.var(0)[:9], rtol=0.15)
    model.save(tmp_path / "m.safetensors")
    assert ((tmp_path / "m.safetensors").stat().st_size < 1e6) == (size > 1024)
    np.testing.assert_array_equal(load(tmp_path / "m.safetensors").sample(5), model.sample(5))


@pytest.mark.slow
def test_sample_looks_like_the_training_data() -> None:
    X = load_wine().data
    for variant in ((), "variational(beta=0.1)"):
        drawn = Autoencoder(4, variant=variant, random_state=0).fit(X).sample(500, random_state=0)
        assert drawn.shape == (500, 13)
        distance = np.abs(drawn.mean(0) - X.mean(0)) / X.std(0)
        assert distance.max() < 0.5, variant
        spread = drawn.std(0) / X.std(0)
        assert 0.3 < spread.min() and spread.max() < 1.5, variant
        strongest = np.abs(np.corrcoef(X.T) - np.eye(13)).max(0).argmax()
        partner = np.abs(np.corrcoef(X.T) - np.eye(13))[strongest].argmax()
        assert np.corrcoef(drawn.T)[strongest, partner] * np.corrcoef(X.T)[strongest, partner] > 0, variant


def test_score_is_higher_for_data_like_the_training_data(iris: Any) -> None:
    X = iris[0]
    model = Autoencoder(2, random_state=0).fit(X)
    shuffled = np.random.default_rng(0).permuted(X, axis=0)
    assert model.score(X) > model.score(shuffled)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


def test_auto_size_says_what_it_chose(iris: Any, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="isthmus"):
        model = quick().fit(iris[0])
    assert f"chose {model.n_components_} of 4" in caplog.text
    assert 1 <= model.n_components_ <= 2


def test_summary_counts_every_parameter(iris: Any) -> None:
    model = quick(n_components=2, network=Dense(widths=(7,))).fit(iris[0])
    total = (4 * 7 + 7) + (7 * 2 + 2) + (2 * 7 + 7) + (7 * 4 + 4)
    assert f"{total}" in model.summary().splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"n_components": "many"}, "n_components is 'many'"),
        ({"variant": "sprase"}, "did you mean 'l1_sparse'"),
        ({"variant": ["variational", "top_k"]}, "both own the bottleneck"),
        ({"variant": "importance_weighted"}, "needs variational"),
        ({"likelihood": "gausian"}, "likelihood 'gausian' is unknown"),
        ({"network": "desne"}, "did you mean 'dense'"),
        ({"precision": "half"}, "precision is 'half'"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"training": Training(learning_rate=-1.0)}, "learning_rate is -1.0"),
        ({"training": Training(max_epochs=0)}, "max_epochs is 0"),
        ({"training": Training(validation=1.5)}, "validation is 1.5"),
        ({"training": 3}, "training is 3; it must be 'auto' or a Training object"),
        ({"network": Dense(activation="rule")}, "activation is 'rule'"),
        ({"data_type": "tabels"}, "did you mean 'tables'"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(iris: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((SettingError, DataError)) as caught:
        Autoencoder(**settings).fit(iris[0])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
