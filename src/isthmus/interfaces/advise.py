"""`isthmus advise DATA`."""

from __future__ import annotations

from typing import Any, Literal

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import FILES
from isthmus.interfaces.evaluate import show_result
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section


def command() -> Command:
    """`isthmus advise DATA`."""
    settings = (
        click.Option(
            ["--labels"],
            metavar="COLUMN",
            help="The column of DATA with a class or an amount for each row; how well codes tell it is then said too.",
        ),
        click.Option(["--sizes"], metavar="LIST", help="The sizes to try, such as 1,2,4,8; without it, by the data."),
        click.Option(["--seeds"], type=int, default=3, show_default=True, help="Autoencoders of each size."),
        click.Option(
            ["--share"],
            type=float,
            default=0.95,
            show_default=True,
            help="Of what the best size explains, how much is enough.",
        ),
        click.Option(["--seed"], type=int, default=0, show_default=True, help="Decides which samples are held out."),
    )
    written = (
        click.Option(["-o", "--output"], metavar="FILE", help=f"The file to write the curve to: {FILES}."),
        click.Option(["--html"], metavar="FILE", help="A page to write: one HTML file, which opens offline."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON Lines to standard output, one per size."),
    )
    return Command(
        "advise",
        act,
        "How many numbers a code should have. Several sizes are tried together, each with several seeds, and measured "
        "on samples held out.",
        arguments=[click.Argument(["data"], metavar="DATA")],
        sections=[Section("Settings", settings), Section("Output", written)],
        examples=[
            "isthmus advise payments.csv",
            "isthmus advise payments.csv --sizes 2,4,8,16 --seeds 5 --html advice.html",
            "isthmus advise photos/ --json",
        ],
    )


def act(
    data: str,
    labels: str | None,
    sizes: str | None,
    seeds: int,
    share: float,
    seed: int,
    output: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Check what can be checked, read, try, show."""
    wanted = _sizes(sizes)
    _check(data, output, html, as_json)
    from isthmus import Autoencoder, advise
    from isthmus.interfaces import building

    X, y = building.read(Autoencoder(), data)[0], None
    if labels is not None:
        X, y = _split(X, labels)
    found = advise(X, y, sizes=wanted, seeds=seeds, share=share, random_state=seed)
    if html is not None:
        found.to_html(html)
        log.info("wrote %s", html)
    show_result(found, output, as_json)
    log.info("next: isthmus fit %s --n-components %d -o model.safetensors", data, found.n_components)


def _split(X: Any, labels: str) -> tuple[Any, list[Any]]:
    """A table without this column, and the column."""
    columns = list(getattr(X, "columns", []))
    if labels not in columns:
        has = f"; it has: {', '.join(columns)}" if columns else ", for it holds no table"
        raise SettingError(f"--labels is {labels!r}, which is no column of DATA{has}.")
    return X.drop(labels), X[labels].to_list()


def _sizes(text: str | None) -> list[int] | Literal["auto"]:
    if text is None:
        return "auto"
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise SettingError(f"--sizes is {text!r}; it must be whole numbers with commas, such as 1,2,4,8.") from None


def _check(data: str, path: str | None, html: str | None, as_json: bool) -> None:
    output.check_input(data)
    if as_json and path is not None:
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    output.check_table_output(path, data)
    output.check_output(html, data)
