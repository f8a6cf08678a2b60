"""What goes to standard output or into files, and whether it can go there, asked before anything takes long."""

from __future__ import annotations

import difflib
import glob
import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from isthmus.atomic import storage_error
from isthmus.errors import DataError, SettingError
from isthmus.interfaces.messages import plain

if TYPE_CHECKING:
    import polars as pl

STREAM = "-"
ROWS = 10_000  # written to standard output at a time


# ---- before


def check_input(path: str, what: str = "DATA") -> None:
    """Whether there is something to read; a wrong name is answered with the nearest right one."""
    if path == STREAM:
        if sys.stdin is None or sys.stdin.closed or _is_terminal(sys.stdin):
            raise DataError(
                f"{what} is -, standard input, and nothing is piped into it; give a file, or pipe a table in."
            )
        return
    if not path or "\0" in path:
        raise DataError(f"{what} is {path!r}, which cannot be the path of a file.")
    if not os.path.exists(path) and glob.has_magic(path):
        if next(glob.iglob(path, recursive=True), None) is None:
            raise DataError(f"the pattern {path!r} finds no file; check it.")
    elif not os.path.exists(path):
        folder, name = os.path.split(path)
        try:
            close = difflib.get_close_matches(name, os.listdir(folder or os.curdir), n=1)
        except OSError:
            close = []
        hint = f"; did you mean {os.path.join(folder, close[0])!r}?" if close else "; check the path."
        raise DataError(f"{path!r} does not exist{hint}")


def is_folder(path: str) -> bool:
    """Whether this is a folder, or a pattern that finds several files."""
    return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))


def check_output(path: str | None, *inputs: str) -> None:
    """Whether a file can be written there, beside what is read, which must not be replaced."""
    if path is None or path == STREAM:
        return
    try:
        found = Path(path)
        if found.exists() and not stat.S_ISREG(found.stat().st_mode):
            kind = "a directory" if found.is_dir() else "no plain file"
            raise SettingError(f"-o is {path!r}, which is {kind}; give the path of a file.")
        if any(one != STREAM and found.exists() and os.path.exists(one) and found.samefile(one) for one in inputs):
            raise SettingError(f"-o is {path!r}, which is also read; give the result a name of its own.")
        with tempfile.TemporaryFile(dir=found.parent):
            pass
    except SettingError:
        raise
    except (OSError, ValueError) as error:
        raise storage_error(path, "written", error) from error


def check_table_output(path: str | None, *inputs: str) -> None:
    """The same for a table, whose ending says in what form it is written."""
    from isthmus.data._endings import names_a_table

    check_output(path, *inputs)
    if path is not None and not names_a_table(path):
        raise SettingError(
            f"-o is {path!r}; a table's name ends in .csv, .tsv, .parquet or .ndjson, or .gz after that."
        )


# ---- tables


def write_rows(frame: Any, path: str | None, as_json: bool) -> None:
    """A table to a file, or to standard output as CSV or as JSON Lines."""
    frame = as_frame(frame)
    if path is not None and path != STREAM:
        from isthmus.data._writing import write_frame

        write_frame(frame, path)
        return
    for start in range(0, max(1, frame.height), ROWS):
        part = frame[start : start + ROWS]
        write(part.write_ndjson() if as_json else part.write_csv(include_header=start == 0))


def as_frame(table: Any, names: list[str] | None = None) -> pl.DataFrame:
    """Any table as a polars frame; `names` for one whose columns have none."""
    import polars as pl

    if isinstance(table, pl.DataFrame):
        return table
    import narwhals as nw

    if hasattr(table, "toarray"):
        table = table.toarray()
    if hasattr(table, "shape") and not hasattr(table, "columns"):
        width = table.shape[1]
        return pl.DataFrame({name: table[:, place] for place, name in enumerate(names or map(str, range(width)))})
    frame: pl.DataFrame = nw.from_native(table, eager_only=True).to_polars()
    return frame


def write(text: str) -> None:
    """Text to standard output; it is UTF-8 wherever it goes, as in files."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


# ---- for people


def show(frame: pl.DataFrame, headline: str, stream: TextIO) -> None:
    """A headline and a readable table, in the stream's width and, if it can, with some colour."""
    text = "\n".join([plain(headline), *([rendered(frame, stream)] if frame.height else [])])
    if stream is sys.stdout:
        write(text.rstrip("\n") + "\n")
    else:
        stream.write(text.rstrip("\n") + "\n")


def rendered(frame: pl.DataFrame, stream: TextIO) -> str:
    """A small table as text; the last column of words takes the room that is left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for name, dtype in frame.schema.items():
        numeric = dtype.is_numeric() or dtype.is_temporal()
        table.add_column(Text(plain(name)), justify="right" if numeric else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    colour = coloured(stream)
    console = Console(
        file=io.StringIO(),
        force_terminal=colour,
        color_system="auto" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        width=width(),
    )
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def width() -> int:
    """Characters in a line: what COLUMNS says, or the terminal, or 80."""
    import shutil

    return max(40, shutil.get_terminal_size((80, 24)).columns)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else plain(value)


def coloured(stream: TextIO) -> bool:
    """Whether escape codes are welcome: NO_COLOR and dumb terminals forbid them, FORCE_COLOR asks for them."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or _is_terminal(stream)


def draws(stream: TextIO) -> bool:
    """Whether a progress bar can be drawn there."""
    return _is_terminal(stream) and os.environ.get("TERM") not in ("dumb", "unknown")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):  # closed
        return False


def size(n_bytes: int) -> str:
    """An amount of bytes, for a reader.

    >>> size(999), size(123_456)
    ('999 bytes', '123 kB')
    """
    amounts: Iterator[tuple[float, str]] = iter([(1e9, "GB"), (1e6, "MB"), (1e3, "kB")])
    return next((f"{n_bytes / unit:.3g} {name}" for unit, name in amounts if n_bytes >= unit), f"{n_bytes} bytes")
