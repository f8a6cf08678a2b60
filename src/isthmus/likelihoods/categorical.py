from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import SampleSpec


class Categorical(Likelihood):
    """One of several levels, shown as a one-hot group of elements: cross-entropy of a softmax, in nats.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    Every column of the spec is one group; without columns the whole channel axis is one.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Categorical()(torch.zeros(1, 4), SampleSpec((4,)))
    >>> law.nll(torch.tensor([[0.0, 1.0, 0.0, 0.0]])).sum()
    tensor(1.3863)
    """

    aliases: ClassVar[tuple[str, ...]] = ("softmax", "cross_entropy")
    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def n_parameters(self, spec: SampleSpec) -> int:
        return spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        groups = spec.column_of if spec.columns else torch.zeros(spec.n_channels, dtype=torch.long)
        return _GroupedSoftmax(raw, groups.to(raw.device), spec.axis)


class _GroupedSoftmax(Distribution):
    """Several categorical variables side by side along one axis; `groups` says which element belongs to which."""

    def __init__(self, logits: Tensor, groups: Tensor, axis: int):
        self.axis = axis
        self.groups = groups
        self.n_groups = int(groups.max()) + 1 if len(groups) else 0
        self.log_probabilities = logits - self._spread(self._log_sum_exp(logits))

    def _spread(self, per_group: Tensor) -> Tensor:
        return per_group.index_select(self.axis, self.groups)

    def _reduce(self, values: Tensor, how: str) -> Tensor:
        shape = list(values.shape)
        shape[self.axis] = self.n_groups
        view = [1] * values.ndim
        view[self.axis] = -1
        index = self.groups.view(view).expand_as(values)
        return values.new_zeros(shape).scatter_reduce(values.ndim + self.axis, index, values, how, include_self=False)

    def _log_sum_exp(self, logits: Tensor) -> Tensor:
        highest = self._reduce(logits.detach(), "amax")
        return highest + self._reduce((logits - self._spread(highest)).exp(), "sum").log()

    def nll(self, target: Tensor) -> Tensor:
        return -target * self.log_probabilities

    @property
    def mean(self) -> Tensor:
        return self.log_probabilities.exp()

    @property
    def point(self) -> Tensor:
        return self._one_hot(self.log_probabilities)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        logs = self.log_probabilities
        uniform = torch.rand(logs.shape, generator=generator, device=logs.device, dtype=logs.dtype)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))  # the largest log p + Gumbel is a draw
        return self._one_hot(logs + gumbel)

    def _one_hot(self, scores: Tensor) -> Tensor:
        """One at each group's largest score; the first one where several are equal."""
        best = scores == self._spread(self._reduce(scores, "amax"))
        view = [1] * scores.ndim
        view[self.axis] = -1
        order = torch.arange(len(self.groups), device=scores.device).view(view).expand_as(scores)
        first = self._reduce(torch.where(best, order, len(self.groups)), "amin")
        return (order == self._spread(first)).to(scores)
