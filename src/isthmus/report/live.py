"""Curves that grow while training goes, in a notebook or wherever the pictures are sent."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from isthmus.report.curves import plot_history, terms_of
from isthmus.report.wording import need_extra
from isthmus.training.history import History
from isthmus.training.watch import EpochReport


class LiveCurves:
    """Draws the losses anew while training goes: a watcher of the loop, and as well a callback of `Training`.

    In a notebook an estimator with `verbose` not False uses it of itself.

    Parameters
    ----------
    every : seconds between two drawings, at least 0; drawing never takes more than a tenth of the time.
    delay : seconds before the first drawing.
    show : called with each drawing as the bytes of a PNG; None shows it in the notebook, always in the same place.

    Raises
    ------
    MissingExtraError : without matplotlib.

    >>> import numpy as np
    >>> from isthmus import Autoencoder, Training
    >>> drawings = []
    >>> training = Training(max_epochs=40, callbacks=[LiveCurves(show=drawings.append)])
    >>> X = np.random.default_rng(0).normal(size=(60, 1)) @ np.ones((1, 3))
    >>> model = Autoencoder(1, training=training, random_state=0).fit(X)
    >>> drawings[-1][:4]
    b'\\x89PNG'
    """

    def __init__(self, every: float = 1.0, delay: float = 0.0, show: Callable[[bytes], object] | None = None):
        need_extra("matplotlib")
        self.every = every
        self.show = _in_notebook() if show is None else show
        self.history = History()
        self.first = self.due = time.monotonic() + delay
        self.stale = False

    def __call__(self, report: EpochReport) -> None:
        """As a callback: there is no end to wait for, so the last epoch is drawn at once."""
        self.epoch(report)
        if report.epoch.number >= report.max_epochs:
            self.close()

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        """Nothing: curves go by epochs."""

    def epoch(self, report: EpochReport) -> None:
        if report.epoch.number == 1:
            self.history = History()
        self.history.epochs.append(report.epoch)
        if report.best and report.epoch.validation:
            self.history.best_epoch = report.epoch.number
        self.stale = True
        if time.monotonic() >= self.due:
            self._draw()

    def close(self) -> None:
        if self.stale and time.monotonic() >= self.first:  # whoever saw curves sees their end, too
            self._draw()

    def _draw(self) -> None:
        from matplotlib import figure  # noqa: F401  what the first drawing waits for says nothing of the others

        started = time.monotonic()
        self.show(drawing(self.history))
        self.stale = False
        taken = time.monotonic() - started
        self.due = time.monotonic() + max(self.every, 9 * taken)


def drawing(history: History) -> bytes:
    """The curves, one panel a term, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    terms = terms_of(history)
    figure = Figure(figsize=(4.2 * len(terms), 2.8), dpi=110, layout="constrained")
    for term, ax in zip(terms, figure.subplots(1, len(terms), squeeze=False)[0], strict=True):
        plot_history(history, ax, [term])
        ax.set_title(term)
    written = io.BytesIO()
    FigureCanvasAgg(figure).print_png(written)  # type: ignore[no-untyped-call]
    return written.getvalue()


def _in_notebook() -> Callable[[bytes], object]:
    """Shows pictures in one place of the notebook; nowhere, where there is none."""
    try:
        from IPython import display  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return lambda png: None
    handle: list[Any] = []

    def show(png: bytes) -> None:
        image = display.Image(png)
        if handle:
            handle[0].update(image)
        elif (made := display.display(image, display_id=True)) is not None:
            handle.append(made)

    return show
