"""Missing cells of rows: what a trained autoencoder expects there, or draws from its likelihood.

Axes: B rows of a batch, E elements of a row as a tensor, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.drawing import draw, one_hot
from isthmus.module import AutoencoderModule
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch


@dataclass(frozen=True)
class Draws:
    """How many tables are drawn, in how many rounds each, from which seed."""

    number: int
    rounds: int
    random_state: int | np.random.RandomState | None


def expected(module: AutoencoderModule, spec: SampleSpec, batch: Batch) -> Tensor:
    """The rows with missing numbers at their mean and missing words at the most probable one, (B, E)."""
    if batch.weight is None:
        return batch.x
    made = module.decode(module.encode(batch.x, batch.weight)).mean
    return torch.where(batch.weight > 0, batch.x, one_hot(made, spec))


def drawn(module: AutoencoderModule, spec: SampleSpec, batch: Batch, rounds: int, generator: torch.Generator) -> Tensor:
    """The rows with missing cells drawn from the likelihood, (B, E).

    In every round each row fixes some of its missing cells, in a random order; what follows is encoded with what was
    fixed. With as many rounds as there are gaps this is the chain rule of probabilities (Uria et al. 2014).
    """
    if batch.weight is None:
        return batch.x
    x, weight = batch.x, batch.weight
    missing = spec.gather((weight <= 0).to(x)) > 0  # (B, C)
    order = torch.rand(missing.shape, generator=generator, device=x.device, dtype=torch.float32)
    rank = order.masked_fill(~missing, torch.inf).argsort(1).argsort(1)
    turn = (rank * rounds) // missing.sum(1, keepdim=True).clamp_min(1)
    for one in range(rounds):
        now = spec.spread(missing & (turn == one))
        if bool(now.any()):
            law = module.decode(_code(module, spec, x, weight, generator))
            x = torch.where(now, draw(law, spec, generator), x)
            weight = torch.where(now, 1.0, weight)
    return x


def _code(module: AutoencoderModule, spec: SampleSpec, x: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """The code, drawn where it is a distribution."""
    if not isinstance(module, AutoencoderModule) or not module.bottleneck.changes("bottleneck"):
        return module.encode(x, weight)
    pass_ = Reconstruction(spec, x, weight, x, weight, x, generator)
    return module.bottleneck.bottleneck(module.features(x, weight), pass_)[0][0]
