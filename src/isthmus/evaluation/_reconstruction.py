"""How much comes back: over all, beside PCA, of rows that were never there, and column by column in its own unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images, Tables
from isthmus.evaluation._harness import Harness, mean
from isthmus.evaluation._result import NOTHING, Measure
from isthmus.tasks.base import Task
from isthmus.training import Batch

DAY = 86_400_000_000  # microseconds
UNITS = {"date": "days"}


def measures(harness: Harness, rival: Tensor | None) -> Iterator[Measure]:
    """`rival` is what PCA gives back."""
    ours, theirs = harness.explained(harness.back), [] if rival is None else harness.explained(rival)
    yield Measure(
        "reconstruction",
        "explained variance",
        mean(ours),
        "1 is exact, 0 no better than the mean; over all columns as the network sees them",
        pca=mean(theirs),
        guess=0.0,
        spread=float(np.std(ours)),
    )
    yield Measure(
        "reconstruction",
        "mean squared error",
        error(harness, harness.back),
        "of a value as the network sees it: in squared standard deviations, or from black to white",
        "lower",
        pca=NOTHING if rival is None else error(harness, rival),
    )
    if isinstance(harness.data, Images):
        yield Measure(
            "reconstruction",
            "PSNR, dB",
            decibels(error(harness, harness.back)),
            "10 more are a tenth of the squared error",
            pca=NOTHING if rival is None else decibels(error(harness, rival)),
        )
    yield Measure(
        "reconstruction",
        "explained variance, mixed rows",
        mixed_rows(harness),
        "of rows put together from cells of different rows; near the first figure where the network copies",
        "lower",
        pca=_mixed_by_pca(harness),
    )


def error(harness: Harness, back: Tensor) -> float:
    """The mean squared error over present values."""
    squares = (harness.x - back).square()
    if harness.weight is None:
        return float(squares.mean())
    present = (harness.weight > 0).to(squares)
    return float((squares * present).sum() / present.sum().clamp_min(1))


def decibels(squared: float) -> float:
    return float(-10 * np.log10(max(squared, 1e-12)))


# ---- rows that were never there


def shuffled(harness: Harness) -> Tensor:
    """The rows with every column shuffled for itself: each value is usual, no row is."""
    spec, random = harness.data.spec, np.random.default_rng(0)
    columns = spec.column_of if len(spec.shape) == 1 else torch.arange(harness.x.shape[1])
    n = len(harness.x)
    order = torch.from_numpy(np.argsort(random.random((n, int(columns.max()) + 1)), axis=0))
    filled = torch.from_numpy(harness.filled).to(harness.x)
    return filled.gather(0, order[:, columns])


def mixed_rows(harness: Harness) -> float:
    """The share of their variance that comes back."""
    rows = shuffled(harness)
    module = harness.autoencoder.as_type(torch.float32)
    device = next(module.parameters()).device
    with torch.inference_mode():
        back = torch.cat(
            [
                giving.decoded(module, Batch(part.to(device).unflatten(1, harness.shape))).mean.flatten(1).cpu()
                for part in rows.split(256)
            ]
        )
    return _explained(rows, back)


def _mixed_by_pca(harness: Harness) -> float:
    fitted, rows = harness.pca, shuffled(harness).double().numpy()
    if fitted is None:
        return NOTHING
    return _explained(torch.from_numpy(rows), torch.from_numpy(fitted.inverse_transform(fitted.transform(rows))))


def _explained(given: Tensor, back: Tensor) -> float:
    spread = (given - given.mean(0)).square().sum()
    return float(1 - (given - back).square().sum() / spread) if spread > 0 else 1.0


# ---- column by column


def features(harness: Harness, rival: Tensor | None) -> pl.DataFrame:
    """One line for each column of a table, or channel: its error, PCA's, and that of a guess, in its own unit."""
    lines = list(_columns(harness, rival) if isinstance(harness.data, Tables) else _channels(harness, rival))
    return pl.DataFrame(lines, schema=["feature", "kind", "unit", "error", "pca", "guess"], orient="row")


Line = tuple[str, str, str, float, float | None, float]


def _columns(harness: Harness, rival: Tensor | None) -> Iterator[Line]:
    """Numbers: the mean absolute error, beside the median's. Words: the share of wrong ones, beside the commonest's."""
    data, spec = harness.data, harness.data.spec
    frames = [
        None if one is None else data.from_tensor(one.double(), "polars") for one in (harness.x, harness.back, rival)
    ]
    used = [facts for facts in data.schema if facts.kind != "left out"]
    for place, facts in enumerate(used):
        first = int(torch.nonzero(spec.column_of == place)[0])
        present = np.ones(len(harness.x), bool) if harness.weight is None else (harness.weight[:, first] > 0).numpy()
        given, back, pca = (None if frame is None else frame[facts.name].filter(pl.Series(present)) for frame in frames)
        assert given is not None and back is not None
        if not len(given):
            continue
        if facts.kind in ("numeric", "date"):
            true = _numbers(given)
            found = [None if one is None else float(np.abs(_numbers(one) - true).mean()) for one in (back, pca)]
            guess = float(np.abs(true - np.median(true)).mean())
            unit = UNITS.get(facts.kind, "of the column")
        else:
            found = [None if one is None else float((one != given).mean() or 0.0) for one in (back, pca)]
            guess = float((given != given.mode().sort()[0]).mean() or 0.0)
            unit = "share of wrong ones"
        yield facts.name, facts.kind, unit, found[0] or 0.0, found[1], guess


def _numbers(values: pl.Series) -> np.ndarray:
    """Numbers as they are, dates in days."""
    if values.dtype == pl.Date:
        return values.to_physical().to_numpy().astype(np.float64)
    if values.dtype.is_temporal():
        microseconds = values.cast(pl.Datetime("us")) if values.dtype == pl.Datetime else values.cast(pl.Duration("us"))
        return microseconds.to_physical().to_numpy().astype(np.float64) / DAY
    return values.cast(pl.Float64).to_numpy()


def _channels(harness: Harness, rival: Tensor | None) -> Iterator[Line]:
    """The mean absolute error of each channel, and that of each place's mean."""
    spec = harness.data.spec
    n, size, shape = len(harness.x), harness.x.shape[1], harness.shape
    names = list(harness.data.feature_names)
    weight = torch.ones(n, size) if harness.weight is None else (harness.weight > 0).float()
    middle = (harness.x * weight).sum(0) / weight.sum(0).clamp_min(1)
    axis = spec.channels + 1
    unit = "black to white" if isinstance(harness.data, Images) else "standard deviations"
    for channel in range(spec.n_channels):

        def gap(back: Tensor | None, channel: int = channel) -> float | None:
            if back is None:
                return None
            off = ((harness.x - back).abs() * weight).unflatten(1, shape).select(axis, channel).sum()
            return float(off / weight.unflatten(1, shape).select(axis, channel).sum().clamp_min(1))

        name = names[channel] if len(names) == spec.n_channels else str(channel)
        yield name, "channel", unit, gap(harness.back) or 0.0, gap(rival), gap(middle) or 0.0


# ---- spoiled samples beside clean ones


def restoring(harness: Harness, model: Autoencoder | Task, X: Any, clean: Any) -> Iterator[Measure]:
    """How near the output comes to clean counterparts, beside doing nothing."""
    data = harness.data
    samples, wanted = data.open(X), data.open(clean)
    data.check_pairs(samples, wanted)
    task: Any = model
    output = data.open(task.transform(X) if isinstance(model, Task) and task.gives_samples else task.reconstruct(X))
    batches = [data.batch(one, harness.rows) for one in (wanted, output)]
    weight = batches[0].weight
    present = torch.ones_like(batches[0].x) if weight is None else (weight > 0).to(batches[0].x)
    target = batches[0].x * present

    def squared(found: Tensor) -> float:
        return float(((found.view_as(target) - target).square() * present).sum() / present.sum().clamp_min(1))

    ours, nothing = squared(batches[1].x), squared(torch.from_numpy(harness.filled).to(target))
    yield Measure(
        "restoring",
        "mean squared error to clean ones",
        ours,
        "of a value as the network sees it; raw is that of the spoiled samples as they are",
        "lower",
        raw=nothing,
    )
    if isinstance(data, Images):
        yield Measure("restoring", "PSNR to clean ones, dB", decibels(ours), "higher is nearer", raw=decibels(nothing))
