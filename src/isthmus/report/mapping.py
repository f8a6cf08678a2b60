"""A map of the codes as a file of its own: a picture, a page or a table, with principal components beside it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.utils.validation import check_is_fitted

from isthmus.atomic import replace_file
from isthmus.autoencoder import Autoencoder
from isthmus.data._writing import write_frame
from isthmus.errors import DataError, SettingError
from isthmus.report.blocks import Figure, Figures, Section
from isthmus.report.colouring import Group, grouped, split_colour
from isthmus.report.figures import STAND_INS, style
from isthmus.report.maps import CELLS, chosen_cells, legend_label, map_figure, paint_marks, thumbnail_map, within
from isthmus.report.pictures import are_pictures
from isthmus.report.readings import Readings, Rows
from isthmus.report.samples import shown
from isthmus.report.shown import drawn_places, plane
from isthmus.report.wording import clean, need_extra
from isthmus.report.writing import page_of, render
from isthmus.tasks.base import Task
from isthmus.training.applying import Array

METHODS = ("auto", "pca", "tsne")
ENDINGS = (".png", ".html", ".csv")
NEAR = 12  # neighbours that trustworthiness asks for


@dataclass(frozen=True)
class Plane:
    """Samples in two dimensions.

    Parameters
    ----------
    points : where each sample stands, (n, 2).
    axes : what goes across and what upward.
    said : what the points are, in a sentence.
    trust : the share of neighbours on the map that are neighbours in the data, 1 for all (Venna & Kaski 2001); NaN for
        too few samples.
    """

    points: Array
    axes: tuple[str, str]
    said: str
    trust: float


@dataclass(frozen=True)
class Map:
    """The codes of samples in two dimensions, beside the first two principal components of the samples themselves.

    Parameters
    ----------
    code : the codes.
    components : the principal components of the same scaled data.
    rows : the place of each sample in the data.
    files : the names of their files; none where they have none.
    by : what they are coloured by, in words; empty for nothing.
    groups : who has which colour.
    pictures : the same map with small pictures in it, for a page; None for other data.
    """

    code: Plane
    components: Plane
    rows: Rows
    files: Sequence[str]
    by: str
    groups: Sequence[Group]
    pictures: Figure | None = None

    @property
    def table(self) -> pl.DataFrame:
        """Where every sample stands, as a polars frame."""
        label = np.full(len(self.rows), "", dtype=object)
        for group in self.groups:
            label[group.members] = group.label
        columns = {
            "row": self.rows,
            **({"file": list(self.files)} if self.files else {}),
            **{name: self.code.points[:, place] for place, name in enumerate(("x", "y"))},
            **{f"component {place + 1}": self.components.points[:, place] for place in range(2)},
        }
        return pl.DataFrame(columns | ({clean(self.by, 40): label.tolist()} if self.by else {}))

    def write(self, path: str | Path) -> Path:
        """The map as a file: .png and .html are drawings, .csv is the table."""
        ending = check_path(path)
        if ending == ".csv":
            write_frame(self.table, os.fspath(path))
        else:
            need_extra(*(["matplotlib"] if ending == ".png" else []))
            replace_file(path, [self._png() if ending == ".png" else self._html().encode("utf-8")])
        return Path(path)

    def _planes(self) -> list[tuple[str, str, Plane]]:
        return [("map", "Code", self.code), ("components", "Principal components", self.components)]

    def _html(self) -> str:
        figures = [
            map_figure(
                one.points, one.axes, self.by, self.groups, f"{title}: {one.said} {trusted(one)}".strip(), name=name
            )
            for name, title, one in self._planes()
        ]
        blocks = [Figures(figures), *([Figures([self.pictures])] if self.pictures else [])]
        said = f"{len(self.rows):,} samples in two dimensions: the code, and principal components beside it."
        return render(page_of("Map of the code", said, [Section("map", "Map", list(blocks))]))

    def _png(self) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Drawing

        with style():
            drawing = Drawing(figsize=(10, 5), layout="constrained", facecolor="white")
            for axes, (_, title, one) in zip(drawing.subplots(1, 2), self._planes(), strict=True):
                paint_marks(axes, within(one.points)[0], one.axes, self.groups)
                axes.set_title(f"{title}. {trusted(one)}".strip())
            if self.by:
                self._put_legend(drawing)
            _coloured(drawing)
            written = io.BytesIO()
            FigureCanvasAgg(drawing).print_png(written)  # type: ignore[no-untyped-call]
        return written.getvalue()

    def _put_legend(self, drawing: Any) -> None:
        """The groups in their own order, at the right."""
        handles, labels = drawing.axes[0].get_legend_handles_labels()
        known, order = dict(zip(labels, handles, strict=True)), [legend_label(group) for group in self.groups]
        title = clean(self.by, 40)
        where: dict[str, Any] = {"loc": "outside right upper", "markerscale": 1.6}
        drawing.legend([known[label] for label in order], order, title=title, **where)


def trusted(plane: Plane) -> str:
    """Its trustworthiness in words; nothing where it is not known."""
    return "" if np.isnan(plane.trust) else f"Trustworthiness {plane.trust:.3f}."


def _coloured(drawing: Any) -> None:
    """The page's own colours instead of the stand-ins for them."""
    css = files("isthmus.report").joinpath("style.css").read_text(encoding="utf-8").partition("@media")[0]
    light = {name: value for name, value in re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", css)}
    real = {stand_in: light[tone] for tone, stand_in in STAND_INS.items()}
    for artist in drawing.findobj(lambda one: hasattr(one, "get_color") and hasattr(one, "set_color")):
        colour = artist.get_color()
        if isinstance(colour, str) and colour in real:
            artist.set_color(real[colour])
    for axes in drawing.axes:
        axes.tick_params(colors=light["quiet"], grid_color=light["line"])
        for spine in axes.spines.values():
            spine.set_edgecolor(light["quiet"])


def check_path(path: str | os.PathLike[str]) -> str:
    """The ending of the file; SettingError for one that no map can be written to."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in ENDINGS:
        raise SettingError(f"a map is written as {', '.join(ENDINGS)}, and {os.fspath(path)!r} ends in none of them.")
    return ending


def map_of(model: Autoencoder | Task, X: Any, colour: Any = None, *, method: str = "auto") -> Map:
    """Where samples stand in the code, in two dimensions, with their first two principal components beside it.

    Parameters
    ----------
    model : a fitted Autoencoder, or a task around one.
    X : the data; of very many samples some thousands, evenly spread, are drawn.
    colour : the name of a column of X, also of one that the model was not fitted on, or one value for each sample, such
        as y; None takes the groups of a Clusterer, what a detector says, or a column of few words.
    method : how codes of more than two numbers come onto the map: "pca" or "tsne" (scikit-learn's; distances between
        groups mean nothing there); "auto" shows a code of two numbers as it is, others by PCA.

    Raises
    ------
    SettingError : for another method, or a colour that is no column.
    DataError : for fewer than two samples.

    >>> import numpy as np
    >>> from isthmus import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(60, 1)) @ np.ones((1, 3))
    >>> drawn = map_of(Autoencoder(n_components=2, random_state=0).fit(X), X)
    >>> drawn.table.columns, round(drawn.components.trust, 3)
    (['row', 'x', 'y', 'component 1', 'component 2'], 1.0)
    """
    if method not in METHODS:
        raise SettingError(f"method is {method!r}; it must be one of {', '.join(METHODS)}.")
    check_is_fitted(model)
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    X, colours = split_colour(X, autoencoder.data_, colour)
    readings = Readings(model, X)
    places = drawn_places(readings, readings.data.unit)[0]
    if len(places) < 2:
        raise DataError("a map needs at least two samples; give more.")
    rows = readings.rows[places]
    by, groups = grouped(readings, places, colours)
    given = readings.through(rows, lambda batch: batch.x.flatten(1)).astype(np.float64)
    code = _plane_of_codes(readings.codes[places], readings.errors[places], given, method)
    names = getattr(readings.samples, "names", [])
    return Map(
        code,
        _components(given),
        rows,
        [names[row] for row in rows] if names else [],
        by,
        groups,
        _thumbnails(readings, code, rows),
    )


def _plane_of_codes(codes: Array, errors: Array, given: Array, method: str) -> Plane:
    if method != "tsne" or codes.shape[1] < 2:
        return _plane(*plane(codes, errors), given)
    perplexity = min(30.0, max(1.0, (len(codes) - 1) / 3))
    points = TSNE(2, init="pca" if np.ptp(codes, axis=0).max() else "random", perplexity=perplexity, random_state=0)
    said = f"The {codes.shape[1]} numbers of the code by t-SNE: what is near counts, how far groups lie apart does not."
    return _plane(points.fit_transform(codes).astype(np.float64), ("t-SNE 1", "t-SNE 2"), said, given)


def _components(given: Array) -> Plane:
    if given.shape[1] < 2 or np.ptp(given, axis=0).max() == 0:
        points = np.stack([given[:, 0], np.zeros(len(given))], 1)
        return _plane(points, ("the one number", ""), "The data are one number each.", given)
    fitted = PCA(2, random_state=0).fit(given)
    names = [
        f"component {place + 1} ({100 * part:.1f} % of the variance)"
        for place, part in enumerate(fitted.explained_variance_ratio_)
    ]
    said = "The first two principal components of the same scaled data."
    return _plane(fitted.transform(given), (names[0], names[1]), said, given)


def _plane(points: Array, axes: tuple[str, str], said: str, given: Array) -> Plane:
    near = min(NEAR, (len(points) - 1) // 2)
    trust = float(trustworthiness(given, points, n_neighbors=near)) if near and np.ptp(given, axis=0).max() else np.nan
    return Plane(points, axes, said, trust)


def _thumbnails(readings: Readings, code: Plane, rows: Rows) -> Figure | None:
    if not are_pictures(readings.data.spec):
        return None
    cells = chosen_cells(within(code.points)[0], *CELLS)
    pictures = shown(readings, rows[[cell.place for cell in cells]])
    said = f"The code, with the {readings.data.unit} in the middle of each place."
    return thumbnail_map(code.points, code.axes, cells, pictures, said)
