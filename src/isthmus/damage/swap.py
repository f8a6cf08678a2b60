from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Damage, Level, pick_columns
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Swap(Damage):
    """Cells replaced by the same cell of another row, so that every column keeps its distribution.

    Suits tables of mixed kinds: a spoiled category is still a category.

    Parameters
    ----------
    share : share of the cells that are replaced, between 0 and 1; two numbers, (least, most): each
        sample draws its own.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.arange(6.0).reshape(3, 2), torch.Generator().manual_seed(0)
    >>> Swap(share=1.0)(x, SampleSpec((2,)), generator).remainder(2)  # values stay in their column
    tensor([[0., 1.],
            [0., 1.],
            [0., 1.]])
    """

    levels = {"share": Limit(0, 1)}

    def __init__(self, share: Level = 0.15):
        self.share = share

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        hit = pick_columns(x, spec, self.share, generator)
        shape = list(x.shape)
        shape[spec.axis] = spec.n_columns
        donors = spec.spread(torch.randint(len(x), shape, generator=generator, device=x.device))
        return torch.where(hit, x.gather(0, donors), x)

    def neutral(self) -> Self:
        return type(self)(share=0.0)
