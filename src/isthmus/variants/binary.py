from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants._discrete import straight_through
from isthmus.variants.base import Variant


class Binary(Variant):
    """Makes every component of the code one bit: for hashing, for search by shared bits, for the smallest files.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    A bit is 1 with probability sigmoid(slope * feature). By default it is the likelier of the two; `stochastic` draws
    it in training, whose noise keeps probabilities away from one half, and takes the likelier one outside. The gradient
    goes straight through the choice: it is that of the bit's mean. Bengio et al. 2013, "Estimating or Propagating
    Gradients Through Stochastic Neurons"; codes: Salakhutdinov & Hinton 2009, "Semantic Hashing".

    Use it when codes are to be compared or kept by the million: shared bits are counted in an instant. Not where
    samples must come back finely: as many bits say more in `finite_scalar` and `quantized`.

    Parameters
    ----------
    signs : whether the two values are -1 and 1 (default), instead of 0 and 1.
    stochastic : whether bits are drawn in training.
    slope : how sharply the probability follows the feature, per unit of it; above 0.

    >>> import torch
    >>> Binary().bottleneck(torch.tensor([[-0.2, 3.0]]), None)[0]
    tensor([[[-1.,  1.]]])
    """

    aliases = ("binary_code", "semantic_hashing")
    exact_limit = "with slope 2 it is finite_scalar with two levels, gradients and all"

    limits = {"slope": Limit(1e-6)}

    def __init__(self, signs: bool = True, stochastic: bool = False, slope: float = 1.0):
        self.signs = signs
        self.stochastic = stochastic
        self.slope = slope

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(signs=False, stochastic=True, slope=2.0)]

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        chance = torch.sigmoid(self.slope * features)
        if self.stochastic and reconstruction.generator is not None:
            drawn = torch.rand(
                chance.shape, generator=reconstruction.generator, device=chance.device, dtype=chance.dtype
            )
            bit = (drawn < chance).to(chance)
        else:
            bit = (features > 0).to(chance)
        if self.signs:
            bit, chance = 2 * bit - 1, 2 * chance - 1
        return straight_through(bit, chance).unsqueeze(0), 0.0
