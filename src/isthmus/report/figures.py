"""Drawings as SVG that lives inside the page: its colours, its font and its marks are the page's own.

matplotlib draws in stand-in colours; here each becomes a variable of the page's style sheet, so that one drawing reads
well in light, in dark and in print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from isthmus.report.wording import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = tuple(f"series-{place}" for place in range(1, 11))
STEPS = tuple(f"step-{place}" for place in range(1, 6))
TONES = ("ink", "quiet", "line", "paper", "alarm", *SERIES, *STEPS)
#: What matplotlib is told for each tone of the page; nobody else uses these colours.
STAND_INS = {tone: f"#0b0d{place:02x}" for place, tone in enumerate(TONES)}
#: Marks that can be told apart without their colours: matplotlib's name, and the outline in a square of 10 by 10.
MARKS = {
    "o": "M5 1a4 4 0 1 0 .001 0z",
    "^": "M5 .8 9.4 9H.6z",
    "s": "M1.4 1.4h7.2v7.2H1.4z",
    "D": "M5 .3 9.7 5 5 9.7.3 5z",
    "v": "M5 9.2.6 1h8.8z",
    "P": "M3.4.6h3.2v2.8h2.8v3.2H6.6v2.8H3.4V6.6H.6V3.4h2.8z",
    "<": "M.8 5 9 .6v8.8z",
    ">": "M9.2 5 1 .6v8.8z",
    "*": "M5 .2 6.3 3.7 10 3.8 7 6.1 8.1 9.7 5 7.6 1.9 9.7 3 6.1 0 3.8 3.7 3.7z",
    "X": "M2.6.4 5 2.8 7.4.4 9.6 2.6 7.2 5l2.4 2.4-2.2 2.2L5 7.2 2.6 9.6.4 7.4 2.8 5 .4 2.6z",
}
REM_PER_INCH = 6.8  # how wide the page shows a drawing, where there is room
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


def tone(name: str) -> str:
    """The colour to hand to matplotlib."""
    return STAND_INS[name]


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for all drawings of the report, and nobody else's."""
    import matplotlib
    from cycler import cycler

    ink, quiet = tone("ink"), tone("quiet")
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "isthmus",  # the same drawing gets the same names inside
        "text.parse_math": False,  # a dollar sign in a column's name is a dollar sign
        "axes.unicode_minus": True,
        "axes.prop_cycle": cycler(color=[tone(name) for name in SERIES]),
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": quiet,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.labelsize": 9.5,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": tone("line"),
        "grid.linewidth": 0.7,
        "xtick.color": quiet,
        "ytick.color": quiet,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "text.color": ink,
        "font.size": 9,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever the person set for other drawings
        matplotlib.rcParams.update(settings)  # type: ignore[arg-type,unused-ignore]
        # the page brings the font, which may well have what matplotlib's has not
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        yield


def draw(name: str, alternative: str, paint: Callable[[Axes], None], width: float = 4.0, height: float = 2.7) -> str:
    """A drawing as markup for the page.

    Parameters
    ----------
    name : of the drawing, different from all others on the page.
    alternative : what it shows, for those who do not see it.
    paint : draws on the axes it is given.
    width, height : in inches of 72 points; the page scales it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots())
        written = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(written, metadata=nothing)  # type: ignore[no-untyped-call]
    return inline(written.getvalue(), name, alternative)


def inline(svg: bytes, name: str, alternative: str) -> str:
    """The SVG as part of a page: no names of its own that could meet others, no style that could leave it."""
    root = ElementTree.fromstring(svg)
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg.decode("utf-8")))
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == f"{SVG}style" or c.tag.endswith(("metadata", "title"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        element.attrib = {key: value for key, value in _attributes(element.attrib, name, wanted)}
        if element.tag != "text":
            element.text = None  # only line breaks
        element.tail = None
    for size in ("width", "height"):
        root.attrib.pop(size)
    root.attrib |= {
        "style": f"max-width: {REM_PER_INCH * float(root.attrib['viewBox'].split()[2]) / 72:.3g}rem",
        "role": "img",
        "aria-label": clean(alternative),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(given: dict[str, str], name: str, wanted: set[str]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if key == "id":
            if value in wanted:
                yield key, f"{name}-{value}"
        elif key == LINK:
            yield "href", value.replace("#", f"#{name}-", 1) if value.startswith("#") else value
        elif key == "d":
            yield key, " ".join(value.split())
        elif key in ("style", "clip-path"):
            yield key, _styled(value, name)
        elif not key.startswith("{"):
            yield key, value


def _styled(value: str, name: str) -> str:
    value = re.sub(r"font-family: [^;]*;? ?", "", value)  # the page's own
    value = value.replace("url(#", f"url(#{name}-")
    return re.sub(r"#0b0d([0-9a-f]{2})", lambda found: f"var(--{TONES[int(found[1], 16)]})", value)
