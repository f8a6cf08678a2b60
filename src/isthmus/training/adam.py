"""Adam's step without `torch.optim`, whose first step imports the whole compiler: a second and 80 MB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: torch's own kernel, all of the update in one pass; private, so there is a way without it.
KERNELS = ("_fused_adam_", "_fused_adamw_")


def available(device: torch.device) -> bool:
    """Whether torch still has the kernels, for parameters on this device.

    >>> available(torch.device("meta"))
    False
    """
    return device.type in ("cpu", "cuda") and all(hasattr(torch, name) for name in KERNELS)


class FusedAdam:
    """Adam (Kingma & Ba 2015), or AdamW where the decay is apart from the gradient; bit for bit what torch.optim does.

    It has as much of torch's optimizers as the loop asks for: `param_groups`, `zero_grad`, `step`, `state_dict`.

    Parameters
    ----------
    parameters : what is to change.
    learning_rate : size of the steps; `param_groups[0]["lr"]` from then on.
    betas : how slowly the means of gradients and of their squares forget.
    epsilon : added to the denominator.
    weight_decay : L2 penalty, or share of each weight that goes with every step where `decoupled`.
    decoupled : AdamW (Loshchilov & Hutter 2019).

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> adam = FusedAdam([weight], learning_rate=0.1)
    >>> weight.grad = torch.ones(1)
    >>> adam.step()
    >>> weight.data
    tensor([-0.1000])
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ):
        self.parameters = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self.parameters, "lr": learning_rate}]
        self.betas, self.epsilon, self.weight_decay = betas, epsilon, weight_decay
        self.kernel = getattr(torch, KERNELS[decoupled])
        self.state: dict[int, dict[str, Tensor]] = {}  # by a parameter's place

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.parameters:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self) -> None:
        moving = [place for place, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not moving:  # the kernel wants some
            return
        for place in moving:
            if place not in self.state:
                self.state[place] = _fresh(self.parameters[place])
        states = [self.state[place] for place in moving]
        steps = [state["step"] for state in states]
        for step in steps:
            step.add_(1)
        with torch.no_grad():
            self.kernel(
                [self.parameters[place] for place in moving],
                [self.parameters[place].grad for place in moving],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=self.param_groups[0]["lr"],
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=self.weight_decay,
                eps=self.epsilon,
                amsgrad=False,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        return {"state": {place: dict(state) for place, state in self.state.items()}}

    def load_state_dict(self, document: dict[str, Any]) -> None:
        for place, state in document["state"].items():
            self.state[place] = _fresh(self.parameters[place])
            for name, value in state.items():
                self.state[place][name].copy_(value)  # into the order in memory that the parameter has


def _fresh(parameter: nn.Parameter) -> dict[str, Tensor]:
    """No steps yet, and no moments."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
