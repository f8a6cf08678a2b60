"""Pictures of the demo's steps: as text for the terminal, and one sheet as a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.interfaces.output import coloured

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = np.ndarray[Any, Any]

# ---- as text

SHADES = " .oO@"  # for terminals without Unicode, from black to white
HALVES = " ▄▀█"  # which half of a character is white: none, the lower, the upper, both
INK = 110  # of 255: from here on a pixel is white where there are no greys
GREYS = 232  # the number of the darkest of the 24 greys that terminals know


def strip(pictures: Pixels, captions: Sequence[str] = ()) -> list[str]:
    """Pictures (n, height, width) of uint8 beside each other as lines of text, two rows of pixels in a line.

    >>> print(*strip(np.array([[[255, 0], [255, 255]], [[0, 0], [0, 255]]], dtype=np.uint8)), sep="")
      █▄  ▄
    """
    draw = _shades if not _knows_blocks() else _grey if coloured(sys.stdout) else _halves
    width = pictures.shape[2]
    lines = ["  " + " ".join(parts) for parts in zip(*(draw(one) for one in pictures), strict=True)]
    if captions:
        lines.append("  " + " ".join(f"{caption:^{width}}" for caption in captions))
    return [line.rstrip(" ") for line in lines]


def _knows_blocks() -> bool:
    if os.environ.get("TERM") in ("linux", "vt100"):  # UTF-8, but a small font
        return False
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return encoding.replace("-", "") in ("utf8", "cp65001")


def _halves(picture: Pixels) -> list[str]:
    white = picture >= INK
    return [
        "".join(HALVES[2 * int(a) + int(b)] for a, b in zip(upper, lower, strict=True))
        for upper, lower in zip(white[0::2], white[1::2], strict=True)
    ]


def _shades(picture: Pixels) -> list[str]:
    means = (picture[0::2].astype(int) + picture[1::2]) // 2
    return ["".join(SHADES[value * len(SHADES) // 256] for value in row) for row in means]


def _grey(picture: Pixels) -> list[str]:
    """Upper half and lower half of each character in its own grey."""
    greys = GREYS + picture.astype(int) * 24 // 256
    return [
        "".join(f"\x1b[38;5;{a};48;5;{b}m▀" for a, b in zip(upper, lower, strict=True)) + "\x1b[0m"
        for upper, lower in zip(greys[0::2], greys[1::2], strict=True)
    ]


def spread(codes: Pixels, size: tuple[int, int]) -> Pixels:
    """Codes (n, 2) as places in a field of (width, height); the outermost one per cent on each side at its border.

    >>> spread(np.array([[0.0, 0.0], [1.0, 1.0]]), (3, 2)).tolist()
    [[0, 1], [2, 0]]
    """
    low, high = np.quantile(codes, [0.01, 0.99], axis=0)
    shares = np.clip((codes - low) / np.maximum(high - low, 1e-12), 0, 1)
    shares[:, 1] = 1 - shares[:, 1]  # lines are counted from above
    places: Pixels = np.rint(shares * (np.array(size) - 1)).astype(int)
    return places


def scatter(codes: Pixels, marks: Sequence[str], width: int = 72, height: int = 20) -> list[str]:
    """Points in the plane as lines of text.

    >>> scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), ["a", "b"], width=3, height=2)
    ['    b', '  a']
    """
    lines = [[" "] * width for _ in range(height)]
    for (x, y), mark in zip(spread(codes, (width, height)), marks, strict=True):
        lines[y][x] = mark
    return [("  " + "".join(line)).rstrip() for line in lines]


# ---- as a file

GROUND, FRAME, WORDS = (22, 24, 30), (255, 150, 40), (215, 218, 224)
COLOURS = (  # of the figures 0 to 9 on the dark ground
    *((120, 170, 255), (255, 175, 90), (120, 220, 120), (255, 120, 120), (200, 160, 255)),
    *((215, 170, 140), (255, 160, 215), (200, 200, 200), (225, 225, 100), (90, 215, 225)),
)
ZOOM, GAP, EDGE, LINE = 5, 8, 16, 26  # side of a pixel in a strip, and pixels around, at the edge, for a line of words
ACROSS = 16  # pictures in a strip
MAP = (ACROSS * (8 * ZOOM + GAP) - GAP, 400)
DOT = 2  # side of a pixel in the map


@dataclass(frozen=True)
class Row:
    """A line of words, and pictures below it: (n, height, width) of uint8, some of them in a frame."""

    words: str
    pictures: Pixels
    framed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Map:
    """A line of words, and below it pictures at the places of their codes, in the colours of their figures."""

    words: str
    pictures: Pixels
    codes: Pixels
    figures: Pixels


def sheet(parts: Sequence[Row | Map]) -> Image:
    """One picture of all parts, from top to bottom. Raises MissingExtraError without Pillow."""
    drawn = [_row(part) if isinstance(part, Row) else _map(part) for part in parts]
    height = EDGE + sum(LINE + len(one) + GAP for one in drawn) + EDGE - GAP
    canvas = np.full((height, MAP[0] + 2 * EDGE, 3), GROUND, dtype=np.uint8)
    tops, top = [], EDGE
    for one in drawn:
        tops.append(top)
        canvas[top + LINE : top + LINE + len(one), EDGE : EDGE + one.shape[1]] = one
        top += LINE + len(one) + GAP
    return _with_words(canvas, [part.words for part in parts], tops)


def _with_words(canvas: Pixels, words: Sequence[str], tops: Sequence[int]) -> Image:
    from isthmus.errors import MissingExtraError

    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtraError("pictures as files need the image extra: pip install 'isthmus[image]'.") from error
    image = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for text, top in zip(words, tops, strict=True):
        pen.text((EDGE, top), text, fill=WORDS, font=font)
    return image


def _row(row: Row) -> Pixels:
    """ACROSS pictures beside each other, the next ones below."""
    step = 8 * ZOOM + GAP
    n_lines = -(-len(row.pictures) // ACROSS)
    canvas = np.full((n_lines * step - GAP, ACROSS * step - GAP, 3), GROUND, dtype=np.uint8)
    for place, picture in enumerate(row.pictures):
        top, left = place // ACROSS * step, place % ACROSS * step
        field = canvas[top : top + 8 * ZOOM, left : left + 8 * ZOOM]
        field[...] = np.kron(picture, np.ones((ZOOM, ZOOM), dtype=np.uint8))[..., None]
        if place in row.framed:
            for edge in (field[:2], field[-2:], field[:, :2], field[:, -2:]):
                edge[...] = FRAME
    return canvas


def _map(part: Map) -> Pixels:
    side = 8 * DOT
    canvas = np.zeros((MAP[1], MAP[0], 3))
    places = spread(part.codes, (MAP[0] - side, MAP[1] - side))
    for (x, y), picture, figure in zip(places, part.pictures, part.figures, strict=True):
        ink = np.kron(picture / 255, np.ones((DOT, DOT)))[..., None] * COLOURS[figure]
        field = canvas[y : y + side, x : x + side]
        np.maximum(field, ink, out=field)
    return np.maximum(canvas, GROUND).astype(np.uint8)
