"""Everything printed in the documentation has been executed, and the reference says all there is to say.

In a Markdown file, every block fenced as python runs, in order and with one memory for the file. In blocks fenced as
sh or console, every command that calls isthmus runs, in the same empty folder, and must succeed; lines below it are
what it prints, where "..." stands for anything. What only illustrates is fenced as text.
"""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Commands that set a machine up are tried by hand and in test_dev.py, not here.
SET_UP = r"git clone|cd |make |python3 dev\.py (demo|test|check|docs|bench)|(pip|python3 -m pip) install"


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Every `$ command` with what is printed below it; a backslash carries a command over the line's end."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        found = re.match(r"((?:.*\\\n)*.*)\n?", part)
        assert found is not None
        yield found[1].replace("\\\n", " "), part[found.end() :]


def calls_isthmus(command: str) -> bool:
    return re.search(r"(^|[|&;(]\s*)isthmus\b", command) is not None


def run_commands(example: Example) -> None:
    """Run a block in the current folder; a sentence where it fails or prints something else."""
    for command, shown in commands(str(example.parsed)):
        if not calls_isthmus(command):
            assert re.match(SET_UP, command), f"{example.path}: nobody tries the command {command!r}"
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'isthmus() {{ {ISTHMUS} "$@"; }}; {command}'],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120"},
        )
        assert done.returncode == 0, f"{example.path}: $ {command}\n{done.stdout}"
        same = doctest.OutputChecker().check_output(shown, done.stdout, OPTIONS)
        assert same or not shown.strip(), f"{example.path}: $ {command}\nshows\n{shown}\nprinted\n{done.stdout}"


ISTHMUS = f"{shlex.quote(sys.executable)} -c 'from isthmus.interfaces.cli import main; main()'"
PARSERS = [PythonCodeBlockParser(doctest_optionflags=OPTIONS)]
PARSERS += [CodeBlockParser(language, run_commands) for language in ("sh", "console")]


# these train on real tables
SLOW = {"README.md", "docs/denoise.md", "docs/detect.md", "docs/likelihoods.md", "docs/pictures.md", "docs/report.md"}


def documents() -> Iterator[Any]:
    for path in DOCUMENTS:
        name = path.relative_to(ROOT).as_posix()
        yield pytest.param(path, id=name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("path", list(documents()))
def test_everything_printed_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in Sybil(parsers=PARSERS, path=str(path.parent)).parse(path).examples():
        example.evaluate()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"


def test_a_wrong_block_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "wrong.md"
    for block in (
        "```python\n>>> 1 + 1\n3\n```",
        "```python\nassert False\n```",
        "```sh\n$ rm -r everything\n```",
        "```console\n$ isthmus no-such-command\n```",
        "```console\n$ echo one && isthmus --help | head -0\ntwo\n```",
    ):
        document.write_text(f"# Title\n\n{block}\n")
        with pytest.raises(Exception):  # noqa: B017  an AssertionError or Sybil's own failure
            test_everything_printed_runs(document, tmp_path, monkeypatch)


def test_a_right_block_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "right.md"
    document.write_text(
        "```python\nx = 1\n```\n\n```python\n>>> x + 1\n2\n```\n\n"
        "```console\n$ isthmus --help > help.txt && \\\n  wc -l help.txt\n... help.txt\n```\n"
    )
    test_everything_printed_runs(document, tmp_path, monkeypatch)


# ---- the reference


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_things(reference: ModuleType) -> list[tuple[str, Any]]:
    import isthmus

    folders = [getattr(isthmus, name) for name in isthmus.__all__ if inspect.ismodule(getattr(isthmus, name))]
    return [found for package in (isthmus, *folders) for found in reference.public(package)]


def test_the_reference_holds_every_public_name(reference: ModuleType) -> None:
    text = "\n".join(reference.pages().values())
    for name, thing in public_things(reference):
        assert f"## {name}\n" in text
        assert inspect.getdoc(thing).splitlines()[0] in text


def test_every_argument_is_described(reference: ModuleType) -> None:
    """The command line and the pages take their texts from here, so that no argument may lack one."""
    missing = []
    for name, thing in public_things(reference):
        if not hasattr(thing, "get_params") or thing.__init__ is object.__init__:
            continue  # no settings
        said = re.findall(r"^- \*\*([\w, ]+)\*\*: ", reference.markdown(inspect.getdoc(thing)), flags=re.MULTILINE)
        described = {word.strip() for words in said for word in words.split(",")}
        missing += [f"{name}.{word}" for word in inspect.signature(thing).parameters if word not in described]
    assert not missing


def test_a_docstring_becomes_markdown(reference: ModuleType) -> None:
    text = "Does it.\n\n    a → B\n\nParameters\n----------\nk : how many,\n    at least 1.\n\n>>> 1\n1\n\nMore."
    assert reference.markdown(text) == (
        "Does it.\n\n    a → B\n\n**Parameters**\n\n- **k**: how many,\n      at least 1.\n\n"
        "```python\n>>> 1\n1\n```\n\nMore."
    )
