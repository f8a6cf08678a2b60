"""The reference pages, written from stubs, signatures and docstrings whenever the documentation is built.

Nothing is listed here: a new part has its place in the reference as soon as its stub names it.
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


def write(folder: Path) -> None:
    """Write all pages, and none that was left from before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in pages().items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Name and Markdown text of every page: one for the package, one for each folder that lists public names."""
    found = {"isthmus": page("isthmus", isthmus)}
    for module in pkgutil.iter_modules(isthmus.__path__):
        if module.ispkg:
            package = importlib.import_module(f"isthmus.{module.name}")
            if getattr(package, "__all__", ()):
                found[module.name] = page(module.name, package)
    return found


def page(title: str, package: ModuleType) -> str:
    """One package: what it is for, then its public names."""
    base = package.__name__ + ".base"
    about = importlib.import_module(base).__doc__ if importlib.util.find_spec(base) else package.__doc__
    entries = [entry(name, thing) for name, thing in public(package)]
    return "\n\n".join([f"# {title}", markdown(about or ""), *entries]) + "\n"


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
    return str(inspect.Signature([parameter for parameter in shown if parameter.name != "self"]))


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
