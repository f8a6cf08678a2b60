"""What the steps of the demo share: the folder with its files, and how they speak."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.atomic import storage_error
from isthmus.errors import MissingExtraError, SettingError
from isthmus.interfaces import output

FILES = (
    "table.csv",
    "new.csv",
    "scores.csv",
    "table.safetensors",
    "digits.safetensors",
    "denoiser.safetensors",
    "drawing.safetensors",
    "map.safetensors",
    "report.html",
    "demo.png",
)
FOLDERS = ("digits", "noisy", "cleaned")


@dataclass(frozen=True)
class Places:
    """Where the demo leaves its files, and the seed of all that is drawn at random."""

    folder: Path
    seed: int
    left_out: list[str] = field(default_factory=list)

    def of(self, name: str) -> Path:
        """The path of one of FILES or FOLDERS."""
        assert name in FILES + FOLDERS, name
        return self.folder / name

    def there(self) -> list[str]:
        """What this run left behind."""
        found = [name for name in FILES if name not in self.left_out]
        return found + [f"{name}/" for name in FOLDERS if name not in self.left_out]


def make_places(into: str, seed: int) -> Places:
    """The folder, once it is known that everything can be written there."""
    folder = Path(into)
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"--into is {into!r}, which is a file; give a directory.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise storage_error(folder, "made", error) from error
    places = Places(folder, seed)
    for name in FILES:
        output.check_output(str(places.of(name)))
    for name in FOLDERS:
        if places.of(name).exists() and not places.of(name).is_dir():
            raise SettingError(f"{str(places.of(name))!r} is a file, and the demo puts a folder there; move it away.")
    return places


def heading(number: int, text: str) -> None:
    """The heading of a step."""
    output.write(f"\n{number}. {text}\n\n")


def say(text: str) -> None:
    """A paragraph, in lines of at most 80 characters."""
    output.write("\n".join(textwrap.wrap(text, min(80, output.width()), break_long_words=False)) + "\n")


def unless_missing(places: Places, names: Sequence[str], action: Callable[[], object]) -> bool:
    """Write some files that need an extra; without it say what is left out and how to get it, and go on."""
    try:
        action()
    except MissingExtraError as error:
        places.left_out.extend(names)
        say(f"Left out, {' and '.join(names)}: {error}")
        return False
    return True


def verbose() -> bool | None:
    """Training shows a bar where one can be drawn, and is silent elsewhere."""
    return None if output.draws(sys.stderr) else False


def found_sentence(places: list[int], shown: int, n_rows: int) -> str:
    """How well they were found, by their places among all, 1 being the oddest.

    >>> found_sentence([1, 2, 9], 5, 100)
    '2 are among the 5 oddest, and all 3 among the 9 oddest of 100.'
    """
    among = sum(place <= shown for place in places)
    if among == len(places):
        return f"all {among} are among the {max(places)} oddest of {n_rows:,}."
    return f"{among} are among the {shown} oddest, and all {len(places)} among the {max(places)} oddest of {n_rows:,}."
