"""Masked pre-training of a small transformer on MNIST: what it learns without labels, and what hiding patches saves.

    python3 dev.py bench masked_patches

Pictures of 28 x 28 pixels are cut into 49 patches of 4 x 4; three quarters of them are hidden, and the encoder works on
the 12 that are left. What a sample's code is worth is asked of a logistic regression that sees few labels: its error on
the 10,000 test pictures, from codes of whole pictures. `mean` is the average of a picture's 49 codes, `all` are all of
them side by side. Beside it stand the pixels, their principal components, the same transformer as it starts, and the
same one trained without hiding anything. MNIST is looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV

import isthmus
from isthmus import Autoencoder, Training
from isthmus.damage.base import pick_patches
from isthmus.networks import Transformer
from isthmus.training import Cosine
from isthmus.variants import Masked
from isthmus.variants.base import Variant

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
PATCH, SHARE = 4, 0.75
Codes = tuple[np.ndarray, np.ndarray]  # of training and of test pictures


def pictures(part: str) -> np.ndarray:
    """(n, 28, 28), float32 from 0 to 1."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28) / np.float32(255)


def labels(part: str) -> np.ndarray:
    with gzip.open(DATA / "mnist" / f"{part}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read()[8:], np.uint8).astype(np.int64)


def prepared(seen: np.ndarray, asked: np.ndarray) -> Codes:
    """Around zero, and with a spread of 1 over all numbers together: where to start from is the same for all codes.

    Codes of more numbers than there are labelled pictures are turned into the space of these, which changes no answer.
    """
    centre, scale = seen.mean(0), seen.std(0).mean() + 1e-12
    seen, asked = (seen - centre) / scale, (asked - centre) / scale
    if seen.shape[1] > len(seen):
        axes = np.linalg.svd(seen, full_matrices=False)[2]
        seen, asked = seen @ axes.T, asked @ axes.T
    return seen, asked


class Bench:
    """Data and settings that all rows share, and the table."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.training, self.test = pictures("train")[: given.rows], pictures("t10k")[: given.tests]
        self.known, self.true = labels("train")[: given.rows], labels("t10k")[: given.tests]
        title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, torch {torch.__version__}"
        self.table = Table(title=f"{title}, {given.epochs} epochs of {given.rows:,} pictures, seed {given.seed}")
        for name in ("code", "numbers", f"test error % with {given.labels} labels", "wall s of training"):
            self.table.add_column(name, justify="left" if name == "code" else "right")

    def network(self) -> Transformer:
        given = self.given
        return Transformer(PATCH, given.width, given.depth, given.heads, code="tokens")

    def model(self, variant: Variant | tuple[()], epochs: int) -> tuple[Autoencoder, float]:
        given = self.given
        settings = Training(
            max_epochs=max(epochs, 1),
            batch_size=64,
            optimizer="adamw",
            learning_rate=given.learning_rate if epochs else 1e-12,
            weight_decay=0.05 if epochs else 0.0,
            schedule=Cosine(warm_up=0.1),
            patience=None,
        )
        model = Autoencoder(
            given.size, network=self.network(), variant=variant, likelihood="normal", training=settings,
            random_state=given.seed,
        )  # fmt: skip
        started = time.perf_counter()
        model.fit(self.training if epochs else self.training[:500])
        return model, time.perf_counter() - started

    def error(self, codes: Codes) -> str:
        """Of a linear probe: the mean over draws of the labelled pictures, and their standard deviation."""
        errors = []
        for draw in range(self.given.draws):
            random, each = np.random.default_rng(draw), self.given.labels // 10
            chosen = np.concatenate([random.permutation(np.flatnonzero(self.known == d))[:each] for d in range(10)])
            seen, asked = prepared(codes[0][chosen], codes[1])
            probe = LogisticRegressionCV(Cs=np.logspace(-5, 0, 6), cv=3, l1_ratios=(0.0,), max_iter=150)
            errors.append(100 * float((probe.fit(seen, self.known[chosen]).predict(asked) != self.true).mean()))
        spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
        return f"{statistics.mean(errors):.2f}{spread}"

    def note(self, name: str, codes: Codes, seconds: float | None = None) -> None:
        wall = "" if seconds is None else f"{seconds:.0f}"
        self.table.add_row(name, f"{codes[0].shape[1]:,}", self.error(codes), wall)

    def codes(self, name: str, model: Autoencoder, seconds: float | None = None) -> None:
        whole = model.transform(self.training), model.transform(self.test)
        grids = [each.reshape(len(each), -1, self.given.size) for each in whole]
        self.note(f"{name}, mean", (grids[0].mean(1), grids[1].mean(1)), seconds)
        self.note(f"{name}, all", whole)

    def rivals(self) -> None:
        flat = self.training.reshape(len(self.training), -1), self.test.reshape(len(self.test), -1)
        self.note("pixels", flat)
        pca = PCA(self.given.size, random_state=0).fit(flat[0])
        self.note("principal components", (pca.transform(flat[0]), pca.transform(flat[1])))


def milliseconds(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Of each way, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 2):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if repeat >= 2:  # the first ones warm up
                times[name].append(1e3 * (time.perf_counter() - started))
    return times


def encoder_times(bench: Bench, model: Autoencoder) -> Table:
    """How long the encoder takes for a batch of 128 pictures, forward and with gradients."""
    module = model.module_
    x = torch.from_numpy(bench.training[:128, None])
    hidden = pick_patches(x, module.spec, SHARE, PATCH, torch.Generator().manual_seed(0))
    weight = torch.ones_like(x).masked_fill(hidden, 0.0)

    def forward(weight: torch.Tensor | None) -> None:
        with torch.inference_mode():
            module.features(x, weight)

    def learning(weight: torch.Tensor | None) -> None:
        module.zero_grad()
        module.features(x, weight).square().mean().backward()

    table = Table(title=f"encoder, 128 pictures, median of {bench.given.repeats} (quartiles)")
    for name in ("", "all 49 patches, ms", "12 visible patches, ms", "ratio"):
        table.add_column(name, justify="right")
    for name, way in (("forward", forward), ("forward and back", learning)):
        times = milliseconds({"all": lambda w=way: w(None), "seen": lambda w=way: w(weight)}, bench.given.repeats)
        cells = []
        for each in times.values():
            low, middle, high = statistics.quantiles(each, n=4)
            cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f})")
        ratio = statistics.median(a / b for a, b in zip(times["all"], times["seen"], strict=True))
        table.add_row(name, *cells, f"{ratio:.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20000, help="training pictures, without labels")
    parser.add_argument("--tests", type=int, default=10000, help="test pictures")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--labels", type=int, default=1000, help="labelled pictures of the probe, as many of each digit"
    )
    parser.add_argument("--draws", type=int, default=3, help="draws of the labelled pictures")
    parser.add_argument("--size", type=int, default=64, help="numbers of the code of one patch")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bench = Bench(given)
    bench.rivals()
    bench.codes("as it starts", bench.model(Masked(SHARE, 0.0, patch=PATCH), 0)[0])
    bench.codes("nothing hidden", *bench.model((), given.epochs))
    masked, seconds = bench.model(Masked(SHARE, 0.0, patch=PATCH), given.epochs)
    bench.codes("three quarters hidden", masked, seconds)
    console = Console(width=110)
    console.print(bench.table)
    console.print(encoder_times(bench, masked))


if __name__ == "__main__":
    main()
