"""Pictures with missing pixels: the Inpainter beside biharmonic equations and linear interpolation.

    python3 dev.py bench inpaint

Learns from 480 colour photos of flowers (224 x 224) and fills crops of McMaster's 18 colour pictures, the middle 128 x
128 pixels of each: with half of all pixels missing at random, and with four holes of 16 x 16 pixels. PSNR in dB, the
mean over pictures, over the missing pixels and over the whole picture. Both sets are looked for in $ISTHMUS_DATA, or in
../shared/data. Nothing was chosen by looking at McMaster's pictures.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from skimage.restoration import inpaint_biharmonic

import isthmus
from isthmus import Autoencoder, Inpainter, Training

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SIDE, HOLE, N_HOLES = 128, 16, 4
Picture = np.ndarray


def crops(paths: list[Path], side: int = SIDE) -> list[Picture]:
    """The middle of each picture, (side, side, 3), from 0 to 1."""
    found = []
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        found.append(pixels[top : top + side, left : left + side])
    return found


def half(random: np.random.Generator, side: int) -> np.ndarray:
    return random.random((side, side)) < 0.5


def holes(random: np.random.Generator, side: int) -> np.ndarray:
    """Four squares, one in each quarter, so that none lies in another."""
    mask = np.zeros((side, side), dtype=bool)
    for quarter in range(N_HOLES):
        top, left = random.integers(2, side // 2 - HOLE - 2, 2) + side // 2 * np.array([quarter // 2, quarter % 2])
        mask[top : top + HOLE, left : left + HOLE] = True
    return mask


def linear(picture: Picture, mask: np.ndarray) -> Picture:
    known, missing = np.argwhere(~mask), np.argwhere(mask)
    values = LinearNDInterpolator(known, picture[~mask])(missing)
    outside = np.isnan(values)
    values[outside] = NearestNDInterpolator(known, picture[~mask])(missing)[outside]
    made = picture.copy()
    made[mask] = values
    return made


def biharmonic(picture: Picture, mask: np.ndarray) -> Picture:
    return np.clip(inpaint_biharmonic(np.where(mask[..., None], 0, picture), mask, channel_axis=-1), 0, 1)


RIVALS: dict[str, Callable[[Picture, np.ndarray], Picture]] = {"linear": linear, "biharmonic": biharmonic}
DAMAGES = {"half of the pixels": half, "holes of 16 x 16": holes}


def psnr(clean: list[Picture], found: list[Picture], masks: list[np.ndarray]) -> tuple[float, float, float]:
    """In dB, the mean over pictures: over missing pixels, over all, and the deviation of the first."""
    squares = [np.square(one.astype(float) - other) for one, other in zip(clean, found, strict=True)]
    missing = [-10 * np.log10(one[mask].mean()) for one, mask in zip(squares, masks, strict=True)]
    return (
        float(np.mean(missing)),
        float(np.mean([-10 * np.log10(one.mean()) for one in squares])),
        float(np.std(missing)),
    )


def compared(
    inpainter: Inpainter, clean: list[Picture], rivals: bool = True
) -> list[tuple[str, str, float, float, float, float]]:
    """Damage, method, the three figures of `psnr`, and seconds a picture."""
    rows = []
    for damage, make in DAMAGES.items():
        random = np.random.default_rng(0)
        masks = [make(random, len(one)) for one in clean]
        holed = [
            np.where(mask[..., None], np.nan, one).astype(np.float32) for one, mask in zip(clean, masks, strict=True)
        ]
        started = time.perf_counter()
        ours = inpainter.transform(holed)
        assert all(np.array_equal(a[~m], b[~m]) for a, b, m in zip(clean, ours, masks, strict=True))
        rows.append((damage, "Inpainter", *psnr(clean, ours, masks), (time.perf_counter() - started) / len(clean)))
        for name, fill in RIVALS.items() if rivals else ():
            started = time.perf_counter()
            made = [fill(one, mask) for one, mask in zip(clean, masks, strict=True)]
            rows.append((damage, name, *psnr(clean, made, masks), (time.perf_counter() - started) / len(clean)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="height and width of the crops")
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    given = parser.parse_args()
    if not (DATA / "mcmaster").is_dir():
        raise SystemExit(f"{DATA} holds no folder mcmaster; say with ISTHMUS_DATA where the data are.")
    warnings.simplefilter("ignore")
    training = Training(max_epochs=given.epochs, batch_size=16, learning_rate=2e-3, validation=0.05, patience=None)
    inpainter = Inpainter(Autoencoder(training=training, precision="bf16", random_state=given.seed))
    wall, work = time.perf_counter(), time.process_time()
    inpainter = isthmus.load(given.load) if given.load else inpainter.fit(DATA / "oxford-flowers12")
    wall, work = time.perf_counter() - wall, time.process_time() - work
    if given.save:
        inpainter.save(given.save)
    title = (
        f"{len(inpainter.autoencoder_.history_)} epochs, {wall:.0f} s, {work:.0f} s of CPU; isthmus "
        f"{isthmus.__version__}, Python {platform.python_version()}"
    )
    table = Table(title=title)
    for name in ("missing", "method", "PSNR dB, missing", "PSNR dB, whole", "sd over pictures", "s a picture"):
        table.add_column(name)
    clean = crops(sorted((DATA / "mcmaster").glob("*.png")), given.side)
    for damage, name, *figures, seconds in compared(inpainter, clean):
        table.add_row(damage, name, *(f"{value:.2f}" for value in figures), f"{seconds:.3f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
