"""Applying a trained module to many samples: in chunks, without gradients, into one result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isthmus.training.batch import Batch
from isthmus.training.memory import kept_memory

#: Samples of one chunk, unless the module says better.
CHUNK = 1024
#: Numbers of one chunk at most, so that large pictures go one by one.
CHUNK_NUMBERS = 2**22

Array = npt.NDArray[np.floating[Any]]


@torch.inference_mode()
def apply(
    module: nn.Module,
    batches: Callable[[slice], Batch],
    n_samples: int,
    read: Callable[[Batch], Tensor],
    sample_size: int = 1,
) -> Array:
    """What `read` gives for every sample, (n_samples, ...); a chunk of rows at a time, on the module's device.

    Parameters
    ----------
    module : the module that `read` applies.
    batches : gives the samples of a stretch of rows.
    n_samples : how many samples there are, at least one.
    read : what is wanted of a batch.
    sample_size : how many numbers one sample has: of large samples a chunk holds few.

    >>> import torch
    >>> x = torch.arange(6.0).reshape(3, 2)
    >>> module = nn.Linear(2, 1)
    >>> apply(module, lambda rows: Batch(x[rows]), 3, lambda batch: batch.x.sum(1))
    array([1., 5., 9.], dtype=float32)
    """
    device = next(module.parameters()).device
    result: Array | None = None
    chunk = max(1, min(getattr(module, "chunk", CHUNK), CHUNK_NUMBERS // sample_size))
    with kept_memory(device) if chunk < n_samples else nullcontext():
        for start in range(0, n_samples, chunk):
            rows = slice(start, min(start + chunk, n_samples))
            piece = read(batches(rows).to(device)).cpu().numpy()
            if result is None:
                result = np.empty((n_samples, *piece.shape[1:]), dtype=piece.dtype)
            result[rows] = piece
    assert result is not None, "there is always at least one sample"
    return result
