"""A hundred labels of MNIST, ten of each digit: an autoencoder, labels spread over its codes, and tuning.

    python3 dev.py bench hundred_labels

Of the first training pictures (--pictures) a hundred have labels, drawn anew for each set. `SemiSupervisedClassifier`
trains an autoencoder on all of them, spreads the labels over its codes, tunes the encoder on what that says, and
spreads again over the codes of the tuned encoder. Beside it, in the same run: the same encoder and head from scratch,
on the labels alone, with the same spoiling of pictures and without; a logistic regression on the frozen codes; and
without any network, on pixels, the nearest neighbour and labels that are spread. The 10,000 test pictures are read once
for each way and set. MNIST is looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections import defaultdict
from typing import Any

import numpy as np
from _digits import DATA, labels, pictures
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import isthmus
from isthmus import Autoencoder, SemiSupervisedClassifier, Training
from isthmus.damage import Move
from isthmus.networks import Conv
from isthmus.tasks._known import Known
from isthmus.tasks._spread import neighbour_graph, spread_labels

LABELS_EACH = 10
OURS = "ours: spread and tuned"


def autoencoder(epochs: int) -> Autoencoder:
    training = Training(max_epochs=epochs, batch_size=128, learning_rate=2e-3, validation=0.0, patience=None)
    return Autoencoder(32, network=Conv((16, 32), activation="relu"), likelihood="bernoulli", training=training)


def classifier(given: Any, seed: int) -> SemiSupervisedClassifier:
    tuning = Training(max_epochs=given.tuning, batch_size=64, learning_rate=1e-3, validation=0.0)
    return SemiSupervisedClassifier(
        autoencoder(given.epochs), tune=tuning, spread=given.spread, damage=Move(0.1, 15, 0.15), random_state=seed
    )


def from_scratch(X: Any, few: Any, seed: int, damage: Any) -> SemiSupervisedClassifier:
    """The same encoder and head, as they begin, tuned on the labels alone."""
    tuning = Training(max_epochs=300, batch_size=20, learning_rate=1e-3, validation=0.0)
    model = SemiSupervisedClassifier(autoencoder(1), tune=tuning, spread=0, damage=damage, random_state=seed)
    rows = np.flatnonzero(few >= 0)
    classes, values = np.unique(few[rows], return_inverse=True)
    return model._learn(X, Known(rows, values, classes), model._start(X, few, pretrained=False))


def measured(given: Any, seed: int, X: Any, y: Any, new: Any, truth: Any) -> dict[str, tuple[float, float]]:
    """Error in percent and processor seconds of every way."""
    random = np.random.default_rng(seed)
    chosen = [random.choice(np.flatnonzero(y == digit), LABELS_EACH, replace=False) for digit in range(10)]
    rows = np.concatenate(chosen)
    few = np.full(len(X), -1)
    few[rows] = y[rows]
    found: dict[str, tuple[float, float]] = {}

    def judge(name: str, answer: Any, started: float) -> None:
        found[name] = 100 * float((answer != truth).mean()), time.process_time() - started
        Console(stderr=True).print(seed, name, *(round(value, 2) for value in found[name]))

    for name, damage in () if given.alone else (("from scratch", None), ("from scratch, moved", Move(0.1, 15, 0.15))):
        started = time.process_time()
        judge(name, from_scratch(X, few, seed, damage).predict(new), started)
    started = time.process_time()
    model = classifier(given, seed).fit(X, few)
    judge(OURS, model.predict(new), started)
    started = time.process_time()
    codes, theirs = model.autoencoder_.transform(X[rows]), model.autoencoder_.transform(new)
    scale = codes.std(0) + 1e-6
    logistic = LogisticRegression(max_iter=2000).fit(codes / scale, y[rows])
    judge("logistic on frozen codes", logistic.predict(theirs / scale), started)
    if given.rivals:
        started = time.process_time()
        flat, flat_new = X.reshape(len(X), -1), new.reshape(len(new), -1)
        nearest = KNeighborsClassifier(1).fit(flat[rows], y[rows])
        judge("nearest neighbour, pixels", nearest.predict(flat_new), started)
        started = time.process_time()
        graph = neighbour_graph(np.concatenate([flat, flat_new]))  # it can only speak of pictures in the graph
        judge("labels spread over pixels", spread_labels(graph, rows, y[rows], 10)[len(X) :].argmax(1), started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000, help="of training, from the first on")
    parser.add_argument("--epochs", type=int, default=4, help="of the autoencoder")
    parser.add_argument("--tuning", type=int, default=4, help="epochs of each tuning")
    parser.add_argument("--spread", type=int, default=3, help="how often labels are spread")
    parser.add_argument("--sets", type=int, nargs="+", default=[0, 1, 2], help="of labels")
    parser.add_argument("--rivals", action=argparse.BooleanOptionalAction, default=True, help="those on pixels")
    parser.add_argument("--alone", action="store_true", help="nothing from scratch, to try settings")
    parser.add_argument("--validation", action="store_true", help="judge by training pictures 50,000 to 54,999 instead")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if not (DATA / "mnist").exists():
        print(f"{DATA} holds no mnist; set ISTHMUS_DATA to the folder that does.")
        return
    everything, classes = pictures("train"), labels("train")
    X, y = everything[: given.pictures], classes[: given.pictures]
    held = slice(50_000, 55_000)
    new, truth = (everything[held], classes[held]) if given.validation else (pictures("t10k"), labels("t10k"))
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in given.sets:
        for name, value in measured(given, seed, X, y, new, truth).items():
            found[name].append(value)
    where = "validation" if given.validation else "test"
    title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {len(X):,} pictures"
    table = Table(title=f"{title}, sets {given.sets}")
    for name in ("way", f"{where} error, %", "each set", "of scratch's", "CPU s a set"):
        table.add_column(name, justify="left" if name == "way" else "right")
    scratch = [np.array(values)[:, 0] for name, values in found.items() if name.startswith("from")]
    best = np.min(scratch, axis=0) if scratch else np.full(len(given.sets), np.nan)  # whichever is better
    for name, values in found.items():
        errors, seconds = np.array(values).T
        each = ", ".join(f"{error:.2f}" for error in errors)
        share = f"{100 * errors.mean() / best.mean():.0f} %"
        table.add_row(name, f"{errors.mean():.2f}", each, share, f"{seconds.mean():.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
