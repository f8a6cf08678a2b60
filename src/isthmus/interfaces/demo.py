"""`isthmus demo`: the whole way on a real table. Every number that it prints is measured in the run."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from isthmus.atomic import storage_error
from isthmus.errors import SettingError
from isthmus.interfaces import output
from isthmus.interfaces.demo_table import Planted, changes, plant, real_table
from isthmus.interfaces.options import PREFIX, Command, Section
from isthmus.interfaces.output import draws, show, write

if TYPE_CHECKING:
    import polars as pl

N_TABLE = 500  # rows to fit on; the rest are the new ones
TWO = 2


@dataclass(frozen=True)
class Paths:
    """The files that the demo leaves behind."""

    folder: Path

    @property
    def table(self) -> Path:
        return self.folder / "table.csv"

    @property
    def new(self) -> Path:
        return self.folder / "new.csv"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.csv"


def command() -> Command:
    """`isthmus demo`."""
    options = (
        click.Option(["--into"], metavar="DIR", default="isthmus-demo", show_default=True, help="Where its files go."),
        click.Option(
            ["--seed"],
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            show_default=True,
            envvar=f"{PREFIX}SEED",
            metavar="WHOLE",
            help="Another seed, another run.",
        ),
    )
    return Command(
        "demo",
        run,
        "Show the whole way on a real table, in under a minute.",
        sections=[Section("Settings", options)],
        examples=["isthmus demo", "isthmus demo --into /tmp/isthmus-demo --seed 1"],
    )


def run(into: str, seed: int) -> None:
    """All steps, each with what came of it."""
    started = time.monotonic()
    paths = _folder(into)
    table, new, planted = _tables(paths)
    detector = _detect(table, planted, paths, seed)
    _load_and_score(detector, table, new, paths)
    _encode(table, seed)
    _generate(detector, seed)
    _next(paths, time.monotonic() - started)


def _folder(into: str) -> Paths:
    folder = Path(into)
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"--into is {into!r}, which is a file; give a directory.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise storage_error(folder, "made", error) from error
    paths = Paths(folder)
    for path in (paths.table, paths.new, paths.model, paths.scores):
        output.check_output(str(path))
    return paths


# ---- 1: a table with odd rows


def _tables(paths: Paths) -> tuple[pl.DataFrame, pl.DataFrame, list[Planted]]:
    whole = real_table()
    table, planted = plant(whole[:N_TABLE])
    new = whole[N_TABLE:]
    values = changes(whole[:N_TABLE], table)
    ordinary = sum(whole[name].quantile(0.01) <= value <= whole[name].quantile(0.99) for name, value in values)  # type: ignore[operator]
    _heading(1, "A real table")
    _say(
        f"{whole.height} breast tumours measured under the microscope (Street et al. 1993, bundled with scikit-learn): "
        f"{whole.width - 1} numbers and a diagnosis each. We fit on the first {table.height} and keep {new.height} as "
        f"new ones. Into the first we plant {len(planted)} odd rows. Of the {len(values)} cells changed {ordinary} "
        "hold values from the middle 98 % of their column: there it is only the combination that is odd."
    )
    for one in planted:
        write(f"  row {one.row:>3}: {one.what}\n")
    output.write_rows(table, str(paths.table), False)
    output.write_rows(new, str(paths.new), False)
    return table, new, planted


# ---- 2: find them


def _detect(table: pl.DataFrame, planted: list[Planted], paths: Paths, seed: int) -> Any:
    import polars as pl

    from isthmus import AnomalyDetector

    _heading(2, "Find the odd rows, and say why")
    model = AnomalyDetector().default().set_params(verbose=None if draws(sys.stderr) else False)
    started = time.monotonic()
    detector = AnomalyDetector(model, contamination=0.02, random_state=seed).fit(table)
    epochs = len(detector.autoencoder_.history_)
    _say(f"Trained {epochs} epochs in {time.monotonic() - started:.1f} s; nobody told it which rows are odd, or how.")
    answer = detector.answer(table, n_reasons=2, n_rows=7)
    rows = [one.row for one in planted]
    marks = pl.Series("planted", [row in rows for row in answer.highlights["row"]])
    show(answer.highlights.select("row", "score", marks, "why"), f"The {answer.highlights.height} oddest:", sys.stdout)
    ranks = answer.table.sort("score", descending=True)["row"].to_list()
    places = sorted(ranks.index(row) + 1 for row in rows)
    _say(f"Of the {len(rows)} planted rows {found_sentence(places, answer.highlights.height, table.height)}")
    detector.save(paths.model)
    return detector


def found_sentence(places: list[int], shown: int, n_rows: int) -> str:
    """How well they were found, by their places among all rows, 1 being the oddest.

    >>> found_sentence([1, 2, 9], 5, 100)
    '2 are among the 5 oddest, and all 3 among the 9 oddest of 100.'
    """
    among = sum(place <= shown for place in places)
    if among == len(places):
        return f"all {among} are among the {max(places)} oddest of {n_rows}."
    return f"{among} are among the {shown} oddest, and all {len(places)} among the {max(places)} oddest of {n_rows}."


# ---- 3 to 5: save, load, score, encode, generate


def _load_and_score(detector: Any, table: pl.DataFrame, new: pl.DataFrame, paths: Paths) -> None:
    import numpy as np

    from isthmus import load

    _heading(3, "Save, load, score new rows")
    loaded = load(paths.model)
    same = bool(np.array_equal(loaded.score_samples(table), detector.score_samples(table)))
    size = output.size(os.path.getsize(paths.model))
    scores = "the same to the last bit" if same else "different"
    _say(f"The model is one file of {size}, no pickle; loaded again, its scores are {scores}.")
    answer = loaded.answer(new, n_reasons=2)
    output.write_rows(answer.table, str(paths.scores), False)
    _say(f"Of the new rows {answer.headline.replace(f' of {new.height} rows', '')}")


def _encode(table: pl.DataFrame, seed: int) -> None:
    from isthmus import Autoencoder

    _heading(4, "Encode to two numbers")
    numbers, diagnosis = table.drop("diagnosis"), table["diagnosis"].to_list()
    model = Autoencoder(TWO, random_state=seed, verbose=None if draws(sys.stderr) else False).fit(numbers)
    codes = model.transform(numbers)
    ours, theirs = agreement(codes, diagnosis), agreement(_principal(numbers.to_numpy()), diagnosis)
    write("\n".join(scatter(codes, [word[0] for word in diagnosis])) + "\n")
    _say(
        f"b and m: benign and malignant, which it was not told. The nearest neighbour in the two numbers has the same "
        f"diagnosis in {100 * ours:.0f} % of the rows; with two principal components it is {100 * theirs:.0f} %."
    )


def _principal(numbers: Any) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    return PCA(TWO).fit_transform(StandardScaler().fit_transform(numbers))


def agreement(codes: Any, labels: list[str]) -> float:
    """The share of rows whose nearest neighbour has the same label.

    >>> import numpy as np
    >>> agreement(np.array([[0.0], [0.1], [5.0], [5.2]]), ["a", "a", "b", "a"])
    0.5
    """
    from sklearn.neighbors import NearestNeighbors

    places = NearestNeighbors(n_neighbors=1).fit(codes).kneighbors(return_distance=False)[:, 0]
    same = [labels[place] == label for place, label in zip(places, labels, strict=True)]
    return float(sum(same) / len(labels))


def scatter(codes: Any, marks: list[str], width: int = 72, height: int = 14) -> list[str]:
    """Points in the plane as lines of text; the outermost one per cent on each side stand at the border.

    >>> import numpy as np
    >>> scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), ["a", "b"], width=3, height=2)
    ['    b', '  a']
    """
    import numpy as np

    low, high = np.quantile(codes, [0.01, 0.99], axis=0)
    places = np.clip((codes - low) / np.maximum(high - low, 1e-12), 0, 1) * [width - 1, height - 1]
    lines = [[" "] * width for _ in range(height)]
    for (x, y), mark in zip(np.rint(places).astype(int), marks, strict=True):
        lines[height - 1 - y][x] = mark
    return [("  " + "".join(line)).rstrip() for line in lines]


def _generate(detector: Any, seed: int) -> None:
    _heading(5, "Generate rows")
    rows = detector.autoencoder_.sample(3, random_state=seed)
    columns = ["mean radius", "mean area", "mean smoothness", "worst radius", "diagnosis"]
    show(rows.select(columns), "Three tumours that nobody had, five of their columns:", sys.stdout)


def _next(paths: Paths, seconds: float) -> None:
    model, new = paths.model, paths.new
    _heading(6, "What to try next")
    write(
        f"  isthmus detect {model} {new}\n"
        f"  isthmus info {model}\n"
        f"  isthmus encode {model} {new} | head -3\n"
        f"  isthmus fit {paths.table} --for detect -o my-model.safetensors\n"
        f"  isthmus fit YOUR.csv --for detect -o your-model.safetensors\n"
    )
    names = ", ".join(path.name for path in (paths.table, paths.new, paths.model, paths.scores))
    _say(f"The files are in {paths.folder}/: {names}. All of it took {seconds:.0f} s.")


def _heading(number: int, text: str) -> None:
    write(f"\n{number}. {text}\n\n")


def _say(text: str) -> None:
    """A paragraph, in lines of at most 80 characters."""
    write("\n".join(textwrap.wrap(text, min(80, output.width()), break_long_words=False)) + "\n")
