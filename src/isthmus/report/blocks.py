"""What a report is made of: a page of sections, each a few blocks. The template knows how each kind is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


class Block:
    """Something in a section; `kind` is the name of its macro in the template."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    kind = "text"
    text: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table. `differs` marks a value that came back otherwise than it went in; `image` is a data URI."""

    text: str
    numeric: bool = False
    differs: bool = False
    image: str = ""


@dataclass(frozen=True)
class Span:
    """A heading over several columns of a table."""

    text: str
    columns: int


@dataclass(frozen=True)
class Table(Block):
    """A table whose first column names its rows; `folded` ones open on demand, `spans` stand above the head."""

    kind = "table"
    id: str
    caption: str
    head: list[str]
    rows: list[list[Cell]]
    spans: list[Span] = field(default_factory=list)
    folded: bool = False


@dataclass(frozen=True)
class Key:
    """One line of a legend: the outline of a mark, its tone, and what it stands for."""

    label: str
    outline: str
    tone: str


@dataclass(frozen=True)
class Figure(Block):
    """A drawing with what it shows in words; `svg` is markup made by us, which says in a label what it is."""

    kind = "figure"
    svg: str
    caption: str
    keys: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Figures(Block):
    """Drawings side by side where there is room."""

    kind = "figures"
    items: list[Figure]


@dataclass(frozen=True)
class Image:
    """One picture, as a data URI, with a text for those who do not see it."""

    source: str
    alternative: str
    label: str
    width: int
    height: int


@dataclass(frozen=True)
class Strip:
    """Pictures that belong together, such as an input and what came back."""

    title: str
    images: list[Image]


@dataclass(frozen=True)
class Gallery(Block):
    """Strips of pictures."""

    kind = "gallery"
    caption: str
    strips: list[Strip]


@dataclass(frozen=True)
class Note:
    """A finding: of which kind, and what it says."""

    title: str
    text: str


@dataclass(frozen=True)
class Notes(Block):
    """A list of findings."""

    kind = "notes"
    items: list[Note]


@dataclass(frozen=True)
class Code(Block):
    """Text in which every space counts, opened on demand."""

    kind = "code"
    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """One part of the page, under its own heading."""

    id: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Fact:
    """A number worth a large print."""

    value: str
    label: str


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    summary: str
    facts: list[Fact]
    sections: list[Section]
    date: str  # for machines
    day: str  # for people
    version: str
