"""What each drawing of the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.report.blocks import Figure, Key
from isthmus.report.curves import plain_ticks, plot_history
from isthmus.report.figures import MARKS, draw, tone
from isthmus.report.wording import count, number, share
from isthmus.training.applying import Array
from isthmus.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {"training": "M0 5h10", "held out": "M0 5h3.6M6.4 5H10"}  # solid and dashed, in a square of 10 by 10


# ---- losses


def term_figure(history: History, term: str) -> Figure:
    """One term of the loss by epoch."""
    held_out = history[f"validation_{term}"] if f"validation_{term}" in history.names else []
    said = f"From {number(history[term][0])} in the first epoch to {number(history[term][-1])} in the last"
    if held_out:
        said += f"; on held-out rows from {number(held_out[0])} to {number(held_out[-1])}"
    if held_out and history.best_epoch is not None:
        said += f", {number(held_out[history.best_epoch - 1])} in the epoch that was kept"

    def paint(ax: Axes) -> None:
        plot_history(history, ax, [term])
        for line in ax.get_lines():
            line.set_color(tone("quiet" if line.get_linestyle() == ":" else "series-1"))
            if line.get_linestyle() == "--":
                line.set_color(tone("series-2"))
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        ax.set_title(term.replace("_", " "))

    keys = [Key("training rows", LINES["training"], "series-1")]
    keys += [Key("held-out rows", LINES["held out"], "series-2")] if held_out else []
    keys += [Key(f"epoch {history.best_epoch}, kept", "M5 0v2M5 4v2M5 8v2", "quiet")] if history.best_epoch else []
    svg = draw(f"term-{term}", f"Line chart of {term} by epoch. {said}.", paint)
    return Figure(svg, f"{said}.", keys)


# ---- errors


def error_figure(errors: Array, threshold: float | None, unit: str) -> Figure:
    """How often which error comes, and where the threshold stands; what lies far out is counted in the last bar."""
    half, most = np.quantile(errors, [0.5, 0.99])
    end = (
        max(most, half + 3 * (most - half)) if threshold is None else max(most, threshold + 0.3 * abs(threshold - half))
    )
    end = min(float(errors.max()), float(end))
    beyond = int((errors > end).sum())
    edges = np.linspace(float(errors.min()), end, 41) if end > errors.min() else np.array([end - 0.5, end + 0.5])
    held = np.minimum(errors, edges[-1])
    odd = np.zeros(len(errors), dtype=bool) if threshold is None else errors > threshold

    heights = [np.histogram(held[chosen], edges)[0] for chosen in (~odd, odd)]
    steep = bool(heights[0].max() > 100)

    def paint(ax: Axes) -> None:
        bars: dict[str, Any] = {"align": "edge", "edgecolor": tone("paper"), "linewidth": 0.6}
        ax.bar(edges[:-1], heights[0], np.diff(edges), color=tone("series-1"), **bars)
        if threshold is not None:
            ax.bar(edges[:-1], heights[1], np.diff(edges), heights[0], color=tone("alarm"), **bars)
            ax.axvline(threshold, color=tone("ink"), linestyle="--", linewidth=1.2)
        if steep:
            ax.set_yscale("symlog", linthresh=1)
            plain_ticks(ax)
        else:
            ax.locator_params(axis="y", integer=True)
        ax.locator_params(axis="x", nbins=6)
        ax.set_ylim(bottom=0)
        ax.grid(False, axis="x")
        ax.set_xlabel("error, nats")
        ax.set_ylabel(f"{unit}s")

    said = f"Half of the {unit}s have an error below {number(half)} nats, 99\u00a0% below {number(most)}"
    said += f"; the largest is {number(errors.max())}."
    keys = []
    if threshold is not None:
        said += f" The threshold stands at {number(threshold)}: {count(int(odd.sum()), unit)} above it."
        keys = [
            Key("usual", MARKS["s"], "series-1"),
            Key("odd", MARKS["s"], "alarm"),
            Key("threshold", LINES["held out"], "ink"),
        ]
    last = f" The last bar counts all {beyond:,} beyond {number(end)}." if beyond else ""
    svg = draw("errors", f"Histogram of the errors. {said}", paint)
    return Figure(svg, f"{said}{last}{' The upright axis is logarithmic.' if steep else ''}", keys)


# ---- PCA


def pca_figure(curve: Sequence[float], size: int, ours: float) -> Figure:
    """Explained variance by components of PCA, and where the autoencoder stands."""

    def paint(ax: Axes) -> None:
        ax.plot(range(1, len(curve) + 1), [100 * value for value in curve], "o-", color=tone("series-2"), markersize=3)
        ax.plot([size], [max(-4.0, 100 * ours)], "D", color=tone("series-1"), markersize=7)
        ax.set_xlabel("numbers in a code")
        ax.set_ylabel("explained variance, %")
        ax.locator_params(axis="x", integer=True)
        ax.set_ylim(0 if ours > 0 else -6, 103)

    said = f"PCA explains {share(curve[0])} with one component and {share(curve[-1])} with {len(curve)}"
    keys = [
        Key("this autoencoder", MARKS["D"], "series-1"),
        Key("PCA", "M0 5h10M5 3a2 2 0 1 0 .001 0z", "series-2"),
    ]
    text = f"{said}; the autoencoder {share(ours)} with {size}."
    return Figure(draw("pca", f"Line chart of explained variance. {text}", paint), text, keys)
