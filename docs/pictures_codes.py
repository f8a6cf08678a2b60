"""Draws the pictures of docs/cluster.md, retrieve.md and reduce.md: `python docs/pictures_codes.py`, two minutes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from sklearn.datasets import load_digits, load_wine

from isthmus import Autoencoder, Clusterer, Retriever
from isthmus.report import map_of

FOLDER = Path(__file__).parent / "pictures"
TYPICAL = 4


def grouped() -> None:
    """Each group in a column: its middle, decoded, and its most typical members below."""
    X = (load_digits().images / 16).astype(np.float32)
    clusterer = Clusterer(n_clusters=10, random_state=0).fit(X)
    answer = clusterer.answer(X).table.sort("cluster", "distance", "row")
    figure, axes = plt.subplots(1 + TYPICAL, 10, figsize=(6.5, 3.6))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.93, wspace=0.08, hspace=0.08)
    for group, column in enumerate(axes.T):
        members = answer.filter(cluster=group)["row"].to_list()[1 : 1 + TYPICAL]  # the first is the middle itself
        for axis, pixels in zip(column, [clusterer.cluster_centers_[group], *X[members]], strict=True):
            axis.imshow(np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        column[0].set_title(f"group {group}", fontsize=8)
    figure.savefig(FOLDER / "grouped.png", dpi=110)
    plt.close(figure)


def sheet() -> None:
    """Two digits that were looked for, and what was found."""
    X = (load_digits().images / 16).astype(np.float32)
    retriever = Retriever(random_state=0).fit(X[:1400])
    retriever.contact_sheet(X[[1500, 1607]], FOLDER / "sheet.png", 5, pictures=X[:1400])


def on_a_map() -> None:
    """Wines in two numbers, as in docs/reduce.md."""
    wine = load_wine()
    table = pl.DataFrame(wine.data, schema=wine.feature_names).with_columns(cultivar=pl.Series(wine.target))
    model = Autoencoder(n_components=2, random_state=0).fit(table.drop("cultivar"))
    map_of(model, table, "cultivar").write(FOLDER / "map.png")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    on_a_map()
    sheet()
    grouped()
