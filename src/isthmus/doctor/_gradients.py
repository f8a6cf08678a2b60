"""One step tried on a copy before training: whether gradients reach every layer, and what the whole will cost."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.doctor.base import Finding
from isthmus.metrics import explained_variance
from isthmus.module import AutoencoderModule
from isthmus.training import Batch, Training

ROWS = 32
MOST_NUMBERS = 2**18  # in the samples of the step
MOST_WEIGHTS = 2**24  # of a module that is copied for it
FAINT = 1e-6  # of the largest: layers whose gradient is smaller hear nothing
FAR = 1e4  # variances
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
PACE = 5e10  # floating point operations in a second of one core, about
LONG = 3600.0  # seconds
BYTES = 16  # a weight in float32, its gradient and the optimizer's two averages
FULL = 0.8  # of the memory


@dataclass(frozen=True)
class Step:
    """What one pass forward and back told.

    Parameters
    ----------
    norms : the size of each layer's gradient, in the order in which a sample meets them; NaN where there is none.
    operations : of the forward pass of these rows.
    off : the squared error of the first output, in variances of the samples.
    """

    norms: list[float]
    operations: float
    off: float


def of_first_step(module: AutoencoderModule, some: Batch, n_rows: int, training: Training | None) -> Iterable[Finding]:
    """What one forward and backward pass of a few rows tells."""
    weights = sum(parameter.numel() for parameter in module.parameters())
    yield from _memory(weights)
    if weights > MOST_WEIGHTS or some.x[0].numel() > MOST_NUMBERS:
        return
    n = max(2, min(ROWS, MOST_NUMBERS // some.x[0].numel()))
    weight, target = (None if one is None else one[:n] for one in (some.weight, some.target))
    try:
        step = tried(module, Batch(some.x[:n], weight, target))
    except Exception:  # of layers of one's own: training says what is wrong with them
        return
    yield from _gradients(step)
    if training is not None and next(module.parameters()).device.type == "cpu":
        yield from _time(3 * step.operations / n, n_rows, training, module.spec.shape)


def tried(module: AutoencoderModule, few: Batch) -> Step:
    """One pass on a copy, so that nothing is left behind; without dropout, and with a generator of its own."""
    with torch.random.fork_rng(devices=[]):
        twin = copy.deepcopy(module).eval()
    device = next(twin.parameters()).device
    few = few.to(device)
    layers = [layer for layer in twin.network.modules() if isinstance(layer, LAYERS)]
    with torch.enable_grad(), _counted(layers) as operations:
        generator = torch.Generator(device).manual_seed(0)
        done = twin.reconstruct(few.x, few.weight, target=few.target, generator=generator)
        done.loss.backward()
    gradients = [layer.weight.grad for layer in layers if layer.weight.requires_grad]
    norms = [math.nan if one is None else float(one.norm()) for one in gradients]
    assert done.output is not None
    explained = explained_variance(done.target, done.output.mean[0].detach(), few.weight)
    return Step(norms, sum(operations), 1 - explained)


@contextmanager
def _counted(layers: Iterable[nn.Module]) -> Iterator[list[float]]:
    """The operations of these layers: two for each weight that each number of the output is a sum of."""
    found: list[float] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        many = given[0] if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d)) else out
        found.append(2.0 * many.numel() * weight[0].numel())

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _gradients(step: Step) -> Iterable[Finding]:
    known = [norm for norm in step.norms if not math.isnan(norm)]
    if step.off > FAR or not all(map(math.isfinite, known)):
        size = f"{step.off:.0e} times" if math.isfinite(step.off) else "infinitely many times"
        yield Finding(
            "exploding_gradients",
            f"before the first step the output is {size} the variance of the data away from them: values and gradients "
            "grow from layer to layer, and steps will be wild; take smaller initial weights, normalisation='layer', "
            "fewer layers, or clip=1.0.",
        )
    elif len(known) >= 4 and min(known) < FAINT * max(known):
        least = known.index(min(known))
        yield Finding(
            "vanishing_gradients",
            f"before the first step the gradient of layer {least + 1} of {len(known)} is "
            f"{known[least] / max(known):.0e} of the largest: it vanishes on its way back, and such layers "
            "will hardly learn; use activation='gelu' or 'relu', normalisation='layer', fewer layers, or "
            "pretrain='layerwise'.",
        )


# -- cost


def _memory(weights: int) -> Iterable[Finding]:
    there = physical_memory()
    if there and weights * BYTES > FULL * there:
        yield Finding(
            "memory",
            f"the network has {weights:,} weights, for which training holds about {weights * BYTES / 2**30:.0f} GiB, "
            f"and this machine has {there / 2**30:.0f} GiB: it will stop or crawl; take smaller widths, or smaller "
            "samples.",
        )


def physical_memory() -> int:
    """Bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _time(operations: float, n_rows: int, training: Training, shape: tuple[int, ...]) -> Iterable[Finding]:
    """`operations` are those of one row, forward and backward."""
    learned = max(1, round(n_rows * (1 - training.validation)))
    size = training.rows_per_step(learned, shape)
    epochs = training.epochs(math.ceil(learned / size), size, shape)
    seconds = operations * learned * epochs / (PACE * torch.get_num_threads())
    if seconds > LONG:
        yield Finding(
            "cost",
            f"{epochs} epochs of {learned:,} rows take about {operations * learned * epochs:.0e} operations, which is "
            f"{seconds / 3600:.0f} hours or more on this processor: fit on fewer rows first, take fewer epochs, a "
            "smaller network or smaller samples, or a GPU; checkpoint= keeps what is done.",
        )
