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
    turns : mirror the pictures of each step, and where height and width agree turn them, in one of eight ways, before
        they are spoiled, so that few teach more; for a damage that may lie any way round.

    Raises
    ------
    SettingError : for an `asks` that is neither, and for turns of samples that are no pictures.

    >>> Denoising("masking(share=0.5)").get_params(deep=False)
    {'damage': 'masking(share=0.5)', 'asks': 'clean', 'turns': False}
    """

    aliases = ("dae", "denoise")

    def __init__(self, damage: str | Damage = "gaussian", asks: str = "clean", turns: bool = False):
        self.damage = damage
        self.asks = asks
        self.turns = turns

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
        if self.turns:
            _turn(reconstruction)
        reconstruction.seen = damage(reconstruction.seen, reconstruction.spec, reconstruction.generator)
        if self.retargets():
            reconstruction.target, reconstruction.weight = _changes(reconstruction)

    def neutral(self) -> Self:
        return type(self)(resolve("damage", self.damage, Damage).neutral())


def _turn(reconstruction: Reconstruction) -> None:
    """What is shown, what is asked for and what counts, in one of eight ways, (B, C, H, W)."""
    spec, generator = reconstruction.spec, reconstruction.generator
    if len(spec.shape) != 3 or spec.channels != 0:
        raise SettingError(f"denoising with turns=True is for pictures, and these samples have shape {spec.shape}.")
    assert generator is not None
    way = int(torch.randint(8, (), generator=generator, device=generator.device))
    axes = [axis for axis, bit in ((2, 1), (3, 2)) if way & bit]

    def turned(x: Tensor) -> Tensor:
        x = x.flip(axes)
        return (x.transpose(2, 3) if way & 4 and x.shape[2] == x.shape[3] else x).contiguous()

    reconstruction.seen, reconstruction.target = turned(reconstruction.seen), turned(reconstruction.target)
    if reconstruction.weight is not None:
        reconstruction.weight = turned(reconstruction.weight)
    if reconstruction.seen_weight is not None:
        reconstruction.seen_weight = turned(reconstruction.seen_weight)


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
