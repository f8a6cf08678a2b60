"""The anomaly detector finds planted oddities, keeps its promises about thresholds, and gives the right reasons."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from isthmus import AnomalyDetector, Autoencoder, Training, load
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.thresholds import Conformal, Deviation, Fixed, Quantile

Array = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def on_a_plane(n: int, seed: int = 0) -> Array:
    """Usual rows: five columns that follow two hidden numbers."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(2, 5))
    return random.normal(size=(n, 2)) @ mix + 0.05 * random.normal(size=(n, 5))


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        return AnomalyDetector(Autoencoder(2), contamination=0.05, random_state=0).fit(on_a_plane(1000))


@pytest.mark.slow
def test_rows_off_the_plane_score_higher(detector: AnomalyDetector) -> None:
    usual, odd = on_a_plane(300, seed=1), np.random.default_rng(2).permuted(on_a_plane(300, seed=1), axis=0)
    scores = -detector.score_samples(np.vstack([usual, odd]))
    assert roc_auc_score(np.repeat([0, 1], 300), scores) > 0.95


def test_contamination_is_the_share_of_training_rows(detector: AnomalyDetector) -> None:
    X = on_a_plane(1000)
    assert (detector.predict(X) == -1).sum() == 50
    np.testing.assert_array_equal(detector.predict(X) == -1, detector.decision_function(X) < 0)
    np.testing.assert_allclose(detector.decision_function(X), detector.score_samples(X) - detector.offset_)
    np.testing.assert_array_equal(-detector.score_samples(X), detector.decision_scores_)


def test_the_changed_cell_is_the_reason(detector: AnomalyDetector) -> None:
    X = on_a_plane(50, seed=3)
    random = np.random.default_rng(4)
    columns = random.integers(0, 5, size=50)
    X[np.arange(50), columns] += 6.0
    shares = detector.explain(X)
    assert shares.shape == (50, 5)
    assert (shares.argmax(1) == columns).mean() > 0.8


def test_a_share_is_the_drop_in_oddness_when_the_cell_takes_the_value_expected_while_it_is_hidden(
    detector: AnomalyDetector,
) -> None:
    """Distortion and a quarter of the squared Mahalanobis distance of the code, less 2.5 nats for a number."""
    X = on_a_plane(4, seed=5)
    X[:, 2] += 5.0
    model = detector.autoencoder_
    covariance = model.code_density_.covariance
    covariance = covariance + 1e-3 * covariance.diagonal().mean() * np.eye(2)

    def oddness(X: Array) -> Array:
        away = model.transform(X) - model.code_density_.mean
        return -detector.score_samples(X) + 0.25 * (away * np.linalg.solve(covariance, away.T).T).sum(1)

    shares = detector.explain(X)
    for column in range(5):
        hidden, changed = X.copy(), X.copy()
        hidden[:, column] = np.nan
        changed[:, column] = model.reconstruct(hidden)[:, column]
        np.testing.assert_allclose(shares[:, column], oddness(X) - oddness(changed) - 2.5, atol=1e-8)


def test_a_share_is_mostly_the_drop_in_the_score_where_that_is_more_than_the_distortion() -> None:
    """Of every autoencoder of the panel: what its scores say, and a quarter of its distortion and code.

    What is expected is the mean of what all expect.
    """
    X, odd = on_a_plane(300), on_a_plane(4, seed=5)
    odd[:, 2] += 5.0
    odd[0, 1] = np.nan
    detector = AnomalyDetector(Autoencoder(training=Training(max_epochs=3)), random_state=0).fit(X)
    assert detector._panel is not None and len(detector._panel.members) == 3
    models = [model for model, _ in detector._panel.readings()]

    def oddness(rows: Array) -> Array:
        found = []
        for model, scores in zip(models, detector._panel.each(rows), strict=True):
            covariance = model.code_density_.covariance
            covariance = covariance + 1e-3 * covariance.diagonal().mean() * np.eye(len(covariance))
            away = model.transform(rows) - model.code_density_.mean
            costs = model.read(rows, lambda module, batch: module.reconstruct(*batch).distortion.mean(0))
            rarity = (away * np.linalg.solve(covariance, away.T).T).sum(1)
            found.append(scores.mean(1) + 0.25 * (costs + 0.25 * rarity))
        return np.mean(found, axis=0)

    expected = np.zeros((4, 5))
    for column in range(5):
        hidden, changed = odd.copy(), odd.copy()
        hidden[:, column] = np.nan
        changed[:, column] = np.mean([model.reconstruct(hidden)[:, column] for model in models], axis=0)
        expected[:, column] = np.where(np.isnan(odd[:, column]), 0.0, oddness(odd) - oddness(changed) - 2.5)
    np.testing.assert_allclose(detector.explain(odd), expected, atol=1e-6)


@pytest.mark.slow
def test_absent_cells_are_no_reason_and_carry_no_score() -> None:
    X = on_a_plane(400)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    detector = AnomalyDetector(Autoencoder(2), random_state=0).fit(X)
    shares = detector.explain(X)
    assert np.all(shares[np.isnan(X)] == 0)
    assert np.isfinite(detector.score_samples(X)).all()


@pytest.mark.parametrize(
    ("rule", "cut"),
    [
        (Quantile(0.2), lambda scores: np.percentile(scores, 80)),
        (Deviation(k=2.0), lambda scores: scores.mean() + 2 * scores.std()),
        (Fixed(value=7.5), lambda scores: 7.5),
        ("mean_plus_sd", lambda scores: scores.mean() + 3 * scores.std()),
    ],
)
def test_thresholds_follow_their_formula(rule: Any, cut: Any) -> None:
    X = on_a_plane(200)
    model = Autoencoder(2, training=Training(max_epochs=3))
    detector = AnomalyDetector(model, threshold=rule, random_state=0).fit(X)
    assert detector.threshold_ == pytest.approx(cut(detector.decision_scores_))


@pytest.mark.slow
def test_conformal_keeps_its_false_alarm_rate() -> None:
    """Averaged over fits, the rate on new usual rows is at most the promised one, up to sampling error."""
    rates = []
    for seed in range(8):
        model = Autoencoder(2, training=Training(max_epochs=5))
        detector = AnomalyDetector(model, threshold=Conformal(0.1), random_state=seed).fit(on_a_plane(500, seed=seed))
        rates.append((detector.predict(on_a_plane(2000, seed=100 + seed)) == -1).mean())
    assert 0.06 < np.mean(rates) < 0.13


def test_conformal_rows_are_not_trained_on() -> None:
    X = on_a_plane(100)
    model = Autoencoder(2, training=Training(max_epochs=2, validation=0.0, batch_size=1000))
    detector = AnomalyDetector(model, threshold=Conformal(0.2, calibration=0.5), random_state=0).fit(X)
    training, calibration = detector._parts(X, Conformal(0.2, calibration=0.5), detector.autoencoder_)
    assert len(training) == len(calibration) == 50
    assert set(training).isdisjoint(calibration)
    X[calibration] += 100.0  # seen by nobody in training: the weights must not change
    again = AnomalyDetector(model, threshold=Conformal(0.2, calibration=0.5), random_state=0)
    again.fit(np.where(np.isin(np.arange(100), calibration)[:, None], on_a_plane(100), X))
    np.testing.assert_array_equal(again.decision_scores_, detector.decision_scores_)


def test_too_few_rows_for_a_small_rate_is_a_sentence() -> None:
    model = Autoencoder(2, training=Training(max_epochs=1))
    with pytest.raises(DataError, match="needs at least 99 rows kept out of training, and there are 20"):
        AnomalyDetector(model, threshold=Conformal(0.01)).fit(on_a_plane(100))


@pytest.mark.parametrize("share", [0, 0.6, -0.1, "auto", None])
def test_contamination_out_of_range_is_a_sentence(share: Any) -> None:
    with pytest.raises(SettingError, match="contamination is"):
        AnomalyDetector(contamination=share).fit(on_a_plane(60))


@pytest.mark.slow
def test_mixed_frames_give_readable_reasons(tmp_path: Any) -> None:
    random = np.random.default_rng(0)
    kind = random.choice(["car", "bicycle"], 600)
    wheels = np.where(kind == "car", 4, 2)
    weight = np.where(kind == "car", 1400.0, 15.0) * random.normal(1, 0.1, 600)
    frame = pl.DataFrame({"kind": kind, "wheels": wheels, "weight": weight})
    odd = pl.DataFrame({"kind": ["car", "hovercraft"], "wheels": [4, 4], "weight": [15.0, 1400.0]})
    detector = AnomalyDetector(contamination=0.01, random_state=0).fit(frame)
    assert list(detector.predict(odd)) == [-1, -1]
    answer = detector.answer(odd)
    assert answer.table.columns == ["row", "score", "odd"]
    why = dict(zip(answer.highlights["row"], answer.highlights["why"], strict=True))
    assert "weight" in why[0]
    assert why[1].startswith("kind = ")
    path = tmp_path / "detector.safetensors"
    detector.save(path)
    again = load(path)
    np.testing.assert_array_equal(again.score_samples(odd), detector.score_samples(odd))
    assert again.threshold_ == detector.threshold_
    assert again.answer(odd).highlights["why"].to_list() == answer.highlights["why"].to_list()


@pytest.mark.slow
def test_breast_cancer_beats_chance_by_far_when_trained_on_healthy_rows() -> None:
    """Trained on benign rows alone, malignant ones score higher; no label is used to choose anything."""
    data = load_breast_cancer()
    benign = data.data[data.target == 1]
    detector = AnomalyDetector(random_state=0).fit(benign[:250])
    test = np.vstack([benign[250:], data.data[data.target == 0]])
    truth = np.r_[np.zeros(len(benign) - 250), np.ones((data.target == 0).sum())]
    assert roc_auc_score(truth, -detector.score_samples(test)) > 0.9
