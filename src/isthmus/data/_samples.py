"""Rows of a table on their way into a tensor.

The columns that are numbers lie in one matrix, those that are categories in another, as the places of their levels;
only the rows of a batch are scaled and spread into zeros and ones.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.data._numbers import Matrix, Scaler, is_sparse
from isthmus.data.base import ColumnFacts, Rows
from isthmus.training.batch import Batch

#: Scaled values beyond these would overflow once they are squared and summed.
LIMITS = {torch.float64: 1e150, torch.float32: 1e18, torch.bfloat16: 1e18, torch.float16: 1e4}


class Layout:
    """Where the elements of each column stand in the tensor, worked out from the schema.

    Parameters
    ----------
    schema : the columns in the order of the data.
    from_array : whether the data were one matrix, whose left-out columns are still in it.
    """

    def __init__(self, schema: list[ColumnFacts], from_array: bool):
        used = [facts for facts in schema if facts.kind != "left out"]
        sizes = [len(facts.levels) + 1 if facts.kind == "categorical" else 1 for facts in used]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        coded = np.array([facts.kind == "categorical" for facts in used], dtype=bool)
        self.used = used
        self.sizes = sizes
        self.starts = starts[:-1]
        self.width = int(starts[-1])
        self.numeric_only = not coded.any()
        self.number_columns = torch.from_numpy(np.flatnonzero(~coded))
        self.code_columns = torch.from_numpy(np.flatnonzero(coded))
        self.number_elements = torch.from_numpy(self.starts[~coded])
        self.code_elements = torch.from_numpy(self.starts[coded])
        self.column_of = torch.repeat_interleave(torch.arange(len(used)), torch.tensor(sizes, dtype=torch.int64))
        # of an array with left-out columns, those to take
        taken = [place for place, facts in enumerate(schema) if facts.kind != "left out"]
        self.taken = torch.tensor(taken) if from_array and len(taken) < len(schema) else None


@dataclass
class TableSamples:
    """A table that fits the schema. Its values are as they came; `container` says in what.

    Parameters
    ----------
    numbers : the number columns, (n, d), a NumPy array or SciPy CSR array; NaN where missing.
    codes : the categorical columns, (n, c), places of levels; -1 where missing; None where there are none.
    container : the name of the type that the table came in.
    gaps : whether any value is missing.
    wild : whether a number lies so far outside the training range that its scaled value must be cut off.
    """

    numbers: Matrix
    codes: np.ndarray[Any, np.dtype[np.int32]] | None
    container: str
    gaps: bool
    wild: bool = False
    tensor: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not is_sparse(self.numbers):
            self.tensor = as_tensor(self.numbers)

    def __len__(self) -> int:
        return int(self.numbers.shape[0])


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """The array as a tensor over the same memory wherever torch can."""
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int32 if array.dtype.itemsize == 2 else np.float64)
    elif array.dtype.itemsize > 8:  # long double
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():  # torch warns that it could write; nothing here does
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def make_batch(samples: TableSamples, rows: Rows, dtype: torch.dtype, layout: Layout, scaler: Scaler) -> Batch:
    """The rows as tensors: x is 0 and weight 0 where a value is missing; no weight where none is."""
    chosen = rows if isinstance(rows, slice) else torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
    numbers, gone = _numbers(samples, chosen, dtype, layout, scaler)
    if samples.codes is None:
        return Batch(numbers, None if gone is None else (~gone).to(dtype))
    x = torch.zeros(len(numbers), layout.width, dtype=dtype)
    x.index_copy_(1, layout.number_elements, numbers)
    codes = torch.from_numpy(samples.codes)
    codes = codes[chosen] if isinstance(chosen, slice) else codes.index_select(0, chosen)
    x.scatter_(1, layout.code_elements + codes.clamp(min=0), (codes >= 0).to(dtype))
    return Batch(x, _weight(codes < 0, gone, dtype, layout))


def _numbers(
    samples: TableSamples, chosen: slice | Tensor, dtype: torch.dtype, layout: Layout, scaler: Scaler
) -> tuple[Tensor, Tensor | None]:
    """The scaled numbers (B, d) and where they are missing."""
    if samples.tensor is None:
        piece = samples.numbers[chosen if isinstance(chosen, slice) else chosen.numpy()]
        taken = as_tensor(piece.toarray())
    else:
        taken = samples.tensor[chosen] if isinstance(chosen, slice) else samples.tensor.index_select(0, chosen)
    if layout.taken is not None:
        taken = taken.index_select(1, layout.taken)
    # wide values are scaled in float64: a time in seconds keeps its fraction
    working = torch.float64 if dtype == torch.float64 or _wide(taken.dtype) else torch.float32
    fresh = not isinstance(chosen, slice) or samples.tensor is None or layout.taken is not None
    x = scaler.forward(taken, working) if not fresh else scaler.forward_(taken.to(working))
    if samples.wild:
        x.clamp_(-LIMITS.get(dtype, 1e4), LIMITS.get(dtype, 1e4))
    gone = None
    if samples.gaps:
        gone = torch.isnan(x)
        gone = gone if bool(gone.any()) else None
        if gone is not None:
            x.masked_fill_(gone, 0.0)
    return x.to(dtype), gone


def _wide(dtype: torch.dtype) -> bool:
    return dtype in (torch.float64, torch.int64, torch.int32)


def _weight(codes_gone: Tensor, numbers_gone: Tensor | None, dtype: torch.dtype, layout: Layout) -> Tensor | None:
    """One number per element from what is missing per column."""
    if numbers_gone is None and not bool(codes_gone.any()):
        return None
    gone = torch.zeros(len(codes_gone), len(layout.used), dtype=torch.bool)
    gone.index_copy_(1, layout.code_columns, codes_gone)
    if numbers_gone is not None:
        gone.index_copy_(1, layout.number_columns, numbers_gone)
    return (~gone).to(dtype).index_select(1, layout.column_of)
