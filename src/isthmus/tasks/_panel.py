"""Several scores of one or more autoencoders, brought to one scale and averaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.light.model import UNFIT, LightModel
from isthmus.light.scores import LightPanel
from isthmus.part import from_json, to_json
from isthmus.reading import Read, light_model, through_torch
from isthmus.reconstruction import Reconstruction
from isthmus.saving import Packed, put, settings_from_json, settings_to_json, take
from isthmus.scores._tails import Tail
from isthmus.scores.base import Measure, Score
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.training.rows import split

#: Training samples, and samples held out of training, that scores learn from, at most.
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Member:
    """An autoencoder, what each score learned of it, and how each is brought to nats."""

    model: Autoencoder
    measures: Sequence[Measure]
    tails: Sequence[Tail]


class Panel:
    """Scores of one or more autoencoders: of each the nats of its tail, and of these the mean.

    Parameters
    ----------
    scores : what is read of each autoencoder.
    members : the autoencoders, with what was learned.
    """

    def __init__(self, scores: Sequence[Score], members: Sequence[Member]):
        self.scores, self.members = scores, members

    @classmethod
    def fit(cls, scores: Sequence[Score], models: Sequence[Autoencoder], X: Any, rows: Any) -> Panel:
        """Learn what is usual from the rows of X that the models were trained on (None: all)."""
        return cls(scores, [_member(scores, model, X, rows) for model in models])

    def __call__(self, X: Any) -> Array:
        """How odd each sample is, (n_samples,), in nats."""
        mean: Array = self.each(X).mean((0, 2))
        return mean

    def each(self, X: Any) -> Array:
        """What every score says of every autoencoder, (n_members, n_samples, n_scores), in nats."""
        return np.stack([member.model.read(X, self._reading(member)) for member in self.members])

    def readings(self) -> list[tuple[Autoencoder, Callable[[Reconstruction], Tensor]]]:
        """Each autoencoder with what its scores say of a pass through it, their mean, (B,), in nats."""
        return [(member.model, partial(self._mean, member)) for member in self.members]

    def scorer(self, owner: str) -> Callable[[Any], Any]:
        """Minus the mean for one row at a time: in NumPy where that will do, else through torch."""
        models = [light_model(member.model._pack(), owner) for member in self.members]
        document, tensors = self.pack()
        with contextlib.suppress(*UNFIT):
            arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
            return LightPanel([cast(LightModel, model) for model in models], document, arrays).scorer
        ways = [through_torch(one.model, self._reading(one), "score_samples") for one in self.members]
        return lambda values: -np.stack([way(values) for way in ways]).mean((0, -1))

    def _mean(self, member: Member, pass_: Reconstruction) -> Tensor:
        return self._nats(member, pass_).mean(1)

    def _reading(self, member: Member) -> Read:
        return lambda module, batch: self._nats(member, module.reconstruct(batch.x, batch.weight))

    def _nats(self, member: Member, pass_: Reconstruction) -> Tensor:
        """What every score says of a pass, (B, n_scores)."""
        parts = zip(self.scores, member.measures, member.tails, strict=True)
        return torch.stack([tail(measure(score.read(pass_))) for score, measure, tail in parts], 1)

    # ---- in a file

    def pack(self) -> Packed:
        """All of it but the first autoencoder, which is the detector's own."""
        document: dict[str, Any] = {"scores": [to_json(score) for score in self.scores], "others": []}
        tensors: dict[str, Tensor] = {}
        for place, member in enumerate(self.members):
            for index, (measure, tail) in enumerate(zip(member.measures, member.tails, strict=True)):
                tensors |= put(measure.state() | put(tail.state(), "tail"), f"{place}.score{index}")
            if place:
                fitted, weights = member.model._pack()
                document["others"].append({"fitted": fitted, "settings": settings_to_json(member.model)})
                tensors |= put(weights, f"{place}.autoencoder")
        return document, tensors

    @classmethod
    def unpack(
        cls, first: Autoencoder, document: dict[str, Any], tensors: dict[str, Tensor], parts: Iterable[object]
    ) -> Panel:
        """The inverse of `pack`."""
        scores = [from_json(score, parts) for score in document["scores"]]
        models = [first]
        for place, other in enumerate(document["others"], 1):
            model = Autoencoder(**settings_from_json(other["settings"], _no_estimator, parts))
            model._unpack(other["fitted"], take(tensors, f"{place}.autoencoder"), parts)
            model.data_.owner = first.data_.owner
            models.append(model)
        members = []
        for place, model in enumerate(models):
            states = [take(tensors, f"{place}.score{index}") for index in range(len(scores))]
            measures = [score.restore(state) for score, state in zip(scores, states, strict=True)]
            members.append(Member(model, measures, [Tail.restore(take(state, "tail")) for state in states]))
        return cls(scores, members)


def _no_estimator(name: str) -> Any:
    raise AssertionError(f"an autoencoder's settings hold no estimator, and this one holds {name!r}")


# ---- learning


def _member(scores: Sequence[Score], model: Autoencoder, X: Any, rows: Any) -> Member:
    """What the scores learn of one autoencoder."""
    samples = model.data_.open(X)
    every = np.arange(len(samples)) if rows is None else np.asarray(rows)
    seed = int(fitting.random_numbers(model.random_state).randint(2**31))
    share = fitting.training_settings(model.training).validation
    trained, held_out = (every[part] for part in split(len(every), share, seed))
    held_out = held_out if len(held_out) else trained
    generator = torch.Generator().manual_seed(seed)
    dtype, chosen = model.data_.number_type(X), [_some(part, generator) for part in (trained, held_out)]
    of_trained, of_held_out = (_read(scores, model, samples, part, dtype) for part in chosen)
    measures, tails = [], []
    for score, here, there in zip(scores, of_trained, of_held_out, strict=True):
        measure = score.fit(here, there, generator)
        measures.append(measure)
        tails.append(Tail.fit(measure(there)))
    return Member(model, measures, tails)


def _some(rows: Any, generator: torch.Generator) -> Any:
    """All of these rows, or random ones where there are many, in order."""
    chosen = torch.randperm(len(rows), generator=generator)[:MOST_ROWS].sort().values
    return rows[chosen.numpy()]


def _read(scores: Sequence[Score], model: Autoencoder, samples: Any, rows: Any, dtype: torch.dtype) -> list[Tensor]:
    """What each score reads of these rows, (n, width)."""
    data, module, widths = model.data_, model.as_type(dtype), list[int]()

    def read(batch: Batch) -> Tensor:
        pass_ = module.reconstruct(batch.x, batch.weight)
        found = [score.read(pass_) for score in scores]
        widths[:] = [part.shape[1] for part in found]
        return torch.cat(found, 1)

    of_all = apply(module, lambda index: data.batch(samples, rows[index], dtype), len(rows), read, data.spec.size)
    return list(torch.from_numpy(of_all).split(widths, 1))
