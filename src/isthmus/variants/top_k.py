from __future__ import annotations

import sys
from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class TopK(Variant):
    """Keeps the k largest activations of the code and sets the others to zero.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    Makhzani & Frey 2013, "k-Sparse Autoencoders". Largest in absolute value, so that the sign is free.

    Parameters
    ----------
    k : how many components stay, at least 1; as many as there are, and nothing changes.

    Raises
    ------
    SettingError : for k below 1.

    >>> import torch
    >>> TopK(k=1).bottleneck(torch.tensor([[1.0, -3.0, 2.0]]), None)[0]
    tensor([[[ 0., -3.,  0.]]])
    """

    aliases = ("k_sparse", "ksparse")

    limits = {"k": Limit(1, whole=True)}

    def __init__(self, k: int = 8):
        self.k = k

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(k=2)]

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        if self.k >= features.shape[-1]:
            return features.unsqueeze(0), 0.0
        kept = features.abs().topk(self.k, dim=-1).indices
        mask = torch.zeros_like(features).scatter(-1, kept, 1.0)
        return (features * mask).unsqueeze(0), 0.0

    def neutral(self) -> Self:
        return type(self)(k=sys.maxsize)
