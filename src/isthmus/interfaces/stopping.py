"""SIGTERM while training: where there is a checkpoint, the state is written before the run ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from torch import Tensor

from isthmus import storage
from isthmus.interfaces.exits import Terminated
from isthmus.training import Checkpoint


class Stoppable(Checkpoint):
    """A checkpoint that is written at once when the run is asked to end, and then ends it.

    Parameters
    ----------
    path : the file.
    every : seconds between two writings; 0 writes after every step.
    """

    # Of the class, because an estimator copies its settings before it trains.
    asked, running = False, False

    def __init__(self, path: str | os.PathLike[str] = "isthmus.checkpoint", every: float = 30.0):
        super().__init__(path, every)

    @property
    def every(self) -> float:
        return 0.0 if Stoppable.asked else self._every

    @every.setter
    def every(self, seconds: float) -> None:
        self._every = seconds

    def read(self, fingerprint: str) -> storage.Stored | None:
        Stoppable.running = True
        return super().read(fingerprint)

    def write(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super().write(document, tensors)
        if Stoppable.asked:
            raise Terminated(
                f"stopped by SIGTERM; {str(self.path)!r} holds the state, and the same command goes on from there."
            )

    def remove(self) -> None:
        Stoppable.running = False
        super().remove()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the run after the next writing of a checkpoint, or at once where there is none."""
    Stoppable.asked = Stoppable.running = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn | None:
        if not Stoppable.running:
            raise Terminated
        Stoppable.asked = True
        return None

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        Stoppable.running = False
        signal.signal(signal.SIGTERM, before)
