"""Advice on the size of a code: the rule, the sentence, the table and the figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from isthmus.evaluation._dimension import Dimension
from isthmus.part import public
from isthmus.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME = 0.01  # of a score, or of the variance
LENIENT = 0.05  # of the best, that a size may explain less where the data have no more directions


@dataclass(frozen=True, repr=False)
class Advice:
    """How many numbers a code should have, and why.

    Parameters
    ----------
    n_components : the size to take.
    reason : why, in a sentence.
    table : size by size: the explained variance of held-out samples, its mean over seeds (`explained`), its standard
        deviation (`spread`), and that of PCA (`pca`); how well y is told from the codes (`told`); a polars data frame.
    dimension : how many directions the data lie along.
    pca : how many components PCA needs for as much as the advised size explains; one more than was tried where more.
    notes : what is to be kept in mind, sentence by sentence.
    """

    n_components: int
    reason: str
    table: pl.DataFrame
    dimension: Dimension
    pca: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        y = "" if self.table["told"].null_count() else f"{'tells y':>9}"
        lines = [self.reason, "", f"{'size':>6}{'explained':>12}{'+-':>8}{'PCA':>8}{y}"]
        for size, explained, scatter, pca, told, _ in self.table.iter_rows():
            mark = "  <- take this" if size == self.n_components else ""
            tells = "" if told is None else f"{told:>9.3f}"
            lines.append(f"{size:>6}{explained:>12.3f}{scatter:>8.3f}{pca:>8.3f}{tells}{mark}")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve: explained variance of held-out samples by size, with the spread over seeds, and PCA's.

        Parameters
        ----------
        ax : the matplotlib axes to draw in; None makes a new figure.
        """
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        sizes, explained, scatter, pca = (
            self.table[name].to_numpy() for name in ("size", "explained", "spread", "pca")
        )
        ax.fill_between(sizes, explained - scatter, explained + scatter, alpha=0.3, linewidth=0)
        ax.plot(sizes, explained, "o-", label="autoencoders, with the spread over seeds")
        ax.plot(sizes, pca, "s--", label="PCA")
        ax.axvline(self.n_components, color="0.4", linestyle=":", label=f"take {self.n_components}")
        ax.set(xlabel="numbers in a code", ylabel="explained variance, held out")
        ax.legend()
        return ax

    def to_html(self, path: str | Path | None = None) -> str:
        """The same as a page of HTML, which opens offline; with a path it is also written there."""
        page: str = public("report", "advice_page")(self, path)
        return page


# ---- the rule


@dataclass(frozen=True)
class Tried:
    """What was found size by size.

    Parameters
    ----------
    sizes : in order.
    found : the explained variance of held-out samples, (n_sizes, n_seeds).
    told : how well y is told from their codes, likewise; None without y.
    curve : the explained variance of PCA with 1, 2, ... components.
    dimension : of the data.
    """

    sizes: Sequence[int]
    found: np.ndarray
    told: np.ndarray | None
    curve: Sequence[float]
    dimension: Dimension

    @property
    def explained(self) -> np.ndarray:
        """The mean over the seeds."""
        return np.asarray(self.found.mean(1))

    def table(self) -> pl.DataFrame:
        told = [None] * len(self.sizes) if self.told is None else self.told.mean(1).tolist()
        return pl.DataFrame(
            {
                "size": list(self.sizes),
                "explained": self.explained,
                "spread": self.found.std(1),
                "pca": [self.curve[min(one, len(self.curve)) - 1] for one in self.sizes],
                "told": pl.Series(told, dtype=pl.Float64),
                "seeds": [self.found.shape[1]] * len(self.sizes),
            }
        )


def conclusion(tried: Tried, share: float) -> Advice:
    """The size to take, and why."""
    sizes, explained, dimension = tried.sizes, tried.explained, tried.dimension
    best = int(np.argmax(explained))
    enough = int(np.argmax(explained >= share * explained[best]))
    place = _by_directions(tried, share, enough)
    size, value = sizes[place], explained[place]
    pca = next((number + 1 for number, one in enumerate(tried.curve) if one >= value - SAME / 2), len(tried.curve) + 1)
    of_best = f"{100 * value / explained[best]:.0f} % of what {sizes[best]} do" if place != best else "most of all"
    reason = (
        f"Take n_components={size}: {counted(size, 'number')} explain {100 * value:.0f} % of the variance of held-out "
        f"samples, {of_best}"
    )
    reason += (
        f", and the data lie along about {dimension.likelihood:.1f} directions."
        if place < enough
        else f", and one fewer {100 * explained[place - 1]:.0f} %."
        if place and sizes[place - 1] == size - 1
        else "."
    )
    return Advice(size, reason, tried.table(), dimension, pca, tuple(_notes(tried, place, pca)))


def _by_directions(tried: Tried, share: float, enough: int) -> int:
    """Fewer where the data have fewer directions, and nearly as much comes back: the rest is what training missed."""
    directions = math.ceil(tried.dimension.likelihood)
    places = [place for place, size in enumerate(tried.sizes[:enough]) if size >= directions]
    if not places or tried.explained[places[0]] < (share - LENIENT) * tried.explained.max():
        return enough
    return places[0]


def _notes(tried: Tried, place: int, pca: int) -> Iterator[str]:
    sizes, dimension, size = tried.sizes, tried.dimension, tried.sizes[place]
    yield (
        f"Distances to neighbours say {dimension.estimate:.1f} +- {dimension.error:.1f} directions close by and "
        f"{dimension.likelihood:.1f} further out; noise raises both, the first more."
    )
    needs = f"{pca} components" if pca <= len(tried.curve) else f"more than {len(tried.curve)} components"
    yield f"PCA needs {needs} for as much." + (" It is done in a moment, and will do here." if pca <= size else "")
    if tried.told is not None:
        told = tried.told.mean(1)
        first = sizes[int(np.argmax(told >= told.max() - max(SAME, tried.told.std(1).mean())))]
        yield (
            f"Nearest neighbours tell y from {counted(first, 'number')} about as well as from any number tried: "
            f"{told.max():.2f} at best, {told[place]:.2f} with {size}."
        )
    if place == len(sizes) - 1 and len(sizes) > 1:
        yield "That is the largest size that was tried; larger ones may explain more."
    if tried.explained[place] < 0.5:
        yield "Less than half of the variance comes back: the columns have little to do with each other, or much noise."
    if len(sizes) > 1 and float(tried.found.std(1)[place]) > 0.05:
        yield "Seeds differ much at this size, so that the curve is rough; try more seeds."
