from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.likelihoods._counts import log_share_present, row_total, wide
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Multinomial(Likelihood):
    """Counts that share one total: the words of a document, the items that a person took.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    A softmax over the channel axis says which share of the total each element gets. Liang et al. 2018, "Variational
    Autoencoders for Collaborative Filtering". The distortion of a row is -log p(counts | their total): element i has
    -x_i log p_i + log x_i! and, in proportion to x_i, its part of -log total!, so that the sum is exact. Absent values
    take no part: the shares of those that are present sum to one. Counts must arrive as they are:
    `data_type=Tables(scaling="none")`; implicit feedback as zeros and ones is right as well.

    Parameters
    ----------
    total : how many counts a sample has whose own total is not known, such as a new one; the mean is total times
        share. Of a row that is there, its own total is taken.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Multinomial(total=3)(torch.zeros(1, 3), SampleSpec((3,)))
    >>> law.nll(torch.tensor([[1.0, 1.0, 1.0]])).sum().exp() * 3 ** -3  # of 27 orders, 6 give one of each
    tensor(0.1667)
    """

    aliases: ClassVar[tuple[str, ...]] = ("multi_vae",)
    support: ClassVar[tuple[float | None, float | None]] = (0.0, None)
    whole: ClassVar[bool] = True
    limits = {"total": Limit(1, whole=True)}

    def __init__(self, total: int = 1):
        self.total = total

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(total=3)]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        return _Multinomial(raw.log_softmax(spec.axis), raw.new_tensor(float(self.total)), spec.axis)


class _Multinomial(Distribution):
    """`total` counts, a number or one for each row, fall on elements with these log shares, which sum to one over the
    values that are present.
    """

    def __init__(self, log_shares: Tensor, total: Tensor, axis: int):
        self.log_shares = log_shares
        self.total = total
        self.axis = axis

    def given(self, target: Tensor, weight: Tensor | None = None) -> Distribution:
        shares = self.log_shares - log_share_present(self.log_shares, weight, self.axis)
        return _Multinomial(shares, row_total(target, weight, self.axis), self.axis)

    def nll(self, target: Tensor) -> Tensor:
        count = wide(target).clamp_min(0)
        total = count.sum(self.axis, keepdim=True)
        orders = torch.lgamma(total + 1) / total.clamp_min(torch.finfo(total.dtype).tiny)
        return (torch.lgamma(count + 1) - count * (wide(self.log_shares) + orders)).to(self.log_shares)

    @property
    def mean(self) -> Tensor:
        return self.total * self.log_shares.exp()

    @property
    def point(self) -> Tensor:
        """Counts where no single one moved elsewhere makes them more probable: each is the whole part of t times its
        share, with t so that they sum to the total (Finucan 1964).
        """
        shares = wide(self.log_shares).exp()
        total = wide(self.total).round().expand_as(shares.sum(self.axis, keepdim=True))
        low, high = total.clone(), total + shares.shape[self.axis] + 1
        for _ in range(60):
            middle = (low + high) / 2
            fits = (middle * shares).floor().sum(self.axis, keepdim=True) <= total
            low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        counts = (low * shares).floor()
        left = total - counts.sum(self.axis, keepdim=True)  # several reach their next count at the same t
        order = ((counts + 1) / shares).argsort(dim=self.axis, stable=True).argsort(dim=self.axis)
        more: Tensor = (order < left).to(counts)
        return (counts + more).to(self.log_shares)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Halve by halve: how many of the counts of a group of elements fall on its first half is binomial."""
        shares = wide(self.log_shares).exp().movedim(self.axis, -1)
        n = shares.shape[-1]
        sums = [functional.pad(shares, (0, (1 << max(n - 1, 0).bit_length()) - n))]
        while sums[-1].shape[-1] > 1:
            sums.append(sums[-1].unflatten(-1, (-1, 2)).sum(-1))
        total = wide(self.total).round()
        counts = (total if not total.ndim else total.movedim(self.axis, -1)).expand_as(sums[-1])
        for below, above in zip(sums[-2::-1], sums[:0:-1], strict=True):
            share = (below[..., ::2] / above.clamp_min(torch.finfo(above.dtype).tiny)).clamp(0, 1)
            first = torch.binomial(counts, share, generator=generator)
            counts = torch.stack([first, counts - first], dim=-1).flatten(-2)
        return counts[..., :n].movedim(-1, self.axis).to(self.log_shares)
