"""Samples cut into patches and joined again, and which patches and places there is something to see in.

Axes: B samples, T patches of a sample in reading order, P numbers of a patch, n axes of a grid of patches (two for a
picture, one for a series), K patches that are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.spec import SampleSpec

Size = tuple[int, ...]


class Patches:
    """How samples of one kind are cut.

    Parameters
    ----------
    spec : what one sample looks like; all axes but that of the channels are cut.
    sides : how long a patch is along each of these axes.

    >>> patches = Patches(SampleSpec((1, 5, 4)), (2, 2))
    >>> x = torch.arange(20.0).reshape(1, 1, 5, 4)
    >>> patches.cut(x)[0, 0].tolist(), patches.cut(x).shape
    ([0.0, 1.0, 4.0, 5.0], torch.Size([1, 6, 4]))
    >>> torch.equal(patches.join(patches.cut(x), (5, 4)), x)
    True
    """

    def __init__(self, spec: SampleSpec, sides: Size):
        self.axis, self.sides = spec.axis, sides
        self.nominal = self.sizes(spec.shape)
        self.grid = self.grid_of(self.nominal)

    def sizes(self, shape: Sequence[int]) -> Size:
        """Of a sample or a batch with this shape, without its channels."""
        own = list(shape)[-len(self.sides) - 1 :]
        del own[self.axis]
        return tuple(own)

    def grid_of(self, sizes: Size) -> Size:
        """How many patches there are along each axis; the last may be a part of one."""
        return tuple(-(-size // side) for size, side in zip(sizes, self.sides, strict=True))

    def cut(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, T, P), with zeros where a patch is larger than what is left of the sample."""
        hidden = x.movedim(self.axis, -1)  # (B, *sizes, C)
        sizes = hidden.shape[1:-1]
        short = [-size % side for size, side in zip(sizes, self.sides, strict=True)]
        if any(short):
            hidden = functional.pad(hidden, [0, 0, *(end for more in reversed(short) for end in (0, more))])
        split = [n for count, side in zip(self.grid_of(sizes), self.sides, strict=True) for n in (count, side)]
        n_axes = len(self.sides)
        hidden = hidden.reshape(len(x), *split, x.shape[self.axis])
        order = [0, *range(1, 2 * n_axes, 2), *range(2, 2 * n_axes + 1, 2), 2 * n_axes + 1]
        return hidden.permute(order).flatten(n_axes + 1).flatten(1, n_axes)

    def join(self, tokens: Tensor, sizes: Size) -> Tensor:
        """(B, T, P) → (B, *shape): the other way round, without what is beyond the sizes."""
        n_axes, grid = len(self.sides), self.grid_of(sizes)
        hidden = tokens.reshape(len(tokens), *grid, *self.sides, tokens.shape[-1] // prod(self.sides))
        order = [0, *(axis for each in range(n_axes) for axis in (1 + each, 1 + n_axes + each)), 2 * n_axes + 1]
        hidden = hidden.permute(order)
        for axis in range(n_axes):
            hidden = hidden.flatten(1 + axis, 2 + axis).narrow(1 + axis, 0, sizes[axis])
        return hidden.movedim(-1, self.axis)

    def any_in(self, which: Tensor) -> Tensor:
        """Whether any number of a patch is True: (B, *shape) → (B, T)."""
        return self.cut(which.to(torch.uint8)).amax(-1) > 0

    def outside_of(self, weight: Tensor) -> Tensor:
        """Where a batch was padded, as weight: what lies after the last weight that is not 0 along some axis."""
        told = (weight != 0).movedim(self.axis, -1).any(-1)  # (B, *sizes)
        inside = torch.ones_like(told)
        for axis in range(1, told.ndim):
            others = [other for other in range(1, told.ndim) if other != axis]
            line = told.sum(others, keepdim=True) if others else told
            inside = inside & (line.flip(axis).cumsum(axis).flip(axis) > 0)
        return (~inside).unsqueeze(-1).movedim(-1, self.axis).expand_as(weight)


@dataclass(frozen=True)
class Shown:
    """Which patches of each sample an encoder looks at: as many for all as the sample with the most has.

    `index` is None where every sample shows all of its patches, `valid` where all samples show equally many.
    """

    index: Tensor | None  # (B, K)
    valid: Tensor | None  # (B, K); what is False only fills up

    @classmethod
    def of(cls, visible: Tensor | None) -> Shown:
        """`visible` (B, T) says where there is something to see; None is everywhere."""
        if visible is None:
            return cls(None, None)
        counts = visible.sum(1)
        least, most = torch.stack([counts.min(), counts.max()]).tolist()  # sizes must be known: one wait on a GPU
        if least == visible.shape[1]:
            return cls(None, None)
        most = max(most, 1)
        index = visible.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        valid = torch.arange(most, device=visible.device) < counts.unsqueeze(1)
        return cls(index, None if least == most else valid)

    def take(self, tokens: Tensor) -> Tensor:
        """(B or 1, T, d) → (B, K, d)."""
        if self.index is None:
            return tokens
        index = self.index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        return tokens.expand(len(index), -1, -1).gather(1, index)

    def put(self, tokens: Tensor, n_places: int) -> Tensor:
        """(B, K, d) → (B, T, d): each at its own place, zeros at the others."""
        if self.index is None:
            return tokens
        index = self.index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        return tokens.new_zeros(len(tokens), n_places, tokens.shape[-1]).scatter(1, index, self.clear(tokens))

    def clear(self, tokens: Tensor) -> Tensor:
        """Zero where a token only fills up."""
        return tokens if self.valid is None else tokens.masked_fill(~self.valid.unsqueeze(-1), 0.0)

    def mean(self, tokens: Tensor) -> Tensor:
        """Over what is shown, (B, K, d) → (B, d); zero for a sample that shows nothing."""
        if self.valid is None:
            return tokens.mean(1)
        return self.clear(tokens).sum(1) / self.valid.sum(1, keepdim=True).clamp_min(1).to(tokens)
