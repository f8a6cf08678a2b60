"""Constructors and docstrings, read from the source without importing it.

The command line offers what the classes take. Their modules load torch, which takes seconds; reading the source with
`ast` takes milliseconds, so that help, completion and every usage error come at once. Stubs say where a class lives.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import isthmus
from isthmus.part import snake_case

ROOT = Path(isthmus.__file__).parent
SCALARS = ("int", "float", "bool", "str", "None")


@dataclass(frozen=True)
class Source:
    """One class as it stands in a file of the package: `module` is that file's dotted name."""

    module: str
    name: str


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor or method.

    Parameters
    ----------
    name : as Python calls it.
    default : its default, as Python writes it; empty where it has none.
    scalars : which of int, float, bool, str and None it may be.
    words : words that it may be besides the names of parts: literals, and a default such as "auto".
    many : whether a list of words is possible.
    lists : whether any list is possible.
    parts : the classes whose names it takes.
    classes : classes of ours in its annotation, whether parts are derived from them or not.
    help : its line in the docstring.
    """

    name: str
    default: str
    scalars: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    many: bool = False
    lists: bool = False
    parts: tuple[Source, ...] = ()
    classes: tuple[Source, ...] = ()
    help: str = ""


# ---- files and stubs


@cache
def tree(module: str) -> ast.Module:
    """The source of one module of ours; of a package its stub, which says where its names come from."""
    path = ROOT.joinpath(*module.split(".")[1:])
    path = path / "__init__.pyi" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(module: str) -> dict[str, Source]:
    """The names that a module of ours takes from others of ours."""
    found: dict[str, Source] = {}
    package = module if (ROOT.joinpath(*module.split(".")[1:])).is_dir() else module.rpartition(".")[0]
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            origin = ".".join(part for part in (above, node.module or "") if part)
            if origin.split(".")[0] == "isthmus":
                found |= {name.asname or name.name: Source(origin, name.name) for name in node.names}
    return found


def listed(folder: str) -> dict[str, Source]:
    """The public classes of a folder as its stub lists them, by class name.

    >>> listed("damage")["Swap"]
    Source(module='isthmus.damage.swap', name='Swap')
    """
    return {name: source for name, source in imported(f"isthmus.{folder}").items() if name[0].isupper()}


def tasks() -> dict[str, Source]:
    """The tasks by verb, which is the name of their file.

    >>> tasks()["detect"].name
    'AnomalyDetector'
    """
    return {source.module.rpartition(".")[2]: source for source in listed("tasks").values()}


def public(name: str) -> Source:
    """Where a public name of the package is defined.

    >>> public("Autoencoder")
    Source(module='isthmus.autoencoder', name='Autoencoder')
    """
    return _origin(Source("isthmus", name))


def _origin(source: Source) -> Source:
    """Follow imports to the file in which a name is defined."""
    while _definition(source) is None and source.name in imported(source.module):
        source = imported(source.module)[source.name]
    return source


def _definition(source: Source) -> ast.ClassDef | ast.expr | None:
    """The class of this name, or the value of an alias."""
    body = tree(source.module).body
    found = [node for node in body if isinstance(node, ast.ClassDef) and node.name == source.name]
    return found[0] if found else _assigned(body, source.name)


def _assigned(body: Sequence[ast.stmt], name: str) -> ast.expr | None:
    """The value that a name is given in a module or class, with or without an annotation."""
    for node in body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return node.value
    return None


def _class(source: Source) -> ast.ClassDef:
    found = _definition(_origin(source))
    assert isinstance(found, ast.ClassDef), f"{source} is no class"
    return found


def bases(source: Source) -> list[str]:
    """The names of all classes that this one is derived from, as far as they are written in our files."""
    names = []
    for base in _class(source).bases:
        if isinstance(base, ast.Name):
            names.append(base.id)
            above = _origin(Source(_origin(source).module, base.id))
            if isinstance(_definition(above), ast.ClassDef):
                names += bases(above)
    return names


# ---- parts and their names


def lookup_name(part: Source) -> str:
    """The name to write for a part: its own, or the alias that is the same without an underscore.

    >>> lookup_name(Source("isthmus.training.optimizers", "AdamW"))
    'adamw'
    """
    own = snake_case(part.name)
    return next((alias for alias in aliases(part) if alias == part.name.lower()), own)


@cache
def aliases(part: Source) -> tuple[str, ...]:
    """The names that papers use for a part."""
    return tuple(attribute(part, "aliases") or ())


def attribute(source: Source, name: str) -> Any:
    """The plain value of an attribute of a class, its own or of the nearest class above; None where there is none.

    >>> attribute(Source("isthmus.data", "Images"), "unit"), attribute(Source("isthmus.data", "Tables"), "unit")
    ('picture', 'row')
    """
    source = _origin(source)
    value = _assigned(_class(source).body, name)
    if value is not None:
        return ast.literal_eval(value)
    above = [_origin(Source(source.module, base.id)) for base in _class(source).bases if isinstance(base, ast.Name)]
    found = (attribute(one, name) for one in above if isinstance(_definition(one), ast.ClassDef))
    return next((value for value in found if value is not None), None)


def derived(base: Source) -> tuple[Source, ...]:
    """The parts of a class's folder that are derived from it, in the order of the stub."""
    folder = base.module.split(".")[1]
    if not (ROOT / folder / "__init__.pyi").exists():
        return ()
    return tuple(source for source in listed(folder).values() if base.name in bases(source))


# ---- signatures


def parameters(source: Source, function: str = "__init__") -> list[Parameter]:
    """The arguments of a constructor or another method, without self.

    >>> [(p.name, p.default) for p in parameters(Source("isthmus.thresholds.deviation", "Deviation"))]
    [('k', '3.0')]
    """
    source = _origin(source)
    body = _class(source).body
    node = next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == function), None)
    if node is None:
        return []
    text = ast.get_docstring(_class(source) if function == "__init__" else node) or ""
    helps = described(text)
    return [_parameter(argument, default, source.module, helps) for argument, default in _arguments(node)]


def _arguments(node: ast.FunctionDef) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    plain, named = node.args.args[1:], node.args.kwonlyargs
    missing = len(plain) - len(node.args.defaults)
    yield from zip(plain, [*[None] * missing, *node.args.defaults], strict=True)
    yield from zip(named, node.args.kw_defaults, strict=True)


def _parameter(argument: ast.arg, default: ast.expr | None, module: str, helps: dict[str, str]) -> Parameter:
    scalars, words, classes, listed_scalars = set(), [], [], set()
    for member, where, inside in _members(argument.annotation, module):
        if inside and isinstance(member, ast.Name):
            listed_scalars.add(member.id)
        elif isinstance(member, ast.Constant) and isinstance(member.value, str):
            words.append(member.value)
        elif isinstance(member, ast.Constant) and member.value is None:
            scalars.add("None")
        elif isinstance(member, ast.Name) and member.id in SCALARS:
            scalars.add(member.id)
        elif isinstance(member, ast.Name):
            classes.append(_origin(Source(where, member.id)))
    if isinstance(default, ast.Constant) and isinstance(default.value, str):
        words.append(default.value)
    ours = tuple(dict.fromkeys(one for one in classes if isinstance(_definition(one), ast.ClassDef)))
    return Parameter(
        name=argument.arg,
        default="" if default is None else ast.unparse(default),
        scalars=frozenset(scalars),
        words=tuple(dict.fromkeys(words)),
        many="str" in listed_scalars,
        lists=bool(listed_scalars),
        parts=tuple(part for one in ours for part in derived(one)),
        classes=ours,
        help=helps.get(argument.arg, ""),
    )


def _members(annotation: ast.expr | None, module: str, inside: bool = False) -> Iterator[tuple[ast.expr, str, bool]]:
    """The alternatives of an annotation, each with the module that knows its names and whether it stands in a list."""
    if isinstance(annotation, ast.BinOp):
        yield from _members(annotation.left, module, inside)
        yield from _members(annotation.right, module, inside)
    elif isinstance(annotation, ast.Subscript):
        holder = ast.unparse(annotation.value)
        if holder == "Literal":
            words = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            yield from ((word, module, inside) for word in words)
        elif holder in ("Sequence", "list", "tuple"):
            kinds = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            for kind in kinds:
                yield from _members(kind, module, True)
    elif isinstance(annotation, ast.Name):
        alias = _origin(Source(module, annotation.id))
        value = _definition(alias)
        if isinstance(value, ast.expr):
            yield from _members(value, alias.module, inside)
        else:
            yield annotation, module, inside
    elif annotation is not None:
        yield annotation, module, inside


# ---- docstrings


def summary(source: Source) -> str:
    """The first sentence of a class's docstring."""
    text = (ast.get_docstring(_class(source)) or "").partition("\n\n")[0]
    return " ".join(text.split())


def described(docstring: str) -> dict[str, str]:
    """The parameter lines of a docstring, by name.

    >>> described("Sum.\\n\\nParameters\\n----------\\na, b : numbers,\\n    any.\\n\\nRaises\\n------\\nE : never.")
    {'a': 'numbers, any.', 'b': 'numbers, any.'}
    """
    found = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n|\Z)", docstring, flags=re.DOTALL | re.MULTILINE)
    helps: dict[str, str] = {}
    names: list[str] = []
    for line in found[1].splitlines() if found else []:
        head = re.match(r"(\w+(?:, \w+)*) : (.*)", line)
        names = head[1].split(", ") if head else names
        for name in names:
            helps[name] = head[2] if head else f"{helps[name]} {line.strip()}"
    return helps


def literal(text: str) -> Any:
    """The value that Python writes so; the text itself where it is no plain value."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
