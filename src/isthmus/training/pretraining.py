"""Greedy layer-wise training of a stacked autoencoder, before it is trained as a whole.

Stage k trains the k-th layer of the encoder, counted from the outside, with the layer of the decoder that undoes it;
the layers inside are left out of the pass, and those outside stay as earlier stages left them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError, TrainingError
from isthmus.module import AutoencoderModule
from isthmus.networks.base import mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.training.batch import Batch
from isthmus.training.layerwise import Layerwise
from isthmus.training.optimizers import Stepper
from isthmus.training.parallel import Peers
from isthmus.training.rows import Rows
from isthmus.training.settings import Training, optimizers_of

FIRST_EPOCH = 2**30  # of the orders of rows: others than those of training

Stages = Sequence[tuple[nn.Module, nn.Module]]


def stages_of(module: nn.Module) -> Stages:
    """The pairs of layers, from the outside in.

    Raises
    ------
    SettingError : where there are none, or fewer than two, which is no stack.
    """
    stages = module.stages() if isinstance(module, AutoencoderModule) else []
    if len(stages) < 2 or (isinstance(module, AutoencoderModule) and module.spec.free):
        raise SettingError(
            "pretrain needs a network of at least two pairs of layers, one undoing the other, and samples of one size "
            "(dense with hidden layers, conv without skips); leave pretrain out."
        )
    return stages


@contextlib.contextmanager
def stage(stages: Stages, index: int) -> Iterator[list[nn.Parameter]]:
    """Within it the layers inside of stage `index` hand on what they get, and only its own two can learn.

    Gives the parameters that can. Weights that a decoder shares with its encoder are learned in both roles.
    """
    inside = [layer for pair in stages[index + 1 :] for layer in pair]
    own = [parameter for layer in stages[index] for parameter in layer.parameters() if parameter.requires_grad]
    others = [parameter for pair in stages for layer in pair for parameter in layer.parameters()]
    frozen = [one for one in others if one.requires_grad and not any(one is mine for mine in own)]
    for layer in inside:
        layer.forward = _hand_on
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield own
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for layer in inside:
            del layer.forward


def _hand_on(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden


def shallow_loss(module: AutoencoderModule, batch: Batch, generator: torch.Generator, innermost: bool) -> Tensor:
    """The mean distortion of a pass in which layers are left out."""
    x = mask_absent(batch.x, batch.weight)
    target = x if batch.target is None else mask_absent(batch.target, batch.weight)
    pass_ = Reconstruction(module.spec, x, batch.weight, x, batch.weight, target, generator)
    for variant in module.variants:
        variant.corrupt(pass_)
    features = module.network.encoder(pass_.seen, pass_.seen_weight)
    raw = module.network.decoder(module.code_of(features) if innermost else features)
    pass_.output = module.likelihood(raw.unsqueeze(0), module.spec)
    return module.cells(pass_).flatten(2).sum(2).mean()


def pretrain(
    module: nn.Module,
    part: Layerwise,
    training: Training,
    orders: Callable[[int], Iterable[Rows]],
    batches: Callable[[Rows], Batch],
    generator: torch.Generator,
    peers: Peers,
) -> list[list[float]]:
    """Train one pair of layers after the other, in place; gives the mean distortion of every epoch of every stage.

    Parameters
    ----------
    module : what is trained.
    part : for how long.
    training : optimizer, learning rate and limit of the gradient.
    orders : the rows of each step of an epoch, given the epoch's number.
    batches : gives the rows asked for.
    generator : for what corrupts.
    peers : who shares the work.
    """
    stages = stages_of(module)
    assert isinstance(module, AutoencoderModule)
    rate = training.rate(module.spec.shape)
    losses: list[list[float]] = []
    for index in range(len(stages)):
        with stage(stages, index) as own:
            optimizers, found = optimizers_of(own, (), training, rate), list[float]()
            for number in range(part.epochs):
                total, n_rows = 0.0, 0
                for rows in orders(FIRST_EPOCH + index * part.epochs + number):
                    share = peers.share(rows)
                    batch = batches(share.rows)
                    loss = shallow_loss(module, batch, generator, innermost=index + 1 == len(stages))
                    module.zero_grad(set_to_none=True)
                    loss.backward()
                    told = peers.mean(own, {"loss": loss.detach()}, share, asked=False)
                    _take_steps(optimizers, own, training)
                    total, n_rows = total + float(told["loss"]) * len(rows), n_rows + len(rows)
                found.append(total / n_rows)
                _refuse_infinite(found[-1], index, rate)
        losses.append(found)
    module.zero_grad(set_to_none=True)
    return losses


def _take_steps(optimizers: Iterable[Stepper], own: list[nn.Parameter], training: Training) -> None:
    if training.clip is not None:
        nn.utils.clip_grad_norm_(own, training.clip)
    for optimizer in optimizers:
        optimizer.step()


def _refuse_infinite(loss: float, index: int, rate: float) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} in layer-wise training of layer {index + 1}; most likely the learning rate "
            f"{rate:g} is too large: try {rate / 10:g}, or clip=1.0."
        )
