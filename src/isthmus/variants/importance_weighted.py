from __future__ import annotations

import math

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.variants.base import Variant


class ImportanceWeighted(Variant):
    """Averages several samples of the code as importance weights: a tighter bound than the variational one.

        corrupt → encoder → bottleneck → decoder → likelihood   (MERGE: -log mean of p(x, code) / q(code | x))

    Burda et al. 2016, "Importance Weighted Autoencoders". Needs variational, which draws the codes.

    Use it when the likelihood of new data is the result, or when `variational` leaves components unused. Not for closer
    reconstructions, and not where time is short: every sample of the code is one more pass through the decoder.

    Parameters
    ----------
    samples : how many codes are averaged in training; 1 gives the variational bound, more never loosens it.

    >>> import torch
    >>> ImportanceWeighted(samples=2).merge(torch.zeros(2, 1))
    tensor([0.])
    """

    aliases = ("iwae",)
    requires = ("variational",)
    exact_limit = "with one sample it is the variational bound with a sampled rate"

    limits = {"samples": Limit(1, whole=True)}

    def __init__(self, samples: int = 8):
        self.samples = samples

    def merge(self, log_weights: Tensor) -> Tensor:
        return math.log(len(log_weights)) - torch.logsumexp(log_weights, 0)
