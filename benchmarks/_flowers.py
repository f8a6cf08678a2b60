"""What the benchmarks on photos of flowers share: the photos, a model that is trained or loaded, a table, a drawing."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import isthmus

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FOLDER = DATA / "oxford-flowers12"
Photos = np.ndarray  # (n, height, width, 3), uint8


def photos(held_out: int) -> tuple[Photos, Photos]:
    """All but the last so many of each species by name, and these."""
    parts: tuple[list[Photos], list[Photos]] = ([], [])
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        for place, path in enumerate(reversed(sorted(folder.glob("*.jpg")))):
            parts[place < held_out].append(np.asarray(Image.open(path).convert("RGB")))
    return np.stack(parts[0]), np.stack(parts[1])


def options(description: str | None, epochs: int) -> argparse.ArgumentParser:
    """What can be asked of each of them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="keep the trained model in this file")
    parser.add_argument("--load", help="measure the model in this file instead of training one")
    parser.add_argument("--show", help="draw some held-out photos into this file")
    return parser


def missing() -> bool:
    """Says so where the photos are not there."""
    if not FOLDER.is_dir():
        print(f"skipped: there is no folder {FOLDER}; set ISTHMUS_DATA.", file=sys.stderr)
    return not FOLDER.is_dir()


def trained(model: Any, clean: Photos, given: argparse.Namespace) -> tuple[Any, str]:
    """The model, trained on photos or out of a file, and how long it took."""
    wall, work = time.perf_counter(), time.process_time()
    model = isthmus.load(given.load) if given.load else model.fit(clean)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    if given.save:
        model.save(given.save)
    return model, "loaded" if given.load else f"{given.epochs} epochs, {wall:.0f} s, {work:.0f} s of CPU"


def tell(title: str, columns: Iterable[str], answers: dict[str, Any], rates: Callable[[Any], Iterable[float]]) -> None:
    """A row for each answer."""
    table = Table(title=title)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    for name, found in answers.items():
        table.add_row(name, *(f"{value:.2f}" for value in rates(found)))
    Console(width=110).print(table)


def draw(path: str, held_out: int, *rows: Photos) -> None:
    """Of each species one photo, in rows below each other."""
    some = [np.concatenate(list(row[::held_out]), 1) for row in rows]
    Image.fromarray(np.concatenate(some).astype(np.uint8)).save(path)
