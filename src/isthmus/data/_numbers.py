"""Numbers of a table: what they are like, and how they are scaled and scaled back.

n rows, d columns; everything here is worked out in float64, in pieces that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from isthmus.data._extremes import extremes
from isthmus.errors import SettingError

Vector = np.ndarray[Any, np.dtype[np.float64]]  # one number per column, (d,)
Matrix = Any  # a NumPy array (n, d), or the same as a SciPy CSR array
Transform = Callable[[Vector, Any], Vector]

SCALINGS = ("auto", "standard", "robust", "minmax", "center", "none")
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
MEDIAN = SHARES.index(0.5)
#: Pairs of quantiles around the median, with their distance for a normal law of standard deviation 1.
SPANS = ((2, 4, 1.3490), (1, 5, 3.2897), (0, 6, 4.6527))
SAMPLED_ROWS = 5_000
#: A scale below this leaves the range of ordinary float64 numbers.
SMALLEST = 1e-307
#: Beyond these many standard deviations, or robust deviations, a column's tails count as heavy.
HEAVY, ROBUST_HEAVY = 10.0, 20.0
#: How many robust deviations around the median stay nearly straight: an odd value must remain far out.
KNEE = 10.0


@dataclass(frozen=True)
class Statistics:
    """What the columns of one matrix are like, missing values aside; quantiles is (7, d) and may come from a sample."""

    present: Vector
    mean: Vector
    deviation: Vector
    minimum: Vector
    maximum: Vector
    quantiles: Vector
    distinct: Vector

    @property
    def constant(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return ~(self.maximum > self.minimum)

    def robust(self) -> tuple[Vector, np.ndarray[Any, np.dtype[np.bool_]]]:
        """A deviation that outliers do not reach, the narrowest span of quantiles that is not 0; and where one is."""
        scale = self.deviation.copy()
        found = np.zeros(len(scale), dtype=bool)
        # a bulk too narrow for the column's range would push all else beyond what a number can hold
        least = 1e-15 * (self.maximum / 2 - self.minimum / 2)
        for low, high, distance in SPANS:
            span = (self.quantiles[high] - self.quantiles[low]) / distance
            use = ~found & (span > least) & np.isfinite(span)
            scale[use] = span[use]
            found |= use
        return scale, found


def is_sparse(matrix: Any) -> bool:
    return bool(sparse.issparse(matrix))


def dense(matrix: Matrix) -> Any:
    """The same numbers as a NumPy array."""
    return matrix.toarray() if is_sparse(matrix) else matrix


def statistics(matrix: Matrix) -> Statistics:
    """One pass for the range, one for mean and deviation, and a look at up to 5,000 rows for the quantiles."""
    low, high, missing = extremes(matrix)
    peak = np.fmax(np.abs(low), np.abs(high))
    # squares of very large or very small numbers leave the range of float64; measured in units of the peak they do not
    unit = np.where((peak > 1e100) | ((peak < 1e-100) & (peak > 0)), peak, 1.0)
    mean, deviation = moments(matrix, lambda values, columns: values / unit[columns])
    quantiles, distinct = _quantiles(matrix)
    deviation = np.where(high > low, deviation, 0.0)  # of equal values rounding may leave a crumb
    mean = np.where(high > low, mean * unit, low)
    return Statistics(matrix.shape[0] - missing, mean, deviation * unit, low, high, quantiles, distinct)


def moments(matrix: Matrix, transform: Transform, chosen: Any = None) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each column's transformed values, missing ones aside; of the chosen columns only.

    `transform(values, columns)` gets the values and, as something to index vectors with, their columns among these.
    """
    if is_sparse(matrix):
        return _sparse_moments(matrix if chosen is None else matrix[:, chosen], transform)
    d = matrix.shape[1] if chosen is None else len(chosen)
    count, mean, squares = np.zeros(d), np.zeros(d), np.zeros(d)
    for piece in pieces(matrix, chosen):
        values = transform(piece, slice(None))
        absent = np.isnan(values)
        here = len(values) - np.count_nonzero(absent, axis=0)
        middle = np.where(absent, 0.0, values).sum(axis=0) / np.maximum(here, 1)
        values = np.where(absent, 0.0, values - middle)
        count, mean, squares = _merge((count, mean, squares), (here, middle, np.einsum("ij,ij->j", values, values)))
    return mean, np.sqrt(squares / np.maximum(count, 1))


def _merge(first: tuple[Vector, Vector, Vector], second: tuple[Any, Vector, Any]) -> tuple[Vector, Vector, Vector]:
    """Counts, means and sums of squares of two groups become those of both together (Chan, Golub & LeVeque 1979)."""
    count = first[0] + second[0]
    share = second[0] / np.maximum(count, 1)
    gap = second[1] - first[1]
    return count, first[1] + gap * share, first[2] + second[2] + gap**2 * first[0] * share


def _sparse_moments(matrix: Matrix, transform: Transform) -> tuple[Vector, Vector]:
    n, d = matrix.shape
    here = ~np.isnan(matrix.data)
    columns = matrix.indices[here]
    values = transform(matrix.data[here].astype(np.float64), columns)
    count: Vector = np.bincount(columns, minlength=d).astype(np.float64)
    mean: Vector = np.bincount(columns, values, minlength=d) / np.maximum(count, 1.0)
    squares = np.bincount(columns, (values - mean[columns]) ** 2, minlength=d).astype(np.float64)
    zeros: Vector = (n - np.bincount(matrix.indices, minlength=d)).astype(np.float64)
    of_zero = transform(np.zeros(d), slice(None))
    _, mean, squares = _merge((count, mean, squares), (zeros, of_zero, np.zeros(d)))
    return mean, np.sqrt(squares / np.maximum(count + zeros, 1))


def pieces(matrix: Matrix, chosen: Any = None) -> Iterator[Vector]:
    """The matrix in float64, or the chosen columns of it, a few rows at a time."""
    step = max(1, 2**17 // max(1, matrix.shape[1] if chosen is None else len(chosen)))
    for start in range(0, matrix.shape[0], step):
        piece = matrix[start : start + step]
        yield (piece if chosen is None else piece[:, chosen]).astype(np.float64)


def _quantiles(matrix: Matrix) -> tuple[Vector, Vector]:
    """Quantiles (7, d) and number of distinct values (d,), from rows spread evenly over the matrix."""
    n, d = matrix.shape
    wanted = min(n, max(200, min(SAMPLED_ROWS, 20_000_000 // max(1, d))))
    rows = matrix[np.linspace(0, n - 1, wanted).astype(np.int64)]
    values = np.sort(dense(rows).astype(np.float64), axis=0)  # NaN comes last
    present = wanted - np.count_nonzero(np.isnan(values), axis=0)
    places = np.floor(np.outer(SHARES, np.maximum(present - 1, 0))).astype(np.int64)
    changes = np.count_nonzero(values[1:] > values[:-1], axis=0)
    return np.take_along_axis(values, places, axis=0), (changes + (present > 0)).astype(np.float64)


class Scaler:
    """Scales columns and scales them back.

        u = (v - center) / scale,   and where compressed   z = (asinh(u) - late center) / late scale

    asinh is straight around 0 and logarithmic far out, so that a heavy tail keeps its order without taking all the
    room, and it has an exact inverse.

    Parameters
    ----------
    center, scale : one number per column, in the column's unit, (d,).
    compressed : which columns are compressed, indices in rising order.
    late_center, late_scale : for these columns, in units of asinh.

    >>> scaler = Scaler(np.array([1.0]), np.array([2.0]))
    >>> scaler.forward_(torch.tensor([[5.0]]))
    tensor([[2.]])
    """

    def __init__(
        self,
        center: Vector,
        scale: Vector,
        compressed: Any = None,
        late_center: Vector | None = None,
        late_scale: Vector | None = None,
    ):
        nothing = np.zeros(0)
        self.center = torch.as_tensor(center, dtype=torch.float64)
        self.scale = torch.as_tensor(scale, dtype=torch.float64)
        self.compressed = torch.as_tensor(nothing if compressed is None else compressed).to(torch.int64)
        self.late_center = torch.as_tensor(nothing if late_center is None else late_center, dtype=torch.float64)
        self.late_scale = torch.as_tensor(nothing if late_scale is None else late_scale, dtype=torch.float64)
        self.identity = bool((self.center == 0).all() and (self.scale == 1).all() and not len(self.compressed))
        self._cast: dict[torch.dtype, tuple[Tensor, Tensor]] = {torch.float64: (self.center, self.scale)}

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """x scaled, (n, d), in a tensor of its own and of this type."""
        if self.identity or x.dtype != dtype:
            return self.forward_(x.to(dtype, copy=True, memory_format=torch.contiguous_format))
        fresh = torch.sub(x, self._as(dtype)[0], out=torch.empty(x.shape, dtype=dtype))
        return self._late_(fresh.div_(self._as(dtype)[1]))

    def forward_(self, x: Tensor) -> Tensor:
        """Scale x, (n, d), in place."""
        if self.identity:
            return x
        center, scale = self._as(x.dtype)
        return self._late_(x.sub_(center).div_(scale))

    def _as(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if dtype not in self._cast:
            self._cast[dtype] = (self.center.to(dtype), self.scale.to(dtype))
        return self._cast[dtype]

    def _late_(self, x: Tensor) -> Tensor:
        if len(self.compressed):
            late = x.index_select(1, self.compressed).asinh_().sub_(self.late_center.to(x)).div_(self.late_scale.to(x))
            x.index_copy_(1, self.compressed, late)
        return x

    def inverse(self, x: Tensor) -> Tensor:
        """The values, in float64, that `forward_` turned into x."""
        x = x.to(torch.float64, copy=True)
        if len(self.compressed):
            late = x.index_select(1, self.compressed).mul_(self.late_scale).add_(self.late_center)
            x.index_copy_(1, self.compressed, late.clamp_(-700.0, 700.0).sinh_())  # sinh(711) is beyond float64
        return x.mul_(self.scale).add_(self.center)

    def select(self, kept: list[int]) -> Scaler:
        """The scaler of these columns alone; all that are compressed must be among them."""
        if len(kept) == len(self.center):
            return self
        places = {old: new for new, old in enumerate(kept)}
        compressed = np.array([places[old] for old in self.compressed.tolist()], dtype=np.int64)
        late = self.late_center.numpy(), self.late_scale.numpy()
        return Scaler(self.center[kept].numpy(), self.scale[kept].numpy(), compressed, *late)


def choose_scaler(matrix: Matrix, facts: Statistics, scaling: str, untouched: Any = False) -> Scaler:
    """The scaler for these columns; `untouched` (d,) marks columns that stay as they are (yes/no)."""
    if scaling not in SCALINGS:
        raise SettingError(f"scaling is {scaling!r}; it must be one of {', '.join(SCALINGS)}.")
    center, scale = _plain(facts, scaling)
    keep = facts.constant | ~np.isfinite(scale) | (scale < SMALLEST)
    scale = np.where(keep | untouched, 1.0, scale)
    center = np.where((facts.present == 0) | untouched, 0.0, center)
    if scaling != "auto":
        return Scaler(center, scale)
    return _compress(matrix, facts, center, scale, np.broadcast_to(untouched, center.shape))


def _plain(facts: Statistics, scaling: str) -> tuple[Vector, Vector]:
    zero, one = np.zeros_like(facts.mean), np.ones_like(facts.mean)
    match scaling:
        case "none":
            return zero, one
        case "center":
            return facts.mean, one
        case "minmax":
            return facts.minimum, facts.maximum - facts.minimum
        case "robust":
            return facts.quantiles[MEDIAN], facts.robust()[0]
    return facts.mean, facts.deviation


def _compress(matrix: Matrix, facts: Statistics, center: Vector, scale: Vector, untouched: Any) -> Scaler:
    """Draw in the columns whose tails are heavy, where that gives the bulk more room."""
    median, (robust, bulk) = facts.quantiles[MEDIAN], facts.robust()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a spread may be too small to be a number
        reach = np.fmax(facts.maximum - center, center - facts.minimum) / scale
        robust_reach = np.fmax(facts.maximum - median, median - facts.minimum) / robust
    quartiles = facts.quantiles[SPANS[0][1]] > facts.quantiles[SPANS[0][0]]
    heavy = (reach > HEAVY) | (quartiles & (robust_reach > ROBUST_HEAVY))
    columns = np.flatnonzero(heavy & ~facts.constant & ~untouched & (robust > SMALLEST) & np.isfinite(robust))
    if not len(columns):
        return Scaler(center, scale)
    middle, width = median[columns], KNEE * robust[columns]

    def drawn(values: Vector, at: Any = slice(None)) -> Vector:
        with np.errstate(over="ignore"):
            return cast(Vector, np.arcsinh((values - middle[at]) / width[at]))

    late_center, late_scale = moments(matrix, drawn, columns)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ends = np.stack([drawn(facts.maximum[columns]) - late_center, late_center - drawn(facts.minimum[columns])])
        nearer = ends.max(axis=0) / late_scale < 0.8 * reach[columns]
        roomier = bulk[columns] & (scale[columns] / (width * late_scale) > 1.5)
    helps = (nearer | roomier) & (late_scale > 0) & np.isfinite(late_scale) & np.isfinite(late_center)
    chosen = columns[helps]
    center, scale = center.copy(), scale.copy()
    center[chosen], scale[chosen] = median[chosen], width[helps]
    return Scaler(center, scale, chosen, late_center[helps], late_scale[helps])
