"""Odd pictures: where they are odd, in words and as a map; and sizes that do not order scores."""

from __future__ import annotations

import html
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from isthmus import AnomalyDetector, Autoencoder, Training, load
from isthmus.data import Images
from isthmus.data import images as data_type
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv
from isthmus.report import readings as read
from isthmus.report.heat import heated, look
from isthmus.tasks._places import place_in_words

pytestmark = pytest.mark.slow

DIGITS = (load_digits().images / 16).astype(np.float32)


@pytest.fixture(scope="module")
def fixed() -> AnomalyDetector:
    """Of pictures of one size."""
    training = Training(max_epochs=12, batch_size=32, learning_rate=3e-3)
    model = Autoencoder(12, network=Conv((16, 32)), training=training)
    return AnomalyDetector(model, contamination=0.05, random_state=0).fit(DIGITS[:1000])


@pytest.fixture(scope="module")
def free() -> AnomalyDetector:
    """Of pictures of any size: smooth ones."""
    network = Conv((8, 16), code="grid")
    training = Training(max_epochs=8, batch_size=32, learning_rate=3e-3)
    model = Autoencoder(4, network=network, data_type=Images(patch=16), training=training)
    return AnomalyDetector(model, contamination=0.05, random_state=0).fit([waves(24, 40, k) for k in range(40)])


def waves(height: int, width: int, k: int) -> np.ndarray:
    random = np.random.default_rng(k)
    y, x = np.mgrid[:height, :width] / 16.0
    turn = random.uniform(0, 2 * np.pi, 2)
    return (0.5 + 0.25 * np.sin(y + turn[0]) + 0.25 * np.sin(x + turn[1])).astype(np.float32)


def test_the_heat_of_a_picture_is_its_score(fixed: AnomalyDetector) -> None:
    heat = fixed.heat_map(DIGITS[1000:1100])
    assert heat.shape == (100, 8, 8)
    np.testing.assert_allclose(heat.sum((1, 2)), -fixed.score_samples(DIGITS[1000:1100]), rtol=1e-4, atol=1e-3)


def test_a_planted_square_lights_up(fixed: AnomalyDetector) -> None:
    planted = DIGITS[1000:1200].copy()
    planted[:, 5:7, 0:2] = 1.0  # where hardly any digit has ink
    heat = fixed.heat_map(planted) - fixed.heat_map(DIGITS[1000:1200])
    inside = heat[:, 5:7, 0:2].sum((1, 2)) / np.clip(heat, 0, None).sum((1, 2))
    assert np.median(inside) > 0.6  # on 4 of 64 pixels
    assert (fixed.predict(planted) == -1).mean() > 0.9
    words = fixed.answer(planted).highlights["why"].to_list()
    assert sum("(lower left)" in one for one in words) > 0.8 * len(words)


def test_the_answer_speaks_of_pictures(fixed: AnomalyDetector) -> None:
    answer = fixed.answer(DIGITS[:50])
    assert "of 50 pictures are odd" in answer.headline
    assert answer.table.columns == ["row", "score", "odd"]


def test_sizes_do_not_order_scores(free: AnomalyDetector) -> None:
    """A large picture that is like training's is no odder than a small one."""
    sizes = [(16, 16), (100, 90), (20, 30), (600, 40), (24, 40)]
    ordinary = [waves(height, width, 100 + k) for k, (height, width) in enumerate(sizes)]
    noise = [np.random.default_rng(k).random(size, dtype=np.float32) for k, size in enumerate(sizes)]
    scores = free.score_samples([*ordinary, *noise])
    assert scores[:5].min() > scores[5:].max()
    alone = np.array([free.score_samples(one[None])[0] for one in ordinary])
    np.testing.assert_allclose(scores[:5], alone, rtol=1e-3, atol=1e-4)


def test_each_heat_map_has_the_size_of_its_picture(free: AnomalyDetector) -> None:
    pictures = [waves(30, 20, 1), waves(17, 55, 2)]
    pictures[1][3:8, 40:50] = np.random.default_rng(0).random((5, 10)) > 0.5
    maps = free.heat_map(pictures)
    assert [one.shape for one in maps] == [(30, 20), (17, 55)]
    for heat, score in zip(maps, free.score_samples(pictures), strict=True):
        assert heat.mean() == pytest.approx(-score, rel=1e-4)
    assert maps[1][3:8, 40:50].mean() > maps[1][:, :30].mean() + 3


def test_files_keep_their_names_and_sizes(free: AnomalyDetector, tmp_path: Path) -> None:
    for place, (height, width) in enumerate([(24, 40), (31, 9)]):
        Image.fromarray((255 * waves(height, width, place)).astype(np.uint8)).save(tmp_path / f"{place}.png")
    answer = free.answer(str(tmp_path))
    assert answer.table["file"].to_list() == ["0.png", "1.png"]
    assert "file" in answer.highlights.columns
    assert [one.shape for one in free.heat_map(str(tmp_path))] == [(24, 40), (31, 9)]


def test_pictures_brought_to_one_size_get_maps_in_their_own() -> None:
    training = Training(max_epochs=10, learning_rate=3e-3)
    model = Autoencoder(6, network=Conv((8,)), data_type=Images(size=8), training=training)
    detector = AnomalyDetector(model, random_state=0).fit(DIGITS[:400])
    assert detector.heat_map([np.ones((20, 12), np.float32)])[0].shape == (20, 12)


def test_the_same_after_loading(free: AnomalyDetector, tmp_path: Path) -> None:
    free.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.heat_map([waves(9, 9, 0)])[0], free.heat_map([waves(9, 9, 0)])[0])


def test_tables_are_told_about_explain() -> None:
    detector = AnomalyDetector(random_state=0).fit(np.random.default_rng(0).normal(size=(60, 1)) @ np.ones((1, 3)))
    with pytest.raises(DataError, match="a heat map is for pictures, and this model is for tables; `explain`"):
        detector.heat_map(np.ones((2, 3)))


def test_a_map_of_a_picture_that_was_resized_keeps_its_sum(fixed: AnomalyDetector, monkeypatch: Any) -> None:
    """Made smaller or larger for the model: what a pixel of the model's picture costs goes where that pixel lies."""
    pictures = [DIGITS[1000].repeat(3, 0).repeat(2, 1), DIGITS[1001], DIGITS[1002, :5, :3]]
    monkeypatch.setattr(fixed.autoencoder_.data_, "size", 8)
    maps, scores = fixed.heat_map(pictures), fixed.score_samples(pictures)
    assert [one.shape for one in maps] == [(24, 16), (8, 8), (5, 3)]
    np.testing.assert_allclose([one.sum() for one in maps], -scores, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(maps[0], maps[0][::3, ::2].repeat(3, 0).repeat(2, 1), rtol=1e-5, atol=1e-6)


def test_shares_of_mixed_sizes_are_those_of_each_picture_alone() -> None:
    """In nats per value, like the score: one channel at a time takes its expected values."""
    random = np.random.default_rng(0)
    colours = random.random((30, 1, 1, 3)) * np.ones((30, 16, 16, 1))
    training = Training(max_epochs=12, learning_rate=1e-2)
    model = Autoencoder(6, network=Conv((8,), code="grid"), data_type=Images(patch=8), training=training)
    detector = AnomalyDetector(model, random_state=0).fit(colours.astype(np.float32))
    X = [colours[0, :9, :12].astype(np.float32), colours[1].astype(np.float32)]
    X[0][2:6, 3:7, 1] = 1 - X[0][2:6, 3:7, 1].round()
    shares = detector.explain(X)
    assert shares.shape == (2, 3) and shares[0].argmax() == 1
    for place, one in enumerate(X):
        np.testing.assert_allclose(shares[place], detector.explain(one[None])[0], rtol=1e-3, atol=1e-4)
        changed = one.copy()
        changed[..., 1] = detector.autoencoder_.reconstruct([one])[0][..., 1]  # of a normal law the mean is the point
        drop = detector.score_samples([changed])[0] - detector.score_samples([one])[0]
        assert shares[place, 1] == pytest.approx(drop, rel=1e-3, abs=1e-4)


def test_no_canvas_is_larger_than_its_picture(free: AnomalyDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one large picture must not make all of them large."""
    sizes = [(16, 16), (300, 20), (20, 300)]
    X = [waves(*size, k) for k, size in enumerate(sizes)]
    built: list[tuple[int, ...]] = []
    make = data_type.make_batch

    def watched(samples: Any, *rest: Any) -> Any:
        batch = make(samples, *rest)
        built.append(tuple(batch.x.shape))
        return batch

    monkeypatch.setattr(data_type, "make_batch", watched)
    answers = (free.score_samples, free.explain, free.heat_map, free.answer)
    for ask in answers:
        built.clear()
        ask(X)
        assert {shape[2:] for shape in built} == set(sizes) and all(shape[0] == 1 for shape in built)


def test_a_hole_is_no_reason(free: AnomalyDetector) -> None:
    """Pixels that are absent cost nothing, which is more than what surely comes back does."""
    holed = waves(32, 32, 3)
    holed[4:20, 4:20] = np.nan
    holed[26:30, 25:29] = 1 - holed[26:30, 25:29].round()
    heat = free.heat_map([holed])[0]
    assert np.all(heat[6:18, 6:18] == 0) and np.isfinite(heat).all()
    why = free.answer([holed], n_reasons=1).highlights["why"][0]
    assert "(lower right)" in why
    assert free.score_samples([np.full((20, 20), np.nan, np.float32), holed])[0] == 0
    model = free.autoencoder_
    seen = look(model.module_, model.data_, Images.open(model.data_, [holed]).alone(0))
    drawn = heated(seen.given, seen.cost)[6:18, 6:18]
    assert (drawn.max(2) == drawn.min(2)).all()  # no glow


def test_a_network_of_ones_own_may_not_know_single_pixels(fixed: AnomalyDetector, monkeypatch: Any) -> None:
    monkeypatch.delattr("isthmus.module.AutoencoderModule.cells")
    monkeypatch.setattr("isthmus.module.AutoencoderModule.reconstruct", lambda *_: None)
    with pytest.raises(SettingError, match="give it a method `cells`"):
        fixed.heat_map(DIGITS[:2])


def test_before_fit_it_says_so() -> None:
    for ask in ("heat_map", "answer", "explain", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(AnomalyDetector(), ask)(DIGITS[:3])


def test_a_stack_of_another_size_than_trainings_is_understood(free: AnomalyDetector) -> None:
    """18 x 21 is no multiple of the network's stride: whoever decodes must tell the size."""
    X = np.stack([waves(18, 21, k) for k in range(3)])
    assert free.explain(X).shape == (3, 1) and free.heat_map(X).shape == X.shape
    assert read.Readings(free, X).compared.returned.shape == (3, 18 * 21)


# ---- in words


def test_where_in_words() -> None:
    heat = np.zeros((30, 30))
    heat[12:15, 14:17] = 1.0
    assert place_in_words(heat) == "rows 12-14, columns 14-16 (middle): 100 % of what is odd"
    assert place_in_words(np.ones((4, 4))) == "everywhere alike"
    assert place_in_words(np.random.default_rng(0).random((64, 64))) == "spread over the whole picture"


def test_several_places_the_one_with_most_first() -> None:
    heat = np.zeros((12, 12))
    heat[0, 1:4], heat[10:12, 10:12], heat[6, 5] = 1.0, 2.0, 0.4
    lighter = np.zeros((12, 12))
    lighter[0, 1:4], lighter[10:12, 10:12] = -0.5, 0.5
    first, second = "rows 10-11, columns 10-11 (lower right): 70 %", "row 0, columns 1-3 (upper left): 26 %"
    assert place_in_words(heat, 3) == f"{first} of what is odd; {second}"
    assert place_in_words(heat, 1) == f"{first} of what is odd"
    assert place_in_words(heat, 3, lighter=lighter) == f"{first} of what is odd, too light; {second}, too dark"


def test_a_line_from_end_to_end_is_in_no_column() -> None:
    heat = np.zeros((40, 200))
    heat[36:38] = 1.0
    assert place_in_words(heat, size=(80, 400)) == "rows 72-75, columns 0-399 (lower): 100 % of what is odd"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (70, 1), (33, 65)])
def test_places_lie_inside_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    heat = np.zeros(shape)
    heat[-1, -1] = 1.0
    said = place_in_words(heat)
    if shape == (1, 1):
        assert said == "everywhere alike"
        return
    ends = [int(one) for one in re.findall(r"(\d+)[ ,(]", said.replace("%", ""))][:2]
    assert ends == [shape[0] - 1, shape[1] - 1]


# ---- on the page and at the keyboard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes, one with noise in its lower left corner."""
    made = tmp_path_factory.mktemp("waves")
    for place, size in enumerate([(24, 40), (31, 9), (30, 31), (24, 24)]):
        picture = waves(*size, place)
        if place == 2:
            picture[17:29, 1:13] = np.random.default_rng(0).random((12, 12)) > 0.5
        Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(made / f"wave & {place}.png")
    return made


def test_the_report_shows_where_pictures_are_odd(free: AnomalyDetector, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = free.report(tmp_path / "r.html", str(folder)).read_text(encoding="utf-8")
    oddest = page.partition('id="oddest"')[2].partition("</section>")[0]
    assert html.unescape(re.findall("<h3>(.*?)</h3>", oddest)[0]).startswith("picture 2 (wave & 2.png), score ")
    told = [html.unescape(one) for one in re.findall('alt="([^"]*where it is odd[^"]*)"', oddest)]
    assert len(told) == 4 and "(lower left)" in told[0] and "% of what is odd" in told[0]
    assert "nats per value" in page


def test_the_glow_lies_over_the_planted_noise(free: AnomalyDetector, folder: Path) -> None:
    model = free.autoencoder_
    seen = look(model.module_, model.data_, Images.open(model.data_, str(folder)).alone(2))
    pixels = heated(seen.given, seen.cost).astype(int)
    glow = pixels[..., 0] - pixels[..., 2]  # yellow is no grey
    inside = np.zeros((30, 31), dtype=bool)
    inside[17:29, 1:13] = True
    assert glow[inside].mean() > 4 * glow[~inside].mean()
    assert pixels[~inside].max() < pixels[inside].max()
    np.testing.assert_allclose(seen.cost, free.heat_map(str(folder))[2], atol=1e-3)


def test_a_small_picture_beside_a_large_one_is_read_whole(free: AnomalyDetector, monkeypatch: Any) -> None:
    """Of a large one the middle is read; the canvas of both has nothing of the small one there."""
    monkeypatch.setattr(read, "MOST_SIDE", 40)
    X = [waves(20, 30, 0), waves(200, 100, 1)]
    batch = read.Readings(free, X).batch(np.arange(2))
    assert batch.weight is not None and batch.x.shape == (2, 1, 40, 40)
    np.testing.assert_allclose(batch.x[0, 0, :20, :30].numpy(), X[0], atol=1e-6)
    assert batch.weight[0].sum() == 600 and batch.weight[1].sum() == 1600
    np.testing.assert_allclose(batch.x[1, 0].numpy(), X[1][80:120, 30:70], atol=1e-6)


def test_the_command_line_names_the_files(free: AnomalyDetector, folder: Path, tmp_path: Path) -> None:
    free.save(tmp_path / "m.safetensors")
    words = ["detect", str(tmp_path / "m.safetensors"), str(folder)]
    shown = CliRunner(env={"COLUMNS": "120"}).invoke(cli, words)
    assert shown.exit_code == 0 and "of 4 pictures are odd" in shown.stdout
    assert "wave & 2.png" in shown.stdout and "(lower left)" in shown.stdout
    assert CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "scores.csv")]).exit_code == 0
    lines = (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "row,file,score,odd" and lines[3].startswith("2,wave & 2.png,") and len(lines) == 5


def test_the_command_line_draws_the_odd_ones(free: AnomalyDetector, folder: Path, tmp_path: Path) -> None:
    free.save(tmp_path / "m.safetensors")
    words = ["detect", str(tmp_path / "m.safetensors"), str(folder), "--heat-maps"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "maps")])
    assert done.exit_code == 0, done.output
    odd = {f"wave & {place}.png" for place in np.flatnonzero(free.predict(str(folder)) == -1)}
    assert "wave & 2.png" in odd and {path.name for path in (tmp_path / "maps").iterdir()} == odd
    drawn = np.asarray(Image.open(tmp_path / "maps" / "wave & 2.png")).astype(int)
    assert drawn.shape == (30, 31, 3)
    glow = drawn[..., 0] - drawn[..., 2]
    assert glow[17:29, 1:13].mean() > 4 * glow[:12].mean()


def test_the_folder_for_heat_maps_is_looked_at_first(free: AnomalyDetector, folder: Path, tmp_path: Path) -> None:
    free.save(tmp_path / "m.safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    start = ["detect", str(tmp_path / "m.safetensors"), str(folder), "--heat-maps"]
    for path, said in [
        (tmp_path / "full", "which is there already; give the name of a new folder."),
        (tmp_path / "m.safetensors", "which is there already; give the name of a new folder."),
        (folder / "maps", "where pictures are read; give a folder beside it."),
    ]:
        done = CliRunner().invoke(cli, [*start, str(path)])
        assert done.exit_code == 2 and done.stdout == "" and done.stderr.strip().endswith(said)
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "\n".join(f"{n},{2 * n}" for n in range(40)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model = Autoencoder(1, training=Training(max_epochs=1))
        AnomalyDetector(model).fit(str(table)).save(tmp_path / "rows.safetensors")
    done = CliRunner().invoke(
        cli, ["detect", str(tmp_path / "rows.safetensors"), str(table), "--heat-maps", str(tmp_path / "maps")]
    )
    assert done.exit_code == 2 and "this model is for rows of a table; leave it out." in done.stderr
