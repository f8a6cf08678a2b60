"""How time and memory grow with rows and with columns: two epochs of the tabular network, ours and the tuned loop.

    python3 dev.py bench growth                          10,000 to 10,000,000 rows; 30 to 1,000 columns
    python3 dev.py bench growth --rows 10000,100000 --columns 30

Time is that of the second epoch, per training row; validation is in it. Memory is the peak of the fit beyond what was
held before it, the data included, as a multiple of the data: of small data it is what the libraries themselves take.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import peers
from _contenders import CONTENDERS
from _measuring import NOT_LINUX, Machine, Result, failure, interleaved, linux, median, refuse, show
from _workloads import wider

COLUMNS = (
    *("rows x columns", "contender", "us per row and epoch", "x of the smallest"),
    *("fit total s", "memory beyond the data MB", "x of the data", "other load"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000,10000000", help="of 30 columns, with commas")
    parser.add_argument("--columns", default="30,100,300,1000", help="of 20,000 rows, with commas")
    parser.add_argument("--only", default="isthmus,tuned", help="contenders, with commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=1, help="cores to pin to; 0 for all")
    arguments = parser.parse_args()
    if not linux():
        return refuse(NOT_LINUX)
    names = arguments.only.split(",")
    if wrong := [name for name in names if name not in CONTENDERS]:
        return refuse(f"there is no contender {wrong[0]!r}; there are: {', '.join(CONTENDERS)}.")
    machine = Machine(arguments.cpus)
    by_rows = [(rows, 30) for rows in whole(arguments.rows)]
    by_columns = [(20_000, columns) for columns in whole(arguments.columns)]
    lines = [
        line for sizes in (by_rows, by_columns) if sizes for line in grown(machine, names, sizes, arguments.rounds)
    ]
    title = f"Growth: {wider(30).title} and wider, batch 256, 2 epochs, {arguments.rounds} rounds"
    show(title, machine.words(), COLUMNS, lines)
    return 0


def whole(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word.strip()]


def grown(
    machine: Machine, names: Sequence[str], sizes: Sequence[tuple[int, int]], rounds: int
) -> Iterator[tuple[str, ...]]:
    """A line for each size and contender."""
    smallest: dict[str, float] = {}
    for rows, columns in sizes:
        results = interleaved(names, rounds, lambda name, size=(rows, columns): measured(machine, name, *size))
        for name, found in results.items():
            size = f"{rows:,} x {columns}"
            if (why := failure(found)) is not None:
                yield size, name, why
                continue
            taken = median(found, lambda result: 1e6 / result["rate"])
            beyond = median(found, "extra")
            yield (
                size,
                name,
                f"{taken:.2f}",
                f"{taken / smallest.setdefault(name, taken):.2f}",
                f"{median(found, 'total'):.1f}",
                f"{beyond * rows * columns * 4 / 1e6:,.0f}",
                f"{beyond:.2f}",
                f"{median(found, 'other'):.2f}",
            )


def measured(machine: Machine, name: str, rows: int, columns: int) -> Result:
    words = ["--workload", "W1", "--rows", str(rows), "--columns", str(columns), "--epochs", "2", "--child", name]
    return machine.run(str(Path(peers.__file__).resolve()), words)


if __name__ == "__main__":
    sys.exit(main())
