"""Many models at once: k seeds of one dense autoencoder by `fit_many`, against `fit` for one after another.

    python3 dev.py bench many

A table of 20,000 rows and 30 columns, the network 30-64-32-8-32-64-30 (relu, batches of 256), with all that a user
gets: scaling, held-out rows, history, the doctor. All ways take turns in one process on one thread; the table gives
medians, and times as multiples of one model's.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Training, fit_many
from isthmus.networks import Dense

ROWS, COLUMNS = 20_000, 30


def models(k: int, epochs: int) -> list[Autoencoder]:
    network, training = Dense((64, 32), activation="relu"), Training(max_epochs=epochs, batch_size=256, patience=None)
    settings = {"network": network, "training": training, "verbose": False}
    return [Autoencoder(8, **settings, random_state=seed) for seed in range(k)]


def data() -> np.ndarray:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 5)) @ random.normal(size=(5, COLUMNS)) + 0.3 * random.normal(size=(ROWS, COLUMNS))
    return x.astype(np.float32)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def largest_difference(X: np.ndarray, epochs: int) -> float:
    """Between the held-out losses of four models, together and alone, as a share of the loss."""
    together, alone = fit_many(models(4, epochs), X), [model.fit(X) for model in models(4, epochs)]
    pairs = [[model.history_["validation_loss"][-1] for model in some] for some in (together, alone)]
    return float(np.max(np.abs(np.subtract(*pairs)) / np.abs(pairs[1])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X = data()
    fit_many(models(2, 1), X)  # what is loaded once is loaded now
    one: list[float] = []
    apart: dict[int, list[float]] = {k: [] for k in given.models}
    together: dict[int, list[float]] = {k: [] for k in given.models}
    for _ in range(given.repeats):
        for k in given.models:
            one.append(seconds(lambda: models(1, given.epochs)[0].fit(X)))
            together[k].append(seconds(lambda k=k: fit_many(models(k, given.epochs), X)))
            apart[k].append(seconds(lambda k=k: [model.fit(X) for model in models(k, given.epochs)]))
    unit = statistics.median(one)
    versions = f"isthmus {isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    table = Table(title=f"{versions}, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    for name in ("models", "together x one", "apart x one", "gain", "samples/s together"):
        table.add_column(name, justify="right")
    for k in given.models:
        fast, slow = statistics.median(together[k]), statistics.median(apart[k])
        speed = k * 0.9 * ROWS * given.epochs / fast
        table.add_row(str(k), f"{fast / unit:.2f}", f"{slow / unit:.2f}", f"{slow / fast:.2f}", f"{speed:,.0f}")
    Console(width=100).print(table)
    difference = largest_difference(X, given.epochs)
    print(f"one model: {unit:.3f} s; largest difference of a held-out loss, together and alone: {difference:.1e} of it")


if __name__ == "__main__":
    main()
