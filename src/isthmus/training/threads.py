"""How many threads the steps of a run take, where no seed asks for the same numbers every time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

STEPS = 6  # that each number of threads is tried for
PERIOD = 10.0  # seconds until the next trial at least: other processes come and go
SHARE = 20  # times as long as a trial took


class ThreadTrial:
    """Tries one thread against all there are, keeps the faster, and tries again now and then.

    Beside a busy process a step on several threads waits for the slowest of them, and can take many times as long as on
    one; on a quiet machine it takes a part. Nothing but trying tells.

    Parameters
    ----------
    most : the largest number of threads.
    use : what sets the number; torch's own by default.
    clock : tells the seconds.

    >>> used = []
    >>> trial = ThreadTrial(4, use=used.append, clock=lambda: 0.0)
    >>> for _ in range(2 * STEPS):
    ...     trial.took(1.0 if used[-1] == 1 else 2.0)
    >>> used
    [4, 1, 1]
    """

    def __init__(
        self,
        most: int,
        use: Callable[[int], object] = torch.set_num_threads,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.most, self.use, self.clock = most, use, clock
        self.next = 0.0  # when to try again
        self.waiting: list[int] = []
        self.found: dict[int, float] = {}
        self.seconds: list[float] = []
        self._start()

    def took(self, seconds: float) -> None:
        """Told after every step how long it was."""
        if not self.waiting:
            if self.clock() >= self.next:
                self._start()
            return
        self.seconds.append(seconds)
        if len(self.seconds) < STEPS:
            return
        # the first step after a change pays for it
        self.found[self.waiting.pop()] = sorted(self.seconds[1:])[STEPS // 2 - 1]
        self.seconds = []
        if self.waiting:
            self.use(self.waiting[-1])
        else:
            self.next = self.clock() + max(PERIOD, SHARE * (self.clock() - self.started))
            self.use(min(self.found, key=lambda number: self.found[number]))

    def _start(self) -> None:
        self.waiting, self.found, self.started = [1, self.most], {}, self.clock()
        self.use(self.waiting[-1])
