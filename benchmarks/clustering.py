"""Groups of pictures without labels: codes and pixels, each grouped in the same ways, held against the classes.

    python3 dev.py bench clustering
    python3 dev.py bench clustering --set fashion-mnist --seeds 1

The first 10,000 training pictures, ten groups. Accuracy is under the best one-to-one map between groups and classes
(Hungarian method), beside the adjusted Rand index and normalised mutual information; labels are used for these three
figures and for nothing else. Settings were chosen on fashion-mnist, never on MNIST. `silhouette` is what one could
choose by without labels, measured in the space in which the groups were found. Data are looked for in $ISTHMUS_DATA, or
in ../shared/data.
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
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

import isthmus
from isthmus import Autoencoder, Clusterer
from isthmus.tasks._grouping import grouped

METHODS = ("kmeans", "mixture", "graph")


@dataclass(frozen=True)
class Result:
    """One way, one seed."""

    way: str
    accuracy: float  # percent
    rand: float
    information: float
    silhouette: float
    seconds: float  # of processor time, with training


def accuracy(classes: np.ndarray, groups: np.ndarray) -> float:
    """In percent, under the best one-to-one map."""
    table = np.zeros((groups.max() + 1, classes.max() + 1), dtype=np.int64)
    np.add.at(table, (groups, classes), 1)
    rows, columns = linear_sum_assignment(-table)
    return 100 * float(table[rows, columns].sum()) / len(classes)


def judged(way: str, classes: np.ndarray, groups: np.ndarray, space: np.ndarray, started: float) -> Result:
    some = np.random.default_rng(0).permutation(len(space))[:2000]
    return Result(
        way,
        accuracy(classes, groups),
        adjusted_rand_score(classes, groups),
        normalized_mutual_info_score(classes, groups),
        float(silhouette_score(space[some], groups[some])),
        time.process_time() - started,
    )


def rivals(pictures: np.ndarray, classes: np.ndarray, seed: int) -> list[Result]:
    """The same groupings of pixels, and of their first components."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    spaces = {"pixels": flat, "50 components": PCA(50, random_state=0).fit_transform(flat)}
    found = []
    for name, space in spaces.items():
        for method in METHODS:
            if method == "mixture" and name == "pixels":
                continue  # more parameters in a covariance than there are pictures
            started = time.process_time()
            found.append(
                judged(f"{name}, {method}", classes, grouped(space, 10, method, seed).of(space), space, started)
            )
    return found


def ours(pictures: np.ndarray, classes: np.ndarray, seed: int, epochs: int | None) -> list[Result]:
    """One autoencoder, its code grouped in each way; `graph` is what the Clusterer takes by itself."""
    started = time.process_time()
    clusterer = Clusterer(n_clusters=10, random_state=seed)
    if epochs is not None:
        clusterer.autoencoder = Autoencoder(**clusterer.default().get_params(deep=False))
        clusterer.autoencoder.set_params(training__max_epochs=epochs)
    clusterer.fit(pictures)
    codes = clusterer.autoencoder_.transform(pictures).astype(np.float64)
    found = [judged("Clusterer()", classes, clusterer.labels_, codes, started)]
    trained = time.process_time()
    for method in METHODS:
        groups = grouped(codes, 10, method, seed).of(codes)
        found.append(judged(f"its code, {method}", classes, groups, codes, trained))
        trained = time.process_time()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=("mnist", "fashion-mnist"), default="mnist")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=None, help="of training; by default the Clusterer's own")
    given = parser.parse_args()
    if not (DATA / given.set).is_dir():
        sys.exit(f"{DATA / given.set} is not there: put the four files of {given.set} into it, or set ISTHMUS_DATA.")
    warnings.simplefilter("ignore")
    pictures, classes = (one[: given.pictures] for one in labelled(given.set))
    results: dict[str, list[Result]] = {}
    for seed in range(given.seeds):
        for result in (*rivals(pictures, classes, seed), *ours(pictures, classes, seed, given.epochs)):
            results.setdefault(result.way, []).append(result)
            print(f"# seed {seed}: {result}", file=sys.stderr, flush=True)
    versions = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    table = Table(title=f"{given.set}, {len(pictures):,} pictures; {versions}, scikit-learn {sklearn.__version__}")
    for name in ("way", "accuracy %", "of seeds", "ARI", "NMI", "silhouette", "CPU s"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for way, some in results.items():
        mean = {name: statistics.mean(getattr(one, name) for one in some) for name in vars(some[0]) if name != "way"}
        spread = " ".join(f"{one.accuracy:.1f}" for one in some)
        table.add_row(
            way,
            f"{mean['accuracy']:.1f}",
            spread,
            f"{mean['rand']:.3f}",
            f"{mean['information']:.3f}",
            f"{mean['silhouette']:.3f}",
            f"{mean['seconds']:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
