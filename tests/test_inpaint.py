"""The Inpainter: what is there stays bit for bit, what is missing comes closer than simple rivals bring it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from skimage.restoration import inpaint_biharmonic
from sklearn.datasets import load_digits

from isthmus import Autoencoder, Inpainter, Training, load
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.networks import Conv
from isthmus.networks._conv_skips import spread_in
from isthmus.variants import Holes, Masked

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

Pictures = NDArray[np.float32]
DIGITS: Pictures = (load_digits().images / 16).astype(np.float32)
CLEAN, NEW = DIGITS[:1300], DIGITS[1300:1500]
SMALL = Conv((16, 32), skips=True, activation="relu")


def inpainter(epochs: int = 1, network: Any = SMALL, **settings: Any) -> Inpainter:
    training = Training(max_epochs=epochs, batch_size=32, learning_rate=3e-3, patience=None)
    return Inpainter(Autoencoder(network=network, training=training, verbose=False), random_state=0, **settings)


def holed(pictures: Pictures, share: float = 0.5) -> Pictures:
    made = pictures.copy()
    made[np.random.default_rng(0).random(made.shape[:3]) < share] = np.nan
    return made


def neighbours(given: Pictures) -> Pictures:
    """Every missing pixel as the mean of those present around it."""
    present = ~np.isnan(given)
    sums, counts = (uniform_filter(one.astype(float), (1, 3, 3)) for one in (np.nan_to_num(given), present))
    return np.where(present, given, sums / np.maximum(counts, 1e-6)).astype(np.float32)


# ---- how well


def stripes(n: int, seed: int) -> Pictures:
    """Every row of a picture has one brightness, which tells nothing of its neighbours'."""
    return np.repeat(np.random.default_rng(seed).random((n, 8, 1), dtype=np.float32), 8, axis=2)


@pytest.mark.slow
def test_lost_pixels_and_holes_are_filled_better_than_by_their_neighbours() -> None:
    model = inpainter(20).fit(stripes(600, 0))
    new = stripes(100, 1)
    square = new.copy()
    square[:, 3:5, 3:5] = np.nan
    for given in (holed(new, 0.3), square):
        missing = np.isnan(given)
        ours, theirs = (np.square(one - new)[missing].mean() for one in (model.transform(given), neighbours(given)))
        assert ours < 0.4 * theirs


def test_what_stands_where_pixels_are_missing_does_not_matter() -> None:
    """By mask, whatever the picture shows there, as by NaN."""
    model = inpainter().fit(CLEAN[:96])
    missing = np.random.default_rng(1).random(NEW[:9].shape) < 0.3
    bright, dark = (np.where(missing, value, NEW[:9]).astype(np.float32) for value in (0.9, 0.1))
    by_mask = [model.transform(one, mask=missing) for one in (bright, dark)]
    np.testing.assert_array_equal(by_mask[0], by_mask[1])
    np.testing.assert_allclose(by_mask[0], model.transform(np.where(missing, np.nan, NEW[:9])), atol=1e-6)


def test_one_mask_for_all_a_list_of_them_and_masks_of_0_and_255_are_the_same() -> None:
    model = inpainter().fit(CLEAN[:96])
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 1:6] = True
    masks = (mask, [mask] * 5, np.stack([mask] * 5), 255 * mask.astype(np.uint8), mask.astype(np.uint8))
    first, *others = (model.transform(NEW[:5], mask=one) for one in masks)
    assert (first != NEW[:5]).any()
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_a_hole_at_the_edge_is_a_part_of_the_picture() -> None:
    """Rows without any value at the lower end are no padding: the network's answer there is not the bare start."""
    network = Conv((8, 16), skips=True, activation="relu")
    model = Inpainter(
        Autoencoder(network=network, data_type=Images(patch=16), training=Training(max_epochs=6), verbose=False),
        random_state=0,
    ).fit(np.full((40, 16, 16), 0.7, dtype=np.float32))
    given = np.full((2, 24, 20), 0.7, dtype=np.float32)
    given[:, 19:] = np.nan
    assert np.abs(model.transform(given) - 0.7).max() < 0.1


def test_large_pictures_are_filled_in_tiles() -> None:
    model = inpainter(network=Conv((4,), skips=True, activation="relu"))
    model.autoencoder.set_params(data_type=Images(patch=8))
    model.fit(CLEAN[:64])
    large = np.random.default_rng(0).random((1, 700, 530), dtype=np.float32)
    missing = np.random.default_rng(1).random(large.shape) < 0.4
    filled = model.transform(np.where(missing, np.nan, large).astype(np.float32))
    np.testing.assert_array_equal(filled[~missing], large[~missing])
    part = np.s_[:, :100, :90]  # far from the tiles' seams
    small = model.transform(np.where(missing, np.nan, large).astype(np.float32)[:, :200, :200])
    np.testing.assert_allclose(filled[part], small[part], atol=1e-5)


# ---- what comes back


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_present_values_come_back_bit_for_bit(dtype: str) -> None:
    full = 1 if dtype.startswith("f") else np.iinfo(dtype).max
    whole = (full * NEW[:20]).astype(dtype)
    model = inpainter(network="dense").fit((full * CLEAN[:96]).astype(dtype))
    missing = np.random.default_rng(0).random(whole.shape) < 0.3
    filled = model.transform(whole, mask=missing)
    assert (filled.dtype, filled.shape) == (whole.dtype, whole.shape)
    np.testing.assert_array_equal(filled[~missing], whole[~missing])
    assert (filled[missing] != whole[missing]).any()


def test_nothing_missing_is_nothing_done() -> None:
    model = inpainter().fit(CLEAN[:96])
    np.testing.assert_array_equal(model.transform(NEW[:9]), NEW[:9])
    assert model.answer(NEW[:9]).headline.startswith("Nothing is missing in 9 pictures")
    answer = model.answer(holed(NEW[:9], 0.25))
    assert answer.headline.startswith("Filled 9 pictures of 9; 2")
    assert answer.table["missing"].mean() == pytest.approx(np.isnan(holed(NEW[:9], 0.25)).mean())


# ---- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, the same with transparent holes, masks, and a JPEG with its mask."""
    place = tmp_path_factory.mktemp("photos")
    values = (255 * np.random.default_rng(0).random((3, 40, 33, 3))).astype(np.uint8)
    for name in ("clean", "holed", "masks", "jpegs"):
        (place / name).mkdir()
    for number, one in enumerate(values):
        Image.fromarray(one).save(place / "clean" / f"{number}.png")
        alpha = np.full((40, 33), 255, dtype=np.uint8)
        alpha[5:12, 8 + number : 20] = 0
        Image.fromarray(np.dstack([one, alpha])).save(place / "holed" / f"{number}.png")
        Image.fromarray(255 - alpha).save(place / "masks" / f"{number}.png")
        Image.fromarray(one).save(place / "jpegs" / f"{number}.jpg")
    return place


@pytest.fixture(scope="module")
def of_files(folder: Path) -> Inpainter:
    network = Conv((4, 8), skips=True, activation="relu")
    model = Autoencoder(network=network, data_type=Images(patch=16), training=Training(max_epochs=1), verbose=False)
    return Inpainter(model, random_state=0).fit(str(folder / "clean"))


def test_transparent_holes_are_filled_and_become_opaque(of_files: Inpainter, folder: Path, tmp_path: Path) -> None:
    Images.write(of_files.transform(str(folder / "holed")), tmp_path)
    for name in ("0.png", "1.png", "2.png"):
        before, after = (np.asarray(Image.open(place / name)) for place in (folder / "holed", tmp_path))
        missing = before[..., 3] == 0
        np.testing.assert_array_equal(after[~missing], before[~missing])
        assert (after[missing, 3] == 255).all() and (after[missing] != before[missing]).any()


def test_masks_are_found_by_name_and_jpeg_becomes_png(of_files: Inpainter, folder: Path, tmp_path: Path) -> None:
    filled = of_files.transform(str(folder / "jpegs"), mask=str(folder / "masks"))
    assert filled.names == ["0.png", "1.png", "2.png"]
    Images.write(filled, tmp_path)
    for number in range(3):
        given = np.asarray(Image.open(folder / "jpegs" / f"{number}.jpg"))
        after = np.asarray(Image.open(tmp_path / f"{number}.png"))
        missing = np.asarray(Image.open(folder / "masks" / f"{number}.png")) > 0
        np.testing.assert_array_equal(after[~missing], given[~missing])
        assert (after[missing] != given[missing]).any()


def test_alpha_of_training_is_nothing_to_learn(folder: Path) -> None:
    model = inpainter(network=Conv((4, 8), skips=True)).fit(str(folder / "holed"))
    assert model.autoencoder_.data_.spec.shape[0] == 3


def test_the_command_line_takes_a_mask(of_files: Inpainter, folder: Path, tmp_path: Path) -> None:
    of_files.save(tmp_path / "model.st")
    words = ["inpaint", str(tmp_path / "model.st"), str(folder / "jpegs"), "--mask", str(folder / "masks")]
    result = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "out")])
    assert result.exit_code == 0 and "Filled 3 pictures of 3; " in result.stderr, result.stderr
    assert Images.read(tmp_path / "out") == of_files.transform(str(folder / "jpegs"), mask=str(folder / "masks"))
    wrong = CliRunner().invoke(cli, [*words[:-1], str(folder / "none"), "-o", str(tmp_path / "other")])
    assert wrong.exit_code == 2 and "none" in wrong.stderr


def test_the_same_after_loading(of_files: Inpainter, folder: Path, tmp_path: Path) -> None:
    of_files.save(tmp_path / "model.st")
    assert load(tmp_path / "model.st").transform(str(folder / "holed")) == of_files.transform(str(folder / "holed"))


# ---- what is refused


def test_what_cannot_be_is_refused_in_a_sentence(of_files: Inpainter, folder: Path) -> None:
    with pytest.raises(DataError, match="Inpainter fills pictures, and these data are tables; for tables take Imputer"):
        Inpainter().fit(np.zeros((20, 4)))
    with pytest.raises(SettingError, match="hiding is 'denoising', which tells the encoder of no gaps"):
        inpainter(hiding="denoising").fit(CLEAN[:32])
    with pytest.raises(SettingError, match="this autoencoder has the variant masked already; leave hiding out"):
        Inpainter(Autoencoder(variant="masked"), hiding=Holes()).fit(CLEAN[:32])
    with pytest.raises(DataError, match="0.png has 40 x 33 pixels .* and its mask 8 x 8"):
        of_files.transform(str(folder / "clean"), mask=np.ones((8, 8)))
    with pytest.raises(DataError, match="there are 3 pictures and 2 masks"):
        of_files.transform(str(folder / "clean"), mask=np.ones((2, 40, 33)))
    with pytest.raises(SettingError, match="share of holes is 2; it must be a number from 0 to 1"):
        Holes(share=2).check()


def test_an_autoencoder_that_hides_by_itself_keeps_its_way() -> None:
    training = Training(max_epochs=1)
    model = Inpainter(Autoencoder(network=SMALL, variant=Masked(0.4, visible=0.0), training=training)).fit(CLEAN[:64])
    assert model.autoencoder_.variant == Masked(0.4, visible=0.0)
    assert not np.isnan(model.transform(holed(NEW[:4]))).any()


# ---- what is hidden in training


def test_holes_hide_pixels_boxes_and_both() -> None:
    import torch

    from isthmus.module import AutoencoderModule
    from isthmus.spec import SampleSpec

    variant = Holes(share=0.5, side=0.5, count=1)
    module = AutoencoderModule(SampleSpec((1, 20, 20), free=(1, 2)), 4, Conv((4,), code="grid"), "normal", variant)
    x = torch.rand(600, 1, 20, 20)
    seen = module.reconstruct(x, generator=torch.Generator().manual_seed(0))
    hidden = (seen.seen_weight == -1).float().flatten(1).mean(1)
    boxes = (hidden - 0.25).abs() < 1e-6  # 10 x 10 of 20 x 20
    pixels = ((hidden - 0.5).abs() < 0.1) & ~boxes
    both = (hidden - 0.625).abs() < 0.1
    for third in (boxes, pixels, both):
        assert 0.2 < third.float().mean() < 0.47
    assert seen.weight is not None and torch.equal(seen.weight > 0, seen.seen_weight == -1)  # the hidden ones count


# ---- the first guess


def test_the_first_guess_bends_as_little_as_biharmonic_equations_do() -> None:
    """Half of the pixels are missing of a smooth picture; beside a smaller one in the same batch nothing changes."""
    at = np.linspace(0, 2, 40)
    smooth = 0.5 + 0.3 * np.sin(3 * at[:, None]) * np.cos(2 * at + at[:, None])
    gone = np.random.default_rng(0).random(smooth.shape) < 0.5
    x, weight = (torch.tensor(each, dtype=torch.float32)[None, None] for each in (smooth, ~gone))
    guess = spread_in(torch.where(weight > 0, x, torch.nan), weight)
    rival = inpaint_biharmonic(np.where(gone, 0, smooth), gone)
    mean = uniform_filter(np.where(gone, 0, smooth), 3) / np.maximum(uniform_filter((~gone).astype(float), 3), 1e-9)

    def error(found: Any) -> float:
        return float(np.sqrt(np.mean(np.square(np.asarray(found).squeeze() - smooth)[gone])))

    assert error(guess) < min(1.5 * error(rival) + 1e-3, 0.25 * error(mean))
    assert (guess == x)[weight > 0].all()
    outside = torch.ones(1, 1, 50, 45, dtype=torch.bool)
    outside[..., :40, :40] = False
    wide = torch.full((1, 1, 50, 45), torch.nan)
    wide[..., :40, :40] = torch.where(weight > 0, x, torch.nan)
    padded = torch.zeros(1, 1, 50, 45)
    padded[..., :40, :40] = torch.where(weight > 0, 1.0, -1.0)
    torch.testing.assert_close(spread_in(wide, padded, outside)[..., :40, :40], guess)


def test_the_middle_of_a_large_hole_is_not_black() -> None:
    """Whatever lies between: 7 pixels from the edge, 40, or farther than any window reaches."""
    x = torch.full((1, 3, 260, 130), 0.7)
    for width in (14, 80, 120):
        weight = torch.ones(1, 1, 260, 130).expand(1, 3, -1, -1).clone()
        weight[..., 5 : 5 + 2 * width, 5 : 5 + width] = 0
        guess = spread_in(torch.where(weight > 0, x, torch.nan), weight)
        torch.testing.assert_close(guess, x, atol=1e-4, rtol=0)
