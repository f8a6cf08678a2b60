"""Variant: what one idea changes in the plain autoencoder. By default: nothing.

    corrupt → encoder → bottleneck → decoder → likelihood,  loss = distortion + rate + penalties

Axes: S samples of the code, B samples of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from isthmus.part import Part
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec


class Pass(Protocol):
    """What a penalty may ask of the module it belongs to."""

    def features(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """The encoder's output, before the bottleneck."""
        ...

    def code_of(self, features: Tensor) -> Tensor:
        """The deterministic code of these features."""
        ...

    def chain(self) -> list[tuple[nn.Linear, nn.Module]] | None:
        """From sample to code as linear layers, each with its element-wise activation; None where there is more."""
        ...


class Variant(Part):
    """One idea. Override the station it changes, and nothing else."""

    kind: ClassVar[str] = "variants"
    #: Names of variants it cannot do without.
    requires: ClassVar[tuple[str, ...]] = ()
    #: Whether it hides values from the encoder and tells it which ones.
    hides: ClassVar[bool] = False
    #: Whether its penalty asks for gradients by what the encoder is shown.
    differentiates: ClassVar[bool] = False
    #: Where `neutral` has no answer: the exact limit that a test holds it against instead.
    exact_limit: ClassVar[str] = ""
    #: What `build` made, in the copy that a module owns.
    trained: nn.Module | None = None
    #: The encoder of the module that owns this copy, for what has to go through it.
    encoder: nn.Module | None = None

    def n_features(self, n_components: int) -> int:
        """How wide the encoder must end for a code of n_components."""
        return n_components

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module | None:
        """Its trainable module, if any (a codebook, a critic, pseudo-inputs)."""
        return None

    def prepare(self, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        """Called once before training, for what needs all data.

        `batches()` goes through x of the training rows from the start; absent values are NaN there.
        """

    def forget(self) -> None:
        """Called once after training: let go of what `prepare` gathered, so that a model does not carry it about."""

    def corrupt(self, reconstruction: Reconstruction) -> None:
        """May change seen, seen_weight, target and weight, in a stochastic pass only."""

    def retargets(self) -> bool:
        """Whether `corrupt` also sets what the output is held against, so that it is not the sample."""
        return False

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        """Features (B, ..., n_features) become a code (S, B, ..., n_components) and its rate (S, B) in nats."""
        return features.unsqueeze(0), 0.0

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        """Nats per sample (B,), or one number per batch, added to the loss."""
        return 0.0

    def merge(self, log_weights: Tensor) -> Tensor:
        """How several samples of the code are averaged: (S, B) becomes nats per sample (B,)."""
        return -log_weights.mean(0)

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor | None:
        """New codes of this shape from the prior; None where the variant has none."""
        return None

    def adversary(self) -> Iterable[nn.Parameter]:
        """Parameters stepped by their own optimizer, in the same loop."""
        return ()

    def neutral(self) -> Self | None:
        """The same variant at zero strength, which must equal plain; None where `exact_limit` says what else holds."""
        return None

    @classmethod
    def changes(cls, station: str) -> bool:
        """Whether it overrides this station: corrupt, bottleneck, penalty or merge."""
        return getattr(cls, station) is not getattr(Variant, station)
