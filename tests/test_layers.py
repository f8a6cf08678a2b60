"""Imports go down only, and the stubs say what the folders hold; both are read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import isthmus
from isthmus.part import snake_case

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "isthmus"
FILES = sorted(PACKAGE.rglob("*.py"))


def layers() -> list[list[str]]:
    """The table of ARCHITECTURE.md from the bottom up: names before the first gap, what they are for behind it."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("```layers\n")[2].partition("```")[0]
    return [line.split("  ")[0].split(", ") for line in reversed(table.splitlines())]


# A file imports from lower lines only; within a line nobody knows his neighbour.
LAYERS = layers()
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
# Folders that are one thing in several files. In the others each file is a part, and knows only base.py and _*.py.
ONE_THING = ("training", "evaluation", "interfaces", "checks", "report", "light", "compression")
# Folders in which one file is one part, and the stub is the list of them.
PART_FOLDERS = (
    "damage",
    "likelihoods",
    "networks",
    "variants",
    "priors",
    "thresholds",
    "data",
    "densities",
    "scores",
    "tasks",
)

FRAMES = ("sklearn", "polars", "pandas", "narwhals", "pyarrow")


# ---- reading the source


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    """src/isthmus/damage/base.py is isthmus.damage.base; a package is its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(path: Path) -> str:
    """The file or folder of the package that a file is or lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = {dotted(path): path for path in FILES}


@cache
def stub(package: str) -> dict[str, str]:
    """Public name to the module it comes from, as the stub of a package says."""
    path = PACKAGE.joinpath(*package.split(".")[1:], "__init__.pyi")
    if not path.exists():
        return {}
    lines = [line for line in tree(path).body if isinstance(line, ast.ImportFrom)]
    return {name.asname or name.name: f"{package}.{line.module or name.name}" for line in lines for name in line.names}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of a file."""
    here = dotted(path)
    return imports_in(tree(path), here if path.name == "__init__.py" else here.rpartition(".")[0])


def imports_in(code: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Line and module of every import, wherever it stands: also in functions and under TYPE_CHECKING."""
    inside = package.split(".")
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            # the bare package leads to all public names, which is more than a file below them may know
            yield from ((node.lineno, "isthmus.*" if name.name == "isthmus" else name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, source(module, name.name)) for name in node.names)


def source(module: str, name: str) -> str:
    """Where `from module import name` really takes the name from, when the module is one of our packages."""
    while module.split(".")[0] == "isthmus":
        if f"{module}.{name}" in MODULES:
            return f"{module}.{name}"
        if name not in stub(module):
            break
        module = stub(module)[name]
    return module


def fault(importer: str, imported: str) -> str | None:
    """What is wrong with this import of ours; None where nothing is."""
    if imported == "isthmus":
        return None  # its version; a name that leads further was followed to its file
    mine, theirs = importer.split(".")[1:], imported.split(".")[1:]
    if mine[0] == theirs[0]:
        shared = theirs[-1] == "base" or theirs[-1].startswith("_")
        return None if shared or mine[0] in ONE_THING else "sideways"
    if imported == "isthmus.*":
        return None if HEIGHT[mine[0]] >= HEIGHT["loading"] else "to all public names at once"
    if theirs[0] not in HEIGHT:
        return "to what stands in no layer"
    return None if HEIGHT[theirs[0]] < HEIGHT[mine[0]] else "up or sideways"


# ---- layers


def test_the_table_is_understood() -> None:
    assert LAYERS[0] == ["errors", "words"] and LAYERS[-1] == ["interfaces"]
    assert {"likelihoods", "networks", "priors", "thresholds"} in map(set, LAYERS)
    assert len(HEIGHT) == sum(map(len, LAYERS)) > 20


def test_every_file_stands_in_a_layer() -> None:
    names = {layer(path) for path in FILES} - {"__init__"}
    assert names <= HEIGHT.keys(), f"{names - HEIGHT.keys()}: give each its place in the table of ARCHITECTURE.md"


def test_imports_go_down_only() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}, which goes {wrong}"
        for path in FILES
        if layer(path) in HEIGHT
        for line, imported in imports(path)
        if imported.split(".")[0] == "isthmus" and (wrong := fault(dotted(path), imported))
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("importer", "imported", "wrong"),
    [
        ("isthmus.variants.top_k", "isthmus.damage.swap", False),
        ("isthmus.variants.top_k", "isthmus.variants.base", False),
        ("isthmus.data.tables", "isthmus.data._encoding", False),
        ("isthmus.training.loop", "isthmus.training.fast", False),
        ("isthmus.variants.top_k", "isthmus.variants.masked", True),
        ("isthmus.likelihoods.normal", "isthmus.priors.base", True),
        ("isthmus.header", "isthmus.damage.base", True),
        ("isthmus.training.loop", "isthmus.data.base", True),
        ("isthmus.part", "isthmus.autoencoder", True),
        ("isthmus.part", "isthmus.somewhere", True),
        ("isthmus.doctor", "isthmus.*", True),
        ("isthmus.loading", "isthmus.*", False),
    ],
)
def test_the_layer_rule_sees_what_it_should(importer: str, imported: str, wrong: bool) -> None:
    assert bool(fault(importer, imported)) is wrong


def test_imports_are_found_wherever_they_hide() -> None:
    code = """
if TYPE_CHECKING:
    from ..data import base
def f():
    import isthmus.doctor, isthmus
    from . import base, TopK
    from isthmus import AnomalyDetector, spec, __version__
"""
    found = {module for _, module in imports_in(ast.parse(code), "isthmus.variants")}
    assert {module for module in found if not module.startswith("isthmus.tasks")} == {
        *("isthmus.data.base", "isthmus.doctor", "isthmus.variants.base", "isthmus.variants.top_k"),
        *("isthmus.spec", "isthmus", "isthmus.*"),
    }
    assert any(module.startswith("isthmus.tasks") for module in found)


def test_the_lower_half_is_plain_torch() -> None:
    """Up to training nothing knows a data frame or scikit-learn, so that it is useful alone."""
    low = [path for path in FILES if HEIGHT.get(layer(path), len(LAYERS)) <= HEIGHT["training"]]
    assert {"part", "variants", "module", "training"} <= {layer(path) for path in low}
    found = [f"{dotted(p)}:{line} {name}" for p in low for line, name in imports(p) if name.split(".")[0] in FRAMES]
    assert not found


def test_importing_isthmus_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "scipy", "sklearn", "polars", "pandas", "pydantic", "click", "rich")
    code = f"import isthmus, sys; print(sorted(set({heavy!r}) & set(sys.modules)), isthmus.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == ["[]", isthmus.__version__]


# ---- stubs


@pytest.mark.parametrize("folder", PART_FOLDERS)
def test_the_stub_lists_the_folder(folder: str) -> None:
    files = {path.stem for path in (PACKAGE / folder).glob("*.py") if path.stem != "base" and path.stem[0] != "_"}
    classes = {stem: public_classes(PACKAGE / folder / f"{stem}.py") for stem in files}
    assert all(len(names) == 1 for names in classes.values()), f"one file, one public class: {classes}"
    if folder != "tasks":  # those files are named after verbs
        assert {stem: snake_case(names[0]) for stem, names in classes.items()} == {stem: stem for stem in files}
    listed = {module.split(".")[-1]: name for name, module in stub(f"isthmus.{folder}").items()}
    assert listed == {stem: names[0] for stem, names in classes.items()}


def test_stub_lines_give_what_is_there() -> None:
    for path in PACKAGE.rglob("__init__.pyi"):
        package = dotted(path)
        for name, module in stub(package).items():
            file = MODULES.get(source(package, name))
            assert file is not None, f"{path}: {name} comes from {module}, which is no file"
            assert file.name == "__init__.py" or name in defined(file), f"{path}: {file.name} has no {name}"


def test_every_task_has_its_line_in_the_package_stub() -> None:
    assert stub("isthmus.tasks").keys() <= stub("isthmus").keys()


def test_every_public_name_can_be_loaded() -> None:
    assert set(isthmus.__all__) == set(stub("isthmus"))
    for name in isthmus.__all__:
        assert getattr(isthmus, name) is not None


def public_classes(path: Path) -> list[str]:
    return [node.name for node in tree(path).body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]


def defined(path: Path) -> set[str]:
    nodes = [node for node in tree(path).body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    targets = [node.targets for node in tree(path).body if isinstance(node, ast.Assign)]
    return {node.name for node in nodes} | {t.id for some in targets for t in some if isinstance(t, ast.Name)}
