"""What an evaluation found: measures in sections, the columns one by one, and what is to be said about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.part import public

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

NOTHING = math.nan


@dataclass(frozen=True)
class Measure:
    """One figure, and the same figure for what it is held against.

    Parameters
    ----------
    section : reconstruction, code, downstream, detection, restoring, preservation or generation.
    name : what was measured.
    value : of the model; NaN where it could not be measured.
    meaning : what the figure says, in a few words.
    better : "higher" or "lower"; empty where neither is better.
    pca : the same for PCA with a code of the same size, in the same harness; NaN where there is no such thing.
    raw : the same for the data themselves, without a code.
    guess : the same for an answer that looks at nothing.
    spread : standard deviation over the folds of the data.
    matters : whether this is what counts for the task.
    """

    section: str
    name: str
    value: float
    meaning: str
    better: str = "higher"
    pca: float = NOTHING
    raw: float = NOTHING
    guess: float = NOTHING
    spread: float = NOTHING
    matters: bool = False


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a fitted autoencoder is, and at what.

    Parameters
    ----------
    model : the name of the class that was evaluated.
    task : what it is to be good at.
    headline : the result in one sentence.
    measures : all figures.
    features : the error of each column or channel, a polars data frame; in the units of the column.
    notes : what is to be kept in mind, sentence by sentence.
    n_samples : how many samples were looked at.
    refitted : whether the model was fitted anew for each fold, without the rows that it was then measured on.
    """

    model: str
    task: str
    headline: str
    measures: tuple[Measure, ...]
    features: pl.DataFrame
    notes: tuple[str, ...]
    n_samples: int
    refitted: bool = False

    def __getitem__(self, name: str) -> Measure:
        """A measure by its name."""
        places = {one.name: one for one in self.measures}
        if name not in places:
            raise KeyError(f"there is no measure {name!r}; there are: {', '.join(places)}.")
        return places[name]

    def __contains__(self, name: object) -> bool:
        return any(one.name == name for one in self.measures)

    @property
    def sections(self) -> list[str]:
        """The sections that there are, in order."""
        return list(dict.fromkeys(one.section for one in self.measures))

    @property
    def table(self) -> pl.DataFrame:
        """All measures, a row for each; what was not measured is empty."""
        import polars as pl

        numbers = ("value", "spread", "pca", "raw", "guess")
        columns: dict[str, Any] = {
            name: [getattr(one, name) for one in self.measures] for name in ("section", "name", "matters", *numbers)
        }
        columns |= {name: [getattr(one, name) for one in self.measures] for name in ("better", "meaning")}
        frame = pl.DataFrame(columns, schema_overrides=dict.fromkeys(numbers, pl.Float64))
        return frame.rename({"name": "measure", "value": "model"}).with_columns(pl.col(pl.Float64).fill_nan(None))

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.headline
        width = max((len(one.name) for one in self.measures), default=0) + 2
        titles = ("model", "+-", "PCA", "raw", "guess")
        for section in self.sections:
            mine = [one for one in self.measures if one.section == section]
            star = "  (matters here)" if any(one.matters for one in mine) else ""
            yield ""
            yield f"{section + star:<{width}}" + "".join(f"{title:>9}" for title in titles)
            for one in mine:
                figures = (one.value, one.spread, one.pca, one.raw, one.guess)
                yield (f"  {one.name:<{width - 2}}" + "".join(f"{written(figure):>9}" for figure in figures)).rstrip()
        yield from ("", *(f"- {note}" for note in self.notes)) if self.notes else ()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what lies between 0 and 1 and is better the higher it is: the model, PCA, the data themselves, a guess.

        Parameters
        ----------
        ax : the matplotlib axes to draw in; None makes a new figure.
        """
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        shown = [one for one in self.measures if one.better == "higher" and 0 <= one.value <= 1][::-1]
        for label, mark, size in (("value", "D", 6), ("pca", "s", 5), ("raw", "o", 5), ("guess", "|", 8)):
            values = [getattr(one, label) for one in shown]
            if any(value == value for value in values):
                name = {"value": "model", "pca": "PCA", "raw": "the data themselves"}.get(label, label)
                ax.plot(values, range(len(shown)), mark, markersize=size, label=name)
        ax.set_yticks(range(len(shown)), [f"{one.section}: {one.name}" for one in shown])
        ax.set_xlim(-0.05, 1.05)
        ax.grid(axis="y", alpha=0.3)
        ax.legend()
        return ax

    def to_html(self, path: str | Path | None = None) -> str:
        """The same as a page of HTML, which opens offline; with a path it is also written there.

        Raises
        ------
        MissingExtraError : without matplotlib and Jinja2, which the report extra installs.
        StorageError : when the file cannot be written; an old file stays whole.
        """
        page: str = public("report", "evaluation_page")(self, path)
        return page


def written(value: float) -> str:
    """A figure for a table of text.

    >>> written(0.12345), written(12.0), written(float("nan"))
    ('0.123', '12', '')
    """
    return "" if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
