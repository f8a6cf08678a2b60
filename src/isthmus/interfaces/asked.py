"""What somebody asked of a model: whether the paths can be, the model and the data behind them, where answers go."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import output, quick
from isthmus.interfaces.folders import check_folder, filling
from isthmus.interfaces.held import TABLES, Held, check_kind, check_verb, held
from isthmus.interfaces.messages import log, say
from isthmus.words import counted, several


@dataclass(frozen=True)
class Asked:
    """What somebody typed, besides settings.

    Parameters
    ----------
    model, data : the paths to read; data is None where the command takes none.
    path : what -o says.
    as_json : whether JSON Lines are wanted.
    verb : of a task; empty for what any model can do.
    samples : whether the results are samples, in the form of the data.
    n_samples : how many results there will be; 0 where the data say it.
    overwrite : whether files may be replaced.
    """

    model: str
    data: str | None
    path: str | None
    as_json: bool
    verb: str = ""
    samples: bool = False
    n_samples: int = 0
    overwrite: bool = False

    @property
    def into_stream(self) -> bool:
        """Whether the results go to standard output."""
        return self.path is None or self.path == output.STREAM


# ---- whether it can be


def opened(asked: Asked) -> tuple[Any, Any]:
    """The fitted estimator and the data, once everything that can be wrong with the paths has been looked at."""
    of_task = asked.samples and asked.verb
    if asked.as_json and asked.path is not None and not (of_task and not asked.into_stream):
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    check_names(asked.model, asked.data)
    found = check_class(asked.model, asked.verb)
    if asked.data is not None:
        check_kind(found, asked.model, asked.data)
    check_output(found, asked)
    if asked.verb and (without_torch := quick.opened(asked.model, asked.data)) is not None:
        return without_torch
    from isthmus import load
    from isthmus.interfaces.building import learned, let_draw

    estimator = load(asked.model)
    let_draw(learned(estimator))
    X = None if asked.data is None else learned(estimator).data_.read_more(asked.data)
    draws = asked.n_samples > 0 and hasattr(estimator, "sample")  # a task that draws does it in its own way
    return (estimator if asked.verb or draws else learned(estimator)), X


def check_output(found: Held, asked: Asked) -> None:
    """Whether the results can go where they shall."""
    if not (asked.samples and found.endings):
        output.check_table_output(asked.path, asked.model, *([asked.data] if asked.data else []))
        return
    if asked.as_json and not asked.verb:
        raise SettingError(f"--json writes rows, and the results are {several(found.unit)}; give -o FOLDER instead.")
    alone = asked.n_samples == 1 or (asked.data is not None and os.path.isfile(asked.data))
    check_folder(found, asked.path, asked.data, alone=alone, overwrite=asked.overwrite)


def check_names(model: str, data: str | None) -> None:
    """Whether these can be the paths of a model and of data."""
    if model == output.STREAM:
        raise SettingError("MODEL is -, but a model is read from a file of its own; give its path.")
    if data is not None:
        if model.lower().endswith(TABLES) and not data.lower().endswith(TABLES):
            raise SettingError(
                f"MODEL is {model!r}, which has the name of a table; the model comes first, then the data."
            )
        output.check_input(data)


def check_class(model: str, verb: str = "") -> Held:
    """What the file holds, if it is what the verb needs; asked before torch is loaded."""
    found = held(model)
    check_verb(found, model, verb)
    return found


# ---- where it goes


FILES = ".csv, .tsv, .parquet or .ndjson, or .gz after that; - is CSV on standard output"


def row_options() -> tuple[click.Option, ...]:
    return (
        click.Option(["-o", "--output"], metavar="FILE", help=f"The file to write all rows to: {FILES}."),
        json_option("Write JSON Lines to standard output, one object for each row."),
    )


def sample_options(of_task: bool) -> tuple[click.Option, ...]:
    """Where samples go: the file of a table, or a folder."""
    beside = " With -o, write what was done to each sample there." if of_task else ""
    return (
        click.Option(
            ["-o", "--output"],
            metavar="FILE|FOLDER",
            help="Where to write the results. Pictures: a new or empty folder, for files with the names of those that "
            f"were read; a single picture may go to a file. Rows: a file, {FILES}.",
        ),
        click.Option(
            ["--overwrite"],
            is_flag=True,
            help="Let pictures go into a folder that is not empty, and replace files of the same names.",
        ),
        json_option(f"Write rows as JSON Lines to standard output, one object for each.{beside}"),
    )


def json_option(help: str) -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help=help)


def write_samples(autoencoder: Any, samples: Any, asked: Asked) -> None:
    """Samples in the form that they have as data: files in a folder, or the rows of a table."""
    data, path = autoencoder.data_, asked.path
    if data.endings and path is not None:
        with filling(path):
            data.write(samples, path)
        log.info("wrote %s to %s", counted(len(samples), data.unit), path)
    elif path is not None and not asked.into_stream and not hasattr(samples, "shape"):
        data.write(samples, path)
    else:
        output.write_rows(output.as_frame(samples, list(data.feature_names)), path, asked.as_json)


def write_answer(answer: Any, asked: Asked) -> None:
    """For a reader the lines worth reading; the whole table into a file or as JSON Lines."""
    if asked.path is not None or asked.as_json:
        output.write_rows(answer.table, asked.path, asked.as_json)
    if not asked.into_stream:
        say(lambda stream: output.show(answer.highlights, answer.headline, stream))
    elif asked.path is None and not asked.as_json:
        output.show(answer.highlights, answer.headline, sys.stdout)
        rest = answer.table.height - answer.highlights.height
        if rest > 0:
            units = several(answer.unit)
            log.info("%s count from 0; --json or -o FILE gives all %d", units, answer.table.height)


def write_samples_of(estimator: Any, answer: Any, asked: Asked) -> None:
    """The samples of an answer; what is to be said about them goes beside them."""
    write_samples(estimator.autoencoder_, answer.samples, asked)
    if asked.into_stream:
        log.info("%s", answer.headline)
        return
    if asked.as_json:
        output.write_rows(answer.table, None, as_json=True)
    say(lambda stream: output.show(answer.highlights, answer.headline, stream))
