from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.likelihoods._counts import Counts, Link, Means, PerColumn, gamma_draw, split_dispersion, wide
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class NegativeBinomial(Likelihood):
    """Counts that vary more than those of independent events: words, visits, molecules.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    A Poisson law whose rate follows a gamma law: the variance is mean + dispersion * mean². Lopez et al. 2018, "Deep
    generative modeling for single-cell transcriptomics". Counts must arrive as they are:
    `data_type=Tables(scaling="none")`.

    Parameters
    ----------
    dispersion : how much more the counts vary, above 0, where 0 would be Poisson; or "learned", one for each element of
        each sample; or "per_column", learned as well but the same in all samples, for few rows or sparse counts.
    link : how a mean follows from the decoder's number: "softplus", "exp", or "softmax", the shares of a row's total.
    library : what the means are multiplied with. Under "softmax" it is the total of samples whose own is not known,
        such as new ones; of a row that is there, the sum of its present counts is taken.
    minimum : the smallest dispersion that can be learned.

    Raises
    ------
    SettingError : for a dispersion that is neither a positive number nor one of these words, or an unknown link.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = NegativeBinomial(dispersion=0.5, link="exp")(torch.tensor([[0.0, 2.0]]), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 3.0]])), law.point
    (tensor([[0.8109, 2.4251]]), tensor([[0., 3.]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("nb",)
    support: ClassVar[tuple[float | None, float | None]] = (0.0, None)
    whole: ClassVar[bool] = True
    limits = {"library": Limit(1e-6), "minimum": Limit(1e-6, 10)}

    def __init__(
        self,
        dispersion: float | Literal["learned", "per_column"] = "learned",
        link: Link = "softplus",
        library: float = 1.0,
        minimum: float = 1e-3,
    ):
        self.dispersion = dispersion
        self.link = link
        self.library = library
        self.minimum = minimum

    @classmethod
    def examples(cls) -> list[Self]:
        softmax = cls(link="softmax", library=6.0)
        return [cls(), cls(dispersion=0.5, link="exp"), softmax, cls(dispersion="per_column")]

    def build(self, spec: SampleSpec) -> nn.Module | None:
        return PerColumn(spec.n_channels) if self.dispersion == "per_column" else None

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels * (2 if self.dispersion == "learned" else 1)

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        raw, dispersion = split_dispersion(raw, self.dispersion, self.minimum, spec.axis, self.trained)
        return _NegativeBinomial(Means(raw, self.link, self.library, spec.axis), dispersion)


class _NegativeBinomial(Counts):
    def __init__(self, means: Means, dispersion: Tensor):
        super().__init__(means)
        self.dispersion = dispersion

    def of(self, means: Means) -> Counts:
        return _NegativeBinomial(means, self.dispersion)

    def nll(self, target: Tensor) -> Tensor:
        """With r = 1 / dispersion and q = dispersion * mean / (1 + dispersion * mean), which is a sigmoid:
        log p(k) = log Γ(k + r) - log Γ(r) - log k! + r log(1 - q) + k log q.
        """
        count, dispersion = wide(target).clamp_min(0), wide(self.dispersion)
        logit, shape = wide(self.means.logs) + dispersion.log(), 1 / dispersion
        ways = torch.lgamma(count + shape) - torch.lgamma(shape) - torch.lgamma(count + 1)
        nll = shape * functional.softplus(logit) + count * functional.softplus(-logit) - ways
        return nll.to(self.means.raw)

    @property
    def point(self) -> Tensor:
        return (self.mean * (1 - self.dispersion)).clamp_min(0).floor()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean
        dispersion = self.dispersion.expand_as(mean)
        return torch.poisson(mean * dispersion * gamma_draw(1 / dispersion, generator), generator=generator)
