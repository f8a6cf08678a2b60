"""One step of training: the terms of the loss over a batch, and their gradients; by autograd, or a faster way.

Every way gives the same within rounding; no layer and no variant knows which one is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from isthmus.module import AutoencoderModule
from isthmus.training.batch import Batch
from isthmus.training.dense_step import DenseStep
from isthmus.training.settings import Training


class Step(Protocol):
    """A way to the gradients."""

    #: Kept in a checkpoint: a run goes on the way that it came.
    name: str

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizers are to change; their `grad` is what `terms` found."""
        ...

    def terms(self, batch: Batch, generator: torch.Generator, learn: bool) -> Mapping[str, Tensor | float]:
        """All terms of the loss, as scalars; where asked to `learn`, also the gradients."""
        ...

    def release(self) -> None:
        """Leave the module as it was, but for its weights."""
        ...


def step_of(module: nn.Module, training: Training, n_rows: int, bf16: bool = False, one_thread: bool = False) -> Step:
    """The fastest way there is for this module.

    Parameters
    ----------
    module : what is trained.
    training : the settings.
    n_rows : rows of one batch.
    bf16 : whether products are taken in bfloat16; weights, loss and optimizer stay in float32.
    one_thread : whether the run has one thread.
    """
    if DenseStep.fits(module, training):
        assert isinstance(module, AutoencoderModule)
        return DenseStep(module, n_rows, bf16, one_thread)
    return AutogradStep(module, training, bf16)


class AutogradStep:
    """Any module, by torch's own gradients."""

    def __init__(self, module: nn.Module, training: Training, bf16: bool = False):
        self.module, self.l1, self.bf16 = module, training.l1, bf16
        self.has_l1 = bool(training.l1)  # which may begin at 0
        self.name = "autograd, bf16" if bf16 else "autograd"
        _lay(module, torch.channels_last)  # a picture's channels side by side: convolutions are faster so

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.module.parameters())

    def terms(self, batch: Batch, generator: torch.Generator, learn: bool) -> dict[str, Tensor]:
        with torch.set_grad_enabled(learn), half_products(self.module) if self.bf16 else contextlib.nullcontext():
            loss, terms = self._loss(batch, generator)
        if learn:
            self.module.zero_grad(set_to_none=True)
            loss.backward()
        return {name: value.detach() for name, value in terms.items()} | {"loss": loss.detach()}

    def _loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, and all that it is made of."""
        if isinstance(self.module, AutoencoderModule):
            done = self.module.reconstruct(batch.x, batch.weight, target=batch.target, generator=generator)
            loss, terms = self.module.penalise(done).loss, done.terms()
        else:
            loss, terms = self.module.loss(batch.x, batch.weight, None, batch.target), {}  # type: ignore[operator]
        if self.has_l1:
            terms["l1"] = self.l1 * _l1(self.module)
            loss = loss + terms["l1"]
        return loss, terms

    def release(self) -> None:
        _lay(self.module, torch.contiguous_format)


def _lay(module: nn.Module, order: torch.memory_format) -> None:
    """Keep the weights of convolutions in this order in memory; other parameters have only one."""
    module.to(memory_format=order)  # type: ignore[call-overload]


@contextlib.contextmanager
def half_products(module: nn.Module) -> Iterator[None]:
    """Within it, encoder and decoder multiply in bfloat16; what they give is float32 again.

    A module with halves of its own kind is computed in torch's autocast as a whole.
    """
    network = getattr(module, "network", None)
    halves = [getattr(network, name, None) for name in ("encoder", "decoder")]
    found = [half for half in halves if isinstance(half, nn.Module)]
    if not found:
        with torch.autocast(next(module.parameters()).device.type, torch.bfloat16):
            yield
        return
    for half in found:
        half.forward = _in_half(half, half.forward)
    try:
        yield
    finally:
        for half in found:
            del half.forward


def _in_half(half: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def computed(*given: Any, **named: Any) -> Tensor:
        with torch.autocast(next(half.parameters()).device.type, torch.bfloat16):
            found = forward(*given, **named)
        for activations in [*given, *named.values()]:
            if isinstance(activations, list):  # penalties look at them
                activations[:] = [activation.float() for activation in activations]
        return found.float()

    return computed


def _l1(module: nn.Module) -> Tensor:
    first = next(module.parameters())
    return sum((weights.abs().sum() for weights in module.parameters() if weights.ndim > 1), first.new_zeros(()))
