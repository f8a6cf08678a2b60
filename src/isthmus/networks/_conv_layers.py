"""The layers of a convolutional network: sizes come back exactly, and nothing exists outside a picture.

Axes: B samples, C channels, H and W height and width at one resolution, h and w at the next coarser one, which is half
of it rounded up. `outside` (B, 1, H, W) is True where a batch was padded around a smaller picture; what stands there is
zero after every layer, as it would be beyond the border of the picture alone. None where nothing was padded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.networks._activations import ACTIVATIONS, gain

Size = tuple[int, int]


class Settings(Protocol):
    """What the layers are told of a network's settings."""

    kernel_size: int
    down: str
    up: str
    residual: int
    activation: str
    normalisation: str | None
    dropout: float


def halved(size: Size) -> Size:
    """The next coarser resolution, so that 1 x 1 stays what it is.

    >>> halved((5, 1))
    (3, 1)
    """
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def coarser(outside: Tensor | None) -> Tensor | None:
    """What lies outside at the next coarser resolution: cell i there begins at cell 2 i here."""
    return None if outside is None else outside[..., ::2, ::2]


def cleared(hidden: Tensor, outside: Tensor | None, value: float = 0.0) -> Tensor:
    return hidden if outside is None else hidden.masked_fill(outside, value)


def outside_of(weight: Tensor) -> Tensor:
    """Where a batch was padded, (B, 1, H, W): the rows below and the columns right of the last weight that is not 0."""
    told = (weight != 0).any(1, keepdim=True)
    rows = told.any(3, keepdim=True).flip(2).cumsum(2).flip(2)
    columns = told.any(2, keepdim=True).flip(3).cumsum(3).flip(3)
    return (rows == 0) | (columns == 0)


def start(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, n_inputs: float, factor: float) -> None:
    """Random weights that keep the spread of what they are given, times the factor; biases of zero."""
    nn.init.normal_(layer.weight, std=factor / math.sqrt(max(n_inputs, 1.0)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class SameConvolution(nn.Conv2d):
    """(B, n_in, H, W) → (B, n_out, H, W), or every second row and column of it; even kernels look further right."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int = 1, bias: bool = True, factor: float = 1):
        super().__init__(n_in, n_out, kernel_size, stride, padding=(kernel_size - 1) // 2, bias=bias)
        self.more = 1 - kernel_size % 2
        start(self, n_in * kernel_size**2, factor)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, self.more, 0, self.more)) if self.more else x)


# ---- after a convolution


def _moments(x: Tensor, outside: Tensor | None, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and number of the values inside, each with the axes kept."""
    inside = torch.ones_like(x) if outside is None else (~outside).to(x).expand_as(x)
    count = inside.sum(axes, keepdim=True).clamp_min(1)
    mean = (x * inside).sum(axes, keepdim=True) / count
    return mean, ((x - mean).square() * inside).sum(axes, keepdim=True) / count, count


class BatchNormalisation(nn.BatchNorm2d):
    """By the mean and variance of each channel in the batch; at prediction, by those remembered."""

    def forward(self, x: Tensor, outside: Tensor | None = None) -> Tensor:
        if self.training and outside is None and len(x) * x.shape[2] * x.shape[3] > 1:
            return super().forward(x)
        if not self.training or outside is None:  # a single value has no spread of its own
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        mean, variance, count = _moments(x, outside, (0, 2, 3))
        self._remember(mean.flatten(), variance.flatten(), count.flatten())
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        momentum = cast(float, self.momentum)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / (count - 1).clamp_min(1), momentum)
        self.num_batches_tracked += 1


class GroupNormalisation(nn.GroupNorm):
    """By the mean and variance of some channels of each sample; at least four channels, where there are as many."""

    def __init__(self, n_channels: int):
        fitting = (n for n in range(1, 9) if n_channels % n == 0 and n <= max(1, n_channels // 4))
        super().__init__(max(fitting), n_channels)

    def forward(self, x: Tensor, outside: Tensor | None = None) -> Tensor:
        if outside is None:
            return super().forward(x)
        groups = x.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, H, W)
        mean, variance, _ = _moments(groups, outside.unsqueeze(1), (2, 3, 4))
        normal: Tensor = ((groups - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": BatchNormalisation, "group": GroupNormalisation}


class Finish(nn.Module):
    """Normalisation, activation and dropout of whole channels, and zero outside."""

    def __init__(self, settings: Settings, n_channels: int):
        super().__init__()
        norm = settings.normalisation
        self.normalisation = None if norm is None else NORMALISATIONS[norm](n_channels)
        self.activation = ACTIVATIONS[settings.activation]()
        self.dropout = nn.Dropout2d(settings.dropout) if settings.dropout else None

    def forward(self, hidden: Tensor, outside: Tensor | None = None) -> Tensor:
        hidden = hidden.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU from here on
        if self.normalisation is not None:
            hidden = self.normalisation(hidden, outside)
        hidden = self.activation(hidden)
        return cleared(hidden if self.dropout is None else self.dropout(hidden), outside)


class Block(nn.Module):
    """x + a correction by two convolutions, small at the start (He et al. 2016)."""

    def __init__(self, settings: Settings, n_channels: int):
        super().__init__()
        bias = settings.normalisation is None
        kernel = settings.kernel_size
        self.first = SameConvolution(n_channels, n_channels, kernel, bias=bias, factor=gain(settings.activation))
        self.finish = Finish(settings, n_channels)
        self.second = SameConvolution(n_channels, n_channels, kernel, factor=0.1)

    def forward(self, x: Tensor, outside: Tensor | None = None) -> Tensor:
        return cleared(x + self.second(self.finish(self.first(x), outside)), outside)


# ---- half the resolution


class Down(nn.Module):
    """(B, n_in, H, W) → (B, n_out, h, w): by a stride of two, or by taking the largest of 2 x 2 after the activation.

    `absent` (B, n_in, H, W), where given, is 1 at values that are absent; the weights it meets are zero at the start.
    """

    def __init__(self, settings: Settings, n_in: int, n_out: int, hears_absent: bool = False):
        super().__init__()
        stride = 2 if settings.down == "stride" else 1
        kernel, norm = settings.kernel_size, settings.normalisation
        self.convolution = SameConvolution(n_in, n_out, kernel, stride, norm is None, gain(settings.activation))
        self.absent = SameConvolution(n_in, n_out, kernel, stride, bias=False, factor=0.0) if hears_absent else None
        self.finish = Finish(settings, n_out)
        self.blocks = nn.ModuleList(Block(settings, n_out) for _ in range(settings.residual))
        self.pool = stride == 1

    def forward(self, x: Tensor, outside: Tensor | None = None, absent: Tensor | None = None) -> Tensor:
        hidden = self.convolution(x)
        if self.absent is not None and absent is not None:
            hidden = hidden + self.absent(absent)
        hidden = self.finish(hidden, outside if self.pool else coarser(outside))
        outside_now = coarser(outside)
        if self.pool:
            largest = functional.max_pool2d(cleared(hidden, outside, -math.inf), 2, ceil_mode=True)
            hidden = cleared(largest, outside_now)
        for block in self.blocks:
            hidden = block(hidden, outside_now)
        return cast(Tensor, hidden)


# ---- twice the resolution, to an exact size


class Transposed(nn.Module):
    """A transposed convolution: what a convolution with a stride of two does, the other way round."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, bias: bool, factor: float):
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.convolution = nn.ConvTranspose2d(n_in, n_out, kernel_size, 2, padding, bias=bias)
        start(self.convolution, n_in * kernel_size**2 / 4, factor)  # a quarter of the kernel meets each output
        self.least = kernel_size - 2 - 2 * padding

    def forward(self, x: Tensor, size: Size, outside: Tensor | None) -> Tensor:
        lengths = [max(wanted, 2 * now + self.least) for wanted, now in zip(size, x.shape[2:], strict=True)]
        return cast(Tensor, self.convolution(x, lengths))[..., : size[0], : size[1]]


class Upsampled(nn.Module):
    """Every value four times, then a convolution: no checkerboard (Odena et al. 2016)."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, bias: bool, factor: float):
        super().__init__()
        self.convolution = SameConvolution(n_in, n_out, kernel_size, bias=bias, factor=factor)

    def forward(self, x: Tensor, size: Size, outside: Tensor | None) -> Tensor:
        large = functional.interpolate(x, scale_factor=2.0, mode="nearest")[..., : size[0], : size[1]]
        return cast(Tensor, self.convolution(cleared(large, outside)))


class Projected(nn.Module):
    """A projection to four times the channels, reshaped to 2 x 2 values each (Shi et al. 2016)."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, bias: bool, factor: float):
        super().__init__()
        self.convolution = SameConvolution(n_in, 4 * n_out, kernel_size, bias=bias, factor=factor)
        with torch.no_grad():  # the four start as equals, so that there is no checkerboard at first
            self.convolution.weight.copy_(self.convolution.weight[::4].repeat_interleave(4, 0))

    def forward(self, x: Tensor, size: Size, outside: Tensor | None) -> Tensor:
        return functional.pixel_shuffle(self.convolution(x), 2)[..., : size[0], : size[1]]


UPS: dict[str, type[Transposed | Upsampled | Projected]] = {
    "transposed": Transposed,
    "upsample": Upsampled,
    "project": Projected,
}


class Up(nn.Module):
    """(B, n_in, h, w) → (B, n_out, H, W); with `n_raw`, a last plain convolution to as many channels.

    `nominal` is the size that samples in training have here: without another, what is as large as they were goes there,
    and anything else to twice its size.
    """

    def __init__(self, settings: Settings, n_in: int, n_out: int, nominal: Size, n_raw: int | None = None):
        super().__init__()
        self.nominal = nominal
        kernel, norm = settings.kernel_size, settings.normalisation
        self.blocks = nn.ModuleList(Block(settings, n_in) for _ in range(settings.residual))
        self.up = UPS[settings.up](n_in, n_out, kernel, norm is None, gain(settings.activation))
        self.finish = Finish(settings, n_out)
        self.raw = None if n_raw is None else SameConvolution(n_out, n_raw, kernel, factor=0.5)

    def forward(self, hidden: Tensor, size: Size | None = None, outside: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            hidden = block(hidden, coarser(outside))
        hidden = self.finish(self.up(hidden, size or self._size(hidden), outside), outside)
        return hidden if self.raw is None else cast(Tensor, self.raw(hidden))

    def _size(self, hidden: Tensor) -> Size:
        known = zip(self.nominal, halved(self.nominal), hidden.shape[2:], strict=True)
        height, width = (fine if coarse == now else 2 * now for fine, coarse, now in known)
        return height, width
