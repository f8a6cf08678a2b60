"""Numbers of one column as whole numbers on a ruler, in bins that are coded, with the rest in plain bits.

Keys are unsigned whole numbers of 64 bits in the order of the values, so that a bin is a stretch of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from isthmus.compression.stack import Floats, Keys
from isthmus.compression.symbols import Mask

HALF = np.uint64(1 << 63)
EXACT = 2.0**53  # whole numbers up to here are floats
DIGITS = 6  # after the point, at most, of numbers that count as written in decimals
ENOUGH = 0.98  # of the values must be so
ALL_KEYS = 256  # so many keys get a bin each
MARKS = 128  # quantiles, and even steps, between which bins lie otherwise


@dataclass
class Ruler:
    """Numbers of one column as keys, and the bins of keys.

    Parameters
    ----------
    kind : "decimal" (whole numbers and short decimals), "step" (rounded to a step), "float32" or "float64" (every
        number of that type is a key of its own).
    digits : after the point.
    base, unit : of decimals, (value x 10**digits - base) / unit is a whole number.
    step : of numbers that are rounded.
    edges : bins lie between these keys, the last of which belongs to none, (n_bins + 1,).
    """

    kind: str
    digits: int = 0
    base: int = 0
    unit: int = 1
    step: float = 1.0
    edges: Keys | None = None

    @classmethod
    def of(cls, values: Any, step: float) -> Ruler:
        """The ruler for these present values of a column; a step above 0 rounds numbers that are not whole."""
        wide = values.astype(np.float64)
        for digits in range(DIGITS + 1):
            if digits and step > 10.0**-digits:
                break
            if (found := cls._decimal(values, wide, digits)) is not None:
                return found
        if step > 0:
            return cls("step", step=step)
        with np.errstate(over="ignore"):
            narrow = (wide.astype(np.float32) == wide).mean() >= ENOUGH
        return cls("float32" if narrow else "float64")

    @classmethod
    def _decimal(cls, values: Any, wide: Floats, digits: int) -> Ruler | None:
        if values.dtype.kind in "iu":
            whole = values.astype(np.int64)
        else:
            scaled = np.rint(wide * 10.0**digits)
            fits = (np.abs(scaled) < EXACT) & ((scaled / 10.0**digits).astype(values.dtype) == values)
            if fits.mean() < ENOUGH:
                return None
            whole = scaled[fits].astype(np.int64)
        base = int(whole.min())
        return cls("decimal", digits, base, max(1, int(np.gcd.reduce(whole - base))))

    # -- values and keys

    def keys(self, values: Any) -> tuple[Keys, Mask]:
        """The key of each value, and whether the value is exactly what the key stands for (or rounds to it)."""
        if self.kind == "step":
            steps = np.rint(values.astype(np.float64) / self.step)
            return _signed(np.clip(steps, -EXACT, EXACT)), np.abs(steps) < EXACT
        if self.kind != "decimal":
            with np.errstate(over="ignore"):
                cast = values.astype(self.kind)
            return ordered(cast), cast == values
        keys = _signed(np.floor_divide(self._whole(values) - self.base, self.unit))
        back = self.values(keys)
        return keys, (back.astype(values.dtype) == values) & ~((back == 0) & np.signbit(values))

    def _whole(self, values: Any) -> Any:
        """Decimals as whole numbers; those that are too large for it become 0."""
        if values.dtype.kind in "iu" and not self.digits:
            return values.astype(np.int64)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = np.rint(values.astype(np.float64) * 10.0**self.digits)
        return np.where(np.abs(scaled) < EXACT, scaled, 0.0).astype(np.int64)

    def values(self, keys: Keys) -> Any:
        """The value that each key stands for; whole numbers of 64 bits where there are no decimals."""
        if self.kind in ("float32", "float64"):
            return unordered(keys, self.kind)
        whole = (keys ^ HALF).view(np.int64)
        if self.kind == "step":
            return whole * self.step
        whole = whole * self.unit + self.base
        return whole / 10.0**self.digits if self.digits else whole

    # -- bins

    def set_edges(self, keys: Keys, even: Keys) -> None:
        """Bins for these keys of training; `even` are further marks between which bins shall lie."""
        low, high = int(keys.min()), int(keys.max())
        room = (high - low) // 8 + 1 if self.kind in ("decimal", "step") else 0
        low, high = max(0, low - room), min(2**64 - 2, high + room)
        if high - low < ALL_KEYS:
            self.edges = np.arange(low, high + 2, dtype=np.uint64)
            return
        places = np.linspace(0, len(keys) - 1, MARKS).astype(np.int64)
        marks = np.sort(keys)[places]  # a frequent value is a mark, and so is its neighbour: it has a bin alone
        ends = np.array([low, high + 1], np.uint64)
        edges = np.unique(np.concatenate([ends, marks, marks + np.uint64(1), even]))
        self.edges = edges[(edges >= ends[0]) & (edges <= ends[1])]

    @property
    def n_bins(self) -> int:
        return 0 if self.edges is None else len(self.edges) - 1

    def bins(self, keys: Keys, exact: Mask) -> tuple[Any, Keys]:
        """The bin of each key, and its place therein; one more bin is for all that has none."""
        assert self.edges is not None
        bins = np.searchsorted(self.edges, keys, side="right").astype(np.int64) - 1
        inside = exact & (bins >= 0) & (bins < self.n_bins)
        bins[~inside] = self.n_bins
        start = self.edges[np.where(inside, bins, 0)]
        return bins, np.where(inside, keys - start, np.uint64(0))

    def last(self, bins: Any) -> Keys:
        """The last place in each of these bins; in the one for all others that of any key."""
        assert self.edges is not None
        sizes = np.append(self.edges[1:] - self.edges[:-1] - np.uint64(1), np.uint64(2**64 - 1))
        found: Keys = sizes[bins]
        return found

    def spans(self) -> tuple[Floats, Floats]:
        """Where each bin begins, and where the next one does, as values, (n_bins,)."""
        assert self.edges is not None
        ends = self.values(self.edges).astype(np.float64)
        return ends[:-1], ends[1:]


def ordered(values: Any) -> Keys:
    """Floats as keys in their order.

    >>> ordered(np.array([-1.0, -0.0, 0.0, 2.0])).argsort().tolist()
    [0, 1, 2, 3]
    """
    bits = values.view(np.uint32 if values.dtype == np.float32 else np.uint64)
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    found: Keys = np.where(bits & top, ~bits, bits | top).astype(np.uint64)
    return found


def unordered(keys: Keys, kind: str) -> Any:
    """The inverse of `ordered`, for a type of floats."""
    bits: Any = keys.astype(np.uint32 if kind == "float32" else np.uint64)
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    return np.where(bits & top, bits ^ top, ~bits).view(kind)


def any_key(values: Any) -> Keys:
    """Numbers of any type as keys of their own, for those that no bin has."""
    if values.dtype.kind in "iub":
        return _signed(values)
    return ordered(values.astype(np.float64))


def any_value(keys: Keys, whole: bool) -> Any:
    """The inverse of `any_key`; `whole` says that the type was one of whole numbers."""
    return (keys ^ HALF).view(np.int64) if whole else unordered(keys, "float64")


def _signed(values: Any) -> Keys:
    found: Keys = values.astype(np.int64).view(np.uint64) ^ HALF
    return found


@dataclass
class Cells:
    """One column of the tensor.

    Parameters
    ----------
    name : of the column.
    ruler : of numbers; None for levels and for yes and no.
    elements : where it stands in the tensor.
    usual : how often each symbol was there in training, (k,); they sum to 1.
    weight : of the model in the law of a cell, from 0 to 1.
    """

    name: str
    ruler: Ruler | None
    elements: slice
    usual: Floats
    weight: float = 0.5


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return cast(Floats, shifted / shifted.sum(1, keepdims=True))
