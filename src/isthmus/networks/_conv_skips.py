"""A U-Net's skips (Ronneberger et al. 2015) as a part of the code: nothing reaches the decoder past it.

All maps that the decoder is to see, from the picture itself to the lowest resolution, are laid into one grid at the
lowest resolution: a finer map's cells become channels there.

Axes: B samples, C channels, H and W height and width of a map, h and w at the lowest resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.networks._conv_layers import SameConvolution, cleared


def packed_size(widths: Sequence[int]) -> int:
    """How many numbers one place of the grid holds, for maps of these widths from the finest on.

    >>> packed_size([1, 8, 16])
    64
    """
    return sum(width * 4**depth for depth, width in enumerate(reversed(widths)))


def pack(maps: Sequence[Tensor]) -> Tensor:
    """Maps from the finest to the coarsest, each half as large as the one before, rounded up: (B, K, h, w)."""
    height, width = maps[-1].shape[2:]
    packed = []
    for depth, each in enumerate(reversed(maps)):
        side = 2**depth
        missing = (0, side * width - each.shape[3], 0, side * height - each.shape[2])
        packed.append(functional.pixel_unshuffle(functional.pad(each, missing), side))
    return torch.cat(packed, 1)


def unpack(packed: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The maps again, from the finest to the coarsest; sizes that were odd come back one larger."""
    pieces = packed.split([width * 4**depth for depth, width in enumerate(reversed(widths))], 1)
    return [functional.pixel_shuffle(piece, 2**depth) for depth, piece in enumerate(pieces)][::-1]


class PackedToGrid(nn.Module):
    """(B, K, h, w) → (B, h, w, n_features): as they are where the numbers agree, else by a projection."""

    def __init__(self, n_packed: int, n_features: int):
        super().__init__()
        self.linear = SameConvolution(n_packed, n_features, 1) if n_packed != n_features else None

    def forward(self, packed: Tensor, outside: Tensor | None = None) -> Tensor:
        features = packed if self.linear is None else cleared(self.linear(packed), outside)
        return features.movedim(1, -1)


class GridToPacked(nn.Module):
    """(B, h, w, n_components) → (B, K, h, w)."""

    def __init__(self, n_components: int, n_packed: int):
        super().__init__()
        self.linear = SameConvolution(n_components, n_packed, 1) if n_packed != n_components else None

    def forward(self, code: Tensor) -> Tensor:
        packed = code.movedim(-1, 1)
        return packed if self.linear is None else cast(Tensor, self.linear(packed))


class Past(nn.Module):
    """The picture itself on its way past all layers: at the start it comes out as it is, and they only correct it."""

    def __init__(self, n_channels: int, n_raw: int):
        super().__init__()
        self.linear = SameConvolution(n_channels, n_raw, 1, bias=False, factor=0.0)
        with torch.no_grad():
            same = min(n_channels, n_raw)
            self.linear.weight[range(same), range(same)] = 1.0

    def forward(self, raw: Tensor, picture: Tensor) -> Tensor:
        return raw + cast(Tensor, self.linear(picture[..., : raw.shape[2], : raw.shape[3]]))


#: Heights and widths of the places around an absent value, in pixels.
WINDOWS = (3, 9, 27, 81)
#: How often the first guess is smoothed, how far a step goes (the operator's norm is at most 64), and what a step keeps
#: of the one before (Polyak 1964).
STEPS, RATE, MOMENTUM = 12, 1 / 64, 0.8
#: How many pixels away a value may lie that has a part in the first guess.
SPREAD = max(WINDOWS) // 2 + 2 * STEPS


def spread_in(
    x: Tensor, weight: Tensor | None, outside: Tensor | None = None, steps: int = STEPS, momentum: float = MOMENTUM
) -> Tensor:
    """The picture with a first guess of its absent values, from the values present near them.

    The guess begins as the mean in the smallest window that holds any (of all where none does), and takes a few steps
    towards the surface that bends least (biharmonic equations); more steps, with a momentum nearer to 1, get nearer.

    >>> x = torch.tensor([[[[1.0, 5.0, 3.0]]]])
    >>> spread_in(x, torch.tensor([[[[1.0, 0.0, 1.0]]]])).tolist()
    [[[[1.0, 2.0, 3.0]]]]
    """
    if weight is None:
        return x
    gone = weight <= 0
    seen, present = x.masked_fill(gone, 0.0), (~gone).to(x)
    filled, known = seen, ~gone
    for window in WINDOWS:
        if bool((known if outside is None else known | outside).all()):
            break
        sums, shares = _box_means(seen, window), _box_means(present, window)
        filled = torch.where(known, filled, sums / shares.clamp_min(0.25 / window**2))
        known = known | (shares > 0.25 / window**2)
    else:
        mean = seen.sum((2, 3), keepdim=True) / present.sum((2, 3), keepdim=True).clamp_min(1)
        filled = torch.where(known, filled, mean)
    return cleared(_smoothed(filled, gone, outside, steps, momentum), outside)


def _box_means(x: Tensor, window: int) -> Tensor:
    """The mean over the window around each place, beyond the border 0."""
    half = window // 2
    columns = functional.avg_pool2d(x, (window, 1), 1, (half, 0))
    return functional.avg_pool2d(columns, (1, window), 1, (0, half))


def _smoothed(x: Tensor, gone: Tensor, outside: Tensor | None, steps: int, momentum: float) -> Tensor:
    """What is gone bends less from place to place; the rest stays."""
    inside = torch.ones_like(x[:, :1]) if outside is None else (~outside).to(x)
    across, down = inside[..., 1:] * inside[..., :-1], inside[..., 1:, :] * inside[..., :-1, :]
    moved = torch.zeros_like(x)
    for _ in range(steps):
        bent = _bend(_bend(x, across, down), across, down)
        moved = momentum * moved - RATE * bent.masked_fill(~gone, 0.0)
        x = x + moved
    return x


def _bend(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """At each place the sum of what its neighbours within the picture differ from it (the graph's Laplacian)."""
    right = (x[..., 1:] - x[..., :-1]) * across
    below = (x[..., 1:, :] - x[..., :-1, :]) * down
    bent = functional.pad(right, (0, 1)) - functional.pad(right, (1, 0))
    return bent + functional.pad(below, (0, 0, 0, 1)) - functional.pad(below, (0, 0, 1, 0))
