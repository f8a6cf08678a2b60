"""A moving average of the weights, which is steadier than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows weights slowly (Polyak & Juditsky 1992); faster at first, so that it forgets where they began.

    Parameters
    ----------
    parameters : the weights.
    decay : share of the average that stays at each step, in the long run.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> average = WeightAverage([weight], decay=0.9)
    >>> weight.data.fill_(1.0)
    tensor([1.])
    >>> average.update(step=1000)
    >>> with average.in_place():
    ...     print(weight.data)
    tensor([0.1000])
    >>> weight.data
    tensor([1.])
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float):
        self.parameters, self.decay = list(parameters), decay
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step number `step`, counted from 1."""
        stays = min(self.decay, (1 + step) / (10 + step))
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.lerp_(parameter, 1 - stays)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the average stands where the weights do."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        self.put(self.values)
        try:
            yield
        finally:
            self.put(own)

    @torch.no_grad()
    def put(self, values: Iterable[Tensor]) -> None:
        """These values become the weights."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)
