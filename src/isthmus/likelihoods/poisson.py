from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from isthmus.likelihoods._counts import Counts, Link, Means, wide
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Poisson(Likelihood):
    """Counts of events that come independently of each other: the variance is the mean.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Counts must arrive as they are: `data_type=Tables(scaling="none")`. Where they vary more than their mean, as counts
    of words, visits and molecules do, `negative_binomial` fits better.

    Parameters
    ----------
    link : how a mean follows from the decoder's number: "softplus", "exp", or "softmax", the shares of a row's total.
    library : what the means are multiplied with. Under "softmax" it is the total of samples whose own is not known,
        such as new ones; of a row that is there, the sum of its present counts is taken.

    Raises
    ------
    SettingError : for an unknown link.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Poisson(link="exp")(torch.tensor([[0.0, 1.0]]), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 3.0]])), law.point
    (tensor([[1.0000, 1.5100]]), tensor([[1., 2.]]))
    """

    support: ClassVar[tuple[float | None, float | None]] = (0.0, None)
    whole: ClassVar[bool] = True
    limits = {"library": Limit(1e-6)}

    def __init__(self, link: Link = "softplus", library: float = 1.0):
        self.link = link
        self.library = library

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(link="exp", library=2.0), cls(link="softmax", library=6.0)]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        return _Poisson(Means(raw, self.link, self.library, spec.axis))


class _Poisson(Counts):
    def of(self, means: Means) -> Counts:
        return _Poisson(means)

    def nll(self, target: Tensor) -> Tensor:
        logs, count = wide(self.means.logs), wide(target).clamp_min(0)
        return (logs.exp() - count * logs + torch.lgamma(count + 1)).to(self.means.raw)

    @property
    def point(self) -> Tensor:
        return self.mean.floor()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.mean, generator=generator)
