"""Pictures that are alike: precision among the ten nearest, by codes and by pixels.

    python3 dev.py bench retrieval
    python3 dev.py bench retrieval --set fashion-mnist --seeds 1

The first 10,000 training pictures are indexed, and 2,000 test pictures looked up; reported is the share of the ten
nearest that are of the same class, and the mean average precision over the whole ranking (of equally near items over
all their orders), and the bytes that an item takes in the index. Labels are used for these figures and for nothing
else. Settings were chosen on fashion-mnist, never on MNIST. Data are looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
import sklearn
import torch
from _digits import DATA, labelled
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA

import isthmus
from isthmus import Autoencoder, Retriever
from isthmus.networks import Conv

NEAREST = 10


@dataclass(frozen=True)
class Split:
    """What is indexed and what is looked up."""

    items: np.ndarray
    classes: np.ndarray
    queries: np.ndarray
    wanted: np.ndarray


@dataclass(frozen=True)
class Result:
    """One way, one seed."""

    way: str
    precision: float  # percent
    average: float  # percent
    n_bytes: int
    seconds: float  # of processor time, with training


def judged(way: str, split: Split, distances: np.ndarray, n_bytes: int, started: float) -> Result:
    """Distances (queries, items); of equally near items each order counts alike."""
    precisions, averages = [], []
    for far, wanted in zip(distances, split.wanted, strict=True):
        same = split.classes == wanted
        steps, group = np.unique(far, return_inverse=True)
        total, right = np.bincount(group), np.bincount(group, weights=same)
        last = int(np.searchsorted(np.cumsum(total), NEAREST))
        before = total[:last].sum()
        precisions.append((right[:last].sum() + right[last] * (NEAREST - before) / total[last]) / NEAREST)
        share = np.repeat(right / total, total)  # expected hits place by place
        averages.append(float((share * np.cumsum(share) / np.arange(1, len(far) + 1)).sum() / same.sum()))
    took = time.process_time() - started
    return Result(way, 100 * float(np.mean(precisions)), 100 * float(np.mean(averages)), n_bytes, took)


def euclidean(items: np.ndarray, queries: np.ndarray) -> np.ndarray:
    squares = np.square(queries).sum(1)[:, None] + np.square(items).sum(1) - 2 * queries @ items.T
    return squares.astype(np.float64)


def rivals(split: Split) -> list[Result]:
    started = time.process_time()
    items, queries = (one.reshape(len(one), -1).astype(np.float64) for one in (split.items, split.queries))
    found = [judged("pixels", split, euclidean(items, queries), 4 * items.shape[1], started)]
    started = time.process_time()
    fitted = PCA(64, random_state=0).fit(items)
    far = euclidean(fitted.transform(items), fitted.transform(queries))
    found.append(judged("64 components", split, far, 256, started))
    for bits in (32, 64):
        started = time.process_time()
        signs = [(fitted.transform(one)[:, :bits] > 0).astype(np.float64) for one in (items, queries)]
        found.append(judged(f"signs of {bits} components", split, euclidean(*signs).round(), bits // 8, started))
    return found


def ours(split: Split, seed: int, bits: int | None, epochs: int | None) -> Result:
    """The Retriever as it is, or with bits for a code."""
    started = time.process_time()
    retriever = Retriever(random_state=seed)
    model = Autoencoder(**retriever.default().get_params(deep=False))
    if bits is not None:
        model.set_params(n_components=bits, variant=[model.variant, "binary"], network=Conv())
    if epochs is not None:
        model.set_params(training__max_epochs=epochs)
    retriever.set_params(autoencoder=model).fit(split.items)
    codes = [retriever._codes(one) for one in (split.items, split.queries)]
    if bits is not None:
        codes = [np.unpackbits(one, axis=1) for one in codes]
    far = euclidean(*(one.astype(np.float64) for one in codes))
    size = codes[0].shape[1]
    way = f"Retriever, {bits} bits" if bits else f"Retriever(), {size} numbers"
    return judged(way, split, far.round() if bits else far, size // 8 if bits else 4 * size, started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("mnist", "fashion-mnist"), default="mnist")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=None, help="of training; by default the Retriever's own")
    given = parser.parse_args()
    if not (DATA / given.set).is_dir():
        sys.exit(f"{DATA / given.set} is not there: put the four files of {given.set} into it, or set ISTHMUS_DATA.")
    warnings.simplefilter("ignore")
    training, test = labelled(given.set), labelled(given.set, "t10k")
    split = Split(*(one[: given.items] for one in training), *(one[: given.queries] for one in test))
    results: dict[str, list[Result]] = {}
    for result in rivals(split):
        results[result.way] = [result]
        print(f"# {result}", file=sys.stderr, flush=True)
    for seed in range(given.seeds):
        for bits in (None, 32, 64):
            result = ours(split, seed, bits, given.epochs)
            results.setdefault(result.way, []).append(result)
            print(f"# seed {seed}: {result}", file=sys.stderr, flush=True)
    versions = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    table = Table(title=f"{given.set}, {len(split.items):,} items; {versions}, scikit-learn {sklearn.__version__}")
    for name in ("way", f"precision@{NEAREST} %", "of seeds", "mAP %", "bytes", "CPU s"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for way, some in results.items():
        precision, average, seconds = (
            statistics.mean(getattr(one, name) for one in some) for name in ("precision", "average", "seconds")
        )
        spread = " ".join(f"{one.precision:.1f}" for one in some)
        table.add_row(way, f"{precision:.1f}", spread, f"{average:.1f}", f"{some[0].n_bytes:,}", f"{seconds:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
