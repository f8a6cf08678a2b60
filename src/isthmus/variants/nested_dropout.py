from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class NestedDropout(Variant):
    """Puts the components of the code in order of importance, so that a code may be cut short wherever one likes.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    In training every sample keeps a random number of leading components and the rest are zero: one component for
    sure, and each further one with probability `keep` if the one before it was kept. Outside training all are there. A
    linear autoencoder finds the principal directions themselves, in order, and not only their subspace. Rippel et al.
    2014, "Learning Ordered Representations with Nested Dropout".

    Use it when the length of the code is to be chosen afterwards, or when its components are to be read one by one. Not
    when the length is known: a code trained at that length alone comes closer.

    Parameters
    ----------
    keep : probability that one component more is kept, from 0 to 1; at 1 nothing is dropped. The last of n
        components is kept with probability keep**(n - 1), so a long code wants a value near 1.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.zeros(1, 2), torch.Generator().manual_seed(1)
    >>> pass_ = Reconstruction(SampleSpec((2,)), x, None, x, None, x, generator)
    >>> NestedDropout(keep=0.5).bottleneck(torch.ones(3, 4), pass_)[0]
    tensor([[[1., 0., 0., 0.],
             [1., 1., 0., 0.],
             [1., 1., 0., 0.]]])
    """

    # what is ordered here is a code; dropout of layers is an argument of the network
    aliases = ("ordered", "nested")

    limits = {"keep": Limit(0, 1)}

    def __init__(self, keep: float = 0.9):
        self.keep = keep

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        if reconstruction.generator is None:
            return features.unsqueeze(0), 0.0
        shape = (len(features), *[1] * (features.ndim - 1))  # a sample's places are cut at the same length
        drawn = torch.rand(shape, generator=reconstruction.generator, device=features.device, dtype=features.dtype)
        chance = self.keep ** torch.arange(features.shape[-1], device=features.device, dtype=features.dtype)
        return (features * (drawn < chance).to(features)).unsqueeze(0), 0.0

    def neutral(self) -> Self:
        return type(self)(keep=1.0)
