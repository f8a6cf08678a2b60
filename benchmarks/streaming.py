"""A Parquet file five times the memory it may take: fitting and scoring piece by piece, against in memory.

    python3 dev.py bench streaming                                              memory beyond what the libraries take
    python3 dev.py bench streaming --rows 25000000 --limit 600 --repeats 1      under a limit that the kernel holds

Each way runs in a process of its own, which first fits a small table. The memory is the peak of resident pages, as the
kernel counts it, beyond what stood there then. With `--limit`, the process that goes piece by piece is put into a
control group of so many MB, for everything: the interpreter, the libraries, data and cached pages of files; beyond it
the kernel ends a process (Linux, as root; a limit set with setrlimit would count what allocators only reserve). Values
are random, so that the file is as large as what it holds. The times have everything in them: looking for columns and
types, the temporary copy, training with a held-out part, and scoring all rows.
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
import warnings
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import isthmus
from isthmus import Autoencoder, Training
from isthmus.data import Tables

SMALL, LARGE = "small.parquet", "large.parquet"
STEP = 100_000


def prepare(folder: Path, n_rows: int, n_columns: int) -> None:
    """A large file and a small one with the same columns, float32."""
    random = np.random.default_rng(0)
    mix = random.normal(size=(5, n_columns)).astype(np.float32)
    names = [f"c{place}" for place in range(n_columns)]
    parts = folder / "parts"
    parts.mkdir()
    for start in range(0, n_rows, STEP):
        hidden = random.normal(size=(min(STEP, n_rows - start), 5)).astype(np.float32)
        values = hidden @ mix + 0.3 * random.normal(size=(len(hidden), n_columns)).astype(np.float32)
        pl.DataFrame(values, schema=names).write_parquet(parts / f"{start:012}.parquet")
    pl.scan_parquet(parts / "*.parquet").sink_parquet(folder / LARGE, row_group_size=STEP)
    pl.scan_parquet(folder / LARGE).head(20_000).collect().write_parquet(folder / SMALL)


def status(name: str) -> int:
    """Bytes that the kernel counts under this name for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measure(folder: Path, streaming: bool, epochs: int) -> None:
    """Print seconds of fitting, seconds of scoring, and peak memory beyond what was taken before."""
    warnings.simplefilter("ignore")

    def model(epochs: int) -> Autoencoder:
        training = Training(max_epochs=epochs, batch_size=1024)
        return Autoencoder(5, data_type=Tables(streaming=streaming), training=training, random_state=0)

    model(1).fit(folder / SMALL).score_samples(folder / SMALL)
    before = status("VmRSS")
    start = time.perf_counter()
    fitted = model(epochs).fit(folder / LARGE)
    middle = time.perf_counter()
    fitted.score_samples(folder / LARGE)
    end = time.perf_counter()
    sys.stdout.write(f"{middle - start} {end - middle} {status('VmHWM') - before}\n")


def group(megabytes: int) -> Path:
    """A new control group with this limit of memory."""
    first = Path("/sys/fs/cgroup")
    old = first / "memory"  # version 1 has a folder for each kind of limit
    found = (old if old.is_dir() else first) / f"isthmus-{os.getpid()}"
    try:
        found.mkdir()
        (found / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")).write_text(str(megabytes * 2**20))
    except OSError as error:
        sys.exit(f"a limit of memory needs Linux with control groups that may be written to: {error}.")
    return found


def run(words: list[str], limit: Path | None) -> list[float]:
    """What one process measured, within this control group where one is given."""

    def enter() -> None:
        if limit is not None:
            (limit / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, preexec_fn=enter)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2, help="the limit, as a share of the file")
    parser.add_argument("--limit", type=int, default=0, help="MB that the whole process may take; 0 for no limit")
    given = parser.parse_args()
    limit = group(given.limit) if given.limit else None
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        words = [str(given.rows), str(given.columns)]
        subprocess.run([sys.executable, __file__, "--prepare", name, *words], check=True)
        size = os.path.getsize(Path(name) / LARGE)
        for _ in range(given.repeats):
            for streaming, taken in found.items():
                words = ["--measure", name, str(streaming), str(given.epochs)]
                taken.append(run(words, limit if streaming else None))
    if limit is not None:
        limit.rmdir()
    title = f"{given.rows:,} x {given.columns}, file of {size / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}"
    table = Table(title=f"Isthmus {isthmus.__version__}, Python {platform.python_version()}; {title}")
    for column in (
        "",
        "limit MB",
        "peak MB beyond the start",
        "fit: rows/s",
        "score: rows/s",
        "fit, share",
        "score, share",
        "under it",
    ):
        table.add_column(column, justify="right" if column else "left")
    middles = {way: [statistics.median(values) for values in zip(*runs, strict=True)] for way, runs in found.items()}
    for streaming, (fit, score, peak) in middles.items():
        most = given.limit * 2**20 or given.share * size
        speeds = [f"{given.rows * given.epochs / fit:,.0f}", f"{given.rows / score:,.0f}"]
        shares = [f"{middles[False][place] / (fit, score)[place]:.2f}" for place in (0, 1)]
        way = "piece by piece" if streaming else "in memory"
        table.add_row(way, f"{most / 1e6:.0f}", f"{peak / 1e6:.0f}", *speeds, *shares, "yes" if peak < most else "no")
    Console(width=140).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4]))
    else:
        main()
