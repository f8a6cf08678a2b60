from __future__ import annotations

from typing import Self

from isthmus.damage.base import Damage
from isthmus.damage.gaussian import Gaussian
from isthmus.damage.masking import Masking
from isthmus.damage.swap import Swap
from isthmus.part import resolve
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class Denoising(Variant):
    """Shows the encoder a spoiled sample and asks for the clean one, so that copying does not help.

        CORRUPT → encoder → bottleneck → decoder → likelihood

    Vincent et al. 2010, "Stacked Denoising Autoencoders", JMLR 11:3371.

    Use it first when codes are wanted as features, or when later samples will be spoiled: it hardly costs time. Not for
    compression, where the sample itself is to come back and nothing was ever spoiled.

    Parameters
    ----------
    damage : how samples are spoiled: gaussian, masking, salt_and_pepper, swap, or a Damage object.

    >>> Denoising("masking(share=0.5)").get_params(deep=False)
    {'damage': 'masking(share=0.5)'}
    """

    aliases = ("dae", "denoise")

    def __init__(self, damage: str | Damage = "gaussian"):
        self.damage = damage

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(Gaussian()), cls(Masking()), cls(Swap())]

    def corrupt(self, reconstruction: Reconstruction) -> None:
        assert reconstruction.generator is not None
        damage = resolve("damage", self.damage, Damage)
        reconstruction.seen = damage(reconstruction.seen, reconstruction.spec, reconstruction.generator)

    def neutral(self) -> Self:
        return type(self)(resolve("damage", self.damage, Damage).neutral())
