"""Bits back: samples and their codes on one stack of bits, so that a code costs no more than its rate.

    a code is popped under the posterior of the sample, the sample is pushed given the code, the code under the prior

Townsend, Bird & Barber 2019, "Practical Lossless Compression with Latent Variables using Bits Back Coding". The first
code is popped from bits that were there before; decoding gives them back, which also proves that nothing went wrong.
Samples go in blocks that grow, so that only one code is paid for at the start. Everything that decides about
probabilities is computed in float64, on one thread, in the very same blocks both ways.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isthmus.compression.stack import Floats, Stack, Whole, bits_of, filler, whole_tables
from isthmus.compression.symbols import Alphabet, Symbols
from isthmus.errors import DataError
from isthmus.module import AutoencoderModule

REACH = 8  # codes lie between minus and plus this many standard deviations of the prior
FINEST = 12  # a grid has at most 2**12 places in one of them
BLOCK = 64  # samples that are coded at once, at most
BLOCK_NUMBERS = 2**22  # numbers in the tables of one block, at most
WORD = 32


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """The same sums in the same order, however many threads there are outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Coded:
    """What became of samples.

    Parameters
    ----------
    words : the bits, in words of 32, (m,).
    kept : how many words of the filler below them were not touched.
    start : bits that were there before: what the first code was popped from.
    bits : what each sample takes, (n,).
    """

    words: np.ndarray[Any, np.dtype[np.uint32]]
    kept: int
    start: int
    bits: Floats


class Chain:
    """Codes samples by bits back.

    Parameters
    ----------
    module : a variational autoencoder with a standard normal prior, in float64 on the CPU.
    alphabet : what samples are as symbols.
    fineness : the grid of each number of a code has 2**fineness places in one unit, (size of a code,).
    gaps : whether cells may be absent.
    batch_size : how many samples to code at once, at most.
    """

    def __init__(self, module: AutoencoderModule, alphabet: Alphabet, fineness: Whole, gaps: bool, batch_size: int):
        self.module, self.alphabet, self.gaps = module, alphabet, gaps
        self.fineness = fineness
        self.most = max(1, min(batch_size, BLOCK_NUMBERS // max(1, alphabet.size)))

    def push(self, symbols: Symbols) -> Coded:
        """Samples onto a stack."""
        below = self._below()
        stack, bits, start = Stack(below, sealed=True), [], 0
        with one_thread():
            for end in _ends(len(symbols), self.most):
                bits.append(self._push_block(stack, symbols.rows(slice(start, end))))
                start = end
        words = stack.words()
        least = min(len(words), len(below))
        kept = int(np.argmin(np.append(words[:least] == below[:least], False)))
        return Coded(words[kept:], kept, WORD * (len(below) - kept), np.concatenate(bits))

    def pop(self, words: Any, kept: int, n: int) -> Symbols:
        """The samples that `push` made these words of."""
        stack, parts = Stack(np.concatenate([filler(kept), words])), []
        ends = _ends(n, self.most)
        with one_thread():
            for start, end in reversed(list(zip([0, *ends[:-1]], ends, strict=True))):
                parts.append(self._pop_block(stack, end - start))
        self._check_start(stack)
        return Symbols.joined(parts[::-1])

    def _check_start(self, stack: Stack) -> None:
        """Whether the bits that were there before have come back."""
        try:
            rest = stack.words(unsealed=True)
        except Exception as error:  # whatever the library raises for bits that are none of its own
            raise _strayed() from error
        if not np.array_equal(rest, self._below()):
            raise _strayed()

    def _below(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Words to start from, enough for the codes of a block; those that stay untouched are not written."""
        return filler(4 + self.most * len(self.fineness))  # a number of a code takes at most 24 bits

    # -- one block

    def _push_block(self, stack: Stack, symbols: Symbols) -> Floats:
        n = len(symbols)
        means, deviations = self._posterior(symbols)
        code = np.zeros(means.shape, np.int64)
        for places, unit in self._grids():
            drawn = stack.pop_normal(*self._on_grid(means, deviations, places, unit), REACH * unit)
            code[:, places] = drawn.reshape(n, -1)
        bits = -self._bits(code, means, deviations)
        law = self._law(code)
        groups = list(self.alphabet.tables(law, n))
        for cells, tables in reversed(groups):
            bits += self._push_cells(stack, symbols, cells, tables)
        for places, unit in reversed(list(self._grids())):
            size = n * len(places)
            stack.push_normal(code[:, places].ravel(), np.zeros(size), np.full(size, float(unit)), REACH * unit)
        bits += self._bits(code, np.zeros_like(means), np.ones_like(means))
        return bits + self._push_present(stack, symbols)

    def _push_cells(self, stack: Stack, symbols: Symbols, cells: slice, tables: Floats) -> Floats:
        """Pushes them, and says what they take, (n,)."""
        values, here = symbols.values[:, cells], symbols.present[:, cells]
        bits = np.zeros(here.shape)
        last = self.alphabet.last(cells, values)
        if last is not None and symbols.plain is not None:
            stack.push_plain(symbols.plain[:, cells][here], last[here])
            bits[here] += np.log2(last[here].astype(np.float64) + 1)
        stack.push(values[here], tables[here])
        bits[here] += bits_of(values[here], tables[here])
        return cast(Floats, bits.sum(1))

    def _pop_block(self, stack: Stack, n: int) -> Symbols:
        present = self._pop_present(stack, n)
        code = np.zeros((n, len(self.fineness)), np.int64)
        for places, unit in self._grids():
            size = n * len(places)
            drawn = stack.pop_normal(np.zeros(size), np.full(size, float(unit)), REACH * unit)
            code[:, places] = drawn.reshape(n, -1)
        values = np.zeros(present.shape, np.int64)
        plain = np.zeros(present.shape, np.uint64)
        for cells, tables in self.alphabet.tables(self._law(code), n):
            here, found = present[:, cells], values[:, cells]
            found[here] = stack.pop(tables[here])
            if (last := self.alphabet.last(cells, found)) is not None:
                plain[:, cells][here] = stack.pop_plain(last[here])
        symbols = Symbols(values, plain, present)
        means, deviations = self._posterior(symbols)
        for places, unit in reversed(list(self._grids())):
            on_grid = self._on_grid(means, deviations, places, unit)
            stack.push_normal(code[:, places].ravel(), *on_grid, REACH * unit)
        return symbols

    # -- laws

    def _posterior(self, symbols: Symbols) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each number of the codes, (n, size of a code)."""
        x, weight = self.alphabet.batch(symbols)
        return posterior(self.module, x, weight)

    def _law(self, code: Whole) -> Any:
        values = torch.from_numpy(code / np.exp2(self.fineness))
        return self.module.decode(values.reshape(len(code), *self._shape))

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of one code; a grid has its numbers last."""
        if self.module.network.code_axes == 1:
            return (len(self.fineness),)
        size = len(self.fineness) // self.module.n_components
        height, width = code_grid(self.module, size)
        return (height, width, self.module.n_components)

    def _grids(self) -> Iterator[tuple[Whole, int]]:
        """The numbers of a code whose grids are alike, and how many places one unit has there."""
        for fineness in np.unique(self.fineness):
            yield np.flatnonzero(self.fineness == fineness), 1 << int(fineness)

    def _on_grid(self, means: Floats, deviations: Floats, places: Whole, unit: int) -> tuple[Floats, Floats]:
        end = (REACH - 0.1) * unit
        narrowest = 0.3  # places: a law within one place is as good as certain
        middle = np.clip(means[:, places] * unit, -end, end)
        return middle.ravel(), np.clip(deviations[:, places] * unit, narrowest, end).ravel()

    def _bits(self, code: Whole, means: Floats, deviations: Floats) -> Floats:
        """About what codes take under a normal law, (n,)."""
        unit = np.exp2(self.fineness)
        scale = np.maximum(deviations, 0.3 / unit)
        squares = np.square((code / unit - means) / scale)
        density = 0.5 * squares / math.log(2) + np.log2(scale * unit) + 0.5 * math.log2(2 * math.pi)
        return cast(Floats, density.sum(1))

    # -- which cells are there

    def _push_present(self, stack: Stack, symbols: Symbols) -> Floats:
        if not self.gaps:
            return np.zeros(len(symbols))
        tables = self._present_tables(len(symbols))
        flags = symbols.present.astype(np.int64).ravel()
        stack.push(flags, tables)
        return cast(Floats, bits_of(flags, tables).reshape(len(symbols), -1).sum(1))

    def _pop_present(self, stack: Stack, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if not self.gaps:
            return np.ones((n, len(self.alphabet.shares)), bool)
        return stack.pop(self._present_tables(n)).reshape(n, -1) > 0

    def _present_tables(self, n: int) -> Floats:
        shares = np.tile(self.alphabet.shares, n)
        return whole_tables(np.stack([1 - shares, shares], 1))


def posterior(module: AutoencoderModule, x: Tensor, weight: Tensor | None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each number of the codes of these samples, (n, size of a code)."""
    mean, log_variance = module.features(x, weight).chunk(2, dim=-1)
    deviation = torch.exp(0.5 * log_variance.clamp(-20.0, 20.0))
    return mean.flatten(1).numpy(), deviation.flatten(1).numpy()


def fineness_of(deviations: Floats) -> Whole:
    """How fine the grid of each number of a code must be: four places in a narrow posterior's standard deviation."""
    narrow = np.quantile(deviations, 0.1, axis=0)
    found: Whole = np.clip(np.ceil(np.log2(4 / np.maximum(narrow, 1e-9))), 2, FINEST).astype(np.int64)
    return found


def code_grid(module: AutoencoderModule, places: int) -> tuple[int, int]:
    """Height and width of a grid of so many codes."""
    stride = module.network.stride
    height, width = (-(-size // stride) for size in module.spec.shape[1:])
    assert height * width == places, "a grid has one code for each stride of the picture"
    return height, width


def _ends(n: int, most: int) -> list[int]:
    """Where blocks end: one sample each at first, then a quarter of those before, at most `most`.

    So the codes of a block find enough bits on the stack, and the start is not paid more than once.

    >>> _ends(20, 4)
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20]
    """
    ends = [0]
    while ends[-1] < n:
        ends.append(min(n, ends[-1] + max(1, min(most, ends[-1] // 4))))
    return ends[1:]


def _strayed() -> DataError:
    return DataError(
        "the samples came out otherwise than they went in: this machine computes the model's probabilities differently "
        "from the one that compressed; decompress there, or with the same versions of Isthmus and torch."
    )
