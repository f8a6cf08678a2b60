"""The demo's table: real measurements, and rows that are made odd on purpose; find them, score new ones."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isthmus.interfaces import output
from isthmus.interfaces.demo_shared import Places, found_sentence, heading, say, verbose

if TYPE_CHECKING:
    import polars as pl

N_TABLE = 500  # rows to fit on; the rest are the new ones


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


# ---- the steps


def show_table(places: Places) -> tuple[pl.DataFrame, pl.DataFrame, list[Planted]]:
    """The table to fit on, with odd rows planted in it, and new rows."""
    whole = real_table()
    table, planted = plant(whole[:N_TABLE])
    new = whole[N_TABLE:]
    values = changes(whole[:N_TABLE], table)
    ordinary = sum(whole[name].quantile(0.01) <= value <= whole[name].quantile(0.99) for name, value in values)  # type: ignore[operator]
    heading(1, "A real table")
    say(
        f"{whole.height} breast tumours measured under the microscope (Street et al. 1993, bundled with scikit-learn): "
        f"{whole.width - 1} numbers and a diagnosis each. We fit on the first {table.height} and keep {new.height} as "
        f"new ones. Into the first we plant {len(planted)} odd rows. Of the {len(values)} cells changed {ordinary} "
        "hold values from the middle 98 % of their column: there it is only the combination that is odd."
    )
    for one in planted:
        output.write(f"  row {one.row:>3}: {one.what}\n")
    output.write_rows(table, str(places.of("table.csv")), False)
    output.write_rows(new, str(places.of("new.csv")), False)
    return table, new, planted


def find_odd_rows(table: pl.DataFrame, planted: list[Planted], places: Places) -> Any:
    """A detector fitted on the table; the oddest rows with their reasons."""
    import polars as pl

    from isthmus import AnomalyDetector

    heading(2, "Find the odd rows, and say why")
    model = AnomalyDetector().default().set_params(verbose=verbose())
    started = time.monotonic()
    detector = AnomalyDetector(model, contamination=0.02, random_state=places.seed).fit(table)
    epochs = len(detector.autoencoder_.history_)
    say(f"Trained {epochs} epochs in {time.monotonic() - started:.1f} s; nobody told it which rows are odd, or how.")
    answer = detector.answer(table, n_reasons=1, n_rows=7)
    rows = [one.row for one in planted]
    marks = pl.Series("planted", [row in rows for row in answer.highlights["row"]])
    shown = answer.highlights.select("row", "score", marks, "why")
    output.show(shown, f"The {shown.height} oddest:", sys.stdout)
    ranks = answer.table.sort("score", descending=True)["row"].to_list()
    found = sorted(ranks.index(row) + 1 for row in rows)
    say(f"Of the {len(rows)} planted rows {found_sentence(found, shown.height, table.height)}")
    detector.save(places.of("table.safetensors"))
    return detector


def load_and_score(detector: Any, table: pl.DataFrame, new: pl.DataFrame, places: Places) -> None:
    """The model from its file, on rows that it has not seen."""
    import numpy as np

    from isthmus import load

    heading(3, "Save, load, score new rows")
    path = places.of("table.safetensors")
    loaded = load(path)
    same = bool(np.array_equal(loaded.score_samples(table), detector.score_samples(table)))
    scores = "the same to the last bit" if same else "different"
    size = output.size(path.stat().st_size)
    say(f"The model is one file of {size}, no pickle; loaded again, its scores are {scores}.")
    answer = loaded.answer(new, n_reasons=1)
    output.write_rows(answer.table, str(places.of("scores.csv")), False)
    say(f"Of the new rows {answer.headline.replace(f' of {new.height} rows', '')}")
