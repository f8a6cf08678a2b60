"""Lossy compression of photos in real bytes, whole files: beside JPEG, JPEG 2000 and WebP at equal bytes.

    python3 dev.py bench lossy

Trained on the flowers (oxford-flowers12), which are other photos by other people; the 18 pictures of McMaster
(500 x 500, colour) are only measured. A size is that of the whole container of one picture: header, checksum and bits.
The rivals are Pillow's, each with the highest quality that fits into as many bytes for that picture. PSNR in dB over
red, green and blue of 8 bits, the mean over pictures. Both are looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Compressor, Training, load
from isthmus.compression.rivals import within
from isthmus.data import Images
from isthmus.likelihoods import Normal
from isthmus.networks import Conv

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
KINDS = {"JPEG": {"optimize": True}, "WebP": {"method": 4}}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((first.astype(float) - second) / 255).mean()))


def saved(picture: np.ndarray, kind: str) -> Callable[[int], bytes]:
    """A picture as a file of a kind, by quality."""

    def save(quality: int) -> bytes:
        file = io.BytesIO()
        if kind == "JPEG2000":
            Image.fromarray(picture).save(file, "JPEG2000", quality_mode="dB", quality_layers=[15 + 0.35 * quality])
        else:
            Image.fromarray(picture).save(file, kind, quality=quality, **KINDS[kind])
        return file.getvalue()

    return save


def rival(picture: np.ndarray, kind: str, most: int) -> tuple[float, int]:
    """PSNR and bytes of a rival in at most so many bytes."""
    data = within(saved(picture, kind), most)
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        return psnr(picture, np.asarray(image.convert("RGB"))), len(data)


def fitted(paths: list[str], epochs: int, scale: float, seed: int) -> Compressor:
    training = Training(max_epochs=epochs, batch_size=16, learning_rate=1e-3, validation=0.02, patience=None, clip=10.0)
    model = Autoencoder(
        48,
        variant="variational",
        network=Conv(channels=(32, 48, 64), kernel_size=5, code="grid"),
        likelihood=Normal(scale=scale),
        data_type=Images(patch=64),
        training=training,
        verbose=True,
    )
    return Compressor(model, mode="lossy", random_state=seed).fit(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--scale", type=float, default=0.04, help="of the errors that training allows, white is 1")
    parser.add_argument("--qualities", type=int, nargs="+", default=[1, 3, 5, 7])
    parser.add_argument("--train", type=int, default=500, help="how many flowers to train on")
    parser.add_argument("--pictures", type=int, default=18, help="how many pictures to measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    given = parser.parse_args()
    if not (DATA / "mcmaster").is_dir() or not (DATA / "oxford-flowers12").is_dir():
        print(f"skipped: mcmaster and oxford-flowers12 are not both in {DATA}; set ISTHMUS_DATA.")
        return
    warnings.simplefilter("ignore")
    started, work = time.perf_counter(), time.process_time()
    flowers = sorted(map(str, (DATA / "oxford-flowers12").rglob("*.jpg")))
    flowers = flowers[:: max(1, len(flowers) // given.train)][: given.train]
    model = load(given.load) if given.load else fitted(flowers, given.epochs, given.scale, given.seed)
    wall, work = time.perf_counter() - started, time.process_time() - work
    if given.save:
        model.save(given.save)
    paths = sorted((DATA / "mcmaster").glob("*.png"))[: given.pictures]
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    table = Table(
        title=f"{len(paths)} pictures; trained in {wall:.0f} s, {work:.0f} s of CPU; seed {given.seed}; isthmus "
        f"{isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    for name in (
        "quality",
        "bytes",
        "bits a pixel",
        "ours dB",
        "JPEG dB",
        "JPEG2000 dB",
        "WebP dB",
        "told / real",
        "s",
    ):
        table.add_column(name, justify="right")
    for quality in given.qualities:
        started, rows = time.perf_counter(), []
        for path, picture in zip(paths, pictures, strict=True):
            answer = model.answer(str(path), quality=quality)
            blob, told = answer.samples, float(answer.table["bytes"].sum())
            row = [len(blob), psnr(picture, model.decompress(blob)[0]), told / len(blob)]
            rows.append([*row, *(rival(picture, kind, len(blob))[0] for kind in ("JPEG", "JPEG2000", "WebP"))])
        size, ours, told, *others = np.mean(rows, axis=0)
        seconds = (time.perf_counter() - started) / len(paths)
        rate = 8 * size / pictures[0][..., 0].size
        cells = [f"{size:,.0f}", f"{rate:.3f}", f"{ours:.2f}", *(f"{one:.2f}" for one in others), f"{told:.3f}"]
        table.add_row(str(quality), *cells, f"{seconds:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
