"""Prior: what codes look like before any sample is seen.

Axes: K members of a mixture, n components of a code; codes are (..., n), in a grid (..., *places, n).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.part import Part
from isthmus.spec import SampleSpec

#: Samples to mean and log-variance of their codes.
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


class Prior(Part):
    """A law over codes. `trained` is what `build` made, `encode` the encoder of the module it belongs to."""

    kind: ClassVar[str] = "priors"
    #: Whether components are independent of each other, so that every one has a density and a rate of its own.
    factorises: ClassVar[bool] = True

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module | None:
        """Its trainable module, if any."""
        return None

    def prepare(self, trained: nn.Module, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        """Called once before training where there is something trainable; `batches()` goes through the samples."""

    @abstractmethod
    def log_prob(self, code: Tensor, trained: nn.Module | None = None, encode: Encode | None = None) -> Tensor:
        """log p(code) in nats: of every component, like the code, where it `factorises`; else of a code, (...)."""

    def kl(
        self, mean: Tensor, log_variance: Tensor, trained: nn.Module | None = None, encode: Encode | None = None
    ) -> Tensor | None:
        """KL(N(mean, variance) || prior) in closed form, as `log_prob` is shaped; None where there is none."""
        return None

    def kl_bound(
        self, mean: Tensor, log_variance: Tensor, trained: nn.Module | None = None, encode: Encode | None = None
    ) -> Tensor | None:
        """At least the KL, without drawing: the rate outside training where there is no closed form."""
        return None

    @abstractmethod
    def sample(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        like: Tensor,
        trained: nn.Module | None = None,
        encode: Encode | None = None,
    ) -> Tensor:
        """Draws of this shape, with the dtype and device of `like`."""
