"""The command line: `isthmus fit payments.csv --for detect -o payments.safetensors`, then a verb with the model.

Commands, options and help come from the stubs, constructors and docstrings. Data go to standard output, messages to
standard error; every error is one line, and the exit code says of which kind it is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

import isthmus
from isthmus.interfaces.exits import guarded, until_terminated
from isthmus.interfaces.options import Command, WordType
from isthmus.interfaces.signatures import tasks
from isthmus.interfaces.values import nearest

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = (
    "isthmus demo",
    "isthmus fit payments.csv --for detect -o payments.safetensors",
    "isthmus detect payments.safetensors new.csv",
    "isthmus detect payments.safetensors new.csv --json | head",
    "isthmus fit photos/ --for denoise -o photos.safetensors",
    "isthmus denoise photos.safetensors scans/ -o restored/",
)


class Isthmus(click.Group):
    """All commands; each is built when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_builders())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        build = _builders().get(cmd_name)
        return None if build is None else build()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            hint = nearest(args[0], known)
            raise click.UsageError(f"{args[0]!r} is no command{hint if hint.endswith('?') else ''}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in EXAMPLES))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run, and exit with a code that says how it went."""
        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot write must not end a long run
            with contextlib.suppress(AttributeError, ValueError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        self._main_shell_completion({}, "isthmus", "_ISTHMUS_COMPLETE")
        with until_terminated():
            code = guarded(lambda: self._run(words), "--traceback" in words)
        sys.exit(code)

    def _run(self, words: list[str]) -> int:
        try:
            with self.make_context("isthmus", words) as context:
                self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        return 0


def _builders() -> dict[str, Callable[[], click.Command]]:
    """Commands by name, in the order of the help; a task's verb is the name of its file."""

    def fit() -> click.Command:
        from isthmus.interfaces.fit import Fit

        return Fit()

    def task(verb: str) -> Callable[[], click.Command]:
        def build() -> click.Command:
            from isthmus.interfaces import verbs

            return verbs.task(verb, tasks()[verb])

        return build

    def verb(name: str) -> Callable[[], click.Command]:
        def build() -> click.Command:
            from isthmus.interfaces import verbs

            made: click.Command = getattr(verbs, name)()
            return made

        return build

    def other(name: str) -> Callable[[], click.Command]:
        return lambda: _others()[name]()

    with_a_model = {name: verb(name) for name in ("encode", "reconstruct", "generate", "info")}
    others = {name: other(name) for name in OTHERS} | {"completion": completion}
    return {"fit": fit} | {name: task(name) for name in tasks()} | with_a_model | others


#: Commands that stand in modules of their own, in the order of the help.
OTHERS = ("threshold", "map", "index", "query", "decompress", "evaluate", "advise", "report", "demo")


def _others() -> dict[str, Callable[[], click.Command]]:
    from isthmus.interfaces import advise, demo, evaluate, mapping, packing, report, searching, threshold

    return {
        "threshold": threshold.command,
        "map": mapping.command,
        "index": searching.index,
        "query": searching.query,
        "decompress": packing.decompress,
        "evaluate": evaluate.command,
        "advise": advise.command,
        "report": report.command,
        "demo": demo.command,
    }


def completion() -> click.Command:
    """`isthmus completion SHELL`."""

    def act(shell: str) -> None:
        from click.shell_completion import ShellComplete, get_completion_class

        found = get_completion_class(shell)
        assert found is not None
        # the base class's way, which does not start the shell to ask for its version
        click.echo(ShellComplete.source(found(cli, {}, "isthmus", "_ISTHMUS_COMPLETE")))

    return Command(
        "completion",
        act,
        "Print the script for a shell. It completes commands, options and names.",
        arguments=[click.Argument(["shell"], type=WordType(SHELLS), metavar="|".join(SHELLS))],
        examples=[
            'eval "$(isthmus completion bash)"',
            "isthmus completion fish > ~/.config/fish/completions/isthmus.fish",
        ],
    )


def _about(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli = Isthmus(
    "isthmus",
    callback=click.pass_context(_about),
    invoke_without_command=True,
    help="Autoencoders for every kind of data: fit one to a table or to pictures, then find odd ones, "
    "clean noisy ones, encode, reconstruct, generate.",
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="COMMAND ...",
)
click.version_option(isthmus.__version__, prog_name="isthmus", message="%(prog)s %(version)s")(cli)


def main() -> NoReturn:
    """The command `isthmus`."""
    cli.main()
