"""The Clusterer: finds groups that are there, the same ones again, and says what is typical of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs, make_circles
from sklearn.metrics import adjusted_rand_score

from isthmus import Autoencoder, Clusterer, Training, load
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv, Dense
from isthmus.tasks._graph import BRIDGE, neighbour_graph, waves
from isthmus.tasks._grouping import METHODS, Beside, Center, Mixture, grouped

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
X, Y = make_blobs(240, 10, centers=4, random_state=0)
QUICK = Training(max_epochs=20, batch_size=32)


def clusterer(**settings: Any) -> Clusterer:
    return Clusterer(Autoencoder(3, training=QUICK), **({"random_state": 0} | settings))


def colours(n: int, start: int = 0) -> list[NDArray[np.uint8]]:
    """Red ones, green ones and blue ones, of two sizes, with noise; alternating."""
    random = np.random.default_rng(start)
    found = []
    for place in range(n):
        size = (12, 16) if place % 2 else (16, 12)
        picture = random.integers(0, 60, (*size, 3))
        picture[..., place % 3] += 180
        found.append(picture.astype(np.uint8))
    return found


def write(folder: Path, pictures: list[NDArray[np.uint8]]) -> Path:
    folder.mkdir()
    for place, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{place:03d}.png")
    return folder


# ---- groups that are there are found


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_blobs_are_found_by_every_method(method: str) -> None:
    found = clusterer(method=method, n_clusters=4).fit(X)
    assert adjusted_rand_score(Y, found.labels_) > 0.95
    np.testing.assert_array_equal(found.labels_, found.predict(X))
    sizes = np.bincount(found.labels_[found.labels_ >= 0])
    assert (np.diff(sizes) <= 0).all()  # the largest first


@pytest.mark.parametrize("method", ["kmeans", "mixture", "graph"])
def test_the_number_of_groups_is_found_without_labels(method: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="isthmus"):
        found = clusterer(method=method).fit(X)
    assert found.n_clusters_ == 4
    assert "n_clusters='auto' chose 4 groups of" in caplog.text


def test_a_graph_follows_shapes_that_k_means_cuts() -> None:
    codes, ring = make_circles(400, noise=0.05, factor=0.4, random_state=0)
    of = {method: adjusted_rand_score(ring, grouped(codes, 2, method, 0).of(codes)) for method in ("graph", "kmeans")}
    assert of["graph"] > 0.95 > 0.1 > of["kmeans"]


def test_density_leaves_out_what_lies_between() -> None:
    codes = np.concatenate([X, np.random.default_rng(0).uniform(-40, 40, (20, 10))])
    labels = grouped(codes, None, "density", 0).of(codes)
    assert (labels[240:] == -1).mean() > 0.8 > 0.2 > (labels[:240] == -1).mean()


def test_the_graph_weighs_shared_neighbours() -> None:
    """Four points in a row, two neighbours each beside themselves: Jaccard by hand."""
    graph = neighbour_graph(np.array([[0.0], [1.0], [2.1], [3.3]]), 2).toarray()
    near = [{0, 1, 2}, {1, 0, 2}, {2, 1, 3}, {3, 2, 1}]
    for i in range(4):
        for j in range(4):
            linked = i != j and (i in near[j] or j in near[i])
            assert graph[i, j] == pytest.approx(len(near[i] & near[j]) / len(near[i] | near[j]) if linked else 0.0)


@pytest.mark.parametrize("n", [40, 300])
def test_waves_are_eigenvectors_of_the_threaded_graph(n: int) -> None:
    graph = neighbour_graph(np.random.default_rng(0).normal(size=(n, 3)), 6)
    dense = graph.toarray()
    dense += BRIDGE * dense.sum(1).mean() / n
    scale = 1 / np.sqrt(dense.sum(1))
    values, vectors = np.linalg.eigh(scale[:, None] * dense * scale)
    found = waves(graph, 5, 0)
    np.testing.assert_allclose(np.abs(np.sum(found * vectors[:, ::-1][:, :5], 0)), 1.0, atol=1e-4)


def test_rules_say_what_they_should() -> None:
    codes = np.array([[0.0], [0.4], [0.9], [3.0]])
    assert Center(np.array([[0.0], [1.0]])).of(codes).tolist() == [0, 0, 1, 1]
    assert Beside(np.array([[0.0], [1.0]]), np.array([7, -1])).of(codes).tolist() == [7, 7, -1, -1]
    narrow_and_wide = Mixture(np.array([0.5, 0.5]), np.array([[0.0], [0.0]]), np.array([[[4.0]], [[0.5]]]))
    assert narrow_and_wide.of(codes).tolist() == [0, 0, 1, 1]


def test_a_mixture_predicts_as_scikit_learns_own() -> None:
    from sklearn.mixture import GaussianMixture

    codes = X[:, :3]
    own = GaussianMixture(4, reg_covar=1e-6 + 1e-3 * codes.var(0).mean(), n_init=2, max_iter=200, random_state=5)
    labels = own.fit_predict(codes)
    assert adjusted_rand_score(labels, grouped(codes, 4, "mixture", 5).of(codes)) == 1.0


@pytest.mark.slow
def test_digits_group_better_by_codes_than_by_pixels() -> None:
    digits = load_digits()
    pictures = (digits.images / 16).astype(np.float32)
    model = Autoencoder(
        16, network=Dense((256,)), variant="denoising(damage='masking')", training=Training(max_epochs=40)
    )
    ours = Clusterer(model, n_clusters=10, random_state=0).fit(pictures)
    theirs = KMeans(10, n_init=10, random_state=0).fit_predict(digits.data)
    assert adjusted_rand_score(digits.target, ours.labels_) > adjusted_rand_score(digits.target, theirs)


# ---- centres and answers


@pytest.mark.slow
def test_centres_come_in_the_form_of_the_data() -> None:
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "word": np.array(["x", "y", "z", "w"])[Y]})
    training = Training(max_epochs=100, batch_size=32, learning_rate=3e-3)
    found = Clusterer(Autoencoder(3, training=training), n_clusters=4, random_state=0).fit(frame)
    centres = found.cluster_centers_
    assert isinstance(centres, pl.DataFrame) and centres.schema == frame.schema
    for group in range(4):
        members = frame.filter(found.labels_ == group)
        assert centres["word"][group] == members["word"].mode()[0]
        assert abs(centres["a"][group] - members["a"].mean()) < 2.0
    assert isinstance(clusterer(n_clusters=4).fit(frame.to_pandas()).cluster_centers_, pd.DataFrame)


def test_the_answer_is_a_table_with_typical_members() -> None:
    found = clusterer(n_clusters=4).fit(X)
    answer = found.answer(X[:60])
    assert answer.table.columns == ["row", "cluster", "distance"]
    np.testing.assert_array_equal(answer.table["cluster"], found.predict(X[:60]))
    codes = found.autoencoder_.transform(X[:60])
    np.testing.assert_allclose(
        answer.table["distance"], np.linalg.norm(codes - found.center_codes_[answer.table["cluster"]], axis=1)
    )
    for group, members in answer.highlights.group_by("cluster"):
        inside = answer.table.filter(cluster=group[0]).sort("distance")
        assert members["row"].to_list() == inside["row"].to_list()[:3]
    assert answer.headline.startswith("60 rows in 4 groups (0: ")


# ---- the same again


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_same_after_loading_and_with_the_same_seed(method: str, tmp_path: Path) -> None:
    first, second = (clusterer(method=method).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.labels_, second.labels_)
    first.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.labels_, first.labels_)
    np.testing.assert_array_equal(loaded.predict(X + 0.5), first.predict(X + 0.5))
    np.testing.assert_array_equal(loaded.cluster_centers_, first.cluster_centers_)


# ---- four kinds of data, in Python and on the command line


def table(n: int = 90) -> pl.DataFrame:
    """Three kinds of people, with words and gaps."""
    random = np.random.default_rng(0)
    kind = np.arange(n) % 3
    frame = pl.DataFrame(
        {
            "height": random.normal(0, 1, n) + 6 * kind,
            "weight": random.normal(0, 1, n) - 5 * kind,
            "coat": np.array(["red", "green", "blue"])[kind],
            "member": kind == 1,
        }
    )
    gone = random.random((n, 4)) < 0.05
    return frame.with_columns(
        pl.when(pl.Series(gone[:, place])).then(None).otherwise(pl.col(name)).alias(name)
        for place, name in enumerate(frame.columns)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "polars", "pandas", "grey", "folder"])
def test_every_kind_of_data(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", colours(90)) if kind == "folder" else None
    grey = np.stack([picture[:12, :12, 0] for picture in colours(90)])
    given = {
        "numbers": table().select("height", "weight").fill_null(0.0).to_numpy(),
        "polars": table(),
        "pandas": table().to_pandas(),
        "grey": grey,
        "folder": str(folder),
    }[kind]
    training = Training(max_epochs=60, batch_size=16, learning_rate=3e-3)
    model = Autoencoder(3, network=Dense((32,)), training=training)
    wanted = 2 if kind == "grey" else 3
    found = Clusterer(model, n_clusters=wanted, random_state=0).fit(given)
    truth = np.arange(90) % 3
    assert adjusted_rand_score(truth == 0 if kind == "grey" else truth, found.labels_) > 0.8
    centres = found.cluster_centers_
    assert len(centres) == wanted
    if kind == "folder":
        assert found.answer(given).table["file"].to_list() == [f"{place:03d}.png" for place in range(90)]
        assert [one.shape for one in centres] == [(16, 16, 3)] * 3  # both sizes were brought to one
    else:
        assert type(centres) is type(given)


def run(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli, list(words))


@pytest.mark.slow
def test_the_command_line_groups_tables_and_folders(tmp_path: Path) -> None:
    table().write_csv(tmp_path / "table.csv")
    write(tmp_path / "photos", colours(45))
    quick = ("--max-epochs", "15", "--seed", "0", "--n-clusters", "3", "--n-components", "3")
    for data in ("table.csv", "photos"):
        model, out = str(tmp_path / "m.safetensors"), tmp_path / f"{data}.out.csv"
        fitted = run("fit", str(tmp_path / data), "--for", "cluster", "-o", model, *quick)
        assert fitted.exit_code == 0, fitted.stderr
        done = run("cluster", model, str(tmp_path / data), "-o", str(out))
        assert done.exit_code == 0, done.stderr
        assert pl.read_csv(out)["cluster"].n_unique() == 3
        assert "in 3 groups (0: " in done.stderr


# ---- refusals


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "median"}, "method is 'median'; it must be one of auto, kmeans, mixture, graph, density."),
        ({"n_clusters": 0}, "n_clusters is 0; it must be a whole number of at least 1, or 'auto'."),
        ({"n_clusters": "many"}, "n_clusters is 'many'; it must be a whole number"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        clusterer(**settings).fit(X)
    assert words in str(caught.value)


def test_what_cannot_be_grouped_is_refused() -> None:
    with pytest.raises(DataError, match="n_clusters is 9, and there are 6 samples; give more, or ask for fewer"):
        clusterer(n_clusters=9).fit(X[:6])
    pictures = colours(12)
    whole = Autoencoder(4, network=Conv((4,), skips=True), training=QUICK)
    with pytest.raises(SettingError, match="a U-Net"):
        Clusterer(whole).fit(np.stack(pictures[::2]))
    grid = Autoencoder(2, network=Conv((4, 8), code="grid"), data_type=Images(patch=8), training=Training(max_epochs=1))
    with pytest.raises(DataError, match="codes have several lengths and cannot be compared; fit with one size"):
        Clusterer(grid).fit(pictures)


def test_few_samples_and_equal_ones_are_grouped_all_the_same() -> None:
    assert clusterer().fit(X[:3]).labels_.max() <= 2
    equal = np.ones((30, 3))
    same = clusterer().fit(equal)
    assert same.labels_.tolist() == [0] * 30
    assert same.answer(equal).table["distance"].to_list() == pytest.approx([0.0] * 30, abs=1e-9)
