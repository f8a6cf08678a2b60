"""Whether the doctor holds its peace: findings in 100 runs that have nothing wrong with them.

    python3 dev.py bench doctor

Ten data sets that scikit-learn bundles or that are made here, each with ten settings that suit it: networks, variants,
likelihoods, optimizers, code sizes. None has gaps, constant columns or too few rows, of which the doctor rightly
speaks. Every finding is printed with the run it came from. That it does speak where something is wrong is tested in
tests/test_doctor.py, fault by fault. `--part 0/4` takes the first of every four runs, for four processes at a time.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

import isthmus
from isthmus import Autoencoder, Training
from isthmus.errors import DoctorWarning
from isthmus.likelihoods import Normal
from isthmus.networks import Conv, Dense
from isthmus.variants import Adversarial, Denoising, L1Sparse, Variational, Wasserstein


@dataclass(frozen=True)
class Run:
    """One healthy run: of which data, with which settings."""

    data: str
    setting: str
    model: Autoencoder
    X: Any


def made(n: int, k: int, width: int, noise: float, curved: bool) -> np.ndarray:
    """k directions in `width` columns, straight or bent."""
    random = np.random.default_rng(n + k)
    inner = random.normal(size=(n, k))
    if curved:
        return np.tanh(inner @ random.normal(size=(k, width))) + noise * random.normal(size=(n, width))
    return inner @ random.normal(size=(k, width)) + noise * random.normal(size=(n, width))


def mixed(n: int) -> Any:
    """Numbers, words and truth values that go together."""
    import polars as pl

    random = np.random.default_rng(7)
    age, income = random.normal(45, 12, n), random.normal(0, 1, n)
    size = 0.5 * (age - 45) / 12 + 0.8 * income
    return pl.DataFrame(
        {
            "age": age,
            "income": 20000 * np.exp(0.5 * income),
            "rent": 600 * np.exp(0.4 * income + 0.1 * random.normal(size=n)),
            "town": [("north", "south", "west")[int(np.digitize(value, (-0.5, 0.5)))] for value in income],
            "owner": size + 0.3 * random.normal(size=n) > 0,
            "rooms": 3 + 1.2 * size + 0.2 * random.normal(size=n),
        }
    )


def blobs(n: int, side: int) -> np.ndarray:
    """One bright spot, wherever it is."""
    random, grid = np.random.default_rng(3), np.arange(side)
    x, y = random.uniform(2, side - 3, size=(2, n, 1, 1))
    return np.exp(-(np.square(grid[None, None, :] - x) + np.square(grid[None, :, None] - y)) / 6).astype(np.float32)


def tables() -> dict[str, tuple[Any, int]]:
    """Each with a size of code that suits it."""
    return {
        "straight, 3 in 12": (made(400, 3, 12, 0.2, False), 3),
        "straight, 6 in 30": (made(600, 6, 30, 0.5, False), 6),
        "bent, 2 in 10": (made(400, 2, 10, 0.1, True), 3),
        "bent, 4 in 40": (made(600, 4, 40, 0.1, True), 6),
        "breast cancer": (load_breast_cancer().data, 7),
        "wine": (load_wine().data, 5),
        "diabetes": (load_diabetes().data, 5),
        "mixed": (mixed(500), 3),
    }


def settings(size: int) -> dict[str, dict[str, Any]]:
    """Ten ways that suit a table."""
    return {
        "auto": {},
        "narrow": {"n_components": size},
        "relu, adamw": {"n_components": size, "network": Dense((64, 32), activation="relu"), "training": "adamw"},
        "tanh, tied": {"n_components": size, "network": Dense((64,), activation="tanh", tied=True)},
        "layer norm, dropout": {"n_components": size, "network": Dense((64,), normalisation="layer", dropout=0.05)},
        "deep": {"n_components": size, "network": Dense((64, 48, 32, 16), normalisation="layer")},
        "denoising": {"n_components": size, "variant": Denoising("gaussian(sigma=0.3)")},
        "sparse, wide": {"n_components": 2 * size, "variant": L1Sparse(0.02)},
        "vae": {"n_components": size, "variant": Variational(beta=0.1)},
        "wae": {"n_components": size, "variant": Wasserstein(weight=1.0)},
    }


def picture_settings() -> dict[str, dict[str, Any]]:
    """Ten ways that suit small pictures."""
    conv = Conv(channels=(8, 16))
    return {
        "dense": {"n_components": 12, "network": "dense"},
        "dense, bernoulli": {"n_components": 12, "network": "dense", "likelihood": "bernoulli"},
        "dense, relu": {"n_components": 16, "network": Dense((128, 64), activation="relu")},
        "conv": {"n_components": 12, "network": conv},
        "conv, bernoulli": {"n_components": 12, "network": conv, "likelihood": "bernoulli"},
        "conv, grid": {"n_components": 2, "network": Conv(channels=(8, 16), code="grid")},
        "denoising": {"n_components": 16, "network": "dense", "variant": Denoising("gaussian(sigma=0.2)")},
        "vae": {"n_components": 8, "network": "dense", "variant": "vae", "likelihood": Normal(scale=0.2)},
        "vae, bernoulli": {"n_components": 8, "network": "dense", "variant": "vae", "likelihood": "bernoulli"},
        "aae": {"n_components": 8, "network": "dense", "variant": Adversarial(weight=0.5), "training": "whole"},
    }


def runs() -> Iterator[Run]:
    """All hundred."""
    trained = {
        "adamw": Training(max_epochs=60, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-4),
        "whole": Training(max_epochs=40, patience=None),
        "usual": Training(max_epochs=60, learning_rate=2e-3),
    }
    digits = (load_digits().images[:500] / 16).astype(np.float32)
    pictures = {"digits": digits, "spots": blobs(500, 12)}
    for seed, (name, (X, size)) in enumerate(tables().items()):
        for setting, chosen in settings(size).items():
            yield Run(name, setting, _model(chosen, trained, seed), X)
    for seed, (name, X) in enumerate(pictures.items(), 8):
        for setting, chosen in picture_settings().items():
            yield Run(name, setting, _model(chosen, trained, seed), X)


def _model(chosen: dict[str, Any], trained: dict[str, Training], seed: int) -> Autoencoder:
    training = trained[chosen.get("training", "usual")]
    return Autoencoder(**(chosen | {"training": training}), random_state=seed, verbose=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="0/1", help="which part of how many, such as 0/4")
    first, step = map(int, parser.parse_args().part.split("/"))
    chosen, started = list(runs())[first::step], time.perf_counter()
    found: Counter[str] = Counter()
    where = Counter(run.data for run in chosen)
    for place, run in enumerate(chosen):
        print(f"# {place + 1} of {len(chosen)}: {run.data}; {run.setting}", file=sys.stderr, flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoctorWarning)
            run.model.fit(run.X)
        for finding in run.model.doctor_:
            found[run.data] += 1
            print(f"# {run.data}; {run.setting}: {finding.code}: {finding.text}", flush=True)
    print(f"\nIsthmus {isthmus.__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    print("\n| data | runs | findings |\n|---|---|---|")
    for name, many in where.items():
        print(f"| {name} | {many} | {found[name]} |")
    print(f"| **all** | {len(chosen)} | **{found.total()}** |")
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
