"""Everything printed in the documentation has been executed, and the reference says all there is to say.

In a Markdown file, every block fenced as python runs, in order and with one memory for the file. A block fenced as
output is what the python blocks since the last one printed: words as they stand, numbers within 15 % or two in the
last place shown, since training on another machine ends a little elsewhere. In blocks fenced as sh or console, every
command that calls isthmus runs, in the same empty folder, and must succeed; lines below it are what it prints, where
"..." stands for anything. What only illustrates is fenced as text.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import inspect
import io
import os
import re
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import waiting
from isthmus.part import find, known

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = (
    ROOT / "docs" / "reference"
)  # when the documentation is built, from docstrings, which are run where they stand
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").rglob("*.md") if not path.is_relative_to(WRITTEN))]
)
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
            ["bash", "-o", "pipefail", "-c", f"{waiting.shell_function()}; {command}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120"},
        )
        assert done.returncode == 0, f"{example.path}: $ {command}\n{done.stdout}"
        same = doctest.OutputChecker().check_output(shown, done.stdout, OPTIONS)
        assert same or not shown.strip(), f"{example.path}: $ {command}\nshows\n{shown}\nprinted\n{done.stdout}"


NUMBER = re.compile(r"-?\d+(?:\.(\d+))?(?:e[+-]?\d+)?")


def difference(shown: str, printed: str) -> str:
    """What is wrong with the first line that differs in more than white space and in numbers by little; or nothing."""
    for ours, theirs in zip_longest(*(text.strip().splitlines() for text in (shown, printed)), fillvalue=""):
        same = NUMBER.sub("#", ours).split() == NUMBER.sub("#", theirs).split()
        for number, other in zip(NUMBER.finditer(ours), NUMBER.finditer(theirs), strict=False):
            allowed = max(0.15 * abs(float(number[0])), 2.0 * 10.0 ** -len(number[1] or ""))
            same &= abs(float(number[0]) - float(other[0])) <= allowed + 1e-12
        if not same:
            return f"shows\n{ours}\nprinted\n{theirs}"
    return ""


def run_blocks(path: Path) -> None:
    """Run all that can be run in a document; the first thing that is not as it says is an error."""
    printed = io.StringIO()

    def compare(example: Example) -> None:
        said = difference(str(example.parsed), printed.getvalue())
        assert not said, f"{path.name}:{example.line}: {said}"
        printed.truncate(printed.seek(0))

    for example in Sybil(parsers=[*PARSERS, CodeBlockParser("output", compare)], path=str(path.parent)).parse(path):
        with contextlib.redirect_stdout(printed):
            example.evaluate()


PARSERS = [PythonCodeBlockParser(doctest_optionflags=OPTIONS)]
PARSERS += [CodeBlockParser(language, run_commands) for language in ("sh", "console")]


# these train on real tables
SLOW_PAGES = (
    "advise classify cluster colorize compress custom denoise detect evaluate features generate impute inpaint "
    "likelihoods many one_row pictures reduce report retrieve sequences thresholds training transformer unmark"
)
SLOW = {"README.md", *(f"docs/{page}.md" for page in SLOW_PAGES.split())}


def documents() -> Iterator[Any]:
    for path in DOCUMENTS:
        name = path.relative_to(ROOT).as_posix()
        slow = name in SLOW or name.startswith("docs/shown/")
        yield pytest.param(path, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("path", list(documents()))
def test_everything_printed_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_blocks(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_page_stands_in_the_index() -> None:
    folder = ROOT / "docs"
    listed = re.findall(r"^[\w/]+$", (folder / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    pages = {path.relative_to(folder).with_suffix("").as_posix() for path in DOCUMENTS if path.is_relative_to(folder)}
    assert sorted(listed) == sorted(pages - {"index"})


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in DOCUMENTS if path.parent.name == "shown"]
)
def test_a_claim_is_explained_measured_drawn_and_doubted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for needed in (
        r"^\*\*Claims?\.\*\*",
        r"^\*\*Why\.\*\*",
        r"^## Where it fails, and what wins$",
        r"^    assert|^assert",
    ):
        assert re.search(needed, text, flags=re.MULTILINE), f"{path.name} has no {needed}"
    shown = re.findall(r"```output\n(.*?)```", text, flags=re.DOTALL)
    assert shown and all(NUMBER.search(block) for block in shown), f"{path.name}: run python docs/shown/draw.py"
    drawn, saved = (re.findall(rf"{word}(\w+\.png)", text) for word in (r"pictures/shown/", r"savefig\(\""))
    assert drawn == saved != []


@pytest.mark.slow
def test_a_wrong_block_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "wrong.md"
    for block in (
        "```python\n>>> 1 + 1\n3\n```",
        "```python\nassert False\n```",
        "```sh\n$ rm -r everything\n```",
        "```console\n$ isthmus no-such-command\n```",
        "```console\n$ echo one && isthmus --help | head -0\ntwo\n```",
        "```python\nprint('error', 1.2)\n```\n\n```output\nerror 1.00\n```",
        "```python\nprint('loss', 1.0)\n```\n\n```output\nerror 1.0\n```",
        "```python\nprint(1)\nprint(2)\n```\n\n```output\n1\n```",
        "```python\nprint(1)\n```\n\n```output\n1\n```\n\n```output\n1\n```",
    ):
        document.write_text(f"# Title\n\n{block}\n")
        with pytest.raises(Exception):  # noqa: B017  an AssertionError or Sybil's own failure
            test_everything_printed_runs(document, tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_right_block_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "right.md"
    document.write_text(
        "```python\nx = 1\n```\n\n```python\n>>> x + 1\n2\n```\n\n"
        "```console\n$ isthmus --help > help.txt && \\\n  wc -l help.txt\n... help.txt\n```\n\n"
        "```python\nprint('error  1.08')\n```\n\n```python\nprint(-2e-3)\n```\n\n```output\nerror 1.00\n-0.00\n```\n"
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
    headings = set(re.findall(r"^#+ (\w+)$", text, flags=re.MULTILINE))
    for name, thing in public_things(reference):
        assert name in headings
        assert inspect.getdoc(thing).splitlines()[0] in text


def parts(kind: str) -> list[Any]:
    return [find(kind, name) for name in sorted(known(kind))]


def page_names() -> list[Any]:
    return [
        pytest.param(kind, part.name(), id=f"{kind}/{part.name()}")
        for kind in ("variants", "networks", "likelihoods", "damage")
        for part in parts(kind)
    ]


@pytest.mark.parametrize(("kind", "name"), page_names())
def test_every_part_has_its_page_in_the_index(reference: ModuleType, kind: str, name: str) -> None:
    pages = reference.pages()
    assert f"{kind}/{name}" in pages[kind].split("toctree")[1].split()
    assert pages[f"{kind}/{name}"].startswith(f"# {find(kind, name).__name__}\n")
    assert "reference/*" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


STATIONS = {
    "variants": ("corrupt", "bottleneck", "penalty", "merge"),
    "networks": ("encoder", "decoder"),
    "likelihoods": ("likelihood",),
}
BOXES = "corrupt → encoder → bottleneck → decoder → likelihood"
WITH_PICTURE = [pytest.param(part, id=part.name()) for kind in STATIONS for part in parts(kind)]


@pytest.mark.parametrize("part", WITH_PICTURE)
def test_the_boxes_in_capitals_are_those_that_it_changes(reference: ModuleType, part: Any) -> None:
    """One box for a variant, unless it changes two stations; both ends of a network; the last of a likelihood."""
    lines = [line for line in part.__doc__.splitlines() if line.strip().lower().startswith(BOXES)]
    assert len(lines) == 1, f"{part.__name__} shows {len(lines)} pictures"
    changed = {word for word in STATIONS[part.kind] if part.kind != "variants" or part.changes(word)}
    assert {word.lower() for word in re.findall(r"\b[A-Z]{5,}\b", lines[0])} == changed
    drawn = reference.pages()[f"{part.kind}/{part.name()}"]
    assert drawn.count("╔") == len([word for word in changed if word in BOXES])


@pytest.mark.parametrize("part", [pytest.param(part, id=part.name()) for part in parts("variants")])
def test_a_variant_says_from_where_it_is_and_when_to_use_it(part: Any) -> None:
    said = " ".join(part.__doc__.partition("Parameters\n")[0].split())
    assert re.search(r"\b(19|20)\d\d\b", said), f"{part.__name__} names no paper with its year"
    when = re.search(r"\bUse (it|them|this)\b.*", said)
    assert when, f"{part.__name__} has no sentence that begins with 'Use it'"
    assert re.search(r"\b[Nn]ot\b", when[0]), f"{part.__name__} has no sentence like 'Not for ...' after 'Use it ...'"


def test_the_committed_table_of_variants_lists_them_all(reference: ModuleType) -> None:
    """A new one is missing until `python docs/variants.py` has been run, which goes with `python docs/pairs.py`."""
    table, pairs = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("variants.md", "pairs.md"))
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ") and "| variant" not in line]
    own = [re.findall(r"`(\w+)", row[0])[-1] for row in rows if "`" in row[0]]
    assert len(set(own)) == len(own) >= 13
    assert set(own) <= set(known("variants"))
    assert set(re.findall(r"^\| \*\*(\w+)", pairs, flags=re.MULTILINE)) <= set(own)
    assert [row[0].strip() for row in rows if "`" not in row[0]] == ["PCA", "plain"]
    assert all(len(row) == 8 and re.match(r" \d", row[-1]) for row in rows)
    assert re.findall(r"^- \*\*(\w+)\*\*: \w", table.partition("## What to read")[2], flags=re.MULTILINE) == [
        "PCA",
        "plain",
        *own,
    ]
    assert all("What it measured" in reference.pages()[f"variants/{name}"] for name in own)


@pytest.mark.parametrize("part", [pytest.param(part, id=part.name()) for kind in STATIONS for part in parts(kind)])
def test_every_part_has_an_example(part: Any) -> None:
    """That it runs is tested where it stands."""
    examples = doctest.DocTestParser().get_examples(part.__doc__)
    assert any(part.__name__ in example.source for example in examples) and any(example.want for example in examples)


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
