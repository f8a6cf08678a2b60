"""Density: a law fitted on the codes of a trained autoencoder, so that new codes can be drawn from it.

Codes are laid flat, (n_codes, size), in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.errors import DataError, ModelFileError
from isthmus.part import Part


class Law(ABC):
    """What a density learned."""

    @abstractmethod
    def sample(self, n_codes: int, generator: torch.Generator) -> Tensor:
        """New codes, (n_codes, size)."""

    def log_prob(self, codes: Tensor) -> Tensor | None:
        """log p(code) in nats, (n_codes,); None where it is not known."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that was learned, as tensors."""


class Density(Part):
    """Settings of a law over codes; `fit` learns one."""

    kind: ClassVar[str] = "densities"

    @abstractmethod
    def fit(self, codes: Tensor, generator: torch.Generator) -> Law:
        """Learn the law of these codes, (n_codes, size). Raises DataError for too few of them."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor]) -> Law:
        """The inverse of `Law.state`; raises ModelFileError where the tensors cannot be one."""


def check_codes(codes: Tensor) -> None:
    """Two codes at least, and numbers."""
    if len(codes) < 2:
        raise DataError(f"a density is learned from 2 codes at least, and n_samples = {len(codes)}; give more rows.")
    if not bool(codes.isfinite().all()):
        raise DataError("codes hold values that are no finite numbers, so that they have no density.")


def tensor(state: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    """One tensor of a state, of this shape (None: any length), in float64."""
    found = state.get(name)
    fits = found is not None and found.ndim == len(shape)
    if found is None or not fits or any(want not in (None, had) for want, had in zip(shape, found.shape, strict=True)):
        had = "is missing" if found is None else f"has shape {tuple(found.shape)}"
        raise ModelFileError(f"{name!r} of a density in this file {had}, which cannot be.")
    return found.double()
