"""Draws the pictures of docs/denoise.md, pictures.md and generate.md: `python docs/pictures.py`, a few minutes.

The photos are the two that scikit-learn bundles: china.jpg (Ossewa, CC BY 2.0) and flower.jpg (Danny Yee, CC BY 2.0).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_images

from isthmus import AnomalyDetector, Autoencoder, Denoiser, Synthesizer, Training
from isthmus.networks import Conv, Dense

FOLDER = Path(__file__).parent / "pictures"
Pixels = NDArray[np.float32]


def row(name: str, pictures: list[tuple[str, Pixels, str]], width: float) -> None:
    """Pictures side by side, each with its title and its colours."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(width, width / len(pictures)), layout="constrained")
    for axis, (title, pixels, colours) in zip(axes, pictures, strict=True):
        limits = (0, 1) if colours == "gray" else (None, None)
        axis.imshow(np.clip(pixels, *limits), cmap=colours, vmin=limits[0], vmax=limits[1])
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(FOLDER / name, dpi=110)
    plt.close(figure)


def psnr(clean: Pixels, found: Pixels) -> str:
    return f"{-10 * np.log10(np.mean(np.square(clean - found))):.1f} dB"


def cleaned() -> None:
    """A part of one photo, cleaned by what was learned from the other photo and the rest of it."""
    china, flower = (one.astype(np.float32) / 255 for one in load_sample_images().images)
    corner = china[130:350, 60:280]
    training = Training(max_epochs=80, batch_size=16, learning_rate=2e-3, patience=None)
    learned_from = [flower, china[:, 300:]]  # apart from what is cleaned below
    denoiser = Denoiser(Autoencoder(training=training), random_state=0).fit(learned_from)
    noisy = (corner + 0.12 * np.random.default_rng(0).normal(size=corner.shape)).astype(np.float32)
    back = denoiser.transform([noisy])[0]
    titles = (f"noisy, {psnr(corner, noisy)}", f"cleaned, {psnr(corner, back)}", "as it was")
    row("cleaned.jpg", [(t, p, "gray") for t, p in zip(titles, (noisy, back, corner), strict=True)], 9)


def odd() -> None:
    """A digit with a stroke that does not belong to it, and where the detector sees it."""
    digits = (load_digits().images / 16).astype(np.float32)
    training = Training(max_epochs=20, batch_size=32, learning_rate=3e-3)
    model = Autoencoder(12, network=Conv(channels=(16, 32)), training=training)
    detector = AnomalyDetector(model, contamination=0.01, random_state=0).fit(digits[:1500])
    spoiled = digits[1500:1502].copy()
    spoiled[0, 1:3, 6:8], spoiled[1, 6, :] = 1.0, 1.0
    back, heat = detector.autoencoder_.reconstruct(spoiled), detector.heat_map(spoiled)
    pictures = []
    for place in range(2):
        pictures += [
            ("given", spoiled[place], "gray"),
            ("given back", back[place], "gray"),
            ("heat", heat[place], "inferno"),
        ]
    row("odd.png", pictures, 9)


def drawn() -> None:
    """New digits, one class in each column, and two ways from a nought to a one."""
    digits = load_digits()
    X = (digits.images / 16).astype(np.float32)
    training = Training(max_epochs=30, batch_size=64, learning_rate=3e-3)  # as in docs/generate.md
    model = Autoencoder(10, network=Dense((128, 64)), training=training)
    painter = Synthesizer(model, random_state=0).fit(X, digits.target)
    columns = [painter.sample(4, y=label) for label in range(10)]
    ends = [X[digits.target == label][:1] for label in (0, 1)]
    ways = [painter.interpolate(*ends, steps=10, path=path) for path in ("straight", "spherical")]
    rows = [*np.stack(columns, 1), *ways]
    figure, axes = plt.subplots(len(rows), 10, figsize=(6.5, 4.7))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.95, wspace=0.05, hspace=0.42)
    for line, pictures in zip(axes, rows, strict=True):
        for axis, pixels in zip(line, pictures, strict=True):
            axis.imshow(np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_title("drawn: four of each digit", fontsize=9, loc="left")
    for line, name in zip(axes[4:], ("from a nought to a one, straight", "the same, spherical"), strict=True):
        line[0].set_title(name, fontsize=9, loc="left")
    figure.savefig(FOLDER / "drawn.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    odd()
    drawn()
    cleaned()
