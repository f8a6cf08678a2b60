"""Figures that several layers ask for."""

from __future__ import annotations

import torch
from torch import Tensor


def variance_curve(x: Tensor) -> Tensor:
    """Share of the variance that the first 1, 2, ... principal components of the rows explain.

    Parameters
    ----------
    x : samples, (n_samples, ...); each is flattened.

    >>> import torch
    >>> variance_curve(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))[0]
    tensor(1.)
    """
    centred = x.flatten(1) - x.flatten(1).mean(0)
    energy = torch.linalg.svdvals(centred).square()
    share: Tensor = energy.cumsum(0) / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
    return share


def explained_variance(target: Tensor, output: Tensor, weight: Tensor | None = None) -> float:
    """1 - (squared error / squared distance from the column means), over present values: 1 is exact, 0 is no better
    than the mean.

    >>> import torch
    >>> explained_variance(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]]))
    0.0
    """
    present = torch.ones_like(target) if weight is None else (weight > 0).to(target)
    mean = (target * present).sum(0) / present.sum(0).clamp_min(1)
    spread = ((target - mean).square() * present).sum()
    error = ((target - output).square() * present).sum()
    return float(1 - error / spread) if spread > 0 else 1.0
