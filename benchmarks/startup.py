"""How long the first answers take: importing the package, help, a model's outline, a cold `detect`, a
first model.

    python3 dev.py bench startup

Each command is a process of its own, started `--repeats` times in turn, and once before, so that Python's compiled
files are there; the table gives the best and the median.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import AnomalyDetector, Training

ROWS = "import numpy; draw = numpy.random.default_rng(0).normal; X = draw(size=(10_000, 30)) @ draw(size=(30, 30)); "
CLI = "from isthmus.interfaces.cli import main; main()"


def commands(folder: Path) -> dict[str, list[str]]:
    """What is started, by its name."""
    model, data = str(folder / "model.safetensors"), str(folder / "data.csv")
    return {
        "python, nothing else": ["pass"],
        "import isthmus": ["import isthmus"],
        "isthmus --help": [CLI, "--help"],
        "isthmus fit --help": [CLI, "fit", "--help"],
        "isthmus info": [CLI, "info", model],
        "import torch": ["import torch"],
        "isthmus detect, 1,000 rows": [CLI, "detect", model, data],
        "import torch, sklearn": ["import torch, sklearn.base, sklearn.utils"],
        "10,000 rows fitted": [ROWS + "import isthmus; isthmus.Autoencoder(8).fit(X)"],
    }


def prepare(folder: Path) -> None:
    """A small model and a table."""
    x = np.random.default_rng(0).normal(size=(1000, 2)) @ np.ones((2, 10))
    pl.DataFrame(x, schema=[f"x{i}" for i in range(10)]).write_csv(folder / "data.csv")
    detector = AnomalyDetector(scores="distortion", random_state=0)
    detector.autoencoder = detector.default().set_params(training=Training(max_epochs=2))
    detector.fit(str(folder / "data.csv")).save(folder / "model.safetensors")


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    table = Table(title=f"Isthmus {isthmus.__version__}, Python {platform.python_version()}, {platform.machine()}")
    for name in ("command", "best s", "median s"):
        table.add_column(name, justify="left" if name == "command" else "right")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        chosen = commands(Path(folder))
        times: dict[str, list[float]] = {name: [] for name in chosen}
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        start = partial(subprocess.run, capture_output=True, check=True, env=usual)
        for _ in range(repeats + 1):
            for name, words in chosen.items():
                times[name].append(seconds(partial(start, [sys.executable, "-c", *words])))
    for name, (_, *found) in times.items():
        table.add_row(name, f"{min(found):.2f}", f"{statistics.median(found):.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
