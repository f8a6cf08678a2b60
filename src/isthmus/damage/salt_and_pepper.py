from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Damage, Level, pick_columns
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class SaltAndPepper(Damage):
    """Cells set to the smallest or the largest value at random, each with probability one half.

    Parameters
    ----------
    share : share of the cells that are hit, between 0 and 1; two numbers, (least, most): each
        sample draws its own.
    low, high : the two values; None takes the smallest and the largest value in the batch of that
        element (of a table) or channel (of pictures and series).

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.full((100, 10), 0.5), torch.Generator().manual_seed(0)
    >>> SaltAndPepper(share=0.5, low=0.0, high=1.0)(x, SampleSpec((10,)), generator).unique()
    tensor([0.0000, 0.5000, 1.0000])
    """

    levels = {"share": Limit(0, 1)}

    def __init__(self, share: Level = 0.1, low: float | None = None, high: float | None = None):
        self.share = share
        self.low = low
        self.high = high

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(low=-1.0, high=1.0)]

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        hit = pick_columns(x, spec, self.share, generator)
        salt = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float32) < 0.5
        shared = [axis for axis in range(x.ndim) if axis != spec.axis]
        low = x.amin(shared, True) if self.low is None else torch.as_tensor(self.low, dtype=x.dtype, device=x.device)
        high = x.amax(shared, True) if self.high is None else torch.as_tensor(self.high, dtype=x.dtype, device=x.device)
        return torch.where(hit, torch.where(salt, high, low), x)

    def neutral(self) -> Self:
        return type(self)(share=0.0, low=self.low, high=self.high)
