"""The Jacobian of a chain of linear layers, without a backward pass.

Axes: B samples of the batch, n_i outputs of layer i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: The slope of an activation, given what it gave: those that tell it.
SLOPES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Identity: lambda module, out: torch.ones_like(out),
    nn.Sigmoid: lambda module, out: out * (1 - out),
    nn.Tanh: lambda module, out: 1 - out.square(),
    nn.ReLU: lambda module, out: (out > 0).to(out),
    nn.LeakyReLU: lambda module, out: torch.where(out > 0, torch.ones_like(out), module.negative_slope),
    nn.ELU: lambda module, out: torch.where(out > 0, torch.ones_like(out), out + module.alpha),
}


def squared_norm(chain: Sequence[tuple[nn.Linear, nn.Module]], outputs: Sequence[Tensor]) -> Tensor | None:
    """The squared Frobenius norm of the last output's Jacobian by the first input, (B,).

    Parameters
    ----------
    chain : linear layers, each with the activation behind it.
    outputs : what each layer gave, (B, n_i).

    None where the slope of an activation does not follow from its output, or an output is not given.

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> nn.init.constant_(linear.weight, 3.0).requires_grad_(False)
    Parameter containing:
    tensor([[3., 3.]])
    >>> squared_norm([(linear, nn.Identity())], [torch.ones(1, 1)])
    tensor([18.])
    """
    if len(chain) != len(outputs) or any(type(after) not in SLOPES for _, after in chain):
        return None
    weights = [linear.weight for linear, _ in chain]
    slopes = [SLOPES[type(after)](after, out) for (_, after), out in zip(chain, outputs, strict=True)]
    if len(chain) == 1:
        return slopes[0].square() @ weights[0].square().sum(1)
    gram = weights[0] @ weights[0].t()  # the first layer enters through its products alone
    if len(chain) == 2 and type(chain[1][1]) is nn.Identity:
        return ((slopes[0] @ (gram * (weights[1].t() @ weights[1]))) * slopes[0]).sum(1)
    back = slopes[-1].unsqueeze(2) * weights[-1]  # (B, n_last, n_before)
    for weight, slope in zip(weights[-2:0:-1], slopes[-2:0:-1], strict=True):
        back = (back * slope.unsqueeze(1)) @ weight
    back = back * slopes[0].unsqueeze(1)
    return ((back @ gram) * back).sum((1, 2))
