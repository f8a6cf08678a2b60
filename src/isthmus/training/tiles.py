"""Applying a trained module to one large picture: tile by tile, with overlaps, so that no seam is seen.

Axes: C channels, H and W height and width of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isthmus.errors import DataError, SettingError
from isthmus.training.batch import Batch

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]

#: How many pixels one tile fades into the next, where the network's reach leaves room for a choice.
FADE = 32


@torch.inference_mode()
def apply_tiled(
    module: nn.Module,
    x: Array | Tensor,
    weight: Array | Tensor | None,
    read: Callable[[Batch], Tensor],
    tile: int = 512,
    overlap: int | Literal["auto"] = "auto",
    out: Array | None = None,
    progress: Progress | None = None,
) -> Array:
    """What `read` gives for one picture of any size, (C', H, W): each tile apart, and their overlaps faded.

    The result is the one for the whole picture, as long as the overlap is more than twice the network's reach, as it is
    by default. A network that looks at the whole picture (a normalisation by group) sees a tile instead; the fading
    then hides the seams.

    Parameters
    ----------
    module : a trained module, of whose network an output depends on a part of the picture only: a grid of codes.
    x : the picture, (C, H, W); whole numbers are divided by the largest of their type, so that they reach from 0 to 1.
        It may lie on disk (`numpy.memmap`).
    weight : 0 where a value is absent, shaped as x; None when all are present.
    read : what is wanted of a batch of one tile, (1, C', h, w), such as the mean of its reconstruction.
    tile : height and width of a tile in pixels; memory grows with its square.
    overlap : how many pixels two neighbours share; "auto" is twice the network's reach and some to fade.
    out : where the result goes, an array of floating-point numbers; a new one in float32 where none is given.
    progress : called with the number of tiles done, and how many there are.

    Raises
    ------
    SettingError : when the overlap is more than half a tile, `out` holds whole numbers, or `read` gives another size.
    DataError : for an x that is no picture, or a weight of another shape.

    >>> from isthmus.module import AutoencoderModule
    >>> from isthmus.networks.conv import Conv
    >>> from isthmus.spec import SampleSpec
    >>> module = AutoencoderModule(SampleSpec((1, 32, 32)), 4, Conv(channels=(4, 8), code="grid")).eval()
    >>> x = np.random.default_rng(0).random((1, 150, 90), dtype=np.float32)
    >>> read = lambda batch: module.decode(module.encode(batch.x, batch.weight), batch.weight).mean
    >>> small, whole = (apply_tiled(module, x, None, read, tile=tile) for tile in (64, 512))
    >>> bool(np.abs(small - whole).max() < 1e-5)
    True
    """
    x, weight = np.asarray(x), None if weight is None else np.asarray(weight)
    _check(x, weight, out)
    plan = _Plan.of(module, tile, overlap)
    rows, columns = (plan.spans(size) for size in x.shape[1:])
    done, n_tiles = 0, len(rows) * len(columns)
    for row in rows:
        for column in columns:
            piece = read(_batch(module, x, weight, row.where, column.where))[0]
            if piece.shape[1:] != (len(row.share), len(column.share)):
                size = f"{len(row.share)} x {len(column.share)}"
                raise SettingError(f"for a tile of {size} `read` gave a result of shape {tuple(piece.shape)}.")
            if done == 0:
                out = _cleared(out, (len(piece), *x.shape[1:]))
            assert out is not None
            piece = piece.cpu() if piece.dtype == torch.float64 else piece.cpu().float()
            out[:, row.where, column.where] += piece.numpy() * (row.share[:, None] * column.share)
            done += 1
            if progress is not None:
                progress(done, n_tiles)
    assert out is not None
    return out


@dataclass(frozen=True)
class _Span:
    """Where a tile lies along one axis, and its share in the result at each place there; shares add up to one."""

    where: slice
    share: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Plan:
    """Length and overlap of the tiles, and how much of an overlap is left to the other tile alone, at each end."""

    tile: int
    overlap: int
    margin: int

    @classmethod
    def of(cls, module: nn.Module, tile: int, overlap: int | str) -> _Plan:
        """Whole strides, so that every tile meets the grid of codes as the whole picture does."""
        network = getattr(module, "network", None)
        stride: int = getattr(network, "stride", 1)
        reach: int | None = getattr(network, "reach", None)
        if overlap == "auto":
            overlap = FADE + 2 * (FADE if reach is None else reach)
            tile = max(tile, 2 * (overlap + stride))
        if not isinstance(overlap, int) or not isinstance(tile, int) or not 0 <= 2 * overlap <= tile or tile < 1:
            raise SettingError(
                f"tile is {tile!r} and overlap {overlap!r}; they must be whole numbers, and the overlap at most half "
                "the tile."
            )
        tile, overlap = (stride * math.ceil(length / stride) for length in (tile, overlap))
        known = reach is not None and 2 * reach < overlap
        return cls(max(tile, 2 * overlap), overlap, reach if known and reach is not None else overlap // 4)

    def spans(self, size: int) -> list[_Span]:
        starts = [0]
        while starts[-1] + self.tile < size:
            starts.append(starts[-1] + self.tile - self.overlap)
        spans = []
        for start in starts:
            stop = min(start + self.tile, size)
            share = np.ones(stop - start, dtype=np.float32)
            if start > 0:
                share[: self.overlap] = self._rise()
            if stop < size:
                share[len(share) - self.overlap :] = 1 - self._rise()
            spans.append(_Span(slice(start, stop), share))
        return spans

    def _rise(self) -> npt.NDArray[np.float32]:
        """From 0 to 1 over the overlap, flat over the margin at each end."""
        width = self.overlap - 2 * self.margin
        place = np.clip((np.arange(self.overlap) - self.margin + 0.5) / max(width, 1), 0, 1)
        return (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)


def _batch(module: nn.Module, x: Array, weight: Array | None, rows: slice, columns: slice) -> Batch:
    """A tile as a batch of one, on the module's device and in its number type."""
    like = next(module.parameters())
    piece = x[:, rows, columns]
    values = torch.from_numpy(np.array(piece)).to(like)
    if piece.dtype.kind in "ui":
        values /= np.iinfo(piece.dtype).max
    # a weight always: it also tells the size. Nothing is padded here, so what is absent belongs to the picture
    present = np.ones(piece.shape, np.float32) if weight is None else _told(weight[:, rows, columns])
    return Batch(values[None], torch.from_numpy(present)[None].to(like))


def _told(weight: Array) -> npt.NDArray[np.float32]:
    return np.where(weight > 0, weight, -1).astype(np.float32)


def _check(x: Array, weight: Array | None, out: Array | None) -> None:
    if x.ndim != 3 or 0 in x.shape or x.dtype.kind not in "uif":
        raise DataError(f"x has shape {x.shape} and type {x.dtype}; it must be numbers, (channels, height, width).")
    if weight is not None and weight.shape != x.shape:
        raise DataError(f"weight has shape {weight.shape}; it must be that of x, {x.shape}.")
    if out is not None and not np.issubdtype(out.dtype, np.floating):
        raise SettingError(f"out is of type {out.dtype}; it must hold floating-point numbers.")


def _cleared(out: Array | None, shape: tuple[int, ...]) -> Array:
    if out is None:
        return np.zeros(shape, dtype=np.float32)
    if out.shape != shape:
        raise SettingError(f"out has shape {out.shape}; the result has {shape}.")
    out[...] = 0
    return out
