"""What others make of the same data: zlib and lzma of the raw bytes, PNG and JPEG of pictures."""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from isthmus.data._image_forms import Pixels
from isthmus.data._image_samples import ImageSamples, Stack

MOST_BYTES = 50_000_000  # of raw data that rivals are asked about
MOST_PICTURES = 50


def raw_bytes(X: Any) -> bytes | None:
    """The data as they would lie in a file without compression: the numbers of an array, the CSV of a frame.

    None where that would be more than rivals are asked about.
    """
    if hasattr(X, "toarray"):
        X = X.toarray()
    X = np.asarray(X) if isinstance(X, (list, tuple)) else X
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.tobytes() if X.nbytes <= MOST_BYTES else None
    if isinstance(X, np.ndarray):
        X = pl.DataFrame({str(place): [str(value) for value in column] for place, column in enumerate(X.T)})
    if not isinstance(X, pl.DataFrame):
        import narwhals as nw

        X = nw.from_native(X, eager_only=True).to_polars()
    text = X.write_csv().encode()
    return text if len(text) <= MOST_BYTES else None


def pixels_of(samples: ImageSamples) -> list[Pixels]:
    """The pictures (h, w, c), in their own type; only as many as rivals are asked about."""
    rows = np.arange(min(len(samples), MOST_PICTURES if not isinstance(samples.source, Stack) else len(samples)))
    return list(samples.pixels(rows))


def general(raw: bytes) -> dict[str, int]:
    """Bytes under the compressors that everybody has."""
    return {"zlib": len(zlib.compress(raw, 9)), "lzma": len(lzma.compress(raw, preset=9))}


def png(pictures: Sequence[Pixels]) -> int | None:
    """Bytes of these pictures as PNG files; None where Pillow or the pictures do not allow it."""
    sizes = [_saved(one, format="PNG", optimize=True) for one in pictures[:MOST_PICTURES]]
    if any(size is None for size in sizes) or not sizes:
        return None
    return int(sum(map(len, filter(None, sizes))) * len(pictures) / len(sizes))


def jpeg_error(pictures: Sequence[Pixels], sizes: Sequence[float]) -> float | None:
    """The mean squared error of JPEG, of values from 0 to 1, in as many bytes for each picture as are given.

    The best quality that fits; the lowest where none does.
    """
    errors = []
    for one, most in list(zip(pictures, sizes, strict=True))[:MOST_PICTURES]:
        if one.dtype != np.uint8 or one.shape[2] not in (1, 3):
            return None
        best = within(partial(_jpeg, one), most)
        if best is None:
            return None
        errors.append(float(np.square((_opened(best) - one.astype(float)) / 255).mean()))
    return float(np.mean(errors)) if errors else None


def _jpeg(pixels: Pixels, quality: int) -> bytes | None:
    return _saved(pixels, format="JPEG", quality=quality, optimize=True)


def within(save: Callable[[int], bytes | None], most: float) -> bytes | None:
    """What the highest quality from 1 to 95 makes in so many bytes."""
    low, high, best = 1, 95, save(1)
    while low <= high:
        middle = (low + high) // 2
        found = save(middle)
        if found is None:
            return None
        if len(found) <= most:
            best, low = found, middle + 1
        else:
            high = middle - 1
    return best


def _saved(pixels: Pixels, **settings: Any) -> bytes | None:
    try:
        from PIL import Image
    except ImportError:
        return None
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        return None
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, **settings)
    return file.getvalue()


def _opened(data: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        found = np.asarray(image, dtype=float)
    return found if found.ndim == 3 else found[..., None]
