"""An encoder with a linear head on its code, as one torch module, and how it is tuned on labels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.damage.base import Damage
from isthmus.data.base import Data
from isthmus.module import AutoencoderModule
from isthmus.tasks._heads import Weights
from isthmus.training import Batch, History, Training, train
from isthmus.training.applying import Array, apply
from isthmus.training.devices import own_randomness, reseed

Places = npt.NDArray[np.int64]


def read_features(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """The code of each sample, laid flat, (B, n); of samples whose size is free the mean over the places of a grid."""
    code = module.encode(x, weight)
    spec = getattr(module, "spec", None)
    if code.ndim < 3 or spec is None or not spec.free:
        return code.flatten(1)
    present = _present_places(module, code, weight)
    return (code * present).flatten(1, -2).sum(1) / present.flatten(1, -2).sum(1).clamp_min(1)


def _present_places(module: AutoencoderModule, code: Tensor, weight: Tensor | None) -> Tensor:
    """1 at the places of a grid of codes that belong to the sample, 0 in its padding, (B, ..., 1)."""
    stride = getattr(module.network, "stride", None)
    if weight is None or stride is None or weight.ndim != 4:
        return code.new_ones(*code.shape[:-1], 1)
    inside = (weight != 0).to(code).amax(1, keepdim=True)  # holes of a picture may weigh less than nothing
    pooled = functional.max_pool2d(inside, stride, stride, ceil_mode=True)
    return pooled.movedim(1, -1)[:, : code.shape[1], : code.shape[2]]


@dataclass(frozen=True)
class Given:
    """Samples that were opened, and how their tensors are made."""

    data: Data
    samples: Any
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, rows: Any) -> Batch:
        """These rows as tensors."""
        return self.data.batch(self.samples, rows, self.dtype)

    def through(self, module: nn.Module, read: Callable[[Batch], Tensor], rows: Places | None = None) -> Array:
        """What `read` gives for every sample, or for these."""
        n_samples = len(self) if rows is None else len(rows)
        chosen = self.batch if rows is None else lambda stretch: self.batch(rows[stretch])
        return apply(module, chosen, n_samples, read, self.data.spec.size)


class Reader(nn.Module):
    """sample → encoder → code, scaled → linear: one output for each class, or one for a number.

    Parameters
    ----------
    module : the trained autoencoder; its decoder is not used.
    mean, scale : of the code, (n,).
    n_outputs : how many outputs.
    damage : how samples are spoiled while it is tuned; None leaves them.
    """

    def __init__(self, module: AutoencoderModule, mean: Tensor, scale: Tensor, n_outputs: int, damage: Damage | None):
        super().__init__()
        self.module = module
        self.head = nn.utils.skip_init(nn.Linear, len(mean), n_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())
        self.damage = damage
        self.to(next(module.parameters()))

    def features(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """The code, each number with mean 0 and standard deviation 1 over the training samples, (B, n)."""
        codes = read_features(self.module, x, weight)
        return (codes - cast(Tensor, self.mean)) / cast(Tensor, self.scale)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        return cast(Tensor, self.head(self.features(x, weight)))

    def loss(self, x: Tensor, weight: Tensor | None, seen: Tensor | None, target: Tensor) -> Tensor:
        """Cross-entropy with shares of classes, which may add up to less than 1, or half the squared error."""
        if self.training and self.damage is not None:
            seed = int(torch.randint(2**62, ()))
            x = self.damage(x, self.module.spec, torch.Generator(x.device).manual_seed(seed))
        found = self(x, weight)
        if target.shape[1] == 1:
            return cast(Tensor, (found - target).square().sum(1).mean() / 2)
        return cast(Tensor, -(target * found.log_softmax(1)).sum(1).mean())

    def begin_with(self, weights: Weights) -> None:
        """Take these weights for the head."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights.weights))
            self.head.bias.copy_(torch.from_numpy(weights.bias))


@dataclass(frozen=True)
class Lessons:
    """What a reader is tuned on: rows, and the target of each, (n_rows, n_outputs)."""

    rows: Places
    targets: Tensor


def tuned(reader: Reader, given: Given, lessons: Lessons, training: Training, seed: int) -> tuple[Reader, History]:
    """A copy of the reader, trained on the lessons from the first layer of the encoder to the head."""
    fresh = copy.deepcopy(reader)
    device = next(fresh.parameters()).device
    kind = next(fresh.parameters()).dtype
    inside = Given(given.data, given.samples, kind)
    targets = lessons.targets.to(kind)

    def batches(places: Any) -> Batch:
        batch = inside.batch(lessons.rows[places])
        return Batch(batch.x, batch.weight, targets[torch.as_tensor(places)])

    with own_randomness(device):
        reseed(device, seed)
        _only_what_is_used(fresh, batches(np.arange(min(2, len(lessons.rows)))).to(device))
        history = train(fresh, batches, len(lessons.rows), training, seed=seed)
    for parameter in fresh.parameters():
        parameter.requires_grad_(True)
    return fresh, history


def _only_what_is_used(reader: Reader, batch: Batch) -> None:
    """The decoder, and whatever else has no part in the answer, stays as it is."""
    reader.eval()
    assert batch.target is not None
    reader.loss(batch.x, batch.weight, None, batch.target).backward()
    for parameter in reader.parameters():
        parameter.requires_grad_(parameter.requires_grad and parameter.grad is not None)
        parameter.grad = None
