from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit, resolve
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.variants._places import code_places, numbers_of
from isthmus.variants.base import Pass, Variant


class Wasserstein(Variant):
    """Holds the codes of all samples together to a prior, so that new samples can be drawn, and leaves each code sharp.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    The penalty is the weight times the maximum mean discrepancy between the codes of the batch and as many draws from
    the prior: the squared distance of two laws, estimated without bias from all pairs of codes, so that it lies around
    zero where they agree. Tolstikhin et al. 2018, "Wasserstein Auto-Encoders" (WAE-MMD). The kernel is theirs too, the
    inverse multiquadratic c / (c + |a - b|²), summed over several scales c = scale · 2 · n_components.

    Every place of a grid of codes is one code. A batch with more than 1,024 codes in all is judged by that many of
    them, taken at random. One code alone has no law, and no penalty.

    Use it to draw new samples where a variational code blurs them; codes are not distributions, so it has no likelihood
    bound. It needs batches of 100 rows or more, the more the wider the code.

    Parameters
    ----------
    weight : strength of the penalty, in nats per unit of discrepancy.
    scales : the kernel's scales, against the squared distance that two draws from a standard normal have on average.
    prior : standard_normal, or a Prior object.

    Raises
    ------
    SettingError : for a negative weight, or scales that are not above 0.

    >>> Wasserstein(weight=5.0, scales=(1.0,))
    Wasserstein(weight=5.0, scales=(1.0,))
    """

    aliases = ("wae", "mmd", "wae_mmd")

    limits = {"weight": Limit(0)}

    def __init__(
        self,
        weight: float = 10.0,
        scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        prior: str | Prior = "standard_normal",
    ):
        self.weight = weight
        self.scales = scales
        self.prior = prior

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(weight=1.0)]

    def check(self) -> None:
        super().check()
        listed = isinstance(self.scales, (tuple, list)) and len(self.scales) > 0
        if not listed or not all(map(_ABOVE_ZERO.allows, self.scales)):
            raise SettingError(
                f"scales of wasserstein is {self.scales!r}; it must be numbers above 0, such as (0.5, 1.0, 2.0)."
            )

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        if not self.weight:
            return reconstruction.x.new_zeros(())
        codes = code_places(reconstruction, MOST)
        drawn = resolve("priors", self.prior, Prior).sample(codes.shape, numbers_of(reconstruction), codes)
        return self.weight * self.discrepancy(codes, drawn)

    def discrepancy(self, codes: Tensor, drawn: Tensor) -> Tensor:
        """The squared distance of two laws, each known by some draws, (n, n_components) and (m, n_components).

        >>> torch.manual_seed(0)
        <torch._C.Generator object at ...>
        >>> a, b = torch.randn(2, 500, 3)
        >>> bool(Wasserstein().discrepancy(a, b).abs() < 0.02 < Wasserstein().discrepancy(a, b + 1))
        True
        """
        if len(codes) < 2 or len(drawn) < 2:
            return (codes * 0.0).sum()
        pairs = ((codes, codes), (drawn, drawn), (codes, drawn))
        within, among, across = (_squared_distances(first, second) for first, second in pairs)
        total = codes.new_zeros(())
        for scale in self.scales:
            kernel = scale * 2.0 * codes.shape[1]
            total = total + _mean_of_others(kernel / (kernel + within)) + _mean_of_others(kernel / (kernel + among))
            total = total - 2 * (kernel / (kernel + across)).mean()
        return total

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor | None:
        return resolve("priors", self.prior, Prior).sample(shape, generator, like) if self.weight else None

    def neutral(self) -> Self:
        return type(self)(weight=0.0, scales=self.scales, prior=self.prior)


MOST = 1024  # codes of a batch that are held against the prior: their pairs are what costs
_ABOVE_ZERO = Limit(0, float("inf"), between=True)


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(n, d) and (m, d) to (n, m)."""
    squares = first.square().sum(1, keepdim=True) + second.square().sum(1)
    return torch.addmm(squares, first, second.t(), alpha=-2).clamp_min(0.0)


def _mean_of_others(kernel: Tensor) -> Tensor:
    """Of all pairs but each with itself."""
    return (kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1))
