"""What there is to know about each channel of the pictures, from some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.data._image_forms import CHANNELS, Extent, Form, to_tensor
from isthmus.data.base import ColumnFacts

PICTURES = 256  # that are looked at
PIXELS = 2**20  # of each, in a regular grid
VALUES = 4096  # of each, to count different ones


def facts_of(samples: Any, channels: int, extent: Extent, forms: Sequence[Form]) -> list[ColumnFacts]:
    """One for each channel, in the pictures' own unit where they share one type, else with 1 for white."""
    types = sorted({form.dtype for form in forms})
    low, high = extent.ends(types[0]) if len(types) == 1 else (0.0, 1.0)
    tallies = [_Tally(low, high) for _ in range(channels)]
    for row in np.unique(np.linspace(0, len(samples) - 1, min(len(samples), PICTURES)).astype(np.int64)):
        pixels = samples.pixels(np.array([row]))[0]
        step = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // PIXELS))
        x = to_tensor(pixels[None, ::step, ::step], channels, extent, torch.float64)[0]
        for tally, values in zip(tallies, x, strict=True):
            tally.add(values.flatten())
    dtype = ", ".join(types)
    return [tally.facts(name, dtype) for name, tally in zip(CHANNELS[channels], tallies, strict=True)]


class _Tally:
    """Counts and sums of one channel's values."""

    def __init__(self, low: float, high: float):
        self.low, self.span = low, high - low
        self.count, self.missing, self.sum, self.squares = 0, 0, 0.0, 0.0
        self.least, self.most = math.inf, -math.inf
        self.distinct: set[float] = set()

    def add(self, values: Tensor) -> None:
        present = values[~torch.isnan(values)]
        self.missing += int(len(present) < len(values))
        if not len(present):
            return
        self.count += len(present)
        self.sum += float(present.sum())
        self.squares += float(present.square().sum())
        self.least, self.most = min(self.least, float(present.min())), max(self.most, float(present.max()))
        self.distinct |= set(present[:: 1 + len(present) // VALUES].tolist())

    def facts(self, name: str, dtype: str) -> ColumnFacts:
        if not self.count:
            return ColumnFacts(name, "numeric", dtype, n_missing=self.missing)
        mean = self.sum / self.count
        return ColumnFacts(
            name,
            "numeric",
            dtype,
            n_missing=self.missing,
            n_distinct=len(self.distinct),
            constant=self.least == self.most,
            mean=self.low + mean * self.span,
            standard_deviation=math.sqrt(max(0.0, self.squares / self.count - mean * mean)) * self.span,
            minimum=self.low + self.least * self.span,
            maximum=self.low + self.most * self.span,
        )
