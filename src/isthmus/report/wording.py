"""Numbers and names as a reader meets them."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from isthmus.errors import MissingExtraError

NEEDED = ("matplotlib", "jinja2")


def need_extra(*modules: str) -> None:
    """Say how to install what the report needs, where it is missing."""
    if any(find_spec(module) is None for module in modules or NEEDED):
        raise MissingExtraError("the report needs the report extra: pip install 'isthmus[report]'.")


def clean(text: object, limit: int = 0) -> str:
    r"""On one line, of at most `limit` characters (0: any number), and without characters that no page may hold.

    >>> clean("two\nlines \x00"), clean("a long name", 6)
    ('two lines \\x00', 'a lon…')
    """
    joined = " ".join(str(text).split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in joined)
    return shown if not limit or len(shown) <= limit else f"{shown[: limit - 1]}…"


def number(value: Any) -> str:
    """A number with at most four digits that count; whole ones in full.

    >>> number(1234567), number(0.123456), number(float("nan")), number(-2.0), number(141123.4)
    ('1,234,567', '0.1235', '–', '−2', '141,123')
    """
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞".join(["" if value > 0 else "−", ""])
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"
    return text.replace("-", "−")


def share(value: float) -> str:
    r"""A share in per cent.

    >>> [share(value).replace("\u00a0", " ") for value in (0.5, 0.99996, 1e-6, 1.0, -0.1)]
    ['50.0 %', 'over 99.9 %', 'under 0.1 %', '100.0 %', '−10.0 %']
    """
    if not math.isfinite(value):
        return "–"
    if 0.9995 <= value < 1:
        return "over 99.9\u00a0%"
    if 0 < value < 0.0005:
        return "under 0.1\u00a0%"
    return f"{100 * value:.1f}\u00a0%".replace("-", "−")


def count(n: int, noun: str, several: str = "") -> str:
    """How many there are of something.

    >>> count(1, "row"), count(0, "row"), count(12345, "category", "categories")
    ('1 row', 'no rows', '12,345 categories')
    """
    word = noun if n == 1 else several or f"{noun}s"
    return f"{n:,} {word}" if n else f"no {word}"


def listed(words: list[str]) -> str:
    """Words in a row, with "and" before the last.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def duration(seconds: float) -> str:
    """A time span.

    >>> duration(0.04), duration(12.3), duration(200), duration(7300)
    ('0.04 s', '12 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
