"""The losses of a training run as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from isthmus.report.wording import need_extra
from isthmus.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 20.0  # where the largest loss is so many times the smallest, the axis is logarithmic


def plot_history(history: History, ax: Axes | None = None, terms: Sequence[str] | None = None) -> Axes:
    """Draw the loss by epoch, and the parts it is made of: solid on the training rows, dashed on held-out rows.

    Parameters
    ----------
    history : what training left, `model.history_`.
    ax : the matplotlib axes to draw in; None makes a new figure.
    terms : which terms to draw, such as ["loss", "rate"]; None takes all that differ from the loss itself.

    Returns
    -------
    The axes. A dotted line stands at the epoch whose weights were kept.

    Raises
    ------
    MissingExtraError : without matplotlib.
    KeyError : for a term that the history does not have.

    >>> from isthmus.training.history import Epoch, History
    >>> from matplotlib.figure import Figure
    >>> history = History([Epoch(n, {"loss": 9 / n}, {"loss": 10 / n}, 1e-3, 0.1) for n in (1, 2, 3)], best_epoch=3)
    >>> ax = plot_history(history, Figure().subplots())
    >>> [line.get_label() for line in ax.get_lines()]
    ['loss', 'loss, held out', 'kept: epoch 3']
    """
    need_extra("matplotlib")
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    chosen = terms_of(history) if terms is None else list(terms)
    drawn = [value for place, term in enumerate(chosen) for value in _term(history, term, ax, f"C{place}")]
    if history.best_epoch is not None:
        ax.axvline(
            history.best_epoch, color="0.5", linestyle=":", linewidth=1, label=f"kept: epoch {history.best_epoch}"
        )
    if drawn and min(drawn) > 0 and max(drawn) > WIDE * min(drawn):
        ax.set_yscale("log")
        plain_ticks(ax)
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("nats per sample")
    if drawn:
        ax.legend()
    return ax


def plain_ticks(ax: Axes) -> None:
    """10 and 100 on a logarithmic axis rather than formulas, which not every way of drawing text knows."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def terms_of(history: History) -> list[str]:
    """The loss, and its parts where it has several."""
    if not len(history):
        return []
    names = list(history[0].training)
    parts = [name for name in names if name != "loss"]
    return ["loss", *parts] if len(parts) > 1 else ["loss"]


def _term(history: History, term: str, ax: Axes, colour: str) -> list[float]:
    """Draw one term; its finite values."""
    values: list[float] = []
    for name, line, label in ((term, "-", term), (f"validation_{term}", "--", f"{term}, held out")):
        if name in history.names:
            epochs = [epoch.number for epoch in history]
            mark = ("o" if line == "-" else "D") if len(epochs) == 1 else ""
            ax.plot(epochs, history[name], linestyle=line, color=colour, label=label, marker=mark)
            values += [value for value in history[name] if np.isfinite(value)]
        elif name == term:
            raise KeyError(f"history has no {term!r}; it has: {', '.join(history.names)}.")
    return values
