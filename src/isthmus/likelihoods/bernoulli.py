from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec


class Bernoulli(Likelihood):
    """Values in [0, 1], read as probabilities of a one: binary cross-entropy, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    For targets strictly between 0 and 1 the distortion does not reach zero: its minimum is the targets' own entropy.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Bernoulli()(torch.zeros(1, 2), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 1.0]])), law.mean
    (tensor([[0.6931, 0.6931]]), tensor([[0.5000, 0.5000]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("bce", "binary_cross_entropy")
    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        return _Bernoulli(raw)


class _Bernoulli(Distribution):
    def __init__(self, logits: Tensor):
        self.logits = logits

    def nll(self, target: Tensor) -> Tensor:
        # softplus(l) - t l is the cross-entropy, exact for soft targets and stable for large logits
        return functional.softplus(self.logits) - target * self.logits

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def point(self) -> Tensor:
        return (self.logits > 0).to(self.logits)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean
        draw = torch.rand(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return (draw < mean).to(mean)
