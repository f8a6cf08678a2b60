"""`isthmus demo`: the whole way on a real table and on real pictures. Every number it prints is measured in the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from isthmus.interfaces.demo_shared import Places, heading, make_places, say, unless_missing
from isthmus.interfaces.options import PREFIX, Command, Section
from isthmus.interfaces.output import write

if TYPE_CHECKING:
    from isthmus.interfaces.demo_pictures import Map, Row


def command() -> Command:
    """`isthmus demo`."""
    options = (
        click.Option(["--into"], metavar="DIR", default="isthmus-demo", show_default=True, help="Where its files go."),
        click.Option(
            ["--seed"],
            type=click.IntRange(0, 2**32 - 1),
            default=0,
            show_default=True,
            envvar=f"{PREFIX}SEED",
            metavar="WHOLE",
            help="Another seed, another run.",
        ),
        click.Option(
            ["--tables"], is_flag=True, help="Only write the two tables of the first step, and train nothing."
        ),
    )
    return Command(
        "demo",
        run,
        "Show the whole way on a real table and on pictures, in about a minute.",
        sections=[Section("Settings", options)],
        examples=["isthmus demo", "isthmus demo --into /tmp/isthmus-demo --seed 1"],
    )


def run(into: str, seed: int, tables: bool) -> None:
    """All steps, each with what came of it."""
    started = time.monotonic()
    places = make_places(into, seed)
    if tables:
        from isthmus.interfaces.demo_table import show_table

        show_table(places)
        return
    with _one_thread():
        parts = _steps(places)
    heading(8, "All of it to look at, and what to try next")
    from isthmus.interfaces.demo_drawing import write_sheet

    unless_missing(places, ["demo.png"], lambda: write_sheet(parts, places))
    _next(places, time.monotonic() - started)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Networks this small gain little by a second thread, and on a busy machine they wait for it at every step."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _steps(places: Places) -> list[Row | Map]:
    """The steps that train, and what they give to the sheet."""
    from isthmus.interfaces import demo_digits, demo_drawing, demo_table

    table, new, planted = demo_table.show_table(places)
    detector = demo_table.find_odd_rows(table, planted, places)
    demo_table.load_and_score(detector, table, new, places)
    digits = demo_digits.real_digits()
    return [
        demo_digits.find_odd_digits(digits, places),
        *demo_digits.clean_digits(digits, places),
        demo_drawing.draw_digits(digits, places),
        demo_drawing.map_digits(digits, places),
    ]


def _next(places: Places, seconds: float) -> None:
    """What lies where, and commands that work on it."""
    there, folder = places.there(), places.folder
    if "report.html" in there:
        say(f"Open {places.of('report.html')} in a browser: the map, and all about the model behind it.")
    if "demo.png" in there:
        say(f"{places.of('demo.png')} shows the steps 4 to 7 as pictures.")
    say(f"The files are in {folder}/: {', '.join(there)}. All of it took {seconds:.0f} s. Now you:")
    commands = [f"isthmus detect {folder}/table.safetensors {folder}/new.csv"]
    if "noisy/" in there:
        commands += [
            f"isthmus detect {folder}/digits.safetensors {folder}/digits",
            f"isthmus denoise {folder}/denoiser.safetensors {folder}/noisy -o restored",
            f"isthmus generate {folder}/drawing.safetensors -n 20 -o drawn",
        ]
    commands += [
        f"isthmus info {folder}/map.safetensors",
        "isthmus fit YOUR.csv --for detect -o your-model.safetensors",
        "isthmus fit YOUR-PHOTOS/ --for denoise -o your-denoiser.safetensors",
    ]
    write("\n" + "".join(f"  {line}\n" for line in commands))
