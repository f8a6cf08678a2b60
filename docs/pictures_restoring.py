"""Draws the pictures of docs/colorize.md and unmark.md: `python docs/pictures_restoring.py`, some minutes.

The photos are the two that scikit-learn bundles: china.jpg (Ossewa, CC BY 2.0) and flower.jpg (Danny Yee, CC BY 2.0).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from isthmus import Autoencoder, Colorizer, Training, WatermarkRemover
from isthmus.damage import Marks
from isthmus.networks import Conv
from isthmus.spec import SampleSpec

FOLDER = Path(__file__).parent / "pictures"
Pixels = NDArray[np.uint8]
NETWORK = Conv((24, 48, 64), residual=1, skips=True, activation="relu")


def squares(photo: Pixels, side: int, step: int, columns: slice = slice(None)) -> list[Pixels]:
    """Overlapping pieces of some columns of a photo."""
    part = photo[:, columns]
    rows, places = (range(0, length - side + 1, step) for length in part.shape[:2])
    return [part[y : y + side, x : x + side] for y in rows for x in places]


def grid(name: str, titles: tuple[str, ...], rows: list[tuple[Pixels, ...]]) -> None:
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(6, 3.2 * len(rows)), layout="constrained", squeeze=False
    )
    for line, pictures in zip(axes, rows, strict=True):
        for axis, pixels in zip(line, pictures, strict=True):
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axis.axis("off")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(FOLDER / name, dpi=110)
    plt.close(figure)


def coloured() -> None:
    """The right of two photos in the colours of their left."""
    photos = load_sample_images().images
    known = [piece for photo in photos for piece in squares(photo[::4, ::4], 48, 8, slice(0, 88))]
    known += [piece[:, ::-1] for piece in known]
    training = Training(max_epochs=15, batch_size=16, learning_rate=2e-3, patience=None)
    model = Colorizer(Autoencoder(network=NETWORK, training=training), random_state=0).fit(np.stack(known))
    rows = []
    for photo in photos:
        right = photo[::4, ::4][:, 90:]
        grey = np.rint(right @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
        rows.append((grey, model.transform([grey])[0], right))
    grid("coloured.jpg", ("given", "coloured", "as it was"), rows)


def unmarked() -> None:
    """Marks on the right of one photo, taken off by what was learned from its left and from the other photo."""
    china, flower = load_sample_images().images
    training = Training(max_epochs=20, batch_size=8, learning_rate=4e-3, validation=0.0)
    network = Conv((24, 48, 64), residual=1, skips=True, activation="relu", normalisation="batch")
    model = WatermarkRemover(Autoencoder(network=network, training=training), random_state=0)
    model.fit(np.stack(squares(china[::2, ::2], 64, 16) + squares(flower[::2, ::2], 64, 16, slice(0, 180))))
    clean = flower[::2, ::2][:208, 184:]
    x = torch.from_numpy(clean.astype(np.float32) / 255).permute(2, 0, 1)[None]
    spoiled = Marks(alpha=(0.4, 0.7), count=3)(x, SampleSpec((3, *clean.shape[:2])), torch.Generator().manual_seed(4))
    marked = (255 * spoiled[0]).round().clamp(0, 255).permute(1, 2, 0).byte().numpy()
    grid("unmarked.jpg", ("given", "cleared", "as it was"), [(marked, model.transform([marked])[0], clean)])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    coloured()
    unmarked()
