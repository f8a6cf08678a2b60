"""The Denoiser: cleaner than it came, cleaner than simple rivals, and in the form that it came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import median_filter
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA

from isthmus import Autoencoder, Denoiser, Training, load
from isthmus.damage import Gaussian, Masking, SaltAndPepper
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.networks import Conv

Pictures = NDArray[np.float32]
DIGITS: Pictures = (load_digits().images / 16).astype(np.float32)
CLEAN, NEW = DIGITS[:1300], DIGITS[1300:]
SMALL = Conv((24, 48), residual=1, skips=True, activation="relu")


def denoiser(epochs: int = 10, **settings: Any) -> Denoiser:
    training = Training(max_epochs=epochs, batch_size=32, learning_rate=3e-3, patience=None)
    return Denoiser(Autoencoder(network=SMALL, training=training), random_state=0, **settings)


def psnr(clean: Pictures, found: Pictures) -> float:
    """In dB, the mean over pictures."""
    return float(np.mean(-10 * np.log10(np.square(clean - found).mean((1, 2)))))


def noisy(sigma: float, pictures: Pictures = NEW) -> Pictures:
    noise = np.random.default_rng(0).normal(size=pictures.shape)
    return (pictures + sigma * noise).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> Denoiser:
    """Of noise of unknown level."""
    return denoiser(damage=Gaussian((0.0, 0.5))).fit(CLEAN)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5])
def test_noise_of_any_level_goes(fitted: Denoiser, sigma: float) -> None:
    spoiled = noisy(sigma)
    rivals = max(psnr(NEW, median_filter(spoiled, (1, size, size))) for size in (2, 3))
    gain = {0.1: 1.5, 0.3: 5.0, 0.5: 7.0}[sigma]
    cleaned = psnr(NEW, fitted.transform(spoiled))
    assert cleaned > psnr(NEW, spoiled) + gain
    assert cleaned > rivals + 2


@pytest.mark.slow
def test_clean_pictures_stay_nearly_as_they_are(fitted: Denoiser) -> None:
    assert psnr(NEW, fitted.transform(NEW)) > 25


@pytest.mark.slow
def test_salt_and_pepper_and_masking_are_undone() -> None:
    random = np.random.default_rng(0)
    hit, salt = random.random(NEW.shape) < 0.2, random.random(NEW.shape) < 0.5
    peppered = np.where(hit, salt, NEW).astype(np.float32)
    masked = np.where(hit, 0, NEW).astype(np.float32)
    cases = ((SaltAndPepper((0.0, 0.4)), peppered), (Masking((0.0, 0.4)), masked))
    for damage, spoiled in cases:
        cleaned = denoiser(damage=damage).fit(CLEAN).transform(spoiled)
        rival = max(psnr(NEW, median_filter(spoiled, (1, size, size))) for size in (2, 3))
        assert psnr(NEW, cleaned) > max(psnr(NEW, spoiled), rival) + 3, damage


@pytest.mark.slow
def test_pairs_teach_a_damage_that_nobody_named() -> None:
    """Every other line dimmed to half: not one of ours."""

    def dimmed(pictures: Pictures) -> Pictures:
        spoiled = pictures.copy()
        spoiled[:, ::2] *= 0.5
        return spoiled

    model = denoiser().fit(dimmed(CLEAN), CLEAN)
    assert not model.autoencoder_.module_.variants
    assert psnr(NEW, model.transform(dimmed(NEW))) > psnr(NEW, dimmed(NEW)) + 10


@pytest.mark.slow
def test_tables_beat_principal_components() -> None:
    X = load_breast_cancer().data
    X = (X - X.mean(0)) / X.std(0)
    spoiled = X + 0.4 * np.random.default_rng(0).normal(size=X.shape)

    def error(found: NDArray[np.float64]) -> float:
        return float(np.square(found - X).mean())

    ours = error(Denoiser(random_state=0).fit(X).transform(spoiled))
    fitted = [PCA(size).fit(X) for size in range(1, 30)]
    theirs = min(error(one.inverse_transform(one.transform(spoiled))) for one in fitted)
    assert ours < 0.5 * error(spoiled)
    assert ours < theirs  # of 29 PCAs the one that is best on the very noise


def test_labels_are_ignored_and_pairs_are_not() -> None:
    plain, labelled = (denoiser(1).fit(CLEAN[:128], y) for y in (None, load_digits().target[:128]))
    np.testing.assert_array_equal(plain.transform(NEW[:5]), labelled.transform(NEW[:5]))
    assert (denoiser(1).fit(CLEAN[:128], CLEAN[:128]).transform(NEW[:5]) != plain.transform(NEW[:5])).any()


def test_a_damage_beside_pairs_or_beside_denoising_is_refused() -> None:
    with pytest.raises(SettingError, match="pairs bring one of their own; leave damage out"):
        denoiser(damage="gaussian").fit(CLEAN[:128], CLEAN[:128])
    with pytest.raises(SettingError, match="variants of this autoencoder bring one of their own"):
        Denoiser(Autoencoder(2, variant="denoising"), damage="masking").fit(CLEAN[:128])
    with pytest.raises(
        SettingError, match="sigma of gaussian is \\(0.5, 0.1\\); it must be a number of at least 0, or two"
    ):
        denoiser(damage=Gaussian((0.5, 0.1))).fit(CLEAN[:128])
    with pytest.raises(DataError, match="X has 128 samples and its counterparts 60"):
        denoiser(1).fit(CLEAN[:128], CLEAN[:60])


def test_tables_with_words_have_cells_swapped() -> None:
    frame = pl.DataFrame({"size": [1.0, 2.0, 3.0, 4.0] * 40, "word": ["small", "small", "large", "large"] * 40})
    model = Denoiser(random_state=0).fit(frame)
    assert "swap" in repr(model.autoencoder_.variant).lower()
    cleaned = model.transform(frame)
    assert isinstance(cleaned, pl.DataFrame)
    assert cleaned.schema == frame.schema


# ---- files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey, colour and 16 bits, of three sizes."""
    place = tmp_path_factory.mktemp("scans")
    values = np.random.default_rng(0).random((40, 70, 3))
    Image.fromarray((255 * values[..., 0]).astype(np.uint8)).save(place / "grey.png")
    Image.fromarray((255 * values[:33, :21]).astype(np.uint8)).save(place / "colour.jpg")
    (place / "deep").mkdir()
    Image.fromarray((65535 * values[:20, ..., 1]).astype(np.uint16)).save(place / "deep" / "sixteen.png")
    return place


@pytest.fixture(scope="module")
def of_files(folder: Path) -> Denoiser:
    network = Conv((4, 8), skips=True, activation="relu")
    model = Autoencoder(network=network, data_type=Images(patch=16), training=Training(max_epochs=1))
    return Denoiser(model, random_state=0).fit(str(folder))


def test_files_keep_names_sizes_modes_and_depth(of_files: Denoiser, folder: Path, tmp_path: Path) -> None:
    answer = of_files.answer(str(folder))
    Images.write(answer.samples, tmp_path / "out")
    for name in ("grey.png", "colour.jpg", "deep/sixteen.png"):
        with Image.open(folder / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert (before.size, before.mode, before.format) == (after.size, after.mode, after.format)
    assert answer.table["file"].to_list() == ["colour.jpg", "deep/sixteen.png", "grey.png"]
    assert answer.headline.startswith("Cleaned 3 pictures; taken away was ")


def test_what_was_taken_away_is_measured(of_files: Denoiser, folder: Path) -> None:
    answer = of_files.answer(str(folder))
    for place, removed in enumerate(answer.table["removed"]):
        given, back = (np.asarray(one[place], float) for one in (Images.read(folder), answer.samples))
        scale = 65535 if given.max() > 255 else 255
        # the grey ones go through a network for colour, as three equal channels that come back apart
        assert np.sqrt(np.square((given - back) / scale).mean()) == pytest.approx(removed, rel=0.2)


def test_the_same_after_loading(of_files: Denoiser, folder: Path, tmp_path: Path) -> None:
    of_files.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    for one, other in zip(of_files.transform(str(folder)), loaded.transform(str(folder)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_numbers_stay_numbers_of_their_type() -> None:
    whole = (255 * CLEAN[:128]).astype(np.uint8)
    model = denoiser(1).fit(whole)
    for given in (whole, whole.astype(np.uint16) * 257, CLEAN[:128].astype(np.float64)):
        cleaned = model.transform(given)
        assert (cleaned.dtype, cleaned.shape) == (given.dtype, given.shape)


def test_a_u_net_restores_and_does_not_draw(of_files: Denoiser) -> None:
    with pytest.raises(SettingError, match="a U-Net \\(skips=True\\), made for restoring: .* no new ones can be drawn"):
        of_files.autoencoder_.sample(2)


def test_colours_that_a_grey_model_loses_are_told(caplog: pytest.LogCaptureFixture) -> None:
    model = denoiser(1).fit(CLEAN[:128])
    coloured = np.repeat(NEW[:3, ..., None], 3, axis=3)
    with caplog.at_level("WARNING", logger="isthmus"):
        assert model.transform(coloured).shape == coloured.shape
    assert "they have colours, and the model sees grey: results are grey too" in caplog.text
