"""Data: how raw samples become tensors and weights, and tensors become samples again.

A data type stands at both ends of the picture. It keeps the samples as they came, makes tensors only for the rows of
one batch, and gives back the type that went in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import DataError
from isthmus.part import Part
from isthmus.spec import SampleSpec
from isthmus.training.batch import Batch

ColumnKind = Literal["numeric", "boolean", "categorical", "date", "left out"]
#: Which rows a batch holds: their indices, or a stretch of them.
Rows = np.ndarray[Any, np.dtype[np.int64]] | slice


def places(rows: Rows, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The places that rows mean among so many; only these take memory, whatever the count.

    >>> places(slice(2, 5), 10**12)
    array([2, 3, 4])
    """
    return np.arange(*rows.indices(count)) if isinstance(rows, slice) else np.asarray(rows)


@dataclass(frozen=True)
class ColumnFacts:
    """What `fit` learned about one column (of a table) or one channel; numbers are in the column's own unit.

    Parameters
    ----------
    name : the column's name; "x0", "x1" ... where the data had none.
    kind : numeric, boolean, categorical, date, or "left out" where the column has no elements in the tensor.
    dtype : the type of the values, in one notation for all kinds of frames.
    native : the same as the training frame wrote it, so that it comes back exactly.
    n_missing : how many rows have no value.
    n_distinct : how many different values there are; of many rows an estimate from a part of them.
    constant : whether all present values are equal.
    identifier : whether the values look like a key of the rows (almost all different).
    left_out : why the column is left out; empty where it is not.
    mean, standard_deviation, minimum, maximum : of numeric, boolean and date columns (dates: seconds); NaN elsewhere.
    compressed : whether heavy tails were drawn in before scaling.
    levels : the known values of a categorical column, the most frequent first.
    categories : all values that the column's own dtype allows, where it lists them.

    >>> ColumnFacts("age", "numeric", "Int64", n_missing=2).kind
    'numeric'
    """

    name: str
    kind: ColumnKind
    dtype: str
    native: str = ""
    n_missing: int = 0
    n_distinct: int = 0
    constant: bool = False
    identifier: bool = False
    left_out: str = ""
    mean: float = float("nan")
    standard_deviation: float = float("nan")
    minimum: float = float("nan")
    maximum: float = float("nan")
    compressed: bool = False
    levels: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class Samples(Protocol):
    """Data that `open` has checked and aligned with what `fit` learned; `batch` takes its rows from here."""

    @property
    def container(self) -> str:
        """The name of the type that the samples came in, for `from_tensor`."""
        ...

    def __len__(self) -> int:
        """How many samples there are."""
        ...


class Data(Part):
    """A kind of raw data: at both ends of the picture.

        DATA → corrupt → encoder → bottleneck → decoder → likelihood → DATA

    The constructor holds settings; `fit` learns the schema into the attributes below, and `state` and `restore` carry
    it to a file and back.
    """

    kind: ClassVar[str] = "data"
    #: What one sample is called.
    unit: ClassVar[str] = "row"
    #: Endings of files with one sample each, of types whose `write` fills a folder; none where one file holds all.
    endings: ClassVar[tuple[str, ...]] = ()
    #: Who speaks in an error about a wrong width; an estimator writes its own name here.
    owner: str = ""
    #: Learned: what one sample looks like as a tensor.
    spec: SampleSpec
    #: Learned: the name of the type that the training data came in.
    container: str
    #: Learned: one name per column of the data.
    feature_names: list[str]
    #: Learned: whether the names are the data's own.
    named: bool = False
    #: Learned: what was found in each column, for whoever judges the data.
    schema: list[ColumnFacts]

    @classmethod
    @abstractmethod
    def accepts(cls, X: Any) -> bool:
        """Whether these look like data of this type; cheap, reads no file."""

    @property
    def piece(self) -> str:
        """What one sample of training is called: the unit, unless samples are cut into pieces."""
        return self.unit

    @property
    def n_features_in(self) -> int:
        """How many columns the training data had."""
        return len(self.feature_names)

    @abstractmethod
    def fit(self, X: Any) -> Self:
        """Learn the schema: names, kinds, ranges. Raises DataError for data that cannot be used."""

    @abstractmethod
    def open(self, X: Any) -> Samples:
        """Check data against the schema and line them up with it; raises DataError where they do not fit."""

    @abstractmethod
    def batch(self, samples: Any, rows: Rows, dtype: torch.dtype = torch.float32) -> Batch:
        """The chosen rows as tensors, (n_rows, *spec.shape)."""

    @abstractmethod
    def from_tensor(self, x: Tensor, container: str | None = None) -> Any:
        """Samples out of tensors; `container` names the type to give back, None means the training data's."""

    def for_training(self, samples: Any, rows: Any = None) -> tuple[Samples, np.ndarray[Any, Any]]:
        """What training takes of opened samples, or of some rows of them, and which rows of it that are.

        By default the samples themselves; a type that cuts its samples into pieces gives the pieces.
        """
        return samples, np.arange(len(samples)) if rows is None else np.asarray(rows)

    def check_pairs(self, samples: Any, targets: Any) -> None:
        """Whether each sample has its counterpart; raises DataError where they cannot be pairs."""
        if len(samples) != len(targets):
            raise DataError(f"X has {len(samples)} samples and its counterparts {len(targets)}; give one for each.")

    def singly(self, samples: Any) -> Iterator[Samples] | None:
        """The samples one at a time, where they are too large, or too different in size, to be read together.

        None where a chunk of them fits into one tensor, as by default.
        """
        return None

    def number_type(self, X: Any) -> torch.dtype:
        """The type to compute in outside training: float64, unless the data have less."""
        return torch.float32 if getattr(X, "dtype", None) == np.float32 else torch.float64

    def give_back(self, x: Tensor | Iterator[Tensor], samples: Any) -> Any:
        """Samples out of tensors, at once or one by one, each in the form of the one of `samples` in its place."""
        return self.from_tensor(x if isinstance(x, Tensor) else torch.stack(list(x)), samples.container)

    @abstractmethod
    def describe(self, column: int, x_row: Tensor) -> str:
        """The value that one sample has in column `column` of the spec, for a reader."""

    @staticmethod
    @abstractmethod
    def read(path: Any) -> Any:
        """Data from a file. Raises DataError, naming the file, where it cannot be read."""

    def read_more(self, path: Any) -> Any:
        """Further data from a file, read with what `fit` learned in mind."""
        return self.read(path)

    @staticmethod
    @abstractmethod
    def write(X: Any, path: Any) -> None:
        """Data to a file: the whole of it or none."""

    def network(self) -> str:
        """The name of the network that suits these data."""
        return "dense"

    def likelihood(self) -> str:
        """The name of the likelihood that suits these data."""
        return "normal"

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The schema as plain JSON and tensors."""

    @abstractmethod
    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The inverse of `state`; raises ModelFileError where they cannot be one."""
