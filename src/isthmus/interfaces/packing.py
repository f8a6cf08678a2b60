"""`isthmus compress MODEL DATA -o x.isth` and `isthmus decompress MODEL x.isth`: for tasks that answer with bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from isthmus.atomic import replace_file, storage_error
from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import Asked, check_class, check_names, check_output, sample_options, write_samples
from isthmus.interfaces.held import check_kind
from isthmus.interfaces.messages import log, say
from isthmus.interfaces.options import Command, Section, setting_option, was_given
from isthmus.interfaces.signatures import Source, parameters, summary, tasks

WRITTEN = "The file to write the bytes to; - is standard output. Without it only what they would be is said."


def compress(verb: str, source: Source) -> Command:
    """`isthmus compress MODEL DATA`."""
    settings = tuple(setting_option(one) for one in parameters(source, "answer") if one.scalars)

    def act(context: click.Context, model: str, data: str, output: str | None, as_json: bool, **given: Any) -> None:
        estimator, X = _opened(verb, model, data, output, as_json)
        chosen = {name: value for name, value in given.items() if was_given(context, name)}
        _write(estimator.answer(X, **chosen), output, as_json)

    written = click.Option(["-o", "--output"], metavar="FILE", help=WRITTEN)
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="Say in JSON Lines what each sample takes.")
    return Command(
        verb,
        click.pass_context(act),
        summary(source),
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["data"], metavar="DATA")],
        sections=[*([Section("Settings", settings)] if settings else []), Section("Output", (written, as_json))],
        examples=[
            f"isthmus {verb} model.safetensors new.csv -o new.isth",
            f"isthmus {verb} m.safetensors photos/ -o p.isth",
        ],
    )


def _opened(verb: str, model: str, data: str, path: str | None, as_json: bool) -> tuple[Any, Any]:
    """The fitted task and the data, once the paths have been looked at."""
    if as_json and path == output.STREAM:
        raise SettingError("--json and -o - both write to standard output; give one of them.")
    check_names(model, data)
    check_kind(check_class(model, verb), model, data)
    output.check_output(path, model, data)
    from isthmus import load
    from isthmus.interfaces.building import learned

    estimator = load(model)
    return estimator, learned(estimator).data_.read_more(data)


def _write(answer: Any, path: str | None, as_json: bool) -> None:
    if path == output.STREAM:
        sys.stdout.flush()
        sys.stdout.buffer.write(answer.samples)
        sys.stdout.buffer.flush()
    elif path is not None:
        replace_file(path, [answer.samples])
    if as_json:
        output.write_rows(answer.table, None, as_json=True)
    if path is None and not as_json:
        output.show(answer.highlights, answer.headline, sys.stdout)
    else:
        say(lambda stream: output.show(answer.highlights, answer.headline, stream))


def decompress() -> Command:
    """`isthmus decompress MODEL FILE`."""

    def act(model: str, file: str, output: str | None, as_json: bool, overwrite: bool) -> None:
        verb = next(name for name, one in tasks().items() if _packs(one))
        asked = Asked(model, None, output, as_json, "", samples=True, overwrite=overwrite)
        check_names(model, None)
        check_output(check_class(model, verb), asked)
        blob = _bytes_of(file)
        from isthmus import load

        estimator = load(model)
        samples = estimator.decompress(blob)
        write_samples(estimator.autoencoder_, samples, asked)

    return Command(
        "decompress",
        act,
        "The samples that compress made a file of. In the form that they came in: columns, or pictures.",
        arguments=[click.Argument(["model"], metavar="MODEL"), click.Argument(["file"], metavar="FILE")],
        sections=[Section("Output", sample_options(False))],
        examples=[
            "isthmus decompress model.safetensors new.isth -o new.csv",
            "isthmus decompress m.safetensors p.isth -o photos/",
        ],
    )


def _packs(source: Source) -> bool:
    from isthmus.interfaces.signatures import attribute

    return bool(attribute(source, "packs"))


def _bytes_of(path: str) -> bytes:
    if path == output.STREAM:
        return sys.stdin.buffer.read()
    output.check_input(path, "FILE")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise storage_error(path, "read", error) from error
    log.debug("read %s", output.size(len(data)))
    return data
