from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isthmus.priors.base import Encode, Prior


class StandardNormal(Prior):
    """Independent components, each N(0, 1): the usual prior of a variational autoencoder.

    >>> import torch
    >>> StandardNormal().kl(torch.tensor([1.0]), torch.tensor([0.0]))
    tensor([0.5000])
    """

    def log_prob(self, code: Tensor, trained: nn.Module | None = None, encode: Encode | None = None) -> Tensor:
        return -0.5 * (code.square() + math.log(2 * math.pi))

    def kl(
        self, mean: Tensor, log_variance: Tensor, trained: nn.Module | None = None, encode: Encode | None = None
    ) -> Tensor:
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)

    def sample(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        like: Tensor,
        trained: nn.Module | None = None,
        encode: Encode | None = None,
    ) -> Tensor:
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
