"""What the laws of counts share: means from raw numbers, dispersions, and gammas that stay exact.

Axes: as in base.py; `total` and what is summed over a row keep the channel axis, with length 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution

Link = Literal["softplus", "exp", "softmax"]
LINKS = ("softplus", "exp", "softmax")


def wide(values: Tensor) -> Tensor:
    """In float64 where the device has it: the gammas of large counts differ in digits that float32 does not keep."""
    return values if values.device.type == "mps" else values.double()


def log_softplus(raw: Tensor) -> Tensor:
    """log(log(1 + exp(raw))), straight far below 0, where softplus itself would be 0."""
    low = raw < -15
    return torch.where(low, raw - raw.clamp_max(-15).exp() / 2, functional.softplus(raw.clamp_min(-15)).log())


class PerColumn(nn.Module):
    """One dispersion for each element of the channel axis, the same in all samples."""

    def __init__(self, n_channels: int):
        super().__init__()
        self.free = nn.Parameter(torch.zeros(n_channels))


def split_dispersion(
    raw: Tensor, dispersion: float | str, minimum: float, axis: int, trained: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """What is left of raw, and the dispersion: the second half of raw where it is learned, one for each column where
    that is wanted; before a module has built them those are what they begin with.
    """
    if dispersion == "per_column":
        free = trained.free if isinstance(trained, PerColumn) else raw.new_zeros(raw.shape[axis])
        return raw, functional.softplus(free.view(-1, *[1] * (-axis - 1))) + minimum
    if dispersion == "learned":
        rest, free = raw.chunk(2, dim=axis)
        return rest, functional.softplus(free) + minimum
    if isinstance(dispersion, str) or not dispersion > 0:
        raise SettingError(f"dispersion is {dispersion!r}; it must be a number above 0, 'learned' or 'per_column'.")
    return raw, raw.new_tensor(dispersion)


def gamma_draw(concentration: Tensor, generator: torch.Generator | None) -> Tensor:
    """One draw of the gamma law with mean `concentration`, never 0."""
    drawn = torch._standard_gamma(concentration, generator=generator)
    return drawn.clamp_min(torch.finfo(drawn.dtype).tiny)


def row_total(target: Tensor, weight: Tensor | None, axis: int) -> Tensor:
    """The sum of a row's present values."""
    present = target if weight is None else torch.where(weight > 0, target, 0.0)
    return present.clamp_min(0).sum(axis, keepdim=True)


def log_share_present(log_shares: Tensor, weight: Tensor | None, axis: int) -> Tensor | float:
    """The log of what the shares of a row's present values sum to; 0 for a row without any."""
    if weight is None:
        return 0.0
    present = weight > 0
    total = torch.where(present, log_shares, torch.finfo(log_shares.dtype).min).logsumexp(axis, keepdim=True)
    return torch.where(present.any(axis, keepdim=True), total, 0.0)


class Means:
    """The logs of the means that raw describes.

    Parameters
    ----------
    raw : one number per element.
    link : how a mean follows from it.
    library : what the means are multiplied with.
    axis : the channel axis, counted from the end.
    """

    def __init__(self, raw: Tensor, link: str, library: float, axis: int):
        if link not in LINKS:
            raise SettingError(f"link is {link!r}; it must be one of {', '.join(LINKS)}.")
        self.raw, self.link, self.library, self.axis = raw, link, library, axis
        if link == "softmax":
            logs = raw.log_softmax(axis)
        else:
            logs = raw if link == "exp" else log_softplus(raw)
        self.shares = logs
        self.logs = logs + math.log(library)

    def given(self, target: Tensor, weight: Tensor | None) -> Means:
        """Under softmax, the means that sum to the row's total over what is present; others know their size."""
        if self.link != "softmax":
            return self
        known = Means(self.raw, self.link, self.library, self.axis)
        tiny = torch.finfo(self.raw.dtype).tiny
        total = row_total(target, weight, self.axis).clamp_min(tiny)  # of an empty row all means are as good as 0
        known.logs = self.shares + total.log() - log_share_present(self.shares, weight, self.axis)
        return known


class Counts(Distribution):
    """A law of counts with known means."""

    def __init__(self, means: Means):
        self.means = means

    @abstractmethod
    def of(self, means: Means) -> Counts:
        """The same law with other means."""

    def given(self, target: Tensor, weight: Tensor | None = None) -> Distribution:
        known = self.means.given(target, weight)
        return self if known is self.means else self.of(known)

    @property
    def mean(self) -> Tensor:
        return self.means.logs.exp()
