"""What one does with a model: encode, reconstruct, generate, info, and one command for each task."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from isthmus import storage
from isthmus.errors import ModelFileError, SettingError
from isthmus.interfaces import output
from isthmus.interfaces.exits import CHECK
from isthmus.interfaces.messages import log, say
from isthmus.interfaces.options import Command, Section, setting_option, was_given
from isthmus.interfaces.signatures import Source, bases, parameters, public, summary, tasks

TABLES = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".json", ".gz")


def encode() -> Command:
    """`isthmus encode MODEL DATA`."""

    def act(model: str, data: str, output: str | None, as_json: bool) -> None:
        estimator, X = _opened(model, data, output, as_json)
        codes = estimator.transform(X)
        write_codes(codes, list(estimator.get_feature_names_out()), output, as_json)

    return _with_model("encode", act, "The code of each row. One column for each of its numbers.", "new.csv")


def write_codes(codes: Any, names: list[str], path: str | None, as_json: bool) -> None:
    """Codes as a table with named columns."""
    output.write_rows(output.as_frame(codes, names), path, as_json)


def reconstruct() -> Command:
    """`isthmus reconstruct MODEL DATA`."""

    def act(model: str, data: str, output: str | None, as_json: bool) -> None:
        estimator, X = _opened(model, data, output, as_json)
        write_samples(estimator, estimator.reconstruct(X), output, as_json)

    return _with_model("reconstruct", act, "What the model makes of each row. In the data's own columns.", "new.csv")


def generate() -> Command:
    """`isthmus generate MODEL -n 10`."""
    settings = parameters(public("Autoencoder"), "sample")
    options = [setting_option(one) for one in settings if one.scalars]
    number = next(option for option in options if option.name == "n_samples")
    number.opts.insert(0, "-n")

    def act(context: click.Context, model: str, output: str | None, as_json: bool, **given: Any) -> None:
        given = {name: value for name, value in given.items() if was_given(context, name)}
        if given.get("n_samples", 1) < 1:
            raise SettingError(f"--n-samples is {given['n_samples']}; it must be a whole number of at least 1.")
        estimator, _ = _opened(model, None, output, as_json)
        write_samples(estimator, estimator.sample(**given), output, as_json)

    return _with_model("generate", click.pass_context(act), "New rows, like those that were fitted on.", None, options)


def write_samples(estimator: Any, samples: Any, path: str | None, as_json: bool) -> None:
    """Samples in the form that they have as data, or as rows."""
    if path is not None and path != output.STREAM and not hasattr(samples, "shape"):
        estimator.data_.write(samples, path)
        return
    output.write_rows(output.as_frame(samples, list(estimator.data_.feature_names)), path, as_json)


def task(verb: str, source: Source) -> Command:
    """`isthmus VERB MODEL DATA` for a task."""
    checks = "OutlierMixin" in bases(source)
    settings = [setting_option(one) for one in parameters(source, "answer") if one.scalars]
    fail = click.Option(["--fail-if-odd"], is_flag=True, help=f"Exit with code {CHECK} if there are odd rows.")

    def act(
        context: click.Context,
        model: str,
        data: str,
        output: str | None,
        as_json: bool,
        fail_if_odd: bool = False,
        **given: Any,
    ) -> None:
        estimator, X = _opened(model, data, output, as_json, verb)
        answer = estimator.answer(X, **{name: value for name, value in given.items() if was_given(context, name)})
        _write_answer(answer, output, as_json)
        if fail_if_odd and answer.table["odd"].any():
            context.exit(CHECK)

    options = [*settings, *([fail] if checks else [])]
    return _with_model(verb, click.pass_context(act), summary(source), "new.csv", options)


def _write_answer(answer: Any, path: str | None, as_json: bool) -> None:
    """For a reader the lines worth reading; the whole table into a file or as JSON Lines."""
    if path is not None or as_json:
        output.write_rows(answer.table, path, as_json)
    if path not in (None, output.STREAM):
        say(lambda stream: output.show(answer.highlights, answer.headline, stream))
    elif path is None and not as_json:
        output.show(answer.highlights, answer.headline, sys.stdout)
        rest = answer.table.height - answer.highlights.height
        if rest > 0:
            log.info("rows count from 0; --json or -o FILE gives all %d", answer.table.height)


def info() -> Command:
    """`isthmus info MODEL`."""

    def act(model: str, as_json: bool) -> None:
        from isthmus.interfaces.info import about

        found = about(model)
        output.write(json.dumps(asdict(found), ensure_ascii=False) + "\n" if as_json else found.text())

    return Command(
        "info",
        act,
        "What a model file holds. Columns, settings, size, version, how training went, and what the doctor found.",
        arguments=[click.Argument(["model"], metavar="MODEL")],
        sections=[Section("Output", (_json_option("Write one JSON object."),))],
        examples=["isthmus info payments.safetensors", "isthmus info payments.safetensors --json"],
    )


# ---- what they share


def _with_model(
    verb: str, act: Callable[..., None], help: str, data: str | None, own: Sequence[click.Option] = ()
) -> Command:
    arguments = [click.Argument(["model"], metavar="MODEL")]
    if data is not None:
        arguments.append(click.Argument(["data"], metavar="DATA"))
    outputs = (
        click.Option(
            ["-o", "--output"],
            metavar="FILE",
            help="The file to write all rows to: .csv, .tsv, .parquet or .ndjson, or .gz after that; - is CSV on "
            "standard output.",
        ),
        _json_option("Write JSON Lines to standard output, one object for each row."),
    )
    sections = [Section("Output", outputs)]
    if own:
        sections.insert(0, Section("Settings", tuple(own)))
    return Command(verb, act, help, arguments, sections, _examples(verb, data))


def _json_option(help: str) -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help=help)


def _examples(verb: str, data: str | None) -> list[str]:
    start = f"isthmus {verb} model.safetensors"
    if data is None:
        return [f"{start} -n 10 --seed 0", f"{start} -n 1000 -o rows.parquet"]
    return [f"{start} {data}", f"{start} {data} -o result.csv", f"cat {data} | {start} - --json"]


def _opened(model: str, data: str | None, path: str | None, as_json: bool, verb: str = "") -> tuple[Any, Any]:
    """The fitted estimator and the data, once everything that can be wrong with the paths has been looked at."""
    if as_json and path is not None:
        raise SettingError("--json writes to standard output and -o to a file; give one of them.")
    check_names(model, data)
    output.check_output(path, model, *([data] if data else []))
    check_class(model, verb)
    output.check_table_output(path)
    from isthmus import load
    from isthmus.interfaces.building import learned

    estimator = load(model)
    X = None if data is None else learned(estimator).data_.read_more(data)
    return (estimator if verb else learned(estimator)), X


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


def check_class(model: str, verb: str = "") -> None:
    """Whether the file holds what the verb needs, before torch is loaded."""
    held = storage.read_document(model).get("class")
    needed = {task.name: name for name, task in tasks().items()}
    if not isinstance(held, str):
        raise ModelFileError(f"{model!r} is not a model of Isthmus: it does not say of which class it is.")
    if verb and held in (*needed, "Autoencoder") and held != tasks()[verb].name:
        raise SettingError(
            f"{model!r} holds an {held}, and {verb} needs an {tasks()[verb].name}; "
            f"fit one with: isthmus fit DATA --for {verb} -o MODEL."
        )
