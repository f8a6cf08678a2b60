"""A trained reader as a PyTorch module for elsewhere: it takes samples in the data's own units."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from isthmus.data import Images, Tables
from isthmus.data.base import Data
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.tasks._reader import Reader


class Scaling(nn.Module):
    """Columns from their own units to those that the encoder sees."""

    def __init__(self, scaler: Any, taken: Tensor | None):
        super().__init__()
        self.register_buffer("center", scaler.center.clone())
        self.register_buffer("scale", scaler.scale.clone())
        self.register_buffer("late_center", scaler.late_center.clone())
        self.register_buffer("late_scale", scaler.late_scale.clone())
        self.register_buffer("compressed", scaler.compressed.clone())
        self.register_buffer("taken", taken)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.taken is None else x[:, cast(Tensor, self.taken)]
        x = (x - cast(Tensor, self.center)) / cast(Tensor, self.scale)
        if len(places := cast(Tensor, self.compressed)):
            drawn_in = (x[:, places].asinh() - cast(Tensor, self.late_center)) / cast(Tensor, self.late_scale)
            x = x.index_copy(1, places, drawn_in)
        return x


class Range(nn.Module):
    """Pictures from their own unit to one where 0 is black and 1 is white."""

    def __init__(self, low: float, high: float):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.low) / (self.high - self.low)


class Whole(nn.Module):
    """Scaling, then the reader; NaN is an absent value, with weight zero."""

    def __init__(self, scaling: nn.Module, reader: Reader):
        super().__init__()
        self.scaling, self.reader = scaling, reader

    def forward(self, x: Tensor) -> Tensor:
        x = self.scaling(x)
        absent = x.isnan()
        return cast(Tensor, self.reader(x.masked_fill(absent, 0.0), (~absent).to(x)))


def plain_module(data: Data, reader: Reader) -> nn.Module:
    """Scaling, encoder and head, sharing no weights with the reader, in its number type."""
    reader = copy.deepcopy(reader)
    kind = reader.head.weight.dtype
    scaling = _scaling(data).to(kind)
    chain = reader.module.chain() if isinstance(reader.module, AutoencoderModule) else None
    if chain is None or data.spec.gaps:
        return Whole(scaling, reader).eval()
    layers: list[nn.Module] = [scaling, nn.Flatten()] if len(data.spec.shape) > 1 else [scaling]
    for linear, activation in chain:
        layers += [linear, activation]
    last = nn.Linear(reader.head.in_features, reader.head.out_features).to(kind)
    with torch.no_grad():  # the scale of the code goes into the head
        weight = reader.head.weight / cast(Tensor, reader.scale)
        last.weight.copy_(weight)
        last.bias.copy_(reader.head.bias - weight @ cast(Tensor, reader.mean))
    return nn.Sequential(*layers, last).eval()


def _scaling(data: Data) -> nn.Module:
    if isinstance(data, Tables):
        if not data._layout.numeric_only:
            words = next(facts.name for facts in data._layout.used if facts.kind == "categorical")
            raise SettingError(
                f"the column {words!r} holds words, which no tensor of numbers can; give the module of this model "
                "tensors as `autoencoder_.data_.batch` makes them, or turn words into numbers before fitting."
            )
        return Scaling(data._scaler, data._layout.taken)
    if isinstance(data, Images):
        low, high = data._state.extent.ends(data._state.form.dtype)
        return Range(float(low), float(high))
    raise SettingError(f"{data.name()} have no tensor in units of their own; use `predict`.")
