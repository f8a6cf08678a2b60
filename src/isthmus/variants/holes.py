from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Level, drawn, pick_columns
from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants.base import Variant


class Holes(Variant):
    """Hides single cells and whole boxes of each sample, tells the encoder which, and asks for them back.

        CORRUPT → encoder → bottleneck → decoder → likelihood

    A third of the samples lose single cells, a third boxes, a third both; how many, how large and where is drawn anew
    every time. So one network learns to fill scattered pixels, scratches and large holes. Pathak et al. 2016, "Context
    Encoders: Feature Learning by Inpainting", CVPR.

    Use it where parts of pictures or stretches of series will be missing, in ways that nobody knows beforehand. Not for
    cells of tables that are missing one by one: `masked` does that and no more.

    Parameters
    ----------
    share : share of the single cells that are hidden, between 0 and 1; two numbers, (least, most): each sample draws
        its own.
    side : the sides of a box as shares of the sample's own sides, likewise; all channels of a place fall together.
    count : how many boxes a sample gets at most, at least one where it gets any.
    visible : weight of the visible cells in the distortion; 0 asks for the hidden ones only.

    Raises
    ------
    SettingError : for a setting out of range.

    >>> Holes(share=(0.4, 0.6), count=0)
    Holes(share=(0.4, 0.6), count=0)
    """

    hides = True

    limits = {"count": Limit(0, whole=True), "visible": Limit(0)}

    def __init__(self, share: Level = (0.05, 0.9), side: Level = (0.05, 0.5), count: int = 3, visible: float = 0.0):
        self.share = share
        self.side = side
        self.count = count
        self.visible = visible

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(share=0.3, side=0.3, count=2, visible=1.0), cls(share=(0.2, 0.4), side=(0.2, 0.5), visible=0.5)]

    def check(self) -> None:
        super().check()
        for name, level in (("share", self.share), ("side", self.side)):
            ends = level if isinstance(level, (tuple, list)) else (level, level)
            if len(ends) != 2 or not all(map(Limit(0, 1).allows, ends)) or ends[0] > ends[1]:
                raise SettingError(
                    f"{name} of {self.name()} is {level!r}; it must be a number from 0 to 1, or two of them, the "
                    "smaller one first, between which each sample draws its own."
                )

    def corrupt(self, reconstruction: Reconstruction) -> None:
        assert reconstruction.generator is not None
        x, weight, spec = reconstruction.x, reconstruction.weight, reconstruction.spec
        hidden = self._hidden(x, spec, reconstruction.generator)
        present = weight if weight is not None else x.new_ones(x.shape)
        told = present if reconstruction.seen_weight is None else reconstruction.seen_weight
        # below 0: hidden, and still a part of the sample, which is not padding
        reconstruction.seen_weight = torch.where(hidden & (told > 0), -1.0 if spec.free else 0.0, told)
        if self.visible != 1.0:
            reconstruction.weight = present * (hidden.to(x) + self.visible * (~hidden).to(x))

    def _hidden(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        """Which elements fall, as x."""
        cells = pick_columns(x, spec, self.share, generator)
        if not self.count:
            return cells
        if len(spec.shape) > 1:  # all channels of a place are one
            cells = cells.narrow(spec.axis, 0, 1)
        kind = torch.randint(3, (len(x), *[1] * (x.ndim - 1)), generator=generator, device=x.device)
        return (cells & (kind != 1)) | (boxes(x, spec, self.side, self.count, generator) & (kind != 0))

    def neutral(self) -> Self:
        return type(self)(share=0.0, side=self.side, count=0, visible=1.0)


def boxes(x: Tensor, spec: SampleSpec, side: Level, count: int, generator: torch.Generator) -> Tensor:
    """A random mask as x, True inside of one to `count` boxes in each sample; of a table they are stretches of columns.

    >>> mask = boxes(torch.zeros(5, 1, 20, 30), SampleSpec((1, 20, 30)), 0.5, 1, torch.Generator().manual_seed(0))
    >>> mask.flatten(1).sum(1).tolist()  # 10 x 15 pixels
    [150, 150, 150, 150, 150]
    """
    has_axes = len(spec.shape) > 1
    sizes = [n for axis, n in enumerate(spec.shape) if axis != spec.channels] if has_axes else [spec.n_columns]
    rows, device = (len(x), count), x.device
    number = torch.randint(count, (len(x), 1), generator=generator, device=device) + 1
    inside = torch.arange(count, device=device) < number  # (B, count, *sizes), an axis at a time
    for size in sizes:
        length = (drawn(side, x.new_zeros(rows), generator) * x.new_ones(rows) * size).round().clamp_min(1)
        start = (torch.rand(rows, generator=generator, device=device, dtype=x.dtype) * (size - length + 1)).floor()
        place = torch.arange(size, device=device)
        covered = (place >= start[..., None]) & (place < (start + length)[..., None])
        inside = inside.unsqueeze(-1) & covered.reshape(*rows, *[1] * (inside.ndim - 2), size)
    mask = inside.any(1)
    return mask.unsqueeze(-1).movedim(-1, spec.axis) if has_axes else spec.spread(mask)
