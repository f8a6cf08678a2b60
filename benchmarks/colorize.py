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

import platform
import warnings

import numpy as np
from _flowers import Photos, draw, missing, options, photos, tell, trained
from skimage.color import rgb2lab

import isthmus
from isthmus import Autoencoder, Colorizer, Training

HELD_OUT = 10  # photos of each species


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
    parser = options(__doc__, epochs=6)
    parser.add_argument("--vivid", action="store_true")
    given = parser.parse_args()
    if missing():
        return
    warnings.simplefilter("ignore")
    training, test = photos(HELD_OUT)
    light = np.rint(luma(test)).astype(np.uint8)
    settings = Training(max_epochs=given.epochs, batch_size=16, learning_rate=1e-3, validation=0.0)
    model = Colorizer(Autoencoder(training=settings, precision="bf16"), vivid=given.vivid, random_state=given.seed)
    model, took = trained(model, np.concatenate([training, training[:, :, ::-1]]), given)
    answers = {
        "grey": np.repeat(light[..., None], 3, -1),
        "one mean": from_chroma(light.astype(float), chroma(training).reshape(-1, 2).mean(0)),
        "by lightness": by_lightness(training, light.astype(float)),
        "Colorizer": model.transform(light),
    }
    title = (
        f"{len(training)} training and {len(test)} test photos, {took}; isthmus {isthmus.__version__}, "
        f"Python {platform.python_version()}, seed {given.seed}"
    )
    columns = ("method", "RMSE of CbCr", "RMSE of ab", "how colourful")
    tell(title, columns, answers, lambda found: rates(test, found.astype(float)))
    off = np.abs(luma(answers["Colorizer"].astype(float)) - light).max()
    print(f"the lightness of an answer is off by {off:.2f} of 255 at most")
    if given.show:
        draw(given.show, HELD_OUT, answers["grey"], answers["Colorizer"], test)


if __name__ == "__main__":
    main()
