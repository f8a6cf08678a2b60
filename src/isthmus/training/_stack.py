"""Chains of linear layers of several models side by side, one product for all of them, with gradients written out.

Axes: K models, B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.training._chain import RELU, activation_of

aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Curve:
    """An activation. `forward(x, room)` may use either's memory; `backward(slope, kept)` may write into slope."""

    forward: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    keeps_output: bool  # whether the gradient needs the output or the input
    keeps_zero: bool = True  # whether zero stays zero, so that units may be added that do nothing


def curve_of(layer: nn.Module) -> Curve | None:
    """What stands for this layer; None for one that is not known here.

    >>> curve_of(nn.Sigmoid()).keeps_zero, curve_of(nn.Softmax(1))
    (False, None)
    """
    if isinstance(layer, nn.GELU):
        how = layer.approximate
        return Curve(
            lambda x, room: aten.gelu.out(x, approximate=how, out=room),
            lambda g, x: aten.gelu_backward.grad_input(g, x, approximate=how, grad_input=g),
            False,
        )
    known = activation_of(layer)
    if known is None:
        return None
    if known is RELU:
        return Curve(
            lambda x, room: x.relu_(), lambda g, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g), True
        )
    zero = not isinstance(layer, nn.Sigmoid)
    return Curve(lambda x, room: known.forward(x), known.backward, known.keeps_output, zero)


class Layout:
    """Where the weights of K models stand in one flat vector: layer by layer, in each the models one after another.

    Parameters
    ----------
    shapes : inputs and outputs of each layer; of layers of different sizes the largest.

    >>> layout = Layout([(2, 3), (3, 1)])
    >>> [tuple(part.shape) for part in layout.parts(torch.zeros(5 * layout.size), 5)]
    [(5, 2, 3), (5, 1, 3), (5, 3, 1), (5, 1, 1)]
    """

    def __init__(self, shapes: Sequence[tuple[int, int]]):
        self.shapes = [part for n_in, n_out in shapes for part in ((n_in, n_out), (1, n_out))]
        self.size = sum(n_in * n_out for n_in, n_out in self.shapes)

    def parts(self, vector: Tensor, k: int) -> list[Tensor]:
        """The weights (K, n_in, n_out) and biases (K, 1, n_out) of each layer in turn, over the vector's memory."""
        sizes = [k * n_in * n_out for n_in, n_out in self.shapes]
        return [part.view(k, *shape) for part, shape in zip(vector.split(sizes), self.shapes, strict=True)]

    def select(self, vector: Tensor, k: int, places: Sequence[int]) -> Tensor:
        """A vector of these models only."""
        return torch.cat([part[list(places)].flatten() for part in self.parts(vector, k)])


class Stack:
    """K chains of layers over one flat vector of parameters; `backward` fills the gradients of the last `forward`.

    Parameters
    ----------
    layout : where the parameters stand.
    vector, slope : the parameters and their gradients.
    k : how many models.
    curves : the activation after each layer, None for none.
    numpy : whether NumPy's library multiplies, torch's otherwise.
    """

    def __init__(
        self, layout: Layout, vector: Tensor, slope: Tensor, k: int, curves: Sequence[Curve | None], numpy: bool
    ):
        self.k, self.curves = k, curves
        parts, slopes = layout.parts(vector, k), layout.parts(slope, k)
        self.weights, self.biases = parts[::2], parts[1::2]
        self.weight_slopes, self.bias_slopes = slopes[::2], slopes[1::2]
        # a product with a turned matrix is slower than turning it and a plain one
        self.turned = [torch.empty_like(weight.mT, memory_format=torch.contiguous_format) for weight in self.weights]
        self.multiply = _by_numpy if numpy else _by_torch
        self._rooms: dict[tuple[str, int], tuple[int, Tensor]] = {}
        self._given: list[Tensor] = []  # what each layer was given
        self._kept: list[Tensor] = []  # what each activation's gradient needs

    def forward(self, x: Tensor, n_layers: int, first: int = 0) -> Tensor:
        """(K, B, n_in) becomes (K, B, n_out), through these layers."""
        if not first:
            self._given, self._kept = [], []
        for place in range(first, first + n_layers):
            n_out, curve = self.weights[place].shape[2], self.curves[place]
            self._given.append(x)
            x = self.multiply(x, self.weights[place], self._room("out", place, x.shape[1], n_out))
            before = x.add_(self.biases[place])
            if curve is not None:
                x = curve.forward(x, before if curve.keeps_output else self._room("after", place, x.shape[1], n_out))
            self._kept.append(x if curve is None or curve.keeps_output else before)
        return x

    def backward(self, slope: Tensor, last: int, first: int = 0) -> Tensor:
        """From the gradient by the output of layer `last` - 1 to that by the input of layer `first`."""
        for place in range(last - 1, first - 1, -1):
            if (curve := self.curves[place]) is not None:
                slope = curve.backward(slope, self._kept[place])
            self.multiply(self._given[place].mT, slope, self.weight_slopes[place])
            torch.sum(slope, 1, keepdim=True, out=self.bias_slopes[place])
            if place:
                room = self._room("slope", place, slope.shape[1], self.weights[place].shape[1])
                slope = self.multiply(slope, self.turned[place].copy_(self.weights[place].mT), room)
        return slope

    def _room(self, what: str, place: int, n_rows: int, width: int) -> Tensor:
        """Memory for (K, B, width), the same at every step."""
        count = self.k * n_rows * width
        rows, room = self._rooms.get((what, place), (0, self.weights[place]))
        if rows < n_rows:
            room = self.weights[place].new_empty(count)
            self._rooms[what, place] = (n_rows, room)
        return room[:count].view(self.k, n_rows, width)


def _by_torch(left: Tensor, right: Tensor, room: Tensor) -> Tensor:
    return torch.bmm(left, right, out=room)


def _by_numpy(left: Tensor, right: Tensor, room: Tensor) -> Tensor:
    np.matmul(left.numpy(), right.numpy(), out=room.numpy())
    return room
