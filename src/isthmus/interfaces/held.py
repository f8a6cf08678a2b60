"""What a model file holds, known before torch is loaded: of which class it is, and of what kind of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isthmus import storage
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.interfaces import output
from isthmus.interfaces.signatures import attribute, listed, tasks
from isthmus.words import several

TABLES = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".json", ".gz")


@dataclass(frozen=True)
class Held:
    """What a model is, and what its data are.

    Parameters
    ----------
    kind : the class.
    data_type : the name of the data type; empty for one from outside.
    unit : what one sample is called.
    endings : of files with one sample each; none where one file holds all samples.
    """

    kind: str
    data_type: str = ""
    unit: str = "row"
    endings: tuple[str, ...] = ()


def held(model: str) -> Held:
    """What the file says about itself. Raises ModelFileError for anything that is no whole, undamaged model."""
    return said_by(storage.read_document(model), model)


def said_by(document: dict[str, Any], model: str) -> Held:
    """The same out of a document that has been read."""
    kind = document.get("class")
    if not isinstance(kind, str):
        raise ModelFileError(f"{model!r} is not a model of Isthmus: it does not say of which class it is.")
    source = next(
        (one for name, one in listed("data").items() if one.module.rpartition(".")[2] == _type(document)), None
    )
    if source is None:
        return Held(kind)
    return Held(kind, _type(document), attribute(source, "unit"), attribute(source, "endings"))


def _type(document: dict[str, Any]) -> str:
    """The name of the data type; the file comes from a stranger and may hold anything."""
    fitted = _under(document, "fitted")
    fitted = _under(fitted, "autoencoder") or fitted
    part = _under(fitted, "data").get("part")
    return str(part[1]) if isinstance(part, list) and len(part) == 2 and part[0] == "data" else ""


def _under(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def check_verb(found: Held, model: str, verb: str) -> None:
    """Whether the model is one for this verb."""
    needed = {task.name: name for name, task in tasks().items()}
    if verb and found.kind in (*needed, "Autoencoder") and found.kind != tasks()[verb].name:
        raise SettingError(
            f"{model!r} holds {_with_article(found.kind)}, and {verb} needs {_with_article(tasks()[verb].name)}; "
            f"fit one with: isthmus fit DATA --for {verb} -o MODEL."
        )


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def check_kind(found: Held, model: str, data: str) -> None:
    """Whether data of this name can be of the kind that the model was fitted on."""
    units = several(found.unit)
    if found.endings and data == output.STREAM:
        raise DataError(
            f"DATA is -, but {model!r} was fitted on {units}, which are read from files; give a folder or a file."
        )
    if found.endings and data.lower().endswith(TABLES):
        raise DataError(
            f"{data!r} has the name of a table, and {model!r} was fitted on {units}; give a folder of "
            f"{units}, or a file."
        )
    if found.data_type and not found.endings and output.is_folder(data):
        raise DataError(
            f"{data!r} is a folder, and {model!r} was fitted on the {units} of a table; give a table's file."
        )
