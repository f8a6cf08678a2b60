from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, cast

import numpy as np
from torch import nn

from isthmus.errors import SettingError
from isthmus.part import Part, resolve
from isthmus.training.checkpoint import Checkpoint
from isthmus.training.layerwise import Layerwise
from isthmus.training.optimizers import Optimizer, Stepper
from isthmus.training.schedules import Schedule

PICTURE_NUMBERS = 2**16  # in one step of pictures, as long as that makes 16 of them
LARGE_STEP = 2**18  # numbers in one step; with more of them fewer steps are taken


class Training(Part):
    """How an autoencoder is trained: for how long, in which steps, and when to stop.

    Parameters
    ----------
    max_epochs : passes over the training rows at most; "auto" takes about 2,000 steps for rows of a table, 4,000 for
        all else, fewer where one step holds many numbers, between 10 and 300 epochs.
    batch_size : rows in one step; "auto" takes 16 to 256, more for more rows and fewer for large pictures.
    optimizer : adam, adamw, sgd, rmsprop, or an Optimizer object.
    learning_rate : size of the steps at the start; "auto" is 0.002 for rows of a table, 0.001 for all else.
    schedule : cosine, constant, step, exponential, plateau, or a Schedule object (each has a warm_up).
    weight_decay : L2 penalty on all parameters, by the optimizer.
    l1 : L1 penalty on weights (not on biases), in nats per unit; part of the loss, also of the held-out one.
    clip : largest norm of the gradient; None for no limit.
    validation : share of the rows held out to watch the loss, between 0 and 1; with fewer than 10 rows none are.
    patience : epochs without a better held-out loss before training stops and the best weights are restored; None to
        train on to the end (the best are restored all the same).
    pretrain : "layerwise" trains the layers of a stack one after the other before the whole, for ten epochs each; or a
        Layerwise object; None (the default) does not.
    ema : share of a moving average of the weights that stays at each step, such as 0.999; then the average is held
        against the held-out rows, kept and given back; None (the default) for the weights themselves.
    callbacks : functions called after every epoch with an `EpochReport`; one that returns True stops training.
    checkpoint : a path, or a Checkpoint: a stopped run goes on from there, bit for bit; removed when training ends.

    Raises
    ------
    SettingError : for a value out of range, when training starts.

    >>> Training(max_epochs=20, optimizer="sgd")
    Training(max_epochs=20, optimizer='sgd')
    """

    kind: ClassVar[str] = "training"

    def __init__(
        self,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        optimizer: str | Optimizer = "adam",
        learning_rate: float | str = "auto",
        schedule: str | Schedule = "cosine",
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip: float | None = None,
        validation: float = 0.1,
        patience: int | None = 10,
        pretrain: str | Layerwise | None = None,
        ema: float | None = None,
        callbacks: Sequence[Callable[[Any], object]] = (),
        checkpoint: str | Checkpoint | None = None,
    ):
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.l1 = l1
        self.clip = clip
        self.validation = validation
        self.patience = patience
        self.pretrain = pretrain
        self.ema = ema
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def check(self) -> None:
        """One sentence for the first setting that is out of range."""
        _whole("max_epochs", self.max_epochs, "auto")
        _whole("batch_size", self.batch_size, "auto")
        _whole("patience", self.patience, None)
        _number("learning_rate", self.learning_rate, above=0.0, also="auto")
        _number("validation", self.validation, below=1.0)
        _number("weight_decay", self.weight_decay)
        _number("l1", self.l1)
        if self.clip is not None:
            _number("clip", self.clip, above=0.0)
        if self.ema is not None:
            _number("ema", self.ema, below=1.0)

    def resolved_optimizer(self) -> Optimizer:
        return resolve("training", self.optimizer, Optimizer)

    def resolved_schedule(self) -> Schedule:
        return resolve("training", self.schedule, Schedule)

    def resolved_pretrain(self) -> Layerwise | None:
        return None if self.pretrain is None else resolve("training", self.pretrain, Layerwise)

    def resolved_checkpoint(self) -> Checkpoint | None:
        if self.checkpoint is None or isinstance(self.checkpoint, Checkpoint):
            return self.checkpoint
        return Checkpoint(self.checkpoint)

    def rows_per_step(self, n_rows: int, sample_shape: tuple[int, ...] = ()) -> int:
        """The batch size for this many training rows of this shape."""
        if not isinstance(self.batch_size, str):
            return min(int(self.batch_size), n_rows)
        most = PICTURE_NUMBERS // math.prod(sample_shape) if len(sample_shape) == 3 else n_rows
        return min(n_rows, 1 << max(4, min(8, round(math.log2(max(1, n_rows / 32))), most.bit_length() - 1)))

    def rate(self, sample_shape: tuple[int, ...] = ()) -> float:
        """The learning rate at the start, for samples of this shape."""
        if not isinstance(self.learning_rate, str):
            return float(self.learning_rate)
        return 2e-3 if len(sample_shape) == 1 else 1e-3

    def epochs(self, steps_per_epoch: int, n_rows: int = 1, sample_shape: tuple[int, ...] = ()) -> int:
        """How many epochs at most, for steps of so many samples of this shape."""
        if not isinstance(self.max_epochs, str):
            return int(self.max_epochs)
        most = 2000 if len(sample_shape) == 1 else 4000
        steps = most / max(1, n_rows * math.prod(sample_shape) / LARGE_STEP)
        return max(10, min(300, math.ceil(steps / steps_per_epoch)))


def optimizers_of(
    parameters: Iterable[nn.Parameter], adversaries: Iterable[nn.Parameter], training: Training, rate: float
) -> list[Stepper]:
    """One for the autoencoder, and one for the adversaries where there are any."""
    apart = list(adversaries)
    theirs = {id(parameter) for parameter in apart}
    own = [parameter for parameter in parameters if parameter.requires_grad and id(parameter) not in theirs]
    part = training.resolved_optimizer()
    return [part.build(group, rate, training.weight_decay) for group in (own, apart) if group]


def _whole(name: str, value: object, also: object) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if value == also or (whole and int(cast(int, value)) >= 1):
        return
    raise SettingError(f"{name} is {value!r}; it must be a whole number of at least 1, or {also!r}.")


def _number(
    name: str, value: Any, above: float | None = None, below: float = math.inf, also: str | None = None
) -> None:
    if also is not None and value == also:
        return
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    low_enough = number and value < below
    if low_enough and (value > above if above is not None else value >= 0):
        return
    limits = f"above {above:g}" if above is not None else "at least 0"
    limits += "" if below == math.inf else f" and below {below:g}"
    limits += "" if also is None else f", or {also!r}"
    raise SettingError(f"{name} is {value!r}; it must be a number {limits}.")
