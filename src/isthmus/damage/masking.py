from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Damage, Level, Patch, check_patch, pick_columns, pick_patches
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Masking(Damage):
    """Cells set to zero at random, as in the stacked denoising autoencoder (Vincent et al. 2010, JMLR 11:3371).

    Parameters
    ----------
    share : share of the cells that are set to zero, between 0 and 1; two numbers, (least, most): each
        sample draws its own.
    patch : None for single cells, or the sides of patches of neighbouring places that fall together, with all channels:
        pixels of a picture, steps of a series, columns of a table; then `share` of the patches, exactly.

    Raises
    ------
    SettingError : for a share or a patch out of range, or a patch that does not fit the axes of the samples.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.ones(100, 10), torch.Generator().manual_seed(0)
    >>> 0.7 < Masking(share=0.25)(x, SampleSpec((10,)), generator).mean() < 0.8
    tensor(True)
    """

    levels = {"share": Limit(0, 1)}

    def __init__(self, share: Level = 0.25, patch: Patch | None = None):
        self.share = share
        self.patch = patch

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(share=(0.1, 0.5)), cls(share=(0.5, 1.0), patch=1)]

    def check(self) -> None:
        super().check()
        check_patch(self, self.patch)

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        if self.patch is None:
            return x.masked_fill(pick_columns(x, spec, self.share, generator), 0.0)
        return x.masked_fill(pick_patches(x, spec, self.share, self.patch, generator), 0.0)

    def neutral(self) -> Self:
        return type(self)(share=0.0, patch=self.patch)
