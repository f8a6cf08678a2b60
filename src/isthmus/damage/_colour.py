"""How light a colour is, and what makes it a colour. Axes: B pictures, H and W height and width."""

from __future__ import annotations

import torch
from torch import Tensor

#: What the eye sees of red, green and blue (ITU-R BT.601), as everywhere where colour becomes grey.
LUMA = (0.299, 0.587, 0.114)


def luma(colours: Tensor) -> Tensor:
    """How light each pixel is: (B, 3, H, W) → (B, 1, H, W)."""
    weights = torch.tensor(LUMA, dtype=colours.dtype, device=colours.device)
    return (colours * weights.reshape(3, 1, 1)).sum(1, keepdim=True)


def chroma(colours: Tensor) -> Tensor:
    """What makes each pixel no grey, (B, 3, H, W): the colours less how light they are, whose own lightness is zero.

    >>> bool(luma(chroma(torch.rand(1, 3, 2, 2))).abs().max() < 1e-6)
    True
    """
    return colours - luma(colours)


def painted(light: Tensor, tint: Tensor) -> Tensor:
    """Pixels as light as they were, with this chroma, as far as colours between 0 and 1 can have it.

    Parameters
    ----------
    light : how light each pixel is, (B, 1, H, W).
    tint : the chroma, (B, 3, H, W).

    >>> one = painted(torch.full((1, 1, 1, 1), 0.9), torch.tensor([0.2, 0.0, -0.5]).reshape(1, 3, 1, 1))
    >>> round(one.max().item(), 6), round(luma(one).item(), 6)
    (1.0, 0.9)
    """
    tint = chroma(tint)
    tiny = torch.finfo(tint.dtype).tiny
    room = torch.where(tint > 0, 1 - light, light).clamp_min(0) / tint.abs().clamp_min(tiny)
    return light + tint * room.amin(1, keepdim=True).clamp_max(1)
