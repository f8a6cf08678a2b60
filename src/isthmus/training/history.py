"""History: what happened in training, epoch by epoch, every term of the loss apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Epoch:
    """One pass over the training rows. Terms are means over the rows, in nats per sample."""

    number: int  # from 1
    training: dict[str, float]  # loss, distortion, rate where there is one, each penalty by the variant's name
    validation: dict[str, float]  # the same over the held-out rows; empty when there are none
    learning_rate: float  # of its last step
    seconds: float

    @property
    def monitored(self) -> float:
        """What early stopping watches: the held-out loss, or the training loss when nothing is held out."""
        return (self.validation or self.training)["loss"]


@dataclass
class History:
    """All epochs, and how training ended.

    `history["loss"]` is the list of training losses, `history["validation_loss"]` of held-out ones, and so on for
    every term; `history[3]` is the fourth epoch.

    >>> history = History([Epoch(1, {"loss": 2.0}, {"loss": 3.0}, 1e-3, 0.1)])
    >>> history["loss"], history["validation_loss"], len(history)
    ([2.0], [3.0], 1)
    """

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None  # whose weights were kept; None when the last ones were
    ended: str = ""  # in words: all epochs done, no better for so long, stopped by hand ...
    pretraining: list[list[float]] = field(default_factory=list)  # of each layer, the distortion epoch by epoch

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, int):
            return self.epochs[key]
        if key in ("learning_rate", "seconds"):
            return [getattr(epoch, key) for epoch in self.epochs]
        part, name = ("validation", key[11:]) if key.startswith("validation_") else ("training", key)
        if key not in self.names:
            raise KeyError(f"history has no {key!r}; it has: {', '.join(self.names)}.")
        return [getattr(epoch, part)[name] for epoch in self.epochs if name in getattr(epoch, part)]

    @property
    def names(self) -> list[str]:
        """What can be asked for by name."""
        if not self.epochs:
            return []
        first = self.epochs[0]
        held_out = [f"validation_{name}" for name in first.validation]
        return [*first.training, *held_out, "learning_rate", "seconds"]

    def outline(self) -> dict[str, Any]:
        """What is worth knowing at a glance: how many epochs, how it ended, the last epoch's terms."""
        last = asdict(self.epochs[-1]) if self.epochs else None
        return {"n_epochs": len(self), "best_epoch": self.best_epoch, "ended": self.ended, "last": last}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> History:
        epochs = [Epoch(**epoch) for epoch in document["epochs"]]
        return cls(epochs, document["best_epoch"], document["ended"], document.get("pretraining", []))
