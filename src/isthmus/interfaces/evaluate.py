"""`isthmus evaluate MODEL DATA`, and what it needs of a table that holds labels beside the data."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import FILES, check_class, check_names
from isthmus.interfaces.held import check_kind
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section

FOLDERS = "folders"  # what --labels is for pictures that lie in a folder for each class


def command() -> Command:
    """`isthmus evaluate MODEL DATA`."""
    settings = (
        click.Option(
            ["--labels"],
            metavar="COLUMN",
            help="The column of DATA with a class or an amount for each row, which the model need not know; without "
            f"it, the one that it learned from. For pictures the word {FOLDERS}: the name of the folder each lies in.",
        ),
        click.Option(["--task"], metavar="TASK", help="What the model is to be good at; without it, its own task."),
        click.Option(
            ["--cv"],
            type=int,
            metavar="WHOLE",
            help="Number of folds, for each of which the model is fitted anew without it; for DATA that it has seen.",
        ),
        click.Option(["--seed"], type=int, default=0, show_default=True, help="Decides the folds and what is drawn."),
    )
    written = (
        click.Option(["-o", "--output"], metavar="FILE", help=f"The file to write the measures to: {FILES}."),
        click.Option(["--html"], metavar="FILE", help="A page to write: one HTML file, which opens offline."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON Lines to standard output, one per measure."),
    )
    return Command(
        "evaluate",
        act,
        "How good a model is, and at what. What comes back, what the code is like, what is told from it, what is "
        "drawn; with PCA beside it.",
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["data"], metavar="DATA")],
        sections=[Section("Settings", settings), Section("Output", written)],
        examples=[
            "isthmus evaluate model.safetensors new.csv",
            "isthmus evaluate model.safetensors new.csv --labels species --html page.html",
            "isthmus evaluate model.safetensors seen.csv --cv 5 --json",
            "isthmus evaluate photos.safetensors new/ --labels folders --task cluster",
        ],
    )


def act(
    model: str,
    data: str,
    labels: str | None,
    task: str | None,
    cv: int | None,
    seed: int,
    output: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Check what can be checked, read, measure, show."""
    _check(model, data, output, html, as_json)
    from isthmus import evaluate, load
    from isthmus.interfaces.building import learned

    estimator = load(model)
    known = learned(estimator).data_
    X, y = known.read_more(data), None
    labels = labels or _own_label(estimator, X)
    if labels is not None:
        X, y = split_labels(X, labels, known)
    found = evaluate(estimator, X, y, task, cv=cv, random_state=seed)
    if html is not None:
        found.to_html(html)
        log.info("wrote %s", html)
    show_result(found, output, as_json)


def _check(model: str, data: str, path: str | None, html: str | None, as_json: bool) -> None:
    check_names(model, data)
    if as_json and path is not None:
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    output.check_table_output(path, model, data)
    output.check_output(html, model, data)
    check_kind(check_class(model), model, data)


def _own_label(estimator: Any, X: Any) -> str | None:
    """The column that the model's own labels stood in, where the data have it."""
    name = getattr(estimator, "label_name_", "")
    return name if name and name in getattr(X, "columns", ()) else None


def show_result(found: Any, path: str | None, as_json: bool) -> None:
    """Text for a reader; the table into a file or as JSON Lines."""
    if path is not None or as_json:
        output.write_rows(found.table, path, as_json)
    if not as_json and path != output.STREAM:
        output.write(f"{found!r}\n")
        sys.stdout.flush()


def split_labels(X: Any, labels: str, data: Any) -> tuple[Any, list[Any]]:
    """The data without a column that the model does not know, and that column's values."""
    if data.endings:
        names = getattr(data.open(X), "names", [])
        folders = [PurePosixPath(name).parent.name for name in names]
        if labels != FOLDERS or not any(folders):
            raise SettingError(
                f"--labels is {labels!r}; of pictures it is {FOLDERS}, and they lie in a folder for each class."
            )
        return X, folders
    frame = output.as_frame(X, list(data.feature_names))
    if labels not in frame.columns:
        raise SettingError(f"--labels is {labels!r}, which is no column of DATA; it has: {', '.join(frame.columns)}.")
    values = frame[labels].to_list()
    return (X if labels in data.feature_names else frame.drop(labels)), values
