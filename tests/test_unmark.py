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
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv
from isthmus.networks._conv_skips import spread_in
from isthmus.spec import SampleSpec
from isthmus.tasks._unmarking import found, without_mark
from isthmus.variants import Denoising

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


def test_only_what_is_found_is_changed() -> None:
    clean = crops(CHINA, 24, 60)
    model = remover().fit(clean)
    law = model.autoencoder_.module_.likelihood
    assert law.name() == "bernoulli" and model.autoencoder_.module_.variants[-1].asks == "where"
    np.testing.assert_array_equal(model.set_params(threshold=1.0).transform(clean), clean)
    floats = clean / np.float32(255)
    likely = model.autoencoder_.reconstruct(floats).mean(-1)
    few, more = (
        (model.set_params(threshold=float(np.quantile(likely, part)), looks=1).transform(floats) != floats).any(-1)
        for part in (0.99, 0.9)
    )
    assert 0 < few.mean() < more.mean()


def test_floats_that_are_kept_are_the_very_same() -> None:
    clean = np.random.default_rng(0).random((24, 16, 16, 3))
    model = remover(threshold=1.0).fit(clean)
    np.testing.assert_array_equal(model.transform(clean.astype(np.float32)), clean.astype(np.float32))


@pytest.mark.slow
def test_pairs_teach_one_mark() -> None:
    known, new = (np.concatenate([crops(photo, step=24) for photo in halves]) for halves in HALVES)
    model = remover(10).fit(cross(known)[0], known)
    marked, mask = cross(new)
    assert psnr(new, model.transform(marked), mask) > psnr(new, marked, mask) + 8


# ---- what is asked of the network, and what becomes of its answer


def test_the_network_is_asked_where_marks_are() -> None:
    spec, x = SampleSpec((3, 48, 48)), torch.rand(20, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    module = AutoencoderModule(spec, 4, "conv(channels=(4,))", "bernoulli", Denoising(Marks(count=1), asks="where"))
    done = module.train().reconstruct(x, generator=torch.Generator().manual_seed(0))
    change = (done.seen - x).square().mean(1, keepdim=True).sqrt().expand_as(x)
    assert done.weight is not None and 0.01 < done.target.mean() < 0.5
    assert torch.equal(done.target, (change > 0.02).float())
    assert (done.weight[change <= 0.02] == 1).all()  # a strong change counts for more than a faint one
    assert done.weight[(change > 0.02) & (change < 0.03)].max() < 0.2 and done.weight[change > 0.2].min() > 3
    quiet = module.eval().reconstruct(x)
    assert torch.equal(quiet.seen, x) and torch.equal(quiet.target, x)


def test_pictures_come_in_eight_ways_and_all_that_belongs_to_them_likewise() -> None:
    spec, x = SampleSpec((1, 4, 4), gaps=True), torch.arange(32.0).reshape(2, 1, 4, 4)
    weight = (x % 5 > 0).float()
    variant = Denoising(Gaussian(0.0), turns=True)
    module = AutoencoderModule(spec, 4, "dense", "normal", variant).train()
    generator, ways = torch.Generator().manual_seed(0), set()
    for _ in range(60):
        done = module.reconstruct(x, weight, generator=generator)
        assert done.weight is not None and torch.equal(done.weight, (done.target % 5 > 0).float())
        assert done.seen_weight is not None and torch.equal(done.seen_weight, done.weight)
        assert torch.equal(done.seen[done.weight > 0], done.target[done.weight > 0])
        assert torch.equal(*((one.flatten(1).sort().values) for one in (done.target, x * weight)))  # still itself
        ways.add(tuple(done.target[0].flatten().tolist()))
    assert len(ways) == 8
    assert torch.equal(module.eval().reconstruct(x, weight).target, x * weight)
    wide = torch.arange(24.0).reshape(1, 1, 4, 6)
    oblong = AutoencoderModule(SampleSpec((1, 4, 6)), 4, "dense", "normal", variant).train()
    assert {oblong.reconstruct(wide, generator=generator).target.shape for _ in range(20)} == {wide.shape}
    rows = AutoencoderModule(SampleSpec((6,)), 2, "dense", "normal", variant).train()
    with pytest.raises(SettingError, match="turns=True is for pictures"):
        rows.reconstruct(torch.zeros(2, 6), generator=generator)


@pytest.mark.parametrize("looks", [1, 8])
def test_a_picture_looked_at_in_more_ways_is_found_the_same_in_all(looks: int) -> None:
    """With eight, turning and mirroring a picture turns and mirrors what is found in it, and nothing else."""
    model = remover(looks=looks).fit(crops(CHINA, 24, 60))
    pictures = np.random.default_rng(0).random((2, 24, 40, 3)).astype(np.float32)
    model.set_params(threshold=float(np.quantile(model.autoencoder_.reconstruct(pictures).mean(-1), 0.9)))
    plain, mirrored = model.transform(pictures), model.transform(np.ascontiguousarray(pictures[:, :, ::-1]))
    assert (plain != pictures).any()
    same = bool(np.abs(mirrored[:, :, ::-1] - plain).max() < 1e-4)
    assert same == (looks == 8)


def test_a_mark_on_a_smooth_picture_is_undone() -> None:
    down, across = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    clean = torch.stack([across, 1 - down, 0.5 * across + 0.3 * down])
    cover = torch.zeros(96, 96)
    cover[30:60, 20:75] = 1.0
    for alpha, shade in ((0.3, 1.0), (0.8, 0.0), (1.0, 0.5)):
        marked = clean + alpha * cover * (shade - clean)
        back = without_mark(marked, cover)
        before, after = ((one - clean)[:, cover > 0].square().mean().log10() * -10 for one in (marked, back))
        assert after > 27 and after > before + 8  # dB
        assert torch.equal(back[:, cover == 0], marked[:, cover == 0])


def test_what_shines_through_is_kept() -> None:
    """Below a mark on a real texture more comes back than a smooth surface, and half of it for half a share."""
    clean = torch.from_numpy(CHINA[100:196, 100:196].copy()).permute(2, 0, 1) / 255
    cover = torch.zeros(96, 96)
    cover[20:76, 20:76] = 1.0
    marked = clean + 0.4 * cover * (1 - clean)
    inside = cover > 0
    errors = [
        float((one - clean)[:, inside].square().mean())
        for one in (marked, spread_in(marked[None], (1 - cover).expand_as(clean)[None])[0], without_mark(marked, cover))
    ]
    assert errors[2] < 0.8 * min(errors[:2])
    half = without_mark(marked, 0.5 * cover)
    torch.testing.assert_close(half, 0.5 * (marked + without_mark(marked, cover)))


def test_values_that_are_absent_stay_and_tell_nothing() -> None:
    x, share = torch.full((1, 30, 30), 0.25), torch.zeros(30, 30)
    share[10:20, 10:20] = 1.0
    weight = torch.ones_like(x)
    weight[:, 8:12, 8:12] = 0
    spoiled = torch.where(weight > 0, torch.where(share > 0, 0.8, x), 9.0)
    back = without_mark(spoiled, share, weight)
    assert (back[weight == 0] == 9).all() and (back[weight > 0] - 0.25).abs().max() < 1e-5
    assert torch.equal(without_mark(spoiled, torch.ones_like(share)), spoiled)  # nothing left to go by


def test_what_is_weak_counts_beside_what_is_strong() -> None:
    likely = torch.tensor([[0.9, 0.45, 0.0, 0.45, 0.0], [0.0, 0.45, 0.0, 0.0, 0.0]])
    wanted = torch.tensor([[1.0, 0.25, 0.0, 0.0, 0.0], [0.0, 0.25, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(found(likely, 0.5), wanted)
    assert (found(likely, 1.0) == 0).all() and (found(likely, 0.2) > 0).equal(likely > 0)


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
    with pytest.raises(SettingError, match="threshold is -0.1; it must be a number between 0 and 1"):
        remover(threshold=-0.1).fit(clean)
    with pytest.raises(SettingError, match="looks is 9; it must be a whole number from 1 to 8"):
        remover(looks=9).fit(clean)
    with pytest.raises(SettingError, match="asks of denoising is 'why'; it must be one of clean, where"):
        Denoising(asks="why").check()
    with pytest.raises(SettingError, match="pairs bring one of their own; leave damage out"):
        remover(damage=Marks()).fit(clean, clean)
    with pytest.raises(SettingError, match="marks are drawn on pictures"):
        Marks()(torch.zeros(2, 5), SampleSpec((5,)), torch.Generator())


def test_grey_pictures_and_other_damages_work() -> None:
    grey = crops(CHINA, 24, 60)[..., 0]
    model = remover(damage=Gaussian(0.1)).fit(grey)
    assert model.transform(grey[:3]).shape == grey[:3].shape
    assert remover().fit(grey).transform(grey[:3]).dtype == np.uint8


@pytest.mark.slow
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
