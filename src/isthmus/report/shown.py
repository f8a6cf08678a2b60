"""The parts of the report that look at data: inputs beside what came back, the map, errors, odd ones, PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from isthmus.data._image_samples import ImageSamples
from isthmus.metrics import explained_variance
from isthmus.report.blocks import Block, Cell, Figures, Section, Table, Text
from isthmus.report.colouring import Colours, grouped
from isthmus.report.cuts import cuts_table
from isthmus.report.maps import CELLS, chosen_cells, map_figure, thumbnail_map, within
from isthmus.report.pictures import are_pictures
from isthmus.report.plots import error_figure, pca_figure
from isthmus.report.readings import Part, Readings, Rows, spread
from isthmus.report.samples import beside, largest_cells, odd_strips, picture_strips, shown, thumbnails
from isthmus.report.wording import clean, count, number, share
from isthmus.tasks import AnomalyDetector

MOST_POINTS = 3_000  # marks on the map
MOST_HEATED = 6  # pictures with a heat map
MOST_CURVE = 60  # components of PCA on the curve, unless the code is longer


# ---- inputs and what came back


def samples_section(readings: Readings, unit: str) -> Section | None:
    """Some inputs beside what came back, from an easy one to the hardest; None for samples nobody can be shown yet."""
    title = "Inputs beside reconstructions"
    if are_pictures(readings.data.spec):
        places = readings.at_quantiles([0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
        caption = f"What went in, what came back, and where both differ (bright), for {unit}s from easy to hard."
        return Section("samples", title, [picture_strips(readings, readings.rows[places], unit, caption)])
    if len(readings.data.spec.shape) != 1:
        return None
    return Section("samples", title, beside(readings, unit))


# ---- the map


def map_section(readings: Readings, colours: Colours | None, unit: str) -> Section:
    """The code in two dimensions."""
    places, drawn = drawn_places(readings, unit)
    points, names, said = plane(readings.codes, readings.errors)
    by, groups = grouped(readings, places, colours)
    grid = f" The code is a grid; of each {unit} the map shows the mean over it." if readings.pooled else ""
    caption = f"{said}{grid}{drawn}"
    figures = [map_figure(points[places], names, by, groups, caption)]
    if are_pictures(readings.data.spec):
        cells = chosen_cells(within(points)[0], *CELLS)
        pictures = shown(readings, readings.rows[[cell.place for cell in cells]])
        said = f"The same map, with the {unit} in the middle of each place."
        figures.append(thumbnail_map(points, names, cells, pictures, said))
    return Section("map", "Map of the code", [Figures(figures)])


def drawn_places(readings: Readings, unit: str) -> tuple[Rows, str]:
    """Which of the read rows stand on the map, and a sentence that says so where it is not all of X."""
    places, also = spread(len(readings.rows), MOST_POINTS), ""
    if readings.threshold is not None and len(places) < len(readings.rows):
        places = np.union1d(places, np.flatnonzero(readings.errors > readings.threshold)[:MOST_POINTS])
        also = ", and all odd ones"
    if len(places) == readings.n_samples:
        return places, ""
    return places, f" Drawn are {len(places):,} of {readings.n_samples:,} {unit}s, evenly spread{also}."


def plane(codes: Any, errors: Any) -> tuple[Any, tuple[str, str], str]:
    """Codes in two dimensions: points, the names of both axes, and what they are.

    >>> codes = np.array([[1.0, 0.0], [2.0, 5.0]])
    >>> plane(codes, np.zeros(2))[0].tolist(), plane(codes[:, :1], np.zeros(2))[1]
    ([[1.0, 0.0], [2.0, 5.0]], ('code', 'error, nats'))
    """
    if codes.shape[1] == 1:
        return np.stack([codes[:, 0], errors], 1), ("code", "error, nats"), "The code is one number; upright its error."
    if codes.shape[1] == 2:
        return codes, ("code 1", "code 2"), "The two numbers of the code."
    if np.ptp(codes, axis=0).max() == 0:  # one sample, or all alike
        return codes[:, :2], ("code 1", "code 2"), "The first two numbers of the code."
    principal = PCA(2, random_state=0)
    points, shares = principal.fit_transform(codes), principal.explained_variance_ratio_
    names = tuple(f"component {place + 1} of the code ({share(float(one))})" for place, one in enumerate(shares))
    how = "seen from where they spread most (their first two principal components)"
    return points, (names[0], names[1]), f"The {codes.shape[1]} numbers of the code, {how}."


# ---- errors and odd ones


def error_section(readings: Readings, unit: str) -> Section:
    """How often which error comes."""
    errors = readings.errors if readings.scores is None else readings.scores
    each = " per value" if readings.scores is not None and readings.data.spec.free else ""
    what = f"The error of a {unit} is how badly it is given back: minus the log-likelihood, in nats{each}."
    blocks: list[Block] = [Text(what), Figures([error_figure(errors, readings.threshold, unit)])]
    if isinstance(readings.model, AnomalyDetector) and readings.scores is not None:
        blocks.append(cuts_table(readings.model, readings.scores, unit))
    return Section("errors", "Errors", blocks)


def oddest_section(readings: Readings, unit: str) -> Section | None:
    """The samples given back worst, and why: by the task where it answers for that, else by the largest cells."""
    answer = readings.answer
    if answer is not None and readings.scores is not None:
        blocks = _odd_to_a_detector(readings, answer.highlights, unit)
        return Section("oddest", f"The oddest {unit}s", [Text(f"{clean(answer.headline)} {_counting(unit)}"), *blocks])
    places = np.argsort(-readings.errors, kind="stable")[:10]
    if are_pictures(readings.data.spec):
        strips = picture_strips(
            readings, readings.rows[places[:6]], unit, f"Given back worst, the worst first. {_counting(unit)}"
        )
        return Section("oddest", f"The oddest {unit}s", [strips])
    rows = readings.rows[places]
    reasons = largest_cells(readings, rows)
    head = [unit, "error", *(["where it lies"] if reasons else [])]
    lines = [
        [
            Cell(str(row), True),
            Cell(number(float(readings.errors[place])), True),
            *([Cell(reasons[i])] if reasons else []),
        ]
        for i, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True))
    ]
    table = Table("oddest", "Given back worst, the worst first", head, lines)
    return Section("oddest", f"The oddest {unit}s", [Text(_counting(unit)), table])


def _odd_to_a_detector(readings: Readings, highlights: Any, unit: str) -> list[Block]:
    """The oddest with their reasons, and where they are pictures with the places of these."""
    if not isinstance(readings.samples, ImageSamples) or not hasattr(readings.module, "cells"):
        return [frame_table("oddest", "The oddest, and the values that make them so", highlights, readings)]
    caption = (
        f"What went in, what came back, and where the score comes from: the brighter it glows over the {unit}, the "
        "more, each on its own scale. Rows and columns are those of pixels, from 0 at the upper left."
    )
    table = frame_table("oddest", "The oddest, and the places that make them so", highlights, readings)
    return [odd_strips(readings, highlights[:MOST_HEATED], unit, caption), table]


def _counting(unit: str) -> str:
    return f"The first {unit} is {unit} 0."


def frame_table(name: str, caption: str, frame: Any, readings: Readings) -> Table:
    """A small data frame as a table of the page, with a picture in each line where samples are pictures."""
    rows = np.asarray(frame["row"].to_list() if "row" in frame.columns else [], dtype=np.int64)
    pictures = thumbnails(readings, rows) if len(rows) else []
    head = [str(column) for column in frame.columns]
    lines = [[_cell(value) for value in row] for row in frame.iter_rows()]
    if pictures:
        head.insert(1, "picture")
        for line, image in zip(lines, pictures, strict=True):
            line.insert(1, Cell("", image=image))
    return Table(name, caption, [clean(word, 40) for word in head], lines)


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int):
        return Cell(str(value), True)
    return Cell(number(value), True) if isinstance(value, float) else Cell("" if value is None else clean(value, 500))


def task_section(readings: Readings) -> Section | None:
    """What a task that is no detector answers."""
    answer = readings.answer
    if answer is None or readings.scores is not None:
        return None
    blocks: list[Block] = [Text(clean(answer.headline))]
    if hasattr(answer.highlights, "iter_rows"):
        blocks.append(frame_table("answer", "Worth a look", answer.highlights, readings))
    return Section("answer", "What the task answers", blocks)


# ---- PCA


def pca_section(readings: Readings, unit: str) -> tuple[Section | None, str]:
    """PCA with as many components on the same scaled data, and in a few words how it compares.

    Nothing where there are no more samples than numbers in a code: PCA then gives back whatever it is given.
    """
    part, size = readings.compared, readings.code_size
    if len(part.given) <= size + 1:
        return None, ""
    ours = explained_variance(part.given, part.returned, part.weight)
    curve = pca_curve(part, max(size, min(2 * size, MOST_CURVE), 10))
    theirs = curve[min(size, len(curve)) - 1]
    spread_ = float(_deviations(part).square().sum() / len(part.given))  # squared distance from the mean, per sample
    rows = [
        [Cell(name), Cell(share(value), True), Cell(number(spread_ * (1 - value)), True)]
        for name, value in (("this autoencoder", ours), (f"PCA, {count(min(size, len(curve)), 'component')}", theirs))
    ]
    head = ["", "explained variance", f"squared error per {unit}"]
    table = Table("pca-table", "The same scaled data, back from codes of the same length", head, rows)
    text = f"{verdict(ours, theirs, curve)} {_fairness(readings, part, unit)}"
    blocks: list[Block] = [Text(text), table, Figures([pca_figure(curve, size, ours)])]
    back = f"{share(ours)} of the variance" if ours > 0 else "less than the mean would"
    return Section("pca", "Beside PCA", blocks), f"{back} (PCA with as many numbers: {share(theirs)})"


def verdict(ours: float, theirs: float, curve: list[float]) -> str:
    r"""Who gives more back, in a sentence.

    >>> verdict(0.9, 0.7, [0.5, 0.7, 0.85]).replace("\u00a0", " ")
    'The autoencoder gives back more than PCA: 90.0 % of the variance against 70.0 %.'
    >>> verdict(0.6, 0.7, [0.5, 0.7]).replace("\u00a0", " ")
    'PCA gives back more: 70.0 % of the variance against 60.0 %; where that is what counts, take PCA.'
    """
    if ours <= 0:
        return f"The output is further off than the mean of the data would be; PCA gives back {share(theirs)}."
    if abs(ours - theirs) < 0.005:
        return f"Both give back the same share of the variance: {share(ours)} here, {share(theirs)} with PCA."
    if ours < theirs:
        advice = "where that is what counts, take PCA"
        return f"PCA gives back more: {share(theirs)} of the variance against {share(ours)}; {advice}."
    as_good = next((place + 1 for place, value in enumerate(curve) if value >= ours), None)
    needs = f" PCA needs {as_good} components for that." if as_good else ""
    return f"The autoencoder gives back more than PCA: {share(ours)} of the variance against {share(theirs)}.{needs}"


def _fairness(readings: Readings, part: Part, unit: str) -> str:
    """What to keep in mind about the comparison."""
    fitted = f"PCA was fitted on the very {unit}s it is measured on"
    many = f", {len(part.given):,} of the {readings.n_samples:,} given" if len(part.given) < readings.n_samples else ""
    gaps = (
        "; a missing value counts as its column's mean for it, and is not measured" if part.weight is not None else ""
    )
    return f"{fitted}{many}{gaps}, and squared error is all that it minimises, which favours it."


def _deviations(part: Part) -> Tensor:
    """Present values less their column's mean, 0 where a value is absent."""
    present = part.present
    mean = (part.given * present).sum(0) / present.sum(0).clamp_min(1)
    return (part.given - mean) * present


def pca_curve(part: Part, most: int) -> list[float]:
    """Explained variance of PCA with 1, 2, ... components, measured over present values."""
    centred = _deviations(part)
    m, d = centred.shape
    most = max(1, min(most, m, d))
    total, present, curve = float(centred.square().sum()), part.present, []
    if total == 0:
        return [1.0] * most
    fitted = PCA(most, random_state=0).fit(centred.numpy())
    scores = torch.from_numpy(fitted.transform(centred.numpy()))
    directions = torch.from_numpy(fitted.components_)
    left = centred - torch.from_numpy(fitted.mean_)
    for place in range(most):
        left = left - scores[:, [place]] * directions[place]
        error = float((left * present).square().sum())
        curve.append(1 - error / total)
    return curve
