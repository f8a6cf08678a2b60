"""How well stained scans are cleaned, of fonts and with kinds of stain that training never saw, beside median filters.

    python3 dev.py bench documents              all four kinds of stain, each held out once
    python3 dev.py bench documents --fold 0     one of them

The 72 pairs of `dirty-documents` (UCI's NoisyOffice): 18 fonts, and of each four kinds of stain. Sorted by number, four
neighbours are one font with coffee, folds, footprints and wrinkles, in this order; that they are one font is checked,
as their clean pages are equal. A fold holds out one kind of stain and a third of the fonts, every third one: training
sees neither of the two. RMSE of grey values from 0 to 1, over all pixels of the test pages. The sizes of the plain
median filter, and of the one that finds the paper, are the best on the training pages. The data are looked for in
$ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import median_filter

import isthmus
from isthmus import Autoencoder, Denoiser, Training
from isthmus.data import Images
from isthmus.networks import Conv

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FOLDER = DATA / "dirty-documents"
STAINS = ("coffee", "folds", "footprints", "wrinkles")
Page = np.ndarray


def pages() -> tuple[list[Page], list[Page]]:
    """Noisy and clean pages, uint8, by number."""
    from PIL import Image

    names = sorted((path.name for path in (FOLDER / "noisy").glob("*.png")), key=lambda name: int(name.split(".")[0]))
    noisy, clean = (
        [np.asarray(Image.open(FOLDER / kind / name).convert("L")) for name in names] for kind in ("noisy", "clean")
    )
    for place in range(0, len(names), len(STAINS)):
        assert all(np.array_equal(clean[place], one) for one in clean[place : place + len(STAINS)]), names[place]
    return noisy, clean


def rmse(pairs: list[tuple[Page, Page]]) -> float:
    squares = [np.square(a.astype(float) - b) / 255**2 for a, b in pairs]
    return float(np.sqrt(sum(one.sum() for one in squares) / sum(one.size for one in squares)))


def plain_median(page: Page, size: int) -> Page:
    return median_filter(page, size)


def paper(page: Page, size: int) -> Page:
    """What is darker than the paper around it: the paper is what a wide median filter leaves."""
    ground = median_filter(page, size).astype(float)
    return np.clip(page / np.maximum(ground, 1) * 255, 0, 255).astype(np.uint8)


RIVALS: dict[str, tuple[Callable[[Page, int], Page], tuple[int, ...]]] = {
    "median filter": (plain_median, (3, 5, 7)),
    "divided by a wide median": (paper, (15, 23, 31)),
}


def denoiser(epochs: int, seed: int, likelihood: str) -> Denoiser:
    training = Training(max_epochs=epochs, batch_size=16, learning_rate=2e-3, validation=0.05, patience=None)
    network = Conv((32, 64, 128), residual=1, skips=True, activation="relu")
    return Denoiser(
        Autoencoder(
            network=network,
            likelihood=likelihood,
            data_type=Images(patch=64),
            training=training,
            precision="bf16",
            random_state=seed,
        )
    )


def fold(held_out: int, noisy: list[Page], clean: list[Page], given: argparse.Namespace) -> dict[str, float]:
    """RMSE by method on pages of other fonts and another kind of stain."""
    place = np.arange(len(noisy))
    font, stain = place // len(STAINS), place % len(STAINS)
    other_font = font % 3 == held_out % 3
    test, training = place[other_font & (stain == held_out)], place[~other_font & (stain != held_out)]
    found = {"nothing": rmse([(noisy[i], clean[i]) for i in test])}
    for name, (method, sizes) in RIVALS.items():
        some = training[::6]
        best = min(sizes, key=lambda size: rmse([(method(noisy[i], size), clean[i]) for i in some]))
        found[name] = rmse([(method(noisy[i], best), clean[i]) for i in test])
    started = time.perf_counter(), time.process_time()
    model = denoiser(given.epochs, given.seed, given.likelihood).fit(
        [noisy[i] for i in training], [clean[i] for i in training]
    )
    seconds = (time.perf_counter() - started[0], time.process_time() - started[1])
    cleaned = model.transform([noisy[i] for i in test])
    found["Denoiser"] = rmse([(back, clean[i]) for back, i in zip(cleaned, test, strict=True)])
    if given.show:
        from PIL import Image

        shown = np.concatenate([noisy[test[0]], cleaned[0], clean[test[0]]], 1)
        Image.fromarray(shown).save(f"{given.show}-{STAINS[held_out]}.png")
    print(
        f"{STAINS[held_out]}: {len(training)} training and {len(test)} test pages, {seconds[0]:.0f} s, "
        f"{seconds[1]:.0f} s of CPU",
        file=sys.stderr,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", type=int, choices=range(4), help="only this kind of stain")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--likelihood", default="bernoulli")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", help="draw a page of each fold, its name beginning with this")
    given = parser.parse_args()
    if not FOLDER.is_dir():
        print(f"skipped: there is no folder {FOLDER}; set ISTHMUS_DATA.", file=sys.stderr)
        return
    warnings.simplefilter("ignore")
    noisy, clean = pages()
    folds = range(4) if given.fold is None else [given.fold]
    results = {STAINS[one]: fold(one, noisy, clean, given) for one in folds}
    table = Table(title=f"RMSE; isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}")
    for name in ("held out", *next(iter(results.values())), "of the median filter's"):
        table.add_column(name, justify="left" if name == "held out" else "right")
    for name, found in results.items():
        share = found["Denoiser"] / found["median filter"]
        table.add_row(name, *(f"{value:.4f}" for value in found.values()), f"{100 * share:.0f} %")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
