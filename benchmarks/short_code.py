"""MNIST in thirty numbers: squared error of an autoencoder beside PCA's.

    python3 dev.py bench short_code
    python3 dev.py bench short_code --network dense --epochs 60

Hinton and Salakhutdinov 2006 (Science 313:504): 3.00 by a deep autoencoder, 13.87 by PCA, the sum of squared errors
over the 784 pixels from 0 to 1, averaged over the 10,000 test pictures. `conv` is a network of our own; `dense` has
their layers, 784-1000-500-250-30 and back, with another activation unless told otherwise, and starts at random. A tenth
of the training pictures is held out
and decides which epoch is kept; the test pictures are looked at once. MNIST is looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA

import isthmus
from isthmus import Autoencoder, Training
from isthmus.networks import Conv, Dense

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def pictures(part: str) -> np.ndarray:
    """(n, 28, 28), float32 from 0 to 1."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28) / np.float32(255)


def squared_error(given: np.ndarray, back: np.ndarray) -> float:
    """Summed over pixels, averaged over pictures."""
    return float(np.square(given.astype(np.float64) - back).reshape(len(given), -1).sum(1).mean())


def principal(training: np.ndarray, test: np.ndarray, size: int) -> float:
    flat = test.reshape(len(test), -1)
    fitted = PCA(size, random_state=0).fit(training.reshape(len(training), -1))
    return squared_error(flat, fitted.inverse_transform(fitted.transform(flat)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=30, help="numbers in a code")
    parser.add_argument("--epochs", type=int, default=17)
    parser.add_argument("--network", choices=("conv", "dense"), default="conv")
    parser.add_argument("--activation", default="gelu", help="of the hidden layers; Hinton's units are sigmoid")
    parser.add_argument("--precision", default="auto", help="float32 or bf16, in training")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    training, test = pictures("train"), pictures("t10k")
    rate = 2e-3 if given.network == "conv" else 1e-3
    settings = Training(max_epochs=given.epochs, batch_size=128, learning_rate=rate, patience=None)
    networks = {
        "conv": Conv((32, 64, 128), activation=given.activation, normalisation="batch"),
        "dense": Dense((1000, 500, 250), activation=given.activation),
    }
    model = Autoencoder(
        given.size,
        network=networks[given.network],
        training=settings,
        precision=given.precision,
        random_state=given.seed,
    )
    wall, work = time.perf_counter(), time.process_time()
    model.fit(training)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}"
    table = Table(title=title)
    for name in ("model", "numbers", "test error", "training error", "wall s", "CPU s"):
        table.add_column(name, justify="left" if name == "model" else "right")
    errors = [squared_error(x, model.reconstruct(x)) for x in (test, training[:10000])]
    ours = (f"{error:.2f}" for error in errors)
    table.add_row(f"{given.network}, {given.epochs} epochs", str(given.size), *ours, f"{wall:.0f}", f"{work:.0f}")
    table.add_row("PCA", str(given.size), f"{principal(training, test, given.size):.2f}", "", "", "")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
