"""Damage: a way to spoil a sample on purpose, for denoising, restoring and tests."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.part import Part
from isthmus.spec import SampleSpec


class Damage(Part):
    """Takes clean samples, gives spoiled ones of the same shape; the input is never changed in place."""

    kind: ClassVar[str] = "damage"

    @abstractmethod
    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        """Spoil a batch, shape (B, *spec.shape)."""

    @abstractmethod
    def neutral(self) -> Self:
        """The same damage at zero strength: it gives back its input."""


def pick_columns(x: Tensor, spec: SampleSpec, share: float, generator: torch.Generator) -> Tensor:
    """A random mask as x, True on about `share` of the cells; all elements of one column's cell fall together."""
    shape = list(x.shape)
    shape[spec.axis] = spec.n_columns
    draw = torch.rand(shape, generator=generator, device=x.device, dtype=torch.float32)
    return spec.spread(draw < share)
