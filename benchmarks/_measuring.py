"""What the benchmarks share: a process of its own for every contender, what the machine did meanwhile, one table."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

MARK = "RESULT "
PACKAGES = ("torch", "numpy", "scikit-learn", "pyod", "keras", "jax")
MISSING = "not installed: pip install -r benchmarks/requirements-peers.txt"
Result = dict[str, Any]


# ---- the parent: one process for each measurement


@dataclass(frozen=True)
class Machine:
    """Where children run.

    Parameters
    ----------
    cpus : how many cores a child is pinned to; 0 for all, which leaves the threads to each library.
    timeout : seconds after which a child is given up.
    """

    cpus: int = 1
    timeout: float = 1800.0

    def cores(self) -> list[int]:
        allowed = sorted(os.sched_getaffinity(0))
        return allowed[: self.cpus] if self.cpus else allowed

    def words(self) -> str:
        model = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
        pinned = f"pinned to {self.cpus}" if self.cpus else "not pinned"
        return f"{os.cpu_count()} cores {platform.machine()} ({model[0] if model else 'model unknown'}), {pinned}"

    def run(self, script: str, arguments: Iterable[str]) -> Result:
        """What the child reported, with `other`: the share of the machine that other processes took meanwhile.

        A child that failed gives one sentence as `failed`.
        """
        cores = self.cores()
        busy, own, start = _busy_seconds(), _seconds_of_children(), time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, script, *arguments],
                capture_output=True,
                text=True,
                timeout=self.timeout,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"took more than {self.timeout:.0f} s"}
        wall = time.perf_counter() - start
        found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if not found:
            said = done.stderr.strip().splitlines()
            return {"failed": said[-1][:160] if said else f"ended with code {done.returncode}"}
        others = _busy_seconds() - busy - (_seconds_of_children() - own)
        result: Result = json.loads(found[-1].removeprefix(MARK))
        return result | {"other": max(0.0, others / wall / (os.cpu_count() or 1))}


def interleaved(names: Sequence[str], rounds: int, measure: Callable[[str], Result]) -> dict[str, list[Result]]:
    """A B C A B C ...; who failed once is not asked again. Says on stderr how far it is."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            if any("failed" in result for result in results[name]):
                continue
            start = time.perf_counter()
            results[name].append(result := measure(name))
            said = result.get("failed", f"other load {result.get('other', 0.0):.2f}")
            print(f"# round {number + 1} {name}: {time.perf_counter() - start:.1f} s, {said}", file=sys.stderr)
    return results


def failure(results: Sequence[Result]) -> str | None:
    """The sentence of a contender that could not run."""
    return next((result["failed"] for result in results if "failed" in result), None)


def median(results: Sequence[Result], key: str | Callable[[Result], float]) -> float:
    return statistics.median(key(result) if callable(key) else result[key] for result in results)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _busy_seconds() -> float:
    """Processor seconds of the whole machine that were not idle."""
    ticks = [int(word) for word in _lines("/proc/stat")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / float(os.sysconf("SC_CLK_TCK"))


def _seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# ---- the child


def seconds_to_import(modules: Iterable[str]) -> float:
    """Import these; `package:name` also takes a name, so that lazy packages load."""
    start = time.perf_counter()
    for module in modules:
        package, _, name = module.partition(":")
        loaded = importlib.import_module(package)
        if name:
            getattr(loaded, name)
    return time.perf_counter() - start


def memory(kind: str = "VmRSS") -> int:
    """Bytes that this process holds now (VmRSS), or held at its peak (VmHWM)."""
    return next(int(line.split()[1]) * 1024 for line in _lines("/proc/self/status") if line.startswith(kind + ":"))


def forget_peak() -> int:
    """Start counting the peak anew; gives the bytes held now, without what was freed and kept for the next call."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory()


def report(measure: Callable[[], Result]) -> None:
    """Print what the child found, or why it could not run; a package that is not there is one sentence."""
    try:
        result = measure()
    except ModuleNotFoundError as error:
        ours = (error.name or "").split(".")[0] in ("isthmus", "")
        result = {"failed": str(error) if ours else f"{MISSING} ({error.name})"}
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {error}"[:160]}
    print(MARK + json.dumps(result), flush=True)


# ---- the table


def versions() -> str:
    """Date, Isthmus, Python and the packages that are there."""
    import isthmus

    found = [f"{date.today()}", f"Isthmus {isthmus.__version__}", f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def show(
    title: str, where: str, columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()
) -> None:
    """One Markdown table, aligned. A row with two cells is a name and why there are no numbers: it sets no widths."""
    filled = [list(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *_full(filled, len(columns)), strict=True)]
    turned = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(columns, widths), _line(turned, widths), *(_line(row, widths) for row in filled)]
    print(f"## {title}\n\n{versions()}; {where}.\n", *lines, sep="\n")
    for note in notes:
        print(f"\n{note}")


def _full(rows: list[list[str]], columns: int) -> list[list[str]]:
    return [row for row in rows if len(row) == columns]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = list(zip(cells, widths, strict=False))
    laid = [f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}" for at, (cell, width) in enumerate(pairs)]
    return "| " + " | ".join([*laid, *[""] * (len(widths) - len(cells))]) + " |"


def refuse(sentence: str) -> int:
    """Say why there is nothing to measure; the exit code for that."""
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def linux() -> bool:
    return sys.platform == "linux"


NOT_LINUX = "this benchmark pins cores and reads /proc, so it runs on Linux only."
