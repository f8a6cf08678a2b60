"""Which rows a run trains on, in which order, and where its batches begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from isthmus.training.batch import Batch

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """How rows that lie on disk are read: blocks of `size` neighbours, `window` blocks in memory at a time."""

    size: int
    window: int


@dataclass(frozen=True)
class InBlocks:
    """Batches of rows that lie on disk, for `train`: it shuffles them by blocks and holds out whole blocks."""

    batches: Callable[[Any], Batch]
    blocks: Blocks

    def __call__(self, rows: Any) -> Batch:
        return self.batches(rows)


class BlockRows:
    """The rows of some blocks, in the order of the blocks or shuffled; worked out a window at a time.

    Shuffled, the blocks go in random order, and of each `window` blocks in a row all rows are mixed: neighbours on
    disk are far apart, and still every block is read once, at a time that is known beforehand.

    Parameters
    ----------
    n_samples : how many rows there are in all.
    blocks : how they lie.
    chosen : the numbers of the blocks, in order.
    seed : of the shuffling of rows in each window; None leaves them in order.

    >>> rows = BlockRows(10, Blocks(size=4, window=2), np.array([2, 0]))
    >>> len(rows), rows[1:5].tolist(), sorted(rows.shuffled(seed=0, epoch=3)[0:6].tolist())
    (6, [9, 0, 1, 2], [0, 1, 2, 3, 8, 9])
    """

    def __init__(self, n_samples: int, blocks: Blocks, chosen: Rows, seed: list[int] | None = None):
        self.n_samples, self.blocks, self.chosen, self.seed = n_samples, blocks, chosen, seed
        sizes = np.minimum(blocks.size, n_samples - chosen * blocks.size)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        self.starts = ends[np.minimum(np.arange(0, len(chosen) + blocks.window, blocks.window), len(chosen))]
        self.held: tuple[int, Rows] = (-1, chosen[:0])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, part: slice) -> Rows:
        start, stop, _ = part.indices(len(self))
        if start >= stop:
            return self.chosen[:0]
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        rows = np.concatenate([self._window(index) for index in range(first, last + 1)])
        return rows[start - self.starts[first] : stop - self.starts[first]]

    def _window(self, index: int) -> Rows:
        if self.held[0] != index:
            size, window = self.blocks.size, self.blocks.window
            blocks = self.chosen[index * window : (index + 1) * window]
            rows = (blocks[:, None] * size + np.arange(size)).ravel()
            rows = rows[rows < self.n_samples]
            if self.seed is not None:
                rows = rows[np.random.default_rng([*self.seed, index]).permutation(len(rows))]
            self.held = index, rows
        return self.held[1]

    def shuffled(self, seed: int, epoch: int) -> BlockRows:
        """The order of one epoch."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.chosen))
        return BlockRows(self.n_samples, self.blocks, self.chosen[order], [seed, epoch])


AnyRows = Rows | BlockRows


@overload
def split(n_samples: int, share: float, seed: int, blocks: None = None) -> tuple[Rows, Rows]: ...


@overload
def split(n_samples: int, share: float, seed: int, blocks: Blocks | None) -> tuple[AnyRows, AnyRows]: ...


def split(n_samples: int, share: float, seed: int, blocks: Blocks | None = None) -> tuple[AnyRows, AnyRows]:
    """Training rows and held-out rows, both sorted; nothing is held out of fewer than 10. With `blocks` whole blocks.

    >>> [len(part) for part in split(100, 0.2, seed=0)]
    [80, 20]
    """
    if blocks is not None:
        training, held_out = split(-(-n_samples // blocks.size), share, seed)
        return BlockRows(n_samples, blocks, training[:]), BlockRows(n_samples, blocks, held_out[:])
    rows = np.arange(n_samples, dtype=np.int64)
    n_held_out = min(n_samples - 1, max(1, round(share * n_samples))) if share > 0 and n_samples >= 10 else 0
    if not n_held_out:
        return rows, rows[:0]
    order = np.random.default_rng([seed, 2**31]).permutation(n_samples)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


@overload
def shuffled(rows: Rows, seed: int, epoch: int) -> Rows: ...


@overload
def shuffled(rows: AnyRows, seed: int, epoch: int) -> AnyRows: ...


def shuffled(rows: AnyRows, seed: int, epoch: int) -> AnyRows:
    """The order of one epoch, which depends on nothing but the seed and the epoch's number."""
    if isinstance(rows, BlockRows):
        return rows.shuffled(seed, epoch)
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
