from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.damage.base import Damage
from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Move(Damage):
    """Pictures shifted, turned and made larger or smaller, each by its own random amount; what was outside is the edge.

    An autoencoder that has to give back the unmoved picture learns codes that do not mind, and a classifier that is
    tuned under it needs fewer labels. Not for pictures where place or angle is what matters.

    Parameters
    ----------
    shift : how far at most, as a share of the side, each way along both axes.
    turn : how far at most, in degrees, either way.
    zoom : by how much at most, as a share of the size, larger or smaller; below 1.

    Raises
    ------
    SettingError : for samples that are no pictures (channels, height, width), or a number out of range.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.zeros(1, 1, 9, 9), torch.Generator().manual_seed(1)
    >>> x[0, 0, 4, 4] = 1.0
    >>> moved = Move(shift=0.4, turn=0.0, zoom=0.0)(x, SampleSpec((1, 9, 9)), generator)
    >>> float(moved[0, 0, 4, 4]), bool((moved.sum() - 1).abs() < 1e-5)  # the point is elsewhere, and whole
    (0.0, True)
    """

    limits = {"shift": Limit(0), "turn": Limit(0, 180), "zoom": Limit(0, 0.99)}

    def __init__(self, shift: float = 0.07, turn: float = 10.0, zoom: float = 0.1):
        self.shift = shift
        self.turn = turn
        self.zoom = zoom

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        if len(spec.shape) != 3 or spec.channels != 0:
            raise SettingError(
                f"move is for pictures (channels, height, width), and these samples have shape {spec.shape}; "
                "take masking or gaussian."
            )
        draw = 2 * torch.rand(4, len(x), generator=generator, device=x.device, dtype=x.dtype) - 1
        if not (self.shift or self.turn or self.zoom):
            return x.clone()
        angle, size = draw[0] * math.radians(self.turn), 1 + draw[1] * self.zoom
        across, down = 2 * self.shift * draw[2:]  # the axes go from -1 to 1
        cosine, sine, ratio = angle.cos() / size, angle.sin() / size, x.shape[-1] / x.shape[-2]
        rows = [cosine, -sine / ratio, across, sine * ratio, cosine, down]
        grid = functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def neutral(self) -> Self:
        return type(self)(shift=0.0, turn=0.0, zoom=0.0)
