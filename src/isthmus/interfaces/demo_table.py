"""The demo's table: real measurements, and rows that are made odd on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Planted:
    """A row that the demo made odd, and how."""

    row: int
    what: str


def real_table() -> pl.DataFrame:
    """Breast cancer Wisconsin: mean and worst of ten measurements for each tumour, and the diagnosis."""
    import polars as pl
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    numbers = {name: bunch.data[:, place] for place, name in enumerate(bunch.feature_names) if "error" not in name}
    return pl.DataFrame(numbers).with_columns(pl.Series("diagnosis", bunch.target_names[bunch.target].tolist()))


def plant(table: pl.DataFrame) -> tuple[pl.DataFrame, list[Planted]]:
    """The table with five rows made odd. Ordinary ones are taken: the most typical in size of either diagnosis."""
    a, c, e = _typical(table, "benign", 3)
    b, d, f = _typical(table, "malignant", 3)
    old = {name: table[name].to_list() for name in table.columns}
    cells = {name: list(values) for name, values in old.items()}
    cells["mean area"][a], cells["mean area"][b] = old["mean area"][b], old["mean area"][a]
    cells["worst perimeter"][c] = old["worst perimeter"][f]
    cells["mean radius"][d], cells["worst radius"][d] = old["worst radius"][d], old["mean radius"][d]
    cells["mean smoothness"][e] = 10 * old["mean smoothness"][e]
    import polars as pl

    return pl.DataFrame(cells, schema=table.schema), [
        Planted(a, f"has the mean area of row {b}"),
        Planted(b, f"has the mean area of row {a}"),
        Planted(c, f"has the worst perimeter of row {f}"),
        Planted(d, "has its mean radius and its worst radius exchanged"),
        Planted(e, "has a slipped decimal point in mean smoothness"),
    ]


def changes(before: pl.DataFrame, after: pl.DataFrame) -> list[tuple[str, float]]:
    """Column and new value of every cell that differs."""
    return [
        (name, new) for name in before.columns for old, new in zip(before[name], after[name], strict=True) if old != new
    ]


def _typical(table: pl.DataFrame, diagnosis: str, count: int) -> list[int]:
    """The rows of a diagnosis whose area is nearest to its median."""
    area = table.with_row_index("row").filter(table["diagnosis"] == diagnosis).select("row", "mean area")
    away = (area["mean area"] - area["mean area"].median()).abs()
    return area["row"].gather(away.arg_sort()[:count]).to_list()
