"""How near guessed colours come to the true ones, beside grey and beside what lightness alone tells.

    python3 dev.py bench colorize                    mean colours
    python3 dev.py bench colorize --vivid            likely colours

The 480 photos of `oxford-flowers12`: of each of 12 species the last ten by name are held out, the other thirty, and
their mirror images, are learned from. RMSE of Cb and Cr (and of Lab's a and b), in levels of 255, over all pixels of
the held-out photos. "by lightness" gives each of the 256 levels of lightness the mean chroma that it has in training,
the best that any function of a pixel's lightness can do there. "how colourful" is the mean distance from grey, as a
part of the true one. The data are looked for in $ISTHMUS_DATA, or in ../shared/data. `--show FILE` draws some.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.color import rgb2lab

import isthmus
from isthmus import Autoencoder, Colorizer, Training

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FOLDER = DATA / "oxford-flowers12"
HELD_OUT = 10  # photos of each species
Photos = np.ndarray  # (n, height, width, 3), uint8


def photos() -> tuple[Photos, Photos]:
    """For training and for the test."""
    from PIL import Image

    parts: tuple[list[Photos], list[Photos]] = ([], [])
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        for place, path in enumerate(reversed(sorted(folder.glob("*.jpg")))):
            parts[place < HELD_OUT].append(np.asarray(Image.open(path).convert("RGB")))
    return np.stack(parts[0]), np.stack(parts[1])


def luma(pictures: Photos) -> np.ndarray:
    return pictures @ np.array([0.299, 0.587, 0.114])


def chroma(pictures: Photos) -> np.ndarray:
    """Cb and Cr of BT.601, from -127.5 to 127.5."""
    light = luma(pictures)
    blue, red = (pictures[..., 2] - light) / 1.772, (pictures[..., 0] - light) / 1.402
    return np.stack([blue, red], -1)


def from_chroma(light: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    blue, red = light + 1.772 * wanted[..., 0], light + 1.402 * wanted[..., 1]
    green = (light - 0.114 * blue - 0.299 * red) / 0.587
    return np.clip(np.stack([red, green, blue], -1), 0, 255)


def by_lightness(training: Photos, light: np.ndarray) -> np.ndarray:
    """The mean chroma of each level of lightness in training."""
    level, found = np.rint(luma(training)).astype(int).ravel(), chroma(training).reshape(-1, 2)
    count = np.maximum(np.bincount(level, minlength=256), 1)
    means = np.stack([np.bincount(level, found[:, i], 256) / count for i in range(2)], -1)
    return from_chroma(light, means[np.rint(light).astype(int)])


def rates(truth: Photos, found: np.ndarray) -> tuple[float, float, float]:
    """RMSE of CbCr and of ab, and how colourful the answer is."""
    true, mine = chroma(truth), chroma(found)
    error = float(np.sqrt(np.mean((true - mine) ** 2)))
    squares = [
        np.mean((rgb2lab(a / 255.0)[..., 1:] - rgb2lab(b / 255.0)[..., 1:]) ** 2)
        for a, b in zip(truth, found, strict=True)
    ]
    colourful = np.linalg.norm(mine, axis=-1).mean() / np.linalg.norm(true, axis=-1).mean()
    return error, float(np.sqrt(np.mean(squares))), float(colourful)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vivid", action="store_true")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    parser.add_argument("--show", help="draw some held-out photos into this file")
    given = parser.parse_args()
    if not FOLDER.is_dir():
        print(f"skipped: there is no folder {FOLDER}; set ISTHMUS_DATA.", file=sys.stderr)
        return
    warnings.simplefilter("ignore")
    training, test = photos()
    light = np.rint(luma(test)).astype(np.uint8)
    settings = Training(max_epochs=given.epochs, batch_size=16, learning_rate=1e-3, validation=0.0)
    model = Colorizer(Autoencoder(training=settings, precision="bf16"), vivid=given.vivid, random_state=given.seed)
    wall, work = time.perf_counter(), time.process_time()
    mirrored = training[:, :, ::-1]
    model = isthmus.load(given.load) if given.load else model.fit(np.concatenate([training, mirrored]))
    wall, work = time.perf_counter() - wall, time.process_time() - work
    if given.save:
        model.save(given.save)
    answers = {
        "grey": np.repeat(light[..., None], 3, -1),
        "one mean": from_chroma(light.astype(float), chroma(training).reshape(-1, 2).mean(0)),
        "by lightness": by_lightness(training, light.astype(float)),
        "Colorizer": model.transform(light),
    }
    title = (
        f"{len(training)} training and {len(test)} test photos, {given.epochs} epochs, {wall:.0f} s, "
        f"{work:.0f} s of CPU; isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}"
    )
    table = Table(title=title)
    for name in ("method", "RMSE of CbCr", "RMSE of ab", "how colourful"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, found in answers.items():
        error, lab, colourful = rates(test, found.astype(float))
        table.add_row(name, f"{error:.2f}", f"{lab:.2f}", f"{colourful:.2f}")
    Console(width=110).print(table)
    off = np.abs(luma(answers["Colorizer"].astype(float)) - light).max()
    print(f"the lightness of an answer is off by {off:.2f} of 255 at most")
    if given.show:
        from PIL import Image

        some = slice(0, len(test), HELD_OUT)
        rows = [np.concatenate(list(one[some]), 1) for one in (answers["grey"], answers["Colorizer"], test)]
        Image.fromarray(np.concatenate(rows)).save(given.show)


if __name__ == "__main__":
    main()
