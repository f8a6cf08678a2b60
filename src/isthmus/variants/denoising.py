from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Damage
from isthmus.damage.gaussian import Gaussian
from isthmus.damage.masking import Masking
from isthmus.damage.swap import Swap
from isthmus.errors import SettingError
from isthmus.part import resolve
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant

ASKED = ("clean", "where")
LEAST = 0.02  # a smaller change is none
FULL = 0.1  # a change that weighs as much as a value that was left alone
FAINT, MOST = 0.1, 3.0  # what the smallest and the largest change weigh


class Denoising(Variant):
    """Shows the encoder a spoiled sample and asks for the clean one, so that copying does not help.

        CORRUPT → encoder → bottleneck → decoder → likelihood

    Vincent et al. 2010, "Stacked Denoising Autoencoders", JMLR 11:3371.

    Use it first when codes are wanted as features, or when later samples will be spoiled: it hardly costs time. Not for
    compression, where the sample itself is to come back and nothing was ever spoiled.

    Parameters
    ----------
    damage : how samples are spoiled: gaussian, masking, salt_and_pepper, swap, or a Damage object.
    asks : "clean" for the sample as it was; "where" for ones where it was changed and noughts elsewhere, all channels
        of a place together, so that a network learns to find a damage: with the likelihood bernoulli, how likely each
        value was changed. Where counterparts are given the change is what lies between the two.

    Raises
    ------
    SettingError : for an `asks` that is neither.

    >>> Denoising("masking(share=0.5)").get_params(deep=False)
    {'damage': 'masking(share=0.5)', 'asks': 'clean'}
    """

    aliases = ("dae", "denoise")

    def __init__(self, damage: str | Damage = "gaussian", asks: str = "clean"):
        self.damage = damage
        self.asks = asks

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(Gaussian()), cls(Masking()), cls(Swap())]

    def check(self) -> None:
        super().check()
        if self.asks not in ASKED:
            raise SettingError(f"asks of denoising is {self.asks!r}; it must be one of {', '.join(ASKED)}.")

    def retargets(self) -> bool:
        return self.asks == "where"

    def corrupt(self, reconstruction: Reconstruction) -> None:
        assert reconstruction.generator is not None
        damage = resolve("damage", self.damage, Damage)
        reconstruction.seen = damage(reconstruction.seen, reconstruction.spec, reconstruction.generator)
        if self.retargets():
            reconstruction.target, reconstruction.weight = _changes(reconstruction)

    def neutral(self) -> Self:
        return type(self)(resolve("damage", self.damage, Damage).neutral())


def _changes(reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
    """Where the sample was changed, and how much each place weighs, both as it: what hardly shows counts for little."""
    square, weight = (reconstruction.seen - reconstruction.target).square(), reconstruction.weight
    if weight is not None:
        square = square.masked_fill(weight <= 0, 0.0)
    if len(reconstruction.spec.shape) > 1:
        square = square.mean(reconstruction.spec.axis, keepdim=True).expand_as(square)
    changed = square > LEAST**2
    heed = torch.where(changed, FAINT + (square / FULL**2).clamp_max(MOST), 1.0)
    return changed.to(square), heed if weight is None else heed * weight
