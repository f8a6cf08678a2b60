"""The step of several dense autoencoders at once: products for all of them in one call, and one step of Adam.

Axes: K models, B rows of the batch of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.likelihoods import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks.base import mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.training._products import default_is_slow
from isthmus.training._stack import Curve, Layout, Stack, curve_of
from isthmus.training.adam import KERNELS, available
from isthmus.training.batch import Batch
from isthmus.variants import L1Sparse

Linears = list[tuple[nn.Linear, Curve | None]]


def linears(module: AutoencoderModule) -> Linears | None:
    """The linear layers from the input to the output with their activations; None where there is more to it."""
    network = cast(Any, module.network)
    found: Linears = []
    for layer in (*network.encoder.layers, *network.decoder.layers):
        steps = [step for step in layer.after if not isinstance(step, nn.Identity)]
        curve = curve_of(steps[0]) if len(steps) == 1 else None
        if type(layer.linear) is not nn.Linear or (steps and curve is None):
            return None
        found.append((layer.linear, curve))
    return found


class ManyStep:
    """The losses of K dense autoencoders and their gradients, `vector` and `slope`.

    Smaller layers are filled up with weights of zero. Their gradients are zero, so they stay so, and the models are
    what they would be alone.

    Parameters
    ----------
    modules : dense autoencoders for the same samples, of the same depth, likelihood and activations.
    """

    def __init__(self, modules: Sequence[AutoencoderModule]):
        self.modules = list(modules)
        chains = [cast(Linears, linears(module)) for module in self.modules]
        sizes = [[(linear.in_features, linear.out_features) for linear, _ in chain] for chain in chains]
        self.layout = Layout([tuple(map(max, zip(*each, strict=True))) for each in zip(*sizes, strict=True)])
        self.curves = [curve for _, curve in chains[0]]
        network = cast(Any, self.modules[0].network)
        self.n_encoding, self.shape = len(network.encoder.layers), network.decoder.shape
        like = next(self.modules[0].parameters())
        self.vector = like.new_zeros(len(self.modules) * self.layout.size)
        for place, chain in enumerate(chains):
            for own, part in zip(_values(chain), self.parts(self.vector), strict=True):
                part[place, : own.shape[0], : own.shape[1]] = own
        self._arrange()

    def _arrange(self) -> None:
        k = len(self.modules)
        self.slope = torch.zeros_like(self.vector)
        self.stack = Stack(self.layout, self.vector, self.slope, k, self.curves, default_is_slow())
        penalties = [[v.weight for v in module.variants if isinstance(v, L1Sparse)] for module in self.modules]
        self.sparse = [bool(weights) for weights in penalties]
        self.l1 = torch.tensor([float(sum(weights)) for weights in penalties], dtype=self.vector.dtype)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Weights and biases of each layer in turn, over this vector's memory, (K, ...)."""
        return self.layout.parts(vector, len(self.modules))

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these models only."""
        self.vector = self.layout.select(self.vector, len(self.modules), places)
        self.modules = [self.modules[place] for place in places]
        self._arrange()

    def write(self, place: int, vector: Tensor) -> None:
        """Give one module its weights, out of a vector of all of them."""
        chain = cast(Linears, linears(self.modules[place]))
        with torch.no_grad():
            for own, part in zip(_values(chain), self.parts(vector), strict=True):
                own.copy_(part[place, : own.shape[0], : own.shape[1]])

    def terms(self, batch: Batch, generators: Sequence[torch.Generator], learn: bool) -> dict[str, Tensor]:
        """Every term of the loss, (K,); fills `slope` where asked to `learn`. The batch is (K x B, ...).

        A penalty stands for those models that have it; of the others it is zero.
        """
        with torch.no_grad(), np.errstate(all="ignore"):  # a loss that is no number is the run's to tell
            return self._terms(batch, generators, learn)

    def _terms(self, batch: Batch, generators: Sequence[torch.Generator], learn: bool) -> dict[str, Tensor]:
        k, n_layers = len(self.modules), len(self.curves)
        n_rows = len(batch.x) // k
        x = mask_absent(batch.x, batch.weight)
        target = x if batch.target is None else mask_absent(batch.target, batch.weight)
        seen = mask_absent(self._corrupted(x, batch.weight, target, generators), batch.weight)
        code = self.stack.forward(seen.reshape(k, n_rows, -1), self.n_encoding)
        raw = self.stack.forward(code, n_layers - self.n_encoding, self.n_encoding)
        distortion, slope = self._end(raw, target, batch.weight)
        terms = {"loss": distortion, "distortion": distortion}
        if any(self.sparse):
            terms["l1_sparse"] = code.abs().sum((1, 2)) * (self.l1 / n_rows)
            terms["loss"] = distortion + terms["l1_sparse"]
        if learn:
            slope = self.stack.backward(slope, n_layers, self.n_encoding)
            if any(self.sparse):
                slope = slope.addcmul_(code.sign(), (self.l1 / n_rows).view(k, 1, 1))
            self.stack.backward(slope, self.n_encoding)
        return terms

    def _corrupted(
        self, x: Tensor, weight: Tensor | None, target: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """What the encoders are shown; each model spoils its own rows, with its own random numbers."""
        if not any(variant.changes("corrupt") for module in self.modules for variant in module.variants):
            return x
        seen = []
        k = len(self.modules)
        weights: Sequence[Tensor | None] = [None] * k if weight is None else weight.chunk(k)
        for module, generator, own, present, asked in zip(
            self.modules, generators, x.chunk(k), weights, target.chunk(k), strict=True
        ):
            pass_ = Reconstruction(module.spec, own, present, own, present, asked, generator)
            for variant in module.variants:
                variant.corrupt(pass_)
            seen.append(pass_.seen)
        return torch.cat(seen)

    def _end(self, raw: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean distortion of each model, (K,), and its gradient by the decoder's output, (K, B, n)."""
        likelihood = self.modules[0].likelihood
        if type(likelihood) is Normal and _is_number(likelihood.scale) and weight is None:
            return _squared(raw, target.reshape(raw.shape), float(likelihood.scale))
        leaf = raw.flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            law = likelihood(leaf.view(1, -1, *self.shape), self.modules[0].spec)
            cells = law.given(target, weight).nll(target)
            cells = cells if weight is None else torch.where(weight > 0, cells * weight, 0.0)
            distortion = cells.reshape(len(raw), -1).sum(1) / raw.shape[1]
            (slope,) = torch.autograd.grad(distortion.sum(), leaf)
        return distortion.detach(), slope.view(raw.shape)


def _is_number(scale: object) -> bool:
    """Whether a scale is fixed, and one there can be; the law refuses others in a sentence."""
    return isinstance(scale, (int, float)) and scale > 0


def _squared(raw: Tensor, target: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Normal noise of a fixed scale; raw becomes the gradient."""
    k, n_rows, n_out = raw.shape
    missed = raw.sub_(target)
    squares = torch.bmm(missed.view(k, 1, -1), missed.view(k, -1, 1)).view(k)
    constant = n_out * (math.log(scale) + 0.5 * math.log(2 * math.pi))
    return squares * (0.5 / (scale * scale * n_rows)) + constant, missed.mul_(1 / (scale * scale * n_rows))


def _values(chain: Linears) -> list[Tensor]:
    """The weights turned, (n_in, n_out), and the biases, (1, n_out), of each layer, over the layers' memory."""
    return [part for linear, _ in chain for part in (linear.weight.data.t(), linear.bias.data[None])]


@dataclass(frozen=True)
class Rule:
    """What Adam may differ in from model to model, and what not."""

    betas: tuple[float, float]
    epsilon: float
    decoupled: bool


class ManyAdam:
    """Adam or AdamW for K models, each with its own learning rate and weight decay.

    Parameters
    ----------
    rule : what is the same for all.
    decays : the weight decay of each.
    layout, k : where the parameters stand.
    like : a tensor of the parameters' type.

    >>> adam = ManyAdam(Rule((0.9, 0.999), 1e-8, False), [0.0, 0.0], Layout([(1, 1)]), torch.zeros(()))
    >>> weights = torch.zeros(4)  # of both models the weight, then of both the bias
    >>> adam.step(weights, torch.ones(4), [0.1, 0.2])
    >>> weights
    tensor([-0.1000, -0.2000, -0.1000, -0.2000])
    """

    def __init__(self, rule: Rule, decays: Sequence[float], layout: Layout, like: Tensor):
        self.rule, self.decays, self.layout = rule, list(decays), layout
        self.means, self.squares = (like.new_zeros(len(self.decays) * layout.size) for _ in range(2))
        self.steps = torch.zeros((), dtype=torch.float32)
        self.kernel = getattr(torch, KERNELS[rule.decoupled]) if available(like.device) else None

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these models only."""
        k = len(self.decays)
        self.means, self.squares = (self.layout.select(one, k, places) for one in (self.means, self.squares))
        self.decays = [self.decays[place] for place in places]

    @torch.no_grad()
    def step(self, vector: Tensor, slope: Tensor, rates: Sequence[float]) -> None:
        """Change the vector along its gradient, which may be written into."""
        self.steps.add_(1)
        alike = len(set(rates)) == 1 and len(set(self.decays)) == 1
        if self.kernel is None or not alike:
            self._plain_step(vector, slope, rates)
            return
        self.kernel(
            [vector],
            [slope],
            [self.means],
            [self.squares],
            [],
            [self.steps],
            lr=rates[0],
            beta1=self.rule.betas[0],
            beta2=self.rule.betas[1],
            weight_decay=self.decays[0],
            eps=self.rule.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _plain_step(self, vector: Tensor, slope: Tensor, rates: Sequence[float]) -> None:
        (first, second), n_steps = self.rule.betas, float(self.steps)
        decay, rate = (vector.new_tensor(values).view(-1, 1, 1) for values in (self.decays, rates))
        parts = self.layout.parts(vector, len(rates))
        if any(self.decays):
            for part, own in zip(parts, self.layout.parts(slope, len(rates)), strict=True):
                part.mul_(1 - rate * decay) if self.rule.decoupled else own.addcmul_(part, decay)
        self.means.lerp_(slope, 1 - first)
        self.squares.mul_(second).addcmul_(slope, slope, value=1 - second)
        torch.sqrt(self.squares, out=slope).mul_((1 - second**n_steps) ** -0.5).add_(self.rule.epsilon)
        torch.div(self.means, slope, out=slope)
        rate = rate / -(1 - first**n_steps)
        for part, own in zip(parts, self.layout.parts(slope, len(rates)), strict=True):
            part.addcmul_(own, rate)
