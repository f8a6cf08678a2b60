"""Samples as whole numbers, and which law each of them has: what lossless coding needs to know of data.

Axes: n samples, c cells of one sample (columns of a table, values of a picture), k symbols that a cell can take.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isthmus.compression.stack import Floats, Keys, Whole
from isthmus.likelihoods.base import Distribution
from isthmus.saving import Packed

Mask = npt.NDArray[np.bool_]


@dataclass
class Symbols:
    """Samples as whole numbers.

    Parameters
    ----------
    values : which of its symbols each cell holds, (n, c).
    plain : what the symbol leaves open, to be written as it is, (n, c); None where nothing is.
    present : which cells hold anything, (n, c).
    """

    values: Whole
    plain: Keys | None
    present: Mask

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: slice) -> Symbols:
        return Symbols(self.values[rows], None if self.plain is None else self.plain[rows], self.present[rows])

    @classmethod
    def joined(cls, parts: list[Symbols]) -> Symbols:
        plain = (
            None if parts[0].plain is None else np.concatenate([part.plain for part in parts if part.plain is not None])
        )
        values, present = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "present"))
        return cls(values, plain, present)


class Alphabet(ABC):
    """How the samples of one data type become symbols and samples again, and the tables that code them."""

    #: The share of the training samples in which each cell held something, (c,).
    shares: Floats
    #: Numbers that the tables of one sample hold: of large samples few are coded at once.
    size: int

    @abstractmethod
    def read(self, X: Any) -> tuple[Symbols, dict[str, Any]]:
        """Data as symbols, and what a header must carry to make the same data of them. Raises DataError."""

    @abstractmethod
    def some(self, X: Any, most: int) -> Symbols:
        """At most so many samples as symbols, evenly spread over the data."""

    @abstractmethod
    def write(self, symbols: Symbols, header: dict[str, Any]) -> Any:
        """The inverse of `read`."""

    @abstractmethod
    def batch(self, symbols: Symbols) -> tuple[Tensor, Tensor | None]:
        """The samples as the module sees them, and their weight, in float64; depends on the symbols alone."""

    @abstractmethod
    def tables(self, law: Distribution, n: int) -> Iterator[tuple[slice, Floats]]:
        """Cells in their order, a few at a time, each with its table of whole numbers, (n, cells, k)."""

    @abstractmethod
    def last(self, cells: slice, values: Whole) -> Keys | None:
        """The last number that may stand in `plain`, for cells with these symbols; None where nothing is left open."""

    @abstractmethod
    def state(self) -> Packed:
        """What was learned, as plain JSON and tensors."""
