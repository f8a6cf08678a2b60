"""Few labels: a classifier and a regressor that learn from all samples, and from the labels of some."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from isthmus import Autoencoder, SemiSupervisedClassifier, SemiSupervisedRegressor, Training, load
from isthmus.damage import Move
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv, Dense
from isthmus.spec import SampleSpec
from isthmus.tasks._heads import weights_of
from isthmus.tasks._known import known_classes, known_numbers
from isthmus.tasks._spread import REACH, neighbour_graph, spread_labels, sureness

Floats = NDArray[np.floating[Any]]
QUICK = Training(max_epochs=4, batch_size=16)


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def quick(**settings: Any) -> Autoencoder:
    return Autoencoder(**({"training": QUICK, "network": Dense((16,)), "n_components": 6} | settings))


def classifier(**settings: Any) -> SemiSupervisedClassifier:
    own = {"autoencoder": quick(), "tune": False, "spread": 0, "random_state": 0}
    return SemiSupervisedClassifier(**(own | settings))


def blobs(n: int = 90, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Three heaps in ten columns."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return 3 * np.eye(3, 10)[y] + random.normal(size=(n, 10)), y


def some(y: Any, every: int = 3, unknown: Any = -1) -> Any:
    """The labels of every third sample or so; the others are unknown."""
    few = np.array(y)
    few[np.arange(len(few)) // 3 % every != 0] = unknown
    return few


# ---- which labels are known


@pytest.mark.parametrize(
    ("y", "rows", "classes"),
    [
        ([0, -1, 4, 0], [0, 2, 3], [0, 4]),
        (["b", "", "a", None, float("nan"), -1], [0, 2], ["a", "b"]),
        (np.array(["b", " ", "a"]), [0, 2], ["a", "b"]),
        (pl.Series([7, None, 5]), [0, 2], [5, 7]),
        (pd.Series([7, None, 5], dtype="Int64"), [0, 2], [5, 7]),
        (pd.Series(["x", pd.NA, "y"], dtype="string"), [0, 2], ["x", "y"]),
        (np.array([1.0, np.nan, 0.0, -1.0]), [0, 2], [0.0, 1.0]),
        ([True, False, True], [0, 1, 2], [False, True]),
    ],
)
def test_unknown_labels_are_told_from_known_ones(y: Any, rows: list[int], classes: list[Any]) -> None:
    known = known_classes(y, len(y))
    assert known.rows.tolist() == rows
    assert known.classes is not None and known.classes.tolist() == classes
    kinds = {type(label) for label in known.classes.tolist()}
    assert kinds == {type(label) for label in classes}


def test_labels_that_cannot_be_are_a_sentence() -> None:
    for y, said in (
        (None, "requires y to be passed"),
        ([1, 0], "there are 3 samples and 2 labels; give one label for each"),
        ([1, 1, -1], "one class only, 1; give labels of at least two classes, and -1 where"),
        (["a", 3, "b"], "some labels are words and others are numbers"),
        ([0.5, 1.5, 2.5], "Unknown label type"),
    ):
        with pytest.raises(ValueError, match=said):
            known_classes(y, 3)
    with pytest.raises(DataError, match="must be numbers, and NaN where they are unknown"):
        known_numbers(["a", "b"], 2)
    with pytest.raises(DataError, match="infinity"):
        known_numbers([1.0, np.inf], 2)


def test_folds_judge_every_label_once_and_hold_every_class() -> None:
    known = known_classes(np.repeat([3, 8, -1], [9, 6, 5]), 20)
    judged = []
    for learned, held in known.folds(3, seed=1):
        assert set(learned.rows).isdisjoint(held.rows)
        assert np.bincount(held.values).tolist() == [3, 2]
        judged += held.rows.tolist()
    assert sorted(judged) == known.rows.tolist()


# ---- labels that are spread


def test_spreading_solves_its_equation() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    graph = neighbour_graph(X, 5)
    matrix = graph.toarray()
    np.testing.assert_allclose(matrix, matrix.T)
    start = np.zeros((60, 2))
    start[[0, 1], [0, 1]] = 1.0
    exact = np.linalg.solve(np.eye(60) - REACH * matrix, start)
    exact /= exact.sum(0)
    shares = spread_labels(graph, np.array([0, 1]), np.array([0, 1]), 2)
    np.testing.assert_allclose(shares, exact / exact.sum(1, keepdims=True), atol=1e-4)


def test_what_no_label_reaches_is_unsure() -> None:
    X = np.r_[np.arange(5.0), 100 + np.arange(5.0)][:, None]
    shares = spread_labels(neighbour_graph(X, 2), np.array([0, 4]), np.array([0, 1]), 2)
    np.testing.assert_array_equal(shares[5:], 0.5)
    assert sureness(shares)[5:].max() == 0 < sureness(shares)[0]


@pytest.mark.slow
def test_six_labels_are_enough_for_two_moons_once_they_are_spread() -> None:
    X, y = make_moons(400, noise=0.06, random_state=0)
    few = np.full(400, -1)
    for label in (0, 1):
        few[np.flatnonzero(y == label)[:3]] = label
    model = Autoencoder(2, network=Dense((32,)), training=Training(max_epochs=30))
    found = {
        spread: SemiSupervisedClassifier(model, tune=tune, spread=spread, random_state=0).fit(X, few)
        for spread, tune in ((0, False), (1, Training(max_epochs=100, batch_size=16, learning_rate=5e-3)))
    }
    rest = few == -1
    assert found[0].score(X[rest], y[rest]) < 0.9  # no straight line will do
    assert found[1].score(X[rest], y[rest]) > 0.97
    assert (found[1].transduction_[rest] == y[rest]).mean() > 0.97
    rival = LabelSpreading(kernel="knn", alpha=0.9, max_iter=2000).fit(X, few)
    assert found[1].score(X[rest], y[rest]) >= rival.score(X[rest], y[rest]) - 0.02


@pytest.mark.slow
def test_cross_validation_chooses_what_meets_held_out_labels() -> None:
    X, y = make_moons(300, noise=0.06, random_state=0)
    few = some(y, 6)
    auto = SemiSupervisedClassifier(Autoencoder(2, network=Dense((32,))), tune=False, random_state=0).fit(X, few)
    assert auto.validation_scores_["spread"] > auto.validation_scores_["frozen"]
    assert auto.spread_ == 1 and not auto.tuned_
    random = np.random.default_rng(0)  # a label that no neighbour shares: the sign of a small column
    X = np.c_[5 * random.normal(size=(300, 6)), 0.3 * random.normal(size=300)]
    y = (X[:, 6] > 0).astype(int)
    auto = classifier(autoencoder=quick(n_components=7, network=Dense(())), spread="auto").fit(X, some(y, 2))
    assert auto.validation_scores_["spread"] < auto.validation_scores_["frozen"]
    assert auto.spread_ == 0


# ---- what a head makes of codes


def test_labels_do_not_touch_the_autoencoder() -> None:
    X, y = blobs()
    alone = quick(random_state=0).fit(X)
    for tune in (False, QUICK):
        model = classifier(tune=tune).fit(X, some(y))
        np.testing.assert_array_equal(model.autoencoder_.transform(X), alone.transform(X))
    assert (model.transform(X) != classifier().fit(X, some(y)).transform(X)).any()


def test_the_frozen_head_is_scikit_learns_on_scaled_codes() -> None:
    X, y = blobs()
    few = some(y)
    model = classifier(head=LogisticRegression(C=0.1)).fit(X, few)
    codes = model.autoencoder_.transform(X)
    features = (codes - codes.mean(0)) / codes.std(0)
    np.testing.assert_allclose(model.transform(X), features, atol=1e-5)
    rival = LogisticRegression(C=0.1).fit(features[few >= 0], few[few >= 0])
    np.testing.assert_allclose(model.predict_proba(X), rival.predict_proba(features), atol=1e-4)


def test_two_classes_keep_their_one_row_of_weights() -> None:
    X, y = blobs()
    fitted = LogisticRegression().fit(X, y > 0)
    weights = weights_of(fitted, 2)
    assert weights is not None
    outputs = X @ weights.weights.T + weights.bias
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, fitted.predict_proba(X), atol=1e-12)


def test_words_and_numbers_are_the_same_labels_and_rows_without_any_matter() -> None:
    X, y = blobs()
    few = some(y)
    first = classifier().fit(X, few)
    np.testing.assert_array_equal(first.predict_proba(X), classifier().fit(X, few.copy()).predict_proba(X))
    words = np.array(["a", "b", "c", ""], dtype=object)[few]
    named = classifier().fit(X, words)
    np.testing.assert_array_equal(named.predict_proba(X), first.predict_proba(X))
    assert named.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(named.predict(X), np.array(["a", "b", "c"])[first.predict(X)])
    assert named.score(X, words) == pytest.approx(first.score(X, few))
    other = classifier().fit(np.r_[X, X[:30] * 2], np.r_[few, np.full(30, -1)])
    assert (other.predict_proba(X) != first.predict_proba(X)).any()


@pytest.mark.slow
def test_tuning_beats_the_frozen_code_where_the_code_left_the_label_out() -> None:
    random = np.random.default_rng(0)
    X = np.c_[5 * random.normal(size=(300, 2)) @ random.normal(size=(2, 6)), random.normal(size=300)]
    y = (X[:, 6] > 0).astype(int)
    training = Training(max_epochs=60, batch_size=16, learning_rate=3e-3, validation=0.0)
    model = quick(n_components=2, network=Dense((16,)), data_type="tables(scaling='center')")
    frozen = classifier(autoencoder=model).fit(X, some(y, 2))
    tuned = classifier(autoencoder=model, tune=training).fit(X, some(y, 2))
    new = np.arange(300) // 3 % 2 != 0
    assert frozen.score(X[new], y[new]) < 0.7
    assert tuned.score(X[new], y[new]) > frozen.score(X[new], y[new]) + 0.15


def test_a_foreign_head_answers_and_does_not_go_into_a_file(tmp_path: Path) -> None:
    X, y = blobs()
    few = some(y)
    model = classifier(head=SVC(C=3.0)).fit(X, few)
    features = model.transform(X)
    rival = SVC(C=3.0, random_state=0).fit(features[few >= 0], few[few >= 0])
    np.testing.assert_array_equal(model.predict(X), rival.predict(features))
    assert not hasattr(model, "predict_proba")
    assert model.answer(X).table.columns == ["row", "class"]
    with pytest.raises(SettingError, match="SVC is no matrix that a model file could hold; take a linear head"):
        model.save(tmp_path / "model.safetensors")
    with pytest.raises(SettingError, match="is no linear one, and no torch module"):
        model.to_torch()
    model.autoencoder_.save(tmp_path / "model.safetensors")


def test_settings_that_cannot_be_are_a_sentence() -> None:
    X, y = blobs()
    for settings, said in (
        ({"head": "forest"}, "head is 'forest'; it must be one of logistic, svm, or an estimator"),
        ({"tune": "sometimes"}, "tune is 'sometimes'; it must be True, False, 'auto', or a Training"),
        ({"spread": -1}, "spread is -1; it must be a whole number of at least 0, or 'auto'"),
        ({"damage": "moove"}, "move"),
        ({"damage": "move", "tune": QUICK}, "move is for pictures"),
    ):
        with pytest.raises(SettingError, match=said):
            classifier(**settings).fit(X, some(y))


# ---- numbers


@pytest.mark.slow
def test_numbers_are_learned_from_few(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    hidden = random.normal(size=(400, 2))
    X = hidden @ random.normal(size=(2, 8)) + 0.1 * random.normal(size=(400, 8))
    y = 1000 + 50 * hidden[:, 0]
    few = np.where(np.arange(400) < 40, y, np.nan)
    training = Training(max_epochs=30, batch_size=16, learning_rate=3e-3)
    for tune in (False, training):
        model = SemiSupervisedRegressor(quick(n_components=2, training=training), tune=tune, random_state=0)
        model.fit(X, few)
        assert model.score(X[40:], y[40:]) > 0.9
        assert model.score(X, few) == pytest.approx(model.score(X[:40], y[:40]))  # unknown ones do not count
        model.save(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(load(tmp_path / "model.safetensors").predict(X), model.predict(X))
        plain = model.to_torch().double()
        np.testing.assert_allclose(plain(torch.from_numpy(X))[:, 0].detach(), model.predict(X), rtol=1e-6)
    answer = model.answer(X)
    assert answer.table.columns == ["row", "value"] and "Of 400 rows the values go from" in answer.headline


# ---- weights for elsewhere, and files


def plain_outputs(model: SemiSupervisedClassifier, x: Any) -> Any:
    return model.to_torch().double()(torch.as_tensor(x, dtype=torch.float64)).softmax(1).detach().numpy()


@pytest.mark.parametrize("tune", [False, QUICK], ids=["frozen", "tuned"])
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_the_torch_module_gives_the_same(tune: Any, gaps: bool, tmp_path: Path) -> None:
    X, y = blobs()
    X[:, 1] = np.exp(3 * X[:, 1])  # a heavy tail, which is drawn in
    X[:, 9] = np.nan  # left out
    if gaps:
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    model = classifier(tune=tune).fit(X, some(y))
    np.testing.assert_allclose(plain_outputs(model, X), model.predict_proba(X), atol=1e-6)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.transduction_, model.transduction_)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    np.testing.assert_allclose(plain_outputs(loaded, X), model.predict_proba(X), atol=1e-6)


def test_a_plain_encoder_becomes_layers_of_torch_alone() -> None:
    X, y = blobs()
    layers = classifier().fit(X, some(y)).to_torch()
    assert isinstance(layers, torch.nn.Sequential)
    assert all(type(layer).__module__.startswith("torch.") for layer in list(layers)[1:])


def test_words_have_no_tensor() -> None:
    frame, y = mixed()
    with pytest.raises(SettingError, match="the column 'size' holds words, which no tensor of numbers can"):
        classifier().fit(frame, some(y)).to_torch()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    X, y = blobs()
    model = classifier(head=LogisticRegression(C=0.3)).fit(X, some(y))
    model.save(tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").head.C == 0.3
    model._reader.head = torch.nn.Linear(4, 3)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="the head in this file does not fit its own code"):
        load(tmp_path / "model.safetensors")


# ---- the four kinds of data


def mixed(n: int = 90) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Words, numbers, gaps; and what decides."""
    random = np.random.default_rng(0)
    y = np.arange(n) % 2
    size = np.where(random.random(n) < 0.9, y, 1 - y)
    height = [None if i % 11 == 3 else float(value) for i, value in enumerate(y + 0.3 * random.normal(size=n))]
    return pl.DataFrame({"size": np.array(["small", "large"])[size], "height": height, "age": random.normal(size=n)}), y


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour pictures of two sizes in folders named by what is on them, and two in none."""
    place = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(24):
        red = number % 2 == 0
        pixels = (40 * random.random((12, 12 + 4 * (number % 3 == 0), 3))).astype(np.uint8)
        pixels[..., 0 if red else 2] += 150
        where = place if number >= 22 else place / ("red" if red else "blue")
        where.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(where / f"{number:02d}.png")
    return place


def pictures() -> Autoencoder:
    return Autoencoder(4, network=Conv((4, 8), code="grid"), training=QUICK, random_state=0)


def test_mixed_tables_in_frames_of_both_kinds(tmp_path: Path) -> None:
    frame, y = mixed()
    few = pl.Series("kind", [None if i // 2 % 3 else ("left", "right")[value] for i, value in enumerate(y)])
    answers = []
    for one in (frame, frame.to_pandas()):
        model = classifier(tune=QUICK).fit(one, few if one is frame else few.to_pandas())
        assert model.score(one, np.array(["left", "right"])[y]) > 0.8
        answers.append(model.predict_proba(one))
        with_labels = model.answer(one.assign(kind="left") if one is not frame else one.with_columns(few))
        assert " labels in the data are met" in with_labels.headline
        np.testing.assert_allclose(with_labels.table["probability"], answers[-1].max(1))
        model.save(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(load(tmp_path / "model.safetensors").predict(one), model.predict(one))
    np.testing.assert_allclose(*answers)


@pytest.mark.slow
def test_grey_pictures_and_their_movement(tmp_path: Path) -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(600)  # the digits come writer by writer
    X, y = (digits.images / 16).astype(np.float32)[order], digits.target[order]
    few = np.where(np.arange(600) < 100, y, -1)
    model = Autoencoder(16, network=Conv((8, 16)), training=Training(max_epochs=10, batch_size=32))
    tuning = Training(max_epochs=30, batch_size=32, learning_rate=2e-3)
    model = SemiSupervisedClassifier(model, tune=tuning, spread=1, damage=Move(0.05), random_state=0).fit(X, few)
    assert model.score(X[100:], y[100:]) > 0.8
    np.testing.assert_allclose(plain_outputs(model, X[:, None]), model.predict_proba(X.astype(np.float64)), atol=1e-6)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "model.safetensors").predict_proba(X), model.predict_proba(X))


@pytest.mark.slow
def test_a_colour_folder_of_two_sizes(folder: Path) -> None:
    from isthmus.data import Images

    names = Images.read(folder).names
    y = [Path(name).parent.name or None for name in names]
    model = SemiSupervisedClassifier(pictures(), tune=False, spread=0, random_state=0).fit(str(folder), y)
    assert model.classes_.tolist() == ["blue", "red"]
    found = dict(zip(names, model.predict(str(folder)), strict=True))
    assert found["22.png"] == "red" and found["23.png"] == "blue"
    alone = model.transform([str(folder / "blue" / "01.png")])  # no padding of others leaks in
    together = model.transform(str(folder))[names.index("blue/01.png")]
    np.testing.assert_allclose(alone[0], together, atol=1e-5)
    redness = [150.0 if label == "red" else float("nan" if label is None else 0) for label in y]
    regressor = SemiSupervisedRegressor(pictures(), tune=False, random_state=0).fit(str(folder), redness)
    found = dict(zip(names, regressor.predict(str(folder)), strict=True))
    assert found["22.png"] > 100 > 50 > found["23.png"]
    assert regressor.answer(str(folder)).table.columns == ["row", "file", "value"]


# ---- the command line


def run(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli, list(words))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame, y = mixed()
    place = tmp_path_factory.mktemp("cli")
    kind = [None if i // 2 % 3 else ("left", "right")[value] for i, value in enumerate(y)]
    frame.with_columns(pl.Series("kind", kind)).write_csv(place / "table.csv")
    frame.with_columns(pl.Series("worth", [None if i % 3 else 10.0 * value for i, value in enumerate(y)])).write_csv(
        place / "worth.csv"
    )
    frame.write_csv(place / "new.csv")
    return place


FAST = ("--max-epochs", "3", "--no-tune", "--seed", "0")


def test_classify_on_the_command_line(table: Path) -> None:
    model = str(table / "kind.safetensors")
    fitted = run("fit", str(table / "table.csv"), "--for", "classify", "--label", "kind", *FAST, "-o", model)
    assert fitted.exit_code == 0, fitted.output
    assert "labels of 30 of 90 rows in the column 'kind'" in fitted.output
    assert f"next: isthmus classify {model}" in fitted.output
    assert load(model).autoencoder_.data_.feature_names == ["size", "height", "age"]
    told = run("classify", model, str(table / "new.csv"), "-o", str(table / "found.csv"))
    assert told.exit_code == 0, told.output
    found = pl.read_csv(table / "found.csv")
    assert found.columns == ["row", "class", "probability"] and set(found["class"]) == {"left", "right"}
    again = run("classify", model, str(table / "table.csv"))  # the labels may stand in new data, too
    assert again.exit_code == 0 and "of the 30 labels in the data are met" in again.output


def test_regress_on_the_command_line(table: Path) -> None:
    model = str(table / "worth.safetensors")
    fitted = run("fit", str(table / "worth.csv"), "--for", "regress", "--label", "worth", *FAST, "-o", model)
    assert fitted.exit_code == 0, fitted.output
    told = run("regress", model, str(table / "new.csv"), "--json")
    assert told.exit_code == 0 and '"value":' in told.output.replace(" ", "")


@pytest.mark.slow
@pytest.mark.parametrize("label", ["folders", "table"])
def test_pictures_on_the_command_line(folder: Path, tmp_path: Path, label: str) -> None:
    if label == "table":
        label = str(tmp_path / "labels.csv")
        rows = [("red/00.png", "warm"), ("red/02.png", "warm"), ("blue/01.png", "cold"), ("blue/03.png", "cold")]
        pl.DataFrame(rows, schema=["file", "label"], orient="row").write_csv(label)
    model = str(tmp_path / "model.safetensors")
    fitted = run("fit", str(folder), "--for", "classify", "--label", label, *FAST, "-o", model)
    assert fitted.exit_code == 0, fitted.output
    assert f"labels of {22 if label == 'folders' else 4} of 24 pictures" in fitted.output
    told = run("classify", model, str(folder), "-o", str(tmp_path / "found.csv"))
    assert told.exit_code == 0, told.output
    found = pl.read_csv(tmp_path / "found.csv")
    assert found.columns == ["row", "file", "class", "probability"]
    assert set(found["class"]) == ({"red", "blue"} if label == "folders" else {"warm", "cold"})


def test_labels_that_are_not_there_are_a_sentence(table: Path, folder: Path, tmp_path: Path) -> None:
    data, out = str(table / "table.csv"), ("-o", str(tmp_path / "m.safetensors"))
    assert (
        "--for classify learns from labels, and there is no --label"
        in run("fit", data, "--for", "classify", *out).output
    )
    told = run("fit", data, "--for", "classify", "--label", "kid", *out).output
    assert "--label is 'kid', and DATA has no such column; it has: size, height, age, kind." in told
    assert (
        "--label belongs to the tasks classify, regress: add --for and one of them"
        in run("fit", data, "--label", "kind", *out).output
    )
    pl.DataFrame({"file": ["nowhere.png"], "label": ["x"]}).write_csv(tmp_path / "labels.csv")
    told = run("fit", str(folder), "--for", "classify", "--label", str(tmp_path / "labels.csv"), *out).output
    assert "has a label for 'nowhere.png', which is no picture of DATA" in told
    planned = run("fit", data, "--for", "classify", "--label", "kind", "--dry-run")
    assert planned.exit_code == 0
    assert [line.split()[0] for line in planned.output.splitlines()[-3:]] == ["size", "height", "age"]


# ---- pictures that are moved


def test_a_turned_point_stays_as_far_from_the_middle() -> None:
    """Also in a picture that is no square."""
    x = torch.zeros(40, 1, 21, 41, dtype=torch.float64)
    x[:, :, 9:12, 29:32] = 1.0
    spec = SampleSpec((1, 21, 41))
    turned = Move(shift=0.0, turn=30.0, zoom=0.0)(x, spec, torch.Generator().manual_seed(0))
    down, across = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(41.0) - 20, indexing="ij")
    weight = turned[:, 0] / turned[:, 0].sum((1, 2), keepdim=True)
    place = torch.stack([(weight * down).sum((1, 2)), (weight * across).sum((1, 2))])
    torch.testing.assert_close(place.norm(dim=0), torch.full((40,), 10.0, dtype=torch.float64), atol=0.1, rtol=0)
    angles = torch.atan2(place[0], place[1]).rad2deg()
    assert angles.abs().max() < 30.5 and angles.min() < -20 and angles.max() > 20


def test_a_shift_is_a_share_of_the_side() -> None:
    x = torch.zeros(200, 1, 20, 40, dtype=torch.float64)
    x[:, :, 10, 20] = 1.0
    moved = Move(shift=0.1, turn=0.0, zoom=0.0)(x, SampleSpec((1, 20, 40)), torch.Generator().manual_seed(0))[:, 0]
    down = (moved.sum(2) * torch.arange(20.0)).sum(1) - 10
    across = (moved.sum(1) * torch.arange(40.0)).sum(1) - 20
    assert 1.8 < down.abs().max() <= 2.0 and 3.6 < across.abs().max() <= 4.0
