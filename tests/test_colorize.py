"""The Colorizer: nearer to the true colours than what lightness alone tells, and as light as what it was given."""

from __future__ import annotations

import json
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
from sklearn.datasets import load_sample_images

from isthmus import Autoencoder, Colorizer, Training, load
from isthmus.damage import Grey
from isthmus.damage._colour import chroma, luma, painted
from isthmus.data import Images
from isthmus.errors import DataError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv
from isthmus.spec import SampleSpec

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")  # few pictures, few epochs

Pictures = NDArray[np.uint8]
LUMA = np.array([0.299, 0.587, 0.114])
SMALL = Conv((8, 16), residual=1, skips=True, activation="relu")


def scenes(n: int, seed: int, side: int = 24) -> Pictures:
    """Lying bars in blue and standing ones in orange on green: the shape tells the colour, the lightness does not."""
    random = np.random.default_rng(seed)
    found = np.empty((n, side, side, 3))
    for one in found:
        one[:] = random.uniform(60, 140) * np.array([0.7, 1.2, 0.6])
        lying, start, width = random.random() < 0.5, int(random.integers(2, side - 8)), int(random.integers(3, 7))
        tint = np.array([0.5, 0.7, 1.9]) if lying else np.array([1.5, 0.9, 0.3])
        bar = one[start : start + width] if lying else one[:, start : start + width]
        bar[:] = random.uniform(60, 130) * tint / (tint @ LUMA)
    return np.clip(found, 0, 255).round().astype(np.uint8)


def colorizer(epochs: int = 1, **settings: Any) -> Colorizer:
    training = Training(max_epochs=epochs, batch_size=16, learning_rate=3e-3, patience=None)
    return Colorizer(Autoencoder(network=SMALL, training=training), random_state=0, **settings)


def light_of(pictures: Any) -> NDArray[np.float64]:
    return np.asarray(pictures, float) @ LUMA


def chroma_of(pictures: Any) -> NDArray[np.float64]:
    return np.asarray(pictures, float) - light_of(pictures)[..., None]


def error(truth: Pictures, found: Any) -> float:
    """RMSE of the chroma, in levels of 255."""
    return float(np.sqrt(np.mean((chroma_of(truth) - chroma_of(found)) ** 2)))


@pytest.fixture(scope="module")
def fitted() -> Colorizer:
    model = Colorizer(
        Autoencoder(
            network=Conv((16, 32, 32), residual=1, skips=True, activation="relu"),
            training=Training(max_epochs=12, batch_size=16, learning_rate=3e-3, patience=None),
        ),
        random_state=0,
    )
    return model.fit(scenes(400, 0))


@pytest.fixture(scope="module")
def quick() -> Colorizer:
    """Of two photos, on small versions of them."""
    photos = [photo[::4, ::4] for photo in load_sample_images().images]
    model = Autoencoder(network=SMALL, data_type=Images(size=24), training=Training(max_epochs=1))
    return Colorizer(model, random_state=0).fit(photos)


# ---- colours


@pytest.mark.slow
def test_shapes_tell_the_colour_that_lightness_does_not(fitted: Colorizer) -> None:
    training, new = scenes(400, 0), scenes(60, 1)
    light = light_of(new).round().astype(np.uint8)
    level, wanted = light_of(training).round().astype(int).ravel(), chroma_of(training).reshape(-1, 3)
    count = np.maximum(np.bincount(level, minlength=256), 1)
    means = np.stack([np.bincount(level, wanted[:, i], 256) / count for i in range(3)], -1)
    by_lightness = error(new, means[light])
    assert by_lightness < error(new, np.repeat(light[..., None], 3, -1))
    assert error(new, fitted.transform(light)) < 0.7 * by_lightness


def test_an_answer_is_as_light_as_what_was_given(quick: Colorizer) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (3, 30, 41), dtype=np.uint8)  # far from anything it knows, black and white too
    answer = quick.transform(noise)
    assert answer.shape == (3, 30, 41, 3) and answer.dtype == np.uint8
    assert np.abs(light_of(answer) - noise).max() <= 0.5 + 1e-9
    floats = random.random((3, 30, 41))
    assert np.abs(light_of(quick.transform(floats)) - floats).max() < 1e-12
    assert np.abs(chroma_of(answer)).mean() > 0.1  # something was coloured


def test_pictures_in_colour_are_read_as_grey(quick: Colorizer) -> None:
    photo = load_sample_images().images[0][:60, :80][None]
    grey = light_of(photo)[..., None].repeat(3, -1) / 255
    np.testing.assert_allclose(quick.transform(photo / 255.0), quick.transform(grey), atol=1e-6)
    answer = quick.transform(photo)
    assert np.abs(light_of(answer) - light_of(photo)).max() <= 0.5 + 1e-9


def test_colours_are_laid_over_the_whole_picture(quick: Colorizer) -> None:
    """The network saw 24 x 24 pixels; what is sharp in a large picture stays as sharp."""
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 200, 150))
    answer = quick.transform(stripes)
    np.testing.assert_array_equal(answer[0, :, ::2], 0)  # nothing is as light as black but black
    np.testing.assert_array_equal(answer[0, :, 1::2], 255)


def test_chroma_is_weightless_and_painting_keeps_the_lightness() -> None:
    generator = torch.Generator().manual_seed(0)
    light, tint = (torch.rand(4, n, 9, 9, generator=generator, dtype=torch.float64) for n in (1, 3))
    assert luma(chroma(tint)).abs().max() < 1e-15
    colours = painted(light, 3 * (tint - 0.5))
    assert colours.min() > -1e-12 and colours.max() < 1 + 1e-12
    assert (luma(colours) - light).abs().max() < 1e-12
    torch.testing.assert_close(painted(luma(tint), tint), tint)  # what is a colour already stays one


def test_grey_takes_away_a_share_of_the_colour() -> None:
    x = torch.rand(2, 4, 5, 5, dtype=torch.float64)
    spec, generator = SampleSpec((4, 5, 5)), torch.Generator()
    half = Grey(0.5)(x, spec, generator)
    torch.testing.assert_close(chroma(half[:, :3]), chroma(x[:, :3]) / 2)
    torch.testing.assert_close(luma(half[:, :3]), luma(x[:, :3]))
    assert torch.equal(half[:, 3], x[:, 3])  # alpha is no colour


# ---- settings


def test_pairs_teach_the_same_as_colour_pictures() -> None:
    colours = scenes(64, 2)
    grey = light_of(colours).round().astype(np.uint8)
    paired, alone = colorizer().fit(grey, colours), colorizer().fit(colours)
    new = scenes(5, 3)
    assert paired.autoencoder_.data_.spec.shape == (3, 24, 24)
    assert error(alone.transform(new), paired.transform(new)) < 3  # apart from rounding the lightness


@pytest.mark.slow
def test_vivid_answers_are_more_colourful() -> None:
    """Most of the discs are red and some are blue: their mean is neither."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:8, :8]
    disc = np.hypot(y - 4, x - 4) < 3
    colours = np.full((160, 8, 8, 3), 90, np.uint8)
    for one in colours:
        one[disc] = (217, 60, 60) if random.random() < 0.75 else (80, 100, 216)
    network = Conv((16,), residual=1, skips=True)
    training = Training(max_epochs=20, batch_size=16, learning_rate=3e-3, patience=None)
    amounts = []
    for vivid in (False, True):
        model = Colorizer(Autoencoder(network=network, training=training), vivid=vivid, random_state=0).fit(colours)
        amounts.append(float(np.linalg.norm(chroma_of(model.transform(colours[:1]))[0][disc], axis=-1).mean()))
    assert amounts[1] > 1.1 * amounts[0]


def test_large_pictures_are_seen_small_and_small_ones_as_they_are() -> None:
    prepared = [Colorizer().prepared(scenes(12, 0, side)) for side in (24, 120)]
    assert [one.data_type for one in prepared] == [
        Images(mode="colour", patch=24),
        Images(mode="colour", size=96, patch=64),
    ]


@pytest.mark.parametrize(
    "X",
    [
        np.ones((20, 3)),
        pl.DataFrame({"size": [1.0, None, 2.0], "word": ["a", "b", None]}),
        pd.DataFrame({"size": [1.0, None, 2.0], "word": ["a", "b", None]}),
    ],
    ids=["numbers", "polars", "pandas"],
)
def test_tables_are_refused(X: Any) -> None:
    with pytest.raises(
        DataError, match=r"^Colorizer is for pictures; give an array .*, not a \w+ of shape \(\d+, \d\)\.$"
    ):
        Colorizer().fit(X)


def test_grey_pictures_teach_no_colour() -> None:
    with pytest.raises(
        DataError, match="the pictures to learn from are all grey; give pictures in colour, or grey ones"
    ):
        Colorizer().fit(scenes(20, 0)[..., 0])
    with pytest.raises(DataError, match="the data type is tables; leave data_type out"):
        Colorizer(Autoencoder(data_type="tables")).fit(scenes(20, 0))


# ---- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey files of every kind that can hold them."""
    place = tmp_path_factory.mktemp("album")
    values = np.random.default_rng(0).integers(0, 256, (37, 52, 2), dtype=np.uint8)
    Image.fromarray(values[..., 0]).save(place / "plain.png")
    Image.fromarray(values[:20, ..., 0]).save(place / "photo.jpg")
    Image.fromarray(values, "LA").save(place / "with_alpha.png")
    Image.fromarray(values[..., 0].astype(np.uint16) * 257).save(place / "deep.png")
    Image.fromarray(values[..., 0] > 127).save(place / "black_and_white.png")
    palette = Image.fromarray(values[..., 0] // 64)
    palette.putpalette([level for grey in (0, 80, 160, 240) for level in (grey, grey, grey)])
    palette.save(place / "palette.png")
    few = Image.fromarray(values[..., 0] // 128)
    few.putpalette([200, 30, 30, 20, 90, 250])  # a picture with two colours
    few.save(place / "two_colours.png")
    return place


def test_grey_files_become_colour_files(quick: Colorizer, folder: Path, tmp_path: Path) -> None:
    answer = quick.answer(str(folder))
    assert answer.headline.startswith("Coloured 7 pictures; the colour given to them was ")
    assert answer.table["file"].to_list() == sorted(path.name for path in folder.iterdir())
    assert (answer.table["added"] > 0).all()
    Images.write(answer.samples, tmp_path)
    for path in folder.iterdir():
        with Image.open(path) as before, Image.open(tmp_path / path.name) as after:
            assert after.size == before.size and after.format == before.format
            assert after.mode == ("RGBA" if path.name == "with_alpha.png" else "RGB")
            if after.mode == "RGBA":
                np.testing.assert_array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 1])
            scale = 257 if path.name == "deep.png" else 1
            plain = np.asarray(before.convert("RGB") if before.mode in ("1", "P") else before, float) / scale
            given = light_of(plain) if plain.shape[2:] == (3,) else plain[..., 0] if plain.ndim == 3 else plain
            off = np.abs(light_of(np.asarray(after)[..., :3]) - given)
            assert off.max() <= (12 if path.suffix == ".jpg" else 1)


def test_lists_come_back_as_lists(quick: Colorizer) -> None:
    arrays = [np.random.default_rng(0).random((20, 30 + place)).astype(np.float32) for place in range(3)]
    answer = quick.transform(arrays)
    assert [(one.shape, one.dtype) for one in answer] == [((20, 30 + place, 3), np.float32) for place in range(3)]
    images = quick.transform([Image.fromarray((255 * one).astype(np.uint8)) for one in arrays])
    assert [image.mode for image in images] == ["RGB"] * 3


def test_the_same_after_loading(quick: Colorizer, folder: Path, tmp_path: Path) -> None:
    quick.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    for one, other in zip(quick.transform(str(folder)), loaded.transform(str(folder)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    Images.write(scenes(24, 0), tmp_path / "colours")
    Images.write(scenes(3, 1)[..., 1], tmp_path / "grey")
    model, table = str(tmp_path / "m.safetensors"), tmp_path / "table.csv"
    table.write_text("a,b\n1,x\n2,y\n")
    run = CliRunner()
    words = ["fit", str(tmp_path / "colours"), "--for", "colorize", "--max-epochs", "1", "-o", model]
    words += ["--network", "conv(channels=(4, 8), skips=True)"]
    assert run.invoke(cli, words).exit_code == 0
    done = run.invoke(cli, ["colorize", model, str(tmp_path / "grey"), "-o", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["00000.png", "00001.png", "00002.png"]
    with Image.open(tmp_path / "out" / "00001.png") as image:
        assert (image.mode, image.size) == ("RGB", (24, 24))
    refused = run.invoke(cli, ["fit", str(table), "--for", "colorize", "-o", model])
    assert refused.exit_code == 2 and "Colorizer is for pictures; give an array" in refused.stderr
