from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import DataError, SettingError
from isthmus.networks._activations import ACTIVATIONS
from isthmus.networks._conv_heads import FromGrid, FromVector, ToGrid, ToVector
from isthmus.networks._conv_layers import (
    NORMALISATIONS,
    UPS,
    Down,
    SameConvolution,
    Size,
    Up,
    cleared,
    coarser,
    halved,
    outside_of,
)
from isthmus.networks._conv_skips import (
    SPREAD,
    GridToPacked,
    PackedToGrid,
    Past,
    pack,
    packed_size,
    spread_in,
    unpack,
)
from isthmus.networks.base import EncoderDecoder, Network, mask_absent
from isthmus.part import Limit
from isthmus.spec import SampleSpec

DOWNS = ("stride", "pool")
CODES = ("dense", "grid")


class Conv(Network):
    """Convolutions for pictures: each stage halves the resolution on the way in and doubles it on the way out.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    Height and width come back exactly, whatever they are: halves are rounded up, and the way out goes back to the sizes
    of the way in. Masci et al. 2011, "Stacked Convolutional Auto-Encoders".

    A dense code is one vector for a picture of one size. A grid of codes has n_components numbers at each position of
    the lowest resolution, (h, w, n_components); it takes pictures of any size, also of other sizes than in training,
    whose size is then read from the weight. A smaller picture in a padded batch gets the code and the output that it
    gets alone; padding is what lies below or right of the last weight that is not 0. A value that is absent there but
    belongs to the picture may be given a weight below 0 instead. Where values may be absent the first layer also hears
    which ones are.

    Parameters
    ----------
    channels : maps of each stage from the outside in; the resolution is halved once for each of them.
    kernel_size : height and width of the convolutions, in pixels.
    down : "stride" (a convolution in steps of two) or "pool" (a convolution, then the largest of 2 x 2).
    up : "transposed" (a transposed convolution), "upsample" (repeat, then a convolution) or "project" (a projection to
        2 x 2 values, reshaped).
    residual : residual blocks of two convolutions in each stage, both ways.
    code : "dense" (one vector) or "grid" (a vector at each position of the lowest resolution).
    activation : relu, gelu, elu, selu, silu, leaky_relu, tanh, sigmoid or linear; the code and the output are linear.
    normalisation : None, "batch" or "group", before each activation; "group" looks at the whole picture.
    dropout : share of the maps silenced in training, at least 0 and below 1.
    skips : True makes it a U-Net, for restoring: the code is a grid that also carries the picture and the maps of every
        stage, and what comes out is the picture with a correction. By default it has all their numbers, more than the
        picture; with a smaller n_components a projection draws them together. Absent values start as a smooth surface
        through those around them.

    Raises
    ------
    SettingError : for a setting out of range, samples that are no pictures (channels, height, width), or a dense code
        for pictures of several sizes.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> net = Conv(channels=(8, 16), code="grid").build(SampleSpec((3, 33, 50)), 4, 4, 3)
    >>> code = net.encoder(torch.zeros(1, 3, 33, 50))
    >>> code.shape, net.decoder(code).shape
    (torch.Size([1, 9, 13, 4]), torch.Size([1, 3, 33, 50]))
    """

    aliases = ("convolutional", "cnn")

    limits = {"kernel_size": Limit(1, whole=True), "residual": Limit(0, whole=True)}

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        down: str = "stride",
        up: str = "transposed",
        residual: int = 0,
        code: str = "dense",
        activation: str = "gelu",
        normalisation: str | None = None,
        dropout: float = 0.0,
        skips: bool = False,
    ):
        self.channels = channels
        self.kernel_size = kernel_size
        self.down = down
        self.up = up
        self.residual = residual
        self.code = code
        self.activation = activation
        self.normalisation = normalisation
        self.dropout = dropout
        self.skips = skips

    @classmethod
    def examples(cls) -> list[Self]:
        return [
            cls(channels=(6, 8)),
            cls(channels=(6, 8), code="grid", up="upsample", residual=1),
            cls(channels=(6, 8), code="grid", down="pool", up="project", normalisation="group"),
            cls(channels=(4, 6), residual=1, skips=True, activation="relu"),
            cls(channels=(6, 8), kernel_size=4, up="project", normalisation="batch", dropout=0.1, activation="silu"),
        ]

    def code_size(self, spec: SampleSpec) -> int | None:
        """A grid of codes has half as many numbers as the picture, unless it is told how many; with skips all."""
        if self.skips:
            return packed_size([spec.n_channels, *self.channels])
        return max(1, spec.n_channels * 4 ** len(self.channels) // 2) if self.code == "grid" else None

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        self.check()
        self._check(spec)
        return _ConvModule(self, spec, n_features, n_components, n_parameters)

    def _check(self, spec: SampleSpec) -> None:
        if len(spec.shape) != 3 or spec.channels != 0:
            raise SettingError(
                f"conv reads pictures (channels, height, width), and these samples have shape {spec.shape}; "
                "use network='dense'."
            )
        choices = {"down": DOWNS, "up": UPS, "code": CODES, "activation": ACTIVATIONS}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} of conv is {value!r}; it must be one of {', '.join(allowed)}.")
        if self.normalisation is not None and self.normalisation not in NORMALISATIONS:
            raise SettingError(f"normalisation of conv is {self.normalisation!r}; it must be None, 'batch' or 'group'.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout of conv is {self.dropout!r}; it must be at least 0 and below 1.")
        channels: object = self.channels
        if (
            not isinstance(channels, (tuple, list))
            or not channels
            or not all(map(Limit(1, whole=True).allows, channels))
        ):
            raise SettingError(
                f"channels of conv is {self.channels!r}; it must be whole numbers of at least 1, such as (32, 64), one "
                "for each halving of the resolution."
            )
        if self.code == "dense" and spec.free and not self.skips:
            raise SettingError(
                "these pictures have several sizes, and a dense code is for one: give code='grid', or pictures of one "
                "size."
            )


class _ConvModule(EncoderDecoder):
    def __init__(self, settings: Conv, spec: SampleSpec, n_features: int, n_code: int, n_out: int):
        super().__init__()
        sizes = _sizes(spec.shape[1:], len(settings.channels))
        self.encoder = _Encoder(settings, spec, sizes, n_features)
        self.decoder = _Decoder(settings, spec, sizes, n_code, n_out)
        self.skips = settings.skips
        if settings.code == "grid" or settings.skips:
            self.code_axes = 3
            self.stride = 2 ** len(settings.channels)
            around = SPREAD if settings.skips and spec.gaps else 0
            self.reach = None if settings.normalisation == "group" else _reach(settings) + around

    def stages(self) -> list[tuple[nn.Module, nn.Module]]:
        if self.skips:  # no layer of it undoes another alone
            return []
        down = [*cast(nn.ModuleList, self.encoder.layers), cast(nn.Module, self.encoder.head)]
        up = [cast(nn.Module, self.decoder.head), *cast(nn.ModuleList, self.decoder.layers)]
        return list(zip(down, reversed(up), strict=True))


class _Encoder(nn.Module):
    def __init__(self, settings: Conv, spec: SampleSpec, sizes: list[Size], n_features: int):
        super().__init__()
        self.skips = settings.skips
        self.spreads = settings.skips and spec.gaps
        self.shape = spec.shape if settings.code == "dense" and not settings.skips else None
        self.free = bool(spec.free)
        widths = [spec.n_channels, *settings.channels]
        self.layers = nn.ModuleList(
            Down(settings, n_in, n_out, hears_absent=spec.gaps and index == 0)
            for index, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )
        if self.shape is not None:
            self.head: nn.Module = ToVector(widths[-1], sizes[-1], n_features)
        elif settings.skips:
            self.head = PackedToGrid(packed_size(widths), n_features)
        else:
            self.head = ToGrid(widths[-1], n_features)

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        if self.shape is not None and x.shape[1:] != self.shape:
            raise DataError(
                f"a picture has shape {tuple(x.shape[1:])}, and this network's dense code is for {self.shape}; resize "
                "it, or train with code='grid'."
            )
        outside = outside_of(weight) if self.free and weight is not None else None
        absent = None if weight is None else cleared((weight <= 0).to(x), outside)
        hidden = spread_in(x, weight, outside) if self.spreads else mask_absent(x, weight)
        maps = [hidden]
        for layer in self.layers:
            hidden = layer(hidden, outside, absent)
            maps.append(hidden)
            absent, outside = None, coarser(outside)
            if activations is not None:
                activations.append(hidden)
        features = self.head(pack(maps) if self.skips else hidden, outside)
        if activations is not None:
            activations.append(features)
        return cast(Tensor, features)


class _Decoder(nn.Module):
    def __init__(self, settings: Conv, spec: SampleSpec, sizes: list[Size], n_code: int, n_out: int):
        super().__init__()
        self.free = bool(spec.free)
        self.grid = settings.code == "grid" or settings.skips
        self.widths = [spec.n_channels, *settings.channels] if settings.skips else None
        self.head = _head(settings, self.widths, sizes[-1], n_code)
        widths = [settings.channels[0], *settings.channels]
        self.layers = nn.ModuleList(
            Up(settings, widths[depth + 1], widths[depth], sizes[depth], n_out if depth == 0 else None)
            for depth in reversed(range(len(settings.channels)))
        )
        self.past = None
        if settings.skips:
            self.past = Past(spec.n_channels, n_out)
            with torch.no_grad():  # the correction starts small
                cast(SameConvolution, cast(Up, self.layers[-1]).raw).weight.mul_(0.05)

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        outsides = [outside_of(weight) if self.free and weight is not None else None]
        for _ in self.layers:
            outsides.append(coarser(outsides[-1]))
        sizes = self._way(code, weight, previous)
        if self.widths is not None:
            return self._with_skips(unpack(self.head(code), self.widths), sizes, outsides)
        hidden = self.head(code, outsides.pop())
        for layer, size in zip(self.layers, sizes, strict=True):
            hidden = layer(hidden, size, outsides.pop())
        return cast(Tensor, hidden)

    def _with_skips(self, maps: list[Tensor], sizes: list[Size | None], outsides: list[Tensor | None]) -> Tensor:
        """Each map of the way in joins what comes up to its resolution."""
        hidden = cleared(maps.pop(), outsides.pop())
        for layer, size in zip(self.layers, sizes, strict=True):
            outside, skip = outsides.pop(), maps.pop()
            hidden = layer(hidden, size, outside)
            if maps:
                hidden = hidden + cleared(skip[..., : hidden.shape[2], : hidden.shape[3]], outside)
        assert self.past is not None
        return cast(Tensor, self.past(hidden, skip))

    def _way(self, code: Tensor, weight: Tensor | None, previous: Tensor | None) -> list[Size | None]:
        """The size after each layer, where something tells the picture's size."""
        told = weight if weight is not None else previous
        if not self.grid or told is None:
            return [None] * len(self.layers)
        sizes = _sizes(told.shape[2:], len(self.layers))
        if sizes[-1] != tuple(code.shape[1:3]):
            raise DataError(
                f"a picture of {sizes[0][0]} x {sizes[0][1]} has {sizes[-1][0]} x {sizes[-1][1]} codes, not "
                f"{code.shape[1]} x {code.shape[2]}."
            )
        return list(reversed(sizes[:-1]))


def _head(settings: Conv, widths: list[int] | None, lowest: Size, n_code: int) -> nn.Module:
    """From the code to the lowest resolution."""
    if widths is not None:
        return GridToPacked(n_code, packed_size(widths))
    deepest = settings.channels[-1]
    if settings.code == "grid":
        return FromGrid(settings, n_code, deepest)
    return FromVector(settings, n_code, deepest, lowest)


def _sizes(size: Sequence[int], n_stages: int) -> list[Size]:
    """The size at each resolution, from the picture's own to the lowest."""
    sizes = [(size[0], size[1])]
    for _ in range(n_stages):
        sizes.append(halved(sizes[-1]))
    return sizes


def _reach(settings: Conv) -> int:
    """How many pixels away an output may look, at most, with a grid of codes."""
    half = settings.kernel_size // 2
    total = half  # of the last convolution
    for depth in range(len(settings.channels)):
        fine, coarse = 2**depth, 2 ** (depth + 1)
        total += fine * half + (coarse if settings.up == "project" else fine) * half
        total += 4 * settings.residual * coarse * half
        if settings.down == "pool" or settings.up != "transposed":  # the one looks further right, the other left
            total += fine
    return total
