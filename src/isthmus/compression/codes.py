"""Codes as whole numbers: the indices of a variant whose codes are discrete, or codes rounded to steps.

The step of each number of a code follows from how much it changes the output, so that rounding any of them costs the
same. Axes: n samples, h and w of a grid of codes (1 where a code is one vector), k numbers of a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isthmus.compression.stack import Floats, Whole
from isthmus.module import AutoencoderModule
from isthmus.training import Batch

QUALITIES = 10
MIDDLE = 5  # the quality whose rounding errs as much as the autoencoder does
ENDS = 2048  # rounded codes reach from -ENDS to ENDS - 1; what lies beyond is cut off
TRIED = 500_000  # numbers of samples that this is tried on, at most, besides the first batch
NUDGE = 0.1  # standard deviations of a code: how far each is moved to see what it does


@dataclass
class Codes:
    """How codes become whole numbers.

    Parameters
    ----------
    module : the trained autoencoder.
    centre : of each number of a code, which becomes 0, (k,).
    step : of each number, at the middle quality, (k,).
    """

    module: AutoencoderModule
    centre: Floats
    step: Floats

    @property
    def discrete(self) -> bool:
        """Whether codes are whole numbers as they are."""
        return is_discrete(self.module)

    def whole(self, batch: Batch, quality: int) -> Whole:
        """The codes of these samples, (n, h, w, k)."""
        return self.rounded(self.read(batch), quality)

    def read(self, batch: Batch) -> Any:
        """The codes as they are, (n, h, w, k): whole numbers where they are discrete."""
        module = self.module
        if not self.discrete:
            return _grid(module, module.encode(batch.x, batch.weight)).double().numpy()
        features = module.features(batch.x, batch.weight)
        owner: Any = module.bottleneck
        indices = owner.indices(features) if hasattr(owner, "indices") else features > 0
        return _grid(module, indices).numpy().astype(np.int64)

    def rounded(self, codes: Any, quality: int) -> Whole:
        """Codes as whole numbers."""
        if self.discrete:
            return cast(Whole, codes)
        found: Whole = np.rint((codes - self.centre) / self.steps(quality)).clip(-ENDS, ENDS - 1).astype(np.int64)
        return found

    def values(self, whole: Whole, quality: int, like: Tensor) -> Tensor:
        """The codes that whole numbers stand for, as the module takes them."""
        module = self.module
        if self.discrete:
            owner: Any = module.bottleneck
            indices = torch.from_numpy(whole)
            found = (
                owner.lookup(indices) if hasattr(owner, "lookup") else indices * (1 + owner.signs) - int(owner.signs)
            )
        else:
            found = torch.from_numpy(whole * self.steps(quality) + self.centre)
        codes: Tensor = found.to(like)
        return codes if module.network.code_axes > 1 else codes[:, 0, 0]

    def steps(self, quality: int) -> Floats:
        """The step of each number; from one quality to the next it shrinks by the root of two."""
        finer: Floats = self.step * 2.0 ** ((MIDDLE - quality) / 2)
        return finer


def is_discrete(module: AutoencoderModule) -> bool:
    """Whether the codes of a module are whole numbers as they are."""
    return module.bottleneck.name() in ("quantized", "finite_scalar", "binary")


def codes_of(module: AutoencoderModule, batches: list[Batch]) -> Codes:
    """How to round the codes of a module, seen on some training samples."""
    if is_discrete(module):
        return Codes(module, np.zeros(1), np.ones(1))
    codes = [_grid(module, module.encode(batch.x, batch.weight)) for batch in batches]
    flat = torch.cat([one.flatten(0, 2) for one in codes]).double()
    spread = flat.std(0, correction=0)
    errors: list[float] = []
    effects: list[Floats] = []
    numbers = 0
    for batch, code in zip(batches, codes, strict=True):
        if effects and (numbers := numbers + batch.x.numel()) > TRIED:
            break
        weight = _sizes(module, batch)
        shaped = code if module.network.code_axes > 1 else code[:, 0, 0]
        mean = module.decode(shaped, weight).mean
        errors.append(float((mean - batch.x).square()[_present(batch)].mean()))
        effects.append(_effects(module, shaped, mean, weight, spread.to(code)))
    effect = np.sqrt(np.mean(np.square(effects), axis=0)) / np.maximum(NUDGE * spread.numpy(), 1e-12)
    alive = max(1, int((effect * spread.numpy() > 1e-3 * (effect * spread.numpy()).max()).sum()))
    each = np.sqrt(
        12 * max(float(np.mean(errors)), 1e-12) / alive
    )  # what one step may change in a value, root mean square
    widest = 4 * np.maximum(spread.numpy(), 1e-12)
    return Codes(module, flat.mean(0).numpy(), np.minimum(each / np.maximum(effect, 1e-12), widest))


def _effects(module: AutoencoderModule, code: Tensor, mean: Tensor, weight: Tensor | None, spread: Tensor) -> Floats:
    """How much a nudge of each number of the codes changes a value, as a root mean square, (k,)."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for place in range(code.shape[-1]):
        signs = torch.randint(0, 2, code.shape[:-1], generator=generator).to(code) * 2 - 1
        moved = code.clone()
        moved[..., place] += NUDGE * spread[place] * signs
        found.append(float((module.decode(moved, weight).mean - mean).square().mean().sqrt()))
    return np.array(found)


def _present(batch: Batch) -> Tensor:
    return torch.ones_like(batch.x, dtype=torch.bool) if batch.weight is None else batch.weight > 0


def _sizes(module: AutoencoderModule, batch: Batch) -> Tensor | None:
    """What tells a decoder the size of each sample, where it asks for it."""
    if not module.spec.free:
        return None
    return torch.ones_like(batch.x) if batch.weight is None else batch.weight


def _grid(module: AutoencoderModule, codes: Tensor) -> Tensor:
    """(n, h, w, k)"""
    return codes if module.network.code_axes > 1 else codes[:, None, None]
