from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.scores._nearest import Nearest, wide
from isthmus.scores.base import Measure, Score


class CodeDistance(Score):
    """How far the code is from its nearest neighbours among the codes of training samples.

    It sees what the residual cannot: a sample that is given back well, from a code where no usual one is.

    Parameters
    ----------
    neighbours : how many nearest codes the distance is averaged over.
    local : how far it is compared with the distances between these neighbours themselves, from 0 (not) to 1 (their
        ratio): where usual codes lie thinly a distance counts less.
    references : how many codes of training samples are kept, drawn at random where there are more.

    >>> codes = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    >>> measure = CodeDistance().fit(codes, codes, torch.Generator().manual_seed(0))
    >>> near, far = measure(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    >>> bool(far > near)
    True
    """

    limits = {"neighbours": Limit(1, whole=True), "local": Limit(0, 1), "references": Limit(1, whole=True)}

    def __init__(self, neighbours: int = 5, local: float = 0.3, references: int = 2000):
        self.neighbours = neighbours
        self.local = local
        self.references = references

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(neighbours=3, references=60), cls(local=0.0)]

    def read(self, pass_: Reconstruction) -> Tensor:
        assert pass_.code is not None
        return pass_.code.mean(0).flatten(1)

    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        return _OfCodes(Nearest.fit(trained, self.neighbours, self.local, self.references, generator))

    def beyond(self, n_odd: int, n: int) -> Self:
        """With neighbourhoods of which such a cluster is at most half."""
        return type(self)(**{**self.get_params(deep=False), "neighbours": wide(self, n_odd, n)})

    def restore(self, state: Mapping[str, Tensor]) -> Measure:
        return _OfCodes(Nearest.restore(state, self.neighbours, self.local))


class _OfCodes(Measure):
    def __init__(self, nearest: Nearest):
        self.nearest = nearest

    def __call__(self, read: Tensor) -> Tensor:
        return self.nearest(read)

    def state(self) -> dict[str, Tensor]:
        return self.nearest.state()
