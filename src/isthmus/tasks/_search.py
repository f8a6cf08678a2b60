"""Who is nearest: exactly among numbers, exactly among bits, and with faiss among very many.

Axes: n items, q queries, k nearest, d numbers or bits of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.neighbors import NearestNeighbors

from isthmus.errors import MissingExtraError

Numbers = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]  # packed, eight in a byte
Places = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]

SHOWN = 20  # queries that a reader is shown
AT_ONCE = 2**24  # pairs of items and queries, which bounds memory to a few hundred megabytes
FEW = 10_000  # items among which faiss looks at all of them
PER_LIST = 100  # items: into so large parts faiss divides them, and looks through one part in PARTS
PARTS = 16


class Search(Protocol):
    """The nearest of the items to each query, nearest first; of equally near ones the first."""

    def nearest(self, queries: Any, k: int) -> tuple[Distances, Places]:
        """Distances and places, twice (q, k)."""
        ...


class ByNumbers:
    """Euclidean distances, by scikit-learn."""

    def __init__(self, items: Numbers):
        self.model = NearestNeighbors().fit(items)

    def nearest(self, queries: Numbers, k: int) -> tuple[Distances, Places]:
        distances, places = self.model.kneighbors(queries, k)
        order = np.lexsort((places, distances), axis=1)
        found: tuple[Distances, Places] = (
            np.take_along_axis(distances, order, 1).astype(np.float64),
            np.take_along_axis(places, order, 1).astype(np.int64),
        )
        return found


class ByBits:
    """Hamming distances: how many bits differ.

    >>> items = np.packbits(np.array([[0, 0, 1], [1, 1, 1]], dtype=bool), axis=1)
    >>> ByBits(items).nearest(items[:1], 2)[0].tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, items: Bits):
        self.words = in_words(items)

    def nearest(self, queries: Bits, k: int) -> tuple[Distances, Places]:
        step = max(1, AT_ONCE // max(1, len(self.words)))
        words = in_words(queries)
        found = [self._nearest(words[start : start + step], k) for start in range(0, max(1, len(words)), step)]
        distances, places = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return distances, places

    def _nearest(self, queries: npt.NDArray[np.uint64], k: int) -> tuple[Distances, Places]:
        n = len(self.words)
        keys = np.zeros((len(queries), n), dtype=np.int64)
        for word in range(self.words.shape[1]):
            keys += np.bitwise_count(queries[:, word, None] ^ self.words[None, :, word])
        keys = keys * n + np.arange(n)  # the place breaks ties
        keys = np.partition(keys, k - 1, axis=1)[:, :k] if k < n else keys
        keys.sort(axis=1)
        return (keys // n).astype(np.float64), keys % n


def in_words(packed: Bits) -> npt.NDArray[np.uint64]:
    """Bytes as words of 64 bits, filled up with zeros: (n, bytes) to (n, words)."""
    width = -(-packed.shape[1] // 8) * 8
    filled = np.zeros((len(packed), width), dtype=np.uint8)
    filled[:, : packed.shape[1]] = packed
    return filled.view(np.uint64)


class ByFaiss:
    """The same of very many items, by looking only where near ones are likely: some of the nearest may be missed."""

    def __init__(self, items: Any):
        if find_spec("faiss") is None:
            raise MissingExtraError("search='faiss' needs the retrieval extra: pip install 'isthmus[retrieval]'.")
        self.bits = items.dtype == np.uint8
        n, width = items.shape
        self.index = _index(n, 8 * width if self.bits else width, self.bits)
        items = np.ascontiguousarray(items)
        if not self.index.is_trained:
            self.index.train(items)
        self.index.add(items)

    def nearest(self, queries: Any, k: int) -> tuple[Distances, Places]:
        found, places = self.index.search(np.ascontiguousarray(queries), k)
        distances = found.astype(np.float64)
        return (distances if self.bits else np.sqrt(np.maximum(distances, 0.0))), places.astype(np.int64)


def _index(n: int, width: int, bits: bool) -> Any:
    import faiss  # type: ignore[import-not-found,import-untyped,unused-ignore]

    library: Any = faiss
    flat = (library.IndexBinaryFlat if bits else library.IndexFlatL2)(width)
    if n <= FEW:
        return flat
    lists = n // PER_LIST
    made = (library.IndexBinaryIVF if bits else library.IndexIVFFlat)(flat, width, lists)
    made.nprobe = max(1, lists // PARTS)
    return made


def search_for(items: Any, how: str) -> Search:
    """The search among these codes: numbers (n, d) in float32, or packed bits in uint8."""
    if how == "faiss":
        return ByFaiss(items)
    return ByBits(items) if items.dtype == np.uint8 else ByNumbers(items)


def without_itself(distances: Distances, places: Places) -> tuple[Distances, Places]:
    """Of the k + 1 nearest items to each item, (n, k + 1), the k that are others: (n, k)."""
    other = places != np.arange(len(places))[:, None]
    other[other.all(1), -1] = False  # many are as near as itself: the last one goes
    shape = (len(places), places.shape[1] - 1)
    return distances[other].reshape(shape), places[other].reshape(shape)


def in_tables(
    files: Sequence[str], names: Sequence[str], distances: Distances, places: Places
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was found for each query: in columns for all, and for a reader in one cell for the first.

    Parameters
    ----------
    files : the names of the queries; empty where they have none.
    names : of the items; empty where they have none, for which their places stand.
    distances, places : of the items found, (q, k).
    """
    named = np.array(names, dtype=object) if names else np.arange(int(places.max(initial=-1)) + 1)
    said = "item" if names else "row"
    columns: dict[str, Any] = {"row": np.arange(len(places))} | ({"file": list(files)} if files else {})
    first = pl.DataFrame({name: column[:SHOWN] for name, column in columns.items()})
    for rank in range(places.shape[1]):
        columns[f"{said} {rank + 1}"] = named[places[:, rank]].tolist()
        columns[f"distance {rank + 1}"] = distances[:, rank]
    nearest = [
        ", ".join(f"{named[place]} ({far:.4g})" for place, far in zip(*found, strict=True))
        for found in zip(places[:SHOWN].tolist(), distances[:SHOWN].tolist(), strict=True)
    ]
    return pl.DataFrame(columns), first.with_columns(pl.Series("nearest", nearest, dtype=pl.String))
