"""Batch: what the training loop asks for, whatever the data were."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from isthmus.networks.base import mask_absent


class Batch(NamedTuple):
    """Some samples as tensors.

    Parameters
    ----------
    x : the samples, (n_rows, *spec.shape).
    weight : 0 where a value is absent and 1 elsewhere, shaped as x; None (the default) when all are present.
    target : what the output is held against, shaped as x; None (the default) for x itself.

    >>> import torch
    >>> Batch(torch.zeros(2, 3)).weight is None
    True
    """

    x: Tensor
    weight: Tensor | None = None
    target: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same samples on this device."""
        x, weight, target = (None if part is None else part.to(device, non_blocking=True) for part in self)
        assert x is not None
        return Batch(x, weight, target)

    def finite(self) -> bool:
        """Whether all present values are finite numbers.

        >>> import torch
        >>> x = torch.tensor([[1.0, torch.nan]])
        >>> Batch(x).finite(), Batch(x, weight=torch.tensor([[1.0, 0.0]])).finite()
        (False, True)
        """
        given = [self.x] if self.target is None else [self.x, self.target]
        alike = [values for values in given if values.shape == self.x.shape]  # labels are no samples, and never absent
        return all(bool(torch.isfinite(mask_absent(values, self.weight)).all()) for values in alike)
