"""Likelihood: which law the output follows. A decoder's raw numbers become a distribution over samples.

Axes: raw and target are (..., *spec.shape), where the dots are B or S, B. Along the channel axis raw holds
`n_parameters(spec)` numbers, whatever stands elsewhere is as in the sample.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.part import Part
from isthmus.spec import SampleSpec


class Distribution(ABC):
    """A law over samples, one for each row of a batch. All tensors are shaped like the samples."""

    @abstractmethod
    def nll(self, target: Tensor) -> Tensor:
        """-log p(target) of every element, in nats; summing over the elements gives the sample's."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The expected value of every element."""

    @property
    def point(self) -> Tensor:
        """The most probable value of every element; by default the mean."""
        return self.mean

    @abstractmethod
    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw."""

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw as one would show it: like `sample`, but without noise whose scale was set rather than learned."""
        return self.sample(generator)

    def given(self, target: Tensor, weight: Tensor | None = None) -> Distribution:
        """This law once it is known which values are present and what they sum to; most laws do not ask.

        `weight` is shaped like target, above 0 where a value is present; None means everywhere.
        """
        return self


class Likelihood(Part):
    """Says how many numbers the decoder gives per element, and what they mean."""

    kind: ClassVar[str] = "likelihoods"
    #: The smallest and the largest value a target may take; None where there is no bound.
    support: ClassVar[tuple[float | None, float | None]] = (None, None)
    #: Whether a target is a count: 0, 1, 2 and so on.
    whole: ClassVar[bool] = False
    #: What `build` made, in the copy that a module owns.
    trained: nn.Module | None = None

    def build(self, spec: SampleSpec) -> nn.Module | None:
        """What it learns beside the decoder's numbers, if anything; asked of a copy, whose `trained` it becomes."""
        return None

    @abstractmethod
    def n_parameters(self, spec: SampleSpec) -> int:
        """How long raw is along the channel axis."""

    @abstractmethod
    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        """The distribution that raw describes."""


def built(law: Likelihood, spec: SampleSpec) -> Likelihood:
    """A copy that owns what it learns; the law itself where that is nothing."""
    own = copy.copy(law)
    own.trained = own.build(spec)
    return law if own.trained is None else own


class FromCallable(Likelihood):
    """A function `(output, target) -> one number per element` used as negative log-likelihood; output is the mean."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    @classmethod
    def examples(cls) -> list[FromCallable]:
        return [cls(_fourth_power)]

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        return _Called(raw, self.function)


def _fourth_power(output: Tensor, target: Tensor) -> Tensor:
    return (output - target) ** 4


class _Called(Distribution):
    def __init__(self, output: Tensor, function: Callable[[Tensor, Tensor], Tensor]):
        self.output = output
        self.function = function

    def nll(self, target: Tensor) -> Tensor:
        loss = self.function(self.output, target.expand_as(self.output))
        if loss.shape != self.output.shape:
            raise SettingError(
                f"the function given as likelihood returned shape {tuple(loss.shape)}; it must return one number per "
                f"element, shape {tuple(self.output.shape)} (for torch's losses: reduction='none')."
            )
        return loss

    @property
    def mean(self) -> Tensor:
        return self.output

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.output
