"""`isthmus report MODEL [DATA] -o r.html`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import check_class, check_names
from isthmus.interfaces.held import check_kind
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section
from isthmus.interfaces.signatures import Source, parameters


def command() -> Command:
    """`isthmus report`."""
    helps = {one.name: one.help for one in parameters(Source("isthmus.estimator", "Estimator"), "report")}
    settings = (
        click.Option(["--colour", "--color"], metavar="COLUMN", help=helps["colour"]),
        click.Option(["--title"], metavar="TEXT", default="", help=helps["title"]),
    )
    written = click.Option(
        ["-o", "--output"], metavar="FILE", required=True, help="The HTML file to write; - is standard output."
    )
    return Command(
        "report",
        act,
        "All about a model on one page. Losses, reconstructions, a map, odd rows: one HTML file, which opens offline.",
        arguments=[
            click.Argument(["model"], metavar="MODEL"),
            click.Argument(["data"], metavar="[DATA]", required=False),
        ],
        sections=[Section("Settings", settings), Section("Output", (written,))],
        examples=[
            "isthmus report model.safetensors new.csv -o report.html",
            "isthmus report model.safetensors new.csv --colour species -o report.html",
            "isthmus report model.safetensors -o report.html",
        ],
    )


def act(model: str, data: str | None, output: str, colour: str | None, title: str) -> None:
    """Check what can be checked, read, write."""
    _check(model, data, output, colour)
    from isthmus import load
    from isthmus.interfaces.building import learned

    estimator = load(model)
    X = None if data is None else learned(estimator).data_.read_more(data)
    _write(estimator, X, output, colour, title)


def _check(model: str, data: str | None, path: str, colour: str | None) -> None:
    check_names(model, data)
    if colour is not None and data is None:
        raise SettingError(f"--colour is {colour!r} and there is no DATA that holds such a column; give DATA too.")
    output.check_output(path, model, *([data] if data else []))
    found = check_class(model)
    if data is not None:
        check_kind(found, model, data)


def _write(estimator: Any, X: Any, path: str, colour: str | None, title: str) -> None:
    if path == output.STREAM:
        with tempfile.TemporaryDirectory() as folder:
            written = estimator.report(Path(folder) / "report.html", X, colour, title=title)
            output.write(written.read_text(encoding="utf-8"))
        return
    estimator.report(path, X, colour, title=title)
    log.info("wrote %s (%s)", path, output.size(Path(path).stat().st_size))
