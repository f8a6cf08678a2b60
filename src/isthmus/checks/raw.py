"""Raw data as people have them, small: what data types and estimators are tried on."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import polars as pl

N_ROWS = 60
N_PICTURES = 24


def array(n_rows: int = N_ROWS) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers with something to learn in them, and a few absent."""
    random = np.random.default_rng(0)
    x = random.normal(size=(n_rows, 2)) @ random.normal(size=(2, 5)) + 0.3 * random.normal(size=(n_rows, 5))
    x[random.random(x.shape) < 0.05] = np.nan
    return x


def frame(n_rows: int = N_ROWS) -> pl.DataFrame:
    """Numbers, words and yes/no answers with gaps."""
    random = np.random.default_rng(1)
    height = random.normal(170, 10, n_rows)
    colour = np.where(height > 170, "red", np.where(random.random(n_rows) < 0.5, "green", "blue"))
    columns = {
        "height": pl.Series(height),
        "weight": pl.Series(0.9 * height - 90 + random.normal(0, 5, n_rows)),
        "colour": pl.Series(colour, dtype=pl.String),
        "member": pl.Series(random.random(n_rows) < 0.3),
    }
    gap = pl.Series(random.random((n_rows, 4)) < 0.05)
    return pl.DataFrame(columns).with_columns(
        pl.when(pl.lit(pl.Series([row[i] for row in gap.to_list()]))).then(None).otherwise(pl.col(name)).alias(name)
        for i, name in enumerate(columns)
    )


def pictures(n_pictures: int = N_PICTURES) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Light spots on a dark ground, 8 x 8, at different places."""
    random = np.random.default_rng(2)
    y, x, place = np.arange(8)[:, None], np.arange(8), random.uniform(1, 6, size=(2, n_pictures, 1, 1))
    spots: np.ndarray[Any, Any] = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 4)
    return (255 * spots).astype(np.uint8)


def photos(n_pictures: int = N_PICTURES) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The spots in colours of their own, (n_pictures, 8, 8, 3)."""
    tints = np.random.default_rng(5).uniform(0.2, 1, size=(n_pictures, 1, 1, 3))
    return (pictures(n_pictures)[..., None] * tints).astype(np.uint8)


def photos_with_holes() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The same with pixels that are missing."""
    found = np.asarray(photos() / 255, dtype=np.float32)
    found[np.random.default_rng(6).random(found.shape[:3]) < 0.2] = np.nan
    return found


def walks(n_series: int = N_PICTURES) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Series of two channels and different lengths, with a few values absent."""
    random = np.random.default_rng(4)
    found = [np.cumsum(random.normal(size=(6 + place % 4, 2)), axis=0) for place in range(n_series)]
    for one in found[::5]:
        one[random.integers(len(one) - 1), 1] = np.nan
    return found


def containers() -> list[Any]:
    """The same kinds of data in every container that is installed here."""
    found: list[Any] = [array(), array().astype(np.float32), frame()]
    spots = pictures()
    holes = np.where(np.random.default_rng(3).random(spots.shape) < 0.05, np.nan, 3.0 * spots)
    mixed = [spot[: 8 - place % 3, : 8 - place % 2] for place, spot in enumerate(spots)]
    found += [spots, holes, mixed, walks()]
    if importlib.util.find_spec("PIL") is not None:
        from PIL import Image

        found.append([Image.fromarray(np.tile(spot, (1, 1 + place % 2))) for place, spot in enumerate(mixed)])
    if importlib.util.find_spec("pandas") is not None and importlib.util.find_spec("pyarrow") is not None:
        found.append(frame().to_pandas())
        found.append(frame().to_arrow())
    return found


def containers_of_photos() -> list[Any]:
    """The same for those who take nothing but pictures in colour."""
    spots = photos()
    found: list[Any] = [
        spots,
        spots / 255,
        [spot[: 8 - place % 3, : 8 - place % 2] for place, spot in enumerate(spots)],
    ]
    if importlib.util.find_spec("PIL") is not None:
        from PIL import Image

        found.append([Image.fromarray(spot) for spot in spots])
    return found


def name_of(X: Any) -> str:
    """What kind of data this is, for a message."""
    return f"{type(X).__module__.partition('.')[0]} {type(X).__name__}"


def copied(X: Any) -> Any:
    """A copy that does not share memory; pyarrow tables cannot be changed."""
    if isinstance(X, list):
        return [copied(one) for one in X]
    return X.copy() if hasattr(X, "copy") else X.clone() if hasattr(X, "clone") else X


def same(first: Any, second: Any) -> bool:
    """Whether two answers are equal to the last bit; absent values equal each other."""
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, np.ndarray):
        nan = first.dtype.kind == "f"
        return first.dtype == second.dtype and bool(np.array_equal(first, second, equal_nan=nan))
    return bool(first.equals(second)) if hasattr(first, "equals") else bool(first == second)
