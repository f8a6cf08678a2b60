from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution, Likelihood, built
from isthmus.part import resolve
from isthmus.spec import SampleSpec


class ZeroInflated(Likelihood):
    """Counts with more zeros than their law explains: some are zero because nothing could be counted.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Lambert 1992, "Zero-Inflated Poisson Regression". With a probability that the decoder learns for each element the
    value is 0, otherwise it follows the law of counts. Compare with that law alone before you keep it: a negative
    binomial with learned dispersion often explains the zeros already.

    Parameters
    ----------
    counts : the law of counts: "negative_binomial", "poisson", or a Likelihood object of that kind.

    Raises
    ------
    SettingError : for a law that is unknown or not one of counts, each by itself.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = ZeroInflated("poisson(link='exp')")(torch.zeros(1, 4), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 3.0]])), law.mean
    (tensor([[0.3799, 3.4849]]), tensor([[0.5000, 0.5000]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("zinb", "zero_inflated_negative_binomial")
    support: ClassVar[tuple[float | None, float | None]] = (0.0, None)
    whole: ClassVar[bool] = True

    def __init__(self, counts: str | Likelihood = "negative_binomial"):
        self.counts = counts

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(counts="poisson(link='exp')")]

    def build(self, spec: SampleSpec) -> nn.Module | None:
        self._counted = built(self._law(), spec)
        return self._counted.trained

    def n_parameters(self, spec: SampleSpec) -> int:
        return self._law().n_parameters(spec) + spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        law = self._law()
        inner, gate = raw.split([law.n_parameters(spec), spec.n_channels], dim=spec.axis)
        return _ZeroInflated(law(inner, spec), gate)

    def _law(self) -> Likelihood:
        if self.trained is not None:
            return self._counted
        law = resolve("likelihoods", self.counts, Likelihood)
        if not law.whole or law.name() == "multinomial" or isinstance(law, ZeroInflated):
            raise SettingError(
                f"counts is {self.counts!r}; it must be a law of single counts: 'negative_binomial' or 'poisson'."
            )
        return law


class _ZeroInflated(Distribution):
    """`gate` is the logit of the probability that nothing could be counted."""

    def __init__(self, law: Distribution, gate: Tensor):
        self.law = law
        self.gate = gate

    def nll(self, target: Tensor) -> Tensor:
        counted = functional.softplus(self.gate) + self.law.nll(target)
        return torch.where(target > 0, counted, -torch.logaddexp(functional.logsigmoid(self.gate), -counted))

    def given(self, target: Tensor, weight: Tensor | None = None) -> Distribution:
        return _ZeroInflated(self.law.given(target, weight), self.gate)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(-self.gate) * self.law.mean

    @property
    def point(self) -> Tensor:
        mode = self.law.point
        zero = torch.zeros_like(mode)
        return torch.where(self.nll(mode) < self.nll(zero), mode, zero)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        counts, gate = self.law.sample(generator), self.gate
        open_ = torch.rand(gate.shape, generator=generator, device=gate.device, dtype=gate.dtype) >= gate.sigmoid()
        return torch.where(open_, counts, 0.0)
