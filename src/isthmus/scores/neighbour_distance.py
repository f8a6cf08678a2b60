from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.scores._nearest import Nearest, wide
from isthmus.scores._residuals import Whitening, residual_of, returned
from isthmus.scores.base import Measure, Score

SHRINKAGE = 0.1


class NeighbourDistance(Score):
    """How far a sample is from its nearest neighbours among training samples, as the autoencoder takes it apart.

    What came back and what was missed stand side by side. Together they are the sample itself; but misses are counted
    in units of usual ones, so that a small step off the surface that usual samples lie on is as far as a large one
    along it. Of one sample it sees both: that it lies off the surface, and that it lies on it where no other does.

    Parameters
    ----------
    residual : how far the usual miss of one number counts, in units of what came back; 0 looks at that alone.
    neighbours : how many nearest samples the distance is averaged over.
    local : how far it is compared with the distances between these neighbours themselves, from 0 (not) to 1 (their
        ratio): where usual samples lie thinly a distance counts less.
    references : how many training samples are kept, drawn at random where there are more.

    >>> usual = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))  # what came back, and what was missed
    >>> measure = NeighbourDistance().fit(usual, usual, torch.Generator().manual_seed(0))
    >>> near, missed = measure(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 9.0]]))
    >>> bool(missed > near)
    True
    """

    aliases = ("nearest", "knn")
    limits = {
        "residual": Limit(0),
        "neighbours": Limit(1, whole=True),
        "local": Limit(0, 1),
        "references": Limit(1, whole=True),
    }

    def __init__(self, residual: float = 0.3, neighbours: int = 5, local: float = 0.3, references: int = 2000):
        self.residual = residual
        self.neighbours = neighbours
        self.local = local
        self.references = references

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(neighbours=3, references=60), cls(residual=0.0, local=0.0)]

    def read(self, pass_: Reconstruction) -> Tensor:
        return torch.cat([returned(pass_), residual_of(pass_)], 1)

    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        whitening = Whitening.fit(held_out.chunk(2, 1)[1], SHRINKAGE)
        features = _features(trained.double(), whitening, self.residual)
        nearest = Nearest.fit(features, self.neighbours, self.local, self.references, generator)
        return _OfBoth(whitening, self.residual, nearest)

    def beyond(self, n_odd: int, n: int) -> Self:
        """With neighbourhoods of which such a cluster is at most half."""
        return type(self)(**{**self.get_params(deep=False), "neighbours": wide(self, n_odd, n)})

    def restore(self, state: Mapping[str, Tensor]) -> Measure:
        return _OfBoth(Whitening.restore(state), self.residual, Nearest.restore(state, self.neighbours, self.local))


def _features(read: Tensor, whitening: Whitening, residual: float) -> Tensor:
    back, missed = read.chunk(2, 1)
    return torch.cat([back, residual * whitening(missed)], 1)


class _OfBoth(Measure):
    def __init__(self, whitening: Whitening, residual: float, nearest: Nearest):
        self.whitening, self.residual, self.nearest = whitening, residual, nearest

    def __call__(self, read: Tensor) -> Tensor:
        return self.nearest(_features(read, self.whitening, self.residual))

    def state(self) -> dict[str, Tensor]:
        return self.whitening.state() | self.nearest.state()
