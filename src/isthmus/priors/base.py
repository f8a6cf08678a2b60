"""Prior: what codes look like before any sample is seen."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.part import Part


class Prior(Part):
    """A law over codes. Codes are (..., n_components)."""

    kind: ClassVar[str] = "priors"

    @abstractmethod
    def log_prob(self, code: Tensor) -> Tensor:
        """log p(code) of every component, in nats, shaped like the code."""

    @abstractmethod
    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor | None:
        """KL(N(mean, variance) || prior) of every component in closed form, or None where there is none."""

    @abstractmethod
    def sample(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Draws of this shape, with the dtype and device of `like`."""
