"""SampleSpec: what one sample looks like as a tensor.

A table row is a vector whose elements belong to columns: a number takes one element, a category one element per
level. A picture is (channels, height, width), a series (steps, channels).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["numeric", "boolean", "categorical"]


@dataclass(frozen=True)
class Column:
    """One column of a table, or one channel: its name, its kind, and how many elements it takes."""

    name: str
    kind: Kind = "numeric"
    size: int = 1


@dataclass(frozen=True)
class SampleSpec:
    """The shape of one sample, and what its elements mean.

    Parameters
    ----------
    shape : the sizes of the axes of one sample; a free axis has the longest size seen in training.
    channels : which axis holds the channels or columns.
    free : axes whose length differs from sample to sample (padded in a batch, padding has weight 0).
    columns : what the channel axis is made of; empty means one number per channel.
    gaps : whether values may be absent, so that a network listens to the weight.

    >>> spec = SampleSpec((4,), columns=(Column("age"), Column("colour", "categorical", 3)))
    >>> spec.size, spec.n_columns, spec.elements("categorical").tolist()
    (4, 2, [1, 2, 3])
    """

    shape: tuple[int, ...]
    channels: int = 0
    free: tuple[int, ...] = ()
    columns: tuple[Column, ...] = ()
    gaps: bool = False

    @property
    def size(self) -> int:
        """How many elements one sample has."""
        return prod(self.shape)

    @property
    def n_channels(self) -> int:
        return self.shape[self.channels]

    @property
    def axis(self) -> int:
        """The channel axis counted from the end, so that it holds whatever axes stand before the sample's own."""
        return self.channels - len(self.shape)

    @property
    def n_columns(self) -> int:
        return len(self.columns) or self.n_channels

    @cached_property
    def column_of(self) -> Tensor:
        """For each channel element the index of its column, shape (n_channels,); always on the CPU."""
        if not self.columns:
            return torch.arange(self.n_channels, device="cpu")
        sizes = torch.tensor([column.size for column in self.columns], device="cpu")
        return torch.repeat_interleave(torch.arange(len(self.columns), device="cpu"), sizes)

    def elements(self, kind: Kind) -> Tensor:
        """The channel elements that belong to columns of this kind, in order."""
        if not self.columns:
            return torch.arange(self.n_channels if kind == "numeric" else 0, device="cpu")
        chosen = torch.tensor([column.kind == kind for column in self.columns], device="cpu")
        return torch.nonzero(chosen[self.column_of]).flatten()

    def spread(self, per_column: Tensor) -> Tensor:
        """One value per column becomes one per element along the channel axis."""
        return per_column.index_select(self.axis, self.column_of.to(per_column.device))

    def gather(self, per_element: Tensor) -> Tensor:
        """The sum over each column's elements along the channel axis; the inverse direction of `spread`."""
        shape = list(per_element.shape)
        shape[self.axis] = self.n_columns
        index = self.column_of.to(per_element.device)
        return per_element.new_zeros(shape).index_add_(per_element.ndim + self.axis, index, per_element)
