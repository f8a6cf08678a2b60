"""Damage: a way to spoil a sample on purpose, for denoising, restoring and tests."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit, Part
from isthmus.spec import SampleSpec

#: How strong a damage is: a number, or (least, most), between which each sample draws its own.
Level = float | tuple[float, float]


class Damage(Part):
    """Takes clean samples, gives spoiled ones of the same shape; the input is never changed in place."""

    kind: ClassVar[str] = "damage"
    #: The settings that are a `Level`, and what their numbers may be.
    levels: ClassVar[Mapping[str, Limit]] = {}

    def check(self) -> None:
        super().check()
        for name, limit in self.levels.items():
            level = getattr(self, name)
            ends = level if isinstance(level, (tuple, list)) else (level, level)
            if len(ends) != 2 or not all(map(limit.allows, ends)) or ends[0] > ends[1]:
                raise SettingError(
                    f"{name} of {self.name()} is {level!r}; it must be {limit}, or two of them, the smaller one first, "
                    "between which each sample draws its own."
                )

    @abstractmethod
    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        """Spoil a batch, shape (B, *spec.shape)."""

    @abstractmethod
    def neutral(self) -> Self:
        """The same damage at zero strength: it gives back its input."""


def drawn(level: Level, x: Tensor, generator: torch.Generator) -> Tensor | float:
    """The level itself, or one for each sample, (B, 1, ...).

    >>> levels = drawn((1.0, 2.0), torch.zeros(500, 3), torch.Generator().manual_seed(0))
    >>> levels.shape, bool((levels >= 1).all() and (levels <= 2).all())
    (torch.Size([500, 1]), True)
    """
    if not isinstance(level, (tuple, list)):
        return level
    place = torch.rand(len(x), *[1] * (x.ndim - 1), generator=generator, device=x.device, dtype=x.dtype)
    return level[0] + (level[1] - level[0]) * place


def pick_columns(x: Tensor, spec: SampleSpec, share: Level, generator: torch.Generator) -> Tensor:
    """A random mask as x, True on about `share` of the cells; all elements of one column's cell fall together."""
    part = drawn(share, x, generator)
    shape = list(x.shape)
    shape[spec.axis] = spec.n_columns
    draw = torch.rand(shape, generator=generator, device=x.device, dtype=torch.float32)
    return spec.spread(draw < part)
