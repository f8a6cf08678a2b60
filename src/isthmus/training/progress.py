"""Live progress on standard error: a bar with the time left, in a terminal and in notebooks; silent elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from isthmus.training.watch import EpochReport


class ProgressBar:
    """A watcher that draws.

    Parameters
    ----------
    verbose : True draws at once, False never, None once training has taken a second and somebody can see it.
    """

    def __init__(self, verbose: bool | None = None):
        self.console = Console(file=sys.stderr)
        self.wanted = verbose is True or (verbose is None and (self.console.is_terminal or self.console.is_jupyter))
        self.delay = 0.0 if verbose else 1.0
        self.started = time.monotonic()
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.losses = ""

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        if not self.wanted or time.monotonic() - self.started < self.delay:
            return
        if self.progress is None:
            self.progress = self._start(of)
        self.progress.update(self.task, completed=done, epoch=f"epoch {epoch}/{epochs}", losses=self.losses)

    def epoch(self, report: EpochReport) -> None:
        epoch = report.epoch
        self.losses = f"loss {epoch.training['loss']:.4g}"
        if epoch.validation:
            self.losses += f", held out {epoch.validation['loss']:.4g}{' *' if report.best else ''}"

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()

    def _start(self, of: int) -> Progress:
        progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[epoch]}"),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=not self.console.is_jupyter,
        )
        progress.start()
        self.task = progress.add_task("training", total=of, epoch="", losses="")
        return progress
