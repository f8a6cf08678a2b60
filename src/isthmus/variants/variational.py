from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.part import Limit, resolve
from isthmus.priors import Mixture, Vamp
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants.base import Variant


class Variational(Variant):
    """Gives every sample a distribution over codes and keeps it near a prior, so that new samples can be drawn.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    The encoder ends in a mean and a log-variance for each component; the rate is the KL divergence to the prior.
    Kingma & Welling 2014; beta: Higgins et al. 2017; free bits: Kingma et al. 2016. Outside training the code is the
    mean and nothing is drawn; the rate of a prior without a closed form is then an upper bound of it.

    Use it where new samples are to be drawn, where a likelihood is wanted, or where codes that mean nothing shall fall
    silent. Where only the reconstruction counts, the noise of its codes costs sharpness.

    Use it when new samples are to be drawn, or when codes should form one map without holes. Not for the closest
    reconstruction: the noise on the code costs sharpness, and with a large `beta` components fall silent altogether.

    Parameters
    ----------
    beta : weight of the rate; 1 gives the evidence lower bound.
    free_bits : rate in nats, per component and averaged over the batch, below which nothing is gained by lowering it.
    samples : codes drawn for every sample in training; importance_weighted sets its own number.
    prior : standard_normal, mixture, vamp, or a Prior object; what these two learn is trained with the model.

    Raises
    ------
    SettingError : for free_bits with a prior whose components are not independent.

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
        plain = [cls(), cls(beta=0.5, free_bits=0.1, samples=2)]
        return [*plain, cls(prior=Mixture(k=3)), cls(samples=2, prior=Vamp(k=3))]

    def check(self) -> None:
        super().check()
        if self.free_bits and not (prior := self._prior).factorises:
            raise SettingError(
                f"free_bits is {self.free_bits:g}, which counts components one by one, and those of the prior "
                f"{prior.name()} depend on each other; set free_bits=0, or prior='standard_normal'."
            )

    def n_features(self, n_components: int) -> int:
        return 2 * n_components

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module | None:
        return self._prior.build(spec, n_components)

    def prepare(self, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        if self.trained is not None:
            self._prior.prepare(self.trained, batches, generator)

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        mean, log_variance = _split(features)
        code = self._draw(mean, log_variance, reconstruction)  # (S, B, ..., n)
        kl = self._kl(mean, log_variance, code, reconstruction)
        if self.free_bits and reconstruction.generator is not None:
            # the floor holds for the average over the batch; where it is reached the term is constant. In training
            # only, as it ties the rows of a batch together
            above = kl.mean(1, keepdim=True) > self.free_bits
            kl = torch.where(above, kl, torch.full_like(kl, self.free_bits))
        if reconstruction.doubly is not None:
            reconstruction.doubly.scored = self.beta * (above.to(kl) if self.free_bits else 1.0)
        return code, self.beta * kl.reshape(*code.shape[:2], -1).sum(2)

    def _kl(self, mean: Tensor, log_variance: Tensor, code: Tensor, pass_: Reconstruction) -> Tensor:
        """The divergence from the prior, (S, B, ...): of every component where the prior factorises."""
        prior, given = self._prior, (self.trained, self._encode)
        kl = None if pass_.samples else prior.kl(mean, log_variance, *given)
        if kl is None and pass_.generator is None:
            kl = prior.kl_bound(mean, log_variance, *given)
        if kl is not None:
            return kl.expand(len(code), *kl.shape)
        code = pass_.weighed(code)
        if pass_.doubly is not None:
            mean, log_variance = mean.detach(), log_variance.detach()
        squares = (code - mean).square() * torch.exp(-log_variance)
        log_posterior = -0.5 * (squares + log_variance + _LOG_TWO_PI)
        log_prior = prior.log_prob(code, *given)
        if not prior.factorises:
            log_posterior, log_prior = (one.reshape(*code.shape[:2], -1).sum(2) for one in (log_posterior, log_prior))
        return log_posterior - log_prior

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        return self._prior.sample(shape, generator, like, self.trained, self._encode)

    @property
    def _prior(self) -> Prior:
        return resolve("priors", self.prior, Prior)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the codes of these samples."""
        assert self.encoder is not None, "its module gives it"
        return _split(self.encoder(x))

    def _draw(self, mean: Tensor, log_variance: Tensor, reconstruction: Reconstruction) -> Tensor:
        if reconstruction.generator is None:
            return mean.unsqueeze(0)
        shape = (reconstruction.samples or self.samples, *mean.shape)
        noise = torch.randn(shape, generator=reconstruction.generator, device=mean.device, dtype=mean.dtype)
        return mean + torch.exp(0.5 * log_variance) * noise


def _split(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance; the clamp keeps exp finite and is far outside of what is ever useful."""
    mean, log_variance = features.chunk(2, dim=-1)
    return mean, log_variance.clamp(-CUT, CUT)


#: Log-variances are cut off here, above and below.
CUT = 20.0
_LOG_TWO_PI = 1.8378770664093453
