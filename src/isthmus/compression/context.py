"""What the whole numbers of codes cost: each is told from its neighbours, and from the numbers before it.

A grid is sent from coarse to fine, each place between four that are known already, and at each place one number of the
code after the other. From these neighbours follow where a number is expected and how far off it may be, both learned
from training and computed in whole numbers, so that every machine reads what any other wrote.

Axes: n samples, h, w places of a grid, k numbers of a code, m places that are coded at once, f neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from isthmus.compression.codes import ENDS
from isthmus.compression.stack import Floats, Whole, coder

BEFORE = 40  # numbers of the same place that are looked at, at most
CLASSES = 7  # of places: the first, and two on each of three scales
UNIT = 4096  # weights are whole multiples of one part of this
PART = 16  # and expected values of one part of this
BUCKETS = 10  # of expected spread
MOST_SEEN = 6000  # places that one law is learned from
SCALES = 2.0 ** (np.arange(-18, 37) / 4)  # of a Laplace law


@dataclass(frozen=True)
class Step:
    """Places that are coded at once.

    Parameters
    ----------
    rows, columns : where they are, (m,).
    around : how far the four known neighbours lie, as (down, right); none at the first place.
    group : which of the laws they have.
    """

    rows: Whole
    columns: Whole
    around: tuple[tuple[int, int], ...]
    group: int


def steps(height: int, width: int) -> Iterator[Step]:
    """All places of a grid, from coarse to fine.

    >>> [list(zip(step.rows.tolist(), step.columns.tolist())) for step in steps(2, 2)]
    [[(0, 0)], [(1, 1)], [(0, 1), (1, 0)]]
    """
    yield Step(np.zeros(1, np.int64), np.zeros(1, np.int64), (), 0)
    for level in reversed(range(max(height, width).bit_length())):
        size = 1 << level
        rows, columns = (np.arange(0, length, size) for length in (height, width))
        grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        odd = (grid // size) % 2
        group = 5 - 2 * min(level, 2)
        corners = tuple((down * size, right * size) for down in (-1, 1) for right in (-1, 1))
        sides = ((-size, 0), (size, 0), (0, -size), (0, size))
        for chosen, around, which in ((odd.all(1), corners, group), (odd.sum(1) == 1, sides, group + 1)):
            if chosen.any():
                yield Step(grid[chosen, 0], grid[chosen, 1], around, which)


def neighbours(codes: Whole, step: Step, place: int) -> Whole:
    """What is known when number `place` is coded: four around it, and those before it, (n, m, f)."""
    height, width = codes.shape[1:3]
    found = []
    if step.around:
        values, inside = [], []
        for down, right in step.around:
            rows, columns = step.rows + down, step.columns + right
            there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            taken = codes[:, rows.clip(0, height - 1), columns.clip(0, width - 1), place]
            values.append(np.where(there, taken, 0))
            inside.append(there)
        total, count = np.sum(values, 0), np.maximum(np.sum(inside, 0), 1)
        mean = total // count  # stands in for those beyond the border
        found = [np.where(there, value, mean) for value, there in zip(values, inside, strict=True)]
    found += [codes[:, step.rows, step.columns, before] for before in range(max(0, place - BEFORE), place)]
    return np.stack(found, -1) if found else np.zeros((len(codes), len(step.rows), 0), np.int64)


@dataclass
class Law:
    """The law of one number of a code at places of one class.

    Parameters
    ----------
    weights : of what is known in the expected value, and what is added to it last, (f + 1,), in parts of UNIT.
    alarms : of what is known in the expected spread, (f,), in parts of UNIT.
    bounds : between buckets of expected spread, (BUCKETS - 1,).
    scales : places in SCALES, one for each bucket, (BUCKETS,).
    """

    weights: Whole
    alarms: Whole
    bounds: Whole
    scales: Whole

    def expected(self, known: Whole) -> tuple[Floats, Floats]:
        """Where numbers are expected and with what scale, (n x m,) each."""
        flat = known.reshape(known.shape[0] * known.shape[1], known.shape[2])
        total = flat @ self.weights[:-1] + self.weights[-1]
        parts = (total * PART + UNIT // 2) // UNIT
        middle = parts.clip(-ENDS * PART, ENDS * PART) / PART
        spread = np.abs(flat) @ self.alarms
        return middle, SCALES[self.scales[np.searchsorted(self.bounds, spread, side="right")]]

    @classmethod
    def of(cls, known: Whole, values: Whole) -> Law:
        """Learned from places of training: what was known, (m, f), and what stood there, (m,)."""
        wide = np.concatenate([known, np.ones((len(known), 1))], 1).astype(np.float64)
        ridge = 1e-3 * len(wide) * np.eye(wide.shape[1])
        ridge[-1, -1] = 1e-9
        weights = np.linalg.solve(wide.T @ wide + ridge, wide.T @ values)
        law = cls(np.rint(weights * UNIT).astype(np.int64), *(np.zeros(0, np.int64) for _ in range(3)))
        off = np.abs(values - wide[:, :-1] @ (law.weights[:-1] / UNIT) - law.weights[-1] / UNIT)
        law.alarms = _alarms(np.abs(known), off)
        spread = np.abs(known) @ law.alarms
        law.bounds = np.unique(np.quantile(spread, np.arange(1, BUCKETS) / BUCKETS).astype(np.int64) + 1)
        law.bounds = np.append(law.bounds, np.full(BUCKETS - 1 - len(law.bounds), np.iinfo(np.int64).max))
        law.scales = np.full(BUCKETS, len(SCALES) // 2, np.int64)
        middle = law.expected(known[None])[0]
        buckets = np.searchsorted(law.bounds, spread, side="right")
        usual = _best_scale(values - middle)
        law.scales[:] = usual
        for bucket in np.unique(buckets):
            some = (buckets == bucket).nonzero()[0]
            law.scales[bucket] = _best_scale((values - middle)[some]) if len(some) >= 20 else usual
        return law


def _alarms(known: Whole, off: Floats) -> Whole:
    """How much each known number tells of how far off the next may be."""
    if not known.shape[1]:
        return np.zeros(0, np.int64)
    some = slice(None, None, max(1, len(known) // 1500))
    found: Whole = np.rint(nnls(known[some].astype(np.float64) + 1e-6, off[some])[0] * UNIT).astype(np.int64)
    return found


def _best_scale(off: Floats) -> int:
    """The scale under which numbers that are off by so much take the fewest bits; there is one valley."""
    some = off[:: max(1, len(off) // 1500)]
    cost = lambda place: float(bits(some, SCALES[place : place + 1]).mean())  # noqa: E731
    coarse = min(range(0, len(SCALES), 4), key=cost)
    return min(range(max(0, coarse - 3), min(len(SCALES), coarse + 4)), key=cost)


def bits(off: Floats, scales: Floats) -> Floats:
    """What whole numbers take that lie so far from the middle of a Laplace law."""
    high, low = _below((off + 0.5) / scales), _below((off - 0.5) / scales)
    return -np.log2(np.maximum(high - low, 2.0**-24))


def _below(x: Floats) -> Floats:
    found: Floats = np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))
    return found


class Context:
    """The laws of all numbers of a code, of one quality."""

    def __init__(self, laws: dict[tuple[int, int], Law]):
        self.laws = laws

    @classmethod
    def learned(cls, grids: list[Whole]) -> Context:
        """From the whole numbers of training codes, each (n, h, w, k)."""
        size = grids[0].shape[-1]
        laws: dict[tuple[int, int], Law] = {}
        classes = CLASSES if any(max(codes.shape[1:3]) > 1 for codes in grids) else 1
        for place in range(size):
            for group in range(classes):
                known, values = _examples(grids, place, group)
                if not len(values) and group:  # no place was so far in: as one further out
                    laws[group, place] = laws[max(1, group - 2), place] if group > 2 else _flat(grids, place, 4)
                elif not len(values):
                    laws[group, place] = _flat(grids, place, 0)
                else:
                    laws[group, place] = Law.of(known, values)
        return cls(laws)

    def push(self, grids: list[Whole]) -> tuple[bytes, list[Floats]]:
        """Codes as bytes, and what each sample takes in bits."""
        stream = coder()
        encoder, law = stream.queue.RangeEncoder(), stream.model.QuantizedLaplace(-ENDS, ENDS - 1)
        taken = []
        for codes in grids:
            found = np.zeros(len(codes))
            for step, place in _order(codes.shape):
                values = codes[:, step.rows, step.columns, place].ravel()
                middle, scales = self.laws[step.group, place].expected(neighbours(codes, step, place))
                encoder.encode(values.astype(np.int32), law, middle, scales)
                found += bits(values - middle, scales).reshape(len(codes), -1).sum(1)
            taken.append(found)
        return encoder.get_compressed().astype("<u4").tobytes(), taken

    def pop(self, data: bytes, shapes: list[tuple[int, ...]]) -> list[Whole]:
        """The inverse of `push`, for grids of these shapes."""
        stream = coder()
        decoder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        law, grids = stream.model.QuantizedLaplace(-ENDS, ENDS - 1), []
        for shape in shapes:
            codes = np.zeros(shape, np.int64)
            for step, place in _order(shape):
                middle, scales = self.laws[step.group, place].expected(neighbours(codes, step, place))
                values = decoder.decode(law, middle, scales)
                codes[:, step.rows, step.columns, place] = values.reshape(shape[0], -1)
            grids.append(codes)
        return grids

    # -- files

    def arrays(self) -> dict[str, Whole]:
        """All laws as four arrays; weights are padded with zeros at the front."""
        keys = sorted(self.laws)
        width = max(len(law.alarms) for law in self.laws.values())
        return {
            "keys": np.array([[*key, len(self.laws[key].alarms)] for key in keys]),
            "weights": np.array([_padded(self.laws[key].weights, width + 1) for key in keys]),
            "alarms": np.array([_padded(self.laws[key].alarms, width) for key in keys]),
            "bounds": np.array([self.laws[key].bounds for key in keys]),
            "scales": np.array([self.laws[key].scales for key in keys]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Context:
        """The inverse of `arrays`."""
        laws = {}
        for at, (group, place, size) in enumerate(arrays["keys"].tolist()):
            width = arrays["alarms"].shape[1]
            weights, alarms = arrays["weights"][at, width - size :], arrays["alarms"][at, width - size :]
            laws[group, place] = Law(weights, alarms, arrays["bounds"][at], arrays["scales"][at])
        return cls(laws)


class Frequencies:
    """Indices of entries that stand in no order: how often each was chosen in training.

    Parameters
    ----------
    counts : of each entry, (k, n_entries).
    """

    def __init__(self, counts: Floats):
        self.counts = counts

    @classmethod
    def learned(cls, grids: list[Whole], n_entries: int) -> Frequencies:
        flat = np.concatenate([codes.reshape(-1, codes.shape[-1]) for codes in grids])
        return cls(np.stack([np.bincount(one, minlength=n_entries) + 0.5 for one in flat.T]))

    def push(self, grids: list[Whole]) -> tuple[bytes, list[Floats]]:
        """Codes as bytes, and what each sample takes in bits."""
        stream = coder()
        encoder, taken = stream.queue.RangeEncoder(), [np.zeros(len(codes)) for codes in grids]
        for place, counts in enumerate(self.counts):
            law = stream.model.Categorical(counts, perfect=False)
            each = np.log2(counts.sum()) - np.log2(counts)
            for codes, found in zip(grids, taken, strict=True):
                encoder.encode(np.ascontiguousarray(codes[..., place].ravel().astype(np.int32)), law)
                found += each[codes[..., place]].reshape(len(codes), -1).sum(1)
        return encoder.get_compressed().astype("<u4").tobytes(), taken

    def pop(self, data: bytes, shapes: list[tuple[int, ...]]) -> list[Whole]:
        """The inverse of `push`, for grids of these shapes."""
        stream = coder()
        decoder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        grids = [np.zeros(shape, np.int64) for shape in shapes]
        for place, counts in enumerate(self.counts):
            law = stream.model.Categorical(counts, perfect=False)
            for codes in grids:
                codes[..., place] = decoder.decode(law, codes[..., place].size).reshape(codes.shape[:-1])
        return grids

    def arrays(self) -> dict[str, Any]:
        return {"counts": self.counts}


def _padded(values: Whole, size: int) -> Whole:
    return np.concatenate([np.zeros(size - len(values), np.int64), values])


def _order(shape: tuple[int, ...]) -> Iterator[tuple[Step, int]]:
    """What is coded after what."""
    for step in steps(*shape[1:3]):
        yield from ((step, place) for place in range(shape[3]))


def _examples(grids: list[Whole], place: int, group: int) -> tuple[Whole, Whole]:
    """Places of one class: what was known, (m, f), and what stood there."""
    known, values = [], []
    for codes in grids:
        for step in steps(*codes.shape[1:3]):
            if step.group == group:
                found = neighbours(codes, step, place)
                known.append(found.reshape(found.shape[0] * found.shape[1], found.shape[2]))
                values.append(codes[:, step.rows, step.columns, place].ravel())
    if not values:
        return np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
    all_known, all_values = np.concatenate(known), np.concatenate(values)
    some = slice(None, None, max(1, len(all_values) // MOST_SEEN))
    return all_known[some], all_values[some]


def _flat(grids: list[Whole], place: int, around: int) -> Law:
    """A law that listens to no neighbour, for a class of places that training did not have."""
    values = np.concatenate([codes[..., place].ravel() for codes in grids])[:MOST_SEEN]
    size = around + min(place, BEFORE)
    plain = Law.of(np.zeros((len(values), 0), np.int64), values)
    plain.weights = np.append(np.zeros(size, np.int64), plain.weights)
    plain.alarms = np.zeros(size, np.int64)
    return plain
