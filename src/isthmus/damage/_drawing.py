"""Marks as people put them on pictures, drawn by Pillow: texts, signs, stamps, lines, bands and curves.

A mark is how far it covers each pixel, from 0 to 1, (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import MissingExtraError

Cover = np.ndarray[Any, np.dtype[np.float32]]
FINE = 2  # times finer than the picture, as Pillow's shapes have hard edges
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIGNS = "©®™@#&%!?.-/:0123456789"


class Pen:
    """A canvas larger than the picture, so that it can be turned, and the random numbers that guide the hand."""

    def __init__(self, random: np.random.Generator, height: int, width: int):
        try:
            from PIL import Image, ImageDraw
        except ImportError as error:
            raise MissingExtraError(
                "marks are drawn by Pillow; install it with: pip install 'isthmus[image]'."
            ) from error
        self.random, self.height, self.width = random, height, width
        self.side = FINE * 2 * math.ceil(math.hypot(height, width) / 2 + 1)
        self.image = Image.new("L", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)
        self.least = FINE * min(height, width)  # the shorter side of the picture

    def near(self) -> tuple[float, float]:
        """A place that is in the picture once it lies in the middle of the canvas."""
        reach = 0.4 * FINE
        return (
            self.side / 2 + self.random.uniform(-reach, reach) * self.width,
            self.side / 2 + self.random.uniform(-reach, reach) * self.height,
        )

    def size(self, least: float, most: float) -> float:
        """A length in shares of the picture's shorter side: small ones as often as large ones."""
        return self.least * math.exp(self.random.uniform(math.log(least), math.log(most)))

    def stroke(self) -> int:
        return max(FINE, round(self.size(0.01, 0.06)))

    def cover(self, angle: float) -> Cover:
        """What was drawn, turned around the middle by an angle in degrees, in the picture's own size."""
        from PIL import Image

        turned = self.image.rotate(angle, Image.Resampling.BILINEAR) if angle else self.image
        left, top = (self.side - FINE * self.width) // 2, (self.side - FINE * self.height) // 2
        box = (left, top, left + FINE * self.width, top + FINE * self.height)
        small = turned.resize((self.width, self.height), Image.Resampling.BOX, box)
        found: Cover = np.asarray(small, dtype=np.float32) / np.float32(255)
        return found


def mark(random: np.random.Generator, height: int, width: int) -> Cover:
    """One mark of any kind, somewhere in a picture of this size."""
    pen = Pen(random, height, width)
    KINDS[int(random.choice(len(KINDS), p=OFTEN))](pen)
    angle = 0.0 if random.random() < 0.5 else float(random.uniform(-50, 50))
    return pen.cover(angle)


def shade(random: np.random.Generator) -> Sequence[float]:
    """Red, green and blue: mostly nearly white or nearly black, else any."""
    kind = random.random()
    if kind < 0.45:
        return [float(random.uniform(0.85, 1.0))] * 3
    if kind < 0.65:
        return [float(random.uniform(0.0, 0.15))] * 3
    return [float(value) for value in random.random(3)]


# ---- kinds


def _text(pen: Pen) -> None:
    """A line of text, or many of it all over the picture."""
    words, font = _words(pen.random), _font(pen, pen.size(0.07, 0.5))
    if pen.random.random() < 0.75:
        pen.draw.text(pen.near(), words, 255, font, "mm")
        return
    left, top, right, bottom = pen.draw.textbbox((0, 0), words, font)
    step_x, step_y = (length * pen.random.uniform(1.2, 2.5) + FINE for length in (right - left, bottom - top))
    for row in range(math.ceil(pen.side / step_y)):
        for column in range(math.ceil(pen.side / step_x) + 1):
            pen.draw.text(((column - 0.5 * (row % 2)) * step_x, row * step_y), words, 255, font)


def _sign(pen: Pen) -> None:
    """Simple shapes around one place, filled or in outline: a logo."""
    (x, y), radius = pen.near(), pen.size(0.08, 0.35)
    for _ in range(int(pen.random.integers(1, 4))):
        filled = pen.random.random() < 0.6
        given = {"fill": 255} if filled else {"outline": 255, "width": pen.stroke()}
        corners = int(pen.random.integers(2, 9))
        if corners == 2:
            flat = pen.random.uniform(0.5, 1.0)
            pen.draw.ellipse((x - radius, y - flat * radius, x + radius, y + flat * radius), **given)
        else:
            pen.draw.polygon(_corners(pen.random, x, y, radius, corners), **given)
        if filled and pen.random.random() < 0.5:  # with a hole
            inner = 0.6 * radius
            pen.draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
        x, y, radius = x + pen.random.normal() * radius, y + pen.random.normal() * radius, 0.8 * radius


def _corners(random: np.random.Generator, x: float, y: float, radius: float, n: int) -> list[tuple[float, float]]:
    """Of a regular polygon, or of a star."""
    start, dent = random.uniform(0, 2 * math.pi), random.uniform(0.35, 1.0)
    n, star = (2 * n, True) if random.random() < 0.4 else (n, False)
    far = [radius * (dent if star and place % 2 else 1.0) for place in range(n)]
    turns = [start + 2 * math.pi * place / n for place in range(n)]
    return [(x + r * math.cos(turn), y + r * math.sin(turn)) for r, turn in zip(far, turns, strict=True)]


def _stamp(pen: Pen) -> None:
    """A text in a ring or a frame."""
    (x, y), height = pen.near(), pen.size(0.12, 0.4)
    words, font = _words(pen.random), _font(pen, 0.4 * height)
    half = max(pen.draw.textlength(words, font) / 2 + 0.2 * height, 0.5 * height)
    pen.draw.text((x, y), words, 255, font, "mm")
    for inset in (0.0, 0.12)[: int(pen.random.integers(1, 3))]:
        across, down = half - inset * height, height / 2 - inset * height
        box = (x - across, y - down, x + across, y + down)
        if pen.random.random() < 0.5:
            pen.draw.ellipse(box, outline=255, width=pen.stroke())
        else:
            pen.draw.rounded_rectangle(box, 0.2 * height, outline=255, width=pen.stroke())


def _lines(pen: Pen) -> None:
    """One line, or some side by side, or a net of them."""
    width, step = pen.stroke(), max(3 * FINE, pen.size(0.1, 0.5))
    many = pen.random.random() < 0.6
    places = np.arange(0, pen.side, step) if many else [pen.near()[1]]
    for place in places:
        pen.draw.line((0, float(place), pen.side, float(place)), 255, width)
        if many and step > 6 * FINE and len(places) % 2:
            pen.draw.line((float(place), 0, float(place), pen.side), 255, width)


def _band(pen: Pen) -> None:
    """A wide bar, which may have a text cut out of it."""
    (x, y), height = pen.near(), pen.size(0.1, 0.3)
    pen.draw.rectangle((0, y - height / 2, pen.side, y + height / 2), 255)
    if pen.random.random() < 0.6:
        pen.draw.text((x, y), _words(pen.random), 0, _font(pen, 0.7 * height), "mm")


def _curve(pen: Pen) -> None:
    """A smooth random curve: a filled blob, or a stroke along a closed one or along a part of one."""
    (x, y), radius, filled = pen.near(), pen.size(0.1, 0.45), pen.random.random() < 0.5
    turns = np.linspace(0, 2 * math.pi, 240)
    waves = np.arange(1, int(pen.random.integers(2, 6)))
    both = pen.random.normal(size=(2, 2, len(waves))) / waves**1.3
    across, down = (one[0] @ np.cos(np.outer(waves, turns)) + one[1] @ np.sin(np.outer(waves, turns)) for one in both)
    if filled:  # around a circle, so that it does not cross itself too often
        across, down = 2 * np.cos(turns) + 0.7 * across, 2 * np.sin(turns) + 0.7 * down
    scale = radius / max(np.abs(across).max(), np.abs(down).max())
    points = list(zip((x + scale * across).tolist(), (y + scale * down).tolist(), strict=True))
    if filled:
        pen.draw.polygon(points, 255)
        return
    most = len(points) if pen.random.random() < 0.5 else int(pen.random.integers(80, len(points)))
    pen.draw.line(points[:most], 255, round(1.5 * pen.stroke()), "curve")


KINDS: tuple[Callable[[Pen], None], ...] = (_text, _sign, _stamp, _lines, _band, _curve)
OFTEN = (0.4, 0.14, 0.1, 0.09, 0.05, 0.22)


# ---- words and fonts


def _words(random: np.random.Generator) -> str:
    """Letters that look like words."""
    words = []
    for _ in range(int(random.integers(1, 4))):
        word = "".join(LETTERS[i] for i in random.integers(len(LETTERS), size=int(random.integers(1, 9))))
        words.append((word, word.upper(), word.capitalize())[int(random.integers(3))])
    if random.random() < 0.4:
        words.insert(
            int(random.integers(len(words) + 1)), "".join(SIGNS[i] for i in random.integers(len(SIGNS), size=2))
        )
    return " ".join(words)


def _font(pen: Pen, height: float) -> Any:
    return _of_size(str(pen.random.choice(_fonts())), max(4 * FINE, round(height)))


@lru_cache(maxsize=512)
def _of_size(path: str, height: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, height) if path else ImageFont.load_default(height)


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """Pillow's own font, which has no path, and those that come with matplotlib, where that is installed."""
    found = find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else Path()
    return ["", *sorted(str(path) for path in folder.glob("DejaVu*.ttf") if "Display" not in path.name)]
