"""The neighbour graph of some rows: who is near whom, how near, and edges drawn from it.

Axes: n rows, k neighbours of each, m edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST_NUMBERS = 2**26  # of the rows kept: 256 MB in float32
CHUNK = 1024  # rows whose distances to all others are held at once
_HALVINGS = 40  # of the interval that a bandwidth is searched in


@dataclass
class Graph:
    """Rows, and directed edges with weights between them."""

    rows: Tensor  # (n, *shape), NaN where absent
    neighbours: Tensor  # (n, k) places of rows
    sums: Tensor  # (n * k,) weights of the edges, added up one after the other; float64

    def edges(self, n_edges: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Both ends of edges, each drawn as often as its weight says: places of rows, twice (m,).

        Evenly spaced ones where there is no generator.
        """
        device = self.sums.device
        if generator is None:
            places = (torch.arange(n_edges, device=device, dtype=torch.float64) + 0.5) / n_edges
        else:
            places = torch.rand(n_edges, generator=generator, device=device, dtype=torch.float64)
        chosen = torch.searchsorted(self.sums, places * self.sums[-1], right=True).clamp_max(len(self.sums) - 1)
        return chosen // self.neighbours.shape[1], self.neighbours.flatten()[chosen]

    def take(self, places: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows at these places with zeros where they are absent, and their weight; None when all are present."""
        rows = self.rows[places]
        absent = rows.isnan()
        return (rows.nan_to_num(0.0), (~absent).to(rows)) if bool(absent.any()) else (rows, None)


def graph_of(rows: Tensor, n_neighbors: int) -> Graph | None:
    """Each row with its nearest ones, exactly, by Euclidean distance over the values that both have.

    The weight of an edge falls from 1 at the nearest neighbour, so fast that a row's weights add up to log2(k) (McInnes
    et al. 2018, UMAP). None where there is nothing to be near to.

    >>> graph = graph_of(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), n_neighbors=1)
    >>> graph.neighbours.flatten().tolist()
    [1, 0, 3, 2]
    """
    k = min(n_neighbors, len(rows) - 1)
    if k < 1:
        return None
    found = [_nearest(rows, start, k) for start in range(0, len(rows), CHUNK)]
    distances, neighbours = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Graph(rows, neighbours, _weights(distances).flatten().double().cumsum(0))


def some_rows(batches: Iterable[Tensor], most: int, generator: torch.Generator) -> Tensor:
    """All rows of the batches in their order, or as many at random as are allowed, by number and by memory.

    Samples of several sizes are filled up to the largest with NaN.
    """
    rows: list[Tensor] = []
    keys: list[Tensor] = []  # who has the highest stays
    lowest = -1.0
    for x in batches:
        drawn = torch.rand(len(x), generator=generator, device=x.device)
        hopeful = drawn > lowest
        rows, keys = [*rows, x[hopeful]], [*keys, drawn[hopeful]]
        allowed = min(most, max(2, MOST_NUMBERS // math.prod(x.shape[1:])))
        if sum(map(len, rows)) > 2 * allowed:  # not every time, as each costs a copy
            rows, keys = _highest(rows, keys, allowed)
            lowest = float(keys[0].min())
    return _highest(rows, keys, allowed)[0][0] if rows else torch.empty(0)


def _highest(rows: list[Tensor], keys: list[Tensor], n_rows: int) -> tuple[list[Tensor], list[Tensor]]:
    """The rows with the highest keys, in their order, in one piece."""
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in rows), strict=True)]
    whole, key = torch.cat([_filled(part, shape) for part in rows]), torch.cat(keys)
    if len(whole) > n_rows:
        kept = key.topk(n_rows).indices.sort().values
        whole, key = whole[kept], key[kept]
    return [whole], [key]


def _filled(x: Tensor, shape: list[int]) -> Tensor:
    more = [side for now, then in zip(x.shape[:0:-1], shape[::-1], strict=True) for side in (0, then - now)]
    return nn.functional.pad(x, more, value=torch.nan) if any(more) else x


def _nearest(rows: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """Distances and places of the nearest of some rows, twice (CHUNK, k)."""
    part = rows[start : start + CHUNK]
    squares = _squared_distances(part.flatten(1), rows.flatten(1))
    own = torch.arange(len(part), device=rows.device)
    squares[own, start + own] = torch.inf
    nearest = squares.topk(k, dim=1, largest=False, sorted=True)
    return nearest.values.clamp_min(0.0).sqrt(), nearest.indices


def _squared_distances(part: Tensor, rows: Tensor) -> Tensor:
    """(m, d) and (n, d) to (m, n); over the values that both have, as if there were all of them."""
    if not bool(rows.isnan().any()):
        squares = part.square().sum(1, keepdim=True) + rows.square().sum(1)
        return torch.addmm(squares, part, rows.t(), alpha=-2)
    here, there = (~part.isnan()).to(part), (~rows.isnan()).to(rows)
    part, rows = part.nan_to_num(0.0), rows.nan_to_num(0.0)
    squares = part.square() @ there.t() + here @ rows.square().t() - 2 * part @ rows.t()
    common = here @ there.t()
    return torch.where(common > 0, squares * (part.shape[1] / common.clamp_min(1.0)), torch.inf)


def _weights(distances: Tensor) -> Tensor:
    """exp(-(distance - nearest) / bandwidth), the bandwidth of each row such that they add up to log2(k); (n, k)."""
    beyond = (distances - distances[:, :1]).nan_to_num(torch.inf, posinf=torch.inf).double()
    wanted = math.log2(max(2, distances.shape[1]))
    largest = beyond.masked_fill(beyond.isinf(), 0.0).amax(1, keepdim=True)
    low, high = torch.zeros_like(largest), 64 * largest + 1e-12
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_much = torch.exp(-beyond / middle).sum(1, keepdim=True) > wanted
        low, high = torch.where(too_much, low, middle), torch.where(too_much, middle, high)
    return torch.exp(-beyond / high).nan_to_num(0.0).clamp_min(1e-12)
