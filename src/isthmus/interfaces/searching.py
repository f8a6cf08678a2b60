"""`isthmus index MODEL DATA` and `isthmus query MODEL photo.jpg -o sheet.png`, for models that retrieve."""

from __future__ import annotations

import os
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import Asked, check_class, check_names, write_answer
from isthmus.interfaces.held import check_kind, held
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section
from isthmus.words import counted

VERB = "retrieve"
PICTURES = (".png", ".jpg", ".jpeg")


def index() -> Command:
    """`isthmus index`."""
    settings = (click.Option(["--add"], is_flag=True, help="Keep what is in the index, and put DATA after it."),)
    written = click.Option(
        ["-o", "--output"], metavar="MODEL", help="The file to save the model in.  [default: the one that was read]"
    )
    return Command(
        "index",
        fill,
        "Put other samples into a model that retrieves. They take the place of those that were in it; nothing is "
        "trained.",
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["data"], metavar="DATA")],
        sections=[Section("Settings", settings), Section("Output", (written,))],
        examples=[
            "isthmus index photos.safetensors more-photos/ --add",
            "isthmus index photos.safetensors archive/ -o archive.safetensors",
        ],
    )


def fill(model: str, data: str, output: str | None, add: bool) -> None:
    """Read, put into the index, save."""
    estimator, X = _opened(model, data, output if output is not None else "")
    (estimator.add if add else estimator.index)(X)
    path = model if output is None else output
    estimator.save(path)
    unit = estimator.autoencoder_.data_.unit
    log.info("%s in the index; saved %s (%s)", counted(estimator.n_items_, unit), path, _size(path))


def query() -> Command:
    """`isthmus query`."""
    settings = (
        click.Option(
            ["-n", "--n-neighbors"], type=int, metavar="WHOLE", help="How many to find.  [default: what the model says]"
        ),
        click.Option(
            ["--folder"], metavar="FOLDER", help="Where the indexed pictures lie now, if they were moved: for a sheet."
        ),
    )
    written = (
        click.Option(
            ["-o", "--output"],
            metavar="FILE",
            help="A contact sheet (.png, .jpg), with DATA at the left and what was found beside it; or a table (.csv, "
            ".tsv, .parquet or .ndjson, or .gz after that).",
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON Lines to standard output."),
    )
    return Command(
        "query",
        look_up,
        "What is most like a sample. Among those that were indexed: names, distances, and for pictures a contact "
        "sheet.",
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["data"], metavar="DATA")],
        sections=[Section("Settings", settings), Section("Output", written)],
        examples=[
            "isthmus query photos.safetensors photo.jpg",
            "isthmus query photos.safetensors photo.jpg -n 8 -o sheet.png",
            "isthmus query rows.safetensors new.csv -o nearest.csv",
        ],
    )


def look_up(
    model: str, data: str, output: str | None, as_json: bool, n_neighbors: int | None, folder: str | None
) -> None:
    """Read, look up, and write or draw."""
    sheet = output is not None and output.lower().endswith(PICTURES)
    if as_json and output is not None:
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    if folder is not None and not sheet:
        raise SettingError("--folder says where to find pictures for a contact sheet; give -o sheet.png too.")
    if not sheet:
        _check_table(output, model, data)
    if sheet and not held(model).endings:
        raise SettingError(
            f"-o is {output!r}, a picture, and {model!r} is for tables; give a table, such as -o near.csv."
        )
    estimator, X = _opened(model, data, output or "")
    if sheet:
        assert output is not None
        estimator.contact_sheet(X, output, n_neighbors, folder)
        log.info("wrote %s (%s)", output, _size(output))
    else:
        write_answer(estimator.answer(X, n_neighbors), Asked(model, data, output, as_json, VERB))


def _check_table(path: str | None, model: str, data: str) -> None:
    output.check_table_output(path, model, data)


def _opened(model: str, data: str, path: str) -> tuple[Any, Any]:
    """The fitted retriever and the data, once everything that can be wrong with the paths has been looked at."""
    check_names(model, data)
    check_kind(check_class(model, VERB), model, data)
    if path:
        output.check_output(path, *([] if path.lower().endswith(PICTURES) else [model]), data)
    from isthmus import load
    from isthmus.interfaces.building import let_draw

    estimator = load(model)
    let_draw(estimator.autoencoder_)
    return estimator, estimator.autoencoder_.data_.read_more(data)


def _size(path: str) -> str:
    return output.size(os.path.getsize(path))
