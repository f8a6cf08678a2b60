"""Pages about what was measured: an evaluation, and advice on the size of a code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import isthmus
from isthmus.atomic import replace_file
from isthmus.evaluation import Evaluation
from isthmus.report.blocks import Block, Cell, Fact, Figures, Page, Section, Table, Text
from isthmus.report.wording import clean, count, need_extra, number, share
from isthmus.report.writing import now, render

if TYPE_CHECKING:
    from isthmus.evaluation import Advice

FIGURES = ("model", "spread", "PCA", "raw data", "guess")


def evaluation_page(found: Evaluation, path: str | Path | None = None) -> str:
    """An evaluation as a page of HTML, which is also written where there is a path.

    Raises
    ------
    MissingExtraError : without matplotlib and Jinja2, which the report extra installs.
    StorageError : when the file cannot be written; an old file stays whole.
    """
    explained = found["explained variance"].value
    facts = [
        Fact(f"{found.n_samples:,}", "samples looked at"),
        Fact(share(explained), "of the variance comes back"),
        *(Fact(share(one.value), one.name) for one in found.measures if one.matters and one.section == "downstream"),
    ]
    sections = [
        Section("notes", "What to make of it", [Text(clean(note)) for note in found.notes]),
        *(_section(found, name) for name in found.sections),
        Section("features", "Column by column", [_features(found)]),
    ]
    return _written(f"{found.model}: how good it is", found.headline, facts, sections, path)


def _section(found: Evaluation, name: str) -> Section:
    mine = [one for one in found.measures if one.section == name]
    rows = [
        [
            Cell(one.name),
            *(_figure(value) for value in (one.value, one.spread, one.pca, one.raw, one.guess)),
            Cell(one.better),
            Cell(one.meaning),
        ]
        for one in mine
    ]
    title = f"{name.capitalize()}{', which counts here' if any(one.matters for one in mine) else ''}"
    return Section(name, title, [Table(f"{name}-table", title, ["", *FIGURES, "better", "what it says"], rows)])


def _figure(value: float) -> Cell:
    return Cell("" if value != value else number(value), True)


def _features(found: Evaluation) -> Table:
    rows = [
        [Cell(clean(line[0], 40)), Cell(line[1]), Cell(line[2]), *(_figure(_known(value)) for value in line[3:])]
        for line in found.features.iter_rows()
    ]
    head = ["", "kind", "unit", "error", "PCA", "guess"]
    return Table("features-table", "The mean error of each column, in its own unit", head, rows, folded=len(rows) > 30)


def _known(value: Any) -> float:
    return float("nan") if value is None else float(value)


# ---- advice


def advice_page(found: Advice, path: str | Path | None = None) -> str:
    """Advice on the size of a code as a page of HTML, which is also written where there is a path."""
    facts = [
        Fact(str(found.n_components), "numbers in a code"),
        Fact(number(found.dimension.estimate), "dimensions, as distances to neighbours have it"),
        Fact(str(found.pca), "components of PCA for as much"),
    ]
    head = ["numbers in a code", "explained, held out", "spread over seeds", "PCA, held out"]
    rows = [
        [Cell(str(size), True), Cell(share(value), True), _figure(spread), _figure(_known(pca))]
        for size, value, spread, pca in found.table.select("size", "explained", "spread", "pca").iter_rows()
    ]
    blocks: list[Block] = [Text(clean(found.reason)), Figures([_curve(found)])]
    sections = [
        Section("size", "How many numbers", blocks),
        Section("sizes", "Size by size", [Table("sizes-table", "What comes back of held-out samples", head, rows)]),
        Section("notes", "What to keep in mind", [Text(clean(note)) for note in found.notes]),
    ]
    return _written("How large the code should be", found.reason, facts, sections, path)


def _curve(found: Advice) -> Any:
    from isthmus.report.blocks import Figure, Key
    from isthmus.report.figures import draw, tone

    sizes = found.table["size"].to_list()
    explained, spread = found.table["explained"].to_numpy(), found.table["spread"].to_numpy()

    def paint(ax: Any) -> None:
        ax.fill_between(sizes, explained - spread, explained + spread, color=tone("series-1"), alpha=0.25, linewidth=0)
        ax.plot(sizes, explained, "o-", color=tone("series-1"), markersize=3)
        ax.plot(sizes, found.table["pca"].to_numpy(), "s--", color=tone("series-2"), markersize=3)
        ax.axvline(found.n_components, color=tone("ink"), linestyle=":")
        ax.set_xlabel("numbers in a code")
        ax.set_ylabel("explained variance, held out")
        ax.set_ylim(top=1.02)

    said = f"From {share(explained[0])} with {count(sizes[0], 'number')} to {share(explained[-1])} with {sizes[-1]}"
    keys = [
        Key("autoencoders, with the spread over seeds", "M0 5h10M5 3a2 2 0 1 0 .001 0z", "series-1"),
        Key("PCA", "M0 5h10", "series-2"),
        Key(f"{found.n_components}, recommended", "M5 0v2M5 4v2M5 8v2", "ink"),
    ]
    return Figure(draw("advice", f"Line chart of explained variance by size. {said}.", paint), f"{said}.", keys)


def _written(title: str, summary: str, facts: list[Fact], sections: list[Section], path: str | Path | None) -> str:
    need_extra()
    moment = now()
    page = Page(
        clean(title),
        f"By Isthmus {isthmus.__version__}",
        clean(summary),
        facts,
        sections,
        moment.isoformat(timespec="seconds"),
        f"{moment.day} {moment:%B %Y, %H:%M} UTC",
        isthmus.__version__,
    )
    html = render(page)
    if path is not None:
        replace_file(path, [html.encode("utf-8")])
    return html
