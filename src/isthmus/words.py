"""How many there are, in words for a reader."""

from __future__ import annotations


def counted(n: int, unit: str) -> str:
    """How many there are of something.

    >>> counted(1, "picture"), counted(1200, "row"), counted(2, "patch"), counted(8, "epoch")
    ('1 picture', '1,200 rows', '2 patches', '8 epochs')
    """
    return f"{n:,} {unit if n == 1 else several(unit)}"


def several(unit: str) -> str:
    """The plural of what a sample is called.

    >>> several("row"), several("patch")
    ('rows', 'patches')
    """
    return f"{unit}es" if unit.endswith(("tch", "s", "x")) else f"{unit}s"
