"""Mixtures of diagonal normal laws, over codes or over whole grids of them.

Axes: K members, then those of what one member is a law over, (n,) or (*places, n); codes have others before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Members:
    """The members of a mixture; its functions are in nats."""

    log_weights: Tensor  # (K,)  normalised
    means: Tensor  # (K, ..., n)
    log_variances: Tensor  # as means

    def log_prob(self, code: Tensor) -> Tensor:
        """log p(code), one for each code, (...)."""
        flat = self._flat(code)
        means, log_variances = self.means.flatten(1), self.log_variances.flatten(1)
        precisions = torch.exp(-log_variances)
        # |code - mean|² / variance as two products, so that no (..., K, n) numbers stand in memory
        squares = flat.square() @ precisions.t() - 2 * (flat @ (means * precisions).t())
        offsets = (means.square() * precisions + log_variances + math.log(2 * math.pi)).sum(1)
        return torch.logsumexp(self.log_weights - 0.5 * (squares + offsets), -1)

    def kl_bound(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """At least KL(N(mean, variance) || mixture), (...): exact for one member, near it for members far apart.

        Hershey & Olsen 2007, "Approximating the Kullback Leibler divergence between Gaussian mixture models": the
        expected log of the sum is at least the log of the sum of what each member expects (Jensen).
        """
        mean, log_variance = self._flat(mean), self._flat(log_variance)
        means, log_variances = self.means.flatten(1), self.log_variances.flatten(1)
        precisions = torch.exp(-log_variances)
        squares = (mean.square() + log_variance.exp()) @ precisions.t() - 2 * (mean @ (means * precisions).t())
        offsets = (means.square() * precisions + log_variances - 1).sum(1)
        each = 0.5 * (squares + offsets - log_variance.sum(-1, keepdim=True))  # (..., K)  the KL to each member
        return -torch.logsumexp(self.log_weights - each, -1)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Draws; `shape` ends with that of a member."""
        rows = shape[: len(shape) - self.means.ndim + 1]
        weights = self.log_weights.exp().to(like)
        members = torch.multinomial(weights, math.prod(rows), replacement=True, generator=generator)
        noise = torch.randn((len(members), *self.means.shape[1:]), generator=generator, device=like.device).to(like)
        codes = self.means.to(like)[members] + noise * torch.exp(0.5 * self.log_variances.to(like))[members]
        return codes.reshape(shape)

    def _flat(self, code: Tensor) -> Tensor:
        """(..., numbers of a member)."""
        return code.flatten(code.ndim - self.means.ndim + 1)
