from __future__ import annotations

from typing import Self

import torch

from isthmus.damage.base import Patch, check_patch, pick_columns, pick_patches
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class Masked(Variant):
    """Hides cells from the encoder, tells it which, and asks for them back from the rest.

        CORRUPT → encoder → bottleneck → decoder → likelihood

    Unlike denoising by masking, the encoder knows what is hidden; the same network then handles values that are
    really absent. He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners": three quarters of a picture's
    patches are hidden, and the `transformer` network computes nothing for them; write the same `patch` for both.

    Use it when values will be absent later on, or when codes of pictures and tables are wanted as features. Not where
    cells know nothing of each other: there is nothing to guess from.

    Parameters
    ----------
    share : share of the cells that are hidden, between 0 and 1.
    patch : None for single cells, or the sides of patches of neighbouring places that are hidden together, with all
        channels: pixels of a picture, steps of a series, columns of a table. Then each sample hides exactly `share` of
        its patches, rounded.
    visible : weight of the visible cells in the distortion; 0 asks for the hidden ones only.

    Raises
    ------
    SettingError : for a setting out of range, or a patch that does not fit the axes of the samples.

    >>> Masked(share=0.5)
    Masked(share=0.5)
    """

    aliases = ("masked_autoencoder",)
    hides = True

    limits = {"share": Limit(0, 1), "visible": Limit(0)}

    def __init__(self, share: float = 0.25, visible: float = 1.0, patch: Patch | None = None):
        self.share = share
        self.visible = visible
        self.patch = patch

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(share=0.5, patch=2)]

    def check(self) -> None:
        super().check()
        check_patch(self, self.patch)

    def corrupt(self, reconstruction: Reconstruction) -> None:
        assert reconstruction.generator is not None
        x, weight, spec = reconstruction.x, reconstruction.weight, reconstruction.spec
        if self.patch is None:
            hidden = pick_columns(x, spec, self.share, reconstruction.generator)
        else:
            hidden = pick_patches(x, spec, self.share, self.patch, reconstruction.generator, weight)
        present = weight if weight is not None else x.new_ones(x.shape)
        told = present if reconstruction.seen_weight is None else reconstruction.seen_weight
        if spec.free:  # below 0: hidden, and still a part of the sample, which is not padding
            reconstruction.seen_weight = torch.where(hidden & (told > 0), -1.0, told)
        else:
            reconstruction.seen_weight = told.masked_fill(hidden, 0.0)
        if self.visible != 1.0:
            reconstruction.weight = present * (hidden.to(x) + self.visible * (~hidden).to(x))

    def neutral(self) -> Self:
        return type(self)(share=0.0, patch=self.patch)
