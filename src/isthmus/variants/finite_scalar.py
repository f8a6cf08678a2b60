from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants._discrete import straight_through
from isthmus.variants.base import Variant


class FiniteScalar(Variant):
    """Rounds every component of the code to a few fixed levels: a codebook without learning and without dead entries.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    Mentzer et al. 2024, "Finite Scalar Quantization: VQ-VAE Made Simple". A tanh bounds each component; it is rounded
    to the nearest of its levels, which lie evenly from -1 to 1, so that an odd number has a level at 0. The gradient
    goes straight through the rounding and is the tanh's own.

    Use it when codes must be whole numbers and nothing about a codebook should be able to go wrong. Not for few bits on
    a long code, where two levels are the least a component can have: entries of `quantized` share theirs.

    Parameters
    ----------
    levels : levels of every component, at least 2, or one number for each component; a component takes log2(levels)
        bits.

    Raises
    ------
    SettingError : for fewer than 2 levels, or as many numbers as there are no components.

    >>> import torch
    >>> FiniteScalar(levels=3).bottleneck(torch.tensor([[-2.0, 0.1, 0.6, 0.5]]), None)[0]
    tensor([[[-1.,  0.,  1.,  0.]]])
    """

    aliases = ("fsq",)
    exact_limit = "with ever more levels it is the plain autoencoder whose encoder ends in a tanh"

    def __init__(self, levels: int | Sequence[int] = 8):
        self.levels = levels

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(levels=5), cls(levels=4)]

    def check(self) -> None:
        given = self.levels if isinstance(self.levels, (tuple, list)) else (self.levels,)
        if not given or not all(map(_LEVELS.allows, given)):
            raise SettingError(
                f"levels of finite_scalar is {self.levels!r}; it must be {_LEVELS}, or one such number for each "
                "component."
            )

    def build(self, spec: SampleSpec, n_components: int) -> None:
        if isinstance(self.levels, (tuple, list)) and len(self.levels) != n_components:
            raise SettingError(
                f"levels of finite_scalar has {len(self.levels)} numbers and the code {n_components} components; give "
                f"one number for all of them, or n_components={len(self.levels)}."
            )

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        bounded = features.tanh()
        levels = self._steps(features)
        rounded = ((bounded + 1) / 2 * levels).round() / levels * 2 - 1
        return straight_through(rounded, bounded).unsqueeze(0), 0.0

    def indices(self, features: Tensor) -> Tensor:
        """Which level each component has, as whole numbers from 0, (B, ..., n_components)."""
        return ((features.tanh() + 1) / 2 * self._steps(features)).round().long()

    def lookup(self, indices: Tensor) -> Tensor:
        """The code that stands for these indices, (B, ..., n_components)."""
        return indices / self._steps(indices) * 2 - 1

    def _steps(self, like: Tensor) -> Tensor:
        """From the lowest level to the highest, for each component."""
        return torch.as_tensor(self.levels, device=like.device) - 1


_LEVELS = Limit(2, whole=True)
