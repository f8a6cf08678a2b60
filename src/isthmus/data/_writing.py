"""A frame of polars into a file; needs nothing but polars."""

from __future__ import annotations

import gzip
import io
from typing import Any

import polars as pl

from isthmus.atomic import replace_file, shown
from isthmus.data._endings import ending_of, first_line
from isthmus.errors import DataError


def write_frame(frame: pl.DataFrame, path: Any) -> None:
    """The frame to a file of the kind that the ending says, all of it or none."""
    name = shown(path)
    ending = ending_of(path, name)
    data = _encoded(frame, ending.removesuffix(".gz"), name)
    if ending.endswith(".gz"):
        data = gzip.compress(data, compresslevel=6, mtime=0)
    replace_file(path, [data])


def _encoded(frame: pl.DataFrame, kind: str, name: str) -> bytes:
    file = io.BytesIO()
    try:
        if kind == ".parquet":
            frame.write_parquet(file)
        elif kind in (".csv", ".tsv"):
            frame.write_csv(file, separator="\t" if kind == ".tsv" else ",")
        else:
            frame.write_ndjson(file)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{name} cannot hold this table ({first_line(error)}); write it as .parquet.") from error
    return file.getvalue()
