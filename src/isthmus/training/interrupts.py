"""Ctrl-C while a run keeps a checkpoint: the step in hand is finished first, so that what is written is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Inside it, the first Ctrl-C is only noted, and the second one interrupts at once.

    It steps aside in a thread, or where the program has a way of its own to treat Ctrl-C.

    Parameters
    ----------
    wanted : False leaves Ctrl-C as it is.

    >>> with Interrupts(wanted=True) as interrupts:
    ...     interrupts.asked
    False
    """

    def __init__(self, wanted: bool):
        self.wanted = wanted
        self.asked = False
        self.before: Callable[..., Any] | None = None

    def __enter__(self) -> Self:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.wanted and usual and threading.current_thread() is threading.main_thread():
            self.before = signal.default_int_handler
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
