"""Schedules: how the learning rate changes on the way. Each is a pure function of where training stands."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isthmus.part import Part


@dataclass(frozen=True)
class Position:
    """Where training stands."""

    step: int  # steps done
    n_steps: int  # steps in all
    epoch: int  # epochs done
    losses: Sequence[float] = ()  # the monitored loss of each epoch done


class Schedule(Part):
    """A factor for the learning rate, with a linear rise over the first `warm_up` share of all steps."""

    kind: ClassVar[str] = "training"
    warm_up: float

    def factor(self, position: Position) -> float:
        """What the learning rate is multiplied by."""
        rise = self.warm_up * position.n_steps
        if position.step < rise:
            return (position.step + 1) / (rise + 1)
        return self.shape(position)

    @abstractmethod
    def shape(self, position: Position) -> float:
        """The factor after the warm-up."""


class Constant(Schedule):
    """The learning rate stays.

    Parameters
    ----------
    warm_up : share of all steps over which the rate rises from zero, between 0 and 1.

    >>> Constant(warm_up=0.5).factor(Position(step=0, n_steps=6, epoch=0))
    0.25
    """

    def __init__(self, warm_up: float = 0.0):
        self.warm_up = warm_up

    def shape(self, position: Position) -> float:
        return 1.0


class Cosine(Schedule):
    """Falls along half a cosine to `final` at the last step (Loshchilov & Hutter 2017).

    Parameters
    ----------
    warm_up : share of all steps over which the rate rises from zero, between 0 and 1.
    final : the factor at the end.

    >>> Cosine().factor(Position(step=5, n_steps=10, epoch=0))
    0.5
    """

    def __init__(self, warm_up: float = 0.0, final: float = 0.0):
        self.warm_up = warm_up
        self.final = final

    def shape(self, position: Position) -> float:
        start = self.warm_up * position.n_steps
        share = (position.step - start) / max(1.0, position.n_steps - start)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Step(Schedule):
    """Multiplied by `decay` after every `every` epochs.

    Parameters
    ----------
    decay : the factor of one fall.
    every : epochs between falls.
    warm_up : share of all steps over which the rate rises from zero, between 0 and 1.

    >>> Step(decay=0.1, every=2).factor(Position(step=0, n_steps=9, epoch=5))
    0.010000000000000002
    """

    def __init__(self, decay: float = 0.3, every: int = 20, warm_up: float = 0.0):
        self.decay = decay
        self.every = every
        self.warm_up = warm_up

    def shape(self, position: Position) -> float:
        return float(self.decay ** (position.epoch // self.every))


class Exponential(Schedule):
    """Multiplied by `decay` after every epoch.

    Parameters
    ----------
    decay : the factor of one epoch.
    warm_up : share of all steps over which the rate rises from zero, between 0 and 1.

    >>> Exponential(decay=0.5).factor(Position(step=0, n_steps=9, epoch=3))
    0.125
    """

    def __init__(self, decay: float = 0.97, warm_up: float = 0.0):
        self.decay = decay
        self.warm_up = warm_up

    def shape(self, position: Position) -> float:
        return float(self.decay**position.epoch)


class Plateau(Schedule):
    """Multiplied by `decay` each time the monitored loss has not improved for `patience` epochs.

    Parameters
    ----------
    decay : the factor of one fall.
    patience : epochs without improvement before a fall.
    warm_up : share of all steps over which the rate rises from zero, between 0 and 1.

    >>> Plateau(decay=0.5, patience=2).factor(Position(step=9, n_steps=9, epoch=4, losses=[3.0, 2.0, 2.0, 2.1]))
    0.5
    """

    def __init__(self, decay: float = 0.3, patience: int = 5, warm_up: float = 0.0):
        self.decay = decay
        self.patience = patience
        self.warm_up = warm_up

    def shape(self, position: Position) -> float:
        best, waited, falls = math.inf, 0, 0
        for loss in position.losses:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited >= self.patience:
                falls, waited = falls + 1, 0
        return float(self.decay**falls)
