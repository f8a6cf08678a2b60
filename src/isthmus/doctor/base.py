"""Finding: something that the doctor saw, in one plain text: what was seen, why it matters, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from isthmus.module import AutoencoderModule


@dataclass(frozen=True)
class Finding:
    """Something the doctor saw. `code` names the kind, `text` says it.

    >>> print(Finding("constant_column", "column 'a' has the same value in every row."))
    column 'a' has the same value in every row.
    """

    code: str
    text: str

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def have(names: list[str]) -> str:
    """The subject of a sentence about columns.

    >>> have(["a"]), have(["a", "b"])
    ("column 'a' has", "columns 'a', 'b' have")
    """
    shown = ", ".join(repr(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} has" if len(names) == 1 else f"columns {shown} have"


def is_guarded(module: AutoencoderModule) -> bool:
    """Whether a variant keeps the network from copying, however wide the code is."""
    stations = ("corrupt", "bottleneck", "penalty")
    return any(variant.changes(station) for variant in module.variants for station in stations)
