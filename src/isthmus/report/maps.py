"""The map of the code: samples as marks, or as small pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.report.blocks import Figure, Key
from isthmus.report.colouring import Group
from isthmus.report.figures import MARKS, draw, tone
from isthmus.report.pictures import Pixels, small
from isthmus.report.wording import count
from isthmus.training.applying import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELLS = (20, 15)  # columns and rows of small pictures
SIDE = 28  # pixels of one


def map_figure(
    points: Array, names: Sequence[str], by: str, groups: Sequence[Group], caption: str, name: str = "map"
) -> Figure:
    """The samples as marks in the plane."""
    held, beyond = within(points)

    def paint(ax: Axes) -> None:
        paint_marks(ax, held, names, groups)

    keys = [Key(legend_label(group), MARKS[group.mark], group.tone) for group in groups if by]
    told = f" Coloured by {by}: {', '.join(key.label for key in keys)}." if by else ""
    outside = f" {count(beyond, 'sample')} further out stand at the border." if beyond else ""
    svg = draw(name, f"Scatter plot of {len(points):,} samples by {names[0]} and {names[1]}.{told}", paint, 4.4, 3.5)
    return Figure(svg, f"{caption}{f' Coloured by {by}.' if by else ''}{outside}", keys)


def legend_label(group: Group) -> str:
    """The name of a group and how many it has."""
    return f"{group.label} ({group.members.sum():,})"


def paint_marks(ax: Axes, points: Array, names: Sequence[str], groups: Sequence[Group]) -> None:
    """Every group with its mark, the largest first, so that small ones are not hidden."""
    for group in sorted(groups, key=lambda group: -int(group.members.sum())):
        x, y = points[group.members].T
        ax.plot(x, y, group.mark, color=tone(group.tone), label=legend_label(group), markersize=3.4, mew=0, alpha=0.75)
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])


def within(points: Array) -> tuple[Array, int]:
    """The points, the few that lie far outside drawn in to the border, and how many these are.

    >>> held, beyond = within(np.array([[float(i % 10), float(i)] for i in range(300)] + [[1e9, 0.0]]))
    >>> beyond, bool(held.max() < 1000)
    (1, True)
    """
    low, middle, high = np.quantile(points, [0.005, 0.5, 0.995], axis=0)
    room = np.maximum(high - low, 1e-12)
    least, most = np.minimum(low - room, middle - 2 * room), np.maximum(high + room, middle + 2 * room)
    held = np.clip(points, least, most)
    return held, int((held != points).any(1).sum())


class Cell(NamedTuple):
    """A place of the map, and which sample stands there."""

    place: int
    column: int
    row: int


def thumbnail_map(
    points: Array, names: Sequence[str], cells: Sequence[Cell], pictures: Iterable[Pixels], caption: str
) -> Figure:
    """Small pictures, one for each cell of the plane; `pictures` go with `cells`."""
    columns, rows = CELLS
    canvas = np.zeros((rows * SIDE, columns * SIDE, 4), dtype=np.uint8)
    held, _ = within(points)
    low, high = held.min(0), held.max(0)
    for cell, picture in zip(cells, pictures, strict=True):
        thumbnail = small(picture, SIDE - 2)
        top, left = (rows - 1 - cell.row) * SIDE + 1, cell.column * SIDE + 1
        canvas[top : top + thumbnail.shape[0], left : left + thumbnail.shape[1]] = thumbnail

    def paint(ax: Axes) -> None:
        extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
        ax.imshow(canvas, extent=extent, aspect="auto", interpolation="none")
        ax.grid(False)
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])

    return Figure(draw("thumbnails", f"Map of the code with {len(cells)} pictures in it.", paint, 4.4, 3.5), caption)


def chosen_cells(points: Array, columns: int, rows: int) -> list[Cell]:
    """For every cell of a grid over the plane that holds points, the one nearest its middle.

    >>> [tuple(cell) for cell in chosen_cells(np.array([[0.0, 0.0], [0.2, 0.3], [1.0, 1.0]]), 2, 2)]
    [(1, 0, 0), (2, 1, 1)]
    """
    low, high = points.min(0), points.max(0)
    scaled = (points - low) / np.maximum(high - low, 1e-12) * [columns, rows]
    cells = np.minimum(scaled.astype(np.int64), [columns - 1, rows - 1])
    distance = np.square(scaled - cells - 0.5).sum(1)
    best: dict[tuple[int, int], int] = {}
    for place in np.argsort(distance, kind="stable").tolist():
        best.setdefault((int(cells[place, 0]), int(cells[place, 1])), place)
    return [Cell(place, column, row) for (column, row), place in sorted(best.items())]
