"""Maps of codes as files, and principal components with the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from isthmus import Autoencoder, Clusterer, Training
from isthmus.errors import DataError, SettingError
from isthmus.evaluation import principal_components
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv
from isthmus.report import map_of
from isthmus.report.figures import STAND_INS

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
QUICK = Training(max_epochs=10)


@pytest.fixture(scope="module")
def iris() -> pl.DataFrame:
    found = load_iris()
    columns = {name.replace(" (cm)", ""): found.data[:, place] for place, name in enumerate(found.feature_names)}
    return pl.DataFrame(columns | {"species": found.target_names[found.target].astype(str)})


@pytest.fixture(scope="module")
def model(iris: pl.DataFrame) -> Autoencoder:
    return Autoencoder(3, training=QUICK, random_state=0).fit(iris.drop("species"))


# ---- maps


def test_a_code_of_two_numbers_is_its_own_map(iris: pl.DataFrame) -> None:
    X = iris.drop("species")
    model = Autoencoder(2, training=QUICK, random_state=0).fit(X)
    drawn = map_of(model, X)
    np.testing.assert_allclose(drawn.table.select("x", "y"), model.transform(X), rtol=1e-4, atol=1e-5)


def test_longer_codes_come_by_pca_and_components_of_the_scaled_data_stand_beside(
    model: Autoencoder, iris: pl.DataFrame
) -> None:
    X = iris.drop("species")
    drawn = map_of(model, iris, "species")
    codes, scaled = model.transform(X), model.data_.batch(model.data_.open(X), slice(None)).x.numpy()
    for points, of in ((drawn.table.select("x", "y"), codes), (drawn.table[:, -3:-1], scaled)):
        expected = PCA(2, random_state=0).fit_transform(of)
        np.testing.assert_allclose(np.abs(points.to_numpy()), np.abs(expected), atol=1e-3)
    assert drawn.table["species"].to_list() == iris["species"].to_list()
    trust = trustworthiness(scaled, drawn.components.points, n_neighbors=12)
    assert drawn.components.trust == pytest.approx(trust, abs=1e-3)


def test_tsne_is_scikit_learns_and_keeps_neighbours(model: Autoencoder, iris: pl.DataFrame) -> None:
    X = iris.drop("species")
    drawn = map_of(model, X, method="tsne")
    assert drawn.code.axes == ("t-SNE 1", "t-SNE 2")
    assert trustworthiness(model.transform(X), drawn.code.points, n_neighbors=12) > 0.97


def test_drawings_show_every_group_in_its_colour(model: Autoencoder, iris: pl.DataFrame, tmp_path: Path) -> None:
    drawn = map_of(model, iris, "species")
    page = drawn.write(tmp_path / "map.html").read_text(encoding="utf-8")
    for word in ("setosa (50)", "versicolor (50)", "virginica (50)", "Trustworthiness 0.9"):
        assert word in page
    assert page.count('<figure class="drawing">') == 2
    with Image.open(drawn.write(tmp_path / "map.png")) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert pixels.max(0).tolist() == [255, 255, 255]
    dark = {tuple(int(tone[i : i + 2], 16) for i in (1, 3, 5)) for tone in STAND_INS.values()}
    assert not dark & set(map(tuple, pixels[pixels.max(1) < 60].tolist()))  # no stand-in is left
    hues = pixels[np.ptp(pixels, axis=1) > 40].argmax(1)  # blue, orange and green marks
    assert set(np.unique(hues)) == {0, 1, 2}
    table = pl.read_csv(drawn.write(tmp_path / "map.csv"))
    assert table.columns == ["row", "x", "y", "component 1", "component 2", "species"]
    with pytest.raises(SettingError, match=r"a map is written as .png, .html, .csv, and 'map.gif' ends in none"):
        drawn.write("map.gif")


def test_groups_of_a_clusterer_colour_its_map(iris: pl.DataFrame) -> None:
    X = iris.drop("species")
    found = Clusterer(Autoencoder(3, training=QUICK), n_clusters=3, random_state=0).fit(X)
    drawn = map_of(found, X)
    assert drawn.by == "group"
    assert drawn.table["group"].to_list() == [str(label) for label in found.labels_]


def test_pictures_stand_on_the_map_with_the_names_of_their_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for place in range(20):
        pixels = random.integers(0, 255, (9, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{place:02d}.png")
    photos = str(tmp_path / "photos")
    drawn = map_of(Autoencoder(2, network=Conv((4,)), training=QUICK, random_state=0).fit(photos), photos)
    assert drawn.table["file"].to_list() == [f"{place:02d}.png" for place in range(20)]
    assert "<image" in drawn.write(tmp_path / "map.html").read_text(encoding="utf-8")


def test_the_command_line_draws_maps(model: Autoencoder, iris: pl.DataFrame, tmp_path: Path) -> None:
    data, fitted = str(tmp_path / "iris.csv"), str(tmp_path / "m.safetensors")
    iris.write_csv(data)
    model.save(fitted)

    def run(*words: str) -> Any:
        return CliRunner(env={"COLUMNS": "100"}).invoke(cli, ["map", fitted, data, *words])

    for ending in ("png", "html", "csv"):
        out = tmp_path / f"map.{ending}"
        done = run("--colour", "species", "-o", str(out))
        assert done.exit_code == 0 and out.stat().st_size > 1000, done.stderr
        assert f"wrote {out}" in done.stderr
    for words, said in (
        (("-o", "map.gif"), "-o is 'map.gif'; the name of a map ends in .png, .html, .csv."),
        (("-o", data), "-o is "),
        (("-o", str(tmp_path / "x.png"), "--colour", "kind"), "colour is 'kind', which is no column of X"),
        (("-o", str(tmp_path / "x.png"), "--method", "umap"), "--method is 'umap'"),
    ):
        done = run(*words)
        assert done.exit_code == 2 and said in done.stderr, done.stderr


def test_what_cannot_be_drawn_is_refused(model: Autoencoder, iris: pl.DataFrame) -> None:
    with pytest.raises(SettingError, match="method is 'umap'; it must be one of auto, pca, tsne"):
        map_of(model, iris, method="umap")
    with pytest.raises(DataError, match="a map needs at least two samples"):
        map_of(model, iris.drop("species")[:1])


# ---- principal components and the way back


def test_variables_come_back_from_scores_axes_and_mean(model: Autoencoder, iris: pl.DataFrame) -> None:
    """Row by row as scikit-learn's inverse_transform on the scaled data, in the units of the data."""
    X = iris.drop("species")
    found = principal_components(model, X, 4)
    np.testing.assert_allclose(found.rebuild().to_numpy(), X.to_numpy(), atol=1e-9)
    scaled = (X.to_numpy() - X.to_numpy().mean(0)) / X.to_numpy().std(0)
    for k in (1, 2, 3):
        fitted = PCA(k).fit(scaled)
        expected = fitted.inverse_transform(fitted.transform(scaled)) * X.to_numpy().std(0) + X.to_numpy().mean(0)
        back = found.rebuild(k)
        assert isinstance(back, pl.DataFrame) and back.columns == X.columns
        np.testing.assert_allclose(back.to_numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(found.transform(X[:9]), found.scores[:9], atol=1e-9)
    np.testing.assert_allclose(found.rebuild(2, found.transform(X[:9])).to_numpy(), found.rebuild(2)[:9].to_numpy())
    assert found.shares.sum() == pytest.approx(1.0)


def test_axes_are_named_after_columns_and_levels() -> None:
    frame = pl.DataFrame({"size": [1.0, 2.0, 3.0, 9.0] * 20, "word": ["a", "b", "a", "a"] * 20})
    model = Autoencoder(2, training=QUICK, random_state=0).fit(frame)
    found = principal_components(model, frame, 2)
    assert found.table()["element"].to_list()[:3] == ["size", "word=a", "word=b"]
    assert found.rebuild()["word"].to_list() == frame["word"].to_list()


def test_as_many_as_the_code_has_numbers_and_never_more_than_there_are(model: Autoencoder, iris: pl.DataFrame) -> None:
    X = iris.drop("species")
    assert principal_components(model, X).scores.shape == (150, 3)
    with pytest.raises(SettingError, match="n_components is 5; it must be from 1 to 4 for these data"):
        principal_components(model, X, 5)
    with pytest.raises(SettingError, match="n_components is 4; it must be from 1 to 3, as many as were found"):
        principal_components(model, X).rebuild(4)
