"""The reference pages, written from stubs, signatures and docstrings whenever the documentation is built.

Nothing is listed here: a new part has its page as soon as its stub names it. The page of a part shows which box of the
picture it changes, and what was measured: its rows of docs/variants.md, and the benchmark that has its name.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import isthmus

HERE = Path(__file__).resolve().parent


def write(folder: Path) -> None:
    """Write all pages, and none that was left from before."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages().items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Name and Markdown text of every page: the package, each folder that lists public names, and each part."""
    found = {"isthmus": page("isthmus", isthmus)}
    for module in pkgutil.iter_modules(isthmus.__path__):
        package = importlib.import_module(f"isthmus.{module.name}") if module.ispkg else None
        if package is None or not getattr(package, "__all__", ()):
            continue
        things = list(public(package))
        if all(is_part(thing) for _, thing in things):
            found[module.name] = contents(module.name, package)
            found |= {f"{module.name}/{thing.name()}": part_page(name, thing) for name, thing in things}
        else:
            found[module.name] = page(module.name, package)
    return found


def page(title: str, package: ModuleType) -> str:
    """One package: what it is for, then its public names."""
    entries = [entry(name, thing) for name, thing in public(package)]
    return "\n\n".join([f"# {title}", about(package), *entries]) + "\n"


def about(package: ModuleType) -> str:
    """What a folder is for: the docstring of its base, or its own."""
    base = package.__name__ + ".base"
    text = importlib.import_module(base).__doc__ if importlib.util.find_spec(base) else package.__doc__
    return markdown(text or "")


def is_part(thing: Any) -> bool:
    return inspect.isclass(thing) and hasattr(thing, "aliases")


# ---- folders of parts: a page for each


def contents(title: str, package: ModuleType) -> str:
    """A folder of nothing but parts: what they are for, and each with its first sentence."""
    things = list(public(package))
    lines = ["| part | what it is for |", "|---|---|"]
    for name, thing in things:
        first = (inspect.getdoc(thing) or "").partition("\n")[0].replace("|", "\\|")
        lines.append(f"| [{name}]({title}/{thing.name()}.md) | {first} |")
    tree = ["```{toctree}", ":hidden:", "", *(f"{title}/{thing.name()}" for _, thing in things), "```"]
    return "\n\n".join([f"# {title}", about(package), "\n".join(lines), "\n".join(tree)]) + "\n"


def part_page(name: str, thing: Any) -> str:
    """One part: its docstring with the picture drawn, and what was measured."""
    text = re.sub(r"^    (corrupt → .*)$", lambda line: picture(line[1]), entry(name, thing, 1), flags=re.M | re.I)
    return "\n\n".join(piece for piece in (text, table_rows(thing.name()), benchmark(thing.name())) if piece) + "\n"


def picture(line: str) -> str:
    """The five boxes, drawn; what is in capitals has a double frame.

    >>> print(picture("corrupt → ENCODER"))
    ```text
    ┌─────────┐   ╔═════════╗
    │ corrupt ├──►║ ENCODER ║
    └─────────┘   ╚═════════╝
    ```
    """
    *boxes, last = line.split(" → ")
    last, _, rest = last.partition(" ")
    rows = ["", "", ""]
    for word in (*boxes, last):
        corners, (across, down) = ("╔╗╚╝", "═║") if word.isupper() else ("┌┐└┘", "─│")
        out = ("╟" if word.isupper() else "├") if word != last else down
        arrow = "──►" if word != last else ""
        rows[0] += corners[0] + across * (len(word) + 2) + corners[1] + " " * len(arrow)
        rows[1] += f"{down} {word} {out}{arrow}"
        rows[2] += corners[2] + across * (len(word) + 2) + corners[3] + " " * len(arrow)
    drawn = [row.rstrip() for row in rows] + ([rest.strip().rjust(len(rows[0]))] if rest.strip() else [])
    return "\n".join(["```text", *drawn, "```"])


def table_rows(name: str) -> str:
    """The rows of docs/variants.md that name this part, below those of the plain autoencoder and of its rivals."""
    path = HERE / "variants.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    table = [line for line in lines if line.startswith("|")]
    own = [line for line in table if re.search(rf"`{name}\b", line.split("|")[1])]
    rivals = [line for line in table[2:] if "`" not in line.split("|")[1]]
    said = "Digits of 8 x 8 pixels; [all variants, and what the columns mean](../../variants.md).\n"
    return "\n".join(["## What it measured\n", said, *table[:2], *rivals, *own]) if own else ""


def benchmark(name: str) -> str:
    """The benchmark of this name, as it stands beside its script."""
    path = HERE.parent / "benchmarks" / f"{name}.md"
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^#+ ", lambda mark: "#" + mark[0], text, flags=re.MULTILINE).strip()


# ---- one public name


def public(package: ModuleType) -> Iterator[tuple[str, Any]]:
    """The names that the stub gives, without sub-packages and plain values."""
    for name in sorted(package.__all__):
        thing = getattr(package, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing


def entry(name: str, thing: Any, level: int = 2) -> str:
    """Name, signature and docstring; of an estimator also its methods."""
    lines = ["#" * level + f" {name}", f"```python\n{name}{signature(thing)}\n```"]
    if inspect.isclass(thing) and hasattr(thing, "aliases"):
        lines.append(f"By name: {', '.join(f'`{word}`' for word in (thing.name(), *thing.aliases))}")
    lines.append(markdown(inspect.getdoc(thing) or ""))
    if inspect.isclass(thing) and not hasattr(thing, "kind"):  # parts answer to their base, which says it once
        lines += [entry(word, method, level + 1) for word, method in methods(thing)]
    return "\n\n".join(lines)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods of ours, inherited ones too, that say what they do."""
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if name[0] != "_" and method.__module__.startswith("isthmus") and method.__doc__:
            yield name, method


def signature(thing: Any) -> str:
    """The arguments with their defaults; types stand in the text where they matter."""
    parameters = inspect.signature(thing).parameters.values()
    shown = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    text = str(inspect.Signature([parameter for parameter in shown if parameter.name != "self"]))
    return re.sub(r"<(?:class|function) '?(?:\w+\.)*(\w+)[^>]*>", r"\1", text)


def markdown(text: str) -> str:
    """A docstring as Markdown: underlined words head lists, examples become code blocks, pictures stay as they are."""
    lines = inspect.cleandoc(text).splitlines()
    written: list[str] = []
    section = code = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.strip():
            written += ["```"] if code else []
            code = section = False
        if line.startswith(">>> ") and not code:
            written.append("```python")
            code, section = True, False
        if re.fullmatch(r"-{3,}", line):
            continue
        if re.fullmatch(r"-{3,}", following):
            written += [f"**{line}**", ""]
            section = True
        elif section and (item := re.match(r"(\w[\w, ]*?) : (.*)", line)):
            written.append(f"- **{item[1]}**: {item[2]}")
        else:
            written.append(f"  {line}" if section and line else line)
    return "\n".join([*written, "```"] if code else written)
