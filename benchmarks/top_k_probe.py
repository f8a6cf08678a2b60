"""MNIST by a thousand sparse numbers: a linear reader of top_k's codes beside one of the pixels and of dense codes.

    python3 dev.py bench top_k_probe

Makhzani and Frey 2013 (arXiv 1312.5663): an encoder and a decoder without hidden layers, 1,000 units of which the 25
largest are kept, trained on the pictures alone; then a logistic regression on the frozen codes, with more of
them kept than in training. An epoch-by-epoch copy of theirs is not attempted: Adam instead of momentum, and dead units
are revived. Nothing is tuned on the test pictures: the last 10,000 training pictures choose the L2 penalty of the
regression and how many numbers are kept for it, then all 60,000 train it. MNIST is looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings

import numpy as np
import torch
from _digits import labels, pictures, probe
from rich.console import Console
from rich.table import Table
from torch import Tensor

import isthmus
from isthmus import Autoencoder, Training
from isthmus.networks import Dense
from isthmus.variants import TopK

DECAYS = (3e-5, 1e-5, 3e-6)


def fitted(x: np.ndarray, units: int, variant: object, epochs: int, seed: int) -> Autoencoder:
    settings = Training(max_epochs=epochs, batch_size=256, learning_rate=1e-3, validation=0.0)
    model = Autoencoder(
        units, network=Dense(widths=(), tied=True), variant=variant, training=settings, random_state=seed
    )
    return model.fit(x)


@torch.inference_mode()
def features(model: Autoencoder, x: np.ndarray) -> Tensor:
    """What the encoder says before anything is set to zero, (n, n_components)."""
    return torch.cat([model.module_.features(torch.from_numpy(part)[:, None]) for part in np.array_split(x, 60)])


def kept(features: Tensor, k: int) -> Tensor:
    """The k largest in absolute value of each row; positive and negative ones side by side, (n, 2 n_components)."""
    places = features.abs().topk(k, dim=1).indices
    code = torch.zeros_like(features).scatter(1, places, features.gather(1, places))
    return torch.cat([code.clamp_min(0), -code.clamp_max(0)], 1)


def read(model: Autoencoder, data: dict[str, np.ndarray], k: int, signs: bool) -> tuple[float, str]:
    """Test error of the regression, and what it was given."""
    codes = {part: kept(features(model, data[part]), k) for part in ("train", "t10k")}
    if not signs:
        n = next(iter(codes.values())).shape[1] // 2
        codes = {part: code[:, :n] - code[:, n:] for part, code in codes.items()}
    classes = {part: torch.from_numpy(labels(part)) for part in codes}
    error, decay = probe((codes["train"], classes["train"]), (codes["t10k"], classes["t10k"]), DECAYS)
    return error, f"{k} largest, L2 {decay:g}"


def dead(model: Autoencoder, x: np.ndarray, k: int) -> float:
    """Share of units that are among the k largest of no picture, in percent."""
    used = torch.zeros(model.n_components_, dtype=torch.bool)
    for part in np.array_split(x, 60):
        used[features(model, part).abs().topk(k, dim=1).indices.unique()] = True
    return 100 * float(1 - used.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--k", type=int, default=25)
    parser.add_argument("--more", type=int, default=3, help="how many times more are kept for the regression")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    data = {part: pictures(part) for part in ("train", "t10k")}
    title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}"
    table = Table(title=title)
    for name in ("code", "read by the regression", "test error, %", "dead, %", "wall s"):
        table.add_column(name, justify="right" if "," in name or name == "wall s" else "left")
    ways = {f"top_k, k={given.k}": TopK(k=given.k, revive=0.1), "no variant": ()}
    for name, variant in ways.items():
        started = time.perf_counter()
        model = fitted(data["train"], given.units, variant, given.epochs, given.seed)
        seconds = time.perf_counter() - started
        sparse = isinstance(variant, TopK)
        k = given.k * given.more if sparse else given.units
        error, what = read(model, data, k, signs=sparse)
        silent = f"{dead(model, data['train'], given.k):.1f}" if sparse else ""
        table.add_row(f"{given.units} units, {name}", what, f"{error:.2f}", silent, f"{seconds:.0f}")
        Console(width=120, stderr=True).print(name, what, error, silent, f"{seconds:.0f}")
    flat = {part: torch.from_numpy(x.reshape(len(x), -1)) for part, x in data.items()}
    classes = {part: torch.from_numpy(labels(part)) for part in flat}
    error, decay = probe((flat["train"], classes["train"]), (flat["t10k"], classes["t10k"]), DECAYS)
    table.add_row("784 pixels", f"all, L2 {decay:g}", f"{error:.2f}", "", "")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
