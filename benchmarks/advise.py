"""Whether the advised size of a code is the true one, on data made of a known number of directions.

    python3 dev.py bench advise

Four data sets of 2,000 samples: a flat one with noise, a rolled up plane in more columns, blocks of columns that follow
a direction each (straight and bent) and know nothing of each other, and pictures of a spot that moves and grows. For
each, `advise` with its defaults, with two seeds; beside it what PCA needs for 95 % of the variance and the dimension by
two nearest neighbours, rounded. The rule was chosen on sets of the same kinds with other numbers of directions, other
noise and other seeds. Nothing is read from disk. `--quick` takes 600 samples and one seed.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import isthmus
from isthmus import advise
from isthmus.metrics import variance_curve


@dataclass(frozen=True)
class Made:
    """Data, and how many directions they are made of."""

    name: str
    truth: int
    X: Any


def sets(n: int, seed: int) -> Iterator[Made]:
    """The four, from one seed."""
    random = np.random.default_rng(100 + seed)
    flat = random.normal(size=(n, 7)) @ random.normal(size=(7, 35)) / np.sqrt(7)
    yield Made("flat, 7 in 35, noise 0.2", 7, flat + 0.2 * random.normal(size=flat.shape))
    angle = 1.5 * np.pi * (1 + 2 * random.random(n))
    roll = np.stack([angle * np.cos(angle), 20 * random.random(n), angle * np.sin(angle)], axis=1)
    roll = roll @ np.linalg.qr(random.normal(size=(10, 3)))[0].T
    yield Made("rolled plane, 2 in 10, noise 0.05", 2, roll + 0.05 * random.normal(size=roll.shape))
    yield Made("5 blocks of 6 columns, noise 0.1", 5, blocks(n, 5, 6, random) + 0.1 * random.normal(size=(n, 30)))
    yield Made("spot that moves and grows, 16 x 16", 3, spots(n, 16, random))


def blocks(n: int, k: int, width: int, random: np.random.Generator) -> np.ndarray:
    """k directions, each seen by columns of its own: half of them straight, half bent."""
    inner = random.normal(size=(n, k))
    found = []
    for place in range(k):
        one = inner[:, [place]]
        found.append(one * random.uniform(0.5, 1.5, size=width // 2))
        found.append(np.sin(1.5 * one + random.uniform(0, 6, size=width - width // 2)))
    return np.concatenate(found, axis=1)


def spots(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    """Where it is, and how large."""
    grid = np.arange(side)
    x, y = random.uniform(0.25 * side, 0.75 * side, size=(2, n, 1, 1))
    size = random.uniform(0.1, 0.2, size=(n, 1, 1)) * side
    squares = np.square(grid[None, None, :] - x) + np.square(grid[None, :, None] - y)
    return np.exp(-squares / (2 * size**2)).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="600 samples, one seed of the data")
    quick = parser.parse_args().quick
    print(f"Isthmus {isthmus.__version__}, Python {platform.python_version()}, torch {torch.__version__}\n")
    print("| data | seed | truth | advised | PCA, 95 % | two neighbours | s |\n|---|---|---|---|---|---|---|")
    right = []
    for seed in range(1 if quick else 2):
        for made in sets(600 if quick else 2000, seed):
            started = time.perf_counter()
            found = advise(made.X)
            seconds = time.perf_counter() - started
            flat = torch.as_tensor(np.asarray(made.X)).flatten(1).double()
            pca = 1 + int((variance_curve((flat - flat.mean(0)) / flat.std(0).clamp_min(1e-9)) < 0.95).sum())
            right.append(abs(found.n_components - made.truth) <= 1)
            cells = (made.name, seed, made.truth, f"**{found.n_components}**", pca, round(found.dimension.estimate))
            print(f"| {' | '.join(map(str, cells))} | {seconds:.0f} |", flush=True)
            print("".join(f"# {line}\n" for line in repr(found).splitlines()), flush=True)
    print(f"\n{sum(right)} of {len(right)} within one of the truth.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
