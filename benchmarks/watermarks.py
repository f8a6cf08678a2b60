"""How well watermarks are taken off: ours, which finds them, beside inpainting that is told where they are.

    python3 dev.py bench watermarks

The 480 photos of `oxford-flowers12`: of each of 12 species the last five by name are held out. Of the others 35 are
for choosing settings (`--choose` measures on them, each with three draws of marks), and 385 are learned from, with the
marks that the WatermarkRemover draws itself: made-up words in Pillow's own font and in matplotlib's DejaVu, simple
shapes, smooth random curves, lines. The marks of the test are others: real words in other fonts (those of TeX and STIX,
which come with matplotlib), and logos with curves that are never drawn in training (hearts, spirals, drops, waves),
with 0.3 to 0.8 of opacity. PSNR in dB over all marked pixels of the held-out photos, and over all others. The rivals,
biharmonic equations (scikit-image) and the mean of the nearest pixels around, are told the true mask. The data are
looked for in $ISTHMUS_DATA, or in ../shared/data. `--show FILE` draws some.
"""

from __future__ import annotations

import math
import platform
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from _flowers import Photos, draw, missing, options, photos, tell, trained
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from skimage.restoration import inpaint_biharmonic

import isthmus
from isthmus import Autoencoder, Training, WatermarkRemover

HELD_OUT = 5  # photos of each species
EVERY = 12  # of the others: every so manieth is kept for choosing settings
FONTS = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("[cS]*.ttf"))
FONTS = [
    path for path in FONTS if path.stem in ("cmr10", "cmss10", "cmtt10", "cmb10", "STIXGeneral", "STIXGeneralBolIta")
]
TEXTS = (
    "Meadow Archive",
    "sample only",
    "COPYRIGHT 1998",
    "Preview",
    "Do not copy",
    "Flora & Co",
    "proof 27/b",
    "Garden",
)


def thirds() -> tuple[Photos, Photos, Photos]:
    """For training, for choosing, and for the test."""
    others, test = photos(HELD_OUT)
    chosen = np.arange(0, len(others), EVERY)
    return np.delete(others, chosen, 0), others[chosen], test


# ---- marks that training never sees


def outline(kind: str, turn: float) -> list[tuple[float, float]]:
    """A closed or open curve around nought, about one wide."""
    places = np.linspace(0, 2 * math.pi, 200)
    if kind == "heart":
        x = 16 * np.sin(places) ** 3 / 32
        y = -(13 * np.cos(places) - 5 * np.cos(2 * places) - 2 * np.cos(3 * places) - np.cos(4 * places)) / 32
    elif kind == "spiral":
        x, y = (places / 12 * one(3 * places) for one in (np.cos, np.sin))
    elif kind == "drop":
        x, y = 0.5 * np.sin(places) * np.sin(places / 2) ** 2, 0.5 * np.cos(places)
    else:  # wave
        x, y = places / 6 - 0.5, 0.15 * np.sin(3 * places)
    return list(zip(math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y, strict=True))


def unseen(random: np.random.Generator, side: int) -> np.ndarray:
    """How far one mark covers each pixel, from 0 to 1."""
    image = Image.new("L", (2 * side, 2 * side))
    draw, (x, y) = ImageDraw.Draw(image), 2 * side * random.uniform(0.25, 0.75, 2)
    if random.random() < 0.6:
        font = ImageFont.truetype(str(random.choice(FONTS)), int(random.integers(32, 110)))
        draw.text((x, y), str(random.choice(TEXTS)), 255, font, "mm")
    else:
        kind, width = str(random.choice(["heart", "spiral", "drop", "wave"])), random.uniform(60, 220)
        points = [(x + width * a, y + width * b) for a, b in outline(kind, random.uniform(0, 2 * math.pi))]
        if kind in ("heart", "drop") and random.random() < 0.5:
            draw.polygon(points, 255)
        else:
            draw.line(points, 255, int(random.integers(6, 20)), "curve")
    turned = image.rotate(random.uniform(-30, 30), Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((side, side), Image.Resampling.BOX), float) / 255


def marked(test: Photos, seed: int) -> tuple[Photos, np.ndarray]:
    """Photos with one or two marks, and where these are."""
    random, given, masks = np.random.default_rng(seed), [], []
    for photo in test:
        x, mask = photo.astype(float), np.zeros(photo.shape[:2], bool)
        for _ in range(int(random.integers(1, 3))):
            cover = unseen(random, len(photo))
            shade = [255, 255, 255] if random.random() < 0.6 else random.uniform(0, 255, 3)
            x += random.uniform(0.3, 0.8) * cover[..., None] * (shade - x)
            mask |= cover > 0
        given.append(np.rint(x).astype(np.uint8))
        masks.append(mask)
    return np.stack(given), np.stack(masks)


# ---- rivals and numbers


def nearest(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each marked pixel becomes the nearest unmarked one."""
    where = distance_transform_edt(mask, return_distances=False, return_indices=True)
    return photo[tuple(where)]


def biharmonic(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found = inpaint_biharmonic(photo / 255.0, mask, split_into_regions=True, channel_axis=-1)
    return np.rint(np.clip(found, 0, 1) * 255)


def psnr(truth: Photos, found: np.ndarray, where: np.ndarray) -> float:
    error = np.mean(np.square((truth.astype(float) - found)[where] / 255))
    return float(-10 * np.log10(error)) if error else math.inf


def main() -> None:
    parser = options(__doc__, epochs=24)
    parser.add_argument("--threshold", type=float, default=0.6, help="0.6 was chosen by --choose")
    parser.add_argument("--choose", action="store_true", help="measure on the photos for choosing, not on the test's")
    given = parser.parse_args()
    if missing():
        return
    warnings.simplefilter("ignore")
    training, choosing, test = thirds()
    test, seeds = (np.tile(choosing, (3, 1, 1, 1)), (7, 8, 9)) if given.choose else (test, (0,))
    parts = zip(np.split(test, len(seeds)), seeds, strict=True)
    spoiled, masks = map(np.concatenate, zip(*(marked(part, seed) for part, seed in parts), strict=True))
    settings = Training(max_epochs=given.epochs, batch_size=8, learning_rate=4e-3, validation=0.0)
    model = WatermarkRemover(Autoencoder(training=settings, precision="bf16"), random_state=given.seed)
    model, took = trained(model, training, given)
    model.threshold = given.threshold
    pairs = list(zip(spoiled, masks, strict=True))
    answers = {
        "nothing": spoiled,
        "nearest, true mask": np.stack([nearest(*pair) for pair in pairs]),
        "biharmonic, true mask": np.stack([biharmonic(*pair) for pair in pairs]),
        "WatermarkRemover": model.transform(spoiled),
    }

    def rates(found: np.ndarray) -> tuple[float, float, float]:
        same = 100 * float((found == spoiled).all(-1)[~masks].mean())
        return psnr(test, found, masks), psnr(test, found, ~masks), same

    title = (
        f"{len(training)} training and {len(test)} test photos, {100 * masks.mean():.1f} % of pixels marked; {took}; "
        f"isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}"
    )
    columns = ("method", "PSNR marked, dB", "elsewhere, dB", "left as they came, %")
    tell(title, columns, answers, rates)
    if given.show:
        draw(given.show, HELD_OUT, spoiled, answers["WatermarkRemover"], test)


if __name__ == "__main__":
    main()
