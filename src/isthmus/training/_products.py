"""Products of matrices, by whichever library is fastest here: torch's default one, NumPy's, oneDNN, or in bfloat16.

Axes: B rows, n_in and n_out the units of a layer; a weight is (n_out, n_in), as in torch.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: From so many products in one call on, oneDNN's own cost is small beside them.
WORTH = 2**25


class Linear(ABC):
    """One linear layer with its three products; `forward` keeps what the other two need.

    Parameters
    ----------
    weight, bias : the layer's own, (n_out, n_in) and (n_out,).
    weight_slope, bias_slope : where their gradients go.
    """

    def __init__(self, weight: Tensor, bias: Tensor, weight_slope: Tensor, bias_slope: Tensor):
        self.weight, self.bias, self.weight_slope, self.bias_slope = weight, bias, weight_slope, bias_slope
        self.transposed = weight.t()
        self.given = weight[:0]

    @abstractmethod
    def forward(self, x: Tensor, relu: bool, room: Tensor) -> Tensor:
        """x (B, n_in) becomes (B, n_out), with all below zero cut off where `relu`; `room` may hold the result."""

    @abstractmethod
    def learn(self, slope: Tensor) -> None:
        """Write down the gradients, from that by the layer's output (B, n_out)."""

    @abstractmethod
    def back(self, slope: Tensor, room: Tensor) -> Tensor:
        """The gradient by x, (B, n_in); `room` may hold it."""


class Default(Linear):
    """torch's default library; into given memory, which costs least for small products."""

    def forward(self, x: Tensor, relu: bool, room: Tensor) -> Tensor:
        self.given = x
        torch.addmm(self.bias, x, self.transposed, out=room)
        return room.relu_() if relu else room

    def learn(self, slope: Tensor) -> None:
        torch.mm(slope.t(), self.given, out=self.weight_slope)
        torch.sum(slope, 0, out=self.bias_slope)

    def back(self, slope: Tensor, room: Tensor) -> Tensor:
        return torch.mm(slope, self.weight, out=room)


class NumPy(Default):
    """The gradients by NumPy's library, over the same memory: it keeps its speed where products are small."""

    def __init__(self, weight: Tensor, bias: Tensor, weight_slope: Tensor, bias_slope: Tensor):
        super().__init__(weight, bias, weight_slope, bias_slope)
        self._weight, self._weight_slope = weight.numpy(), weight_slope.numpy()

    def learn(self, slope: Tensor) -> None:
        np.matmul(slope.numpy().T, self.given.numpy(), out=self._weight_slope)
        torch.sum(slope, 0, out=self.bias_slope)

    def back(self, slope: Tensor, room: Tensor) -> Tensor:
        np.matmul(slope.numpy(), self._weight, out=room.numpy())
        return room


class OneDNN(Linear):
    """oneDNN in float32: up to twice as fast on processors that the default library does not know well."""

    def forward(self, x: Tensor, relu: bool, room: Tensor) -> Tensor:
        self.given = x
        return _pointwise(x, self.weight, self.bias, relu)

    def learn(self, slope: Tensor) -> None:
        self.weight_slope.copy_(_pointwise(slope.t(), self.given.t(), None, relu=False))
        torch.sum(slope, 0, out=self.bias_slope)

    def back(self, slope: Tensor, room: Tensor) -> Tensor:
        return _pointwise(slope, self.transposed, None, relu=False)


class OneDNNAlone(OneDNN, NumPy):
    """The same on one thread: the weights' gradients by NumPy's library, which needs no copy of what is transposed."""

    learn = NumPy.learn


class Half(Linear):
    """Products of bfloat16, summed up in float32 inside; weights and their gradients stay float32."""

    def forward(self, x: Tensor, relu: bool, room: Tensor) -> Tensor:
        self.given, self.half = x.bfloat16(), self.weight.bfloat16()
        if has_pointwise():
            return _pointwise(self.given, self.half, self.bias.bfloat16(), relu)
        found = torch.addmm(self.bias.bfloat16(), self.given, self.half.t())
        return found.relu_() if relu else found

    def learn(self, slope: Tensor) -> None:
        self.weight_slope.copy_(torch.mm(slope.bfloat16().t(), self.given))
        torch.sum(slope, 0, dtype=self.bias_slope.dtype, out=self.bias_slope)

    def back(self, slope: Tensor, room: Tensor) -> Tensor:
        return torch.mm(slope.bfloat16(), self.half)


def choose(dtype: torch.dtype, n_products: int, bf16: bool, one_thread: bool) -> type[Linear]:
    """By a rule that is fixed for a machine, so that the same seed gives the same weights there.

    Parameters
    ----------
    dtype : the type of the weights.
    n_products : how many there are in one product of the layer's size, B x n_in x n_out.
    bf16 : whether bfloat16 was asked for.
    one_thread : whether the run has one thread; NumPy's threads and torch's would be in each other's way.

    >>> choose(torch.float32, 10**9, bf16=True, one_thread=True).__name__
    'Half'
    """
    if bf16:
        return Half
    if not default_is_slow():
        return Default
    if dtype == torch.float32 and n_products >= WORTH and has_pointwise():
        return OneDNNAlone if one_thread else OneDNN
    return NumPy if one_thread else Default


@functools.cache
def has_pointwise() -> bool:
    """Whether torch lets oneDNN multiply; a private call, tried once."""
    try:
        tried = _pointwise(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4), relu=True)
        return bool((tried == 4.0).all())
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


@functools.cache
def default_is_slow() -> bool:
    """Whether the default library is MKL and the processor not its maker's, where it leaves the widest units unused."""
    try:
        maker = Path("/proc/cpuinfo").read_text(errors="replace").split("vendor_id", 2)[1]
    except (OSError, IndexError):
        return False
    return torch.backends.mkl.is_available() and "GenuineIntel" not in maker.splitlines()[0]


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    kernel: Callable[..., Any] = torch.ops.mkldnn._linear_pointwise
    found: Tensor = kernel(x, weight, bias, "relu" if relu else "none", [], "")
    return found
