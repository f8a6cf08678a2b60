"""MNIST in 7 x 7 indices of 7 bits: a learned codebook beside rounded codes of the same number of bits.

    python3 dev.py bench quantized

A convolutional autoencoder with a grid of 7 x 7 codes is trained three ways. `quantized` has one index of 128 at each
place. Rounded afterwards: a plain autoencoder whose numbers are then rounded to evenly spaced levels between the
extremes of the training codes, the best of all ways to spend 7 bits on one to seven numbers. Rounded in training:
`finite_scalar`, spent the same ways. Errors are the sum of squares over the 784 pixels from 0 to 1, averaged over the
10,000 test pictures; perplexity is exp of the entropy of the indices of the test pictures. MNIST is looked for in
$ISTHMUS_DATA, or in ../shared/data.
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
import torch
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Training
from isthmus.networks import Conv
from isthmus.variants import FiniteScalar, Quantized
from isthmus.variants.base import Variant

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
N_CODES = 128
# numbers at each place, and levels of each: at most 128 combinations
SPLITS = ((1, 128), (2, 11), (3, 5), (7, 2))


def pictures(part: str) -> np.ndarray:
    """(n, 28, 28), float32 from 0 to 1."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28) / np.float32(255)


def squared_error(given: np.ndarray, back: np.ndarray) -> float:
    """Summed over pixels, averaged over pictures."""
    return float(np.square(given.astype(np.float64) - back).reshape(len(given), -1).sum(1).mean())


def rounded(codes: np.ndarray, like: np.ndarray, levels: int) -> np.ndarray:
    """Each number of a code at the nearest of some levels, evenly spaced over what `like` holds."""
    axes = tuple(range(like.ndim - 1))
    low, high = like.min(axes), like.max(axes)
    steps = np.round((np.clip(codes, low, high) - low) / (high - low) * (levels - 1))
    return (low + steps / (levels - 1) * (high - low)).astype(codes.dtype)


class Bench:
    """Data and settings that all ways share, and the table."""

    def __init__(self, rows: int, epochs: int, seed: int):
        self.training, self.test = pictures("train")[:rows], pictures("t10k")
        self.epochs, self.seed, self.seconds = epochs, seed, 0.0
        self.table = Table(title=f"isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {seed}")
        for name in ("code", "numbers x levels", "bits", "test error", "perplexity (of 128)", "wall s"):
            self.table.add_column(name, justify="left" if name == "code" else "right")

    def fitted(self, size: int, variant: Variant | tuple[()] = ()) -> Autoencoder:
        network = Conv((32, 64), code="grid", activation="gelu", normalisation="group")
        settings = Training(max_epochs=self.epochs, batch_size=64, learning_rate=2e-3, patience=None)
        model = Autoencoder(size, network=network, variant=variant, training=settings, random_state=self.seed)
        started = time.perf_counter()
        model.fit(self.training)
        self.seconds = time.perf_counter() - started
        return model

    def note(self, name: str, size: int, levels: int, error: float, perplexity: float | None = None) -> None:
        bits = f"{49 * size * np.log2(levels):.0f}"
        use = "" if perplexity is None else f"{perplexity:.1f} ({perplexity / N_CODES:.2f})"
        self.table.add_row(name, f"{size} x {levels}", bits, f"{error:.2f}", use, f"{self.seconds:.0f}")

    def learned(self, size: int) -> None:
        model = self.fitted(size, Quantized(n_codes=N_CODES, revive=0.6))
        variant = model.module_.variants[0]
        # a code chooses the entries that it is made of
        indices = variant.indices(torch.as_tensor(model.transform(self.test).reshape(-1, size)))
        error = squared_error(self.test, model.reconstruct(self.test))
        self.note("quantized", 1, N_CODES, error, variant.perplexity(indices))

    def afterwards(self) -> None:
        for size, levels in SPLITS:
            model = self.fitted(size)
            codes, like = model.transform(self.test), model.transform(self.training[:2000])
            coarse = rounded(codes.reshape(-1, size), like.reshape(-1, size), levels).reshape(codes.shape)
            error = squared_error(self.test, model.inverse_transform(coarse))
            self.note("rounded afterwards", size, levels, error)

    def in_training(self) -> None:
        for size, levels in SPLITS:
            model = self.fitted(size, FiniteScalar(levels=levels))
            self.note("finite_scalar", size, levels, squared_error(self.test, model.reconstruct(self.test)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30000, help="training pictures")
    parser.add_argument("--size", type=int, default=16, help="numbers of an entry of the codebook")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    bench = Bench(given.rows, given.epochs, given.seed)
    bench.learned(given.size)
    bench.afterwards()
    bench.in_training()
    Console(width=110).print(bench.table)


if __name__ == "__main__":
    main()
