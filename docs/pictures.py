"""Draws the pictures of several pages in docs/: `python docs/pictures.py`, some minutes.

The photos are the two that scikit-learn bundles: china.jpg (Ossewa, CC BY 2.0) and flower.jpg (Danny Yee, CC BY 2.0).
"""

from __future__ import annotations

import io
import lzma
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.restoration import inpaint_biharmonic
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_images, load_wine
from sklearn.preprocessing import StandardScaler

from isthmus import (
    AnomalyDetector,
    Autoencoder,
    Compressor,
    Denoiser,
    Imputer,
    Inpainter,
    Synthesizer,
    Training,
)
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


def cuts() -> None:
    """Scores of new rows, and where rules cut: docs/thresholds.md."""
    data = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(data.data))
    X, malignant = data.data[order], data.target[order] == 0
    benign, sick = X[~malignant], X[malignant]
    detector = AnomalyDetector(threshold="conformal(calibration=0.4)", random_state=0).fit(benign[:260])
    usual, odd = (-detector.score_samples(one) for one in (benign[260:], sick))
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    edges = np.linspace(min(usual.min(), odd.min()), max(usual.max(), odd.max()), 60)
    axis.hist([usual, odd], edges, stacked=True, label=["benign, new", "malignant"], color=["#7aa6d1", "#d98b5f"])
    rules = (
        "quantile(share=0.05)",
        "deviation(k=3)",
        "robust(k=3.5)",
        "conformal(rate=0.05)",
        "extreme_value(rate=0.01)",
    )
    for place, rule in enumerate(rules):
        cut = detector.set_threshold(rule).threshold_
        axis.axvline(cut, color=f"C{place + 4}", linestyle="--", label=f"{rule}: {cut:.1f}")
    axis.set(xlabel="score, nats", ylabel="rows")
    axis.legend(fontsize=8, frameon=False)
    figure.savefig(FOLDER / "thresholds.png", dpi=110)
    plt.close(figure)


def inpainted() -> None:
    """Digits with lost pixels and with a hole, filled as in docs/inpaint.md."""
    digits = (load_digits().images / 16).astype(np.float32)
    training = Training(max_epochs=40, batch_size=32, learning_rate=2e-3)
    model = Autoencoder(64, network=Dense((256,)), training=training)
    inpainter = Inpainter(model, random_state=0).fit(digits[:1500])
    whole = np.concatenate([digits[1500:1506], digits[1506:1512]])
    missing = np.random.default_rng(0).random(whole.shape) < 0.5
    missing[6:] = False
    missing[6:, 2:5, 3:6] = True
    given = np.where(missing, np.nan, whole).astype(np.float32)
    theirs = [inpaint_biharmonic(np.nan_to_num(one), gone) for one, gone in zip(given, missing, strict=True)]
    rows = {"given": given, "biharmonic": np.stack(theirs), "Inpainter": inpainter.transform(given), "as it was": whole}
    figure, axes = plt.subplots(len(rows), len(whole), figsize=(8.5, 3.1))
    figure.subplots_adjust(left=0.1, right=0.99, bottom=0.01, top=0.99, wspace=0.08, hspace=0.08)
    colours = plt.get_cmap("gray").with_extremes(bad="#c0504d")
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axis, pixels in zip(line, pictures, strict=True):
            axis.imshow(pixels, cmap=colours, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
    figure.savefig(FOLDER / "inpainted.png", dpi=110)
    plt.close(figure)


def imputed() -> None:
    """Hidden cells of the wine table against what was filled in, with what draws say about it."""
    whole = StandardScaler().fit_transform(load_wine().data)
    hidden = np.random.default_rng(0).random(whole.shape) < 0.2
    X = np.where(hidden, np.nan, whole)
    imputer = Imputer(random_state=0).fit(X)
    filled, unsure = imputer.transform(X), imputer.uncertainty(X, 20, random_state=0)
    columns = [6, 9, 12]  # flavanoids, colour intensity, proline
    figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), layout="constrained")
    for axis, column in zip(axes, columns, strict=True):
        rows = hidden[:, column]
        bars = 2 * unsure[rows, column]
        axis.errorbar(whole[rows, column], filled[rows, column], bars, fmt="o", ms=3, lw=0.7, color="#2a6f97")
        axis.plot([-2.5, 3], [-2.5, 3], color="#999999", lw=0.8)
        axis.set(title=load_wine().feature_names[column].replace("_", " "), xlabel="what was hidden")
    axes[0].set_ylabel("what was filled in")
    figure.savefig(FOLDER / "imputed.png", dpi=110)
    plt.close(figure)


def compressed() -> None:
    """What a pixel takes, by how many pictures are compressed together, as in docs/compress.md."""
    grey = load_digits().images
    training = Training(max_epochs=25, batch_size=32, learning_rate=3e-3)
    painter = Compressor(Autoencoder(16, training=training), random_state=0).fit(grey[:1400])
    counts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 397]
    new = grey[1400:].astype(np.uint8)
    sizes: dict[str, list[int]] = {"Compressor": [len(painter.compress(grey[1400 : 1400 + n])) for n in counts]}
    sizes |= {"lzma": [len(lzma.compress(new[:n].tobytes(), preset=9)) for n in counts]}
    sizes |= {"zlib": [len(zlib.compress(new[:n].tobytes(), 9)) for n in counts]}
    sizes |= {"PNG, one each": [sum(map(png, new[:n])) for n in counts]}
    figure, axis = plt.subplots(figsize=(6.5, 3), layout="constrained")
    for name, values in sizes.items():
        axis.plot(counts, [8 * size / (64 * n) for size, n in zip(values, counts, strict=True)], marker=".", label=name)
    axis.axhline(painter.rate_, color="gray", linewidth=0.8, linestyle="--", label="rate_, without start and header")
    axis.set(xscale="log", yscale="log", xlabel="pictures of 8 x 8 pixels, 17 greys", ylabel="bits a pixel, real bytes")
    axis.legend(fontsize=8)
    figure.savefig(FOLDER / "compressed.png", dpi=110)
    plt.close(figure)


def png(pixels: NDArray[np.uint8]) -> int:
    """Bytes of a picture as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.tell()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    cuts()
    imputed()
    compressed()
    odd()
    drawn()
    cleaned()
    inpainted()
