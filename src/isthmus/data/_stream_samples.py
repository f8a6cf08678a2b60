"""Samples of tables that stay on disk: read in their order while scoring, and in shuffled blocks while training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch

from isthmus.data._samples import TableSamples
from isthmus.data._stream_errors import moved
from isthmus.data._stream_scratch import Scratch
from isthmus.data._stream_source import Source
from isthmus.data.base import Rows, places
from isthmus.training.batch import Batch
from isthmus.training.rows import Blocks

#: Bytes of one block of neighbouring rows, and of all blocks that are in memory at a time.
BLOCK, WINDOW = 2**15, 2**24
#: Blocks that a table has at least, so that its rows are well mixed and held-out ones come from many places.
FEWEST_BLOCKS = 256

Part = tuple[TableSamples, Rows]


class StreamedSamples:
    """A table in pieces, each checked and lined up with the schema when it is its turn.

    Parameters
    ----------
    source : where the pieces come from.
    convert : makes samples of one piece.
    """

    container = "polars"

    def __init__(self, source: Source, convert: Callable[[pl.DataFrame], TableSamples]):
        self.source, self.convert = source, convert
        self.held: tuple[int, TableSamples] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def piece(self, index: int) -> TableSamples:
        """The samples of one piece; the last one asked for is kept."""
        if self.held is None or self.held[0] != index:
            self.held = None  # two at a time would take twice the memory
            with moved(rows=int(self.source.starts[index])):
                self.held = index, self.convert(self.source.piece(index))
        return self.held[1]

    def parts(self, rows: Rows) -> list[tuple[TableSamples, Rows, Any]]:
        """Samples in memory, which of their rows are meant, and which places of `rows` these are."""
        wanted = places(rows, len(self))
        index = np.searchsorted(self.source.starts, wanted, side="right") - 1
        found = []
        for place in np.unique(index).tolist():
            at = np.flatnonzero(index == place)
            found.append((self.piece(place), wanted[at] - self.source.starts[place], at))
        return found


def joined(parts: list[tuple[Batch, Any]]) -> Batch:
    """Batches put together, the rows of each where its places say."""
    order = torch.from_numpy(np.argsort(np.concatenate([at for _, at in parts])))
    batches = [batch for batch, _ in parts]
    x = torch.cat([batch.x for batch in batches])[order]
    if all(batch.weight is None for batch in batches):
        return Batch(x)
    weights = [torch.ones_like(batch.x) if batch.weight is None else batch.weight for batch in batches]
    return Batch(x, torch.cat(weights)[order])


class EveryRow:
    """The rows 0, 1, 2 ... of a table, which need no memory."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> Any:
        return rows


class ScratchSamples:
    """Rows for training, in a temporary file: some blocks of neighbours are in memory at a time.

    Parameters
    ----------
    numbers, codes : as in `TableSamples`, on disk.
    gaps, wild : as there.
    """

    container = "polars"

    def __init__(self, numbers: Scratch, codes: Scratch | None, gaps: bool, wild: bool):
        self.files = [numbers] if codes is None else [numbers, codes]
        self.gaps, self.wild = gaps, wild
        row = max(1, sum(file.row_bytes for file in self.files))
        self.size = max(1, min(BLOCK // row, len(numbers) // FEWEST_BLOCKS))
        slots = max(1, min(WINDOW // (row * self.size), -(-len(numbers) // self.size)))
        self.blocks = Blocks(self.size, slots)
        self.slot_of = np.full(-(-len(numbers) // self.size), -1, dtype=np.int64)  # of each block
        self.block_in = np.full(slots, -1, dtype=np.int64)  # of each slot
        self.oldest = 0  # the slot that is filled next
        self.buffers = [np.zeros((slots * self.size, file.width), file.dtype) for file in self.files]
        self.resident = self._samples(self.buffers)

    def __len__(self) -> int:
        return len(self.files[0])

    def _samples(self, values: list[Any]) -> TableSamples:
        return TableSamples(values[0], values[1] if len(values) > 1 else None, "polars", self.gaps, self.wild)

    def at(self, rows: Rows) -> Part:
        """Samples in memory that hold these rows, and which of theirs they are."""
        wanted = places(rows, len(self))
        block = wanted // self.size
        if (absent := self.slot_of[block] < 0).any():
            missing = np.unique(block[absent])
            if len(np.unique(block)) > len(self.block_in):  # too scattered to be worth whole blocks
                return self._samples([file[wanted] for file in self.files]), slice(None)
            if self._drops_wanted(len(missing), block):
                return self._gathered(wanted, block)
            for one in missing.tolist():
                self._load(one)
        return self.resident, self.slot_of[block] * self.size + wanted % self.size

    def _drops_wanted(self, count: int, block: Any) -> bool:
        """Whether loading so many blocks would drive out one of those that are wanted."""
        slots = (self.oldest + np.arange(min(count, len(self.block_in)))) % len(self.block_in)
        return bool(np.isin(self.block_in[slots], block).any())

    def _gathered(self, wanted: Any, block: Any) -> Part:
        """The rows put together: first those that are in memory, then block by block the others."""
        values = [np.empty((len(wanted), file.width), file.dtype) for file in self.files]

        def take(at: Any) -> None:
            places = self.slot_of[block[at]] * self.size + wanted[at] % self.size
            for out, buffer in zip(values, self.buffers, strict=True):
                out[at] = buffer[places]

        here = self.slot_of[block] >= 0
        take(np.flatnonzero(here))
        for one in np.unique(block[~here]).tolist():
            self._load(one)
            take(np.flatnonzero((block == one) & ~here))
        return self._samples(values), slice(None)

    def _load(self, block: int) -> None:
        slot, start = self.oldest, block * self.size
        if self.block_in[slot] >= 0:
            self.slot_of[self.block_in[slot]] = -1
        count = min(self.size, len(self) - start)
        for file, buffer in zip(self.files, self.buffers, strict=True):
            file.read_into(start, buffer[slot * self.size : slot * self.size + count])
        self.slot_of[block], self.block_in[slot] = slot, block
        self.oldest = (slot + 1) % len(self.block_in)


def to_scratch(samples: StreamedSamples, rows: Any) -> tuple[ScratchSamples, Any]:
    """Opened samples, or some rows of them, ready for training; and which rows of it these are."""
    kept = None if rows is None else np.unique(np.asarray(rows))
    n, starts = len(samples) if kept is None else len(kept), samples.source.starts
    numbers: Scratch | None = None
    codes: Scratch | None = None
    gaps = wild = False
    for index in range(samples.source.n_pieces):
        piece = samples.piece(index)
        ends = None if kept is None else np.searchsorted(kept, starts[index : index + 2])
        chosen = slice(None) if kept is None or ends is None else kept[ends[0] : ends[1]] - starts[index]
        if numbers is None:
            numbers = Scratch(n, piece.numbers.shape[1], piece.numbers.dtype)
            codes = None if piece.codes is None else Scratch(n, piece.codes.shape[1], np.int32)
        numbers.append(piece.numbers[chosen])
        if codes is not None and piece.codes is not None:
            codes.append(piece.codes[chosen])
        gaps, wild = gaps or piece.gaps, wild or piece.wild
    assert numbers is not None, "a table has at least one piece"
    samples.held = None
    places = EveryRow(n) if kept is None or np.array_equal(kept, rows) else np.searchsorted(kept, rows)
    return ScratchSamples(numbers, codes, gaps, wild), places
