"""Weights that are small at first: a number in a variant's settings that grows while training goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.part import Limit, Part
from isthmus.training.batch import Batch
from isthmus.training.settings import Training
from isthmus.training.steps import Step


class WarmUp(Part, float):
    """A number that goes from `start` to `to` over the first epochs of training, in equal steps.

    It may stand wherever a variant, a damage or a likelihood takes a number that is no whole one, and in
    `Training(l1=...)`. Everywhere but in the steps that learn it is the number `to`: held-out rows are judged by the
    loss that is wanted in the end, so that a small weight does not make the first epochs look like the best, and
    patience is counted from the end of the warm-up. Bowman et al. 2016, "Generating Sentences from a Continuous Space",
    and Sonderby et al. 2016, "Ladder Variational Autoencoders", warm up beta, against posterior collapse.

    Parameters
    ----------
    to : the number that it becomes, and stays.
    start : the number in the first step.
    epochs : passes over the training rows until it is there; 0 for at once.

    Raises
    ------
    SettingError : for what is no number; and, when training starts, where it stands in a setting that is read only
        once, or begins outside what that setting may be.

    >>> from isthmus.variants import Variational
    >>> beta = WarmUp(4.0, epochs=5)
    >>> Variational(beta=beta)
    Variational(beta=WarmUp(to=4.0, epochs=5))
    >>> beta.at(2.5), beta.at(20), 2 * beta
    (2.0, 4.0, 8.0)
    """

    kind: ClassVar[str] = "training"
    limits = {"start": Limit(), "epochs": Limit(0)}

    def __new__(cls, to: float = 1.0, start: float = 0.0, epochs: float = 10.0) -> Self:
        if not Limit().allows(to):
            raise SettingError(f"to of warm_up is {to!r}; it must be a number.")
        return super().__new__(cls, to)

    def __init__(self, to: float = 1.0, start: float = 0.0, epochs: float = 10.0):
        self._to = to
        self.start = start
        self.epochs = epochs

    @property
    def to(self) -> float:
        return self._to

    @to.setter
    def to(self, value: float) -> None:
        if value != self._to:
            raise SettingError(f"what a warm_up leads to cannot change; give another one: WarmUp({value!r}).")

    def at(self, epochs: float) -> float:
        """The number after so many epochs, which need not be whole."""
        if epochs >= self.epochs:
            return float(self)
        return self.start + (float(self) - self.start) * (epochs / self.epochs)

    def __ne__(self, other: object) -> bool:
        return not self == other  # float's own would look at the number alone

    __hash__ = float.__hash__  # beside numbers it is one of them


@dataclass(frozen=True)
class Rising:
    """A setting that warms up: where it stands, and what stands there."""

    holder: Any
    name: str
    value: WarmUp

    def __str__(self) -> str:
        whose = f" of {self.holder.name()}" if isinstance(self.holder, Part) else ""
        return f"{self.name}{whose}"


class Warming:
    """A way to the gradients whose weights rise as it learns; what is only looked at sees them where they lead.

    Parameters
    ----------
    step : the way.
    rising : the settings that warm up.
    epochs_done : how many epochs, and parts of one, are done.
    """

    def __init__(self, step: Step, rising: Sequence[Rising], epochs_done: Callable[[], float]):
        self.step, self.rising, self.epochs_done = step, rising, epochs_done
        # part of the name, by which a checkpoint knows its run
        self.name = ", ".join([step.name, *(f"{one} by {one.value!r}" for one in rising)])

    @property
    def parameters(self) -> list[nn.Parameter]:
        return self.step.parameters

    def terms(self, batch: Batch, generator: torch.Generator, learn: bool) -> Mapping[str, Tensor | float]:
        with self._now(self.epochs_done()) if learn else contextlib.nullcontext():
            return self.step.terms(batch, generator, learn)

    def release(self) -> None:
        self.step.release()

    @contextlib.contextmanager
    def _now(self, epochs: float) -> Iterator[None]:
        for one in self.rising:
            setattr(one.holder, one.name, one.value.at(epochs))
        try:
            yield
        finally:
            for one in self.rising:
                setattr(one.holder, one.name, one.value)


def warming(step: Step, module: nn.Module, training: Training, epochs_done: Callable[[], float]) -> Step:
    """The same way to the gradients, with all weights that warm up; itself where there are none.

    Raises
    ------
    SettingError : for a warm-up of what is read only once, or one that begins at what its setting may not be.
    """
    for one in _rising([training, getattr(module, "architecture", None)]):
        if one.name == "learning_rate":
            raise SettingError("the learning rate has a warm-up of its own: schedule=Cosine(warm_up=0.1).")
        if not (one.holder is training and one.name == "l1"):
            raise SettingError(f"{one} is read only once, so that it cannot warm up; give a number.")
    found = rising_of(module, training)
    for one in found:
        if isinstance(one.holder, Part):
            _check_start(one)
    places = [Rising(step, "l1", one.value) if one.holder is training else one for one in found]
    return Warming(step, places, epochs_done) if places else step


def rising_of(module: nn.Module, training: Training) -> list[Rising]:
    """The settings that warm up in this run."""
    l1 = [Rising(training, "l1", training.l1)] if isinstance(training.l1, WarmUp) else []
    if not isinstance(module, AutoencoderModule):
        return l1
    return [*_rising([*module.variants, module.likelihood]), *l1]


def settled_after(module: nn.Module, training: Training) -> float:
    """The epochs until nothing rises any more."""
    return max((one.value.epochs for one in rising_of(module, training)), default=0.0)


def _rising(holders: Iterable[Any]) -> Iterator[Rising]:
    """In these parts, and in the parts inside them."""
    for holder in holders:
        if isinstance(holder, (list, tuple)):
            yield from _rising(holder)
        elif isinstance(holder, Part):
            for name, value in vars(holder).items():
                if isinstance(value, WarmUp):
                    yield Rising(holder, name, value)
                else:
                    yield from _rising([value])


def _check_start(one: Rising) -> None:
    """The first value is one that the setting may have."""
    one.value.check()
    setattr(one.holder, one.name, one.value.at(0))
    try:
        one.holder.check()
    finally:
        setattr(one.holder, one.name, one.value)
