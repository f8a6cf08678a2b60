"""What lies between the encoder and the decoder of a dense step: the code, its rate and penalties, and their gradient.

Axes: S samples of the code, B samples of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor

from isthmus.module import AutoencoderModule
from isthmus.part import resolve
from isthmus.priors import StandardNormal
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.variants import Variational
from isthmus.variants.base import Variant
from isthmus.variants.variational import CUT


def between(variants: Iterable[Variant]) -> list[Variant]:
    """Those that stand between encoder and decoder, or look at what lies there."""
    return [variant for variant in variants if variant.changes("bottleneck") or variant.changes("penalty")]


def middle_of(module: AutoencoderModule, between: Sequence[Variant], features: Tensor, pass_: Reconstruction) -> Middle:
    """The way to the gradient that these variants allow; features are (B, n_features)."""
    if not between:
        return Middle(features.unsqueeze(0))
    if len(between) == 1 and _in_closed_form(between[0]):
        return Gaussian(cast(Variational, between[0]), features, pass_)
    return ByAutograd(module, between, features, pass_)


class Middle:
    """Nothing lies between them.

    Parameters
    ----------
    code : (S, B, n_components).
    """

    def __init__(self, code: Tensor):
        self.code = code
        self.penalties: dict[str, Tensor] = {}
        self.rate: Tensor | None = None

    def slope(self, by_code: Tensor) -> Tensor:
        """The gradient of the whole loss by the features, from that of the distortion by the code, (S x B, n)."""
        return by_code

    def terms(self, distortion: float) -> dict[str, float]:
        """All terms; the loss is their sum."""
        parts = {"rate": self.rate} if self.rate is not None else {}
        found = {name: value.item() for name, value in (parts | self.penalties).items()}
        return {"loss": distortion + sum(found.values()), "distortion": distortion} | found


class Gaussian(Middle):
    """`variational` with a standard normal prior, where autograd would take longer than the encoder does."""

    def __init__(self, variant: Variational, features: Tensor, pass_: Reconstruction):
        code, rate = variant.bottleneck(features, pass_)
        super().__init__(code)
        self.beta, self.features = variant.beta, features
        self.rate = cast(Tensor, rate).mean()

    def slope(self, by_code: Tensor) -> Tensor:
        mean, log_variance = self.features.chunk(2, dim=-1)
        found = torch.empty_like(self.features)
        by_mean, by_log_variance = found.chunk(2, dim=-1)
        by_code = by_code.view_as(self.code)
        torch.sum(
            by_code * (self.code - mean), 0, out=by_log_variance
        )  # the code is mean + exp(log variance / 2) noise
        torch.sum(by_code, 0, out=by_mean)
        share = self.beta / len(mean)
        by_mean.add_(mean, alpha=share)
        by_log_variance.add_(torch.expm1(log_variance.clamp(-CUT, CUT)), alpha=share).mul_(0.5)
        by_log_variance.mul_(log_variance.abs() <= CUT)
        return found


class ByAutograd(Middle):
    """Any bottleneck and any penalties on the code."""

    def __init__(self, module: AutoencoderModule, between: Sequence[Variant], features: Tensor, pass_: Reconstruction):
        with torch.enable_grad():
            self.leaf = features.detach().requires_grad_()
            self.whole, rate = module.bottleneck.bottleneck(self.leaf, pass_)
            super().__init__(self.whole.detach())
            pass_.code, pass_.rate = self.whole, rate
            for variant in between:
                if variant.changes("penalty"):
                    penalty = torch.as_tensor(variant.penalty(pass_, module)).mean()
                    self.penalties[variant.name()] = self.penalties.get(variant.name(), 0.0) + penalty
            self.rate = rate.mean() if isinstance(rate, Tensor) else None

    def slope(self, by_code: Tensor) -> Tensor:
        ends, slopes = [self.whole], [by_code.view_as(self.whole)]
        for term in (self.rate, *self.penalties.values()):
            if term is not None and term.requires_grad:
                ends.append(term)
                slopes.append(torch.ones_like(term))
        (found,) = torch.autograd.grad(ends, self.leaf, slopes)
        return found


def _in_closed_form(variant: Variant) -> bool:
    if type(variant) is not Variational or variant.free_bits:
        return False
    return type(resolve("priors", variant.prior, Prior)) is StandardNormal
