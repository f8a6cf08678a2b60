from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants._discrete import learns, present_places
from isthmus.variants.base import Pass, Variant


class NormMask(Variant):
    """Switches components off that hardly matter, so that a code too wide for its data finds its own width.

        corrupt → encoder → BOTTLENECK → decoder → likelihood   + PENALTY

    Each component is normalised over the batch (over all of training at prediction) and multiplied by a scale of its
    own. The penalty is the weight times the sum of the scales' absolute values: a component that the decoder has little
    use for loses its scale, and where that falls below `threshold` times the largest one the component is zero. As the
    code of a sparse layer, it drops the features that the others hardly go with. Ioffe & Szegedy 2015, "Batch
    Normalization"; Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", who cut
    channels by these scales.

    Use it when nobody can say how wide the code should be. Not with a handful of rows in a batch, whose spread says
    little, and not where a narrow code is given: it has no width to lose.

    Parameters
    ----------
    weight : strength of the penalty, in nats per unit of scale.
    threshold : a scale below this share of the largest switches its component off; 0 switches none off.

    >>> NormMask(weight=2.0)
    NormMask(weight=2.0)
    """

    aliases = ("slimming", "batch_norm_mask")
    exact_limit = "with weight 0 and threshold 0 it is the plain autoencoder with batch normalisation of its features"

    limits = {"weight": Limit(0), "threshold": Limit(0, 1)}

    def __init__(self, weight: float = 1.0, threshold: float = 0.1):
        self.weight = weight
        self.threshold = threshold

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(weight=0.5, threshold=0.97)]

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        return _Scales(n_components)

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        scales = cast(_Scales, self.trained)
        present = present_places(features, reconstruction)
        heard = features.flatten(0, -2) if present is None else features[present]
        usual = learns(reconstruction, scales) and len(heard) > 1  # one row has no spread of its own
        code = scales.normalised(features, heard if usual else None)
        code = code * scales.on(self.threshold).to(code)
        return (code if present is None else code * present.unsqueeze(-1)).unsqueeze(0), 0.0

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        return self.weight * cast(_Scales, self.trained).scale.abs().sum()

    def on(self) -> Tensor:
        """Which components are in use, (n_components,)."""
        return cast(_Scales, self.trained).on(self.threshold)


class _Scales(nn.Module):
    """Normalisation with a scale and a shift for each component, as a batch normalisation has them."""

    mean: Tensor
    variance: Tensor

    def __init__(self, n_components: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_components))
        self.shift = nn.Parameter(torch.zeros(n_components))
        self.register_buffer("mean", torch.zeros(n_components))
        self.register_buffer("variance", torch.ones(n_components))

    def normalised(self, features: Tensor, heard: Tensor | None) -> Tensor:
        """By the mean and the spread of what was heard in this batch, (n, n_components); None for those of training."""
        mean, variance = self.mean, self.variance
        if heard is not None:
            variance, mean = torch.var_mean(heard, dim=0, correction=0)
            with torch.no_grad():
                self.mean.lerp_(mean.to(self.mean), _STEP)
                self.variance.lerp_(variance.to(self.variance), _STEP)
        return (features - mean) * (variance + _SMALL).rsqrt() * self.scale + self.shift

    def on(self, threshold: float) -> Tensor:
        sizes = self.scale.detach().abs()
        return sizes >= threshold * sizes.max()


_SMALL, _STEP = 1e-5, 0.1
