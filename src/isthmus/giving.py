"""What a trained module gives for each sample, as the type of data that came in: in chunks, or one picture at a time.

Pictures that are large, or of many sizes, are read one by one and in tiles, so that memory is bounded by the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.data.base import Data, Samples
from isthmus.likelihoods.base import Distribution
from isthmus.module import AutoencoderModule
from isthmus.training import Batch
from isthmus.training.applying import apply
from isthmus.training.progress import CountBar
from isthmus.training.tiles import Progress, apply_tiled

Read = Callable[[AutoencoderModule, Batch], Tensor]
TILE = 512  # pixels on a side; larger pictures are read in tiles


def mean(module: AutoencoderModule, batch: Batch) -> Tensor:
    """What is expected to come out, shaped as the samples."""
    return decoded(module, batch).mean


def decoded(module: AutoencoderModule, batch: Batch) -> Distribution:
    """The law of what comes out, shaped as the samples."""
    free = takes_any_size(module) or bool(module.spec.free if isinstance(module, AutoencoderModule) else ())
    weight = torch.ones_like(batch.x) if batch.weight is None and free else batch.weight
    law = module.decode(module.encode(batch.x, batch.weight), weight)  # the weight tells the size, too
    return law.given(batch.x, batch.weight)


def takes_any_size(module: AutoencoderModule) -> bool:
    """Whether its code is a grid, which is as large as the sample is, or its network reads samples of any size."""
    network = getattr(module, "network", None)
    return getattr(network, "code_axes", 1) > 1 or getattr(network, "any_size", False)


def give(
    module: AutoencoderModule,
    data: Data,
    samples: Samples,
    dtype: torch.dtype,
    read: Read = mean,
    verbose: bool | None = False,
) -> Any:
    """What `read` gives for each sample, in the sample's own form.

    Parameters
    ----------
    module : the trained module, in the number type to compute in.
    data : the data type that opened the samples.
    samples : the samples.
    dtype : the number type.
    read : what is wanted of a batch, shaped as the samples; the mean of what comes out by default.
    verbose : True shows a bar, None does in a terminal when it takes a while; only where samples go one by one.
    """
    return data.give_back(tensors(module, data, samples, dtype, read, verbose), samples)


def tensors(
    module: AutoencoderModule,
    data: Data,
    samples: Samples,
    dtype: torch.dtype,
    read: Read = mean,
    verbose: bool | None = False,
) -> Tensor | Iterator[Tensor]:
    """The same before it takes the samples' form: all at once, or one by one."""
    singles = data.singly(samples) if takes_any_size(module) else None
    if singles is None:
        batches = lambda rows: data.batch(samples, rows, dtype)  # noqa: E731
        size = math.prod(getattr(samples, "canvas", ())) * data.spec.n_channels  # training may have seen small patches
        outputs = apply(module, batches, len(samples), lambda batch: read(module, batch), max(size, data.spec.size))
        return torch.from_numpy(outputs)
    return _one_by_one(module, data, singles, dtype, read, verbose, len(samples))


def _one_by_one(
    module: AutoencoderModule,
    data: Data,
    singles: Iterator[Samples],
    dtype: torch.dtype,
    read: Read,
    verbose: bool | None,
    n_samples: int,
) -> Iterator[Tensor]:
    with CountBar(n_samples, verbose) as bar:
        for place, single in enumerate(singles):
            batch = data.batch(single, np.arange(1), dtype)
            progress = lambda done, of, place=place: bar.show(place + done / of)  # noqa: E731
            yield torch.from_numpy(whole(module, batch, lambda batch: read(module, batch), progress))


def whole(module: AutoencoderModule, batch: Batch, read: Callable[[Batch], Tensor], progress: Progress | None) -> Any:
    """What `read` gives for one picture alone, a batch of one, (C', H, W): in tiles where it is large."""
    weight = None if batch.weight is None else batch.weight[0]
    return apply_tiled(module, batch.x[0], weight, read, TILE, progress=progress)
