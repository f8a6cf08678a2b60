"""Damage: a way to spoil a sample on purpose, for denoising, restoring and tests."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit, Part
from isthmus.spec import SampleSpec

#: How strong a damage is: a number, or (least, most), between which each sample draws its own.
Level = float | tuple[float, float]
#: The sides of what falls together: one number for all axes, or one for each axis but that of the channels.
Patch = int | Sequence[int]


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


def pick_patches(
    x: Tensor, spec: SampleSpec, share: Level, patch: Patch, generator: torch.Generator, weight: Tensor | None = None
) -> Tensor:
    """A random mask as x, True on whole patches: the share of each sample's patches, rounded, and always as many.

    Patches lie side by side from the first element on, with all channels; of a table row they are neighbouring columns.
    A patch without any present value (weight above 0) counts for nothing.

    >>> mask = pick_patches(torch.zeros(9, 1, 28, 28), SampleSpec((1, 28, 28)), 0.75, 4, torch.Generator())
    >>> mask.flatten(1).sum(1).unique().tolist()  # 37 of 49 patches of 16 pixels in every sample
    [592]
    """
    places = x.new_ones(x.shape) if weight is None else (weight > 0).to(x)
    has_axes = len(spec.shape) > 1
    places = places.movedim(spec.axis, -1).amax(-1) if has_axes else spec.gather(places).clamp_max(1)  # (B, *sizes)
    sides, sizes = patch_sides(patch, places.ndim - 1), places.shape[1:]
    grid = [-(-size // side) for size, side in zip(sizes, sides, strict=True)]
    present = _pooled(places, sides, grid)
    draw = torch.rand(present.shape, generator=generator, device=x.device, dtype=torch.float32)
    rank = draw.masked_fill(present <= 0, torch.inf).argsort(1).argsort(1)
    part = drawn(share, present, generator)
    fallen = (rank < (part * (present > 0).sum(1, keepdim=True)).round()).unflatten(1, grid)
    for axis, (side, size) in enumerate(zip(sides, sizes, strict=True), start=1):
        fallen = fallen.repeat_interleave(side, axis).narrow(axis, 0, size)
    return fallen.unsqueeze(-1).movedim(-1, spec.axis).expand(x.shape) if has_axes else spec.spread(fallen)


def patch_sides(patch: Patch, n_axes: int) -> list[int]:
    """One side for each axis."""
    sides = [patch] * n_axes if isinstance(patch, int) else list(patch)
    if len(sides) != n_axes:
        raise SettingError(
            f"patch is {patch!r}; these samples need one number for each of {n_axes} axes, or one number."
        )
    return sides


def check_patch(part: Part, patch: object) -> None:
    """A sentence where `patch` is neither None nor the sides of a patch."""
    sides = patch if isinstance(patch, (tuple, list)) else [patch]
    if patch is not None and not (sides and all(map(Limit(1, whole=True).allows, sides))):
        raise SettingError(
            f"patch of {part.name()} is {patch!r}; it must be a whole number of at least 1, one such number for each "
            "axis, or None for single cells."
        )


def _pooled(places: Tensor, sides: Sequence[int], grid: Sequence[int]) -> Tensor:
    """The largest value of each patch: (B, *sizes) → (B, T)."""
    more = [(0, side * count - size) for side, count, size in zip(sides, grid, places.shape[1:], strict=True)]
    padded = torch.nn.functional.pad(places, [end for pair in reversed(more) for end in pair])
    cells = padded.reshape(len(places), *(n for pair in zip(grid, sides, strict=True) for n in pair))
    return cells.amax(tuple(range(2, cells.ndim, 2))).flatten(1)
