"""Live progress on standard error: a bar with the time left, in a terminal and in notebooks; silent elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from isthmus.training.history import Epoch
from isthmus.training.watch import EpochReport

LEVELS = "▁▂▃▄▅▆▇█"


class ProgressBar:
    """A watcher that draws: a bar, and below it each term of the loss as a small curve.

    Parameters
    ----------
    verbose : True draws at once, False never, None once training has taken a second and somebody can see it.
    """

    def __init__(self, verbose: bool | None = None):
        self.console = Console(file=sys.stderr)
        self.wanted = verbose is True or (verbose is None and (self.console.is_terminal or self.console.is_jupyter))
        self.delay = 0.0 if verbose else 1.0
        self.started = time.monotonic()
        self.progress: _Progress | None = None
        self.task = TaskID(0)
        self.losses = ""
        self.epochs: list[Epoch] = []

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        if not self.wanted or time.monotonic() - self.started < self.delay:
            return
        if self.progress is None:
            self.progress = self._start(of)
        self.progress.update(self.task, completed=done, epoch=f"epoch {epoch}/{epochs}", losses=self.losses)

    def epoch(self, report: EpochReport) -> None:
        epoch = report.epoch
        self.epochs.append(epoch)
        self.losses = f"loss {epoch.training['loss']:.4g}"
        if epoch.validation:
            self.losses += f", held out {epoch.validation['loss']:.4g}{' *' if report.best else ''}"

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()

    def _start(self, of: int) -> _Progress:
        progress = _Progress(
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
        progress.epochs = self.epochs
        progress.start()
        self.task = progress.add_task("training", total=of, epoch="", losses="")
        return progress


class _Progress(Progress):
    """The bar, and a line of curves below it."""

    epochs: Sequence[Epoch] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if len(self.epochs) > 1:
            yield Text(curves(self.epochs, self.console.encoding), no_wrap=True, overflow="ellipsis")


def curves(epochs: Sequence[Epoch], encoding: str = "utf-8") -> str:
    """Every term of the loss as it went, with its last value; empty where the letters cannot be written.

    >>> curves([Epoch(n, {"loss": 1.0 / n}, {"loss": 2.0 / n}, 1e-3, 0.1) for n in (1, 2, 4)])
    'loss █▃▁ 0.25   held out █▃▁ 0.5'
    """
    try:
        LEVELS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ""
    terms = {name: [epoch.training[name] for epoch in epochs] for name in epochs[0].training}
    if len(terms) == 2:  # the loss has one part, which is itself
        terms = {"loss": terms["loss"]}
    if epochs[0].validation:
        terms["held out"] = [epoch.validation["loss"] for epoch in epochs]
    return "   ".join(f"{name} {curve(values)} {values[-1]:.4g}" for name, values in terms.items())


def curve(values: Sequence[float], width: int = 16) -> str:
    """A curve of at most `width` letters, each as high as the mean of its part.

    >>> curve([4.0, 3.0, 2.0, 1.0], 2), curve([1.0, 1.0])
    ('█▁', '▁▁')
    """
    n = min(width, len(values))
    parts = [values[len(values) * place // n : len(values) * (place + 1) // n] for place in range(n)]
    means = [sum(part) / len(part) for part in parts]
    finite = [mean for mean in means if math.isfinite(mean)] or [0.0]
    low, room = min(finite), (max(finite) - min(finite)) or 1.0
    heights = [(mean - low) / room if math.isfinite(mean) else 1.0 for mean in means]
    return "".join(LEVELS[round(height * (len(LEVELS) - 1))] for height in heights)


class CountBar:
    """A bar while samples go through a model one by one; the same rules of who sees it.

    >>> with CountBar(2, verbose=False) as bar:
    ...     bar.show(1.5)
    """

    def __init__(self, total: int, verbose: bool | None = None):
        self.console = Console(file=sys.stderr)
        self.wanted = verbose is True or (verbose is None and (self.console.is_terminal or self.console.is_jupyter))
        self.delay = 0.0 if verbose else 1.0
        self.started = time.monotonic()
        self.total = total
        self.progress: Progress | None = None

    def __enter__(self) -> CountBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def show(self, done: float) -> None:
        """How many are done; a part of one counts."""
        if not self.wanted or time.monotonic() - self.started < self.delay:
            return
        if self.progress is None:
            columns = (BarColumn(bar_width=24), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
            left = (TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True))
            self.progress = Progress(*columns, *left, console=self.console, transient=not self.console.is_jupyter)
            self.progress.start()
            self.progress.add_task("", total=self.total, count="")
        percent = f"{math.floor(done):,} of {self.total:,} ({100 * done / self.total:.0f} %)"
        self.progress.update(TaskID(0), completed=done, count=percent)
