"""What the benchmarks on MNIST share: the pictures, and a linear reader of codes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def pictures(part: str) -> np.ndarray:
    """(n, 28, 28), float32 from 0 to 1; part is train or t10k."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28) / np.float32(255)


def labels(part: str) -> np.ndarray:
    """(n,), 0 to 9."""
    with gzip.open(DATA / "mnist" / f"{part}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read()[8:], np.uint8).astype(np.int64)


def logistic(codes: Tensor, classes: Tensor, decay: float, start: Tensor | None = None, steps: int = 60) -> Tensor:
    """Weights (n_components + 1, 10) of a logistic regression with an L2 penalty, by L-BFGS."""
    weights = torch.zeros(codes.shape[1] + 1, 10) if start is None else start.clone()
    weights.requires_grad_()
    solver = torch.optim.LBFGS([weights], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        found = functional.cross_entropy(codes @ weights[:-1] + weights[-1], classes)
        found = found + decay * weights[:-1].square().sum()
        found.backward()
        return found

    solver.step(loss)
    return weights.detach()


def wrong(codes: Tensor, classes: Tensor, weights: Tensor) -> float:
    """Share of mistakes, in percent."""
    return 100 * float(((codes @ weights[:-1] + weights[-1]).argmax(1) != classes).double().mean())


def probe(
    training: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], decays: tuple[float, ...]
) -> tuple[float, float]:
    """The test error, in percent, of a logistic regression on codes, and the L2 penalty that was taken.

    The last sixth of the training rows chooses the penalty, then all of them train.
    """
    codes, classes = training
    scale = codes.std()
    codes, cut = codes / scale, len(codes) * 5 // 6
    best, chosen, weights = np.inf, decays[0], None
    for decay in sorted(decays, reverse=True):
        weights = logistic(codes[:cut], classes[:cut], decay, weights)
        if (error := wrong(codes[cut:], classes[cut:], weights)) < best:
            best, chosen, kept = error, decay, weights
    weights = logistic(codes, classes, chosen, kept)
    return wrong(test[0] / scale, test[1], weights), chosen


def labelled(name: str, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 28, 28) and classes (n,) of mnist or fashion-mnist, of whose training part 20,000 are kept here."""
    stem = "train20k" if name == "fashion-mnist" and part == "train" else part
    found = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(DATA / name / f"{stem}-{kind}-ubyte.gz") as file:
            found.append(np.frombuffer(file.read()[header:], np.uint8))
    return found[0].reshape(-1, 28, 28) / np.float32(255), found[1].astype(np.int64)
