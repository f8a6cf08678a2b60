"""What stands between the linear layers of every network."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


def gain(activation: str) -> float:
    """By how much the weights before an activation are larger, so that its output keeps the spread of its input.

    >>> round(gain("relu") ** 2, 6), gain("linear")
    (2.0, 1)
    """
    like_relu = activation in ("gelu", "elu", "silu")  # which torch does not know
    return nn.init.calculate_gain("relu" if like_relu else activation)  # type: ignore[arg-type]
