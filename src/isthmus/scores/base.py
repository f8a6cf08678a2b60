"""Score: what is read from the pass of a sample, and how it becomes one number: larger is odder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.errors import ModelFileError
from isthmus.part import Part
from isthmus.reconstruction import Reconstruction


class Measure(ABC):
    """What a score learned from usual samples."""

    @abstractmethod
    def __call__(self, read: Tensor) -> Tensor:
        """How odd each sample is, (n,), by what was read of it, (n, width), in the number type that came in."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that was learned, as tensors."""


class Score(Part):
    """Settings of one way to say how odd a sample is; `fit` learns what is usual."""

    kind: ClassVar[str] = "scores"

    @abstractmethod
    def read(self, pass_: Reconstruction) -> Tensor:
        """What it needs to know of each sample, (B, width)."""

    @abstractmethod
    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        """Learn what is usual.

        Parameters
        ----------
        trained : what was read of samples that the model was trained on, (n, width), at least one.
        held_out : the same of samples that were held out of training, at least one; `trained` itself where none were.
        generator : of all random choices.
        """

    def beyond(self, n_odd: int, n: int) -> Score:
        """The same score, where as many as n_odd of n samples to learn from may be odd and lie close together."""
        return self

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor]) -> Measure:
        """The inverse of `Measure.state`; raises ModelFileError where the tensors cannot be one."""


def tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    """One tensor of a state, of this shape (None: any length), in float64."""
    found = state.get(name)
    fits = found is not None and found.ndim == len(shape)
    if found is None or not fits or any(want not in (None, had) for want, had in zip(shape, found.shape, strict=True)):
        had = "is missing" if found is None else f"has shape {tuple(found.shape)}"
        raise ModelFileError(f"{name!r} of a score in this file {had}, which cannot be.")
    return found.double()
