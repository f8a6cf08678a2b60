"""The stack of bits: what is pushed last is popped first, and what is popped may be any law's symbol.

Probabilities become whole numbers before the coder sees them, so that a last digit of a float decides nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import MissingExtraError

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

UNIT = 2.0**22  # what a probability of 1 counts as
PIECE = 1 << 16  # plain bits go in pieces of sixteen


def coder() -> Any:
    """The library that codes. Raises MissingExtraError where it is missing."""
    try:
        import constriction  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError("compressing needs the compress extra: pip install 'isthmus[compress]'.") from error
    return constriction.stream


class Stack:
    """Bits, pushed and popped by laws over whole numbers."""

    def __init__(self, words: npt.NDArray[np.uint32] | None = None, sealed: bool = False):
        self._stream = coder()
        make = self._stream.stack.AnsCoder
        self._ans = make() if words is None else make(np.ascontiguousarray(words), sealed)

    def words(self, unsealed: bool = False) -> npt.NDArray[np.uint32]:
        """What is on the stack. Raises ValueError where it is no whole number of words, as it is asked to be."""
        found: npt.NDArray[np.uint32] = self._ans.get_compressed(unsealed)
        return found

    # -- one of a few, with a table of probabilities each

    def push(self, symbols: Whole, tables: Floats) -> None:
        """symbols (m,), tables (m, k)."""
        if len(symbols):
            self._ans.encode_reverse(symbols.astype(np.int32), self._tables(), tables)

    def pop(self, tables: Floats) -> Whole:
        """The symbols that were pushed with these tables, (m,)."""
        if not len(tables):
            return np.zeros(0, np.int64)
        found: Whole = self._ans.decode(self._tables(), tables).astype(np.int64)
        return found

    def _tables(self) -> Any:
        return self._stream.model.Categorical(perfect=False)

    # -- whole numbers under a normal law

    def push_normal(self, values: Whole, means: Floats, deviations: Floats, ends: int) -> None:
        """All (m,); values from -ends to ends - 1."""
        law = self._stream.model.QuantizedGaussian(-ends, ends - 1)
        self._ans.encode_reverse(values.astype(np.int32), law, means, deviations)

    def pop_normal(self, means: Floats, deviations: Floats, ends: int) -> Whole:
        """The values that were pushed so."""
        law = self._stream.model.QuantizedGaussian(-ends, ends - 1)
        found: Whole = self._ans.decode(law, means, deviations).astype(np.int64)
        return found

    # -- plain numbers, all equally likely

    def push_plain(self, values: Keys, last: Keys) -> None:
        """Numbers from 0 to `last`, which may be as large as 2**64 - 1, (m,)."""
        for rows, shift, sizes in _pieces(last):
            part = (values[rows] >> np.uint64(shift)) & np.uint64(PIECE - 1)
            self._ans.encode_reverse(part.astype(np.int32), self._stream.model.Uniform(), sizes)

    def pop_plain(self, last: Keys) -> Keys:
        values = np.zeros(len(last), np.uint64)
        for rows, shift, sizes in reversed(_pieces(last)):
            part = self._ans.decode(self._stream.model.Uniform(), sizes).astype(np.uint64)
            values[rows] |= part << np.uint64(shift)
        return values


def _pieces(last: Keys) -> list[tuple[Whole, int, npt.NDArray[np.int32]]]:
    """Which numbers have a piece at each height, and how many values it has there."""
    found = []
    for shift in (0, 16, 32, 48):
        rest = last >> np.uint64(shift)
        rows = np.flatnonzero(rest > 0)
        if len(rows):
            found.append((rows, shift, np.minimum(rest[rows], np.uint64(PIECE - 1)).astype(np.int32) + 1))
    return found


def whole_tables(probabilities: Floats) -> Floats:
    """Probabilities (m, k) as whole numbers of at least 1, which the coder divides by their sum."""
    return np.floor(probabilities * UNIT + 0.5) + 1.0


def bits_of(symbols: Whole, tables: Floats) -> Floats:
    """What each symbol takes under its table, (m,)."""
    chosen = np.take_along_axis(tables, symbols[:, None], 1)[:, 0]
    taken: Floats = np.log2(tables.sum(1)) - np.log2(chosen)
    return taken


def filler(n_words: int) -> npt.NDArray[np.uint32]:
    """Words that look random and are always the same: what bits back starts from."""
    made = b"".join(hashlib.sha256(b"isthmus %d" % place).digest() for place in range(n_words // 8 + 1))
    return np.frombuffer(made, "<u4")[:n_words].astype(np.uint32)
