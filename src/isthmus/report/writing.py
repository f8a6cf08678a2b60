"""The report: everything about a fitted model on one page, in one file that loads nothing from elsewhere."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

import isthmus
from isthmus.atomic import replace_file
from isthmus.autoencoder import Autoencoder
from isthmus.errors import SettingError
from isthmus.report.about import (
    code_words,
    data_section,
    data_sentence,
    doctor_section,
    settings_section,
    training_section,
)
from isthmus.report.blocks import Fact, Page, Section, Text
from isthmus.report.wording import clean, count, duration, need_extra
from isthmus.tasks import AnomalyDetector
from isthmus.tasks.base import Task

if TYPE_CHECKING:
    from isthmus.report.readings import Readings


def report(model: Autoencoder | Task, path: str | Path, X: Any = None, colour: Any = None, *, title: str = "") -> Path:
    """Write a report about a fitted model to one HTML file, which opens offline.

    Parameters
    ----------
    model : an Autoencoder, or a task such as AnomalyDetector.
    path : the file to write.
    X : data to show the model on: the training data, or new ones of the same kind; None leaves out what needs data.
    colour : what colours the map of the code: the name of a column of X, also one that the model was not fitted on, or
        one value for each sample, such as y; None takes what the detector says, or a column of few words.
    title : the page's heading; empty for the model's name.

    Returns
    -------
    The path that was written. The variable SOURCE_DATE_EPOCH, where set, is the date that stands in the report.

    Raises
    ------
    NotFittedError : before `fit`.
    MissingExtraError : without matplotlib and Jinja2, which the report extra installs.
    DataError, SettingError : for data that do not fit the model, or a column that is not there.
    StorageError : when the file cannot be written; an old file stays whole.

    >>> import numpy as np, os, tempfile
    >>> from isthmus import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(60, 1)) @ np.ones((1, 3))
    >>> model = Autoencoder(n_components=1, random_state=0).fit(X)
    >>> path = report(model, os.path.join(tempfile.mkdtemp(), "r.html"), X)
    >>> path.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    need_extra()
    check_is_fitted(model)
    html = render(page(model, X, colour, title))
    replace_file(path, [html.encode("utf-8")])
    return Path(path)


def page(model: Autoencoder | Task, X: Any, colour: Any, title: str) -> Page:
    """All that the report says, in the order of the page."""
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    unit = autoencoder.data_.unit
    compared, readings, shown = "", None, without_data(model, unit)
    if X is not None:
        readings, shown, compared = with_data(model, X, colour, unit)
    elif colour is not None:
        raise SettingError(
            f"colour is {clean(repr(colour), 60)} and there is no X whose map it could colour; give X too."
        )
    sections = [data_section(autoencoder, unit), doctor_section(autoencoder), *shown]
    sections += [training_section(autoencoder.history_, unit), settings_section(model)]
    name = type(model).__name__
    said = summary(autoencoder, unit, compared, readings)
    return page_of(clean(title) or f"{name}: what it learned", said, sections, facts(autoencoder, unit, readings))


def page_of(title: str, said: str, sections: list[Section], numbers: Sequence[Fact] = ()) -> Page:
    """A page with these sections, as of now."""
    moment = now()
    return Page(
        title,
        f"A report by Isthmus {isthmus.__version__}",
        said,
        list(numbers),
        sections,
        moment.isoformat(timespec="seconds"),
        f"{moment.day} {moment:%B %Y, %H:%M} UTC",
        isthmus.__version__,
    )


def with_data(model: Autoencoder | Task, X: Any, colour: Any, unit: str) -> tuple[Readings, list[Section], str]:
    """The readings, the sections that show data, and the comparison with PCA in a few words."""
    from isthmus.report import shown
    from isthmus.report.colouring import split_colour
    from isthmus.report.readings import Readings

    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    X, colours = split_colour(X, autoencoder.data_, colour)
    readings = Readings(model, X)
    pca, compared = shown.pca_section(readings, unit)
    sections = [
        shown.task_section(readings),
        shown.oddest_section(readings, unit),
        shown.error_section(readings, unit),
        shown.samples_section(readings, unit),
        shown.map_section(readings, colours, unit),
        pca,
    ]
    return readings, [section for section in sections if section is not None], compared


def without_data(model: Autoencoder | Task, unit: str) -> list[Section]:
    """What a detector still knows of its training rows."""
    if not isinstance(model, AnomalyDetector):
        return []
    from isthmus.report.blocks import Figures
    from isthmus.report.cuts import cuts_table
    from isthmus.report.plots import error_figure

    figure = error_figure(model.decision_scores_, model.threshold_, unit)
    blocks = [Text("The errors of the training data."), Figures([figure]), cuts_table(model, None, unit)]
    return [Section("errors", "Errors", blocks)]


def summary(autoencoder: Autoencoder, unit: str, compared: str, readings: Readings | None) -> str:
    """The report in two sentences."""
    said = data_sentence(autoencoder, unit).partition(". ")[0].rstrip(".")
    said += f". It keeps {count(autoencoder.n_components_, *code_words(autoencoder, unit))}"
    return f"{said} and gives back {compared}." if compared else f"{said}."


def facts(autoencoder: Autoencoder, unit: str, readings: Readings | None) -> list[Fact]:
    """The numbers at the head of the page."""
    found = []
    if readings is not None:
        found.append(_fact(readings.n_samples, f"{unit} shown here", f"{unit}s shown here"))
        if readings.scores is not None and readings.threshold is not None:
            found.append(_fact(int((readings.scores > readings.threshold).sum()), "of them odd", "of them odd"))
    found.append(_fact(autoencoder.n_components_, *code_words(autoencoder, unit)))
    history = autoencoder.history_
    if len(history):
        took = duration(sum(history["seconds"]))
        found.append(_fact(len(history), f"epoch in {took}", f"epochs in {took}"))
    found.append(_fact(len(autoencoder.doctor_), "finding of the doctor", "findings of the doctor"))
    return found


def _fact(value: int, one: str, several: str) -> Fact:
    return Fact(f"{value:,}", one if value == 1 else several)


def render(content: Page) -> str:
    """The page as HTML; every word in it is escaped, but for the drawings that we made."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("isthmus", "report"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.jinja").render(page=content).strip() + "\n"


def _printable(value: Any) -> Any:
    """Characters that a page must not hold, as they are written in code; what is markup stays as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(one if one in "\n\u00a0" else clean(one) or " " for one in value)


def now() -> datetime.datetime:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdigit():
        return datetime.datetime.fromtimestamp(int(given), datetime.UTC)
    return datetime.datetime.now(datetime.UTC)
