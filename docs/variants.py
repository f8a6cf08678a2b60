"""Writes docs/variants.md, all variants on one data set: `python docs/variants.py`, five minutes on one core.

Every variant has the same network, the same length of code and the same training. Its settings are chosen among a few
on rows held out for that; a variant without a choice here takes its defaults. Labels are used for two columns only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isthmus import Autoencoder, Training
from isthmus.data import Tables
from isthmus.errors import DoctorWarning
from isthmus.likelihoods import Normal
from isthmus.networks import Dense
from isthmus.part import find, known
from isthmus.variants.base import Variant

Rows = NDArray[np.float32]

SIZE, SEEDS, NOISE = 32, (0, 1, 2), 0.25
TRAINING = Training(max_epochs=60, batch_size=50, learning_rate=2e-3, validation=0.0, patience=None)
CHOICES: dict[str, list[str]] = {
    "binary": ["binary", "binary(stochastic=True)"],
    "contractive": [f"contractive(weight={weight}, probes=2)" for weight in (0.01, 0.03, 0.1)],
    "denoising": [f"denoising(damage='gaussian(sigma={sigma})')" for sigma in (0.1, 0.25, 0.5)],
    "finite_scalar": ["finite_scalar(levels=5)", "finite_scalar(levels=8)"],
    "holes": [f"holes(share={share}, count={count})" for share in (0.25, 0.5) for count in (0, 1)],
    "importance_weighted": ["importance_weighted(samples=5)"],
    "kl_sparse": [f"kl_sparse(target={target}, weight={weight})" for target in (0.1, 0.3) for weight in (1.0, 10.0)],
    "l1_sparse": [f"l1_sparse(weight={weight})" for weight in (0.03, 0.3, 1.0)],
    "masked": ["masked(share=0.25)", "masked(share=0.5)"],
    "nested_dropout": ["nested_dropout(keep=0.9)", "nested_dropout(keep=0.97)"],
    "norm_mask": ["norm_mask(weight=0.3)", "norm_mask(weight=3.0)"],
    "quantized": ["quantized(n_codes=32, groups=8)", "quantized(n_codes=64, groups=16)"],
    "top_k": ["top_k(k=8)", "top_k(k=16)", "top_k(k=8, revive=0.1)"],
    "variational": ["variational(beta=0.3)", "variational(beta=1.0)"],
}


READ = {
    "plain": "Close on clean rows. On noisy ones nothing tells it what is noise.",
    "PCA": "The closest of all on clean rows, in no time: 32 numbers for 64 pixels leave little to gain.",
    "binary": "A digit in 32 bits: several times the error, and yet most neighbours have the same name. Its code, like "
    "those of finite_scalar, quantized and top_k, moves in jumps, which is what their Jacobian counts.",
    "contractive": "The code moves less than the plain one's, and noisy rows come back better, for little error.",
    "denoising": "By far the best on noisy rows, of the very noise that it was trained with; clean rows cost more.",
    "finite_scalar": "Three bits for a number instead of 32, for about twice the plain error, and the same neighbours.",
    "holes": "As masked, with whole stretches of the row hidden too, which is dear here: for data that are missing so.",
    "importance_weighted": "As variational, with five passes through the decoder: for likelihoods, not for the output.",
    "kl_sparse": "Hardly dearer than plain; the probe finds the digit's name a little more easily.",
    "l1_sparse": "At the weight that noise prefers next to nothing changes: a code of 32 for 64 pixels is not wide.",
    "masked": "Half denoising by the way: what must be guessed from the rest cannot follow single pixels.",
    "nested_dropout": "The price of order: the first numbers carry most of it, and the last are seldom trained.",
    "norm_mask": "The normalisation alone brings it nearer to PCA's error; on this narrow code it switches off little.",
    "quantized": "16 indices of 6 bits: 96 bits a digit, at the error of `finite_scalar` or a little above.",
    "top_k": "Only some of the numbers at a time, so clean rows cost more; watch the dead ones.",
    "variational": "Better than plain on noisy rows and worse on clean ones: the price of codes that can be drawn.",
}
INTRODUCTION = f"""\
# All variants on one data set

The digits that scikit-learn bundles, 8 x 8 pixels with values from 0 to 1: 1,000 to learn from, 300 to choose settings
on, 497 to measure. Everywhere the same network (one hidden layer of 128 units each way), a code of {SIZE} numbers, a
normal law with a standard deviation of 0.1, 60 epochs. Of a few settings those were taken that give back noisy
validation rows best, without labels. Mean and standard deviation over {len(SEEDS)} seeds.

- **error**: squared error of a row, summed over its pixels. **noisy**: the same, against the clean row, after noise
  of {NOISE} was added to every pixel.
- **probe**, **5-NN**: share of digits named rightly from their codes, by logistic regression and by the five nearest
  codes. Here labels are used, and only here.
- **dead**: share of the code's numbers that vary less than a hundredth of the one that varies most.
- **Jacobian**: how far the code goes for a small step of the sample, in units of the code's own spread, by differences.
- **s**: seconds of one processor for training.

This page is written by `python docs/variants.py`.

"""


@dataclass(frozen=True)
class Reading:
    """What one model gives on rows that it has not seen."""

    error: float
    noisy: float
    probe: float
    neighbours: float
    dead: float
    jacobian: float
    seconds: float


def rows() -> tuple[list[Rows], list[NDArray[np.int64]]]:
    """Training, validation and test rows, shuffled once, with values from 0 to 1; and their labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    pixels, labels = (digits.data[order] / 16).astype(np.float32), digits.target[order]
    return np.split(pixels, [1000, 1300]), np.split(labels, [1000, 1300])


def model_of(variant: Sequence[str], seed: int) -> Autoencoder:
    return Autoencoder(
        SIZE,
        variant=list(variant),
        network=Dense(widths=(128,)),
        likelihood=Normal(scale=0.1),
        data_type=Tables(scaling="none"),
        training=TRAINING,
        random_state=seed,
    )


def spoiled(pixels: Rows) -> Rows:
    noise = np.random.default_rng(1).normal(size=pixels.shape)
    return (pixels + NOISE * noise).astype(np.float32)


def squared(found: Rows, pixels: Rows) -> float:
    """The squared error of a row, summed over its pixels, on average."""
    return float(np.square(found - pixels).sum(1).mean())


def fit(model: Any, pixels: Rows) -> tuple[Any, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        started = time.process_time()
        model.fit(pixels)
        return model, time.process_time() - started


def reconstruct(model: Any, pixels: Rows) -> Rows:
    found: Rows = model.inverse_transform(model.transform(pixels))
    return found


def jacobian(model: Any, pixels: Rows) -> float:
    """Root mean square of the Jacobian's norm by small differences, in units of the code's own spread."""
    step = np.random.default_rng(2).normal(size=pixels.shape).astype(np.float32) * 0.01
    moved = np.square(model.transform(pixels + step) - model.transform(pixels)).sum(1).mean()
    spread = model.transform(pixels).var(axis=0).sum()
    return float(np.sqrt(moved / spread) / 0.01)


def read(model: Any, seconds: float) -> Reading:
    (learn, _, test), (names, _, truth) = rows()
    codes, seen = model.transform(test), model.transform(learn)
    spread = codes.std(axis=0)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(seen, names)
    return Reading(
        error=squared(reconstruct(model, test), test),
        noisy=squared(reconstruct(model, spoiled(test)), test),
        probe=100 * probe.score(codes, truth),
        neighbours=100 * KNeighborsClassifier(5).fit(seen, names).score(codes, truth),
        dead=100 * float((spread < 0.01 * spread.max()).mean()),
        jacobian=jacobian(model, test),
        seconds=seconds,
    )


def chosen(choices: list[list[str]]) -> list[str]:
    """The settings whose reconstruction of spoiled validation rows comes nearest to the clean ones."""
    if len(choices) == 1:
        return choices[0]
    learn, held, _ = rows()[0]
    errors = [squared(reconstruct(fit(model_of(one, 0), learn)[0], spoiled(held)), held) for one in choices]
    return choices[int(np.argmin(errors))]


def with_needed(name: str, settings: list[str]) -> list[list[str]]:
    needed = find("variants", name, Variant).requires  # type: ignore[attr-defined]
    return [[*needed, one] for one in settings]


def line(title: str, readings: list[Reading]) -> str:
    values = np.array([astuple(reading) for reading in readings])
    mean, spread = values.mean(0), values.std(0)
    digits = (2, 2, 1, 1, 0, 2, 1)
    cells = [f"{value:.{places}f}" for value, places in zip(mean, digits, strict=True)]
    if len(readings) > 1:
        for place in (0, 1, 2, 3):
            cells[place] += f" ± {spread[place]:.{digits[place]}f}"
    return f"| {title} | {' | '.join(cells)} |"


def measured(variant: list[str]) -> list[Reading]:
    return [read(*fit(model_of(variant, seed), rows()[0][0])) for seed in SEEDS]


def table() -> dict[str, str]:
    """The line of each variant, after that of PCA and of the plain autoencoder."""
    lines = {"PCA": line("PCA", [read(*fit(PCA(SIZE), rows()[0][0]))]), "plain": line("plain", measured([]))}
    for name in sorted(known("variants")):
        variant = chosen(with_needed(name, CHOICES.get(name, [name])))
        lines[name] = line(" + ".join(f"`{one}`" for one in variant), measured(variant))
        print(lines[name], flush=True)
    return lines


def first_sentence(name: str) -> str:
    return (find("variants", name).__doc__ or "").partition("\n")[0]


def main() -> None:
    torch.set_num_threads(1)
    lines = table()
    head = ["| variant | error | noisy | probe % | 5-NN % | dead % | Jacobian | s |", "|---" * 8 + "|"]
    said = [f"- **{name}**: {READ.get(name) or first_sentence(name)}" for name in lines]
    page = INTRODUCTION + "\n".join([*head, *lines.values(), "", "## What to read from it", "", *said]) + "\n"
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
