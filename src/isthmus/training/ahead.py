"""Batches of small samples, fetched for several steps at once: that costs little more than fetching one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise

import numpy as np
from torch import nn

from isthmus.module import AutoencoderModule
from isthmus.training.batch import Batch
from isthmus.training.parallel import Share
from isthmus.training.rows import Rows

#: Numbers that are fetched at once, at most: they stay in the cache until their step comes.
FETCHED = 2**16
#: Numbers of samples that are only looked at, at once: what lies between two layers stays in the cache.
LOOKED_AT = 2**18


def steps_ahead(module: nn.Module, n_rows: int) -> int:
    """For how many steps of so many rows to fetch at once; samples that differ in size are fetched step by step.

    >>> from isthmus.spec import SampleSpec
    >>> steps_ahead(AutoencoderModule(SampleSpec((30,)), 2), n_rows=256)
    8
    """
    if not isinstance(module, AutoencoderModule) or module.spec.free:
        return 1
    return max(1, FETCHED // (n_rows * math.prod(module.spec.shape)))


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many samples of this shape to look at, at once.

    >>> rows_at_once((30,)), rows_at_once((28, 28))
    (1024, 334)
    """
    return max(1, min(1024, LOOKED_AT // max(1, math.prod(shape))))


def ahead(shares: Iterable[Share], fetch: Callable[[Rows], Batch], n_steps: int) -> Iterator[tuple[Share, Batch]]:
    """Each share of rows with its batch, as `fetch` gives it for these rows alone.

    Where values are absent somewhere among the rows of several steps, a step of its own might have no weights at all,
    so from then on each is fetched by itself.
    """
    coming = iter(shares)
    while group := list(islice(coming, n_steps)):
        if len(group) > 1:
            batch = fetch(np.concatenate([share.rows for share in group]))
            if batch.weight is None and batch.target is None:
                ends = np.cumsum([0, *(len(share.rows) for share in group)]).tolist()
                yield from zip(group, (Batch(batch.x[start:end]) for start, end in pairwise(ends)), strict=True)
                continue
            n_steps = 1
        for share in group:
            yield share, fetch(share.rows)
