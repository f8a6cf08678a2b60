"""Whether a table is read piece by piece or whole."""

from __future__ import annotations

import contextlib
import glob
import os
from pathlib import Path
from typing import Any

import polars as pl

from isthmus.atomic import shown
from isthmus.data._frames import is_path
from isthmus.data._stream_csv import CsvSource, csv_size
from isthmus.data._stream_source import ParquetSource, Source
from isthmus.errors import DataError, SettingError


def find_source(X: Any, streaming: bool | str, keep_text: frozenset[str] = frozenset()) -> Source | pl.DataFrame | None:
    """Where X comes from piece by piece; None where it is read as ever, and the whole of several files if they fit.

    Parameters
    ----------
    X : what was given as data.
    streaming : True, False, or "auto" for tables that would take more than half of the memory at hand.
    keep_text : columns of separated values that stay text even where they spell numbers.
    """
    several = _several(X)
    if several:
        source = ParquetSource(several)
        small = streaming is False or (streaming == "auto" and source.size <= available() / 2)
        return pl.concat(source.pieces()) if small else source
    if not is_path(X) or streaming is False:
        return None
    path = os.fspath(X)
    lower = path.lower()
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        return None  # reading it says what is wrong
    if lower.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        return CsvSource(path, keep_text) if streaming is True or csv_size(path) > available() / 2 else None
    if lower.endswith(".parquet"):
        if streaming == "auto" and 30 * os.path.getsize(path) < available() / 2:
            return None  # it would have to be packed unusually well
        source = ParquetSource([path])
        return source if streaming is True or source.size > available() / 2 else None
    if streaming is True:
        raise SettingError(f"streaming is True, and {shown(path)} can only be read whole; give Parquet, CSV or TSV.")
    return None


def _several(X: Any) -> list[str]:
    """The Parquet files that a list of paths, a pattern or a folder stands for."""
    if isinstance(X, (list, tuple)) and X and all(map(is_path, X)):
        paths = [os.fspath(path) for path in X]
    elif is_path(X) and os.path.isdir(X):
        paths = sorted(str(path) for path in Path(X).glob("*.parquet"))
    elif is_path(X) and glob.has_magic(os.fspath(X)) and not os.path.exists(X):
        paths = sorted(glob.glob(os.fspath(X)))
        if not paths:
            raise DataError(f"no file matches {os.fspath(X)!r}; check the pattern.")
    else:
        return []
    for path in paths:
        if not path.lower().endswith(".parquet"):
            raise DataError(
                f"{shown(path)} is no .parquet file; several files are read as one table from Parquet only."
            )
    return paths


def available() -> int:
    """Bytes of memory that this process may still take: of the machine, its container, or its own limit."""
    found = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].strip().isdigit():
        found.append(max(0, int(limit[0]) - int(used[0])))
    with contextlib.suppress(ImportError):  # there is none on Windows
        import resource

        softs = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        found += [soft for soft in softs if soft != resource.RLIM_INFINITY]
    return min(found) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
