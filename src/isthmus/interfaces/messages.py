"""What goes to standard error: log lines, notes, and one line for an error."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

from isthmus.errors import IsthmusWarning

log = logging.getLogger("isthmus")


def plain(text: object) -> str:
    r"""On one line, and without anything that a terminal would obey.

    >>> plain("two\nlines, \x1b[31mred")
    'two lines, \\x1b[31mred'
    """
    joined = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in joined)


@contextlib.contextmanager
def told(quiet: bool, verbose: bool) -> Iterator[None]:
    """Log lines and our warnings go to standard error meanwhile, as plain lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    before, spreads = log.level, log.propagate
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    log.addHandler(handler)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if verbose else "ignore")
            warnings.simplefilter("always", IsthmusWarning)
            warnings.showwarning = _note
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        log.propagate = spreads


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain(record.getMessage())


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    ours = issubclass(category, IsthmusWarning)
    log.warning("note: %s", message) if ours else log.debug("%s: %s", category.__name__, message)


def say(draw: Callable[[TextIO], None]) -> None:
    """Let something be drawn on standard error, unless nobody wants to hear."""
    if log.isEnabledFor(logging.INFO):
        draw(sys.stderr)
        sys.stderr.flush()
