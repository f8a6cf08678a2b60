"""What the command line reads from the source must be what Python itself says about the classes."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import isthmus
from isthmus.errors import SettingError
from isthmus.interfaces import signatures, values
from isthmus.interfaces.fit import OWN_WAY, offered, sections
from isthmus.interfaces.signatures import Parameter, Source
from isthmus.part import find, known, resolve

FOLDERS = (
    "damage",
    "likelihoods",
    "networks",
    "variants",
    "priors",
    "thresholds",
    "training",
    "data",
    "densities",
    "scores",
    "tasks",
)
CLASSES = [
    (folder, name, source)
    for folder in FOLDERS
    for name, source in signatures.listed(folder).items()
    if isinstance(getattr(getattr(isthmus, folder), name), type)
]


@pytest.mark.parametrize(("folder", "name", "source"), CLASSES, ids=[name for _, name, _ in CLASSES])
def test_names_and_defaults_are_those_of_the_constructor(folder: str, name: str, source: Source) -> None:
    cls = getattr(getattr(isthmus, folder), name)
    if "__init__" not in vars(cls) or dataclasses.is_dataclass(cls):
        return
    truth = list(inspect.signature(cls).parameters.values())
    read = signatures.parameters(source)
    assert [one.name for one in read] == [one.name for one in truth]
    for mine, true in zip(read, truth, strict=True):
        if true.default is inspect.Parameter.empty:
            assert mine.default == ""
        else:
            assert signatures.literal(mine.default) == true.default


def test_every_option_of_fit_has_a_line_of_help() -> None:
    for task in (None, *signatures.tasks()):
        for section in sections(task):
            for option in section.options:
                assert option.help and not option.help.startswith("  ["), option.name


def test_the_options_of_fit_are_all_arguments_that_can_be_written() -> None:
    from isthmus import Autoencoder, Training

    for cls in (Autoencoder, Training):
        names = set(inspect.signature(cls).parameters) - set(OWN_WAY) - {"callbacks"}
        assert {one.name for one in offered(signatures.public(cls.__name__))} == names


@pytest.mark.parametrize("folder", ["variants", "networks", "likelihoods", "damage", "thresholds"])
def test_lookup_names_and_aliases_are_found_by_the_library(folder: str) -> None:
    for name, source in signatures.listed(folder).items():
        assert find(folder, signatures.lookup_name(source)).__name__ == name
        assert signatures.aliases(source) == getattr(getattr(isthmus, folder), name).aliases
    assert len(signatures.listed(folder)) == len(known(folder))


def test_an_annotation_tells_which_parts_are_possible() -> None:
    by_name = {one.name: one for one in signatures.parameters(signatures.public("Training"))}
    names = {signatures.lookup_name(part) for part in by_name["optimizer"].parts}
    assert names == {"adam", "adamw", "sgd", "rmsprop"}
    assert {signatures.lookup_name(part) for part in by_name["schedule"].parts}.isdisjoint(names)
    assert by_name["checkpoint"].parts == ()
    variant = signatures.parameters(signatures.public("Autoencoder"))[1]
    assert variant.name == "variant" and variant.many
    assert {part.name for part in variant.parts} == set(signatures.listed("variants"))


def test_a_part_that_needs_objects_of_python_is_not_offered() -> None:
    network = next(one for one in signatures.parameters(signatures.public("Autoencoder")) if one.name == "network")
    assert "dense" in values.names(network) and "custom" not in values.names(network)


def test_bases_reach_into_other_files() -> None:
    assert {"OutlierMixin", "Task"} <= set(signatures.bases(signatures.tasks()["detect"]))
    assert "Optimizer" in signatures.bases(signatures.listed("training")["AdamW"])


NUMBER = Parameter("share", "0.1", frozenset({"float"}))
WHOLE = Parameter("k", "none", frozenset({"int", "None"}))
EITHER = Parameter("size", "'auto'", frozenset({"int", "str"}), ("auto",))
TRUTH = Parameter("tied", "False", frozenset({"bool"}))
LIST = Parameter("widths", "'auto'", frozenset({"str"}), ("auto",), lists=True)


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (NUMBER, "0.5", 0.5),
        (NUMBER, "3e-4", 3e-4),
        (NUMBER, "2", 2),
        (NUMBER, "-1", -1),
        (NUMBER, 0.25, 0.25),
        (WHOLE, "7", 7),
        (WHOLE, "None", None),
        (WHOLE, "none", None),
        (EITHER, "auto", "auto"),
        (EITHER, "12", 12),
        (TRUTH, "yes", True),
        (TRUTH, "False", False),
        (TRUTH, True, True),
        (LIST, "(64, 32)", (64, 32)),
        (LIST, [64, 32], (64, 32)),
    ],
)
def test_a_text_becomes_the_value_it_spells(parameter: Parameter, text: object, value: object) -> None:
    read = values.read(parameter, text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        *[
            (NUMBER, text)
            for text in ("", "x", "nan", "inf", "1e999", "none", "True", "1,5", "__import__('os')", "(1,)")
        ],
        *[(WHOLE, text) for text in ("1.5", "x", "'7'", "auto")],
        *[(EITHER, text) for text in ("Auto", "1.5", "")],
        *[(TRUTH, text) for text in ("2", "maybe")],
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(parameter: Parameter, text: str) -> None:
    with pytest.raises(SettingError, match=r"^--it is .*; it must be .*\.$"):
        values.read(parameter, text, "--it")


VARIANT = signatures.parameters(signatures.public("Autoencoder"))[1]
RIGHT = (
    *("denoising", "vae", "top-k", "l1_sparse(weight=0.5)", "denoising(damage='masking(share=0.5)')", "top_k( k = 3 )"),
    *("variational(beta=2, free_bits=0.1)", "masked()"),
)
WRONG = {
    "sprase": "did you mean 'l1_sparse'",
    "": "write a name",
    "top_k(": "write a name",
    "top_k(k)": "write top_k(setting=value)",
    "top_k(3)": "write top_k(setting=value)",
    "top_k(k=open('x'))": "write top_k(setting=value)",
    "top_k(kk=3)": "did you mean 'k'",
    "top_k(k='three')": "a whole number",
    "top_k(k=None)": "a whole number",
    "denoising(damage='masked')": "did you mean 'masking'",
    "denoising(damage='masking(share=True)')": "a number",
}


def test_a_pair_of_numbers_is_read() -> None:
    data_type = next(one for one in signatures.parameters(signatures.public("Autoencoder")) if one.name == "data_type")
    assert values.read(data_type, "images(size=(32, 48))") == "images(size=(32, 48))"


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_accepted_can_be_resolved(text: str) -> None:
    from isthmus.variants.base import Variant

    assert isinstance(resolve("variants", values.read(VARIANT, text), Variant), Variant)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_part_is_refused_with_advice(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        values.read(VARIANT, text, "--variant")
    assert WRONG[text] in str(refused.value)


@pytest.mark.slow
def test_a_task_that_is_added_appears_by_itself(tmp_path: Path) -> None:
    """A copy of the package with one more task, one file and one stub line, offers its verb and its options."""
    import shutil

    package = tmp_path / "isthmus"
    shutil.copytree(Path(isthmus.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "tasks" / "mend.py").write_text(
        '"""Mending."""\nfrom isthmus.tasks.base import Task\n\n\n'
        'class Mender(Task):\n    """Fills the gaps.\n\n    Parameters\n    ----------\n'
        '    strength : how much, in per cent.\n    """\n\n'
        "    def __init__(self, autoencoder=None, *, strength: float = 0.5):\n        pass\n"
    )
    stub = package / "tasks" / "__init__.pyi"
    stub.write_text(stub.read_text() + "from .mend import Mender as Mender\n")
    code = "import sys; from isthmus.interfaces.cli import main; main()"

    def said(*words: str) -> str:
        command = [sys.executable, "-c", code, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=60).stdout

    assert "mend         Fills the gaps." in said("--help")
    helped = " ".join(said("fit", "--for", "mend", "--help").split())
    assert "--strength NUMBER how much, in per cent. [default: 0.5]" in helped
    assert "isthmus mend MODEL DATA" in " ".join(said("mend", "--help").replace("[OPTIONS] ", "").split())
