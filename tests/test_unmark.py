"""The WatermarkRemover: marks go, and what was never marked comes back as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from isthmus import Autoencoder, Training, WatermarkRemover, load
from isthmus.damage import Gaussian, Marks
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv
from isthmus.spec import SampleSpec

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")  # few pictures, few epochs

Pictures = NDArray[np.uint8]
CHINA, FLOWER = load_sample_images().images
HALVES = [[photo[:, columns] for photo in (CHINA, FLOWER)] for columns in (slice(0, 400), slice(420, 640))]
SMALL = Conv((16, 32), residual=1, skips=True, activation="relu")


def crops(photo: Pictures, side: int = 48, step: int = 30) -> Pictures:
    """Squares of a photo at half its size."""
    small = photo[::2, ::2]
    rows, columns = (range(0, length - side, step) for length in small.shape[:2])
    return np.stack([small[y : y + side, x : x + side] for y in rows for x in columns])


def cross(pictures: Pictures, alpha: float = 0.6) -> tuple[Pictures, NDArray[np.bool_]]:
    """A white cross over the middle, which is none of the shapes that training draws."""
    side = pictures.shape[1]
    mask = np.zeros(pictures.shape[1:3], bool)
    mask[side // 2 - 3 : side // 2 + 3, 8 : side - 8] = mask[8 : side - 8, side // 2 - 3 : side // 2 + 3] = True
    marked = np.where(mask[..., None], pictures + alpha * (255.0 - pictures), pictures)
    return marked.round().astype(np.uint8), np.broadcast_to(mask, pictures.shape[:3])


def psnr(truth: Pictures, found: Any, where: NDArray[np.bool_]) -> float:
    return float(-10 * np.log10(max(np.mean(np.square((truth.astype(float) - found)[where] / 255)), 1e-12)))


def remover(epochs: int = 1, **settings: Any) -> WatermarkRemover:
    training = Training(max_epochs=epochs, batch_size=8, learning_rate=3e-3, patience=None)
    return WatermarkRemover(Autoencoder(network=SMALL, training=training), random_state=0, **settings)


def test_without_a_threshold_all_is_the_networks() -> None:
    clean = crops(CHINA, 24, 60)
    plain = remover(threshold=0.0).fit(clean)
    np.testing.assert_array_equal(plain.transform(clean), plain.autoencoder_.reconstruct(clean))
    unmoved = plain.set_params(threshold=2.0).transform(clean)
    np.testing.assert_array_equal(unmoved, clean)


def test_floats_that_are_kept_are_the_very_same() -> None:
    clean = np.random.default_rng(0).random((24, 16, 16, 3))
    model = remover(threshold=2.0).fit(clean)
    np.testing.assert_array_equal(model.transform(clean.astype(np.float32)), clean.astype(np.float32))


@pytest.mark.slow
def test_pairs_teach_one_mark() -> None:
    known, new = (np.concatenate([crops(photo, step=24) for photo in halves]) for halves in HALVES)
    model = remover(10).fit(cross(known)[0], known)
    assert not model.autoencoder_.module_.variants
    marked, mask = cross(new)
    assert psnr(new, model.transform(marked), mask) > psnr(new, marked, mask) + 8


# ---- what is drawn


def test_marks_cover_as_far_as_they_are_told() -> None:
    black = torch.zeros(30, 3, 64, 64)
    spec = SampleSpec((3, 64, 64))
    marked = Marks(alpha=0.4, count=1)(black, spec, torch.Generator().manual_seed(0))
    assert marked.max() <= 0.4 + 1e-6 and marked.min() >= 0
    share = (marked > 0).any(1).float().mean((1, 2))
    assert 0.01 < share.median() < 0.5  # a mark is seen, and leaves most of the picture alone
    assert (Marks(count=0)(black, spec, torch.Generator()) == black).all()


def test_what_lies_below_a_mark_shows_through() -> None:
    """Where alpha is a, a difference of one below the mark is a difference of 1 - a above it."""
    spec = SampleSpec((1, 48, 48))
    black, white = (
        Marks(alpha=0.7, count=1)(torch.full((8, 1, 48, 48), value), spec, torch.Generator().manual_seed(3))
        for value in (0.0, 1.0)
    )
    through = white - black
    assert through.max() <= 1 + 1e-6 and abs(float(through.min()) - 0.3) < 1e-5


def test_marks_leave_alpha_alone() -> None:
    x = torch.rand(6, 4, 32, 32)
    marked = Marks(count=2)(x, SampleSpec((4, 32, 32)), torch.Generator().manual_seed(0))
    assert torch.equal(marked[:, 3], x[:, 3]) and not torch.equal(marked[:, :3], x[:, :3])


# ---- settings, kinds of data, files


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    clean = crops(CHINA, 24)[:20]
    for X in (np.ones((20, 3)), pl.DataFrame({"size": [1.0, None], "word": ["a", None]})):
        with pytest.raises(DataError, match=r"WatermarkRemover is for pictures; give an array .*, not a \w+ of shape"):
            WatermarkRemover().fit(X)
    with pytest.raises(SettingError, match="threshold is -0.1; it must be a number of at least 0"):
        remover(threshold=-0.1).fit(clean)
    with pytest.raises(SettingError, match="pairs bring one of their own; leave damage out"):
        remover(damage=Marks()).fit(clean, clean)
    with pytest.raises(SettingError, match="marks are drawn on pictures"):
        Marks()(torch.zeros(2, 5), SampleSpec((5,)), torch.Generator())


def test_grey_pictures_and_other_damages_work() -> None:
    grey = crops(CHINA, 24, 60)[..., 0]
    model = remover(damage=Gaussian(0.1)).fit(grey)
    assert model.transform(grey[:3]).shape == grey[:3].shape
    assert remover().fit(grey).transform(grey[:3]).dtype == np.uint8


def test_files_come_back_and_so_does_the_model(tmp_path: Path) -> None:
    Images.write(crops(CHINA, 24)[:24], tmp_path / "clean")
    Images.write(cross(crops(FLOWER, 24)[:3])[0], tmp_path / "marked")
    model, run = str(tmp_path / "m.safetensors"), CliRunner()
    words = ["fit", str(tmp_path / "clean"), "--for", "unmark", "--max-epochs", "1", "--threshold", "0.01", "-o", model]
    words += ["--network", "conv(channels=(4, 8), skips=True)"]
    assert run.invoke(cli, words).exit_code == 0
    assert run.invoke(cli, ["unmark", model, str(tmp_path / "marked"), "-o", str(tmp_path / "out")]).exit_code == 0
    loaded = load(model)
    assert isinstance(loaded, WatermarkRemover) and loaded.threshold == 0.01
    for place, answer in enumerate(loaded.transform(str(tmp_path / "marked"))):
        with Image.open(tmp_path / "out" / f"{place:05d}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), answer)
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    refused = run.invoke(cli, ["fit", str(tmp_path / "t.csv"), "--for", "unmark", "-o", model])
    assert refused.exit_code == 2 and "WatermarkRemover is for pictures" in refused.stderr
