"""Lossless compression of MNIST by bits back, in real bytes: beside the bound, and beside what everybody has.

    python3 dev.py bench bits_back                   black and white, one with the probability that the grey says
    python3 dev.py bench bits_back --levels 256      the 256 greys as they are

Townsend, Bird and Barber 2019 (arXiv 1901.04866): 0.19 and 1.41 bits a pixel. Training pictures are drawn several times
over, as if every epoch drew anew; test pictures once, with another seed. The bound is the mean of minus the evidence
lower bound over the pictures that are coded, each with several codes. Bytes are those of the whole container: header,
checksum and the bits of the first code included. Every container is decompressed, on one thread and on two, and
compared; then again for other batch sizes. Rivals get the pixels of all pictures in one piece, eight to the byte where
they are black and white; PNG one file for each picture. MNIST is looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import bz2
import io
import lzma
import math
import platform
import time
import warnings
import zlib

import numpy as np
import torch
from _digits import DATA, pictures
from PIL import Image
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Compressor, Training, load
from isthmus.likelihoods import BetaBinomial
from isthmus.networks import Dense

CODES = 20  # drawn for each picture to measure the bound


def drawn(grey: np.ndarray, times: int, seed: int) -> np.ndarray:
    """Black and white pictures, each drawn so many times."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.random(grey.shape, np.float32) < grey for _ in range(times)])


def fitted(X: np.ndarray, epochs: int, widths: list[int], seed: int) -> Compressor:
    training = Training(max_epochs=epochs, batch_size=128, learning_rate=2e-3, validation=0.02, patience=None)
    law = "bernoulli" if X.dtype == bool else BetaBinomial()
    model = Autoencoder(
        40, variant="variational", network=Dense(widths=tuple(widths)), likelihood=law, training=training, verbose=True
    )
    return Compressor(model, mode="lossless", random_state=seed).fit(X)


@torch.inference_mode()
def bound(model: Compressor, X: np.ndarray) -> float:
    """Minus the evidence lower bound, in bits a pixel."""
    data, module = model.autoencoder_.data_, model.autoencoder_.as_type(torch.float64)
    samples, generator, total = data.open(X), torch.Generator().manual_seed(0), 0.0
    for start in range(0, len(X), 100):
        x = data.batch(samples, slice(start, start + 100), torch.float64).x
        total -= sum(float(module.reconstruct(x, generator=generator).log_weights.sum()) for _ in range(CODES)) / CODES
    return total / X.size / math.log(2)


def round_trip(model: Compressor, X: np.ndarray, batch_size: int = 64) -> tuple[int, float, float]:
    """Bytes, and seconds there and back; compressed on one thread and decompressed on two."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    blob = model.compress(X, batch_size=batch_size)
    there = time.perf_counter() - started
    torch.set_num_threads(2)
    started = time.perf_counter()
    back = model.decompress(blob)
    seconds = time.perf_counter() - started
    assert back.dtype == X.dtype and np.array_equal(back, X), "not what went in"
    assert model.compress(X, batch_size=batch_size) == blob, "two threads write other bytes than one"
    torch.set_num_threads(1)
    return len(blob), there, seconds


def png(X: np.ndarray) -> int:
    """One file for each picture."""
    total = 0
    for one in X:
        file = io.BytesIO()
        Image.fromarray(one).save(file, format="PNG", optimize=True)
        total += file.tell()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, choices=(2, 256), default=2)
    parser.add_argument("--epochs", type=int, default=10, help="passes over all drawn pictures")
    parser.add_argument("--draws", type=int, default=6, help="how often each training picture is drawn")
    parser.add_argument("--train", type=int, default=60_000, help="how many training pictures")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 256], help="of the hidden layers")
    parser.add_argument("--test", type=int, default=10_000, help="how many test pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    given = parser.parse_args()
    if not (DATA / "mnist").is_dir():
        print(f"skipped: there is no MNIST in {DATA}; set ISTHMUS_DATA.")
        return
    warnings.simplefilter("ignore")
    training, test = pictures("train")[: given.train], pictures("t10k")
    if given.levels == 2:
        test = drawn(test, 1, 12345)[: given.test]
    else:
        test = np.rint(255 * test).astype(np.uint8)[: given.test]
    started = time.perf_counter()
    if given.load:
        model = load(given.load)
    else:
        X = drawn(training, given.draws, given.seed) if given.levels == 2 else np.rint(255 * training).astype(np.uint8)
        model = fitted(X, given.epochs, given.widths, given.seed)
    seconds = time.perf_counter() - started
    if given.save:
        model.save(given.save)
    table = Table(
        title=f"{given.levels} levels, seed {given.seed}; trained in {seconds:.0f} s; isthmus {isthmus.__version__}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    for name in ("pictures", "what", "bytes", "bits a pixel", "over the bound", "s there", "s back"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for n in sorted({100, 1000, len(test)}):
        X = test[:n]
        least = bound(model, X)
        table.add_row(str(n), "minus the bound", "", f"{least:.4f}", "", "", "")
        for batch_size in (64, 1, 17) if n <= 1000 else (64,):
            size, there, back = round_trip(model, X, batch_size)
            rate = 8 * size / X.size
            name = f"bits back, batches of {batch_size}"
            table.add_row(
                str(n),
                name,
                f"{size:,}",
                f"{rate:.4f}",
                f"{100 * (rate / least - 1):.2f} %",
                f"{there:.1f}",
                f"{back:.1f}",
            )
        raw = (np.packbits(X) if X.dtype == bool else X).tobytes()
        rivals = {"lzma": len(lzma.compress(raw, preset=9)), "bz2": len(bz2.compress(raw, 9))}
        rivals |= {"zlib": len(zlib.compress(raw, 9)), "PNG": png(X)}
        for name, size in rivals.items():
            table.add_row(str(n), name, f"{size:,}", f"{8 * size / X.size:.4f}", "", "", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
