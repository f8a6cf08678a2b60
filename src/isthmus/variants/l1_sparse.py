from __future__ import annotations

from typing import Self

from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Pass, Variant


class L1Sparse(Variant):
    """Asks for codes that are mostly zero, so that a wide code cannot copy its input.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    The penalty is the weight times the sum of the code's absolute values; it grows with activation.

    Olshausen & Field 1996, "Emergence of simple-cell receptive field properties by learning a sparse code for natural
    images", with the absolute value as its measure of sparseness.

    Use it when a wide code should explain every sample by few components, and how many may differ between samples. Not
    where components must be exactly zero (they only come near it), or where sizes count: all are drawn towards zero.
    `top_k` gives exact zeros and shrinks nothing.

    Parameters
    ----------
    weight : strength of the penalty, in nats per unit of activation.

    >>> L1Sparse(weight=0.01).neutral()
    L1Sparse(weight=0.0)
    """

    aliases = ("sparse", "activity_l1")

    limits = {"weight": Limit(0)}

    def __init__(self, weight: float = 0.1):
        self.weight = weight

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        assert reconstruction.code is not None
        return self.weight * reconstruction.code.abs().mean(0).flatten(1).sum(1)

    def neutral(self) -> Self:
        return type(self)(weight=0.0)
