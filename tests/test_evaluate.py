"""Evaluation: its figures are right, the rival is run in the same folds, and copying is not taken for a good model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_score

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    Denoiser,
    Evaluation,
    SemiSupervisedClassifier,
    Synthesizer,
    Training,
    evaluate,
)
from isthmus.data import Images, Tables
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.evaluation import _code, _downstream
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv, Dense

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")]

QUICK = Training(max_epochs=20, learning_rate=3e-3)
LONG = Training(max_epochs=80, learning_rate=3e-2, patience=None)


def plane(n: int = 300, width: int = 6, noise: float = 0.05, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 2)) @ np.random.default_rng(9).normal(size=(2, width)) + noise * random.normal(
        size=(n, width)
    )


def linear(size: int, X: Any, training: Training = LONG, **settings: Any) -> Autoencoder:
    return Autoencoder(size, network=Dense(widths=()), training=training, random_state=0, **settings).fit(X)


@pytest.fixture(scope="module")
def fitted() -> Autoencoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        return linear(2, plane())


# ---- figures


def test_a_linear_autoencoder_is_as_good_as_pca(fitted: Autoencoder) -> None:
    found = evaluate(fitted, plane(seed=1))
    for name in ("explained variance", "trustworthiness", "continuity"):
        assert found[name].value == pytest.approx(found[name].pca, abs=0.02), name
    mixed_rows = found["explained variance, mixed rows"]
    assert mixed_rows.value == pytest.approx(mixed_rows.pca, abs=0.1)
    assert mixed_rows.value < found["explained variance"].value - 0.4
    assert found["active units"].value == 2 and found["dead units"].value == 0


def test_figures_are_those_of_scikit_learn(fitted: Autoencoder) -> None:
    X, y = plane(seed=1), (plane(seed=1)[:, 0] > 0).astype(int)
    found, codes = evaluate(fitted, X, y), fitted.transform(X)
    scaled = fitted.data_.batch(fitted.data_.open(X), np.arange(len(X))).x.numpy()
    assert found["trustworthiness"].value == pytest.approx(trustworthiness(scaled, codes, n_neighbors=10), abs=1e-3)
    assert found["continuity"].value == pytest.approx(trustworthiness(codes, scaled, n_neighbors=10), abs=1e-3)
    assert found["separability of the classes"].value == pytest.approx(silhouette_score(codes, y), abs=1e-3)
    error = np.square(scaled - fitted.data_.batch(fitted.data_.open(fitted.reconstruct(X)), np.arange(300)).x.numpy())
    assert found["mean squared error"].value == pytest.approx(error.mean(), rel=1e-3)


def test_pca_is_measured_on_rows_that_it_has_not_seen() -> None:
    """Of 40 rows with 30 columns of noise, PCA fitted on all gives back much more than held-out rows can have."""
    X = np.random.default_rng(0).normal(size=(40, 30))
    found = evaluate(linear(12, X, QUICK), X)
    seen = PCA(12).fit(X)
    flattered = 1 - np.square(X - seen.inverse_transform(seen.transform(X))).sum() / np.square(X - X.mean(0)).sum()
    assert found["explained variance"].pca < flattered - 0.2


def test_errors_of_columns_are_in_their_own_units(fitted: Autoencoder) -> None:
    X = plane(seed=1)
    X[:, 0] *= 1000
    model = linear(2, X)
    found, back = evaluate(model, X), model.reconstruct(X)
    errors = dict(zip(found.features["feature"], found.features["error"], strict=True))
    assert errors["x0"] == pytest.approx(np.abs(X[:, 0] - back[:, 0]).mean(), rel=1e-3)
    guesses = dict(zip(found.features["feature"], found.features["guess"], strict=True))
    assert guesses["x0"] == pytest.approx(np.abs(X[:, 0] - np.median(X[:, 0])).mean(), rel=1e-3)
    assert errors["x0"] > 100 * errors["x1"]


def test_missing_cells_are_not_measured() -> None:
    X = plane()
    X[::3, 1] = np.nan
    model = linear(2, X, QUICK)
    found, back = evaluate(model, X), model.reconstruct(X)
    present = ~np.isnan(X[:, 1])
    assert found.features["error"][1] == pytest.approx(np.abs(X - back)[present, 1].mean(), rel=1e-3)


def test_active_units_dead_units_and_effective_rank() -> None:
    random = np.random.default_rng(0)
    codes = np.zeros((200, 4))
    codes[:, 0], codes[:, 1] = random.normal(size=200), 0.05 * random.normal(size=200)
    assert _code.active(codes, False).tolist() == [True, False, False, False]
    assert _code.dead(codes).tolist() == [False, False, True, True]
    assert 1 < _code.effective_rank(codes) < 1.5
    assert _code.effective_rank(np.zeros((10, 3))) == 0.0


def test_downstream_tells_what_the_code_keeps() -> None:
    """The class lies in one column among others that are larger, which a code of one number leaves out."""
    X = plane(400)
    y = (np.random.default_rng(1).random(400) < 0.5).astype(int)
    given = np.c_[X, y + 0.01 * np.random.default_rng(2).normal(size=400)]
    model = linear(1, given)
    found = evaluate(model, given, y)["accuracy, nearest neighbours"]
    assert found.raw > 0.95 > 0.7 > found.value
    assert 0.4 < found.guess < 0.6


def test_amounts_are_told_by_their_r2(fitted: Autoencoder) -> None:
    X = plane(seed=1)
    found = evaluate(fitted, X, X[:, 0])
    assert found["R2, linear"].value > 0.95 and "separability of the classes" not in found


def test_missing_labels_are_left_out(fitted: Autoencoder) -> None:
    X = plane(seed=1)
    y = np.where(X[:, 0] > 0, "up", "down").astype(object)
    y[::2] = None
    assert evaluate(fitted, X, y)["accuracy, linear"].value > 0.9


# ---- what is no proof


def test_the_identity_is_called_no_compression() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 2)) @ random.normal(size=(2, 4)) + 0.3 * random.normal(size=(400, 4))
    found = evaluate(linear(4, X), X)
    assert found["explained variance"].value > 0.99
    assert any("No compression" in note for note in found.notes)
    assert any("no proof" in note and "as well as real ones" in note for note in found.notes)
    narrow = evaluate(linear(2, X), X)
    assert not any("No compression" in note for note in narrow.notes)


def test_rows_that_were_trained_on_are_pointed_out(fitted: Autoencoder) -> None:
    assert any("flatter" in note for note in evaluate(fitted, plane()).notes)
    assert not any("flatter" in note for note in evaluate(fitted, plane(100, seed=1)).notes)


def test_cross_validation_refits_without_the_rows_it_measures() -> None:
    """A network that learns 60 rows of noise by heart gives them back; refitted without them it does not."""
    X = np.random.default_rng(0).normal(size=(60, 12))
    long = Training(max_epochs=200, patience=None, learning_rate=1e-2, validation=0.0)
    model = Autoencoder(8, network=Dense((128,)), training=long, random_state=0).fit(X)
    seen, held = evaluate(model, X), evaluate(model, X, cv=3)
    assert seen["explained variance"].value > 0.9 > 0.75 > held["explained variance"].value
    assert held.refitted and held["explained variance"].spread > 0
    assert not any("flatter" in note for note in held.notes)


# ---- tasks


def test_the_task_says_what_matters(fitted: Autoencoder) -> None:
    X = plane(seed=1)
    counts = {task: {one.section for one in evaluate(fitted, X, task=task).measures if one.matters} for task in
              ("generate", "compress", "cluster")}  # fmt: skip
    assert counts["generate"] == {"generation"}
    assert counts["compress"] == {"reconstruction", "code"}
    assert counts["cluster"] == {"code", "preservation"}
    with pytest.raises(SettingError, match=r"'generat' is unknown; did you mean 'generate'"):
        evaluate(fitted, X, task="generat")


def test_a_detector_is_judged_by_its_score() -> None:
    X, odd = plane(400), np.random.default_rng(1).normal(scale=3, size=(20, 6))
    detector = AnomalyDetector(Autoencoder(2, training=QUICK), random_state=0).fit(X[:300])
    found = evaluate(detector, np.r_[X[300:], odd], np.r_[np.zeros(100, int), np.ones(20, int)])
    assert found.task == "detect"
    assert found["AUROC of the score"].value > 0.95 and found["AUROC of the score"].matters


@pytest.mark.parametrize(("labels", "odd"), [((-1, 1), -1), ((0, 1), 1), (("rare", "usual"), "rare")])
def test_which_of_two_labels_is_the_odd_one(labels: tuple[Any, Any], odd: Any) -> None:
    from isthmus.evaluation._target import target_of

    y = [labels[0]] * 3 + [labels[1]] * 9
    target = target_of(y, 12, np.arange(12))
    assert _downstream.odd_ones(target).tolist() == [label == odd for label in y]


def test_a_denoiser_is_held_against_clean_counterparts() -> None:
    clean = plane(400)
    noisy = clean + 0.5 * np.random.default_rng(1).normal(size=clean.shape)
    denoiser = Denoiser(Autoencoder(training=QUICK), random_state=0).fit(clean[:300])
    found = evaluate(denoiser, noisy[300:], clean[300:])["mean squared error to clean ones"]
    assert found.matters and found.value < 0.7 * found.raw
    scale = denoiser.autoencoder_.data_.schema[0].standard_deviation
    assert found.raw == pytest.approx((0.5 / scale) ** 2, rel=1)


def test_a_synthesizer_draws_in_its_own_way() -> None:
    X = plane(300)
    found = evaluate(Synthesizer(Autoencoder(2, training=QUICK), random_state=0).fit(X), X)
    assert found.task == "generate" and found["coverage"].value > 0.5


# ---- kinds of data


def mixed(n: int = 200) -> pl.DataFrame:
    random = np.random.default_rng(0)
    height = random.normal(170, 9, size=n)
    words = ["tall" if value > 175 else "small" if value < 165 else "middle" for value in height]
    return pl.DataFrame(
        {
            "height": [None if i % 11 == 0 else value for i, value in enumerate(height)],
            "weight": 0.9 * height - 90,
            "word": [None if i % 13 == 0 else word for i, word in enumerate(words)],
            "ok": height > 170,
        }
    )


def test_a_mixed_table_with_gaps() -> None:
    frame = mixed()
    model = Autoencoder(2, training=QUICK, random_state=0).fit(frame)
    for given in (frame, frame.to_pandas()):
        found = evaluate(model, given, frame["ok"])
        features = found.features.rows_by_key("feature")
        assert set(features) == {"height", "weight", "word", "ok"}
        assert features["height"][0][2] < features["height"][0][4]  # below the guess
        assert features["word"][0][1] == "share of wrong ones" and 0 <= features["word"][0][2] <= 1


def digits() -> Any:
    return (load_digits().images[:240] / 16).astype(np.float32)


def test_grey_pictures() -> None:
    training = Training(max_epochs=4, batch_size=32, learning_rate=3e-3)
    model = Autoencoder(8, network=Conv(channels=(8, 16)), training=training, random_state=0)
    found = evaluate(model.fit(digits()[:160]), digits()[160:], load_digits().target[160:240])
    psnr = -10 * np.log10(found["mean squared error"].value)
    assert found["PSNR, dB"].value == pytest.approx(psnr)
    assert found.features["unit"].to_list() == ["black to white"]


def colour_folder(path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, tone in (("red", (0.9, 0.2, 0.1)), ("blue", (0.1, 0.2, 0.9))):
        pictures = np.clip(np.asarray(tone) + 0.1 * random.normal(size=(20, 8, 8, 3)), 0, 1).astype(np.float32)
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Images.write(pictures, path / name)
    return path


def test_a_folder_in_colour_with_a_folder_for_each_class(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos")
    model = Autoencoder(3, network="dense", training=QUICK, random_state=0).fit(str(folder))
    names = [Path(name).parent.name for name in model.data_.open(str(folder)).names]
    found = evaluate(model, str(folder), names)
    assert found["accuracy, nearest neighbours"].value == 1.0
    assert found.features.height == 3
    model.save(tmp_path / "m.safetensors")
    words = ["evaluate", str(tmp_path / "m.safetensors"), str(folder), "--labels", "folders", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.stderr
    lines = {line["measure"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert lines["accuracy, nearest neighbours"]["model"] == 1.0


def test_the_maps_of_a_u_net_are_no_code() -> None:
    training = Training(max_epochs=1, batch_size=16)
    network = Conv(channels=(4, 8), skips=True)
    model = Autoencoder(network=network, training=training, random_state=0).fit(digits()[:60])
    found = evaluate(model, digits()[60:100])
    assert found.sections == ["reconstruction"]
    assert any("U-Net" in note for note in found.notes)


def test_pictures_of_several_sizes() -> None:
    random = np.random.default_rng(0)
    pictures = [random.random(size).astype(np.float32) for size in ((8, 8), (10, 12)) for _ in range(20)]
    training = Training(max_epochs=1, batch_size=8)
    model = Autoencoder(2, network=Conv(channels=(4, 8), code="grid"), training=training, random_state=0).fit(pictures)
    for given in (pictures, pictures[:20]):
        found = evaluate(model, given)
        assert found.n_samples == len(given) and 0 <= found["trustworthiness"].value <= 1


# ---- the result


def test_the_result_as_text_table_and_page(fitted: Autoencoder, tmp_path: Path) -> None:
    found = evaluate(fitted, plane(seed=1))
    assert isinstance(found, Evaluation)
    assert found.table.height == len(found.measures) and "explained variance" in repr(found)
    page = found.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert "Preservation, which counts here" in page and "<script src" not in page
    axes = found.plot(Figure().subplots())
    labels = [text.get_text() for text in axes.get_yticklabels()]
    drawn = dict(zip(labels, axes.get_lines()[0].get_xdata(), strict=True))
    assert drawn["preservation: continuity"] == found["continuity"].value
    with pytest.raises(KeyError, match="trustworthiness"):
        found["trust"]


def test_the_same_again(fitted: Autoencoder) -> None:
    X, y = plane(seed=1), (plane(seed=1)[:, 0] > 0).astype(int)
    assert evaluate(fitted, X, y).table.equals(evaluate(fitted, X, y).table)


def test_what_it_refuses(fitted: Autoencoder) -> None:
    with pytest.raises(SettingError, match="cv is 1"):
        evaluate(fitted, plane(), cv=1)
    with pytest.raises(DataError, match="3 samples"):
        evaluate(fitted, plane()[:3])
    with pytest.raises(DataError, match="y has 2 values for 300"):
        evaluate(fitted, plane(), [1, 2])
    with pytest.raises(DataError, match="same value"):
        evaluate(fitted, plane(), np.ones(300))


def test_from_the_command_line(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    frame = pl.DataFrame(X, schema=["a", "b", "c", "d"])
    Autoencoder(2, training=QUICK, random_state=0, data_type=Tables()).fit(frame).save(tmp_path / "m.safetensors")
    frame.with_columns(pl.Series("species", y.astype(str))).write_csv(tmp_path / "t.csv")
    words = ["evaluate", str(tmp_path / "m.safetensors"), str(tmp_path / "t.csv"), "--labels", "species"]
    done = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "o.csv"), "--html", str(tmp_path / "p.html")])
    assert done.exit_code == 0, done.stderr
    assert "downstream" in done.stdout
    assert "accuracy, linear" in pl.read_csv(tmp_path / "o.csv")["measure"].to_list()
    assert (tmp_path / "p.html").exists()
    done = CliRunner().invoke(cli, [*words[:-1], "kind"])
    assert done.exit_code == 2 and "no column" in done.stderr


def test_a_module_of_ones_own() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            from isthmus.module import AutoencoderModule
            from isthmus.spec import SampleSpec

            self.inner = AutoencoderModule(SampleSpec((6,)), 2)

        def encode(self, *given: Any) -> Any:
            return self.inner.encode(*given)

        def decode(self, *given: Any) -> Any:
            return self.inner.decode(*given)

        def reconstruct(self, *given: Any, **more: Any) -> Any:
            return self.inner.reconstruct(*given, **more)

        def loss(self, *given: Any, **more: Any) -> Any:
            return self.inner.loss(*given, **more)

    model = Autoencoder(network=Own(), training=QUICK, random_state=0).fit(plane())
    assert "explained variance" in evaluate(model, plane(seed=1))


def test_a_classifier_knows_where_its_labels_stand(tmp_path: Path) -> None:
    X = plane(60)
    frame = pl.DataFrame(X).with_columns(kind=pl.Series(np.where(X[:, 0] > 0, "up", "down")))
    frame.write_csv(tmp_path / "x.csv")
    model = SemiSupervisedClassifier(Autoencoder(2, training=QUICK), tune=False, spread=0, random_state=0)
    model.fit(frame.drop("kind"), frame["kind"]).save(tmp_path / "m.safetensors")
    done = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "m.safetensors"), str(tmp_path / "x.csv")])
    assert done.exit_code == 0, done.output
    assert "accuracy, linear" in done.output
