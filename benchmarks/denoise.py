"""How well noisy pictures are cleaned: ours beside total variation, wavelets, non-local means and a median filter.

    python3 dev.py bench denoise --set digits    scikit-learn's digits, 8 x 8, noise of 0.5
    python3 dev.py bench denoise --set mnist     MNIST, 28 x 28, noise of 0.5
    python3 dev.py bench denoise --set bsd68     natural pictures, noise of 15, 25 and 50 of 255, one network for all

PSNR in dB, the mean over test pictures, the noisy picture neither cut off nor rounded. Each rival gets the strength
that is best on noisy training pictures, apart for each level of noise. Needs scikit-image and PyWavelets; MNIST and
BSD68 are looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet
from sklearn.datasets import load_digits

import isthmus
from isthmus import Autoencoder, Denoiser, Training
from isthmus.damage import Gaussian
from isthmus.networks import Conv

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
Picture = np.ndarray


@dataclass
class Task:
    """Pictures from 0 to 1, the levels of noise, and who cleans them."""

    training: list[Picture]
    test: list[Picture]
    sigmas: tuple[float, ...]
    denoiser: Denoiser


def digits(seed: int) -> Task:
    images = (load_digits().images / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    return Task([images[i] for i in order[:1300]], [images[i] for i in order[1300:]], (0.5,), small(150, 32, seed))


def mnist(seed: int) -> Task:
    read = lambda name: np.frombuffer(gzip.open(DATA / "mnist" / name).read()[16:], np.uint8).reshape(-1, 28, 28)  # noqa: E731
    training, test = (read(f"{part}-images-idx3-ubyte.gz") / np.float32(255) for part in ("train", "t10k"))
    return Task(list(training), list(test[:1000]), (0.5,), small(15, 64, seed))


def small(epochs: int, batch_size: int, seed: int) -> Denoiser:
    """For small pictures: a network that sees the whole of them."""
    network = Conv((32, 64, 128), residual=1, skips=True, activation="relu")
    training = Training(max_epochs=epochs, batch_size=batch_size, learning_rate=2e-3, patience=None)
    model = Autoencoder(network=network, training=training, precision="bf16", random_state=seed)
    return Denoiser(model, damage=Gaussian(0.5))


def bsd68(seed: int) -> Task:
    from PIL import Image

    read = lambda folder: [  # noqa: E731
        np.asarray(Image.open(path).convert("L"), np.float32) / 255
        for path in sorted((DATA / "denoise-gray" / folder).glob("*.png"))
    ]
    training = Training(max_epochs=EPOCHS, batch_size=16, learning_rate=2e-3, validation=0.05, patience=None)
    model = Autoencoder(training=training, random_state=seed)
    return Task(read("train400"), read("BSD68"), (15 / 255, 25 / 255, 50 / 255), Denoiser(model))


EPOCHS = 13  # of BSD68's training pictures: about eleven minutes on two quiet cores
TASKS = {"digits": digits, "mnist": mnist, "bsd68": bsd68}

# ---- rivals: name, strengths to choose from, what is done

Rival = tuple[list[float], Callable[[Picture, float, float], Picture]]
RIVALS: dict[str, Rival] = {
    "median filter": ([3, 5], lambda x, sigma, size: median_filter(x, int(size))),
    "total variation": ([0.5, 0.7, 1.0, 1.4, 2.0], lambda x, sigma, k: denoise_tv_chambolle(x, weight=k * sigma)),
    "wavelets (BayesShrink)": (
        [0.7, 0.85, 1.0, 1.2],
        lambda x, sigma, k: denoise_wavelet(x, sigma=k * sigma, method="BayesShrink", rescale_sigma=True),
    ),
    "non-local means": (
        [0.4, 0.6, 0.8, 1.0],
        lambda x, sigma, k: denoise_nl_means(
            x, h=k * sigma, sigma=sigma, fast_mode=True, patch_size=5 if min(x.shape) > 16 else 3, patch_distance=6
        ),
    ),
}


def psnr(clean: list[Picture], found: list[Picture]) -> float:
    """The mean over pictures, in dB, of values from 0 to 1."""
    return float(
        np.mean([-10 * np.log10(np.mean((a.astype(float) - b) ** 2)) for a, b in zip(clean, found, strict=True)])
    )


def noisy(pictures: list[Picture], sigma: float, seed: int) -> list[Picture]:
    random = np.random.default_rng(seed)
    return [(x + sigma * random.normal(size=x.shape)).astype(np.float32) for x in pictures]


def rivals(task: Task, sigma: float, given: list[Picture]) -> dict[str, float]:
    """Each with the strength that is best on a few noisy training pictures."""
    some = task.training[:: max(1, len(task.training) // 12)][:12]
    spoiled = noisy(some, sigma, 1)
    found = {}
    for name, (strengths, clean) in RIVALS.items():
        if name.startswith("wavelets") and min(some[0].shape) < 16:
            continue
        best = max(strengths, key=lambda k: psnr(some, [clean(x, sigma, k) for x in spoiled]))
        found[f"{name}, {best:g}"] = psnr(task.test, [clean(x, sigma, best) for x in given])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(TASKS), default="digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="fewer or more of them")
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    task = TASKS[given.set](given.seed)
    if given.epochs:
        task.denoiser.set_params(autoencoder__training__max_epochs=given.epochs)
    wall, work = time.perf_counter(), time.process_time()
    task.denoiser = isthmus.load(given.load) if given.load else task.denoiser.fit(task.training)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    if given.save:
        task.denoiser.save(given.save)
    epochs = len(task.denoiser.autoencoder_.history_)
    title = (
        f"{given.set}: {len(task.training)} training and {len(task.test)} test pictures; ours {epochs} epochs, "
        f"{wall:.0f} s, {work:.0f} s of CPU; isthmus {isthmus.__version__}, Python {platform.python_version()}"
    )
    table = Table(title=title)
    for name in ("sigma", "method", "PSNR dB"):
        table.add_column(name, justify="right" if name != "method" else "left")
    for sigma in task.sigmas:
        spoiled = noisy(task.test, sigma, 0)
        rows = {"nothing": psnr(task.test, spoiled)} | rivals(task, sigma, spoiled)
        rows["Denoiser"] = psnr(task.test, task.denoiser.transform(spoiled))
        for name, value in sorted(rows.items(), key=lambda row: row[1]):
            table.add_row(f"{sigma:.3f}", name, f"{value:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
