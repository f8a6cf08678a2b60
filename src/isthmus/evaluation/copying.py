"""Whether drawn samples are copies of those that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data
from isthmus.errors import DataError
from isthmus.metrics import nearest
from isthmus.tasks.base import Task

FEWEST = 20  # held-out samples
MARGIN = 0.1  # share of draws beyond chance that is still put down to chance


@dataclass(frozen=True)
class Copying:
    """How near drawn samples lie to training samples, beside how near they lie to held-out ones.

    Parameters
    ----------
    distance : from each drawn sample to the nearest training sample, in the units that the network sees, (n_drawn,).
    row : which training sample that is, (n_drawn,).
    held_out : from each drawn sample to the nearest held-out one, (n_drawn,).
    exact : share of drawn samples that are a training sample.
    beyond_chance : 0 where training samples are met as often as held-out ones, 1 where all draws are copies.
    """

    distance: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.float64]
    exact: float
    beyond_chance: float

    @property
    def copies(self) -> bool:
        """Whether more draws are nearest to a training sample than chance explains."""
        return bool(self.beyond_chance > max(MARGIN, 4 / len(self.distance) ** 0.5))

    def __str__(self) -> str:
        verdict = "which looks like copying" if self.copies else "no sign of copying"
        return (
            f"{max(0.0, self.beyond_chance):.0%} of the drawn samples lie nearer to a training sample than to a "
            f"held-out one beyond what chance explains, and {self.exact:.0%} are training samples: {verdict}."
        )


def copying(model: Autoencoder | Task, drawn: Any, X: Any, held_out: Any) -> Copying:
    """Whether samples that a model drew are copies of its training samples.

    A draw that copies nothing is as often nearest to a held-out sample as their number says. It finds copies and near
    copies of many samples; it does not prove that nobody is given away.

    Parameters
    ----------
    model : the fitted model, whose scaling decides what near is; two words are as far apart as their one-hot codes.
    drawn : what it drew.
    X : what it was trained on.
    held_out : other samples from where these came from, which it never saw; as many, if possible.

    Raises
    ------
    DataError : for fewer than 20 held-out samples.

    >>> import numpy as np
    >>> from isthmus import Synthesizer
    >>> X = np.random.default_rng(0).normal(size=(600, 1)) @ np.ones((1, 3))
    >>> X += 0.3 * np.random.default_rng(1).normal(size=X.shape)
    >>> model = Synthesizer(random_state=0).fit(X[:300])
    >>> copying(model, model.sample(300), X[:300], X[300:]).copies
    False
    >>> copying(model, X[:300], X[:300], X[300:]).copies
    True
    """
    data = (model.autoencoder_ if isinstance(model, Task) else model).data_
    new, seen, others = (_tensor(data, samples) for samples in (drawn, X, held_out))
    if len(others) < FEWEST:
        raise DataError(f"held_out has {len(others)} samples; give at least {FEWEST} that were not trained on.")
    (distance, row), (other, _) = nearest(new, seen), nearest(new, others)
    by_chance = len(seen) / (len(seen) + len(others))
    nearer = (distance < other).double() + by_chance * (distance == other).double()
    beyond = (nearer.mean().item() - by_chance) / (1 - by_chance)
    exact = (distance == 0).double().mean().item()
    return Copying(distance.numpy(), row.numpy(), other.numpy(), exact, beyond)


def _tensor(data: Data, samples: Any) -> Tensor:
    opened = data.open(samples)
    batch = data.batch(opened, np.arange(len(opened)), torch.float64)
    return (batch.x if batch.weight is None else batch.x * batch.weight).flatten(1)
