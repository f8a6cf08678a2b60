"""Odd pictures: where they are odd, in words and as a map; and sizes that do not order scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from isthmus import AnomalyDetector, Autoencoder, Training, load
from isthmus.data import Images
from isthmus.errors import DataError
from isthmus.networks import Conv
from isthmus.tasks._heat import place_in_words

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


def test_where_in_words() -> None:
    heat = np.zeros((30, 30))
    heat[12:15, 14:17] = 1.0
    assert place_in_words(heat) == "rows 12-14, columns 14-16 (middle): 100 % of what is odd"
    assert place_in_words(np.ones((4, 4))) == "everywhere alike"
