"""Errors of a piece, in the words of the whole: rows and lines are counted from the beginning of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus.errors import DataError


@contextmanager
def moved(rows: int = 0, lines: int = 0) -> Iterator[None]:
    """Add to the rows and lines that an error names.

    Parameters
    ----------
    rows, lines : how many stand before the piece.

    >>> with moved(rows=1000):
    ...     raise DataError("column 'a' holds 'x' in row 7 (counting from 0).")
    Traceback (most recent call last):
    isthmus.errors.DataError: column 'a' holds 'x' in row 1007 (counting from 0).
    """
    try:
        yield
    except DataError as error:
        text = re.sub(r"\brow (\d+)(?= \(counting)", lambda found: f"row {int(found[1]) + rows}", str(error))
        text = re.sub(r"\bin line (\d+)", lambda found: f"in line {int(found[1]) + lines}", text)
        raise DataError(text) from error
