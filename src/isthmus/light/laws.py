"""Laws of the output in NumPy: what each value costs in nats, and which one is the most probable.

raw are the decoder's numbers and x the values, both a row or rows; along the last axis raw may be longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isthmus.light.activations import Floats

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
#: From here on softplus is its argument, as torch has it.
STRAIGHT = 20.0


class Normal:
    """A normal law for n values; `scale` is a number or "learned", then raw holds it behind the means."""

    def __init__(self, n: int, scale: float | str, minimum: float):
        self.n, self.learned, self.minimum = n, scale == "learned", minimum
        self.n_raw = 2 * n if self.learned else n
        if not self.learned:
            if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
                raise ValueError(f"a scale is {scale!r}")
            self.half, self.constant = 0.5 / scale**2, math.log(scale) + HALF_LOG_TWO_PI

    def cells(self, raw: Floats, x: Floats) -> Floats:
        """The cost of each value."""
        gap = x - raw[..., : self.n]
        if not self.learned:
            return self.half * gap**2 + self.constant
        scale = self._scale(raw)
        return 0.5 * (gap / scale) ** 2 + np.log(scale) + HALF_LOG_TWO_PI

    def row(self, raw: Floats, x: Floats) -> Any:
        """The cost of one row, in as few steps as possible."""
        gap = x - raw[: self.n]
        if not self.learned:
            return self.half * gap.dot(gap) + self.n * self.constant
        scale = self._scale(raw)
        gap /= scale
        return 0.5 * gap.dot(gap) + np.add.reduce(np.log(scale, out=scale)) + self.n * HALF_LOG_TWO_PI

    def rows(self, raw: Floats, x: Floats) -> Floats:
        """The cost of each row."""
        gap = x - raw[:, : self.n]
        if not self.learned:
            return self.half * np.einsum("ij,ij->i", gap, gap) + self.n * self.constant  # type: ignore[no-any-return]
        scale = self._scale(raw)
        gap /= scale
        logs = np.log(scale, out=scale).sum(axis=1)
        return 0.5 * np.einsum("ij,ij->i", gap, gap) + logs + self.n * HALF_LOG_TWO_PI  # type: ignore[no-any-return]

    def point(self, raw: Floats) -> Floats:
        return raw[..., : self.n]

    mean = point

    def _scale(self, raw: Floats) -> Floats:
        scale = np.logaddexp(0.0, raw[..., self.n :])
        scale += self.minimum
        return scale


class Bernoulli:
    """Yes or no, for n values; raw is the log-odds."""

    def __init__(self, n: int):
        self.n = self.n_raw = n

    def cells(self, raw: Floats, x: Floats) -> Floats:
        return np.where(raw > STRAIGHT, raw, np.logaddexp(0.0, raw)) - x * raw

    def row(self, raw: Floats, x: Floats) -> Any:
        return self.cells(raw, x).sum()

    def rows(self, raw: Floats, x: Floats) -> Floats:
        return self.cells(raw, x).sum(axis=1)  # type: ignore[no-any-return]

    def point(self, raw: Floats) -> Floats:
        return (raw > 0).astype(np.float64)

    def mean(self, raw: Floats) -> Floats:
        return np.exp(-np.logaddexp(0.0, -raw))


class Laws:
    """The laws of all columns, one kind of column after the other.

    Parameters
    ----------
    outline : the laws as `training.plain` writes them.
    kinds : the kind of each column.

    Raises
    ------
    KeyError, TypeError, ValueError : where this is no list of known laws, or they are not of these columns.
    """

    def __init__(self, outline: Sequence[Mapping[str, Any]], kinds: Sequence[str]):
        self.n = len(kinds)
        self.heads: list[tuple[Any, slice, Normal | Bernoulli]] = []
        start = 0
        for law in outline:
            columns = [place for place, kind in enumerate(kinds) if law["of"] in ("all", kind)]
            own = law["law"]
            head = Bernoulli(len(columns)) if own == "bernoulli" else None
            if own == "normal":
                head = Normal(len(columns), law["scale"], float(law["minimum"]))  # type: ignore[assignment]
            if head is None:
                raise ValueError(f"the law {own!r} is unknown")
            self.heads.append((np.array(columns), slice(start, start + head.n_raw), head))
            start += head.n_raw
        self.n_raw = start
        if sorted(column for columns, _, _ in self.heads for column in columns) != list(range(self.n)):
            raise ValueError("the laws do not speak of each column once")
        #: The law of all, where there is one alone.
        self.only = self.heads[0][2] if len(self.heads) == 1 else None

    def cells(self, raw: Floats, x: Floats) -> Floats:
        """The cost of each value."""
        if self.only is not None:
            return self.only.cells(raw, x)
        costs = np.empty_like(x)
        for columns, place, law in self.heads:
            costs[..., columns] = law.cells(raw[..., place], x[..., columns])
        return costs

    def row(self, raw: Floats, x: Floats) -> Any:
        """The cost of one row."""
        if self.only is not None:
            return self.only.row(raw, x)
        return sum(law.row(raw[place], x[columns]) for columns, place, law in self.heads)

    def rows(self, raw: Floats, x: Floats) -> Floats:
        """The cost of each row."""
        if self.only is not None:
            return self.only.rows(raw, x)
        return sum(law.rows(raw[:, place], x[:, columns]) for columns, place, law in self.heads)  # type: ignore[return-value]

    def point(self, raw: Floats) -> Floats:
        """The most probable values."""
        points = np.empty((*raw.shape[:-1], self.n))
        for columns, place, law in self.heads:
            points[..., columns] = law.point(raw[..., place])
        return points

    def mean(self, raw: Floats) -> Floats:
        """The expected values."""
        means = np.empty((*raw.shape[:-1], self.n))
        for columns, place, law in self.heads:
            means[..., columns] = law.mean(raw[..., place])
        return means
