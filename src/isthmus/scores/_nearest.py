"""The distance to the nearest of many references, compared with how far apart these are.

Axes: n samples, m references, k numbers of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from isthmus.scores.base import tensor

#: Numbers that are worked on together, at most, so that a chunk stays in the cache.
CHUNK_NUMBERS = 2**20
#: Among so many numbers for each that is wanted, `topk` is at its quickest.
MANY_TIMES = 64
#: Beyond this nothing is near anything, and squares in float32 would be infinite.
WILD = 1e15
#: Of the typical distance between references: how small a distance may look beside others.
SMALLEST = 1e-3
#: The same for the distance between neighbours that another is compared with.
CLOSEST = 0.1


class Settings(Protocol):
    """What a score of neighbours has."""

    neighbours: int
    references: int


def wide(score: Settings, n_odd: int, n: int) -> int:
    """Twice as many neighbours as n_odd of n samples have among the references: half of them are others.

    >>> from types import SimpleNamespace
    >>> wide(SimpleNamespace(neighbours=5, references=2000), n_odd=300, n=3000)
    400
    """
    return max(score.neighbours, math.ceil(2 * n_odd * min(1.0, score.references / n)))


class Nearest:
    """The log of the mean distance to the nearest references, less a part of the log of how far apart these are.

    The nearest are found in float32, by products; their distances are worked out in the type that came in. Of a sample
    that is among the references itself, it does not count.

    Parameters
    ----------
    references : what usual samples look like, (m, k).
    spread : of each reference the mean distance to its own neighbours, (m,).
    neighbours : how many nearest ones count.
    local : the power of the spread by which distances are divided.
    """

    def __init__(self, references: Tensor, spread: Tensor, neighbours: int, local: float):
        self.references, self.spread, self.neighbours, self.local = references, spread, neighbours, local
        middle = references.mean(0)
        # products of numbers far from zero would drown the distances
        self.middle, self.near = middle, (references - middle).clamp(-WILD, WILD).float()
        self.squares = -0.5 * self.near.square().sum(1)

    @classmethod
    def fit(cls, usual: Tensor, neighbours: int, local: float, most: int, generator: torch.Generator) -> Nearest:
        """Learn it from usual samples, (n, k), of which `most` are kept."""
        chosen = torch.randperm(len(usual), generator=generator)[:most].sort().values
        references = usual[chosen.to(usual.device)].double().contiguous()
        found = cls(references, references.new_ones(len(references)), neighbours, local)
        found.spread = found._distances(references)[0].mean(1)
        return found

    @classmethod
    def restore(cls, state: Mapping[str, Tensor], neighbours: int, local: float) -> Nearest:
        """The inverse of `state`."""
        references = tensor(state, "references", (None, None))
        return cls(references, tensor(state, "spread", (len(references),)), neighbours, local)

    def state(self) -> dict[str, Tensor]:
        """All that was learned."""
        return {"references": self.references, "spread": self.spread}

    def __call__(self, features: Tensor) -> Tensor:
        """How far each of these is, (n,), of (n, k)."""
        distances, found = self._distances(features)
        spread = self.spread.to(features)
        typical = spread.median().clamp_min(torch.finfo(spread.dtype).tiny)
        around = spread[found].mean(1) + CLOSEST * typical
        return (distances.mean(1) + SMALLEST * typical).log() - self.local * around.log()

    def _distances(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest references' distances and places, (n, neighbours) each."""
        squares, near = self.squares.to(features.device), self.near.to(features.device)
        size, wanted = max(1, CHUNK_NUMBERS // len(near)), min(self.neighbours + 1, len(near))
        room = near.new_empty(min(size, len(features)), len(near))  # a new one each time would cost as much as it holds
        references, middle, parts = self.references.to(features), self.middle.to(features), []
        for part in features.split(size):
            gap = (part - middle).clamp_(-WILD, WILD).float()
            found = largest(torch.addmm(squares, gap, near.mT, out=room[: len(part)]), wanted)
            gaps = references.index_select(0, found.flatten()).view(*found.shape, -1).sub_(part[:, None])
            parts.append(_without_itself(torch.linalg.vector_norm(gaps, dim=2), found, part))
        return torch.cat([distances for distances, _ in parts]), torch.cat([found for _, found in parts])


def largest(values: Tensor, wanted: int) -> Tensor:
    """The places of the largest numbers of each row, (n, wanted), the largest first: what `topk` gives, but sooner.

    Columns are dealt out to groups, of which those with the largest maxima are kept, as many as numbers are wanted. No
    number elsewhere exceeds one of these maxima, so the largest are among those kept.

    >>> largest(torch.arange(2000.0)[None], 3)
    tensor([[1999, 1998, 1997]])
    """
    m = values.shape[1]
    size = m // (MANY_TIMES * wanted)
    if size < 2:
        return values.topk(wanted).indices
    count = m // size
    chosen = values[:, : size * count].unflatten(1, (size, count)).amax(1).topk(wanted).indices
    members = (chosen[:, None] + count * torch.arange(size, device=values.device)[:, None]).flatten(1)
    rest = torch.arange(size * count, m, device=values.device).expand(len(values), -1)
    places = torch.cat([members, rest], 1)
    return places.gather(1, values.gather(1, places).topk(wanted).indices)


def _without_itself(distances: Tensor, found: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """All but the first where that is the sample itself, else all but the last."""
    if distances.shape[1] == 1:
        return distances, found
    itself = distances[:, :1] <= 1e-5 * features.square().sum(1, keepdim=True).clamp_min(1.0).sqrt()
    return tuple(torch.where(itself, part[:, 1:], part[:, :-1]) for part in (distances, found))  # type: ignore[return-value]
