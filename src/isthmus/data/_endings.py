"""What files of tables are called, and what errors of other libraries say: known before any library is loaded."""

from __future__ import annotations

import os
from typing import Any

from isthmus.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl", ".json")
ALL_SUFFIXES = (*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES if suffix != ".parquet"))


def names_a_table(path: Any) -> bool:
    """Whether this is the path of a table's file, or "-", a stream of one.

    >>> names_a_table("new.csv.gz"), names_a_table("new.png")
    (True, False)
    """
    return str(path) == "-" or os.fspath(path).lower().endswith(ALL_SUFFIXES)


def ending_of(path: Any, name: str) -> str:
    """The ending of a table's file, in small letters; DataError for any other, with `name` for the file."""
    lower = str(os.fspath(path)).lower()
    ending = next((suffix for suffix in sorted(ALL_SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)), None)
    if ending is None:
        raise DataError(f"{name} has an ending that is no table's; known are {', '.join(ALL_SUFFIXES)}.")
    return ending


def first_line(error: BaseException) -> str:
    """The first sentence of an error from elsewhere, as part of one of ours."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
