"""`isthmus map MODEL DATA -o map.png`."""

from __future__ import annotations

from pathlib import Path

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import check_class, check_names
from isthmus.interfaces.held import check_kind
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section, WordType

METHODS = ("auto", "pca", "tsne")
ENDINGS = (".png", ".html", ".csv")


def command() -> Command:
    """`isthmus map`."""
    settings = (
        click.Option(
            ["--colour", "--color"],
            metavar="COLUMN",
            help="The column of DATA that colours it, also one that the model was not fitted on.",
        ),
        click.Option(
            ["--method"],
            type=WordType(METHODS),
            metavar="|".join(METHODS),
            default="auto",
            help="How codes of more than two numbers come onto the map.  [default: auto, which is pca]",
        ),
    )
    written = click.Option(
        ["-o", "--output"],
        metavar="FILE",
        required=True,
        help="The file to write: .png or .html for drawings, .csv for where every sample stands.",
    )
    return Command(
        "map",
        act,
        "The codes in two dimensions. With the first two principal components of the data beside them.",
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["data"], metavar="DATA")],
        sections=[Section("Settings", settings), Section("Output", (written,))],
        examples=[
            "isthmus map wine.safetensors wine.csv -o map.png",
            "isthmus map wine.safetensors wine.csv --colour cultivar -o map.html",
            "isthmus map photos.safetensors photos/ --method tsne -o map.csv",
        ],
    )


def act(model: str, data: str, output: str, colour: str | None, method: str) -> None:
    """Check what can be checked, read, write."""
    _check(model, data, output)
    from isthmus import load
    from isthmus.interfaces.building import learned
    from isthmus.report import map_of

    estimator = load(model)
    X = learned(estimator).data_.read_more(data)
    written = map_of(estimator, X, colour, method=method).write(output)
    log.info("wrote %s (%s)", output, size(written))


def _check(model: str, data: str, path: str) -> None:
    check_names(model, data)
    if not path.lower().endswith(ENDINGS):
        raise SettingError(f"-o is {path!r}; the name of a map ends in {', '.join(ENDINGS)}.")
    output.check_output(path, model, data)
    check_kind(check_class(model), model, data)


def size(path: Path) -> str:
    """The size of a file, in words."""
    return output.size(path.stat().st_size)
