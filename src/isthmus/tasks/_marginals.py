"""The values that each number had: drawn numbers take the distribution of the real ones, column by column."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

LEVELS = 1001  # quantiles of a column: a thousandth of its rows apart
EACH = 10  # rows for one quantile at least: with fewer, draws take the very values of rows
GAP = 0.02  # of a column's range, or eight usual steps: where levels are farther apart, no value lies between


class Marginals:
    """A monotone map for each number, from the values that a model draws to the values that there were.

    The order of what is drawn stays, and with it what the model learned about how columns go together; ranges, ties
    such as many zeros, and skewed tails become those of the real values.

    Parameters
    ----------
    elements : which elements of a sample are numbers, (k,).
    drawn, real : for each of them quantiles of the drawn and the real values, both of the same number of levels.
    """

    def __init__(self, elements: list[int], drawn: list[Tensor], real: list[Tensor]):
        self.elements, self.drawn, self.real = elements, drawn, real

    @classmethod
    def of(cls, elements: list[int], drawn: Tensor, real: Tensor, weight: Tensor | None) -> Self:
        """From what a model drew, and real samples with their weights, both (n, size of a sample)."""
        values = [real[:, one] if weight is None else real[weight[:, one] > 0, one] for one in elements]
        values = [one if len(one) else torch.zeros(1) for one in values]
        levels = [max(2, min(LEVELS, len(one) // EACH)) for one in values]
        pairs = zip(elements, levels, strict=True)
        new = [_quantiles(drawn[:, element], count) for element, count in pairs]
        return cls(elements, new, [_quantiles(one, count) for one, count in zip(values, levels, strict=True)])

    def __call__(self, x: Tensor) -> Tensor:
        """Drawn samples (n, size), their numbers taken to the real values in the same place of the order."""
        x = x.clone()
        for element, drawn, real in zip(self.elements, self.drawn, self.real, strict=True):
            x[:, element] = _interpolated(x[:, element], drawn, real)
        return x

    def state(self) -> dict[str, Tensor]:
        sizes = torch.tensor([len(one) for one in self.real])
        return {
            "elements": torch.tensor(self.elements),
            "sizes": sizes,
            "drawn": torch.cat(self.drawn),
            "real": torch.cat(self.real),
        }

    @classmethod
    def restore(cls, state: dict[str, Tensor]) -> Self:
        sizes = state["sizes"].tolist()
        drawn, real = (list(state[name].double().split(sizes)) for name in ("drawn", "real"))
        return cls(state["elements"].tolist(), drawn, real)


def _quantiles(values: Tensor, count: int) -> Tensor:
    """(count,), each a value that there is."""
    places = torch.linspace(0, len(values) - 1, count, dtype=torch.float64).round().long()
    return values.double().sort().values[places]


def _interpolated(values: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Values of an ascending scale on another one; beyond its ends the ends.

    Between two levels the nearer one is taken where there is a gap, or where either is a value that came up often.

    >>> import torch
    >>> start, end = torch.linspace(0, 1, 101), torch.linspace(0, 10, 101)
    >>> _interpolated(torch.tensor([-5.0, 0.505, 2.0]), start, end)
    tensor([ 0.0000,  5.0500, 10.0000], dtype=torch.float64)
    """
    start, end = start.double().contiguous(), end.double()
    values = values.double().clamp(start[0], start[-1])
    above = torch.searchsorted(start, values).clamp(1, len(start) - 1)
    low, high = start[above - 1], start[above]
    share = torch.where(high > low, (values - low) / (high - low), 0.0)
    share = torch.where(_apart(end)[above - 1], share.round(), share)
    lower, upper = end[above - 1], end[above]
    return lower + share * (upper - lower)


def _apart(end: Tensor) -> Tensor:
    """Between which neighbours on a scale there is nothing, (levels - 1,)."""
    steps = end.diff()
    ties = torch.zeros(len(end), dtype=torch.bool)
    ties[1:] |= steps == 0
    ties[:-1] |= steps == 0
    gap = max(GAP, 8 / len(end)) * (end[-1] - end[0])
    return (steps > gap) | ties[1:] | ties[:-1]
