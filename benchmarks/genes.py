"""Genes kept without labels: by an autoencoder, by variance, at random; and by a test against the labels.

    python3 dev.py bench genes

Expression of 2,000 to 7,129 genes in 62 to 72 samples (leukaemia: Golub et al. 1999; colon: Alon et al. 1999; small
round blue cell tumours: Khan et al. 2001). In each fold of a repeated stratified cross-validation the genes are chosen
on the training samples alone, then nearest neighbours and a logistic regression learn from these genes, standardised.
The data are looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from _digits import DATA
from rich.console import Console
from rich.table import Table
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import isthmus
from isthmus import Autoencoder, FeatureSelector, Training

SETS = ("golub", "alon", "khan")


def genes(name: str) -> tuple[Any, Any]:
    """Expression, logarithmic where it was not, (n_samples, n_genes), and the kind of each sample."""
    with np.load(Path(DATA) / "gene-expression" / f"{name}.npz", allow_pickle=True) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(str)
    if X.max() > 100:  # intensities
        X = np.log2(np.maximum(X, 20.0))
    return X, y


def ranked(way: str, X: Any, y: Any, seed: int) -> Any:
    """All genes, the best first."""
    if way == "random":
        return np.random.default_rng(seed).permutation(X.shape[1])
    if way == "variance":
        return np.argsort(-X.var(0), kind="stable")
    if way == "F test with labels":
        return np.argsort(-np.nan_to_num(f_classif(X, y)[0]), kind="stable")
    training = Training(max_epochs=60, batch_size=16, learning_rate=1e-3, validation=0.0)
    scaling = "center" if way.endswith("centred") else "standard"
    model = Autoencoder(
        16,
        variant="denoising(damage='masking(share=0.5)')",
        data_type=f"tables(scaling='{scaling}')",
        training=training,
    )
    return FeatureSelector(model, criterion=way.split()[0], random_state=seed).fit(X).ranking_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--genes", type=int, nargs="+", default=[10, 50, 200])
    ways = ["explained", "explained centred", "gradient", "variance", "random", "F test with labels"]
    parser.add_argument("--ways", nargs="+", default=ways)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if not (Path(DATA) / "gene-expression").exists():
        print(f"{DATA} holds no gene-expression; set ISTHMUS_DATA to the folder that does.")
        return
    readers = {"3 neighbours": KNeighborsClassifier(3), "logistic": LogisticRegression(max_iter=2000)}
    met: dict[Any, list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for name in given.sets:
        X, y = genes(name)
        for repeat in range(given.repeats):
            folds = StratifiedKFold(given.folds, shuffle=True, random_state=repeat).split(X, y)
            for number, (train, test) in enumerate(folds):
                for way in [*given.ways, "all genes"]:
                    started = time.process_time()
                    order = np.arange(X.shape[1]) if way == "all genes" else ranked(way, X[train], y[train], number)
                    seconds[way] += time.process_time() - started
                    for count in [X.shape[1]] if way == "all genes" else given.genes:
                        for reader, estimator in readers.items():
                            model = make_pipeline(StandardScaler(), estimator).fit(X[train][:, order[:count]], y[train])
                            found = model.predict(X[test][:, order[:count]]) == y[test]
                            size = 0 if way == "all genes" else count
                            met[name, way, size, reader] += found.tolist()
            Console(stderr=True).print(name, repeat)
    show(given, met, seconds, list(readers))


def show(given: Any, met: dict[Any, list[float]], seconds: dict[str, float], readers: list[str]) -> None:
    title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {given.repeats} x {given.folds} folds"
    for reader in readers:
        table = Table(title=f"{reader}, accuracy in %; {title}")
        table.add_column("genes kept by")
        for name in given.sets:
            for count in given.genes:
                table.add_column(f"{name} {count}", justify="right")
        table.add_column("mean", justify="right")
        table.add_column("CPU s", justify="right")
        for way in [*given.ways, "all genes"]:
            sizes = [0] * len(given.genes) if way == "all genes" else given.genes
            cells = [100 * float(np.mean(met[name, way, size, reader])) for name in given.sets for size in sizes]
            table.add_row(way, *(f"{cell:.1f}" for cell in cells), f"{np.mean(cells):.1f}", f"{seconds[way]:.0f}")
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
