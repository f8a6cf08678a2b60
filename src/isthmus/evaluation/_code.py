"""What the code is like: how much of it is used, whether classes lie apart, whether what lies between is smooth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.metrics import silhouette_score

from isthmus.evaluation._harness import Harness, spread
from isthmus.evaluation._result import NOTHING, Measure
from isthmus.evaluation._target import Target
from isthmus.module import AutoencoderModule
from isthmus.training.applying import Array

ACTIVE = 0.01  # variance of a posterior's mean (Burda et al. 2016); of other codes, share of the largest variance
DEAD = 1e-6  # of the largest standard deviation
PATHS, STEPS = 24, 17
MOST_JUDGED = 2_000  # rows whose distances are all looked at


def measures(harness: Harness, target: Target | None) -> Iterator[Measure]:
    """Of codes that are short; the maps of a U-Net say nothing."""
    codes, pca = harness.codes, harness.pca
    theirs = None if pca is None else pca.transform(harness.filled)
    yield Measure(
        "code",
        "numbers in a sample per number in a code",
        harness.x.shape[1] / harness.size,
        "how much shorter the code is; at 1 or below it need not leave anything out",
        pca=NOTHING if pca is None else harness.x.shape[1] / pca.n_components_,
    )
    yield Measure(
        "code",
        "active units",
        float(active(codes, is_variational(harness)).sum()),
        f"of {harness.size} numbers in a code, those that differ between samples by more than a hundredth",
        pca=NOTHING if theirs is None else float(active(theirs, False).sum()),
    )
    yield Measure("code", "dead units", float(dead(codes).sum()), "that are the same for every sample", "lower")
    yield Measure(
        "code",
        "effective rank",
        effective_rank(codes),
        "in how many directions codes spread out, were they all equally wide",
        "",
        pca=NOTHING if theirs is None else effective_rank(theirs),
    )
    if target is not None and target.classes:
        yield _separability(harness, target, theirs)
    if isinstance(harness.autoencoder.module_, AutoencoderModule) and harness.shape == harness.data.spec.shape:
        yield Measure(
            "code",
            "largest step on a decoded path",
            largest_step(harness),
            "from one code straight to another, in mean steps; 1 is even, more are jumps",
            "lower",
            pca=1.0,
        )


def is_variational(harness: Harness) -> bool:
    variants = getattr(harness.autoencoder.module_, "variants", [])
    return any(variant.name() == "variational" for variant in variants)


def active(codes: Array, variational: bool) -> np.ndarray:
    """Which components carry something, (n_components,).

    >>> active(np.array([[0.0, 1.0], [0.0, 3.0]]), False)
    array([False,  True])
    """
    variance = codes.var(0)
    found: np.ndarray = variance > (ACTIVE if variational else ACTIVE * max(float(variance.max()), 1e-300))
    return found


def dead(codes: Array) -> np.ndarray:
    """Which components never change."""
    spreads = codes.std(0)
    found: np.ndarray = spreads <= DEAD * max(float(spreads.max()), 1e-12)
    return found


def effective_rank(codes: Array) -> float:
    """The exponential of the entropy of the singular values of centred codes (Roy & Vetterli 2007).

    >>> round(effective_rank(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
    2.0
    """
    values = np.linalg.svd(codes - codes.mean(0), compute_uv=False)
    if not values.sum() > 0:
        return 0.0
    shares = values[values > 1e-12 * values[0]] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _separability(harness: Harness, target: Target, pca: Array | None) -> Measure:
    """The silhouette of the classes: near 1 where they lie apart."""
    rows = target.known[spread(len(target.known), MOST_JUDGED)]

    def silhouette(places: Array | None) -> float:
        if places is None or not 1 < len(set(target.values[rows])) < len(rows):
            return NOTHING
        return float(silhouette_score(places[rows], target.values[rows]))

    return Measure(
        "code",
        "separability of the classes",
        silhouette(harness.codes),
        "silhouette: how much nearer the own class lies than the next one, -1 to 1",
        pca=silhouette(pca),
        raw=silhouette(harness.filled),
    )


def largest_step(harness: Harness) -> float:
    """How unevenly the output moves while the code moves evenly, averaged over some pairs of samples."""
    random = np.random.default_rng(0)
    ends = [torch.from_numpy(harness.codes[random.integers(len(harness.codes), size=PATHS)]) for _ in range(2)]
    along = torch.linspace(0, 1, STEPS, dtype=torch.float64)[:, None]
    module = harness.autoencoder.as_type(torch.float64)
    device, found = next(module.parameters()).device, []
    for first, last in zip(*ends, strict=True):
        codes = (first + along * (last - first)).unflatten(1, harness.grid).to(device)
        with torch.inference_mode():
            steps = module.decode(codes).mean.flatten(1).diff(dim=0).norm(dim=1)
        if float(steps.sum()) > 0:
            found.append(float(steps.max() / steps.mean()))
    return float(np.mean(found)) if found else NOTHING
