"""What one does with a model: encode, reconstruct, generate, info, and one command for each task."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import heat_maps as drawn
from isthmus.interfaces import output, packing, quick
from isthmus.interfaces.exits import CHECK
from isthmus.interfaces.folders import check_folder, filling
from isthmus.interfaces.held import TABLES, Held, check_kind, check_verb, held
from isthmus.interfaces.messages import log, say
from isthmus.interfaces.options import Command, Section, setting_option, was_given
from isthmus.interfaces.signatures import Source, attribute, bases, parameters, public, summary, tasks
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


def encode() -> Command:
    """`isthmus encode MODEL DATA`."""

    def act(model: str, data: str, output: str | None, as_json: bool) -> None:
        estimator, X = _opened(Asked(model, data, output, as_json))
        codes = estimator.transform(X)
        names = list(estimator.get_feature_names_out())
        write_codes(codes, names, output, as_json, getattr(estimator.data_.open(X), "names", []))

    return _with_model("encode", act, "The code of each sample. One column for each of its numbers.", "new.csv")


def write_codes(codes: Any, names: list[str], path: str | None, as_json: bool, files: Sequence[str] = ()) -> None:
    """Codes as a table with named columns, after the names of files where samples come from such."""
    frame = output.as_frame(codes, names)
    if any(files):
        import polars as pl

        frame = frame.insert_column(0, pl.Series("file", files, dtype=pl.String))
    output.write_rows(frame, path, as_json)


def reconstruct() -> Command:
    """`isthmus reconstruct MODEL DATA`."""

    def act(model: str, data: str, output: str | None, as_json: bool, overwrite: bool) -> None:
        asked = Asked(model, data, output, as_json, samples=True, overwrite=overwrite)
        estimator, X = _opened(asked)
        write_samples(estimator, estimator.reconstruct(X), asked)

    help = "What the model makes of each sample. In the data's own form: columns, or pictures of the same size."
    return _with_model("reconstruct", act, help, "new.csv", samples=True)


def generate(verb: str = "", source: Source | None = None) -> Command:
    """`isthmus generate MODEL -n 10`, and the same for a task that draws."""
    settings = parameters(source or public("Autoencoder"), "sample")
    options = [setting_option(one) for one in settings if one.scalars]
    number = next(option for option in options if option.name == "n_samples")
    number.opts.insert(0, "-n")

    def act(
        context: click.Context, model: str, output: str | None, as_json: bool, overwrite: bool, **given: Any
    ) -> None:
        given = {name: value for name, value in given.items() if was_given(context, name)}
        n_samples = given.get("n_samples", 1)
        if n_samples < 1:
            raise SettingError(f"--n-samples is {n_samples}; it must be a whole number of at least 1.")
        asked = Asked(model, None, output, as_json, verb, samples=True, n_samples=n_samples, overwrite=overwrite)
        estimator, _ = _opened(asked)
        write_samples(getattr(estimator, "autoencoder_", estimator), estimator.sample(**given), asked)

    help = summary(source) if source else "New samples, like those that were fitted on."
    return _with_model(verb or "generate", click.pass_context(act), help, None, options, samples=True)


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


def task(verb: str, source: Source) -> Command:
    """`isthmus VERB MODEL DATA` for a task."""
    if attribute(source, "draws"):
        return generate(verb, source)
    if attribute(source, "packs"):
        return packing.compress(verb, source)
    checks, samples = "OutlierMixin" in bases(source), bool(attribute(source, "gives_samples"))
    settings = [setting_option(one) for one in parameters(source, "answer") if one.scalars]
    fail = click.Option(["--fail-if-odd"], is_flag=True, help=f"Exit with code {CHECK} if there are odd samples.")

    def act(
        context: click.Context,
        model: str,
        data: str,
        output: str | None,
        as_json: bool,
        fail_if_odd: bool = False,
        overwrite: bool = False,
        heat_maps: str | None = None,
        **given: Any,
    ) -> None:
        asked = Asked(model, data, output, as_json, verb, samples, overwrite=overwrite)
        if heat_maps is not None:
            drawn.check(held(model), heat_maps, data)
        estimator, X = _opened(asked)
        answer = estimator.answer(X, **{name: value for name, value in given.items() if was_given(context, name)})
        if samples:
            _write_samples_of(estimator, answer, asked)
        else:
            write_answer(answer, asked)
        if heat_maps is not None:
            drawn.write(estimator, X, answer, heat_maps)
        if fail_if_odd and answer.table["odd"].any():
            context.exit(CHECK)

    options = [*settings, *([fail] if checks else []), *([drawn.option()] if parameters(source, "heat_map") else [])]
    return _with_model(verb, click.pass_context(act), summary(source), "new.csv", options, samples)


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


def _write_samples_of(estimator: Any, answer: Any, asked: Asked) -> None:
    """The samples of an answer; what is to be said about them goes beside them."""
    write_samples(estimator.autoencoder_, answer.samples, asked)
    if asked.into_stream:
        log.info("%s", answer.headline)
        return
    if asked.as_json:
        output.write_rows(answer.table, None, as_json=True)
    say(lambda stream: output.show(answer.highlights, answer.headline, stream))


def info() -> Command:
    """`isthmus info MODEL`."""

    def act(model: str, as_json: bool) -> None:
        from isthmus.interfaces.info import about

        found = about(model)
        output.write(json.dumps(asdict(found), ensure_ascii=False) + "\n" if as_json else found.text())

    return Command(
        "info",
        act,
        "What a model file holds. Data, settings, size, version, how training went, and what the doctor found.",
        arguments=[click.Argument(["model"], metavar="MODEL")],
        sections=[Section("Output", (_json_option("Write one JSON object."),))],
        examples=["isthmus info payments.safetensors", "isthmus info payments.safetensors --json"],
    )


# ---- what they share


def _with_model(
    verb: str,
    act: Callable[..., None],
    help: str,
    data: str | None,
    own: Sequence[click.Option] = (),
    samples: bool = False,
) -> Command:
    arguments = [click.Argument(["model"], metavar="MODEL")]
    if data is not None:
        arguments.append(click.Argument(["data"], metavar="DATA"))
    sections = [Section("Output", _sample_options(verb in tasks()) if samples else _row_options())]
    if own:
        sections.insert(0, Section("Settings", tuple(own)))
    return Command(verb, act, help, arguments, sections, _examples(verb, data, samples))


FILES = ".csv, .tsv, .parquet or .ndjson, or .gz after that; - is CSV on standard output"


def _row_options() -> tuple[click.Option, ...]:
    return (
        click.Option(["-o", "--output"], metavar="FILE", help=f"The file to write all rows to: {FILES}."),
        _json_option("Write JSON Lines to standard output, one object for each row."),
    )


def _sample_options(of_task: bool) -> tuple[click.Option, ...]:
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
        _json_option(f"Write rows as JSON Lines to standard output, one object for each.{beside}"),
    )


def _json_option(help: str) -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help=help)


def _examples(verb: str, data: str | None, samples: bool) -> list[str]:
    start = f"isthmus {verb} model.safetensors"
    if data is None:
        return [f"{start} -n 10 --seed 0", f"{start} -n 1000 -o rows.parquet", f"{start} -n 9 -o drawn/"]
    folder = [f"{start} scans/ -o results/"] if samples else []
    return [f"{start} {data}", f"{start} {data} -o result.csv", f"cat {data} | {start} - --json", *folder]


def _opened(asked: Asked) -> tuple[Any, Any]:
    """The fitted estimator and the data, once everything that can be wrong with the paths has been looked at."""
    of_task = asked.samples and asked.verb
    if asked.as_json and asked.path is not None and not (of_task and not asked.into_stream):
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    check_names(asked.model, asked.data)
    found = check_class(asked.model, asked.verb)
    if asked.data is not None:
        check_kind(found, asked.model, asked.data)
    _check_output(found, asked)
    if asked.verb and (without_torch := quick.opened(asked.model, asked.data)) is not None:
        return without_torch
    from isthmus import load
    from isthmus.interfaces.building import learned, let_draw

    estimator = load(asked.model)
    let_draw(learned(estimator))
    X = None if asked.data is None else learned(estimator).data_.read_more(asked.data)
    draws = asked.n_samples > 0 and hasattr(estimator, "sample")  # a task that draws does it in its own way
    return (estimator if asked.verb or draws else learned(estimator)), X


def _check_output(found: Held, asked: Asked) -> None:
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
