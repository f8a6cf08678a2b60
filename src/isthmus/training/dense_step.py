"""Dense autoencoders step by hand-written gradients on one flat vector of parameters, as autograd would, but faster.

Wraps a module from outside; no layer and no variant knows of it. What stands between the encoder and the decoder (a
bottleneck, penalties on the code) and unusual likelihoods keep their autograd: they are small.

Axes: S samples of the code, B samples of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.likelihoods import Bernoulli, Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.networks.base import mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.training._chain import Activation, Chain, activation_of
from isthmus.training._middle import between, middle_of
from isthmus.training._products import Linear, choose
from isthmus.training.batch import Batch
from isthmus.training.settings import Training
from isthmus.variants import Denoising, L1Sparse, Masked, Orthogonal, TopK, Variational, Wasserstein

#: Variants that look at nothing but the sample and the code.
LOCAL = (Denoising, L1Sparse, Masked, Orthogonal, TopK, Variational, Wasserstein)


class DenseStep:
    """The loss of a dense autoencoder and its gradients.

    While it is in use the module's parameters are parts of `vector`, whose gradient is `vector.grad`; `release` gives
    each its own memory back.

    Parameters
    ----------
    module : a module that `fits`.
    n_rows : rows of one batch, which decide who multiplies.
    bf16 : whether products are taken in bfloat16.
    one_thread : whether the run has one thread.
    """

    def __init__(self, module: AutoencoderModule, n_rows: int, bf16: bool = False, one_thread: bool = False):
        self.module, self.name = module, "dense, bf16" if bf16 else "dense"
        network = cast(Any, module.network)
        module.likelihood(next(module.parameters()).new_zeros(1, *network.decoder.shape), module.spec)  # may refuse
        self.absent: nn.Parameter | None = network.encoder.absent
        self.flat = [parameter for parameter in module.parameters() if parameter is not self.absent]
        self.vector = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in self.flat]))
        self.vector.grad = torch.zeros_like(self.vector)
        places: dict[int, tuple[Tensor, Tensor]] = {}
        sizes = [parameter.numel() for parameter in self.flat]
        for parameter, part, slope in zip(
            self.flat, self.vector.detach().split(sizes), self.vector.grad.split(sizes), strict=True
        ):
            parameter.data = part.view_as(parameter)
            places[id(parameter)] = (parameter.data, slope.view_as(parameter))
        library = lambda weight: choose(weight.dtype, n_rows * weight.numel(), bf16, one_thread)  # noqa: E731
        self.encoder = _chain(network.encoder.layers, places, library)
        self.decoder = _chain(network.decoder.layers, places, library)
        self.between = between(module.variants)

    @staticmethod
    def fits(module: nn.Module, training: Training) -> bool:
        """Whether the gradients of this module are known here."""
        if training.l1:
            return False
        if isinstance(module, AutoencoderModule) and module.likelihood.trained is not None:
            return False
        if type(module) is not AutoencoderModule or type(module.architecture) is not Dense:
            return False
        if not all(type(variant) in LOCAL for variant in module.variants) or any(
            True for _ in module.built.parameters()
        ):
            return False
        if next(module.parameters()).device.type != "cpu" or not all(p.requires_grad for p in module.parameters()):
            return False
        settings, network = module.architecture, cast(Any, module.network)
        layers = [*network.encoder.layers, *network.decoder.layers]
        return not settings.tied and all(_activation(layer) is not False for layer in layers)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer is to change."""
        return [self.vector] if self.absent is None else [self.vector, self.absent]

    def release(self) -> None:
        """The module's parameters as they were before, each in memory of its own."""
        for parameter in self.flat:
            parameter.data = parameter.data.clone()

    def terms(self, batch: Batch, generator: torch.Generator, learn: bool) -> dict[str, float]:
        """The terms of the loss, as `Reconstruction.terms` names them; fills the gradients where asked to `learn`."""
        with torch.no_grad(), np.errstate(all="ignore"):  # a loss that is no number is the loop's to tell
            return self._terms(batch, generator, learn)

    def _terms(self, batch: Batch, generator: torch.Generator, learn: bool) -> dict[str, float]:
        pass_ = self._corrupted(batch, generator)
        seen, unseen = mask_absent(pass_.seen, pass_.seen_weight).flatten(1), None
        extra = None
        if self.absent is not None and pass_.seen_weight is not None:
            unseen = (pass_.seen_weight <= 0).to(seen).flatten(1)
            extra = unseen @ self.absent.t()
        features = self.encoder.forward(seen, extra).to(self.vector.dtype)
        middle = middle_of(self.module, self.between, features, pass_)
        raw = self.decoder.forward(middle.code.flatten(0, 1)).to(self.vector.dtype)
        distortion, slope = self._end(raw, pass_, len(middle.code))
        if learn:
            first = self.decoder.backward(slope)
            slope = self.decoder.input_gradient(first).to(self.vector.dtype)
            first = self.encoder.backward(middle.slope(slope))
            if self.absent is not None:
                self.absent.grad = None if unseen is None else first.to(unseen).t() @ unseen
        return middle.terms(distortion)

    def _corrupted(self, batch: Batch, generator: torch.Generator) -> Reconstruction:
        x = mask_absent(batch.x, batch.weight)
        target = x if batch.target is None else mask_absent(batch.target, batch.weight)
        pass_ = Reconstruction(self.module.spec, x, batch.weight, x, batch.weight, target, generator)
        for variant in self.module.variants:
            variant.corrupt(pass_)
        return pass_

    def _end(self, raw: Tensor, pass_: Reconstruction, n_samples: int) -> tuple[float, Tensor]:
        """The mean distortion, and its gradient by the decoder's output (S x B, n)."""
        n_rows = raw.shape[0]
        target = pass_.target.flatten(1)
        weight = None if pass_.weight is None else pass_.weight.clamp_min(0).flatten(1)
        if n_samples > 1:
            target = target.repeat(n_samples, 1)
            weight = None if weight is None else weight.repeat(n_samples, 1)
        likelihood = self.module.likelihood
        if type(likelihood) is Normal and not isinstance(likelihood.scale, str):
            return _squared(raw, target, weight, float(likelihood.scale), n_rows)
        if type(likelihood) is Bernoulli:
            return _cross_entropy(raw, target, weight, n_rows)
        return self._by_autograd(raw, pass_, n_samples)

    def _by_autograd(self, raw: Tensor, pass_: Reconstruction, n_samples: int) -> tuple[float, Tensor]:
        """Any likelihood: its own gradient by its raw numbers."""
        leaf = raw.detach().requires_grad_()
        with torch.enable_grad():
            shape = cast(Any, self.module.network.decoder).shape
            shaped = leaf.view(n_samples, -1, *shape)
            pass_.output = self.module.likelihood(shaped, self.module.spec)
            distortion = self.module.cells(pass_).sum() / len(raw)
            (slope,) = torch.autograd.grad(distortion, leaf)
        return distortion.item(), slope


def _squared(raw: Tensor, target: Tensor, weight: Tensor | None, scale: float, n_rows: int) -> tuple[float, Tensor]:
    """Normal noise of a fixed scale; raw becomes the gradient."""
    missed = raw.sub_(target)
    slope = missed if weight is None else missed * weight
    constant = (math.log(scale) + 0.5 * math.log(2 * math.pi)) / n_rows
    count = raw.numel() if weight is None else weight.sum().item()
    # plain numbers: as tensors, each operation on them would take as long as on all of the above
    squares = torch.dot(slope.flatten(), missed.flatten()).item()
    return squares * (0.5 / (scale * scale * n_rows)) + count * constant, slope.mul_(1 / (scale * scale * n_rows))


def _cross_entropy(raw: Tensor, target: Tensor, weight: Tensor | None, n_rows: int) -> tuple[float, Tensor]:
    """Values in [0, 1] as probabilities."""
    cells = nn.functional.softplus(raw).addcmul_(target, raw, value=-1)
    slope = raw.sigmoid().sub_(target)
    if weight is not None:
        cells, slope = cells * weight, slope * weight
    return cells.sum().item() / n_rows, slope.div_(n_rows)


def _activation(layer: Any) -> Activation | None | bool:
    """The activation after a layer's linear part, None for none; False where something else stands there."""
    steps = [step for step in layer.after if not isinstance(step, nn.Identity)]
    if not steps:
        return None
    found = activation_of(steps[0]) if len(steps) == 1 else None
    return False if found is None else found


def _chain(layers: Any, places: dict[int, tuple[Tensor, Tensor]], library: Callable[[Tensor], type[Linear]]) -> Chain:
    found: list[tuple[Linear, Activation | None]] = []
    for layer in layers:
        weight, weight_slope = places[id(layer.linear.weight)]
        bias, bias_slope = places[id(layer.linear.bias)]
        linear = library(weight)(weight, bias, weight_slope, bias_slope)
        found.append((linear, cast("Activation | None", _activation(layer))))
    return Chain(found)
