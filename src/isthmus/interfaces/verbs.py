"""What one does with a model: encode, reconstruct, generate, info, and one command for each task."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import heat_maps as drawn
from isthmus.interfaces import output, packing
from isthmus.interfaces.asked import (
    Asked,
    json_option,
    opened,
    row_options,
    sample_options,
    write_answer,
    write_samples,
    write_samples_of,
)
from isthmus.interfaces.exits import CHECK
from isthmus.interfaces.held import held
from isthmus.interfaces.options import Command, Section, setting_option, was_given
from isthmus.interfaces.signatures import Source, attribute, bases, parameters, public, summary, tasks


def encode() -> Command:
    """`isthmus encode MODEL DATA`."""

    def act(model: str, data: str, output: str | None, as_json: bool) -> None:
        estimator, X = opened(Asked(model, data, output, as_json))
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
        estimator, X = opened(asked)
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
        estimator, _ = opened(asked)
        write_samples(getattr(estimator, "autoencoder_", estimator), estimator.sample(**given), asked)

    help = summary(source) if source else "New samples, like those that were fitted on."
    return _with_model(verb or "generate", click.pass_context(act), help, None, options, samples=True)


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
        estimator, X = opened(asked)
        answer = estimator.answer(X, **{name: value for name, value in given.items() if was_given(context, name)})
        if samples:
            write_samples_of(estimator, answer, asked)
        else:
            write_answer(answer, asked)
        if heat_maps is not None:
            drawn.write(estimator, X, answer, heat_maps)
        if fail_if_odd and answer.table["odd"].any():
            context.exit(CHECK)

    options = [*settings, *([fail] if checks else []), *([drawn.option()] if parameters(source, "heat_map") else [])]
    return _with_model(verb, click.pass_context(act), summary(source), "new.csv", options, samples)


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
        sections=[Section("Output", (json_option("Write one JSON object."),))],
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
    sections = [Section("Output", sample_options(verb in tasks()) if samples else row_options())]
    if own:
        sections.insert(0, Section("Settings", tuple(own)))
    return Command(verb, act, help, arguments, sections, _examples(verb, data, samples))


def _examples(verb: str, data: str | None, samples: bool) -> list[str]:
    start = f"isthmus {verb} model.safetensors"
    if data is None:
        return [f"{start} -n 10 --seed 0", f"{start} -n 1000 -o rows.parquet", f"{start} -n 9 -o drawn/"]
    folder = [f"{start} scans/ -o results/"] if samples else []
    return [f"{start} {data}", f"{start} {data} -o result.csv", f"cat {data} | {start} - --json", *folder]
