"""Which rows a run trains on, in which order, and where its batches begin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def split(n_samples: int, share: float, seed: int) -> tuple[Rows, Rows]:
    """Training rows and held-out rows, both sorted; nothing is held out of fewer than 10.

    >>> [len(part) for part in split(100, 0.2, seed=0)]
    [80, 20]
    """
    rows = np.arange(n_samples, dtype=np.int64)
    n_held_out = min(n_samples - 1, max(1, round(share * n_samples))) if share > 0 and n_samples >= 10 else 0
    if not n_held_out:
        return rows, rows[:0]
    order = np.random.default_rng([seed, 2**31]).permutation(n_samples)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def shuffled(rows: Rows, seed: int, epoch: int) -> Rows:
    """The order of one epoch, which depends on nothing but the seed and the epoch's number."""
    return rows[np.random.default_rng([seed, epoch]).permutation(len(rows))]


def cuts(n_rows: int, size: int) -> list[int]:
    """Where one batch ends and the next begins; a last batch of a single row joins the one before, unless all are.

    >>> cuts(10, 4), cuts(9, 4), cuts(3, 1)
    ([0, 4, 8, 10], [0, 4, 9], [0, 1, 2, 3])
    """
    ends = [*range(0, n_rows, size), n_rows]
    if size > 1 and len(ends) > 2 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return ends
