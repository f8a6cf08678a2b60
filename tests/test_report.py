"""The report and the curves: what stands on the page is true, safe, and can be read by everybody."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

import isthmus
from isthmus import AnomalyDetector, Autoencoder, Training, load
from isthmus.data import Tables
from isthmus.errors import DataError, MissingExtraError, SettingError, StorageError
from isthmus.interfaces.cli import cli
from isthmus.report import LiveCurves, plot_history, report
from isthmus.report.figures import STAND_INS, TONES, style
from isthmus.report.readings import Readings
from isthmus.report.shown import pca_curve
from isthmus.training.history import Epoch, History
from isthmus.training.progress import ProgressBar, curves
from isthmus.training.watch import EpochReport

EVIL = "<script>alert('column')</script>"
WORSE = '"><img src=x onerror=alert(1)> $x_1$ &amp; \x00 \x1b[31m'
QUICK = Training(max_epochs=8)
FOLDER = Path(isthmus.__file__).parent / "report"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")]


def table(n: int = 120, seed: int = 0) -> pl.DataFrame:
    """Numbers that hang together, words, gaps and a key; its names and words would be code on a careless page."""
    random = np.random.default_rng(seed)
    height = random.normal(size=n)
    return pl.DataFrame(
        {
            "height": height,
            "double": [None if i % 17 == 3 else 2 * value for i, value in enumerate(height)],
            EVIL: height + 0.1 * random.normal(size=n),
            "size": [WORSE if value > 0 else "small" for value in height],
            "key": [f"k{i:04}" for i in range(n)],
        }
    )


@pytest.fixture(scope="module")
def X() -> pl.DataFrame:
    frame = table()
    frame[7, "double"] = -30.0
    return frame


@pytest.fixture(scope="module")
def plain(X: pl.DataFrame) -> Autoencoder:
    return Autoencoder(2, variant="variational", training=QUICK, random_state=0).fit(X)


@pytest.fixture(scope="module")
def detector(X: pl.DataFrame) -> AnomalyDetector:
    return AnomalyDetector(Autoencoder(2, training=QUICK), contamination=0.05, random_state=0).fit(X)


@pytest.fixture(scope="module")
def pictures() -> Any:
    """Bars at eight places, as pictures, and a model of them."""
    pytest.importorskip("isthmus.data.images", reason="there is no data type for pictures")
    random = np.random.default_rng(0)
    bars = np.zeros((80, 9, 8), dtype=np.uint8)
    bars[np.arange(80), :, random.integers(0, 8, 80)] = 200
    return bars, Autoencoder(2, network="dense", data_type="images", training=QUICK, random_state=0).fit(bars)


def written(model: Any, folder: Path, *arguments: Any, **settings: Any) -> str:
    return report(model, folder / "r.html", *arguments, **settings).read_text(encoding="utf-8")


def tree(page: str) -> Any:
    """The page as a strict reader of HTML understands it; any error of form is one of ours."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page)


def words(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def spaced(element: Any) -> str:
    """The same with a space between what stands in two elements."""
    return " ".join(" ".join(element.itertext()).split())


def section(page: str, name: str) -> Any:
    return next(found for found in tree(page).iter("section") if found.get("id") == name)


# ---- the page


@pytest.fixture(scope="module", params=["plain", "detector", "bare", "pictures", "odd pictures"])
def page(request: pytest.FixtureRequest, X: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    if request.param == "pictures":
        samples, model = request.getfixturevalue("pictures")
        return written(model, folder, samples)
    if request.param == "odd pictures":
        samples, model = request.getfixturevalue("pictures")
        return written(AnomalyDetector(model, contamination=0.05).fit(samples), folder, samples)
    if request.param == "bare":
        return written(request.getfixturevalue("plain"), folder)
    return written(request.getfixturevalue(request.param), folder, X, title=f"All about {EVIL} {WORSE}")


def test_it_is_valid_and_has_its_landmarks(page: str) -> None:
    root = tree(page)
    assert root.get("lang") == "en"
    assert [len(list(root.iter(name))) for name in ("title", "header", "main", "footer", "nav", "h1")] == [1] * 6
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names)), "two elements have one name"
    for link in root.iter("a"):
        assert link.get("href")[1:] in names, "a link leads nowhere"
    first = next(root.iter("a"))
    assert "skip" in first.get("class") and first.get("href") == f"#{next(root.iter('main')).get('id')}"


def test_headings_come_in_order(page: str) -> None:
    levels = [int(element.tag[1]) for element in tree(page).iter() if re.fullmatch("h[1-6]", str(element.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_tables_and_pictures_can_be_heard(page: str) -> None:
    root = tree(page)
    for found in root.iter("table"):
        assert words(next(found.iter("caption")))
        for head in found.iter("th"):
            assert head.get("scope") in ("col", "row", "colgroup") and words(head)
        assert all(next(row.iter("th")).get("scope") == "row" for row in next(found.iter("tbody")).iter("tr"))
    for box in (element for element in root.iter("div") if element.get("class") == "scroll"):
        named = box.get("aria-label") or box.get("aria-labelledby")
        assert named and box.get("role") == "region" and box.get("tabindex") == "0"
    drawings = [element for element in root.iter() if str(element.tag).endswith("svg")]
    assert drawings
    for drawing in drawings:
        assert drawing.get("aria-hidden") == "true" or len(drawing.get("aria-label")) > 30
    for figure in root.iter("figure"):
        assert words(next(figure.iter("figcaption")))
    for image in root.iter("img"):
        assert image.get("alt") is not None


def test_nothing_comes_from_elsewhere_and_nothing_runs(page: str) -> None:
    root = tree(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {str(one.tag) for one in root.iter()}
    for element in root.iter():
        for name, value in element.attrib.items():
            name = name[-1] if isinstance(name, tuple) else name
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert value.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,")), value[:80]
            assert not re.search(r"url\((?!#)", value)
    sheet = words(next(root.iter("style")))
    assert "url(" not in sheet and "@import" not in sheet
    policy = next(one.get("content") for one in root.iter("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'") and "script" not in policy


def test_every_colour_is_one_of_the_page(page: str) -> None:
    assert not any(colour in page for colour in STAND_INS.values())
    body = page.partition("</style>")[2]
    drawn = set(re.findall(r"(?:fill|stroke): ?(#\w+|rgb[^;\"]*|black|white)", body))
    assert not drawn, f"these would not change in the dark: {drawn}"


def test_names_and_words_are_text(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    page = written(plain, tmp_path, X, title=f"Of {EVIL} \ud800")
    assert "<script>" not in page and "<img" not in page and "\x00" not in page and "\x1b" not in page
    root = tree(page)
    assert words(next(root.iter("h1"))) == f"Of {EVIL} \\ud800"
    heads = [words(head) for head in section(page, "samples").iter("th")]
    assert EVIL in heads
    shown = words(section(page, "map"))
    assert '"><img src=x onerror=alert(1)> $x_1$ &a… (' in shown, "a word of the legend as it is, cut off"
    kept = words(section(page, "data"))
    assert '"><img src=x onerror=alert(1' in kept and "key" in kept


def test_characters_of_all_scripts_are_welcome(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"身長": random.normal(size=60), "😀 $x$ ~": random.normal(size=60), "лит": ["α", "β"] * 30})
    page = written(Autoencoder(1, training=QUICK, random_state=0).fit(frame), tmp_path, frame)
    assert all(name in words(tree(page)) for name in (*frame.columns, "α"))


# ---- what it says is so


def test_it_says_what_was_learned_from(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    page = written(plain, tmp_path, X[:40])
    said = words(section(page, "data"))
    missing = X["double"].null_count()
    assert "from 120 rows of 5 columns: 3 numbers, 1 categorical column and 1 column left out." in said
    assert f"{missing} cells were missing ({100 * missing / (4 * 120):.1f} %)." in said
    assert "yes or no" not in said and "almost every value is different" in said
    assert "40 rows shown here" in words(next(tree(page).iter("header")))


def test_the_curves_are_the_history(plain: Autoencoder, tmp_path: Path) -> None:
    page = written(plain, tmp_path)
    found = section(page, "training")
    titles = [words(one) for one in found.iter() if str(one.tag).endswith("text")]
    assert {"loss", "distortion", "rate", "epoch"} <= set(titles)
    rows = [[words(cell) for cell in row] for row in list(found.iter("tbody"))[-1]]
    losses = plain.history_["loss"]
    assert [row[0] for row in rows] == [str(n) for n in range(1, len(losses) + 1)]
    assert [float(row[1].replace("−", "-")) for row in rows] == pytest.approx(losses, rel=1e-3)
    assert plain.history_.ended in words(found)


def test_a_detectors_odd_rows_and_threshold_are_its_own(
    X: pl.DataFrame, detector: AnomalyDetector, tmp_path: Path
) -> None:
    page = written(detector, tmp_path, X)
    odd = int((detector.predict(X) == -1).sum())
    answer = detector.answer(X)
    assert odd > 0 and f"{odd} of 120 rows are odd" in words(section(page, "oddest"))
    rows = list(next(section(page, "oddest").iter("tbody")))
    assert [int(words(row[0])) for row in rows] == answer.highlights["row"].to_list()
    assert words(rows[0][0]) == "7" and "double = -30 (expected" in words(rows[0][3])
    assert f"The threshold stands at {detector.threshold_:.4g}: {odd} rows above it" in words(section(page, "errors"))
    assert f"odd ({odd})" in words(section(page, "map"))


def test_without_data_a_detector_still_shows_its_training_errors(detector: AnomalyDetector, tmp_path: Path) -> None:
    page = written(detector, tmp_path)
    above = int((detector.decision_scores_ > detector.threshold_).sum())
    assert f"{above} rows above it" in words(section(page, "errors"))
    assert not {"map", "samples", "pca", "oddest"} & {one.get("id") for one in tree(page).iter("section")}


def test_inputs_and_what_came_back(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    """The cells are the data and what `reconstruct` gives; what is off by half a standard deviation is marked."""
    found = section(written(plain, tmp_path, X), "samples")
    heads, lines = list(next(found.iter("thead")))[0], list(next(found.iter("tbody")))
    rows = [int(match) for match in re.findall(r"row (\d+)", words(heads))]
    assert len(rows) == 3
    back = plain.reconstruct(X)
    line = next(line for line in lines if words(line[0]) == "height")
    near = 0.01 * X["height"].std(ddof=0)  # cells are written to a hundredth of the column's spread
    for place, row in enumerate(rows):
        given, came = (words(line[1 + 2 * place + k]) for k in (0, 1))
        assert float(given.replace("−", "-")) == pytest.approx(X[row, "height"], abs=near)
        number = float(came.removeprefix("≠ differs: ").replace("−", "-"))
        assert number == pytest.approx(back[row, "height"], abs=near)
        off = abs(X[row, "height"] - back[row, "height"]) > 0.5 * X["height"].std(ddof=0)
        assert came.startswith("≠ differs: ") == off


def test_a_gap_is_called_missing(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    found = section(written(plain, tmp_path, X[3:4]), "samples")
    line = next(line for line in next(found.iter("tbody")) if words(line[0]) == "double")
    assert words(line[1]) == "missing" and "differs" not in words(line[2])


def test_pca_is_scikit_learns_on_the_same_data(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 2)) @ random.normal(size=(2, 6)) + 0.3 * random.normal(size=(200, 6))
    model = Autoencoder(2, training=QUICK, random_state=0).fit(X)
    readings = Readings(model, X)
    scaled = readings.compared.given.numpy()
    expected = PCA(6).fit(scaled).explained_variance_ratio_.cumsum()
    assert pca_curve(readings.compared, 6) == pytest.approx(expected, abs=1e-9)
    rows = list(next(section(written(model, tmp_path, X), "pca").iter("tbody")))
    assert words(rows[1][1]) == f"{100 * expected[1]:.1f} %"
    back = readings.data.batch(readings.data.open(model.reconstruct(X)), np.arange(200)).x.double().numpy()
    spread = np.square(scaled - scaled.mean(0)).sum()
    ours = 1 - np.square(scaled - back).sum() / spread
    assert float(words(rows[0][1])[:-2]) == pytest.approx(100 * ours, abs=0.06)
    assert float(words(rows[0][2])) == pytest.approx(np.square(scaled - back).sum() / 200, rel=1e-2)


def test_pca_is_not_measured_where_a_value_is_missing() -> None:
    """What stands under a gap must not matter: the filled cells are no part of the error."""
    random = np.random.default_rng(1)
    X = random.normal(size=(100, 1)) @ np.ones((1, 4))
    gaps = random.random((100, 4)) < 0.2
    model = Autoencoder(1, training=QUICK, random_state=0).fit(np.where(gaps, np.nan, X))
    part = Readings(model, np.where(gaps, np.nan, X)).compared
    first = pca_curve(part, 4)
    part.given[part.weight == 0] = 1e6
    assert pca_curve(part, 4) == pytest.approx(first) and first[-1] == pytest.approx(1)


def test_where_pca_wins_it_says_so(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(100, 1)) @ np.ones((1, 5))
    untrained = Autoencoder(1, training=Training(max_epochs=1, learning_rate=1e-9), random_state=0).fit(X)
    said = words(section(written(untrained, tmp_path, X), "pca"))
    assert "further off than the mean" in said or "PCA gives back more: 100.0 %" in said


def test_settings_and_versions(plain: Autoencoder, tmp_path: Path) -> None:
    import torch

    model = Autoencoder(
        1, training=Training(max_epochs=2, checkpoint=str(tmp_path / "secret.run")), likelihood=squared, random_state=3
    ).fit(np.random.default_rng(0).normal(size=(40, 3)))
    page = written(model, tmp_path)
    said = spaced(section(page, "settings"))
    assert f"torch {torch.__version__}" in said and f"Isthmus {isthmus.__version__}" in said
    assert "random_state 3 not the default" in said and "likelihood squared not the default" in said
    assert "secret" not in page and str(tmp_path) not in page and " at 0x" not in page
    assert "encoder.layers.0" in said


def squared(output: Any, target: Any) -> Any:
    return (output - target) ** 2


# ---- colours of the map


def keys(page: str) -> list[str]:
    return [words(one) for one in next(section(page, "map").iter("ul"))]


def test_the_map_is_coloured_by_what_is_asked_for(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    assert [key.rpartition(" ")[2] for key in keys(written(plain, tmp_path, X))] == sizes(X["size"].to_list())
    assert len(keys(written(plain, tmp_path, X, "height"))) == 5, "steps of a number"
    assert keys(written(plain, tmp_path, X, np.arange(120) % 3)) == ["0 (40)", "1 (40)", "2 (40)"]
    labelled = X.with_columns(label=pl.Series(["a", "b", "c", None] * 30))
    four = ["a (30)", "b (30)", "c (30)", "missing (30)"]
    assert keys(written(plain, tmp_path, labelled, "label")) == four, "a column that the model never saw"
    assert keys(written(plain, tmp_path, labelled.to_pandas(), "label")) == four
    many = [f"class {place % 30:02}" for place in range(120)]
    assert keys(written(plain, tmp_path, X, many))[-1] == "21 others (84)"


def sizes(values: list[Any]) -> list[str]:
    return [f"({values.count(value)})" for value in sorted(set(values), key=lambda value: -values.count(value))]


def test_a_column_of_an_array_goes_by_its_name(tmp_path: Path) -> None:
    from scipy import sparse

    array = np.random.default_rng(0).normal(size=(50, 3))
    array[:, 2] = np.arange(50) % 2
    model = Autoencoder(1, training=QUICK, random_state=0).fit(array)
    for given in (array, sparse.csr_array(array)):
        assert keys(written(model, tmp_path, given, "x2")) == ["0 (25)", "1 (25)"]


@pytest.mark.parametrize(
    ("colour", "error", "sentence"),
    [
        ("colour", SettingError, "colour is 'colour', which is no column of X; X has: 'height', 'double'"),
        ([1, 2, 3], DataError, "X has 120 samples and 'class' 3 values; give one each"),
        ([[1], [1, 2]], DataError, "values; give one each"),
    ],
)
def test_a_wrong_colour_is_one_sentence(
    colour: Any, error: type[Exception], sentence: str, X: pl.DataFrame, plain: Autoencoder, tmp_path: Path
) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        report(plain, tmp_path / "r.html", X, colour)
    assert not list(tmp_path.iterdir())


# ---- pictures


def test_pictures_are_shown_as_they_are(pictures: Any, tmp_path: Path) -> None:
    from PIL import Image

    samples, model = pictures
    page = written(model, tmp_path, samples)
    found = section(page, "samples")
    assert "of 8 × 9 pixels: grey" in words(section(page, "data"))
    titles = [words(title) for title in found.iter("h3")]
    images = list(found.iter("img"))
    assert len(images) == 3 * len(titles)
    for title, given, back, gap in zip(titles, images[::3], images[1::3], images[2::3], strict=True):
        row = int(re.findall(r"picture (\d+)", title)[0])
        shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.get("src")[22:])))) for one in (given, back)]
        np.testing.assert_array_equal(shown[0], samples[row])
        assert np.abs(shown[1].astype(int) - model.reconstruct(samples[[row]])[0]).max() <= 1
        assert given.get("alt") == f"picture {row}: given" and gap.get("alt").endswith("difference")
        assert (given.get("width"), given.get("height")) == ("8", "9")
    assert sum(str(one.tag).endswith("image") for one in section(page, "map").iter()) == 1, "one map of thumbnails"


def test_colours_and_large_pictures(tmp_path: Path) -> None:
    pytest.importorskip("isthmus.data.images", reason="there is no data type for pictures")
    samples = np.random.default_rng(0).random((12, 60, 400, 3), dtype=np.float32)
    model = Autoencoder(
        2, network="dense(widths=(4,))", data_type="images", training=Training(max_epochs=1), random_state=0
    )
    page = written(model.fit(samples), tmp_path, samples)
    assert "image/jpeg" in page and len(page) < 5e6


# ---- size, time, and the same again


def test_ten_thousand_rows_stay_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(10_000, 3)) @ random.normal(size=(3, 20)) + 0.1 * random.normal(size=(10_000, 20))
    model = AnomalyDetector(Autoencoder(3, training=Training(max_epochs=1)), random_state=0).fit(X)
    path = model.report(tmp_path / "r.html", X)
    assert path.stat().st_size <= 1_000_000
    page = path.read_text(encoding="utf-8")
    said, odd = words(section(page, "map")), int((model.predict(X) == -1).sum())
    assert re.search(r"Drawn are 3,[0-9]{3} of 10,000 rows, evenly spread, and all odd ones\.", said)
    assert f"odd ({odd:,})" in said
    plain = written(model.autoencoder_, tmp_path, X)
    assert "Drawn are 3,000 of 10,000 rows, evenly spread." in words(section(plain, "map"))


def test_a_thousand_columns_stay_small(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 1000))
    X[3, 999] = np.nan
    model = Autoencoder(2, training=Training(max_epochs=1), random_state=0).fit(X)
    page = written(model, tmp_path, X)
    assert len(page) <= 1_000_000
    assert words(next(section(page, "data").iter("summary"))) == "100 of the 1,000 columns, as found in training"
    assert words(next(next(section(page, "data").iter("tbody")).iter("th"))) == "x999", (
        "the one worth a look comes first"
    )


def test_the_same_model_and_day_give_the_same_file(
    X: pl.DataFrame, detector: AnomalyDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = written(detector, tmp_path, X)
    assert "14 November 2023, 22:13 UTC" in first and 'datetime="2023-11-14T22:13:20+00:00"' in first
    detector.save(tmp_path / "m.safetensors")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 40, "svg.fonttype": "path"}):
        assert written(load(tmp_path / "m.safetensors"), tmp_path, X) == first


def test_drawing_leaves_no_trace(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    """Neither the person's settings of matplotlib nor pyplot's list of figures are touched."""
    plain.save(tmp_path / "m.safetensors")
    X.write_parquet(tmp_path / "x.parquet")
    code = (
        "import matplotlib, sys, isthmus, polars\n"
        "settings = lambda: [matplotlib.rcParams[name] for name in matplotlib.rcParams if name != 'backend']\n"
        "before = settings()\n"
        f"folder = {str(tmp_path)!r}; X = polars.read_parquet(folder + '/x.parquet')\n"
        "isthmus.load(folder + '/m.safetensors').report(folder + '/r.html', X)\n"
        "print('matplotlib.pyplot' in sys.modules, settings() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.split() == ["False", "True"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(isthmus.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("rows", [[0], [0, 1]])
def test_one_or_two_rows_are_enough(
    rows: list[int], X: pl.DataFrame, detector: Any, plain: Any, tmp_path: Path
) -> None:
    for model in (detector, plain):
        assert f"row{'' if len(rows) == 1 else 's'} shown here" in written(model, tmp_path, X[rows])


def test_values_beyond_all_measure_are_drawn(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = AnomalyDetector(Autoencoder(1, training=QUICK), random_state=0).fit(X)
    for extreme in (X * 1e200, np.full((5, 3), np.nan), np.zeros((20, 3))):
        tree(written(model, tmp_path, extreme))


# ---- the ways in


def test_it_is_a_method_of_every_estimator(X: pl.DataFrame, plain: Any, detector: Any, tmp_path: Path) -> None:
    for model in (plain, detector):
        path = model.report(str(tmp_path / "r.html"), X, "size", title="Mine")
        assert path == tmp_path / "r.html" and "<title>Mine</title>" in path.read_text(encoding="utf-8")


def test_what_cannot_be_reported_is_one_sentence(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        Autoencoder().report(tmp_path / "r.html")
    with pytest.raises(SettingError, match="there is no X whose map it could colour"):
        plain.report(tmp_path / "r.html", colour="size")
    with pytest.raises(DataError, match="lacks the column"):
        plain.report(tmp_path / "r.html", X.drop("height"))
    with pytest.raises(StorageError, match="its directory does not exist"):
        plain.report(tmp_path / "nowhere" / "r.html")
    with pytest.raises(DataError):
        plain.report(tmp_path / "r.html", X[:0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_a_missing_library_names_its_extra(
    module: str, plain: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"needs the report extra: pip install 'isthmus\[report\]'"):
        plain.report(tmp_path / "r.html")


def test_on_the_command_line(X: pl.DataFrame, plain: Autoencoder, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    model, data, out = (str(tmp_path / name) for name in ("m.safetensors", "x.parquet", "r.html"))
    plain.save(model)
    labelled = X.with_columns(label=pl.Series(["a", "b"] * 60))
    Tables.write(labelled, data)

    def run(*more: str) -> Any:
        return CliRunner().invoke(cli, ["report", *more])

    done = run(model, data, "--colour", "label", "--title", "From here", "-o", out)
    assert done.exit_code == 0 and f"wrote {out}" in done.stderr, done.output
    page = Path(out).read_text(encoding="utf-8")
    assert keys(page) == ["a (60)", "b (60)"] and "<title>From here</title>" in page
    assert run(model, data, "--color", "label", "--title", "From here", "-o", "-").stdout == page
    assert run(model, "-o", out, "-q").stderr == ""
    for wrong, sentence in (
        ([model, data], "the option -o FILE is missing"),
        ([model, data, "-o", out], "has the column 'label', which training did not have"),
        ([model, "--colour", "size", "-o", out], "there is no DATA that holds such a column"),
        ([data, model, "-o", out], "the model comes first, then the data"),
        ([model, data, "-o", data], "which is also read"),
        ([model, str(tmp_path / "y.csv"), "-o", out], "does not exist"),
    ):
        done = run(*wrong)
        assert done.exit_code == 2 and sentence in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_template_and_style_come_with_the_package() -> None:
    from importlib.resources import files

    for name in ("template.html.jinja", "style.css"):
        assert files("isthmus.report").joinpath(name).is_file()


# ---- colours that can be told apart


def modes() -> Iterator[tuple[str, dict[str, str]]]:
    """The colours of the page by day, by night and on paper."""
    sheet = (FOLDER / "style.css").read_text(encoding="utf-8")
    day, rest = sheet.split("@media (prefers-color-scheme: dark)", 1)
    night, paper = rest.split("@media print", 1)
    for name, text in (("day", day), ("night", night), ("paper", paper)):
        yield name, dict(re.findall(r"--([\w-]+): (#\w{6})", text))


def contrast(first: str, second: str) -> float:
    """As WCAG 2 measures it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize(("mode", "colours"), list(modes()))
def test_contrast(mode: str, colours: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert set(TONES) <= colours.keys()
    for text in ("ink", "quiet", "accent"):
        for ground in ("paper", "panel"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (mode, text, ground)
    assert contrast(colours["ink"], colours["mark"]) >= 4.5
    for mark in set(TONES) - {"ink", "quiet", "line", "paper"}:
        assert contrast(colours[mark], colours["paper"]) >= 3, (mode, mark)


# ---- curves


def history(n: int = 12, parts: tuple[str, ...] = ("loss", "distortion", "rate")) -> History:
    epochs = [Epoch(k, {p: 9.0 / k for p in parts}, {p: 10.0 / k for p in parts}, 1e-3, 0.1) for k in range(1, n + 1)]
    return History(epochs, best_epoch=n, ended="all done")


def test_plot_history_draws_every_term() -> None:
    from matplotlib.figure import Figure

    ax = plot_history(history(), Figure().subplots())
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    assert [f"{name}{also}" for name in ("loss", "distortion", "rate") for also in ("", ", held out")] == list(lines)[
        :6
    ]
    np.testing.assert_allclose(lines["rate"].get_ydata(), history()["rate"])
    np.testing.assert_allclose(lines["loss, held out"].get_ydata(), history()["validation_loss"])
    assert lines["loss"].get_color() == lines["loss, held out"].get_color() != lines["rate"].get_color()
    assert ax.get_yscale() == "linear" and lines["kept: epoch 12"].get_xdata()[0] == 12
    assert plot_history(history(200), Figure().subplots()).get_yscale() == "log"


def test_plot_history_takes_some_terms_and_says_what_there_is() -> None:
    from matplotlib.figure import Figure

    ax = plot_history(history(), Figure().subplots(), ["rate"])
    assert {str(line.get_label()) for line in ax.get_lines()} == {"rate", "rate, held out", "kept: epoch 12"}
    with pytest.raises(KeyError, match="history has no 'rat'; it has: loss"):
        plot_history(history(), Figure().subplots(), ["rat"])
    single = history(parts=("loss", "distortion"))
    assert len(plot_history(single, Figure().subplots()).get_lines()) == 3, "the only part is the loss itself"
    assert plot_history(History(), Figure().subplots()).get_lines() == []


def test_plot_history_makes_a_figure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    ax = plot_history(history(1))
    assert ax.figure.number in pyplot.get_fignums()  # type: ignore[union-attr]
    pyplot.close(ax.figure)  # type: ignore[arg-type]


def test_our_style_is_ours_alone() -> None:
    import matplotlib

    with matplotlib.rc_context({"grid.color": "red"}):
        with style():
            assert matplotlib.rcParams["grid.color"] == STAND_INS["line"]
        assert matplotlib.rcParams["grid.color"] == "red"


def told(curves: LiveCurves, n: int, most: int = 10) -> None:
    for epoch in history(n).epochs:
        curves.epoch(EpochReport(epoch, most, True, None))  # type: ignore[arg-type]


def test_live_curves_draw_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("isthmus.report.live.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("isthmus.report.live.drawing", lambda history: f"{len(history)}".encode())
    shown: list[bytes] = []
    live = LiveCurves(every=1.0, delay=5.0, show=shown.append)
    for number in range(1, 9):
        clock[0] = float(number)
        live.epoch(EpochReport(history(8).epochs[number - 1], 8, True, None))  # type: ignore[arg-type]
    assert shown == [b"5", b"6", b"7", b"8"], "after the delay, once a second"
    live.close()
    assert len(shown) == 4, "nothing new to draw"
    short = LiveCurves(every=1.0, delay=50.0, show=shown.append)
    told(short, 3)
    short.close()
    assert len(shown) == 4, "a run that is over before anybody would look draws nothing"


def test_slow_drawing_waits_but_the_end_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shown = [0.0], []

    def slow(history: History) -> bytes:
        clock[0] += 10.0
        return f"{len(history)}".encode()

    monkeypatch.setattr("isthmus.report.live.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("isthmus.report.live.drawing", slow)
    live = LiveCurves(every=1.0, show=shown.append)
    for epoch in history(60).epochs:
        clock[0] += 1.0
        live.epoch(EpochReport(epoch, 60, True, None))  # type: ignore[arg-type]
    assert shown == [b"1"], "ten seconds of drawing need ninety of training"
    live.close()
    assert shown == [b"1", b"60"]


def test_live_curves_end_with_the_last_epoch() -> None:
    shown: list[bytes] = []
    live = LiveCurves(every=1000.0, show=shown.append)
    told(live, 4)
    assert len(shown) == 1
    live.close()
    assert len(shown) == 2 and shown[0] != shown[1]
    assert all(png.startswith(b"\x89PNG") for png in shown)


def test_live_curves_as_a_callback() -> None:
    shown: list[bytes] = []
    training = Training(max_epochs=3, callbacks=[LiveCurves(every=1000.0, show=shown.append)])
    model = Autoencoder(1, variant="variational", training=training, random_state=0)
    for _ in range(2):  # a second fit starts afresh
        shown.clear()
        model.fit(np.random.default_rng(0).normal(size=(40, 3)))
    assert len(shown) >= 1 and isinstance(training.callbacks[0], LiveCurves)
    assert len(training.callbacks[0].history) == 3


def test_a_notebook_shows_curves_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for IPython's display: one picture, replaced from then on."""
    import types

    made: list[Any] = []

    class Handle:
        def update(self, image: Any) -> None:
            made.append(("update", image))

    def display(image: Any, display_id: bool) -> Handle:
        made.append(("display", image))
        return Handle()

    fake = types.ModuleType("IPython")
    fake.version_info = (9, 0)  # type: ignore[attr-defined]
    fake.display = types.SimpleNamespace(display=display, Image=lambda png: png)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    live = LiveCurves(every=0.0)
    told(live, 40)
    live.close()
    assert [how for how, _ in made][0] == "display" and {how for how, _ in made[1:]} <= {"update"}
    assert all(image.startswith(b"\x89PNG") for _, image in made)


def test_verbose_in_a_notebook_asks_for_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus import fitting

    assert [type(one) for one in fitting.watchers(False)] == [ProgressBar]
    monkeypatch.setattr("rich.console.Console.is_jupyter", property(lambda self: True), raising=False)
    monkeypatch.setattr(ProgressBar, "__init__", jupyter_bar)
    assert [type(one) for one in fitting.watchers(True)] == [ProgressBar, LiveCurves]
    assert [type(one) for one in fitting.watchers(False)] == [ProgressBar]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert [type(one) for one in fitting.watchers(True)] == [ProgressBar], "without matplotlib the bar alone"


def jupyter_bar(self: Any, verbose: bool | None = None) -> None:
    import types

    self.console, self.wanted, self.delay = types.SimpleNamespace(is_jupyter=True), bool(verbose), 0.0


def test_the_terminal_shows_every_term_as_a_curve() -> None:
    assert curves(history().epochs) == (
        "loss █▄▃▂▂▂▁▁▁▁▁▁ 0.75   distortion █▄▃▂▂▂▁▁▁▁▁▁ 0.75   rate █▄▃▂▂▂▁▁▁▁▁▁ 0.75   held out █▄▃▂▂▂▁▁▁▁▁▁ 0.8333"
    )
    assert curves(history(300, ("loss", "distortion")).epochs).startswith("loss █▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁ 0.03   held out")
    assert curves(history().epochs, "ascii") == "", "letters that the terminal does not have"


# ---- in a browser

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
AXE = Path(os.environ.get("ISTHMUS_AXE", Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"))
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --hide-scrollbars --window-size=1100,900"
LOOK = """
document.querySelectorAll("details").forEach(one => one.open = true);
axe.run(document).then(found => {
  const frame = document.createElement("iframe");
  frame.width = 360; frame.height = 800; frame.srcdoc = PAGE;
  frame.onload = () => {
    const inside = frame.contentDocument.documentElement;
    const told = {
      violations: found.violations.map(one => one.id + ": " + one.nodes[0].html.slice(0, 200)),
      passes: found.passes.length,
      loaded: performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
      room: [inside.scrollWidth, inside.clientWidth],
    };
    document.body.innerHTML = "<pre id='told'></pre>";
    document.getElementById("told").textContent = JSON.stringify(told);
  };
  document.body.append(frame);
});
"""


def chromium(folder: Path, *words: str) -> Any:
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_a_browser_draws_it(page: str, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    done = chromium(tmp_path, f"--screenshot={tmp_path / 'r.png'}", (tmp_path / "r.html").as_uri())
    pixels = np.asarray(Image.open(tmp_path / "r.png").convert("L"))
    assert pixels.shape == (900, 1100), done.stderr
    assert pixels.std() > 10 and (pixels > 250).mean() > 0.5, "dark letters on light ground"


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: npm install axe-core, or set ISTHMUS_AXE")
def test_axe_finds_nothing_and_a_phone_needs_no_sideways_scrolling(page: str, tmp_path: Path) -> None:
    """The policy forbids every script, so a copy without it is looked at."""
    open_page = re.sub(r"<meta http-equiv[^>]*>", "", page)
    assert open_page != page
    scripts = f"<script>{AXE.read_text(encoding='utf-8')}</script><script>const PAGE = {quoted(page)};{LOOK}</script>"
    (tmp_path / "r.html").write_text(open_page.replace("</body>", f"{scripts}</body>"), encoding="utf-8")
    done = chromium(tmp_path, "--virtual-time-budget=30000", "--dump-dom", (tmp_path / "r.html").as_uri())
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    told = json.loads(html.unescape(found[1]))
    assert told["violations"] == [] and told["passes"] > 20
    assert told["loaded"] == []
    assert told["room"][0] <= told["room"][1] + 1, "wider than a phone"


def quoted(text: str) -> str:
    """The text as JavaScript inside of HTML."""
    return json.dumps(text).replace("<", "\\u003c")


def test_a_detector_shows_where_other_rules_would_cut(detector: AnomalyDetector, tmp_path: Path) -> None:
    page = (detector.report(tmp_path / "r.html")).read_text(encoding="utf-8")
    said = words(section(page, "errors"))
    for rule in ("quantile", "deviation", "robust"):
        assert rule in said
    assert "conformal" not in said  # it kept no rows out of training, so that there is no such cut
