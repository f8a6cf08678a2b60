"""A chain of linear layers and activations with its gradients written out: autograd's result without its bookkeeping.

Axes: B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.training._products import Linear

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An activation and its gradient: (gradient by the output, what was kept, memory to use or None) → by the input."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[..., Tensor]
    keeps_output: bool  # whether the gradient needs the output or the input


def _slope(kernel: Any, given: tuple[Any, ...], room: Tensor | None, **named: Any) -> Tensor:
    """The gradient that torch's kernel gives; into this memory where it is given, which saves a new place for it."""
    found: Tensor = kernel(*given, **named) if room is None else kernel.grad_input(*given, **named, grad_input=room)
    return found


def _leaky(slope: float) -> Activation:
    return Activation(
        lambda x: aten.leaky_relu(x, slope),
        lambda g, y, room=None: _slope(aten.leaky_relu_backward, (g, y, slope, True), room),
        True,
    )


def _elu(alpha: float, scale: float) -> Activation:
    return Activation(
        lambda x: aten.elu(x, alpha, scale),
        lambda g, y, room=None: _slope(aten.elu_backward, (g, alpha, scale, 1.0, True, y), room),
        True,
    )


RELU = Activation(torch.relu_, lambda g, y, room=None: _slope(aten.threshold_backward, (g, y, 0), room), True)


def activation_of(layer: nn.Module) -> Activation | None:
    """What stands for this layer; None for one that is not known here.

    >>> activation_of(nn.ReLU()) is RELU, activation_of(nn.Softmax(1))
    (True, None)
    """
    match layer:
        case nn.ReLU():
            return RELU
        case nn.GELU(approximate=how):
            return Activation(
                lambda x: aten.gelu(x, approximate=how),
                lambda g, x, room=None: _slope(aten.gelu_backward, (g, x), room, approximate=how),
                False,
            )
        case nn.Tanh():
            return Activation(torch.tanh_, lambda g, y, room=None: _slope(aten.tanh_backward, (g, y), room), True)
        case nn.Sigmoid():
            return Activation(torch.sigmoid_, lambda g, y, room=None: _slope(aten.sigmoid_backward, (g, y), room), True)
        case nn.SiLU():
            return Activation(aten.silu, lambda g, x, room=None: _slope(aten.silu_backward, (g, x), room), False)
        case nn.LeakyReLU(negative_slope=slope):
            return _leaky(slope)
        case nn.ELU(alpha=alpha):
            return _elu(alpha, 1.0)
        case nn.SELU():
            return _elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946)
    return None


class Chain:
    """Layers one after another; `backward` fills the gradients of what `forward` went through last.

    Parameters
    ----------
    layers : each linear layer with the activation after it, if any.
    """

    def __init__(self, layers: Sequence[tuple[Linear, Activation | None]]):
        self.layers = layers
        self._rooms: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._kept: list[Tensor] = []  # what each activation's gradient needs

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        """(B, n_in) becomes (B, n_out); `extra` joins what the first linear layer gives."""
        self._kept = []
        for (linear, activation), (room, _) in zip(self.layers, self._memory(x.shape[0]), strict=True):
            fused = activation is RELU and extra is None
            x = before = linear.forward(x, fused, room)
            if extra is not None:
                x, extra = x + extra.to(x.dtype), None
                before = x
            if activation is not None and not fused:
                x = activation.forward(x)
            self._kept.append(before if activation is not None and not activation.keeps_output else x)
        return x

    def backward(self, slope: Tensor) -> Tensor:
        """From the gradient by the output to that by the first linear layer's output, (B, n)."""
        rooms = self._memory(slope.shape[0])
        own = False  # what came in is another's, and may be a view with many places on one number
        for place in range(len(self.layers) - 1, -1, -1):
            linear, activation = self.layers[place]
            if activation is not None:
                slope = activation.backward(slope, self._kept[place], slope if own else None)
            linear.learn(slope)
            if place:
                slope, own = linear.back(slope, rooms[place][1]), True
        return slope

    def input_gradient(self, slope: Tensor) -> Tensor:
        """From what `backward` gave to the gradient by the chain's input, (B, n_in)."""
        return self.layers[0][0].back(slope, self._memory(slope.shape[0])[0][1])

    def _memory(self, n_rows: int) -> list[tuple[Tensor, Tensor]]:
        """For batches of this size: where the outputs may lie, and the gradients by the inputs."""
        if n_rows not in self._rooms:
            sizes = [linear.weight.shape for linear, _ in self.layers]
            new = self.layers[0][0].weight.new_empty
            self._rooms[n_rows] = [(new(n_rows, n_out), new(n_rows, n_in)) for n_out, n_in in sizes]
        return self._rooms[n_rows]
