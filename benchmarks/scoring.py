"""How fast rows are scored: one plain dense autoencoder, 30 columns, the distortion of each row.

    python3 dev.py bench scoring                          1,000,000 rows
    python3 dev.py bench scoring --rows 100000 --only isthmus,pyod

Every contender runs in a process of its own, rounds A B C A B C. The weights do not matter for speed: estimators learn
for an epoch, the loops in torch and NumPy take a fresh network. Isthmus and PyOD check and scale what they are given;
the loops do neither. Extra memory is the peak beyond the rows and their scores. One row: the median of many calls, each
through the same function with a single row; `isthmus_scorer` is `detector.scorer()`, made for that.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _contenders import CONTENDERS, OURS, Order, autoencoder
from _measuring import (
    NOT_LINUX,
    Machine,
    Result,
    failure,
    forget_peak,
    interleaved,
    linux,
    median,
    memory,
    refuse,
    report,
    seconds_to_import,
    show,
)
from _workloads import WORKLOADS, Array, data, torch_net

COLUMNS = ("contender", "rows/s", "spread", "x pyod", "seconds for all", "one row us", "extra memory MB", "other load")
LEARNED = 20_000  # rows that estimators learn from
CHUNK = 1024  # rows at once in the loops: what they make stays in the cache
Score = Callable[[Array], Any]


# ---- who scores


def detector(X: Array) -> Any:
    from isthmus import AnomalyDetector, Training

    training = Training(max_epochs=1, batch_size=256)
    model = autoencoder(WORKLOADS["W1"], training=training, device="cpu", random_state=0)
    return AnomalyDetector(model, scores="distortion").fit(X)


def isthmus(X: Array) -> Score:
    return detector(X).score_samples


def isthmus_scorer(X: Array) -> Score:
    light: Score = detector(X).scorer()
    return light


def peer(name: str, X: Array) -> Any:
    return CONTENDERS[name].train(Order(WORKLOADS["W1"], X, 1, lambda: None)).model


def pyod(X: Array) -> Score:
    return peer("pyod", X).decision_function


def keras_jax(X: Array) -> Score:
    model = peer("keras_jax", X)

    def score(rows: Array) -> Array:
        found = model.predict(rows, batch_size=8192, verbose=0)
        return np.square(found - rows).mean(1)

    return score


def tuned(X: Array) -> Score:
    """Torch, in chunks, into one array of scores."""
    import torch

    net = torch_net(WORKLOADS["W1"]).eval()

    def score(rows: Array) -> Array:
        x, found = torch.from_numpy(rows), torch.empty(len(rows))
        with torch.inference_mode():
            for chunk, out in zip(x.split(CHUNK), found.split(CHUNK), strict=True):
                torch.mean((net.decoder(net.encoder(chunk)) - chunk).square_(), 1, out=out)
        return found.numpy()

    return score


def numpy(X: Array) -> Score:
    """The same by NumPy's products alone."""
    random, sizes = np.random.default_rng(0), WORKLOADS["W1"].sizes
    layers = [
        (random.normal(0, n_in**-0.5, (n_in, n_out)).astype(np.float32), np.zeros(n_out, np.float32))
        for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    linear = (len(layers) // 2 - 1, len(layers) - 1)

    def score(rows: Array) -> Array:
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), CHUNK):
            chunk = hidden = rows[start : start + CHUNK]
            for place, (weight, bias) in enumerate(layers):
                hidden = hidden @ weight
                hidden += bias
                if place not in linear:
                    np.maximum(hidden, 0, out=hidden)
            hidden -= chunk
            found[start : start + CHUNK] = np.einsum("ij,ij->i", hidden, hidden) / hidden.shape[1]
        return found

    return score


#: Who, what its imports are, and whether it is made for many rows.
SCORERS: dict[str, tuple[Callable[[Array], Score], tuple[str, ...], bool]] = {
    "isthmus": (isthmus, OURS, True),
    "isthmus_scorer": (isthmus_scorer, OURS, False),
    "tuned": (tuned, ("torch",), True),
    "numpy": (numpy, (), True),
    "pyod": (pyod, CONTENDERS["pyod"].imports, True),
    "keras_jax": (keras_jax, CONTENDERS["keras_jax"].imports, True),
}


# ---- the child


def measured(name: str, n_rows: int, passes: int) -> Result:
    make, imports, many = SCORERS[name]
    os.environ.update(CONTENDERS[name].environment if name in CONTENDERS else {})
    seconds_to_import(imports)
    rows = data(WORKLOADS["W1"], n_rows)
    try:
        score = make(rows[:LEARNED].copy())
    except AttributeError as error:
        return {"failed": f"this version cannot: {error}"}
    result: Result = {"one": one_row(score, rows)}
    if not many:
        return result
    score(rows[:100])  # what is built at the first call is not counted
    held = forget_peak()
    found = np.asarray(score(rows))
    result["extra"] = max(0, memory("VmHWM") - held - found.nbytes) / 1e6
    if found.shape != (n_rows,) or not np.isfinite(found).all():
        return {"failed": f"gave {found.shape} instead of {n_rows} finite scores"}
    seconds = sorted(timed(lambda: score(rows)) for _ in range(passes))
    return result | {"rate": n_rows / statistics.median(seconds), "seconds": statistics.median(seconds)}


def one_row(score: Score, rows: Array, most: int = 5_000, seconds: float = 2.0) -> float:
    """Microseconds of a call with one row, the median; every call gets another row."""
    ends = time.perf_counter() + seconds
    taken = list(_calls(score, rows[: min(len(rows), most)], ends))
    return 1e6 * statistics.median(taken[len(taken) // 5 :])


def _calls(score: Score, rows: Array, ends: float) -> Iterator[float]:
    for index in range(len(rows)):
        row = rows[index : index + 1]
        yield timed(lambda row=row: score(row))
        if time.perf_counter() > ends and index > 5:
            return


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# ---- the table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=3, help="over all rows in one process, after a first one")
    parser.add_argument("--cpus", type=int, default=1, help="cores to pin to; 0 for all")
    parser.add_argument("--only", help="contenders, with commas")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not linux():
        return refuse(NOT_LINUX)
    if arguments.child:
        report(lambda: measured(arguments.child, arguments.rows, arguments.passes))
        return 0
    names = arguments.only.split(",") if arguments.only else list(SCORERS)
    if wrong := [name for name in names if name not in SCORERS]:
        return refuse(f"there is no contender {wrong[0]!r}; there are: {', '.join(SCORERS)}.")
    machine, script = Machine(arguments.cpus), str(Path(__file__).resolve())
    words = ["--rows", str(arguments.rows), "--passes", str(arguments.passes)]
    results = interleaved(names, arguments.rounds, lambda name: machine.run(script, [*words, "--child", name]))
    title = f"Scores of {arguments.rows:,} rows of 30 float32, {arguments.rounds} rounds of {arguments.passes} passes"
    show(title, machine.words(), COLUMNS, lines(results))
    return 0


def lines(results: dict[str, list[Result]]) -> Iterator[tuple[str, ...]]:
    ran = {name: found for name, found in results.items() if failure(found) is None}
    base = median(ran["pyod"], "rate") if "pyod" in ran else None
    for name in sorted(ran, key=lambda name: -median(ran[name], lambda result: result.get("rate", 0.0))):
        found = ran[name]
        one, other = f"{median(found, 'one'):,.1f}", f"{median(found, 'other'):.2f}"
        if "rate" not in found[0]:
            yield name, "", "", "", "", one, "", other
            continue
        rates = [result["rate"] for result in found]
        rate = statistics.median(rates)
        yield (
            name,
            f"{rate:,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            f"{rate / base:.1f}" if base else "",
            f"{median(found, 'seconds'):.2f}",
            one,
            f"{median(found, 'extra'):.0f}",
            other,
        )
    yield from ((name, failure(found) or "") for name, found in results.items() if name not in ran)


if __name__ == "__main__":
    sys.exit(main())
