from __future__ import annotations

import math
from typing import Literal, Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.variants.base import Variant


class ImportanceWeighted(Variant):
    """Averages several samples of the code as importance weights: a tighter bound than the variational one.

        corrupt → encoder → bottleneck → decoder → likelihood   (MERGE: -log mean of p(x, code) / q(code | x))

    Burda et al. 2016, "Importance Weighted Autoencoders". Needs variational, which draws the codes. For a better
    likelihood, at `samples` times the decoder's work; where only codes are wanted, variational alone does.

    The gradient by the encoder of such a bound gets noisier as samples grow, until there is more noise than signal
    (Rainforth et al. 2018). The doubly reparameterised one has the same expected value without that noise, and costs
    the same, so that it is the default: Tucker et al. 2018, "Doubly Reparameterized Gradient Estimators for Monte
    Carlo Objectives".

    Use it when the likelihood of new data is the result, or when `variational` leaves components unused. Not for closer
    reconstructions, and not where time is short: every sample of the code is one more pass through the decoder.

    Parameters
    ----------
    samples : how many codes are averaged in training; 1 gives the variational bound, more never loosens it.
    gradient : "dreg", the doubly reparameterised gradient, or "plain", the one of the bound as it is drawn.

    Raises
    ------
    SettingError : for another gradient.

    >>> import torch
    >>> ImportanceWeighted(samples=2).merge(torch.zeros(2, 1))
    tensor([0.])
    """

    aliases = ("iwae",)
    requires = ("variational",)
    exact_limit = "with one sample it is the variational bound with a sampled rate"

    limits = {"samples": Limit(1, whole=True)}

    def __init__(self, samples: int = 8, gradient: Literal["dreg", "plain"] = "dreg"):
        self.samples = samples
        self.gradient = gradient

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(samples=3, gradient="plain")]

    def check(self) -> None:
        super().check()
        if self.gradient not in ("dreg", "plain"):
            raise SettingError(f"gradient of importance_weighted is {self.gradient!r}; it must be 'dreg' or 'plain'.")

    def merge(self, log_weights: Tensor) -> Tensor:
        return math.log(len(log_weights)) - torch.logsumexp(log_weights, 0)
