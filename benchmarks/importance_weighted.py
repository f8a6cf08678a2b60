"""Binarised MNIST: the importance weighted bound of models trained for it, beside one trained for the plain bound.

    python3 dev.py bench importance_weighted

Each pixel is black or white by chance, once and for all, with the probability of its grey value. The network is that of
Burda et al. 2016 with one stochastic layer: 784-200-200-50-200-200-784, tanh. All models see the same number of
pictures; all are read by the same bound with 500 codes, on test pictures. MNIST is looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Training
from isthmus.evaluation import log_likelihood
from isthmus.networks import Dense
from isthmus.variants import ImportanceWeighted, Variational
from isthmus.variants.base import Variant

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def binary(part: str, n: int) -> np.ndarray:
    """(n, 28, 28), float32: 0 and 1."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        grey = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)[:n] / 255
    return (np.random.default_rng(0).random(grey.shape) < grey).astype(np.float32)


CONTENDERS: dict[str, list[Variant]] = {
    "variational, 1 code": [Variational()],
    "importance weighted, k = 50, dreg": [Variational(), ImportanceWeighted(samples=50)],
    "importance weighted, k = 50, plain": [Variational(), ImportanceWeighted(samples=50, gradient="plain")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20000, help="training pictures")
    parser.add_argument("--test", type=int, default=2000, help="test pictures")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=500, help="codes of the bound that all are read by")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    training, test = binary("train", given.rows), binary("t10k", given.test)
    title = f"isthmus {isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    table = Table(title=f"{title}; {given.rows} pictures, {given.epochs} epochs")
    for name in ("trained for", "seed", "-ELBO", f"-bound, {given.samples} codes", "units in use", "wall s"):
        table.add_column(name, justify="left" if name == "trained for" else "right")
    for seed in range(given.seeds):
        for name, variants in CONTENDERS.items():
            settings = Training(
                max_epochs=given.epochs, batch_size=50, learning_rate=1e-3, validation=0.0, patience=None
            )
            network = Dense(widths=(200, 200), activation="tanh")
            how = {"likelihood": "bernoulli", "training": settings, "random_state": seed}
            model = Autoencoder(50, variant=variants, network=network, **how)
            started = time.perf_counter()
            model.fit(training)
            seconds = time.perf_counter() - started
            elbo, bound = (-log_likelihood(model, test, k, random_state=0).mean() for k in (1, given.samples))
            used = int((model.transform(test).var(0) > 0.01).sum())
            row = (name, str(seed), f"{elbo:.2f}", f"{bound:.2f}", str(used), f"{seconds:.0f}")
            table.add_row(*row)
            print(*row, sep="; ", file=sys.stderr, flush=True)  # for who waits
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
