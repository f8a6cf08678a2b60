"""The rules of the house, read from the source: sizes, what must never be called, and who may print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "isthmus"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_ARGUMENTS = 320, 45, 14
# What is larger, each with the reason why it reads better in one piece: "file.py" or "file.py:Class.function".
LARGER: dict[str, str] = {}

UNSAFE_MODULES = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "imp")
UNSAFE_CALLS = (
    *("eval", "exec", "compile", "__import__", "torch.load", "pandas.read_pickle"),
    *("importlib.import_module", "importlib.util.spec_from_file_location"),
)
# Calls that would be unsafe on a word from outside, and why they are not.
SAFE = {("part.py", "importlib.import_module"): "the name is one of our own folders"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# ---- sizes


def sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, lines without the docstring, and arguments without self, of every function; the file itself first."""
    here = path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()
    yield here, len(path.read_text(encoding="utf-8").splitlines()), 0
    for owner in ast.walk(tree(path)):
        for node in getattr(owner, "body", []) if isinstance(owner, (ast.Module, ast.ClassDef)) else []:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            first = node.body[0] if ast.get_docstring(node) is not None else None
            said = (first.end_lineno or 0) - first.lineno + 1 if first else 0
            name = f"{owner.name}.{node.name}" if isinstance(owner, ast.ClassDef) else node.name
            arguments = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) - 1
            yield f"{here}:{name}", (node.end_lineno or 0) - node.lineno + 1 - said, arguments


def test_files_functions_and_constructors_stay_small() -> None:
    too_large = set()
    for path in [*FILES, ROOT / "dev.py"]:
        for name, lines, arguments in sizes(path):
            most = MOST_FUNCTION_LINES if ":" in name else MOST_FILE_LINES
            if lines > most or (name.endswith(".__init__") and arguments > MOST_ARGUMENTS):
                too_large.add(name)
    assert too_large == set(LARGER), (
        f"too large: {too_large - set(LARGER)}; excused for nothing: {set(LARGER) - too_large}"
    )


# ---- safety


def imported(code: ast.Module) -> Iterator[tuple[str, str]]:
    """What a name in this file stands for: `from x import y as z` gives (z, x.y)."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from ((name.asname or name.name, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((name.asname or name.name, f"{node.module}.{name.name}") for name in node.names)


def used(code: ast.Module) -> set[str]:
    """The full names of everything that is used by name."""
    known = dict(imported(code))
    words = [ast.unparse(node) for node in ast.walk(code) if isinstance(node, (ast.Name, ast.Attribute))]
    parts = [word.partition(".") for word in words]
    return {known.get(first, first) + dot + rest for first, dot, rest in parts}


def unsafe(code: ast.Module) -> set[str]:
    modules = {name for _, name in imported(code) if name.split(".")[0] in UNSAFE_MODULES}
    return modules | (used(code) & set(UNSAFE_CALLS))


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    """No pickle, no eval, no import of a name that came from a file."""
    found = {(path.relative_to(PACKAGE).as_posix(), name) for path in FILES for name in unsafe(tree(path))}
    assert found == set(SAFE)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle as harmless", {"pickle"}),
        ("from joblib import dump", {"joblib.dump"}),
        ("from torch import load as read\nread(path)", {"torch.load"}),
        ("import torch\ndef f(p):\n    return torch.load(p)", {"torch.load"}),
        ("from importlib import import_module\nimport_module(name)", {"importlib.import_module"}),
        ("value = eval(text)", {"eval"}),
        ("module.eval()\nre.compile(text)\nimportlib.metadata.version('isthmus')", set()),
    ],
)
def test_the_safety_rule_sees_what_it_should(code: str, found: set[str]) -> None:
    assert unsafe(ast.parse(code)) == found


def test_only_interfaces_print_or_read_arguments() -> None:
    speaking = {"print", "sys.stdout", "sys.argv"}
    found = set()
    for path in FILES:
        here = path.relative_to(PACKAGE).as_posix()
        if not here.startswith("interfaces/"):
            readers = {name for _, name in imported(tree(path)) if name.split(".")[0] in ("argparse", "click")}
            found |= {(here, name) for name in readers | (used(tree(path)) & speaking)}
    assert not found


# ---- tests


def test_every_test_file_collects_something() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name in ("conftest.py", "waiting.py"):
            continue
        assert path.name.startswith("test_"), f"{path.name} would never be collected; name it test_*.py"
        tests = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
        assert any(name.startswith("test_") for name in tests), f"{path.name} holds no test"
