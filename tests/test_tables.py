"""Tables: what goes in comes back, scaling is invertible, and what does not fit is said."""

from __future__ import annotations

import copy
import datetime
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

from isthmus.data.tables import Tables
from isthmus.errors import DataError, ModelFileError, SettingError

SCALINGS = ("auto", "standard", "robust", "minmax", "center", "none")
DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def whole(tables: Tables, X: Any, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor | None]:
    x, weight, _ = tables.batch(tables.open(X), slice(None), dtype)
    return x, weight


def mixed(n: int = 60) -> pl.DataFrame:
    """Every kind of column, with gaps."""
    generator = np.random.default_rng(0)
    gap = generator.random(n) < 0.2
    day = datetime.date(2020, 2, 28)
    return pl.DataFrame(
        {
            "age": pl.Series(generator.integers(18, 90, n)).cast(pl.Int16),
            "pay": np.exp(generator.normal(10, 1, n)),
            "share": pl.Series(generator.random(n)).cast(pl.Float32),
            "town": [None if gone else ["Rome", "Oslo", "Bonn"][i % 3] for i, gone in enumerate(gap)],
            "member": [None if gone else i % 4 == 0 for i, gone in enumerate(np.roll(gap, 3))],
            "flag": [i % 2 for i in range(n)],
            "since": [day + datetime.timedelta(days=37 * (i % 29)) for i in range(n)],
            "seen": [
                None if gone else datetime.datetime(2021, 1, 1, 3, 4, 5, 678901) + datetime.timedelta(seconds=7919 * i)
                for i, gone in enumerate(np.roll(gap, 7))
            ],
            "wait": [datetime.timedelta(milliseconds=i * i) for i in range(n)],
            "clock": [datetime.time(i % 24, i % 60, 1) for i in range(n)],
            "key": [f"id-{i}" for i in range(n)],
            "nothing": [None] * n,
        }
    )


USED = ["age", "pay", "share", "town", "member", "flag", "since", "seen", "wait", "clock"]


def present_equal(first: list[Any], second: list[Any], tolerance: float = 1e-9) -> bool:
    """Whether all cells that the first list has are the same in the second."""
    for left, right in zip(first, second, strict=True):
        if left is None or left is pd.NA or left is pd.NaT or left != left:
            continue
        if isinstance(left, float):
            if not math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance):
                return False
        elif left != right:
            return False
    return True


# ---- round trips ---------------------------------------------------------------------------------------------------


def test_a_polars_frame_comes_back_with_its_types() -> None:
    frame = mixed()
    tables = Tables().fit(frame)
    back = tables.from_tensor(whole(tables, frame)[0])
    assert back.schema == frame.schema
    for name in USED:
        assert present_equal(frame[name].to_list(), back[name].to_list()), name
    assert back["key"].null_count() == back["nothing"].null_count() == len(frame)


def test_a_lazy_frame_comes_back_as_a_frame() -> None:
    tables = Tables().fit(mixed().lazy())
    assert isinstance(tables.from_tensor(whole(tables, mixed().lazy())[0]), pl.DataFrame)


def test_a_pyarrow_table_comes_back_with_its_types() -> None:
    table = mixed().to_arrow()
    table = table.set_column(3, "town", table["town"].cast(pa.string()).dictionary_encode())
    table = table.set_column(9, "clock", table["clock"].cast(pa.time32("s")))
    table = table.set_column(6, "since", table["since"].cast(pa.date64()))
    tables = Tables().fit(table)
    back = tables.from_tensor(whole(tables, table)[0])
    assert back.schema == table.schema
    for name in USED:
        assert present_equal(table[name].to_pylist(), back[name].to_pylist()), name


PANDAS_COLUMNS: dict[str, Any] = {
    "int8": np.array([3, -2, 100, 7], dtype=np.int8),
    "uint64": np.array([3, 2, 1, 2**40], dtype=np.uint64),
    "float32": np.array([0.5, np.nan, 3, 1], dtype=np.float32),
    "Int64": pd.array([5, None, 7, 8], dtype="Int64"),
    "Float64": pd.array([5.5, None, 7, 8], dtype="Float64"),
    "bool": [True, False, False, True],
    "boolean": pd.array([True, None, False, True], dtype="boolean"),
    "zero_one": [0, 1, 1, 0],
    "object_bool": np.array([True, None, False, True], dtype=object),
    "object_text": np.array(["a", None, "b", "a"], dtype=object),
    "object_day": np.array([datetime.date(2020, 1, 2), None, datetime.date(2021, 1, 2), None], dtype=object),
    "str": pd.array(["a", None, "b", "a"], dtype="str"),
    "string": pd.array(["a", None, "b", "a"], dtype="string"),
    "category": pd.Categorical(["x", "y", None, "x"], categories=["y", "x", "unused"], ordered=True),
    "category_of_numbers": pd.Categorical([30, 40, 30, 40]),
    "arrow": pd.array([1, None, 3, 4], dtype="int64[pyarrow]"),
    "day": pd.to_datetime(["2020-01-01", None, "1950-05-05", "2030-01-01"]),
    "nanosecond": pd.to_datetime(["2020-01-01", None, "1950-05-05", "2030-01-01"]).as_unit("ns"),
    "zoned": pd.to_datetime(["2020-01-01 05:00", None, "2020-07-05 06:30", "2030-01-01 00:00"]).tz_localize(
        "Europe/Berlin"
    ),
    "span": pd.to_timedelta([1, None, 2.5, -3], unit="D"),
    "empty": [None, None, None, None],
}


@pytest.mark.parametrize("name", PANDAS_COLUMNS)
def test_a_pandas_column_comes_back_with_its_type(name: str) -> None:
    frame = pd.DataFrame({"other": [1.0, 2.0, 3.0, 5.0], name: PANDAS_COLUMNS[name]})
    tables = Tables().fit(frame)
    back = tables.from_tensor(whole(tables, frame)[0])
    assert list(back.columns) == ["other", name]
    assert back[name].dtype == frame[name].dtype
    assert present_equal(frame[name].tolist(), back[name].tolist())


def test_pandas_columns_named_by_numbers_keep_their_names() -> None:
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3))
    tables = Tables().fit(frame)
    back = tables.from_tensor(whole(tables, frame)[0])
    pd.testing.assert_frame_equal(back, frame.set_axis(pd.Index([0, 1, 2]), axis=1))


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_any_container_can_be_asked_for(container: str) -> None:
    frame = mixed()
    tables = Tables().fit(frame)
    back = tables.from_tensor(whole(tables, frame)[0], container)
    assert type(back).__module__.partition(".")[0] == container
    towns = back["town"].to_pylist() if container == "pyarrow" else back["town"].to_list()
    assert present_equal(frame["town"].to_list(), towns)


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "coo_matrix", "dok_array"])
def test_a_sparse_matrix_equals_its_dense_twin_and_comes_back(kind: str) -> None:
    array = np.random.default_rng(0).poisson(0.3, (80, 12)) * 1.5
    array[3, 4] = np.nan
    matrix = getattr(sparse, kind)(array)
    of_sparse, of_dense = Tables().fit(matrix), Tables().fit(array)
    x, weight = whole(of_sparse, matrix)
    same, same_weight = whole(of_dense, array)
    torch.testing.assert_close(x, same, rtol=1e-12, atol=1e-12)
    assert weight is not None and same_weight is not None and weight.equal(same_weight)
    back = of_sparse.from_tensor(x)
    assert back.format == "csr" and isinstance(back, sparse.spmatrix) == kind.endswith("matrix")
    np.testing.assert_allclose(back.toarray()[~np.isnan(array)], array[~np.isnan(array)], atol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=60, deadline=None)
@given(
    array=arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 40), st.integers(1, 4)),
        elements=st.floats(-1e12, 1e12, allow_nan=False),
    )
)
@example(array=np.array([[5e-324], [0.0]]))  # the smallest of all numbers: its spread is none
def test_scaling_has_an_exact_inverse(scaling: str, array: np.ndarray[Any, Any]) -> None:
    tables = Tables(scaling=scaling).fit(array)
    x, weight = whole(tables, array)
    assert weight is None
    span = np.abs(array).max(axis=0) + 1e-300
    assert np.all(np.abs(tables.from_tensor(x) - array) <= 1e-9 * span)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_scaling_does_what_it_says(scaling: str) -> None:
    array = np.random.default_rng(0).normal(50, 3, (2000, 2))
    x = whole(Tables(scaling=scaling).fit(array), array)[0].numpy()
    expected = {
        "auto": (array - array.mean(0)) / array.std(0),
        "standard": (array - array.mean(0)) / array.std(0),
        "minmax": (array - array.min(0)) / (array.max(0) - array.min(0)),
        "center": array - array.mean(0),
        "none": array,
    }
    if scaling in expected:
        np.testing.assert_allclose(x, expected[scaling], rtol=1e-9, atol=1e-12)
    else:
        assert np.abs(np.median(x, axis=0)).max() < 0.01
        np.testing.assert_allclose(np.subtract(*np.quantile(x, [0.75, 0.25], axis=0)), 1.349, atol=0.02)
    if scaling == "minmax":
        assert x.min() == 0.0 and x.max() == 1.0


def test_minmax_stays_in_its_bounds_in_float32() -> None:
    array = (np.random.default_rng(1).random((500, 30)) * 7.1).astype(np.float32)
    tables = Tables(scaling="minmax").fit(array)
    x, _ = whole(tables, array, torch.float32)
    assert float(x.min()) == 0.0 and float(x.max()) == 1.0


# ---- heavy tails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 3000])
def test_one_billionaire_does_not_flatten_all_other_salaries(n: int) -> None:
    salary = np.random.default_rng(0).normal(50_000, 10_000, (n, 1))
    salary[7] = 1e9
    tables = Tables().fit(salary)
    x = whole(tables, salary)[0].numpy()
    others = np.delete(x, 7)
    assert tables.schema[0].compressed
    assert others.std() > 0.05 and x.max() < 60
    assert np.delete(whole(Tables(scaling="standard").fit(salary), salary)[0].numpy(), 7).std() < 1e-3
    np.testing.assert_allclose(tables.from_tensor(torch.from_numpy(x)), salary, rtol=1e-9)
    order = np.argsort(salary[:, 0])
    assert (np.diff(x[order, 0]) > 0).all()


def test_a_column_of_mostly_zeros_keeps_room_for_the_others() -> None:
    generator = np.random.default_rng(0)
    gain = np.where(generator.random(5000) < 0.92, 0.0, generator.lognormal(8.5, 1, 5000))
    gain[5] = 99999
    tables = Tables().fit(gain[:, None])
    x = whole(tables, gain[:, None])[0].numpy()
    assert tables.schema[0].compressed and x.max() < 20
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-9)


def test_normal_uniform_and_two_valued_columns_stay_straight() -> None:
    generator = np.random.default_rng(0)
    rare = (generator.random(5000) < 0.001) * 5.0
    array = np.stack([generator.normal(size=5000), generator.random(5000), rare, np.full(5000, 3.5)], axis=1)
    tables = Tables().fit(array)
    assert [facts.compressed for facts in tables.schema] == [False] * 4
    assert [facts.constant for facts in tables.schema] == [False, False, False, True]
    x, _ = whole(tables, array)
    assert x[:, 3].eq(0).all()


def test_numbers_of_any_size_become_finite_ones() -> None:
    generator = np.random.default_rng(0)
    array = generator.normal(size=(400, 6)) * np.array([1e300, 1e-300, 1e38, 1e-38, 1e15, 5e-324])
    array[0, 0] = 1.7e308
    for scaling in ("auto", "standard", "robust", "minmax"):
        tables = Tables(scaling=scaling).fit(array)
        for dtype in (torch.float32, torch.float64):
            x, _ = whole(tables, array, dtype)
            assert torch.isfinite(x).all() and torch.isfinite(x.square().sum())
        if scaling != "auto":
            assert x[:, 1].std() > 0.1  # denormal numbers aside, small ones are scaled up


def test_later_values_far_outside_stay_finite() -> None:
    tables = Tables(scaling="standard").fit(np.random.default_rng(0).normal(size=(50, 2)))
    x, _ = whole(tables, np.array([[1e300, -1e300]]), torch.float32)
    assert torch.isfinite(x.square().sum()) and x[0, 0] > 1e9 and x[0, 1] < -1e9


def test_offsets_do_not_cost_precision() -> None:
    array = 1e9 + np.random.default_rng(0).normal(size=(1000, 1))
    x, _ = whole(Tables().fit(array), array, torch.float32)
    np.testing.assert_allclose(x.numpy(), (array - array.mean()) / array.std(), atol=1e-5)


# ---- missing values, categories, dates -----------------------------------------------------------------------------


def test_missing_cells_have_no_value_and_no_weight() -> None:
    frame = mixed()
    tables = Tables().fit(frame)
    x, weight = whole(tables, frame)
    assert weight is not None and x[weight == 0].eq(0).all()
    for name, column, start in zip(
        [c.name for c in tables.spec.columns], tables.spec.columns, starts(tables), strict=True
    ):
        gone = torch.from_numpy(frame[name].is_null().to_numpy())
        assert (weight[:, start : start + column.size] == 0).all(dim=1).equal(gone)
        assert (weight[:, start : start + column.size] == 1).all(dim=1).equal(~gone)


def starts(tables: Tables) -> list[int]:
    sizes = [column.size for column in tables.spec.columns]
    return [sum(sizes[:place]) for place in range(len(sizes))]


def test_a_batch_without_gaps_has_no_weight() -> None:
    array = np.array([[1.0, 2.0], [np.nan, 3.0], [5.0, 6.0]])
    tables = Tables().fit(array)
    samples = tables.open(array)
    assert tables.spec.gaps
    assert tables.batch(samples, np.array([0, 2])).weight is None
    weight = tables.batch(samples, np.array([1, 0])).weight
    assert weight is not None and weight.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert tables.batch(tables.open(array[[0, 2]]), slice(None)).weight is None


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")])
def test_every_way_of_saying_nothing_is_understood(nothing: Any) -> None:
    frame = pd.DataFrame(
        {"a": np.array([1, nothing, 2], dtype=object), "b": np.array(["x", "y", nothing], dtype=object)}
    )
    if isinstance(nothing, np.datetime64):
        frame = pd.DataFrame({"a": [1, None, 2], "b": ["x", "y", None]})
    x, weight = whole(Tables().fit(frame), frame)
    assert weight is not None
    assert weight[:, 0].tolist() == [1, 0, 1] and weight[:, 1].tolist() == [1, 1, 0]


def test_categories_are_one_hot_with_a_place_for_others() -> None:
    frame = pl.DataFrame({"colour": ["red"] * 5 + ["blue"] * 3 + ["green"] * 2})
    tables = Tables().fit(frame)
    assert tables.schema[0].levels == ("red", "blue", "green")
    later = pl.DataFrame({"colour": ["blue", "mauve", None]})
    x, weight = whole(tables, later)
    assert x.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert weight is not None and weight.sum(dim=1).tolist() == [4, 4, 0]
    assert tables.from_tensor(x[:2])["colour"].to_list() == ["blue", None]
    assert [tables.describe(0, row) for row in x[:2]] == ["blue", "another value"]


def test_rare_levels_share_the_last_place() -> None:
    frame = pl.DataFrame({"letter": list("aaaabbbccd")})
    tables = Tables(max_categories=2).fit(frame)
    x, _ = whole(tables, frame)
    assert tables.spec.shape == (3,)
    assert x.argmax(dim=1).tolist() == [0] * 4 + [1] * 3 + [2] * 3


def test_an_enum_and_a_zoned_moment_come_back() -> None:
    frame = pl.DataFrame(
        {
            "size": pl.Series(["S", "L", "S"], dtype=pl.Enum(["S", "M", "L"])),
            "sort": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "at": pl.Series([0, 10**9, 7], dtype=pl.Int64).cast(pl.Datetime("ms", "Asia/Tokyo")),
            "price": pl.Series(["1.25", "3.50", "2.00"]).cast(pl.Decimal(10, 2)),
            "small": pl.Series([1.5, 2.5, 3.5], dtype=pl.Float32),
        }
    )
    tables = Tables().fit(frame)
    back = tables.from_tensor(whole(tables, frame)[0])
    assert back.schema == frame.schema and back.equals(frame)


def test_dates_keep_their_seconds_in_float32() -> None:
    start = datetime.datetime(2024, 1, 1)
    frame = pl.DataFrame({"at": [start + datetime.timedelta(seconds=i) for i in range(500)]})
    tables = Tables().fit(frame)
    x, _ = whole(tables, frame, torch.float32)
    back = tables.from_tensor(x)["at"]
    assert (back - frame["at"]).dt.total_microseconds().abs().max() < 1000


def test_whole_numbers_come_back_whole_and_in_range() -> None:
    frame = pl.DataFrame({"tiny": pl.Series([-100, 0, 50, 120], dtype=pl.Int8), "bit": [0, 1, 0, 1]})
    tables = Tables().fit(frame)
    x, _ = whole(tables, frame)
    x[0], x[1, 0], x[2, 1] = 1e6, -1e6, 0.6
    assert tables.from_tensor(x).rows() == [(127, 1), (-128, 1), (50, 1), (120, 1)]
    assert tables.spec.columns[1].kind == "boolean"


def test_names_and_keys_are_left_out() -> None:
    frame = pl.DataFrame(
        {"name": [f"person {i}" for i in range(40)], "room": [f"r{i % 3}" for i in range(40)], "row": range(40)}
    )
    tables = Tables().fit(frame)
    name, room, row = tables.schema
    assert (name.kind, room.kind, row.kind) == ("left out", "categorical", "numeric")
    assert (name.identifier, room.identifier, row.identifier) == (True, False, True)
    assert "40 in 40 rows" in name.left_out
    assert [column.name for column in tables.spec.columns] == ["room", "row"]
    without = frame.drop("name")
    assert whole(tables, without)[0].equal(whole(tables, frame)[0])
    # few rows say little: there every text is a category
    assert Tables().fit(frame.head(10)).schema[0].kind == "categorical"


def test_the_schema_says_what_was_found() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0, None, 5.0], "b": ["x", "x", "x", None], "c": [True, False, True, True]})
    a, b, c = Tables().fit(frame).schema
    assert (a.n_missing, a.n_distinct, a.minimum, a.maximum) == (1, 3, 1.0, 5.0)
    np.testing.assert_allclose([a.mean, a.standard_deviation], [8 / 3, np.std([1, 2, 5])])
    assert (b.n_missing, b.n_distinct, b.constant) == (1, 1, True)
    assert (c.kind, c.n_distinct, c.mean) == ("boolean", 2, 0.75)


def test_cells_are_described_as_a_person_would() -> None:
    frame = mixed()
    tables = Tables().fit(frame)
    x, _ = whole(tables, frame, torch.float64)
    texts = {column.name: tables.describe(place, x[8]) for place, column in enumerate(tables.spec.columns)}
    row = frame.row(8, named=True)
    assert texts["age"] == str(row["age"]) and texts["town"] == row["town"]
    assert texts["since"] == row["since"].isoformat() and texts["clock"] == "08:08:01"
    assert texts["member"] == ("yes" if row["member"] else "no") and texts["wait"] == "0:00:00"
    assert float(texts["pay"]) == pytest.approx(row["pay"], abs=0.01 * frame["pay"].std())
    assert texts["seen"].startswith("2021-01-01 20:") and len(texts["seen"]) == 19


# ---- lining up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pl.DataFrame.clone, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy])
def test_order_and_library_of_later_columns_do_not_matter(make: Any) -> None:
    frame = mixed()
    tables = Tables().fit(frame)
    x, weight = whole(tables, frame)
    again, same = whole(tables, make(frame.select(reversed(frame.columns))))
    torch.testing.assert_close(again, x, rtol=0, atol=1e-9)
    assert weight is not None and same is not None and weight.equal(same)


def test_other_types_with_the_same_meaning_are_understood() -> None:
    frame = pl.DataFrame(
        {"n": [1.5, 2.0, 30.0], "code": ["7", "8", "x"], "yes": [True, False, True], "day": ["2020-01-01"] * 3}
    )
    frame = frame.with_columns(pl.col("day").str.to_date() + pl.duration(days=pl.col("n").cast(pl.Int64)))
    tables = Tables().fit(frame)
    x, _ = whole(tables, frame.head(2))
    later = pl.DataFrame(
        {"n": ["1.5", " 2 "], "code": [7, 8], "yes": ["True", "no"], "day": ["2020-01-02", "2020-01-03"]}
    )
    assert whole(tables, later)[0].equal(x)
    later = pl.DataFrame(
        {"n": [1.5, 2], "code": [7.0, 8.0], "yes": [1, 0], "day": frame["day"][:2].cast(pl.Datetime("ns"))}
    )
    assert whole(tables, later)[0].equal(x)


def test_an_array_of_objects_is_numbers_or_columns() -> None:
    numbers = np.array([[1, 2.5], [None, 4]], dtype=object)
    x, weight = whole(Tables(scaling="none").fit(numbers), numbers)
    assert x.tolist() == [[1, 2.5], [0, 4]] and weight is not None
    words: list[list[object]] = [["red", 1], ["blue", 2], ["red", 3]]
    tables = Tables().fit(words)
    assert [column.kind for column in tables.spec.columns] == ["categorical", "numeric"]
    back = tables.from_tensor(whole(tables, np.array(words, dtype=object))[0])
    assert back.tolist() == words and tables.feature_names == ["x0", "x1"] and tables.n_features_in == 2


def test_bare_rows_fit_a_frame_by_place_and_a_frame_fits_bare_training() -> None:
    frame = mixed().select("age", "town", "pay").drop_nulls()
    tables = Tables().fit(frame)
    x, _ = whole(tables, frame)
    assert whole(tables, [list(row) for row in frame.rows()])[0].equal(x)
    array = frame.select("age", "pay").to_numpy()
    bare = Tables().fit(array)
    torch.testing.assert_close(whole(bare, frame.select("age", "pay"))[0], whole(bare, array)[0])


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "uint16", "int32", "uint64", ">f8"]
)
@pytest.mark.parametrize("layout", ["plain", "fortran", "reversed", "strided", "read-only"])
def test_arrays_of_every_type_and_layout_give_the_same(dtype: str, layout: str) -> None:
    plain = np.random.default_rng(0).integers(0, 90, (30, 4)).astype(dtype)
    array = {
        "plain": plain,
        "fortran": np.asfortranarray(plain),
        "reversed": plain[::-1].copy()[::-1],
        "strided": np.repeat(plain, 2, axis=1)[:, ::2],
        "read-only": plain.copy(),
    }[layout]
    array.flags.writeable = layout != "read-only"
    tables = Tables().fit(array)
    rows = np.array([3, 29, 0, 3])
    expected = ((plain.astype(float) - plain.astype(float).mean(0)) / plain.astype(float).std(0))[rows]
    for wanted, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        batch = tables.batch(tables.open(array), rows, wanted)
        assert batch.x.dtype == wanted and batch.x.is_contiguous()
        np.testing.assert_allclose(batch.x.numpy(), expected, atol=tolerance)


def test_truth_values_in_an_array_are_yes_and_no() -> None:
    array = np.array([[True, False], [False, False], [True, True]])
    tables = Tables().fit(array)
    assert [column.kind for column in tables.spec.columns] == ["boolean", "boolean"]
    assert whole(tables, array)[0].tolist() == array.astype(float).tolist()


# ---- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_stay_as_they_came(dtype: Any) -> None:
    array = np.random.default_rng(0).normal(size=(100, 5)).astype(dtype)
    before = array.copy()
    tables = Tables().fit(array)
    samples = tables.open(array)
    assert np.shares_memory(samples.numbers, array)
    assert samples.tensor is not None and samples.tensor.data_ptr() == array.ctypes.data
    for rows in (slice(None), slice(0, 10), np.arange(100)):
        tables.batch(samples, rows, torch.float32).x.fill_(7)
        tables.batch(samples, rows, torch.float64).x.fill_(7)
    assert np.array_equal(array, before)


def test_sparse_rows_are_filled_in_only_for_a_batch() -> None:
    matrix = sparse.random_array((2000, 5000), density=0.001, rng=np.random.default_rng(0), format="csr")
    tables = Tables(scaling="none").fit(matrix)
    samples = tables.open(matrix)
    assert samples.numbers is matrix or np.shares_memory(samples.numbers.data, matrix.data)
    np.testing.assert_array_equal(
        tables.batch(samples, np.array([5, 7]), torch.float64).x.numpy(), matrix[[5, 7]].toarray()
    )


# ---- refusals ------------------------------------------------------------------------------------------------------

BAD_ARRAYS: list[tuple[Any, str]] = [
    (np.zeros((0, 3)), r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
    (np.zeros((12, 0)), r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required"),
    (np.zeros(3), "Expected 2D array, got 1D array instead"),
    (np.zeros((2, 2, 2)), "dim 3"),
    (np.array([[1 + 1j]]), "Complex data not supported"),
    (sparse.csr_array(np.array([[1 + 1j]])), "Complex data not supported"),
    (np.array([[1.0, np.inf]]), r"column 'x1' holds an infinite value in row 0 .* replace it with NaN"),
    (np.array([[1.0], [-np.inf], [np.inf]]), r"column 'x0' holds 2 infinite values, the first in row 1"),
    (sparse.csr_array(np.array([[0.0, np.inf]])), "column 'x1' holds an infinite value"),
    (np.array([["2020-01-01"]], dtype="datetime64[D]"), "DataFrame"),
    (np.array([[{"a": 1}, 2.0]], dtype=object), "argument must be a string or a real number"),
    (np.array([[[1, 2], 2.0], [3, 4]], dtype=object), "argument must be a string or a real number"),
    ([[1, 2], [3]], "differ in length"),
    ([], "Expected 2D array"),
    (None, "a table is an array, a frame or a path, not NoneType"),
    ({"a": [1]}, "not dict"),
    (5, "not int"),
    (np.full((3, 2), np.nan), "no column of the table can be used"),
    (pd.Series([1.0, 2.0]), "2"),
    (pd.DataFrame({"a": []}), r"0 sample\(s\)"),
    (pd.DataFrame(index=[0, 1]), r"0 feature\(s\)"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a'"),
    (pd.DataFrame({"a": [1.0, np.inf]}), "column 'a' holds an infinite value in row 1"),
    (pl.DataFrame({"name": [f"n{i}" for i in range(50)]}), "no column of the table can be used .name: almost every"),
    (pl.DataFrame({"a": [[1], [2]]}), "lists or records"),
    ("table.xlsx", "an ending that is no table's"),
    ("absent.csv", "does not exist"),
]


@pytest.mark.parametrize(("X", "words"), BAD_ARRAYS, ids=[str(place) for place in range(len(BAD_ARRAYS))])
def test_what_is_no_table_is_refused(X: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Tables().fit(X)


def test_a_wrong_width_is_refused_in_the_name_of_the_owner() -> None:
    tables = Tables().fit(np.zeros((3, 5)))
    with pytest.raises(DataError, match="^X has 3 features, but Tables is expecting 5 features as input"):
        tables.open(np.zeros((3, 3)))
    tables.owner = "AnomalyDetector"
    with pytest.raises(DataError, match="^X has 1 features, but AnomalyDetector is expecting 5 features as input"):
        tables.open(np.zeros((3, 1)))


def test_missing_and_extra_columns_are_listed() -> None:
    tables = Tables().fit(pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0], "c": [1.0, 4.0]}))
    with pytest.raises(DataError, match="lacks the columns 'a', 'c', which training had; add what is missing"):
        tables.open(pl.DataFrame({"b": [1.0]}))
    with pytest.raises(DataError, match="has the column 'd', which training did not have; drop what is new"):
        tables.open(pl.DataFrame({"a": [1.0], "b": [1.0], "c": [1.0], "d": [1.0]}))
    with pytest.raises(DataError, match="lacks the column 'a'.* and has the column 'A'.* add what is missing and drop"):
        tables.open(pl.DataFrame({"A": [1.0], "b": [1.0], "c": [1.0]}))


def test_settings_are_checked() -> None:
    with pytest.raises(SettingError, match="scaling is 'big'; it must be one of auto, standard"):
        Tables(scaling="big").fit(np.zeros((2, 2)))
    with pytest.raises(SettingError, match="max_categories is 0"):
        Tables(max_categories=0).fit(np.zeros((2, 2)))
    tables = Tables().fit(np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"shape \(3, 5\); it must be \(n_rows, 2\)"):
        tables.from_tensor(torch.zeros(3, 5))
    with pytest.raises(DataError, match="the container is 'excel'"):
        tables.from_tensor(torch.zeros(3, 2), "excel")


@pytest.mark.parametrize(
    ("X", "accepted"),
    [
        (np.zeros((2, 2)), True),
        ([[1, 2]], True),
        (torch.zeros(2, 2), True),
        (sparse.eye_array(3), True),
        (pd.DataFrame({"a": [1]}), True),
        (pl.LazyFrame({"a": [1]}), True),
        (pa.table({"a": [1]}), True),
        ("x.csv", True),
        (Path("x.CSV.gz"), True),
        ("x.parquet", True),
        ("-", True),
        ("photos/", False),
        ("x.png", False),
        (np.zeros((2, 2, 2)), False),
        (["some", "words"], False),
        (None, False),
        (5, False),
    ],
)
def test_it_knows_what_it_can_take(X: Any, accepted: bool) -> None:
    assert Tables.accepts(X) is accepted


# ---- storing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pl.DataFrame.clone, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
def test_a_stored_schema_gives_the_same_tensors_and_tables(make: Any) -> None:
    frame = make(mixed())
    tables = Tables(max_categories=2).fit(frame)
    document, tensors = tables.state()
    again = Tables(max_categories=2).restore(copy.deepcopy(document), {key: t.clone() for key, t in tensors.items()})
    x, weight = whole(tables, frame)
    same, same_weight = whole(again, frame)
    assert x.equal(same) and weight is not None and same_weight is not None and weight.equal(same_weight)
    assert again.spec == tables.spec and repr(again.schema) == repr(tables.schema)
    first, second = tables.from_tensor(x), again.from_tensor(x)
    assert first.equals(second)
    assert again.container == tables.container and again.feature_names == tables.feature_names


@pytest.mark.parametrize(
    "X", [np.array([[1.0, np.nan, 2.0], [4.0, np.nan, 1e9]] * 30), sparse.eye_array(40, format="csr")]
)
def test_a_stored_matrix_schema_gives_the_same_tensors(X: Any) -> None:
    tables = Tables().fit(X)
    again = Tables().restore(*tables.state())
    assert whole(again, X)[0].equal(whole(tables, X)[0])
    assert type(again.from_tensor(whole(again, X)[0])) is type(X)


def test_a_schema_that_cannot_be_is_refused() -> None:
    document, tensors = Tables().fit(mixed()).state()
    zero = torch.zeros(1, dtype=torch.float64)
    damages: list[tuple[dict[str, Any], dict[str, torch.Tensor]]] = [
        ({"container": "excel"}, {}),
        ({"named": "yes"}, {}),
        ({}, {"scaler_center": zero}),
        ({}, {"scaler_scale": tensors["scaler_scale"] * 0}),
        ({}, {"scaler_scale": tensors["scaler_scale"] * float("nan")}),
        ({}, {"scaler_compressed": torch.tensor([99]), "scaler_late_center": zero, "scaler_late_scale": zero + 1}),
        ({}, {"scaler_late_center": torch.zeros(7, dtype=torch.float64)}),
        ({}, {"column_name": tensors["column_name"][:-4]}),
        ({}, {"column_kind": tensors["column_dtype"]}),
        ({}, {"column_dtype": tensors["column_name"]}),
        ({}, {"column_levels_counts": tensors["column_levels_counts"] + 1}),
        ({}, {"column_mean": zero}),
    ]
    for changes, spoiled in damages:
        with pytest.raises(ModelFileError, match="^the description of the table's columns|^a list of words"):
            Tables().restore(document | changes, tensors | spoiled)
    for key in tensors:
        with pytest.raises(ModelFileError):
            Tables().restore(document, {name: tensor for name, tensor in tensors.items() if name != key})
    with pytest.raises(ModelFileError):
        Tables().restore({}, tensors)


def test_default_parts_follow_the_columns() -> None:
    assert Tables().fit(np.zeros((2, 2))).likelihood() == "normal"
    assert Tables().fit(mixed()).likelihood() == "mixed"
    assert Tables().network() == "dense"
    assert Tables().fit(np.zeros((2, 2))).spec.columns == ()


# ---- real tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "left_out", "compressed"),
    [
        ("adult.csv.gz", set(), {"capital-gain"}),
        ("titanic.csv", set(), {"fare"}),
        ("telco-churn.csv", {"customerID"}, set()),
    ],
)
def test_real_tables_go_in_and_come_back(name: str, left_out: set[str], compressed: set[str]) -> None:
    path = DATA / "tabular" / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set ISTHMUS_DATA to the folder that holds tabular/{name}")
    frame = Tables.read(path)
    tables = Tables().fit(frame)
    assert {facts.name for facts in tables.schema if facts.kind == "left out"} == left_out
    assert compressed <= {facts.name for facts in tables.schema if facts.compressed}
    x, weight = whole(tables, frame)
    assert weight is not None and x.abs().max() < 15
    back = tables.from_tensor(x)
    assert back.schema == frame.schema
    for column in set(frame.columns) - left_out:
        assert present_equal(frame[column].to_list(), back[column].to_list()), column


def test_total_charges_are_numbers_with_gaps() -> None:
    path = DATA / "tabular" / "telco-churn.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there; set ISTHMUS_DATA to the folder that holds tabular/telco-churn.csv")
    facts = {facts.name: facts for facts in Tables().fit(path).schema}
    assert facts["TotalCharges"].kind == "numeric" and facts["TotalCharges"].n_missing == 11
    assert facts["SeniorCitizen"].kind == "boolean" and facts["Churn"].kind == "categorical"


def test_columns_with_heavy_tails_are_not_copied() -> None:
    """Choosing a scaling takes memory for a few rows, however many columns it draws in."""
    array = np.random.default_rng(0).standard_normal((200_000, 8)).astype(np.float32)
    array[::500] *= 40
    Tables().fit(array[:1000])
    tracemalloc.start()
    try:
        tables = Tables().fit(array)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(tables._scaler.compressed) == 8
    assert peak < 0.9 * array.nbytes
