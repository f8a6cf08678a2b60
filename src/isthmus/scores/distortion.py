from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from isthmus.reconstruction import Reconstruction
from isthmus.scores.base import Measure, Score


class Distortion(Score):
    """What it costs to give the sample back: minus the log-likelihood of its values, in nats.

    The plain score of an autoencoder: nothing is learned beside the model. A column that the model is unsure of weighs
    little where the likelihood learns its own scale; misses that usually come together are counted each for itself.

    >>> Distortion()
    Distortion()
    """

    aliases = ("error", "reconstruction_error")

    def read(self, pass_: Reconstruction) -> Tensor:
        assert pass_.distortion is not None
        return pass_.distortion.mean(0)[:, None]

    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        return _AsItIs()

    def restore(self, state: Mapping[str, Tensor]) -> Measure:
        return _AsItIs()


class _AsItIs(Measure):
    def __call__(self, read: Tensor) -> Tensor:
        return read[:, 0]

    def state(self) -> dict[str, Tensor]:
        return {}
