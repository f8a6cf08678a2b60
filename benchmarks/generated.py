"""Generated rows of a census table: what a classifier learns from them, beside real rows and simple rivals.

    python3 dev.py bench generated

UCI adult: 22,561 rows to learn from, 10,000 held out, the income among the columns. Each way draws as many rows as it
was fitted on; gradient-boosted trees (scikit-learn's, as they are) learn from what was drawn to tell the income of the
held-out rows. Real rows are the mark to reach. The rival: each column drawn by itself within each class of income.
Reported beside: how many more drawn rows than chance explains lie nearer to a training row than to a held-out one.
Settings are the class's own; nothing was chosen on these rows. The table is looked for in $ISTHMUS_DATA, or in
../shared/data.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

import isthmus
from isthmus import Autoencoder, Synthesizer
from isthmus.evaluation import copying

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FILE, TARGET, HELD_OUT = DATA / "tabular" / "adult.csv.gz", "income-per-year", 10_000


def by_column(train: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Each column drawn by itself from the rows of a class: no column knows of another but through the class."""
    random = np.random.default_rng(seed)
    drawn = []
    for _, group in train.group_by(TARGET, maintain_order=True):
        columns = [group[name].gather(random.integers(len(group), size=len(group))) for name in train.columns]
        drawn.append(pl.DataFrame(columns))
    return pl.concat(drawn)


class Judge:
    """Learns from rows, is asked about the held-out ones."""

    def __init__(self, train: pl.DataFrame, test: pl.DataFrame):
        self.words = [name for name in train.columns if train[name].dtype == pl.String and name != TARGET]
        self.encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        self.encoder.fit(train.select(self.words).to_pandas())
        self.test = test
        self.other = sorted(train[TARGET].unique())[-1]

    def inputs(self, rows: pl.DataFrame) -> np.ndarray:
        words = self.encoder.transform(rows.select(self.words).to_pandas())
        numbers = rows.drop(*self.words, TARGET).cast(pl.Float64).to_numpy()
        return np.concatenate([words, numbers], axis=1)

    def __call__(self, rows: pl.DataFrame, seed: int) -> tuple[float, float]:
        """Accuracy and area under the curve, in points."""
        trees = HistGradientBoostingClassifier(categorical_features=range(len(self.words)), random_state=seed)
        trees.fit(self.inputs(rows), (rows[TARGET] == self.other).to_numpy())
        chance = trees.predict_proba(self.inputs(self.test))[:, 1]
        truth = (self.test[TARGET] == self.other).to_numpy()
        return 100 * float(((chance > 0.5) == truth).mean()), 100 * float(roc_auc_score(truth, chance))


def ways(columns: list[str]) -> dict[str, Callable[[pl.DataFrame, int], tuple[pl.DataFrame, object]]]:
    def synthesized(density: str = "auto", marginals: bool = True, classes: bool = False, **settings: object):
        def draw(train: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, object]:
            model = Synthesizer(Autoencoder(**settings), density=density, marginals=marginals, random_state=seed)
            if not classes:
                return model.fit(train).sample(len(train), random_state=seed + 1), model
            labels = train[TARGET].to_list()
            drawn = model.fit(train.drop(TARGET), labels).answer(len(train), random_state=seed + 1)
            return drawn.samples.with_columns(drawn.table["class"].alias(TARGET)).select(columns), model

        return draw

    return {
        "real rows": lambda train, seed: (train, None),
        "Synthesizer()": synthesized(),
        "Synthesizer(), fitted with the labels": synthesized(classes=True),
        "the same, marginals=False": synthesized(classes=True, marginals=False),
        "column by column within a class": lambda train, seed: (by_column(train, seed), None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if not FILE.exists():
        sys.exit(f"{FILE} is not there; set ISTHMUS_DATA to a folder with tabular/adult.csv.gz.")
    rows = pl.read_csv(FILE, null_values="?")
    order = np.random.default_rng(0).permutation(len(rows))
    train, test = rows[order[HELD_OUT:].tolist()], rows[order[:HELD_OUT].tolist()]
    judge = Judge(train, test)
    table = Table(title=f"Isthmus {isthmus.__version__}, Python {platform.python_version()}; {len(train):,} rows")
    for column in ("rows", "accuracy, %", "lost", "AUROC, %", "lost", "copies beyond chance", "wall s"):
        table.add_column(column, justify="left" if column == "rows" else "right")
    real: list[float] = []
    for name, draw in ways(rows.columns).items():
        figures = []
        for seed in range(given.seeds):
            start = time.perf_counter()
            drawn, model = draw(train, seed)
            wall = time.perf_counter() - start
            near = float("nan")
            if isinstance(model, Synthesizer):
                inner = [one for one in rows.columns if one in model.feature_names_in_]
                near = copying(model, *(part.select(inner)[:5000] for part in (drawn, train, test))).beyond_chance
            figures.append([*judge(drawn, seed), near, wall])
        accuracy, area, near, wall = np.mean(figures, axis=0)
        real = real or [accuracy, area]
        spread = f" ± {np.std([one[0] for one in figures]):.1f}" if given.seeds > 1 else ""
        cells = [f"{accuracy:.1f}{spread}", f"{real[0] - accuracy:.1f}", f"{area:.1f}", f"{real[1] - area:.1f}"]
        table.add_row(name, *cells, "" if np.isnan(near) else f"{near:.1%}", f"{wall:.0f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
