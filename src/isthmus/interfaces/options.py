"""Parameters of constructors become options; what all commands share: configuration files, help, sections."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from isthmus.errors import SettingError
from isthmus.interfaces.signatures import Parameter, literal
from isthmus.interfaces.values import choose, forms, names, read

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:  # generic only in newer versions of click
    _Type = click.ParamType

PREFIX = "ISTHMUS_"  # of environment variables
GENERAL = "In general"
ALSO = {"random_state": "--seed"}
METAVARS = {"int": "WHOLE", "float": "NUMBER"}


class SettingType(_Type):
    """A setting, read by its signature."""

    name = "setting"

    def __init__(self, parameter: Parameter):
        self.parameter = parameter

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value is None else read(self.parameter, value, _shown(param))

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Several values in one variable: separated by spaces or semicolons outside of brackets."""
        values, depth = [""], 0
        for character in rv:
            depth += (character in "([") - (character in ")]")
            if depth <= 0 and character in " ;\n\t":
                values.append("")
            else:
                values[-1] += character
        return [value for value in values if value]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in names(self.parameter) if word.startswith(incomplete)]


class WordType(_Type):
    """One word of a few."""

    name = "word"

    def __init__(self, words: Sequence[str]):
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return choose(_shown(param), str(value), self.words)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


def _shown(param: click.Parameter | None) -> str:
    return long_name(param) if isinstance(param, click.Option) else str(param.name if param else "the value")


def long_name(option: click.Option) -> str:
    return max(option.opts, key=len) if option.name not in ALSO else option.opts[0]


@dataclass(frozen=True)
class Section:
    """Options that stand together in the help, under one heading."""

    title: str
    options: tuple[click.Option, ...]


def setting_option(parameter: Parameter, attribute: str = "") -> click.Option:
    """The option for one argument; its value is None (or empty) unless somebody gives it."""
    flag = "--" + parameter.name.replace("_", "-")
    words = [parameter.name, ALSO[parameter.name][2:]] if parameter.name in ALSO else [parameter.name]
    only_bool = parameter.scalars == frozenset({"bool"})
    return click.Option(
        [f"{flag}/--no-{flag[2:]}" if only_bool else flag, *([ALSO[parameter.name]] if parameter.name in ALSO else [])]
        + [attribute or parameter.name],
        type=None if only_bool else SettingType(parameter),
        default=None,
        multiple=parameter.many,
        metavar=None if only_bool else _metavar(parameter),
        envvar=[PREFIX + word.upper() for word in words],
        help=_help(parameter),
    )


def _help(parameter: Parameter) -> str:
    """The line of the docstring, the names it takes with their settings, and the default."""
    known = forms(parameter) if parameter.parts else []
    listed = "" if all(name in parameter.help for name in known) else f" One of: {', '.join(known)}."
    several = " May be given several times." if parameter.many else ""
    default = literal(parameter.default)
    shown = "none" if default in (None, ()) else default
    return f"{parameter.help}{listed}{several}  [default: {shown}]".strip()


def _metavar(parameter: Parameter) -> str:
    if parameter.parts:
        return "NAME"
    numbers = [word for kind, word in METAVARS.items() if kind in parameter.scalars]
    nothing = ["none"] if "None" in parameter.scalars else []
    return "|".join([*numbers, *parameter.words, *nothing]) if numbers else "TEXT"


def general_options() -> list[click.Option]:
    """What every command takes."""
    return [
        click.Option(
            ["--config"],
            metavar="FILE.toml",
            is_eager=True,
            expose_value=False,
            callback=_use_config,
            envvar=f"{PREFIX}CONFIG",
            help="Read options from a TOML file, flat or under the command's name. Variables (ISTHMUS_...) win over "
            "it, options over both.",
        ),
        click.Option(["--print-config"], is_flag=True, help="Print the settings in effect as TOML, and end."),
        click.Option(["-q", "--quiet"], is_flag=True, envvar=f"{PREFIX}QUIET", help="No messages but errors."),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Also messages for the curious, and warnings of libraries."
        ),
        click.Option(["--traceback"], is_flag=True, help="Where an error is unexpected, show where it arose."),
    ]


class Command(click.Command):
    """A command with sections, examples and configuration files.

    Parameters
    ----------
    name : its verb.
    act : what it does, called with the options by name.
    help : one or two sentences.
    arguments : what it takes besides options.
    sections : its own options.
    examples : lines that one could type.
    """

    def __init__(
        self,
        name: str,
        act: Callable[..., None],
        help: str,
        arguments: Sequence[click.Argument] = (),
        sections: Sequence[Section] = (),
        examples: Sequence[str] = (),
    ):
        super().__init__(name, callback=act, help=help, context_settings={"help_option_names": ["-h", "--help"]})
        self.arguments, self.examples = arguments, examples
        self.arrange(sections)

    def arrange(self, sections: Sequence[Section]) -> None:
        """Take these options, and the general ones."""
        self.sections = [*sections, Section(GENERAL, tuple(general_options()))]
        self.params = [*self.arguments, *(option for section in self.sections for option in section.options)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--print-config" in args:
            for parameter in self.params:
                parameter.required = False
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.pop("print_config"):
            click.echo(as_toml(self, ctx), nl=False)
            return None
        from isthmus.interfaces.messages import told

        with told(ctx.params.pop("quiet"), ctx.params.pop("verbose")):
            ctx.params.pop("traceback")
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        helps = [self.get_help_option(ctx)]
        for section in self.sections:
            options = [*section.options, *(helps if section.title == GENERAL else [])]
            records = [option.get_help_record(ctx) for option in options if option is not None]
            with formatter.section(section.title):
                formatter.write_dl([record for record in records if record is not None], col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


# ---- configuration files


def _use_config(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    if path:
        ctx.default_map = dict(ctx.default_map or {}) | read_config(path, ctx)


def read_config(path: str, ctx: click.Context) -> dict[str, Any]:
    """The options in a file, by the names of a command's parameters."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise SettingError(f"--config {path!r} cannot be read: {why}; give a TOML file.") from error
    flat = {name: value for name, value in document.items() if not isinstance(value, dict)}
    sections = [name for name, value in document.items() if isinstance(value, dict)]
    commands = (
        ctx.parent.command.list_commands(ctx) if ctx.parent and isinstance(ctx.parent.command, click.Group) else []
    )
    for section in sections:
        choose(f"--config {path!r}: section", section, commands or sections)
    takes = config_names(ctx.command)
    found = {}
    for name, value in (flat | document.get(ctx.command.name or "", {})).items():
        key = name.replace("-", "_")
        if key not in takes and _lenient(ctx):
            continue
        option = takes[choose(f"--config {path!r}: the setting", key, list(takes))]
        found[str(option.name)] = [value] if option.multiple and not isinstance(value, list) else value
    return found


def _lenient(ctx: click.Context) -> bool:
    """Whether this is a first look at the command line, for which not all options are known yet."""
    return ctx.ignore_unknown_options


def config_names(command: click.Command) -> dict[str, click.Option]:
    """The options that a configuration file may set, by their long names."""
    options = [param for param in command.params if isinstance(param, click.Option) and param.name not in _NOT_IN_FILES]
    return {flag[2:].replace("-", "_"): option for option in options for flag in option.opts if flag.startswith("--")}


def was_given(ctx: click.Context, name: str) -> bool:
    """Whether somebody gave this option, on the command line, in a variable or in a file."""
    return ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


_NOT_IN_FILES = ("config", "print_config", "traceback", "help", "dry_run")


def as_toml(command: click.Command, ctx: click.Context) -> str:
    """The settings in effect, in the form that `--config` reads.

    Options that nobody gave stand there with their defaults; what has no default is a comment.
    """
    lines, seen = [f"[{command.name}]"], set()
    for name, option in config_names(command).items():
        if option.name in seen or option.name in ("quiet", "verbose"):
            continue
        seen.add(option.name)
        value = ctx.params.get(str(option.name))
        if isinstance(option.type, SettingType) and not was_given(ctx, str(option.name)):
            value = literal(option.type.parameter.default)
        value = [value] if option.multiple and isinstance(value, str) else value
        if value is None and not (isinstance(option.type, SettingType) and "None" in option.type.parameter.scalars):
            lines.append(f"# {name} =")
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return '"none"' if value is None else str(value).lower()
