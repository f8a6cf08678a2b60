"""Location and scale: what the laws of real numbers share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from isthmus.errors import SettingError


def split_scale(raw: Tensor, scale: float | str, minimum: float, axis: int) -> tuple[Tensor, Tensor]:
    """Location and scale from raw: the second half of raw is the scale where it is learned."""
    if scale == "learned":
        location, free = raw.chunk(2, dim=axis)
        return location, functional.softplus(free) + minimum
    if isinstance(scale, str) or not scale > 0:
        raise SettingError(f"scale is {scale!r}; it must be a number above 0, or 'learned'.")
    return raw, raw.new_tensor(scale)
