"""Optimizers: names and settings; torch does the work."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from isthmus.part import Part
from isthmus.training.adam import FusedAdam, available

Parameters = Iterable[nn.Parameter]


class Stepper(Protocol):
    """What the loop asks of an optimizer, torch's or ours."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, document: dict[str, Any], /) -> None: ...


class Optimizer(Part):
    """How gradients become steps. Learning rate and weight decay come from `Training`."""

    kind: ClassVar[str] = "training"

    @abstractmethod
    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> Stepper:
        """An optimizer over these parameters."""


class Adam(Optimizer):
    """Adaptive moments (Kingma & Ba 2015).

    Parameters
    ----------
    beta1, beta2 : how slowly the running means of gradients and of their squares forget, between 0 and 1.
    epsilon : added to the denominator.
    """

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> Stepper:
        return _adam(parameters, learning_rate, (self.beta1, self.beta2), self.epsilon, weight_decay, decoupled=False)


class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019).

    Parameters
    ----------
    beta1, beta2 : how slowly the running means of gradients and of their squares forget, between 0 and 1.
    epsilon : added to the denominator.
    """

    aliases = ("adamw",)

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> Stepper:
        return _adam(parameters, learning_rate, (self.beta1, self.beta2), self.epsilon, weight_decay, decoupled=True)


class SGD(Optimizer):
    """Stochastic gradient descent.

    Parameters
    ----------
    momentum : how much of the last step is repeated, between 0 and 1.
    nesterov : look ahead along the momentum (Sutskever et al. 2013).
    """

    def __init__(self, momentum: float = 0.9, nesterov: bool = False):
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> Stepper:
        return torch.optim.SGD(
            parameters, learning_rate, momentum=self.momentum, nesterov=self.nesterov, weight_decay=weight_decay
        )


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman & Hinton 2012).

    Parameters
    ----------
    smoothing : how slowly the running mean of squares forgets, between 0 and 1.
    momentum : how much of the last step is repeated, between 0 and 1.
    """

    aliases = ("rmsprop",)

    def __init__(self, smoothing: float = 0.99, momentum: float = 0.0):
        self.smoothing = smoothing
        self.momentum = momentum

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float) -> Stepper:
        return torch.optim.RMSprop(
            parameters, learning_rate, alpha=self.smoothing, momentum=self.momentum, weight_decay=weight_decay
        )


def _adam(
    parameters: Parameters,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
    decoupled: bool,
) -> Stepper:
    """Our own where torch has the kernel; the results are the same."""
    listed = list(parameters)
    alike = len({(parameter.device, parameter.dtype) for parameter in listed}) == 1
    if alike and available(listed[0].device):
        return FusedAdam(listed, learning_rate, betas, epsilon, weight_decay, decoupled)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    return kind(listed, learning_rate, betas=betas, eps=epsilon, weight_decay=weight_decay)
