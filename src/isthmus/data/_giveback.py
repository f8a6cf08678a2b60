"""Columns back into the table that they came in: array, sparse matrix or frame, in the types of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from isthmus.data.base import ColumnFacts
from isthmus.errors import DataError, MissingExtraError

CONTAINERS = ("numpy", "scipy", "scipy matrix", "pandas", "polars", "pyarrow")
#: The types that a model file may name.
POLARS = {
    name: getattr(pl, name)
    for name in (
        *("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128"),
        *("Float16", "Float32", "Float64", "Boolean", "String", "Categorical", "Date", "Time", "Null"),
    )
    if hasattr(pl, name)
}
OTHERS = ("Enum", "Datetime", "Duration", "Decimal")


@dataclass
class Restored:
    """One column on its way back: its facts, and its plain values (see `_columns`), None where it was left out.

    `absent` marks values that come back missing, whatever stands there; None for none.
    """

    facts: ColumnFacts
    values: Any
    absent: Any = None


def known_dtype(dtype: str) -> bool:
    """Whether this is a type in our notation."""
    return dtype.partition("|")[0] in (*POLARS, *OTHERS)


def give_back(columns: list[Restored], n: int, container: str, native: bool, whole_names: bool) -> Any:
    """The table of n rows; `native` says that the container is the training's own, so that its types are known."""
    if container == "numpy":
        return _numpy(columns, n)
    if container in ("scipy", "scipy matrix"):
        dense = _numpy(columns, n).astype(np.float64)
        return sparse.csr_array(dense) if container == "scipy" else sparse.csr_matrix(dense)
    frame = pl.DataFrame([_with_gaps(column, n) for column in columns])
    if container == "polars":
        return frame
    try:
        if container == "pandas":
            return _pandas(columns, frame, native, whole_names)
        if container == "pyarrow":
            return _pyarrow(columns, frame, native)
    except ImportError as error:
        raise MissingExtraError(f"a {container} frame needs {container}: pip install {container}.") from error
    raise DataError(f"the container is {container!r}; it must be one of {', '.join(CONTAINERS)}.")


def _numpy(columns: list[Restored], n: int) -> Any:
    """Truth values or floats where all columns are, Python objects where they are not."""
    if all(column.facts.kind == "boolean" for column in columns):
        return np.stack([column.values > 0.5 for column in columns], axis=1)
    if all(column.facts.kind in ("numeric", "left out") for column in columns):
        return np.stack([_floats(column, n) for column in columns], axis=1)
    table = np.empty((n, len(columns)), dtype=object)
    for place, column in enumerate(columns):
        table[:, place] = _with_gaps(column, n).to_list()
    return table


def _floats(column: Restored, n: int) -> Any:
    if column.values is None:
        return np.full(n, np.nan)
    return column.values if column.absent is None else np.where(column.absent, np.nan, column.values)


def whole(values: Any, low: int, high: int) -> Any:
    """Numbers rounded and held within the range of an integer type."""
    top = min(float(high), np.nextafter(float(high), 0)) if float(high) > high else float(high)
    return np.clip(np.rint(values), float(low), top)


def _with_gaps(column: Restored, n: int) -> pl.Series:
    series = _polars(column, n)
    if column.absent is None:
        return series
    return pl.select(pl.when(pl.Series(~column.absent)).then(series).alias(series.name)).to_series()


def _polars(column: Restored, n: int) -> pl.Series:
    facts, values = column.facts, column.values
    name, _, rest = facts.dtype.partition("|")
    if values is None:
        return pl.Series(facts.name, [None] * n, dtype=_polars_type(facts))
    if facts.kind == "categorical":
        return _polars_text(facts, values)
    if facts.kind == "date":
        return _polars_time(facts, values, name, rest)
    dtype = _polars_type(facts)
    if facts.kind == "boolean":
        return pl.Series(facts.name, values > 0.5).cast(dtype)
    if dtype.is_integer():
        limits = pl.select(dtype.min().alias("low"), dtype.max().alias("high")).row(0)
        return pl.Series(facts.name, whole(values, *limits)).cast(dtype)
    return pl.Series(facts.name, values).cast(dtype, strict=False)


def _polars_type(facts: ColumnFacts) -> Any:
    name, *marks = facts.dtype.split("|")
    match name:
        case "Enum":
            return pl.Enum(list(facts.categories))
        case "Datetime":
            return pl.Datetime(marks[0], marks[1] or None)  # type: ignore[arg-type]
        case "Duration":
            return pl.Duration(marks[0])  # type: ignore[arg-type]
        case "Decimal":
            return pl.Decimal(int(marks[0]), int(marks[1]))
    return POLARS[name]()


def _polars_text(facts: ColumnFacts, values: Any) -> pl.Series:
    words = pl.Series(facts.name, values, dtype=pl.String)
    dtype = _polars_type(facts)
    return words if dtype == pl.String else words.cast(dtype, strict=False)


def _polars_time(facts: ColumnFacts, seconds: Any, name: str, rest: str) -> pl.Series:
    """Seconds as the time they are: days for a date, else rounded to the microsecond."""
    if name == "Date":
        return pl.Series(facts.name, whole(seconds / 86400, -719162, 2932896)).cast(pl.Int32).cast(pl.Date)
    if name == "Time":
        return pl.Series(facts.name, whole(seconds * 1e6, 0, 86_399_999_999) * 1000).cast(pl.Int64).cast(pl.Time)
    micros = pl.Series(facts.name, whole(seconds * 1e6, -62135596800 * 10**6, 253402300799 * 10**6)).cast(pl.Int64)
    unit, _, zone = rest.partition("|")
    if unit == "ns":
        micros = micros.clip(-9_200_000_000_000_000, 9_200_000_000_000_000)
    if name == "Duration":
        return micros.cast(pl.Duration("us")).dt.cast_time_unit(unit)  # type: ignore[arg-type]
    moments = micros.cast(pl.Datetime("us")).dt.cast_time_unit(unit)  # type: ignore[arg-type]
    return moments.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else moments


def _pandas(columns: list[Restored], frame: pl.DataFrame, native: bool, whole_names: bool) -> Any:
    import pandas as pd

    series = {}
    for place, column in enumerate(columns):
        values = _pandas_values(frame[column.facts.name], pd)
        series[place] = _as_native(values, column.facts, pd) if native else values
    table = pd.DataFrame(series)
    table.columns = pd.Index([int(c.facts.name) if whole_names else c.facts.name for c in columns])
    return table


def _pandas_values(values: pl.Series, pd: Any) -> Any:
    """A polars column as pandas writes such values by default; needs no pyarrow."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
        naive = pd.Series(values.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy())
        return naive.dt.tz_localize("UTC").dt.tz_convert(values.dtype.time_zone)
    if isinstance(values.dtype, (pl.Datetime, pl.Duration)):
        return pd.Series(values.to_numpy())
    if isinstance(values.dtype, (pl.Categorical, pl.Enum)):
        return pd.Series(pd.Categorical(values.to_list()))
    if values.dtype.is_float() or (values.dtype.is_integer() and not values.null_count()):
        return pd.Series(values.to_numpy())
    return pd.Series(values.to_list(), dtype="bool" if values.dtype == pl.Boolean and not values.null_count() else None)


def _as_native(values: Any, facts: ColumnFacts, pd: Any) -> Any:
    """The values in the very type that the training frame had, where that type can hold them."""
    category = re.fullmatch(r"category\[(.+?)(,ordered)?\]", facts.native)
    try:
        if category:
            index = _pandas_categories(facts.categories, category[1], pd)
            places = {name: place for place, name in enumerate(facts.categories)}
            codes = [places.get(value, -1) for value in values.tolist()]
            return pd.Series(pd.Categorical.from_codes(codes, index, ordered=bool(category[2])))
        if facts.native == "object":
            return pd.Series(values.tolist() if values.dtype != object else values, dtype=object)
        return values.astype(pd.api.types.pandas_dtype(facts.native))
    except (TypeError, ValueError):  # whole numbers have no place for a missing value
        return values


def _pandas_categories(categories: tuple[str, ...], dtype: str, pd: Any) -> Any:
    names = pd.Index(list(categories))
    return names.map({"True": True, "False": False}) if dtype == "bool" else names.astype(dtype)


def _pyarrow(columns: list[Restored], frame: pl.DataFrame, native: bool) -> Any:
    import pyarrow as pa

    table = frame.to_arrow()
    if not native:
        return table
    arrays = [_as_arrow(table.column(place), column.facts.native, pa) for place, column in enumerate(columns)]
    return pa.table(arrays, names=table.column_names)


def _as_arrow(values: Any, native: str, pa: Any) -> Any:
    dtype = _arrow_type(native, pa)
    if dtype is None or values.type == dtype:
        return values
    if pa.types.is_dictionary(dtype):
        plain = values.cast(dtype.value_type)
        return plain if pa.types.is_dictionary(plain.type) else plain.dictionary_encode().cast(dtype)
    return values.cast(dtype, safe=False)


def _arrow_type(native: str, pa: Any) -> Any:
    """The type that pyarrow writes so; None for one that our notation already gives back."""
    if moment := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", native):
        return pa.timestamp(moment[1], moment[2])
    if coded := re.fullmatch(r"dictionary<values=(\w+), indices=(\w+), ordered=([01])>", native):
        return pa.dictionary(pa.type_for_alias(coded[2]), pa.type_for_alias(coded[1]), ordered=coded[3] == "1")
    try:
        return pa.type_for_alias(native)
    except ValueError:
        return None
