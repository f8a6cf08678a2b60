"""Single samples on the page: values in a table, pictures as pictures, and where the error lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.data._image_samples import ImageSamples
from isthmus.report.blocks import Block, Cell, Gallery, Image, Span, Strip, Table, Text
from isthmus.report.heat import heated, look
from isthmus.report.pictures import Pixels, are_pictures, difference, pictures_of, source
from isthmus.report.readings import Part, Readings, Rows
from isthmus.report.wording import clean, number
from isthmus.training import Batch
from isthmus.training.applying import Array

MOST_VALUES = 14  # columns of a sample in the table
THUMBNAIL = 64  # pixels on a side
NOTABLE = 0.5  # standard deviations
PLACES = {"an easy one": 0.1, "a usual one": 0.5, "the hardest": 1.0}


# ---- values


def beside(readings: Readings, unit: str) -> list[Block]:
    """Some samples, column by column: what went in, and what came back."""
    rows = readings.rows[readings.at_quantiles(list(PLACES.values()))]
    names = column_names(readings)
    batch = readings.batch(rows)
    point = returned(readings, rows)
    gaps = gap_sizes(readings, batch, point)
    shown = np.arange(len(names))
    if len(names) > MOST_VALUES:
        shown = np.sort(np.argsort(-gaps.max(0), kind="stable")[:MOST_VALUES])
    lines = [
        [
            Cell(clean(names[column], 40)),
            *(cell for i in range(len(rows)) for cell in _pair(readings, batch, point, gaps, i, column)),
        ]
        for column in shown.tolist()
    ]
    titles = list(PLACES) if len(rows) == len(PLACES) else [""] * len(rows)
    spans = [
        Span("", 1),
        *(Span(f"{unit} {row}{f', {t}' if t else ''}", 2) for row, t in zip(rows, titles, strict=True)),
    ]
    head = ["column", *(word for _ in rows for word in ("given", "back"))]
    part = "" if len(shown) == len(names) else f" Of {len(names):,} columns those {len(shown)} that differ most."
    said = (
        f"What went in and what came back, for {unit}s from easy to hard by their error. "
        f"≠ marks another category, or a number that is off by more than half a standard deviation.{part}"
    )
    return [Text(said), Table("beside", "Given, and given back", head, lines, spans)]


def column_names(readings: Readings) -> list[str]:
    """The columns of a sample that is a row."""
    data = readings.data
    return [column.name for column in data.spec.columns] or list(data.feature_names)


def returned(readings: Readings, rows: Rows) -> Tensor:
    """The most probable values that come out for these rows."""
    return torch.from_numpy(readings.through(rows, lambda batch: readings.decoded(batch).point))


def gap_sizes(readings: Readings, batch: Batch, point: Tensor) -> Array:
    """How far each column came back from what went in, in standard deviations of the column, (n_rows, n_columns)."""
    spec = readings.data.spec
    part: Part = readings.compared
    present = part.present
    mean = (part.given * present).sum(0) / present.sum(0).clamp_min(1)
    spread = (((part.given - mean) * present).square().sum(0) / present.sum(0).clamp_min(1)).sqrt().clamp_min(1e-9)
    off = (batch.x.double() - point.double()).abs() / spread
    if batch.weight is not None:
        off = off * (batch.weight > 0)
    starts = np.unique(spec.column_of.numpy(), return_index=True)[1]
    found: Array = np.maximum.reduceat(off.numpy(), starts, axis=1)
    return found


def described(readings: Readings, column: int, x_row: Tensor) -> str:
    """One value for a reader; numbers with no more digits than one can compare at a glance."""
    text = readings.data.describe(column, x_row)
    is_fraction = re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?", text) is not None
    return number(float(text)) if is_fraction else clean(text, 40)


def _pair(readings: Readings, batch: Batch, point: Tensor, gaps: Array, i: int, column: int) -> list[Cell]:
    """One value as it went in and as it came back."""
    spec = readings.data.spec
    numeric = not spec.columns or spec.columns[column].kind == "numeric"
    back = described(readings, column, point[i])
    first = int(np.argmax(spec.column_of.numpy() == column))
    if batch.weight is not None and not batch.weight[i, first] > 0:
        return [Cell("missing"), Cell(back, numeric)]
    given = described(readings, column, batch.x[i])
    differs = given != back and (not numeric or bool(gaps[i, column] > NOTABLE))
    return [Cell(given, numeric), Cell(back, numeric, differs=differs)]


def largest_cells(readings: Readings, rows: Rows, most: int = 3) -> list[str]:
    """In words, the columns that the errors of these rows lie in; nothing where samples are no rows of columns."""
    spec, names = readings.data.spec, column_names(readings)
    if len(spec.shape) != 1 or len(names) != spec.n_columns or not hasattr(readings.module, "cells"):
        return []
    module = readings.module

    def cells(batch: Batch) -> Tensor:
        return spec.gather(module.cells(module.reconstruct(batch.x, batch.weight)).mean(0))

    costs = readings.through(rows, cells)
    batch, point = readings.batch(rows), returned(readings, rows)
    return [_reasons(readings, costs[i], batch.x[i], point[i], most) for i in range(len(rows))]


def _reasons(readings: Readings, costs: Array, x: Tensor, point: Tensor, most: int) -> str:
    names = column_names(readings)
    largest = [int(i) for i in np.argsort(-costs, kind="stable")[:most] if costs[i] > 0.05 * costs.max() > 0]
    return "; ".join(
        _reason(clean(names[i], 40), described(readings, i, x), described(readings, i, point)) for i in largest
    )


def _reason(name: str, given: str, back: str) -> str:
    return f"{name} = {given} ({'but not surely' if given == back else f'came back as {back}'})"


# ---- pictures


def picture_strips(readings: Readings, rows: Rows, unit: str, caption: str) -> Gallery:
    """Pictures beside what came back for them, and where both differ."""
    batch = readings.batch(rows)
    expected = torch.from_numpy(readings.through(rows, lambda batch: readings.decoded(batch).mean))
    given, back = pictures_of(batch.x, batch.weight, expected)
    strips = []
    for row, first, second in zip(rows.tolist(), given, back, strict=True):
        name = f"{unit} {row}{readings.file_name(row)}"
        shown = (("given", first), ("back", second), ("difference", difference(first, second)))
        images = [image(pixels, f"{name}: {label}", label) for label, pixels in shown]
        strips.append(Strip(f"{name}, {readings.error_of(row)}", images))
    return Gallery(caption, strips)


def odd_strips(readings: Readings, highlights: Any, unit: str, caption: str) -> Gallery:
    """Odd pictures beside what came back, and with the places that make them odd; `highlights` say why, row by row."""
    samples, strips = readings.samples, []
    assert isinstance(samples, ImageSamples)
    for line in highlights.iter_rows(named=True):
        row = line["row"]
        seen = look(readings.module, readings.data, samples.alone(row))
        name = f"{unit} {row}{readings.file_name(row)}"
        images = [
            image(seen.given, f"{name}: given", "given"),
            image(seen.returned, f"{name}: back", "back"),
            image(heated(seen.given, seen.cost), f"{name}: where it is odd, {line['why']}", "where it is odd"),
        ]
        strips.append(Strip(f"{name}, {readings.error_of(row)}", images))
    return Gallery(caption, strips)


def image(pixels: Pixels, alternative: str, label: str) -> Image:
    return Image(source(pixels), alternative, label, pixels.shape[1], pixels.shape[0])


def thumbnails(readings: Readings, rows: Rows) -> list[str]:
    """These samples as data URIs; nothing where they are no pictures."""
    if not are_pictures(readings.data.spec):
        return []
    return [source(pixels, THUMBNAIL) for pixels in shown(readings, rows)]


def shown(readings: Readings, rows: Rows) -> Iterator[Pixels]:
    """These samples as pictures, one after the other: large ones are never together in memory."""
    for place in range(len(rows)):
        batch = readings.batch(rows[place : place + 1])
        yield pictures_of(batch.x, batch.weight)[0][0]
