from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage._colour import chroma
from isthmus.damage.base import Damage, Level, drawn
from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Grey(Damage):
    """The colour taken out of pictures: red, green and blue all become how light the pixel is.

    Parameters
    ----------
    share : how much of the colour goes, between 0 (none) and 1 (all); two numbers, (least, most): each sample draws its
        own.

    Raises
    ------
    SettingError : for samples that are no pictures in colour: (channels, height, width) with 3 or 4 channels.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> Grey()(red, SampleSpec((3, 1, 1)), torch.Generator()).flatten()
    tensor([0.2990, 0.2990, 0.2990])
    """

    levels = {"share": Limit(0, 1)}

    def __init__(self, share: Level = 1.0):
        self.share = share

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(share=(0.5, 1.0)), cls(share=(0.0, 0.8))]

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        if len(spec.shape) != 3 or spec.channels != 0 or spec.n_channels not in (3, 4):
            raise SettingError(
                f"grey takes the colour out of pictures (3 or 4 channels, height, width), and these samples have shape "
                f"{spec.shape}."
            )
        part = drawn(self.share, x, generator)
        colours, rest = x[:, :3], x[:, 3:]
        return torch.cat([colours - part * chroma(colours), rest], 1)

    def neutral(self) -> Self:
        return type(self)(share=0.0)
