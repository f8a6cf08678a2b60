"""`isthmus fit DATA --for classify --label COLUMN`: where the labels of the samples stand."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import click

from isthmus.errors import DataError, SettingError
from isthmus.interfaces import output
from isthmus.interfaces.messages import log
from isthmus.words import counted

FOLDERS = "folders"


def option() -> click.Option:
    return click.Option(
        ["--label"],
        metavar="COLUMN",
        help="The column that holds the labels; an empty cell, or -1 for classes, is an unknown one. Of pictures: a "
        "table's file with the columns file and label; or the word folders, where each picture's label is the name "
        "of its folder inside DATA, and those in no folder have none.",
    )


def check(label: str | None, task: str, data: str) -> None:
    """Whether there is a place to read labels from."""
    if label is None:
        raise SettingError(
            f"--for {task} learns from labels, and there is no --label; name the column that holds them, or of "
            f"pictures a table's file with the columns file and label, or {FOLDERS}."
        )
    if label.lower().endswith((".csv", ".tsv", ".parquet", ".ndjson", ".jsonl")):
        output.check_input(label, "--label")


def taken(X: Any, label: str) -> tuple[Any, Any]:
    """The samples and their labels, apart."""
    names = getattr(X, "names", None)
    if names is not None:
        found = _from_folders(names) if label == FOLDERS else _from_file(names, label)
        known = sum(one is not None for one in found)
        log.info("labels of %d of %s", known, counted(len(found), "picture"))
        return X, found
    columns = list(getattr(X, "columns", ()))
    if not columns:
        raise DataError("labels are taken from tables that fit into memory; give a smaller file, or use Python.")
    if label not in columns:
        listed = ", ".join(columns[:10]) + (", ..." if len(columns) > 10 else "")
        raise SettingError(f"--label is {label!r}, and DATA has no such column; it has: {listed}.")
    labels = X[label]
    log.info("labels of %d of %s in the column %r", len(labels) - labels.null_count(), counted(len(X), "row"), label)
    return X.drop(label), labels


def _from_folders(names: list[str]) -> list[str | None]:
    """The folder of each picture inside the one that was given.

    >>> _from_folders(["cats/1.png", "dogs/old/2.png", "3.png"])
    ['cats', 'dogs', None]
    """
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name in names]
    return [one[0] if len(one) > 1 else None for one in parts]


def _from_file(names: list[str], path: str) -> list[Any]:
    """The labels in a table with a row for each picture whose label is known."""
    from isthmus.data import Tables

    try:
        frame: Any = Tables.read(path)
    except DataError as error:
        raise SettingError(
            f"--label is {path!r}, which cannot be read as a table with the columns file and label ({error})"
        ) from error
    if len(frame.columns) < 2:
        raise SettingError(f"--label is {path!r}, which has one column; it needs two: file and label.")
    first, second = ("file", "label") if {"file", "label"} <= set(frame.columns) else frame.columns[:2]
    given = {str(name).replace("\\", "/"): label for name, label in zip(frame[first], frame[second], strict=True)}
    strange = [name for name in given if name not in set(names)]
    if strange:
        raise DataError(f"{path!r} has a label for {strange[0]!r}, which is no picture of DATA; DATA has {names[0]!r}.")
    return [given.get(name) for name in names]
