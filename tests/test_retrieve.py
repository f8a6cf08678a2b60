"""The Retriever: the nearest by brute force, among numbers, bits and pictures; the index can be changed and moved."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from isthmus import Autoencoder, Retriever, Training, load
from isthmus.errors import DataError, MissingExtraError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv, Dense
from isthmus.tasks._search import ByBits, ByFaiss, ByNumbers, without_itself
from isthmus.tasks._sheet import GAP, TILE

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
DIGITS = (load_digits().images / 16).astype(np.float32)
QUICK = Training(max_epochs=5, batch_size=32)
FAISS = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")


def retriever(size: int = 4, variant: Any = (), **settings: Any) -> Retriever:
    model = Autoencoder(size, variant=variant, training=QUICK)
    return Retriever(model, **({"random_state": 0} | settings))


def numbers(n: int = 80, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, 6)) @ np.random.default_rng(9).normal(size=(6, 8))


def brute(items: NDArray[Any], queries: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """All distances, sorted, the first of equal ones first."""
    distances = np.sqrt(np.square(queries[:, None].astype(float) - items[None].astype(float)).sum(2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


# ---- the search


def test_numbers_are_found_as_by_brute_force() -> None:
    random = np.random.default_rng(0)
    items, queries = (random.normal(size=(n, 5)).astype(np.float32) for n in (300, 40))
    for found, expected in zip(ByNumbers(items).nearest(queries, 7), brute(items, queries, 7), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("width", [3, 64, 70])
def test_bits_are_found_as_by_brute_force(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.tasks._search.AT_ONCE", 1000)  # several chunks
    random = np.random.default_rng(0)
    items, queries = (random.random((n, width)) < 0.5 for n in (300, 40))
    distances, places = ByBits(np.packbits(items, axis=1)).nearest(np.packbits(queries, axis=1), 9)
    expected, order = brute(items, queries, 9)
    np.testing.assert_array_equal(distances, np.square(expected).round())
    np.testing.assert_array_equal(places, order)


@pytest.mark.slow
@FAISS
@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize("n", [500, 12_000])
def test_faiss_finds_nearly_all_of_them(n: int, bits: bool) -> None:
    random = np.random.default_rng(0)
    middles = random.normal(size=(40, 32))
    codes = (middles[random.integers(40, size=n + 50)] + 0.5 * random.normal(size=(n + 50, 32))).astype(np.float32)
    stored = np.packbits(codes > 0, axis=1) if bits else codes
    plain: Any = ByBits if bits else ByNumbers
    distances, _ = plain(stored[:n]).nearest(stored[n:], 10)
    found, places = ByFaiss(stored[:n]).nearest(stored[n:], 10)
    share = (found <= distances[:, -1:] + 1e-3).mean()  # equally near ones are as good
    assert share == 1.0 if n == 500 else share > 0.9
    again, same = ByFaiss(stored[:n]).nearest(stored[n:], 10)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(same, places)


def test_faiss_that_is_not_there_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.tasks._search.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"search='faiss' needs the retrieval extra: pip install 'isthmus\[ret"):
        retriever(search="faiss").fit(numbers())


def test_an_item_is_none_of_its_own_neighbours() -> None:
    places = np.array([[0, 1, 2], [2, 1, 0], [0, 1, 3], [3, 0, 1]])  # the third is one of many equal ones
    assert without_itself(places / 10, places)[1].tolist() == [[1, 2], [2, 0], [0, 1], [0, 1]]


# ---- the task


@pytest.mark.parametrize("variant", [(), "binary", "binary(signs=False)"])
def test_neighbours_are_those_of_the_codes(variant: Any) -> None:
    X, new = numbers(), numbers(20, seed=1)
    model = retriever(20, variant).fit(X)
    codes, asked = (model.autoencoder_.transform(one) for one in (X, new))
    expected, order = brute(codes, asked, 6)
    distances, places = model.kneighbors(new, 6)
    if variant:
        step = np.ptp(codes)
        expected = np.square(expected / step).round()
        np.testing.assert_array_equal(places, order)
        assert model.codes_.dtype == np.uint8 and model.codes_.shape == (80, 3)
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    np.testing.assert_array_equal(model.query(new, 6), places)
    np.testing.assert_array_equal(model.kneighbors(new, 6, return_distance=False), places)


def test_angles_are_measured_at_the_mean_code() -> None:
    X, new = numbers(), numbers(20, seed=1)
    model = retriever(6, metric="cosine").fit(X)
    codes, asked = (model.autoencoder_.transform(one) for one in (X, new))
    middle = codes.mean(0)
    codes, asked = ((one - middle) / np.linalg.norm(one - middle, axis=1, keepdims=True) for one in (codes, asked))
    distances, places = model.kneighbors(new, 80)
    np.testing.assert_allclose(distances, 1 - np.take_along_axis(asked @ codes.T, places, 1), atol=1e-5)
    pictures = DIGITS[:60]
    network = Conv((4,))
    by_itself, asked_for = (
        Retriever(Autoencoder(4, network=network, training=QUICK), metric=metric, random_state=0).fit(pictures)
        for metric in ("auto", "cosine")
    )
    np.testing.assert_array_equal(by_itself.query(DIGITS[60:90]), asked_for.query(DIGITS[60:90]))


def test_without_data_items_are_looked_up_among_the_others() -> None:
    X = np.concatenate([numbers(), numbers()[:10]])  # ten of them twice
    model = retriever().fit(X)
    distances, places = model.kneighbors(n_neighbors=3)
    assert (places != np.arange(90)[:, None]).all()
    assert places[80:, 0].tolist() == list(range(10)) and places[:10, 0].tolist() == list(range(80, 90))
    np.testing.assert_allclose(distances[80:, 0], 0.0, atol=1e-3)


@pytest.mark.slow
def test_digits_find_their_like() -> None:
    """On these 64 pixels the pixels themselves do better, 0.93 of ten; chance is 0.1."""
    y, old, new = load_digits().target, DIGITS[:1400], DIGITS[1400:]
    for variant, least in (([], 0.85), (["binary"], 0.65)):
        model = Autoencoder(32, network=Dense((256,)), variant=["denoising(damage='masking')", *variant])
        model.set_params(training=Training(max_epochs=30, batch_size=32, learning_rate=2e-3))
        found = Retriever(model, random_state=0).fit(old).query(new, 10)
        assert (y[:1400][found] == y[1400:, None]).mean() > least, variant


@pytest.mark.slow
def test_the_index_can_be_replaced_and_added_to_without_training() -> None:
    X, new = numbers(), numbers(30, seed=1)
    model = retriever().fit(X)
    module, before = model.autoencoder_.module_, model.kneighbors(new, 2)[1]
    model.add(new)
    assert model.n_items_ == 110 and model.autoencoder_.module_ is module
    assert model.query(new, 1)[:, 0].tolist() == list(range(80, 110))
    np.testing.assert_array_equal(model.query(X[:5], 1)[:, 0], np.arange(5))
    model.index(X)
    np.testing.assert_array_equal(model.query(new, 2), before)
    model.index(new, names=[f"item {place}" for place in range(30)])
    assert model.answer(new[:2], 1).table["item 1"].to_list() == ["item 0", "item 1"]
    with pytest.raises(DataError, match="the samples in the index have names, and the new ones none"):
        model.add(X)
    with pytest.raises(DataError, match="there are 80 samples and 1 names; give one name for each"):
        model.add(X, ["alone"])


@pytest.mark.parametrize("variant", [(), "binary"])
def test_the_same_after_loading_and_with_the_same_seed(variant: Any, tmp_path: Path) -> None:
    X, new = numbers(), numbers(20, seed=1)
    first, second = (retriever(variant=variant).fit(X) for _ in range(2))
    first.add(new)
    second.add(new).save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    for one, other in zip(first.kneighbors(new, 3), loaded.kneighbors(new, 3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.names_ == first.names_


def test_words_and_gaps_are_looked_up_too() -> None:
    frame = pl.DataFrame({"size": [1.0, 2.0, None, 40.0] * 20, "word": ["small", "small", "large", None] * 20})
    for given in (frame, frame.to_pandas()):
        model = retriever(2).fit(given)
        answer = model.answer(given[:4], n_neighbors=2)
        assert answer.table.columns == ["row", "row 1", "distance 1", "row 2", "distance 2"]
        assert [place % 4 for place in answer.table["row 1"]] == [0, 1, 2, 3]
        assert answer.headline == "Looked for 4 rows among 80 rows; distances are Euclidean, between codes."


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_neighbors": 0}, "n_neighbors is 0; it must be a whole number of at least 1."),
        ({"search": "quick"}, "search is 'quick'; it must be one of exact, faiss."),
    ],
)
def test_a_wrong_setting_gets_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        retriever(**settings).fit(numbers())
    assert words in str(caught.value)


def test_more_neighbours_than_items_are_refused() -> None:
    model = retriever().fit(numbers(3))
    assert model.query(numbers(2)).shape == (2, 3)  # of the five that are the setting
    with pytest.raises(SettingError, match="n_neighbors is 4, and there are 3 items in the index; ask for fewer"):
        model.query(numbers(2), 4)
    with pytest.raises(SettingError, match="n_neighbors is 3, and there are 2 other items in the index"):
        model.kneighbors(n_neighbors=3)


# ---- pictures: files, sheets, the command line


def colour(place: int) -> NDArray[np.uint8]:
    """Red, green or blue, with noise, of one of two sizes."""
    random = np.random.default_rng(place)
    picture = random.integers(0, 60, (12, 16, 3) if place % 2 else (16, 12, 3))
    picture[..., place % 3] += 180
    return picture.astype(np.uint8)


def write(folder: Path, places: range) -> Path:
    (folder / "deep").mkdir(parents=True)
    for place in places:
        Image.fromarray(colour(place)).save(folder / ("deep" if place % 2 else "") / f"{place:03d}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("album") / "photos", range(45))


@pytest.fixture(scope="module")
def of_photos(photos: Path) -> Retriever:
    training = Training(max_epochs=20, batch_size=16, learning_rate=3e-3)
    return Retriever(Autoencoder(4, network=Conv((4, 8)), training=training), random_state=0).fit(str(photos))


def width(sheet: Path) -> int:
    with Image.open(sheet) as image:
        return int(image.size[0])


def tile(sheet: Path, column: int) -> NDArray[np.float64]:
    """The mean colour in the middle of one tile of the first row of a sheet."""
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=float)
    left = GAP + column * (TILE + GAP) + (GAP if column else 0) + TILE // 2
    top = GAP + TILE // 2
    middle: NDArray[np.float64] = pixels[top - 10 : top + 10, left - 10 : left + 10].mean((0, 1))
    return middle


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_sheet_shows_the_query_and_its_like(of_photos: Retriever, tmp_path: Path, ending: str) -> None:
    Image.fromarray(colour(100)).save(tmp_path / "new.png")  # green
    sheet = of_photos.contact_sheet(str(tmp_path / "new.png"), tmp_path / f"sheet.{ending}", 4)
    assert width(sheet) == 5 * (TILE + GAP) + 2 * GAP
    for column in range(5):
        assert tile(sheet, column).argmax() == 1, column


def test_pictures_that_lie_in_no_files_are_shown_where_they_are_given(tmp_path: Path) -> None:
    pictures = DIGITS[:40]
    model = Retriever(Autoencoder(4, network=Conv((4,)), training=QUICK), random_state=0).fit(pictures)
    with pytest.raises(DataError, match="the indexed pictures lie in no files; give them as `pictures`"):
        model.contact_sheet(pictures[:2], tmp_path / "s.png")
    sheet = model.contact_sheet(pictures[:2], tmp_path / "s.png", 3, pictures=pictures)
    first, second = (tile(sheet, column) for column in range(2))
    np.testing.assert_array_equal(first, second)  # the nearest is the picture itself
    with pytest.raises(DataError, match="pictures holds 3, and the index 40"):
        model.contact_sheet(pictures[:2], tmp_path / "s.png", pictures=pictures[:3])


@pytest.mark.slow
def test_a_moved_folder_is_said_and_found_again(of_photos: Retriever, photos: Path, tmp_path: Path) -> None:
    of_photos.save(tmp_path / "m.safetensors")
    query = tmp_path / "new.png"
    Image.fromarray(colour(100)).save(query)
    here = write(tmp_path / "first", range(30))
    moved = load(tmp_path / "m.safetensors").index(str(here))
    here.rename(tmp_path / "second")
    assert moved.query(str(query)).shape == (1, 5)  # a table needs no files
    with pytest.raises(DataError, match="the indexed pictures are not to be found: there is no .*first.*; if they wer"):
        moved.contact_sheet(str(query), tmp_path / "sheet.png")
    sheet = moved.contact_sheet(str(query), tmp_path / "sheet.png", folder=str(tmp_path / "second"))
    assert tile(sheet, 1).argmax() == 1
    nearest = moved.names_[moved.query(str(query))[0, 0]]
    (tmp_path / "second" / nearest).unlink()  # one that is gone leaves an empty frame
    sheet = moved.contact_sheet(str(query), tmp_path / "sheet.png", folder=str(tmp_path / "second"))
    assert tile(sheet, 1).min() > 150 and tile(sheet, 2).argmax() == 1


def test_tables_have_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a contact sheet shows pictures, and this model is for tables; `answer` gives"):
        retriever().fit(numbers()).contact_sheet(numbers(2), tmp_path / "sheet.png")
    with pytest.raises(SettingError, match=r"'sheet.gif' ends in none of .png, .jpg, .jpeg"):
        retriever().fit(numbers()).contact_sheet(numbers(2), "sheet.gif")


def run(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli, list(words))


@pytest.mark.slow
def test_the_command_line_fits_indexes_and_answers(photos: Path, tmp_path: Path) -> None:
    model, sheet, query = (str(tmp_path / name) for name in ("m.safetensors", "sheet.png", "new.png"))
    Image.fromarray(colour(101)).save(query)  # blue
    quick = ("--max-epochs", "10", "--n-components", "4", "--seed", "0", "--network", "conv(channels=(4,8))")
    assert run("fit", str(photos), "--for", "retrieve", "-o", model, *quick).exit_code == 0
    for verb in ("retrieve", "query"):
        done = run(verb, model, query, "--json")
        found = json.loads(done.stdout)
        assert done.exit_code == 0 and found["file"] == "new.png"
        assert all(int(Path(found[f"item {rank}"]).stem) % 3 == 2 for rank in (1, 2))
    drawn = run("query", model, query, "-n", "3", "-o", sheet)
    assert drawn.exit_code == 0 and width(Path(sheet)) == 4 * (TILE + GAP) + 2 * GAP
    more = write(tmp_path / "more", range(100, 110))
    added = run("index", model, str(more), "--add")
    assert added.exit_code == 0 and "55 pictures in the index; saved" in added.stderr
    assert json.loads(run("query", model, query, "--json").stdout)["item 1"] == "deep/101.png"
    other = str(tmp_path / "other.safetensors")
    assert run("index", model, str(more), "-o", other).exit_code == 0
    assert (load(other).n_items_, load(model).n_items_) == (10, 55)


def test_the_command_line_looks_up_rows(tmp_path: Path) -> None:
    rows, model, near = (str(tmp_path / name) for name in ("rows.csv", "m.safetensors", "near.csv"))
    pl.DataFrame(numbers(), schema=[f"c{place}" for place in range(8)]).write_csv(rows)
    assert run("fit", rows, "--for", "retrieve", "-o", model, "--max-epochs", "3", "--seed", "0").exit_code == 0
    assert run("query", model, rows, "-n", "2", "-o", near).exit_code == 0
    assert pl.read_csv(near)["row 1"].to_list() == list(range(80))
    for words, said in (
        (("query", model, rows, "-o", str(tmp_path / "s.png")), "a picture, and"),
        (("query", model, rows, "--folder", "x"), "--folder says where to find pictures for a contact sheet"),
        (("query", model, rows, "-o", "x.csv", "--json"), "give one of them"),
        (("index", model, str(tmp_path / "gone.csv")), "does not exist"),
        (("query", model, rows, "-n", "81"), "there are 80 items in the index; ask for fewer"),
    ):
        done = run(*words)
        assert done.exit_code == 2 and said in done.stderr, (words, done.stderr)
