"""What a model file says about itself, read without torch: its document, and the words among its tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus import storage
from isthmus.errors import ModelFileError
from isthmus.interfaces import output
from isthmus.interfaces.held import said_by
from isthmus.interfaces.messages import plain
from isthmus.interfaces.signatures import listed, literal, parameters
from isthmus.part import snake_case
from isthmus.words import counted

WEIGHTS = "module."  # how the names of a module's tensors begin
PARTS = (  # folders
    *("damage", "data", "densities", "likelihoods", "networks", "priors", "scores", "thresholds", "training"),
    "variants",
)
VERSION = 1  # of the form of `ModelInfo` as JSON


@dataclass(frozen=True)
class InfoColumn:
    """One column that the model was fitted on."""

    name: str
    kind: str


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model without loading it."""

    path: str
    kind: str  # the class
    isthmus: str  # the version that wrote it
    n_bytes: int
    n_weights: int
    n_components: int
    data_type: str
    n_samples: int
    unit: str  # what a sample is called
    shape: list[int]  # of one sample as a tensor; empty where it is a row of columns
    any_size: bool  # whether samples may be larger or smaller than that
    settings: dict[str, str]
    epochs: int
    ended: str
    last_epoch: dict[str, float]
    columns: list[InfoColumn] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    version: int = VERSION

    def text(self) -> str:
        """The same for a reader."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{plain(self.path)}: {plain(self.kind)}, written by Isthmus {plain(self.isthmus)}"
        size = output.size(self.n_bytes)
        yield f"Size:      {size}, {self.n_weights:,} weights, {counted(self.n_components, 'number')} in a code"
        yield f"Data:      {counted(self.n_samples, plain(self.unit))}, {self._size()}; {plain(self.data_type)}"
        yield from (f"  {plain(column.name)}: {plain(column.kind)}" for column in self.columns)
        terms = ", ".join(f"{plain(name)} {value:.4g}" for name, value in self.last_epoch.items())
        yield f"Training:  {self.epochs} epochs, {plain(self.ended)}"
        yield f"  last epoch: {terms}"
        yield "Settings:"
        yield from (f"  {plain(name)} = {plain(value)}" for name, value in self.settings.items())
        yield "Doctor:    " + f"{len(self.findings) or 'no'} finding{'' if len(self.findings) == 1 else 's'}"
        yield from (f"  - {plain(finding)}" for finding in self.findings)

    def _size(self) -> str:
        if not self.shape:
            return counted(len(self.columns), "column")
        return "of any size" if self.any_size else f"{' x '.join(map(str, self.shape))} numbers each"


def about(path: str) -> ModelInfo:
    """What the file at `path` says. Raises ModelFileError for anything that is no whole, undamaged model."""
    document = storage.read_document(path)
    try:
        return _read(path, document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelFileError(f"{path!r} does not hold what a model file must hold ({error!r}).") from error


def _read(path: str, document: dict[str, Any]) -> ModelInfo:
    fitted, settings = document["fitted"], document["settings"]
    inner = ""
    if "autoencoder" in fitted:  # a task: it holds the autoencoder that it trained
        settings = settings | {f"autoencoder__{name}": value for name, value in fitted["settings"].items()}
        settings.pop("autoencoder", None)
        fitted, inner = fitted["autoencoder"], "autoencoder."
    history = fitted["history"]
    last = history["last"] or {"training": {}, "validation": {}}
    names, kinds = _words(path, f"{inner}data.column_name"), _words(path, f"{inner}data.column_kind")
    return ModelInfo(
        path=path,
        kind=str(document["class"]),
        isthmus=str(document["isthmus"]),
        n_bytes=Path(path).stat().st_size,
        n_weights=_count(path, inner + WEIGHTS),
        n_components=int(fitted["n_components"]),
        data_type=_written(fitted["data"]),
        n_samples=int(fitted["n_samples"]),
        unit=said_by(document, path).unit,
        shape=[int(length) for length in fitted["schema"].get("shape", [])],
        any_size=bool(fitted["schema"].get("free", False)),
        settings={str(name): _written(value) for name, value in settings.items()},
        epochs=int(history["n_epochs"]),
        ended=str(history["ended"]),
        last_epoch={str(name): float(value) for name, value in last["training"].items()}
        | {f"held-out {name}": float(value) for name, value in last["validation"].items()},
        columns=[InfoColumn(name, kind) for name, kind in zip(names, kinds, strict=True)],
        findings=[str(finding["text"]) for finding in fitted["doctor"]],
    )


def _written(value: Any) -> str:
    """A setting as one would type it."""
    if isinstance(value, dict) and "part" in value:
        folder, name = value["part"]
        plain_ones = _defaults(str(folder), str(name))
        changed = {key: one for key, one in value["settings"].items() if plain_ones.get(key, Ellipsis) != one}
        inner = ", ".join(f"{key}={_written(setting)}" for key, setting in changed.items())
        return f"{name}({inner})" if inner else str(name)
    if isinstance(value, dict) and "outside" in value:
        return str(value["outside"])
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return "none" if value is None else str(value)


def _defaults(folder: str, name: str) -> dict[str, Any]:
    """The settings of a part as they are where nobody changes them; none for a part or folder that is not ours."""
    sources = listed(folder).values() if folder in PARTS else ()
    found = next((source for source in sources if snake_case(source.name) == name), None)
    defaults = {one.name: literal(one.default) for one in parameters(found)} if found is not None else {}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}


def _header(path: str) -> tuple[dict[str, Any], int]:
    """The tensors' entries and where their bytes begin; the file has passed all checks already."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    return header, 8 + length


def _count(path: str, prefix: str) -> int:
    """How many numbers there are in the tensors whose name begins so."""
    entries, _ = _header(path)
    return sum(math.prod(entry["shape"]) for name, entry in entries.items() if name.startswith(prefix))


def _words(path: str, name: str) -> list[str]:
    """The words in one tensor, written by `storage.text_tensor`; none where there is no such tensor."""
    entries, start = _header(path)
    if name not in entries:
        return []
    first, last = entries[name]["data_offsets"]
    with open(path, "rb") as file:
        file.seek(start + first)
        return [str(word) for word in json.loads(file.read(last - first).decode("utf-8", "surrogatepass"))]
