from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit, resolve
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


class Variational(Variant):
    """Gives every sample a distribution over codes and keeps it near a prior, so that new samples can be drawn.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    The encoder ends in a mean and a log-variance for each component; the rate is the KL divergence to the prior.
    Kingma & Welling 2014; beta: Higgins et al. 2017; free bits: Kingma et al. 2016. Outside training the code is the
    mean and nothing is drawn.

    Use it when new samples are to be drawn, or when codes should form one map without holes. Not for the closest
    reconstruction: the noise on the code costs sharpness, and with a large `beta` components fall silent altogether.

    Parameters
    ----------
    beta : weight of the rate; 1 gives the evidence lower bound.
    free_bits : rate in nats, per component and averaged over the batch, below which nothing is gained by lowering it.
    samples : codes drawn for every sample in training; importance_weighted sets its own number.
    prior : standard_normal, or a Prior object.

    >>> Variational(beta=4.0).n_features(3)
    6
    """

    aliases = ("vae", "beta_vae")
    exact_limit = "with a linear decoder and normal noise the bound at the best posterior is the exact log-likelihood"

    limits = {"beta": Limit(0), "free_bits": Limit(0), "samples": Limit(1, whole=True)}

    def __init__(
        self, beta: float = 1.0, free_bits: float = 0.0, samples: int = 1, prior: str | Prior = "standard_normal"
    ):
        self.beta = beta
        self.free_bits = free_bits
        self.samples = samples
        self.prior = prior

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(beta=0.5, free_bits=0.1, samples=2)]

    def n_features(self, n_components: int) -> int:
        return 2 * n_components

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        mean, log_variance = features.chunk(2, dim=-1)
        log_variance = log_variance.clamp(-20.0, 20.0)  # keeps exp finite, far outside what is ever useful
        code = self._draw(mean, log_variance, reconstruction)  # (S, B, ..., n)
        prior = resolve("priors", self.prior, Prior)
        kl = None if reconstruction.samples else prior.kl(mean, log_variance)
        if kl is None:
            noise = (code - mean) * torch.exp(-0.5 * log_variance)
            kl = -0.5 * (noise.square() + log_variance + _LOG_TWO_PI) - prior.log_prob(code)
        kl = kl.expand_as(code)
        if self.free_bits and reconstruction.generator is not None:
            # the floor holds for the average over the batch; where it is reached the term is constant. In training
            # only, as it ties the rows of a batch together
            average = kl.mean(1, keepdim=True)
            kl = torch.where(average > self.free_bits, kl, torch.full_like(kl, self.free_bits))
        return code, self.beta * kl.flatten(2).sum(2)

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        return resolve("priors", self.prior, Prior).sample(shape, generator, like)

    def _draw(self, mean: Tensor, log_variance: Tensor, reconstruction: Reconstruction) -> Tensor:
        if reconstruction.generator is None:
            return mean.unsqueeze(0)
        shape = (reconstruction.samples or self.samples, *mean.shape)
        noise = torch.randn(shape, generator=reconstruction.generator, device=mean.device, dtype=mean.dtype)
        return mean + torch.exp(0.5 * log_variance) * noise


_LOG_TWO_PI = 1.8378770664093453
