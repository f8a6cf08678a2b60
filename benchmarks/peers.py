"""How fast training is beside others: the same network, data and loss by each of them, samples per second.

    python3 dev.py bench peers --workload W1                          W1 to W5
    python3 dev.py bench peers --workload W2 --only isthmus,tuned     some of them
    python3 dev.py bench peers --workload W1 --check                  whether all of them learn the same

Every contender runs in a process of its own; rounds go A B C A B C. The first epoch (compiling, caches) is not in the
rate. Isthmus runs as a user has it: validation, history, early stopping, scaling; its rate is the training rows of an
epoch over the time of the epoch, validation included. bf16 is not the same arithmetic, and stands in a line of its own.
Distrust a line with much other load. Peers: pip install -r benchmarks/requirements-peers.txt.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

from _contenders import CONTENDERS, Order
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
from _workloads import WORKLOADS, data, distance, wider

COLUMNS = (
    *("contender", "samples/s", "spread", "x tuned", "first epoch s", "fit total s"),
    *("import s", "peak RSS MB", "other load"),
)
CHECKED = 5_000  # rows that the check looks at
AGREE = 0.1  # of the tuned loop's loss; or three standard errors of the difference over seeds, if that is more


def main() -> int:
    arguments = parsed()
    if not linux():
        return refuse(NOT_LINUX)
    if arguments.child:
        report(lambda: measured(arguments))
        return 0
    able = [name for name, one in CONTENDERS.items() if arguments.workload in one.works]
    names = arguments.only.split(",") if arguments.only else able
    if wrong := [name for name in names if name not in able]:
        return refuse(f"{wrong[0]!r} does not train {arguments.workload}; there are: {', '.join(able)}.")
    arguments.rows = arguments.rows or WORKLOADS[arguments.workload].rows
    return check(arguments, names) if arguments.check else rates(arguments, names)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=tuple(WORKLOADS), default="W1")
    parser.add_argument("--only", help="contenders, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="at least 2; the first is not in the rate")
    parser.add_argument("--rows", type=int, default=0, help="of the data; 0 for the workload's own")
    parser.add_argument("--cpus", type=int, default=1, help="cores to pin to; 0 for all, as the libraries like it")
    parser.add_argument("--check", action="store_true", help="compare losses instead of speed; rounds are seeds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--columns", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.epochs = max(2, arguments.epochs)
    return arguments


# ---- the child


def measured(arguments: argparse.Namespace) -> Result:
    """Train once, in this process."""
    contender = CONTENDERS[arguments.child]
    os.environ.update(contender.environment)
    import_seconds = seconds_to_import(contender.imports)
    workload = wider(arguments.columns) if arguments.columns else WORKLOADS[arguments.workload]
    X = data(workload, arguments.rows)
    stamps: list[float] = []
    order = Order(
        workload,
        X,
        arguments.epochs,
        lambda: stamps.append(time.perf_counter()),
        arguments.seed,
        arguments.check,
    )
    held = forget_peak()
    start = time.perf_counter()
    trained = contender.train(order)
    total = time.perf_counter() - start
    peak = memory("VmHWM")
    epochs = [end - begin for begin, end in zip([start, *stamps], stamps, strict=False)]
    loss = distance(workload, X[:CHECKED], trained.reconstruct(X[:CHECKED])) if arguments.check else 0.0
    return {
        "rate": trained.rows / statistics.median(epochs[1:]),
        "first": epochs[0],
        "total": total,
        "import": import_seconds,
        "peak": peak / 1e6,
        "extra": (peak - held) / X.nbytes,
        "loss": loss,
    }


def child(arguments: argparse.Namespace, name: str, seed: int = 0) -> list[str]:
    """The words that start it."""
    chosen = {key: str(vars(arguments)[key]) for key in ("workload", "rows", "epochs", "columns")}
    words = [word for key, value in chosen.items() for word in (f"--{key}", value)]
    return [*words, "--child", name, "--seed", str(seed), *(["--check"] if arguments.check else [])]


# ---- the tables


def rates(arguments: argparse.Namespace, names: list[str]) -> int:
    machine, script = Machine(arguments.cpus), str(Path(__file__).resolve())
    results = interleaved(names, arguments.rounds, lambda name: machine.run(script, child(arguments, name)))
    ran = {name: found for name, found in results.items() if failure(found) is None}
    base = median(ran["tuned"], "rate") if "tuned" in ran else None
    lines = [line(name, ran[name], base) for name in sorted(ran, key=lambda name: -median(ran[name], "rate"))]
    lines += [(name, failure(found) or "") for name, found in results.items() if name not in ran]
    workload = WORKLOADS[arguments.workload]
    title = (
        f"{workload.name}: {workload.title}, {arguments.rows:,} rows, batch {workload.batch}, "
        f"{arguments.rounds} rounds of {arguments.epochs} epochs"
    )
    notes = [f"{name}: {CONTENDERS[name].differs}." for name in ran if CONTENDERS[name].differs]
    show(title, machine.words(), COLUMNS, lines, notes)
    return 0


def line(name: str, found: list[Result], base: float | None) -> tuple[str, ...]:
    all_rates = [result["rate"] for result in found]
    rate = statistics.median(all_rates)
    return (
        name,
        f"{rate:,.0f}",
        f"{min(all_rates):,.0f}-{max(all_rates):,.0f}",
        f"{rate / base:.2f}" if base else "",
        f"{median(found, 'first'):.2f}",
        f"{median(found, 'total'):.1f}",
        f"{median(found, 'import'):.2f}",
        f"{median(found, 'peak'):.0f}",
        f"{median(found, 'other'):.2f}",
    )


def check(arguments: argparse.Namespace, names: list[str]) -> int:
    """Whether all reach the loss of the tuned loop, over as many seeds as there are rounds."""
    machine, script = Machine(arguments.cpus), str(Path(__file__).resolve())
    names = ["tuned", *(name for name in names if name != "tuned")]
    seeds_of = dict.fromkeys(names, 0)

    def next_seed(name: str) -> Result:
        seeds_of[name] += 1
        return machine.run(script, child(arguments, name, seeds_of[name] - 1))

    losses: dict[str, list[float]] = {}
    lines: list[tuple[str, ...]] = []
    for name, seeds in interleaved(names, arguments.rounds, next_seed).items():
        if (why := failure(seeds)) is not None:
            lines.append((name, why))
            continue
        losses[name] = [result["loss"] for result in seeds]
        lines.append((name, *compared(name, losses)))
    title = f"{arguments.workload}, losses after {arguments.epochs} epochs, {arguments.rows:,} rows"
    show(title, f"{arguments.rounds} seeds", ("contender", "loss", "spread", "x tuned", "allowed", "verdict"), lines)
    return int(any(row[-1] == "DIFFERS" for row in lines) or "tuned" not in losses)


def compared(name: str, losses: dict[str, list[float]]) -> tuple[str, ...]:
    own, base = losses[name], losses.get("tuned", losses[name])
    mean, wanted = statistics.fmean(own), statistics.fmean(base)
    error = sum(statistics.variance(some) / len(some) for some in (own, base) if len(some) > 1) ** 0.5
    allowed = max(AGREE, 3 * error / wanted)
    verdict = CONTENDERS[name].differs or ("agrees" if abs(mean / wanted - 1) <= allowed else "DIFFERS")
    return f"{mean:.5g}", f"{min(own):.5g}-{max(own):.5g}", f"{mean / wanted:.3f}", f"{allowed:.0%}", verdict


if __name__ == "__main__":
    sys.exit(main())
