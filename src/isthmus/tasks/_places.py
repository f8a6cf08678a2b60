"""Where something lies in a picture, in words: boxes of rows and columns that hold much of it.

Axes: H and W height and width; a coarse grid of cells lies over large pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[Any]
CELLS = 32  # of the coarse grid along each side, at most
DENSE = 2.0  # times the mean: what belongs to a box
NOTABLE = 0.1  # of the whole: what a box must hold to be named
VISIBLE = 0.02  # of the way from black to white


@dataclass(frozen=True)
class Box:
    """A part of a picture, and its share of what was looked for."""

    rows: slice
    columns: slice
    share: float


def place_in_words(
    cost: Map,
    n_places: int = 3,
    present: Map | None = None,
    lighter: Map | None = None,
    size: tuple[int, int] | None = None,
) -> str:
    """Where most of the cost of one picture lies. What counts is cost above the median pixel's.

    Parameters
    ----------
    cost : what each pixel costs, (H, W).
    n_places : how many places to name at most.
    present : above 0 where there is a pixel; None where there are no holes.
    lighter : by how much it is lighter than expected, from -1 to 1; None says nothing about that.
    size : of the picture whose rows and columns are named, (height, width); that of the map where it is None.

    >>> cost = np.zeros((9, 9))
    >>> cost[6:8, 1:3] = 5.0
    >>> place_in_words(cost)
    'rows 6-7, columns 1-2 (lower left): 100 % of what is odd'
    >>> place_in_words(cost, lighter=-cost / 10, size=(90, 90))
    'rows 60-79, columns 10-29 (lower left): 100 % of what is odd, too dark'
    """
    there = np.ones(cost.shape, dtype=bool) if present is None else present > 0
    excess = np.where(there, np.clip(cost - (np.median(cost[there]) if there.any() else 0.0), 0, None), 0.0)
    if not excess.sum() > 0:
        return "everywhere alike"
    found = boxes(excess, there, n_places)
    if not found:
        return "spread over the whole picture"
    told = [_told(box, cost.shape, size or cost.shape) + _shade(box, excess, lighter) for box in found]
    return "; ".join(told).replace(" %", " % of what is odd", 1)


def boxes(excess: Map, there: Map, n_places: int) -> list[Box]:
    """The boxes that hold most of it where it is dense, the one with most first; each holds a notable share."""
    total = float(excess.sum())
    steps = [math.ceil(length / CELLS) for length in excess.shape]
    starts = [np.arange(0, length, step) for length, step in zip(excess.shape, steps, strict=True)]
    left, area = (np.add.reduceat(np.add.reduceat(one, starts[0], 0), starts[1], 1) for one in (excess, there * 1.0))
    price = area * (DENSE * total / max(1.0, float(area.sum())))
    found = []
    for _ in range(n_places):
        rows, columns = _densest(left - price)
        share = float(left[rows, columns].sum()) / total
        if share < NOTABLE:
            break
        down, across = (slice(s.start * n, s.stop * n) for s, n in zip((rows, columns), steps, strict=True))
        found.append(Box(down, across, share))  # the last cell may reach beyond the picture
        left[rows, columns] = 0.0
    return sorted(found, key=lambda box: -box.share)


def _densest(gain: Map) -> tuple[slice, slice]:
    """The box with the largest sum, by the best stretch of columns (Kadane) for every stretch of rows.

    >>> _densest(np.array([[-1.0, -1.0, -1.0], [-1.0, 2.0, 3.0]]))
    (slice(1, 2, None), slice(1, 3, None))
    """
    height = len(gain)
    tops, bottoms = np.triu_indices(height)
    above = np.vstack([np.zeros((1, gain.shape[1])), gain.cumsum(0)])
    sums = (above[bottoms + 1] - above[tops]).cumsum(1)  # (stretches of rows, W), from the left up to each column
    before = np.hstack([np.zeros((len(sums), 1)), sums[:, :-1]])
    best = sums - np.minimum.accumulate(before, 1)
    stretch, right = np.unravel_index(int(best.argmax()), best.shape)
    left = int(before[stretch, : right + 1].argmin())
    return slice(int(tops[stretch]), int(bottoms[stretch]) + 1), slice(left, int(right) + 1)


def _told(box: Box, shape: tuple[int, ...], size: tuple[int, ...]) -> str:
    spans = [
        (span.start * own // length, min(own, -(-span.stop * own // length)))
        for span, length, own in zip((box.rows, box.columns), shape, size, strict=True)
    ]
    said = ", ".join(_span(name, *span) for name, span in zip(("row", "column"), spans, strict=True))
    share = "over 99 %" if 0.995 <= box.share < 1 else f"{100 * box.share:.0f} %"
    return f"{said} ({_region(spans, size)}): {share}"


def _span(name: str, start: int, stop: int) -> str:
    return f"{name} {start}" if stop - start == 1 else f"{name}s {start}-{stop - 1}"


def _region(spans: list[tuple[int, int]], size: tuple[int, ...]) -> str:
    """The part of the picture that a box lies in; what reaches nearly from end to end says nothing about that way."""
    names = (("upper", "middle", "lower"), ("left", "middle", "right"))
    words = [
        one[min(2, 3 * (start + stop) // (2 * length))]
        for one, (start, stop), length in zip(names, spans, size, strict=True)
        if 3 * (stop - start) <= 2 * length
    ]
    return " ".join(dict.fromkeys(words)) or "all along"


def _shade(box: Box, excess: Map, lighter: Map | None) -> str:
    """Whether it is lighter or darker there than expected, on average over what is odd."""
    if lighter is None:
        return ""
    weight = excess[box.rows, box.columns]
    mean = float((weight * lighter[box.rows, box.columns]).sum() / weight.sum())
    return f", too {'light' if mean > 0 else 'dark'}" if abs(mean) > VISIBLE else ""
