from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn

from isthmus.likelihoods.base import Distribution, Likelihood, built
from isthmus.part import resolve
from isthmus.spec import Kind, SampleSpec


class Mixed(Likelihood):
    """A table of numbers, yes/no answers and categories: each column gets the law that suits its kind.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    The distortion of a row is the sum over its columns, all in nats.

    Parameters
    ----------
    numeric : the law of numbers: normal, laplace, or a Likelihood object.
    boolean : the law of yes/no answers.
    categorical : the law of categories, each a one-hot group of elements.

    Raises
    ------
    SettingError : for a law that is unknown.

    >>> import torch
    >>> from isthmus.spec import Column, SampleSpec
    >>> spec = SampleSpec((3,), columns=(Column("age"), Column("colour", "categorical", 2)))
    >>> law = Mixed(numeric="laplace")(torch.tensor([[0.5, 0.0, 2.0]]), spec)
    >>> law.point
    tensor([[0.5000, 0.0000, 1.0000]])
    """

    def __init__(
        self,
        numeric: str | Likelihood = "normal",
        boolean: str | Likelihood = "bernoulli",
        categorical: str | Likelihood = "categorical",
    ):
        self.numeric = numeric
        self.boolean = boolean
        self.categorical = categorical

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(numeric="laplace(scale='learned')")]

    def build(self, spec: SampleSpec) -> nn.Module | None:
        self._learning = [(built(law, own), own, elements) for law, own, elements in self.heads(spec)]
        trained = [law.trained for law, _, _ in self._learning if law.trained is not None]
        return nn.ModuleList(trained) if trained else None

    def n_parameters(self, spec: SampleSpec) -> int:
        return sum(law.n_parameters(own) for law, own, _ in self.heads(spec))

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        heads = self.heads(spec)
        pieces = raw.split([law.n_parameters(own) for law, own, _ in heads], dim=spec.axis)
        laws = [
            (elements.to(raw.device), law(piece, own))
            for (law, own, elements), piece in zip(heads, pieces, strict=True)
        ]
        return _Mixed(laws, spec.axis)

    def heads(self, spec: SampleSpec) -> list[tuple[Likelihood, SampleSpec, Tensor]]:
        """For each kind of column that there is: its law, its own spec, and its elements."""
        if self.trained is not None:
            return self._learning
        laws: dict[Kind, str | Likelihood] = {
            "numeric": self.numeric,
            "boolean": self.boolean,
            "categorical": self.categorical,
        }
        heads = []
        for kind, law in laws.items():
            own, elements = _columns_of(spec, kind)
            if len(elements):
                heads.append((resolve("likelihoods", law, Likelihood), own, elements))
        return heads


@lru_cache(maxsize=256)
def _columns_of(spec: SampleSpec, kind: Kind) -> tuple[SampleSpec, Tensor]:
    """The columns of one kind as a spec of their own, and where their elements stand; asked in every step."""
    elements = spec.elements(kind)
    shape = tuple(len(elements) if axis == spec.channels else n for axis, n in enumerate(spec.shape))
    columns = tuple(column for column in spec.columns if column.kind == kind)
    return replace(spec, shape=shape, columns=columns), elements


class _Mixed(Distribution):
    """Heads side by side: each knows which elements of the channel axis are its own."""

    def __init__(self, heads: list[tuple[Tensor, Distribution]], axis: int, order: Tensor | None = None):
        self.heads = heads
        self.axis = axis
        # heads come one kind after the other; this puts their elements back in the sample's order
        self.order = torch.argsort(torch.cat([elements for elements, _ in heads])) if order is None else order

    def _join(self, pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces, dim=self.axis).index_select(self.axis, self.order)

    def nll(self, target: Tensor) -> Tensor:
        return self._join([law.nll(target.index_select(self.axis, elements)) for elements, law in self.heads])

    @property
    def mean(self) -> Tensor:
        return self._join([law.mean for _, law in self.heads])

    @property
    def point(self) -> Tensor:
        return self._join([law.point for _, law in self.heads])

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._join([law.sample(generator) for _, law in self.heads])

    def given(self, target: Tensor, weight: Tensor | None = None) -> Distribution:
        def own(of: Tensor, elements: Tensor) -> Tensor:
            return of.index_select(self.axis, elements)

        heads = [
            (elements, law.given(own(target, elements), None if weight is None else own(weight, elements)))
            for elements, law in self.heads
        ]
        return _Mixed(heads, self.axis, self.order)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        return self._join([law.draw(generator) for _, law in self.heads])
