"""`isthmus fit DATA [--for TASK] -o MODEL`."""

from __future__ import annotations

import difflib
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from isthmus.errors import SettingError
from isthmus.interfaces import labels, output
from isthmus.interfaces.exits import CTRL_C
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import PREFIX, Command, Section, WordType, general_options, setting_option, was_given
from isthmus.interfaces.output import STREAM, is_folder
from isthmus.interfaces.signatures import Parameter, Source, attribute, parameters, public, tasks
from isthmus.words import counted, several

if TYPE_CHECKING:
    from isthmus import Autoencoder

#: Arguments that the command line gives in its own way: parts that have options of their own, and --quiet.
OWN_WAY = ("autoencoder", "training", "verbose")


@dataclass(frozen=True)
class Owner:
    """A class whose arguments stand in one section of the help."""

    title: str
    source: Source


@dataclass(frozen=True)
class Trained:
    """What became of a run."""

    model: str
    kind: str
    n_samples: int
    n_components: int
    epochs: int
    loss: float  # nats per sample, of the epoch whose weights were kept
    validation_loss: float | None
    seconds: float
    ended: str


class Fit(Command):
    """Its options depend on the task, so they are arranged once the task is known."""

    def __init__(self) -> None:
        super().__init__(
            "fit",
            click.pass_context(run),
            "Train on a table or a folder of pictures and save the model. A plain autoencoder, or one for a task. "
            "Where an option takes a NAME, settings may follow it: 'l1_sparse(weight=0.1)'.",
            arguments=[click.Argument(["data"], metavar="DATA")],
            sections=sections(None),
            examples=[
                "isthmus fit payments.csv --for detect -o payments.safetensors",
                "isthmus fit wine.parquet --n-components 2 -o wine.safetensors",
                "isthmus fit x.csv --variant vae --variant 'l1_sparse(weight=0.1)' -o m",
                "zcat x.csv.gz | isthmus fit - --max-epochs 20 --seed 0 -o x.safetensors",
                "isthmus fit payments.csv --for detect --dry-run",
                "isthmus fit photos/ --for denoise -o photos.safetensors",
                "isthmus fit visits.csv --for classify --label bought -o visits.safetensors",
                "isthmus fit noisy/ --target clean/ --for denoise -o pairs.safetensors",
                "isthmus fit photos/ --data-type 'images(size=64, damaged=\"skip\")' -o m",
            ],
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        task = _asked_task(ctx, args)
        self.arrange(sections(task))
        if "--dry-run" in args:
            next(option for option in self.params if option.name == "output").required = False
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _elsewhere(error, ctx) from error


def _elsewhere(error: click.NoSuchOption, ctx: click.Context) -> click.UsageError:
    """Whether the option that is none here is one of a task, or nearly."""
    theirs: dict[str, list[str]] = {}
    for verb, one in tasks().items():
        own = [f"--{option.name.replace('_', '-')}" for option in offered(one)]
        pairs, labels = attribute(one, "pairs"), attribute(one, "labels")
        for flag in [*own, *(["--target"] if pairs else []), *(["--label"] if labels else [])]:
            theirs.setdefault(flag, []).append(verb)
    mine = [flag for option in ctx.command.params for flag in option.opts]
    close = difflib.get_close_matches(error.option_name, [*mine, *theirs], n=1)
    if not close or close[0] in mine:
        return error
    found = close[0] if close[0] == error.option_name else f"there is no option {error.option_name}; {close[0]}"
    verbs = theirs[close[0]]
    if len(verbs) > 1:
        return click.UsageError(f"{found} belongs to the tasks {', '.join(verbs)}: add --for and one of them", ctx)
    return click.UsageError(f"{found} belongs to the task {verbs[0]}: add --for {verbs[0]}", ctx)


def _asked_task(ctx: click.Context, args: list[str]) -> str | None:
    """A first look at the command line, the variables and the configuration file, for the task alone."""
    config = next(option for option in general_options() if option.name == "config")
    look = click.Command("fit", params=[config, _for_option()], add_help_option=False)
    context = click.Context(
        look,
        parent=ctx.parent,
        info_name=ctx.info_name,
        ignore_unknown_options=True,
        allow_extra_args=True,
        resilient_parsing=ctx.resilient_parsing,
    )
    look.parse_args(context, list(args))
    found: str | None = context.params["for"]
    return found if found in tasks() else None


def _for_option() -> click.Option:
    return click.Option(
        ["--for", "for"],
        type=WordType(list(tasks())),
        metavar="TASK",
        envvar=f"{PREFIX}FOR",
        help=f"What the model is for: {', '.join(tasks())}; without it, a plain autoencoder. --for TASK --help lists "
        "the task's own options.",
    )


def sections(task: str | None) -> list[Section]:
    """The options of `fit`: its own, and the arguments of the classes it builds; of equal names the outer counts."""
    taken: set[str] = set()
    found = []
    for owner in owners(task):
        settings = [one for one in offered(owner.source) if one.name not in taken]
        taken |= {one.name for one in settings}
        found.append(Section(owner.title, tuple(setting_option(one) for one in settings)))
    return [Section("Task and output", _own_options(task)), *found]


def owners(task: str | None) -> Iterator[Owner]:
    """The classes whose arguments are options, from the outside in."""
    if task is not None:
        yield Owner(f"The task {task}", tasks()[task])
    yield Owner("The autoencoder", public("Autoencoder"))
    yield Owner("Its training", public("Training"))


def offered(source: Source) -> list[Parameter]:
    """The arguments of a class that can be written in words."""
    return [one for one in parameters(source) if one.name not in OWN_WAY and (one.scalars or one.parts)]


def _own_options(task: str | None) -> tuple[click.Option, ...]:
    target = click.Option(
        ["--target"],
        metavar="PATH",
        help="The clean counterparts of DATA: rows in the same order, or pictures with the same names.",
    )
    return (
        click.Option(["-o", "--output"], metavar="MODEL", required=True, help="The file to save the model in."),
        _for_option(),
        *([target] if task is not None and attribute(tasks()[task], "pairs") else []),
        *([labels.option()] if task is not None and attribute(tasks()[task], "labels") else []),
        click.Option(["--dry-run"], is_flag=True, help="Read the data, say what would be trained, and end."),
        click.Option(["--json", "as_json"], is_flag=True, help="Say in JSON, on standard output, what became of it."),
    )


# ---- what it does


def run(context: click.Context, data: str, output: str | None, dry_run: bool, as_json: bool, **settings: Any) -> None:
    """Check what can be checked, read, train, save."""
    task, target, label = settings.pop("for"), settings.pop("target", None), settings.pop("label", None)
    given = {name: value for name, value in settings.items() if was_given(context, name)}
    _check_paths(data, target, output, given.get("checkpoint"))
    if labelled := task is not None and bool(attribute(tasks()[task], "labels")):
        labels.check(label, task, data)
    from isthmus.interfaces import building

    estimator = building.estimator(task, given)
    read = building.read(building.autoencoder(estimator), data, target)
    if labelled:
        read = list(labels.taken(read[0], label))
    if dry_run:
        _show_plan(building.plan(estimator, *read[: 1 if labelled else 2]), as_json)
        return
    assert output is not None
    trained = _train(estimator, read, output)
    if as_json:
        _write_json(trained)
    if "stopped by hand" in trained.ended:
        log.info("stopped by Ctrl-C: the best weights so far are in %s", output)
        context.exit(CTRL_C)
    new = ["NEW.csv" if data == STREAM else data]
    if task and attribute(tasks()[task], "draws"):
        new = ["-n", "10"]
    into = ["-o", "results"] if task and attribute(tasks()[task], "gives_samples") and is_folder(data) else []
    into = ["-o", "packed.isth"] if task and attribute(tasks()[task], "packs") else into
    log.info("next: isthmus %s", shlex.join([task or "encode", output, *new, *into]))


def _check_paths(data: str, target: str | None, model: str | None, checkpoint: str | None) -> None:
    output.check_input(data)
    if target is not None:
        output.check_input(target, "--target")
        if target == data or (os.path.exists(target) and os.path.exists(data) and os.path.samefile(target, data)):
            raise SettingError(f"--target is {target!r}, which is DATA too; give the clean counterparts.")
    if model == output.STREAM:
        raise SettingError("-o is -, but a model is a file of its own; give it a name, such as model.safetensors.")
    read = [data, *([target] if target else [])]
    output.check_output(model, *read)
    output.check_output(checkpoint, *read, *([model] if model else []))


def _train(estimator: Any, read: Sequence[Any], path: str) -> Trained:
    """`read` is what to train on, and, of pairs, the counterparts."""
    from isthmus.interfaces import building
    from isthmus.interfaces.stopping import stoppable

    started = time.monotonic()
    with stoppable():
        estimator.fit(*read)
        seconds = time.monotonic() - started
        estimator.save(path)
    trained = _became(estimator, building.learned(estimator), path, seconds)
    held_out = "" if trained.validation_loss is None else f", held out {trained.validation_loss:.4g}"
    log.info(
        "trained %s in %.1f s (%s); loss %.4g%s nats per %s",
        counted(trained.epochs, "epoch"),
        seconds,
        trained.ended,
        trained.loss,
        held_out,
        building.learned(estimator).data_.piece,
    )
    log.info("saved %s (%s)", path, output.size(os.path.getsize(path)))
    return trained


def _became(estimator: Any, autoencoder: Autoencoder, path: str, seconds: float) -> Trained:
    history = autoencoder.history_
    kept = history[(history.best_epoch or len(history)) - 1] if len(history) else None
    return Trained(
        path,
        type(estimator).__name__,
        autoencoder.n_samples_,
        autoencoder.n_components_,
        len(history),
        kept.training["loss"] if kept else float("nan"),
        kept.validation.get("loss") if kept else None,
        round(seconds, 3),
        history.ended,
    )


def _write_json(record: Any) -> None:
    finite = {name: _finite(value) for name, value in asdict(record).items()}
    output.write(json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show_plan(plan: Any, as_json: bool) -> None:
    if as_json:
        _write_json(plan)
        return
    import polars as pl

    for line in plan.lines():
        output.write(line + "\n")
    for finding in plan.findings:
        log.warning("note: %s", finding)
    rows = [asdict(column) for column in plan.columns]
    columns = pl.DataFrame(rows, infer_schema_length=None)
    one = "column" if plan.unit == "row" else "channel"
    output.show(columns.rename({"column": one}), f"{several(one).capitalize()}:", sys.stdout)
