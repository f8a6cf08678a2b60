"""Where a detector cuts: rules against formulas and promises, changed after training, in files and by command."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from isthmus import AnomalyDetector, Autoencoder, Training, load
from isthmus.errors import DataError, DoctorWarning, ModelFileError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.tasks._labels import odd_labels
from isthmus.thresholds import Capacity, Conformal, ExtremeValue, Fixed, Quantile, Robust, Tuned
from isthmus.thresholds._p_values import discoveries, p_values_of

Array = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


# ---- rules


@pytest.mark.parametrize(("k", "unit"), [(3.5, 1.0), (1.0, 7.0)])
def test_robust_is_the_median_and_scaled_deviations(k: float, unit: float) -> None:
    scores = unit * np.random.default_rng(0).normal(size=501)
    expected = np.median(scores) + k * stats.median_abs_deviation(scores, scale="normal")
    assert Robust(k).cut(scores) == pytest.approx(expected, rel=1e-4)


def test_robust_has_a_spread_where_most_scores_are_the_same() -> None:
    scores = np.array([1.0] * 60 + [2.0] * 40)
    assert Robust(k=2.0).cut(scores) == pytest.approx(1.0 + 2 * 1.2533 * 0.4)


@pytest.mark.parametrize(
    "law", [stats.expon(), stats.genpareto(0.3), stats.norm()], ids=["exponential", "pareto", "normal"]
)
def test_the_extreme_value_cut_comes_near_the_true_quantile(law: Any) -> None:
    """Asked for 0.1 % of alarms with 1,000 rows: the mean rate is within a factor of two."""
    random = np.random.default_rng(0)
    cuts = [ExtremeValue(0.001).cut(law.rvs(1000, random_state=random)) for _ in range(40)]
    assert 0.0005 < law.sf(cuts).mean() < 0.002


def test_the_extreme_value_cut_follows_the_unit_of_the_scores() -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=600)
    assert ExtremeValue().cut(1e4 * scores - 70) == pytest.approx(1e4 * ExtremeValue().cut(scores) - 70, rel=1e-3)


def test_extreme_value_needs_a_tail() -> None:
    with pytest.raises(DataError, match="4 different scores lie in the tail"):
        ExtremeValue(0.001).cut(np.arange(40.0))


def test_an_extreme_value_rate_as_large_as_the_tail_is_conformal() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    assert ExtremeValue(0.2, tail=0.1).cut(scores) == Conformal(0.2).cut(scores)


def test_a_rank_is_what_exact_arithmetic_says() -> None:
    """0.05 and 0.95 are no sums of powers of two: of 19 scores the largest is enough for 5 %."""
    assert Conformal(0.05).cut(np.arange(1.0, 20.0)) == 19.0
    with pytest.raises(DataError, match="needs at least 19 rows"):
        Conformal(0.05).cut(np.arange(1.0, 19.0))


def test_confidence_is_how_often_the_rate_is_kept() -> None:
    """Of a uniform score, the rate of a cut is what lies above it."""
    random = np.random.default_rng(0)
    cuts = np.array([Conformal(0.1, confidence=0.9).cut(random.random(200)) for _ in range(1000)])
    assert 0.88 <= ((1 - cuts) <= 0.1).mean() <= 0.97
    assert ((1 - np.array([Conformal(0.1).cut(random.random(200)) for _ in range(500)])) <= 0.1).mean() < 0.7


def test_capacity_is_kept_on_average() -> None:
    random = np.random.default_rng(0)
    above = [(random.random(1000) > Capacity(20, of=1000).cut(random.random(200))).sum() for _ in range(300)]
    assert 15 < np.mean(above) <= 21
    with pytest.raises(SettingError, match="rows of capacity is 20 and of is 20"):
        AnomalyDetector(threshold=Capacity(20, of=20)).fit(np.zeros((30, 2)))


def labelled(n: int, seed: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    odd = random.random(n) < 0.05
    return random.normal(size=n) + 2.0 * odd, odd


def f1(cut: float, scores: Array, odd: npt.NDArray[np.bool_]) -> float:
    return float(2 * (odd & (scores > cut)).sum() / (odd.sum() + (scores > cut).sum()))


def test_a_tuned_cut_is_nearer_to_the_best_than_the_best_on_few_labels() -> None:
    everything = labelled(200_000, seed=1)
    tuned, greedy = [], []
    for seed in range(40):
        scores, odd = labelled(300, seed=100 + seed)
        if odd.sum() >= 4:
            tuned.append(f1(Tuned().cut_labelled(scores, odd), *everything))
            greedy.append(f1(max(np.sort(scores)[:-1], key=lambda cut: f1(cut, scores, odd)), *everything))
    assert np.mean(tuned) > np.mean(greedy) + 0.005


def test_a_tuned_cost_weighs_misses_against_false_alarms() -> None:
    """Of two normal laws the best cut is known: where the densities are in the ratio of the costs."""
    scores, odd = labelled(20_000, seed=0)
    for miss in (3.0, 30.0):
        best = 1.0 + np.log(0.95 / (0.05 * miss)) / 2.0
        assert Tuned("cost", miss=miss).cut_labelled(scores, odd) == pytest.approx(best, abs=0.15)


def test_tuned_calls_no_more_rows_odd_than_somebody_can_look_at() -> None:
    scores, odd = labelled(1000, seed=3)
    assert (scores > Tuned("cost", miss=1000.0).cut_labelled(scores, odd)).mean() > 0.4
    assert (scores > Tuned("cost", miss=1000.0, at_most=0.02).cut_labelled(scores, odd)).sum() <= 20


def test_the_verdicts_of_cross_validation_do_not_flatter() -> None:
    """Scores that know nothing: the best F1 on the same labels is far above what other rows will have."""
    random = np.random.default_rng(0)
    gains = []
    for _ in range(20):
        scores, odd = random.normal(size=100), random.random(100) < 0.1
        if odd.sum() < 4:
            continue
        called = Tuned().verdicts(scores, odd)
        honest = 2 * called[odd].sum() / (odd.sum() + called.sum())
        gains.append(max(f1(cut, scores, odd) for cut in np.sort(scores)[:-1]) - honest)
    assert np.mean(gains) > 0.05


def test_tuned_without_labels_is_a_sentence() -> None:
    with pytest.raises(DataError, match="tuned needs to know which rows are odd"):
        Tuned().cut(np.arange(9.0))
    with pytest.raises(DataError, match="of 9 labelled rows 1 are odd"):
        Tuned().cut_labelled(np.arange(9.0), np.arange(9) == 8)


# ---- p-values and false discoveries


def test_p_values_of_usual_rows_are_uniform_and_never_too_small() -> None:
    random = np.random.default_rng(0)
    found = np.array([p_values_of(random.gamma(2.0, size=1), random.gamma(2.0, size=99))[0] for _ in range(3000)])
    assert stats.kstest(found - random.random(3000) / 100, "uniform").pvalue > 0.01
    for level in (0.01, 0.05, 0.3):
        assert (found <= level + 1e-12).mean() <= level + 3 * np.sqrt(level / 3000)


def test_false_discoveries_are_as_many_as_asked_at_most() -> None:
    """Benjamini-Hochberg on p-values of one calibration set each; and it finds what is there."""
    random = np.random.default_rng(0)
    false, power = [], []
    for _ in range(200):
        scores = np.concatenate([random.normal(size=180), random.normal(4.0, size=20)])
        found = discoveries(p_values_of(scores, random.normal(size=500)), 0.2, 500)
        false.append(found[:180].sum() / max(1, found.sum()))
        power.append(found[180:].mean())
    assert 0.1 < np.mean(false) < 0.2 and np.mean(power) > 0.8


def test_discoveries_are_those_of_scipy() -> None:
    p = np.random.default_rng(0).random(300) ** 3
    np.testing.assert_array_equal(discoveries(p, 0.1, 10_000), stats.false_discovery_control(p) <= 0.1)


@pytest.mark.parametrize("fdr", [0, 1, -0.5, True, "much"])
def test_an_fdr_that_is_none_is_a_sentence(fdr: Any) -> None:
    with pytest.raises(SettingError, match="fdr is"):
        discoveries(np.array([0.5]), fdr, 100)


def test_too_few_rows_for_an_fdr_is_a_sentence() -> None:
    with pytest.raises(DataError, match="needs at least 99 rows kept out of training, and there are 20"):
        discoveries(np.array([0.5]), 0.01, 20)


# ---- labels


@pytest.mark.parametrize("y", [[0, 1, 1], [1, -1, -1], [False, True, True], ["usual", "odd", "Odd "], [0.0, 1.0, 1.0]])
def test_labels_say_which_rows_are_odd(y: Any) -> None:
    assert odd_labels(y, 3).tolist() == odd_labels(np.array(y), 3).tolist() == [False, True, True]
    assert odd_labels(pl.Series(y), 3).tolist() == [False, True, True]


@pytest.mark.parametrize("y", [[0, 1, 2], ["usual", "cat", "odd"], [0, 1, None], [-1, 0, 1], [1, 0]])
def test_labels_that_say_something_else_are_a_sentence(y: Any) -> None:
    with pytest.raises(DataError, match=r"a label is|there are 3 samples and 2 labels"):
        odd_labels(y, 3)


# ---- a detector


def on_a_plane(n: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(2, 5))
    return random.normal(size=(n, 2)) @ mix + 0.05 * random.normal(size=(n, 5))


def off_the_plane(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed + 1).permuted(on_a_plane(n, seed), axis=0)


def quick(threshold: Any = None, seed: int = 0) -> AnomalyDetector:
    training = Training(max_epochs=40)
    return AnomalyDetector(Autoencoder(2, training=training), threshold=threshold, random_state=seed)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a detector that kept rows out of training, one that did not, and tables."""
    folder = tmp_path_factory.mktemp("thresholds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        names = list("abcde")
        quick("conformal(calibration=0.4)").fit(pl.DataFrame(on_a_plane(1000), names)).save(folder / "kept.safetensors")
        quick().fit(pl.DataFrame(on_a_plane(600), names)).save(folder / "plain.safetensors")
    new = pl.DataFrame(np.vstack([on_a_plane(380, seed=5), off_the_plane(20, seed=6)]), names)
    new.with_columns(pl.Series("odd", np.arange(400) >= 380)).write_csv(folder / "labelled.csv")
    new.write_csv(folder / "new.csv")
    pl.DataFrame(on_a_plane(400, seed=8), names).write_csv(folder / "usual.csv")
    return folder


@pytest.fixture
def kept(fitted: Path) -> Any:
    return load(fitted / "kept.safetensors")


@pytest.fixture
def plain(fitted: Path) -> Any:
    return load(fitted / "plain.safetensors")


@pytest.mark.parametrize("rule", ["robust", Quantile(0.3), Conformal(0.1), ExtremeValue(0.01), Fixed(3.0), 3.0])
def test_a_rule_changed_after_training_cuts_by_the_stored_scores(kept: Any, rule: Any, tmp_path: Path) -> None:
    weights = kept.autoencoder_.module_.state_dict()
    before = {name: value.clone() for name, value in weights.items()}
    kept.set_threshold(rule)
    made = Robust() if rule == "robust" else Fixed(3.0) if rule == 3.0 else rule
    assert kept.threshold_ == pytest.approx(made.cut(kept.calibration_scores_))
    assert kept.offset_ == -kept.threshold_ and len(kept.calibration_scores_) == 400
    kept.save(tmp_path / "again.safetensors")
    again = load(tmp_path / "again.safetensors")
    X = on_a_plane(50, seed=3)
    assert again.threshold_ == kept.threshold_ and repr(again.get_params()) == repr(kept.get_params())
    np.testing.assert_array_equal(again.predict(X), kept.predict(X))
    np.testing.assert_array_equal(again.p_values(X), kept.p_values(X))
    assert all((again.autoencoder_.module_.state_dict()[name] == value).all() for name, value in before.items())


def test_none_goes_back_to_contamination(plain: Any) -> None:
    before = plain.threshold_
    assert plain.set_threshold("deviation").threshold_ != before
    assert plain.set_threshold(None).threshold_ == before


@pytest.mark.slow
def test_new_rows_make_a_model_without_rows_kept_out_keep_a_promise(plain: Any) -> None:
    with pytest.raises(DataError, match="needs rows kept out of training, and this model was trained on all"):
        plain.set_threshold("conformal")
    assert plain.threshold is None and (plain.predict(on_a_plane(600)) == -1).sum() == 60  # nothing has changed
    with pytest.raises(DataError, match="p-values and false-discovery rates need rows kept out"):
        plain.p_values(on_a_plane(5))
    plain.set_threshold(Conformal(0.1), on_a_plane(4000, seed=11))
    assert (plain.predict(on_a_plane(4000, seed=12)) == -1).mean() == pytest.approx(0.1, abs=0.02)
    assert plain.p_values(on_a_plane(2000, seed=13)).mean() == pytest.approx(0.5, abs=0.05)


def test_labels_tune_the_cut_and_odd_rows_are_no_calibration(plain: Any) -> None:
    X, y = np.vstack([on_a_plane(380, seed=5), off_the_plane(20, seed=6)]), np.arange(400) >= 380
    plain.set_threshold("tuned", X, y)
    new = np.vstack([on_a_plane(380, seed=15), off_the_plane(20, seed=16)])
    called = plain.predict(new) == -1
    assert 2 * called[380:].sum() / (20 + called.sum()) > 0.7
    assert len(plain.calibration_scores_) == 380
    with pytest.raises(SettingError, match="y is given without X"):
        plain.set_threshold("tuned", y=y)


@pytest.mark.slow
def test_fit_tunes_on_rows_that_it_keeps_out_and_trains_on_usual_ones() -> None:
    X, y = np.vstack([on_a_plane(500, seed=5), off_the_plane(60, seed=6)]), np.arange(560) >= 500
    detector = quick("tuned").fit(X, y)
    new = np.vstack([on_a_plane(500, seed=15), off_the_plane(60, seed=16)])
    called = detector.predict(new) == -1
    assert 2 * called[500:].sum() / (60 + called.sum()) > 0.7
    n_odd_kept_out = 168 - len(detector.calibration_scores_)
    assert 0 < n_odd_kept_out < 40 and detector.autoencoder_.n_samples_ == 560 - 168 - (60 - n_odd_kept_out)
    with pytest.raises(DataError, match="tuned needs to know which rows are odd"):
        quick("tuned").fit(X)


def test_a_batch_is_judged_by_its_false_discoveries_or_by_who_can_look(kept: Any) -> None:
    X = np.vstack([on_a_plane(180, seed=5), off_the_plane(20, seed=6)])
    odd = kept.predict_batch(X, fdr=0.2) == -1
    assert odd[180:].sum() > 10 and odd[:180].sum() < 8
    np.testing.assert_array_equal(odd, discoveries(kept.p_values(X), 0.2, 400))
    np.testing.assert_array_equal(kept.predict_batch(X), kept.predict(X))
    few = kept.predict_batch(X, at_most=5) == -1
    assert few.sum() == 5 and set(np.flatnonzero(few)) == set(np.argsort(kept.score_samples(X))[:5])
    assert (kept.predict_batch(X, at_most=0.01) == -1).sum() == 2
    for wrong in (-1, 2.5, True):
        with pytest.raises(SettingError, match="at_most is"):
            kept.predict_batch(X, at_most=wrong)


def test_a_usual_batch_has_no_discoveries_most_of_the_time(kept: Any) -> None:
    found = [(kept.predict_batch(on_a_plane(50, seed=100 + seed), fdr=0.1) == -1).any() for seed in range(30)]
    assert np.mean(found) < 0.4


def test_the_report_has_a_row_for_each_rule(kept: Any, plain: Any) -> None:
    X, y = np.vstack([on_a_plane(380, seed=5), off_the_plane(20, seed=6)]), np.arange(400) >= 380
    table = kept.thresholds_report(X, y, ["deviation(k=2)"], miss=5.0)
    assert table["rule"].is_unique().all() and table["rule"][0].startswith("conformal")
    assert {"robust", "deviation", "deviation(k=2)", "tuned", "extreme_value"} <= set(table["rule"])
    row = table.row(by_predicate=pl.col("rule") == "robust", named=True)
    called = -kept.score_samples(X) > Robust().cut(kept.calibration_scores_)
    assert row["n_odd"] == called.sum() and row["recall"] == pytest.approx(called[380:].mean())
    assert row["false_alarms"] == pytest.approx(called[:380].mean())
    assert row["cost"] == 5.0 * (~called[380:]).sum() + called[:380].sum()
    promised = dict(table.select("rule", "expected_false_alarms").iter_rows())
    assert promised["conformal(rate=0.01)"] == 0.01
    without = plain.thresholds_report()
    assert "recall" not in without.columns and without["n_odd"][0] == 60
    note = without.row(by_predicate=pl.col("rule") == "conformal", named=True)["note"]
    assert "needs rows kept out of training" in note


def test_scores_in_a_file_that_are_none_are_refused(kept: Any, tmp_path: Path) -> None:
    kept.calibration_scores_ = np.zeros((3, 3))
    kept.save(tmp_path / "odd.safetensors")
    with pytest.raises(ModelFileError, match="no list of numbers"):
        load(tmp_path / "odd.safetensors")


# ---- the command


def run(*words: Any) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_command_shows_rules_and_saves_another(fitted: Path, tmp_path: Path) -> None:
    shown = run("threshold", fitted / "kept.safetensors", fitted / "labelled.csv", "--labels", "odd", "--json")
    assert shown.exit_code == 0, shown.output
    table = pl.read_ndjson(shown.stdout.encode())
    assert {"rule", "cut", "precision", "cost"} <= set(table.columns)
    saved = tmp_path / "tuned.safetensors"
    words = ("--set", "tuned", "--labels", "odd", "-o", saved)
    assert run("threshold", fitted / "plain.safetensors", fitted / "labelled.csv", *words).exit_code == 0
    held = pl.read_csv(fitted / "labelled.csv")
    expected = load(fitted / "plain.safetensors").set_threshold("tuned", held.drop("odd"), held["odd"])
    assert load(saved).threshold_ == expected.threshold_


def test_the_command_detects_by_false_discoveries_without_torch_as_with_it(fitted: Path) -> None:
    found = run("detect", fitted / "kept.safetensors", fitted / "new.csv", "--fdr", "0.2", "--json")
    assert found.exit_code == 0, found.output
    table, detector = pl.read_ndjson(found.stdout.encode()), load(fitted / "kept.safetensors")
    new = pl.read_csv(fitted / "new.csv")
    np.testing.assert_array_equal(table["odd"], detector.predict_batch(new, fdr=0.2) == -1)
    np.testing.assert_allclose(table["p_value"], detector.p_values(new))
    assert detector.answer(new, fdr=0.2).headline.endswith("are odd (false-discovery rate 0.2).")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("kept.safetensors", "--set", "robust"), "--set goes with -o NEW"),
        (("kept.safetensors", "-o", "x.safetensors"), "-o goes with --set RULE"),
        (("kept.safetensors", "--set", "robust", "-o", "kept.safetensors"), "which is also read"),
        (("kept.safetensors", "--set", "robst", "-o", "x.safetensors"), "did you mean 'robust'?"),
        (("kept.safetensors", "--labels", "odd"), "there is no DATA that holds such a column"),
        (("kept.safetensors", "new.csv", "--labels", "od"), "which is no column of DATA"),
        (("plain.safetensors", "--set", "conformal", "-o", "x.safetensors"), "needs rows kept out of training"),
    ],
)
def test_what_the_command_refuses_is_one_sentence(
    words: tuple[str, ...], sentence: str, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    placed = [fitted / word if (fitted / word).exists() else word for word in words]
    done = run("threshold", *placed)
    assert done.exit_code == 2 and sentence in done.output and not (tmp_path / "x.safetensors").exists()


def test_false_alarms_are_in_the_band_of_their_law() -> None:
    """Split again and again: the number of alarms follows a beta-binomial law, whatever the scores are."""
    random, inside, rates = np.random.default_rng(0), [], []
    for _ in range(300):
        n, m = 200, 500
        alarms = int((random.gamma(0.5, size=m) > Conformal(0.05).cut(random.gamma(0.5, size=n))).sum())
        rank = int(np.ceil((n + 1) * 0.95))
        law = stats.betabinom(m, n + 1 - rank, rank)
        inside.append(law.ppf(0.005) <= alarms <= law.ppf(0.995))
        rates.append(alarms / m)
    assert np.mean(inside) >= 0.97 and 0.045 < np.mean(rates) < 0.055
