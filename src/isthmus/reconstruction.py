"""Reconstruction: one batch on its way through the autoencoder, and everything that is known about it there."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from isthmus.likelihoods.base import Distribution
from isthmus.spec import SampleSpec


@dataclass
class Doubly:
    """What the gradients of a doubly reparameterised bound are scaled by; it outlives no pass, as it holds no graph.

    log q(code | x) leaves out that q has parameters too. What they would add has the expected value of a smaller
    gradient by the code itself, so that every sample's is scaled, by its share of the bound.
    """

    scored: Tensor | float = 0.0  # (S, B, ..., n_components)  how often the rate holds log q(code | x)
    log_weights: Tensor | None = None  # (S, B)  known at the end of the pass

    def scale(self, slope: Tensor) -> Tensor:
        """A gradient by the code, (S, B, ..., n_components), as it goes on to the encoder."""
        assert self.log_weights is not None
        share = self.log_weights.softmax(0)[(..., *[None] * (slope.ndim - 2))]
        return slope * (1 - self.scored * (1 - share))


@dataclass
class Reconstruction:
    """One batch on its way through. Every term is per sample, in nats. S = samples of the code, B = batch.

    `generator` is None in a deterministic pass: nothing is corrupted, the code is the posterior's mean.
    `samples` is above 0 where a merge averages that many samples of the code; the rate is then sampled, not integrated.
    `doubly` is there where the merge asks for doubly reparameterised gradients: the bound's terms then take the code
    from `weighed`.
    """

    spec: SampleSpec
    x: Tensor  # (B, *spec.shape)
    weight: Tensor | None  # as x; 0 where a value is absent, None when all are present
    seen: Tensor  # what the encoder is shown
    seen_weight: Tensor | None  # what of it is present to the encoder
    target: Tensor  # what the output is held against; x unless a pair was given
    generator: torch.Generator | None = None  # all randomness of this pass
    samples: int = 0
    doubly: Doubly | None = None
    activations: list[Tensor] = field(default_factory=list)  # of the encoder's layers
    features: Tensor | None = None  # (B, ..., n_features)  the encoder's output
    code: Tensor | None = None  # (S, B, ..., n_components)
    rate: Tensor | float = 0.0  # (S, B)
    output: Distribution | None = None
    distortion: Tensor | None = None  # (S, B)  -log p(target | code) over present values
    bound: Tensor | None = None  # (B,)  distortion and rate, averaged over the samples of the code
    penalties: dict[str, Tensor] = field(default_factory=dict)
    asides: dict[str, Tensor] = field(default_factory=dict)  # told beside the terms, no part of the loss: scalars

    @property
    def log_weights(self) -> Tensor:
        """log p(target, code) - log q(code | x) of every sample of the code, (S, B)."""
        assert self.distortion is not None
        return -(self.distortion + self.rate)

    def weighed(self, code: Tensor) -> Tensor:
        """The code as the terms of the bound see it: the same numbers, and where `doubly` with scaled gradients."""
        if self.doubly is None or not code.requires_grad:
            return code
        same = code.view_as(code)
        same.register_hook(self.doubly.scale)
        return same

    @property
    def loss(self) -> Tensor:
        """The mean over the batch of all that is minimised, a scalar in nats per sample."""
        assert self.bound is not None
        total = self.bound.mean()
        for penalty in self.penalties.values():
            total = total + penalty
        return total

    def terms(self) -> dict[str, Tensor]:
        """Every term of the loss apart, as scalars: loss, distortion, rate where there is one, each penalty; asides."""
        assert self.distortion is not None
        terms = {"loss": self.loss.detach(), "distortion": self.distortion.detach().mean()}
        if isinstance(self.rate, Tensor):
            terms["rate"] = self.rate.detach().mean()
        return terms | {name: value.detach() for name, value in (self.penalties | self.asides).items()}
