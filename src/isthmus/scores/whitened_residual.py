from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.scores._residuals import Whitening, residual_of
from isthmus.scores.base import Measure, Score


class WhitenedResidual(Score):
    """How large the miss is, in units of the misses of samples that were held out: their Mahalanobis distance.

    A column that is hard to foretell weighs little, and misses that usually come together are counted once, so that
    a small miss in an unusual direction counts. What is absent has no miss.

    Parameters
    ----------
    shrinkage : how far the covariance of the misses is drawn towards their variances alone, from 0 to 1.

    >>> random = torch.Generator().manual_seed(0)
    >>> usual = torch.randn(500, 1, generator=random) + 0.1 * torch.randn(500, 2, generator=random)
    >>> measure = WhitenedResidual().fit(usual, usual, random)
    >>> along, across = measure(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    >>> bool(across > 2 * along)
    True
    """

    aliases = ("mahalanobis",)
    limits = {"shrinkage": Limit(0, 1)}

    def __init__(self, shrinkage: float = 0.1):
        self.shrinkage = shrinkage

    def read(self, pass_: Reconstruction) -> Tensor:
        return residual_of(pass_)

    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        return _Length(Whitening.fit(held_out, self.shrinkage))

    def restore(self, state: Mapping[str, Tensor]) -> Measure:
        return _Length(Whitening.restore(state))


class _Length(Measure):
    def __init__(self, whitening: Whitening):
        self.whitening = whitening

    def __call__(self, read: Tensor) -> Tensor:
        return self.whitening(read).square().sum(1).sqrt()

    def state(self) -> dict[str, Tensor]:
        return self.whitening.state()
