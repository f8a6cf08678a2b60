"""Layerwise: the setting of greedy layer-wise training."""

from __future__ import annotations

from typing import ClassVar

from isthmus.part import Limit, Part


class Layerwise(Part):
    """One layer at a time from the outside in, each by what it lets come back of the sample; then the whole.

    Hinton & Salakhutdinov 2006; Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks"; with denoising,
    Vincent et al. 2010. Samples are corrupted as in training, and the likelihood is the same.

    Parameters
    ----------
    epochs : passes over the training rows for each layer, at least 1.

    >>> Layerwise(epochs=5)
    Layerwise(epochs=5)
    """

    kind: ClassVar[str] = "training"
    limits = {"epochs": Limit(1, whole=True)}

    def __init__(self, epochs: int = 10):
        self.epochs = epochs
