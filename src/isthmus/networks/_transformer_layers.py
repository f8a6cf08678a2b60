"""Layers of a transformer: attention, blocks, and what tells a token its place.

Axes: B samples, K tokens, d numbers of a token, H heads.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from isthmus.networks._patches import Size

WIDER = 4  # how much wider a block is between its two linear layers
FURTHEST = 100.0  # wavelengths of the positions grow up to 2 pi times this: grids are short, and so are most tokens


class Linear(nn.Linear):
    """Keeps the spread of what it is given at the start, both ways (Glorot & Bengio 2010); biases of zero."""

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class _Attend(torch.autograd.Function):
    """Attention by torch's fused kernels, whose gradients have no gradients; those go the long way."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        with torch.enable_grad():
            ctx.own = [given.detach().requires_grad_() for given in (queries, keys, values)]
            own_queries, own_keys, own_values = ctx.own
            ctx.out = scaled_dot_product_attention(own_queries, own_keys, own_values, attn_mask=mask)
        ctx.mask = mask
        ctx.save_for_backward(queries, keys, values)
        return cast(Tensor, ctx.out.detach())

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return (*torch.autograd.grad(ctx.out, ctx.own, slopes, retain_graph=True), None)
        queries, keys, values = ctx.saved_tensors
        with sdpa_kernel(SDPBackend.MATH):
            out = scaled_dot_product_attention(queries, keys, values, attn_mask=ctx.mask)
        return (*torch.autograd.grad(out, (queries, keys, values), slopes, create_graph=True), None)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(d)) v over (B, H, K, d); `mask` (B, 1, 1, K) is True at the tokens that are looked at."""
    learns = torch.is_grad_enabled() and (queries.requires_grad or keys.requires_grad or values.requires_grad)
    if learns:
        return cast(Tensor, _Attend.apply(queries, keys, values, mask))  # type: ignore[no-untyped-call]
    return scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


class Block(nn.Module):
    """(B, K, d) → (B, K, d): tokens look at each other, then each is changed by itself (Vaswani et al. 2017).

    Normalised before each of the two, which are then added to what came in (Xiong et al. 2020).
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before_looking = nn.LayerNorm(width)
        self.asking = Linear(width, 3 * width)  # queries, keys, values
        self.looked = Linear(width, width)
        self.before_change = nn.LayerNorm(width)
        self.wide = Linear(width, WIDER * width)
        self.narrow = Linear(WIDER * width, width)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        asked = self.asking(self.before_looking(tokens)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = asked.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, K, d / H)
        seen = attend(queries, keys, values, mask).transpose(1, 2).flatten(2)
        tokens = tokens + self.dropout(self.looked(seen))
        changed = self.narrow(self.activation(self.wide(self.before_change(tokens))))
        return cast(Tensor, tokens + self.dropout(changed))


class SinePositions(nn.Module):
    """Fixed sines and cosines of the place along each axis, for grids of any size: (1, T, d)."""

    def __init__(self, grid: Size, width: int):
        super().__init__()
        self.width = width

    def forward(self, grid: Size, like: Tensor) -> Tensor:
        n_waves = math.ceil(self.width / (2 * len(grid)))
        rates = FURTHEST ** (-torch.arange(n_waves, device=like.device, dtype=torch.float32) / n_waves)
        along = []
        for axis, length in enumerate(grid):
            angles = torch.arange(length, device=like.device, dtype=torch.float32).unsqueeze(1) * rates
            shape = [length if each == axis else 1 for each in range(len(grid))]
            along.append(torch.cat([angles.sin(), angles.cos()], 1).reshape(*shape, -1).expand(*grid, -1))
        return torch.cat(along, -1)[..., : self.width].flatten(0, -2).unsqueeze(0).to(like)


class LearnedPositions(nn.Module):
    """A vector of its own for each place of one grid, (1, T, d)."""

    def __init__(self, grid: Size, width: int):
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(1, math.prod(grid), width))

    def forward(self, grid: Size, like: Tensor) -> Tensor:
        return self.table


POSITIONS: dict[str, type[SinePositions | LearnedPositions]] = {"sine": SinePositions, "learned": LearnedPositions}
