from __future__ import annotations

from typing import Self

from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants._places import code_places
from isthmus.variants.base import Pass, Variant


class Orthogonal(Variant):
    """Asks for components of the code that do not repeat each other: uncorrelated, as principal components are.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    What is orthogonal are the code's components over the batch, taken from their means: the penalty is the weight times
    the sum of squared correlations of all pairs of components. Ladjal et al. 2019, "A PCA-like Autoencoder", and
    Cogswell et al. 2016, "Reducing Overfitting in Deep Networks by Decorrelating Representations", do the same with
    covariances; correlations do not shrink with the code, so nothing is gained by making it small. The other reading,
    orthogonal columns of the weights, says nothing about the codes of a deep encoder. A linear autoencoder keeps its
    subspace, that of the first principal components, and loses only the freedom to mix them.

    Every place of a grid of codes is one code. Components that are constant over the batch are correlated with none.

    Use it where components are read one by one, or go into a method that wants them uncorrelated. Uncorrelated is not
    independent; nested_dropout also puts them in order. Correlations of n rows are off by about n**-0.5 by chance, so
    give batches of 100 rows or more.

    Parameters
    ----------
    weight : strength of the penalty, in nats per squared correlation.

    >>> Orthogonal(weight=0.5).neutral()
    Orthogonal(weight=0.0)
    """

    aliases = ("decorrelated", "pca_like")

    limits = {"weight": Limit(0)}

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        codes = code_places(reconstruction)
        if not self.weight or len(codes) < 2 or codes.shape[1] < 2:
            return codes.new_zeros(())
        centred = codes - codes.mean(0)
        covariance = centred.t() @ centred / len(codes)
        variance = covariance.diagonal()
        squared = covariance.square() / (variance.unsqueeze(1) * variance + _SMALL)
        return self.weight * squared.triu(1).sum()

    def neutral(self) -> Self:
        return type(self)(weight=0.0)


_SMALL = 1e-12
