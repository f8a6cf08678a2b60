from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.damage.base import Damage, Level, drawn
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Gaussian(Damage):
    """Normal noise added to every element.

    Parameters
    ----------
    sigma : standard deviation of the noise, in the units of the scaled data (1 = one standard deviation of a column
        under the default scaling of tables; 1 = from black to white for pictures). Two numbers, (least, most): each
        sample draws its own between them, so that a model learns noise of unknown level.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.zeros(2, 3), torch.Generator().manual_seed(0)
    >>> Gaussian(sigma=0.1)(x, SampleSpec((3,)), generator).abs().max() < 1
    tensor(True)
    """

    levels = {"sigma": Limit(0)}

    def __init__(self, sigma: Level = 0.3):
        self.sigma = sigma

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(sigma=(0.1, 0.4))]

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + drawn(self.sigma, x, generator) * noise

    def neutral(self) -> Self:
        return type(self)(sigma=0.0)
