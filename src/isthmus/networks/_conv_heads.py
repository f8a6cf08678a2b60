"""From the lowest resolution of a convolutional network to features, and from codes back.

Axes: B samples, C channels, h and w height and width at the lowest resolution. `outside` as in the layers.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from isthmus.networks._activations import gain
from isthmus.networks._conv_layers import Finish, SameConvolution, Settings, Size, cleared, start


class ToVector(nn.Module):
    """(B, C, h, w) → (B, n_features)."""

    def __init__(self, n_in: int, size: Size, n_features: int):
        super().__init__()
        self.linear = _linear(n_in * size[0] * size[1], n_features, 1.0)

    def forward(self, hidden: Tensor, outside: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.linear(hidden.flatten(1)))


class FromVector(nn.Module):
    """(B, n_components) → (B, C, h, w)."""

    def __init__(self, settings: Settings, n_code: int, n_out: int, size: Size):
        super().__init__()
        self.shape = (n_out, *size)
        self.linear = _linear(n_code, n_out * size[0] * size[1], gain(settings.activation))
        self.finish = Finish(settings, n_out)

    def forward(self, code: Tensor, outside: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.finish(self.linear(code).unflatten(1, self.shape)))


class ToGrid(nn.Module):
    """(B, C, h, w) → (B, h, w, n_features)."""

    def __init__(self, n_in: int, n_features: int):
        super().__init__()
        self.linear = SameConvolution(n_in, n_features, 1)

    def forward(self, hidden: Tensor, outside: Tensor | None = None) -> Tensor:
        return cleared(self.linear(hidden), outside).movedim(1, -1)


class FromGrid(nn.Module):
    """(B, h, w, n_components) → (B, C, h, w)."""

    def __init__(self, settings: Settings, n_code: int, n_out: int):
        super().__init__()
        bias = settings.normalisation is None
        self.linear = SameConvolution(n_code, n_out, 1, bias=bias, factor=gain(settings.activation))
        self.finish = Finish(settings, n_out)

    def forward(self, code: Tensor, outside: Tensor | None = None) -> Tensor:
        # a code drawn at random stands outside too
        return cast(Tensor, self.finish(self.linear(cleared(code.movedim(-1, 1), outside)), outside))


def _linear(n_in: int, n_out: int, factor: float) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    start(layer, n_in, factor)
    return layer
