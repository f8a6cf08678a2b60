"""Who looks on while training goes: callbacks after each epoch, watchers after each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from isthmus.training.history import Epoch


@dataclass(frozen=True)
class EpochReport:
    """What a callback is told after an epoch."""

    epoch: Epoch
    max_epochs: int
    best: bool  # the lowest monitored loss so far
    module: nn.Module


class Watcher(Protocol):
    """Told of every step and epoch; a progress bar, say."""

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        """After every step: steps done in all, and how many there can be."""

    def epoch(self, report: EpochReport) -> None:
        """After every epoch."""

    def close(self) -> None:
        """At the end, also after an error."""
