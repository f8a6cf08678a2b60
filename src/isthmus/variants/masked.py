from __future__ import annotations

from typing import Self

from isthmus.damage.base import pick_columns
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class Masked(Variant):
    """Hides cells from the encoder, tells it which, and asks for them back from the rest.

        CORRUPT → encoder → bottleneck → decoder → likelihood

    Unlike denoising by masking, the encoder knows what is hidden; the same network then handles values that are
    really absent. He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners".

    Use it when values will be absent later on, or when codes of pictures and tables are wanted as features. Not where
    cells know nothing of each other: there is nothing to guess from.

    Parameters
    ----------
    share : share of the cells that are hidden, between 0 and 1.
    visible : weight of the visible cells in the distortion; 0 asks for the hidden ones only.

    >>> Masked(share=0.5)
    Masked(share=0.5)
    """

    aliases = ("masked_autoencoder",)
    hides = True

    limits = {"share": Limit(0, 1), "visible": Limit(0)}

    def __init__(self, share: float = 0.25, visible: float = 1.0):
        self.share = share
        self.visible = visible

    def corrupt(self, reconstruction: Reconstruction) -> None:
        assert reconstruction.generator is not None
        x, weight = reconstruction.x, reconstruction.weight
        hidden = pick_columns(x, reconstruction.spec, self.share, reconstruction.generator)
        present = weight if weight is not None else x.new_ones(x.shape)
        told = present if reconstruction.seen_weight is None else reconstruction.seen_weight
        reconstruction.seen_weight = told.masked_fill(hidden, 0.0)
        if self.visible != 1.0:
            reconstruction.weight = present * (hidden.to(x) + self.visible * (~hidden).to(x))

    def neutral(self) -> Self:
        return type(self)(share=0.0)
