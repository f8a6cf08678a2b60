"""How fast training is on a GPU, beside a tuned and compiled torch loop on the same device, and of what is possible.

    python3 dev.py bench device                                    W1 to W4 and a net of 100 million parameters
    python3 dev.py bench device --workloads W2,conv100m --rounds 3

The loop has the data on the device, rows by index, a compiled network (CUDA graphs where torch can) and fused Adam.
Isthmus runs as a user has it, validation included; see peers.py. The first epoch is not in the rate. Share of peak:
arithmetic of forward and backward over that of one large product in the same number type on the same device.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _contenders import OURS, Order, Trained, isthmus
from _measuring import (
    NOT_LINUX,
    Machine,
    Result,
    failure,
    interleaved,
    linux,
    median,
    refuse,
    report,
    seconds_to_import,
    show,
)
from _workloads import LARGE, WORKLOADS, Workload, as_torch, data, torch_loss, torch_net

COLUMNS = (
    *("workload", "contender", "samples/s", "spread", "x compiled", "TFLOP/s", "share of peak"),
    *("first epoch s", "fit total s", "device memory MB"),
)
ALL = WORKLOADS | {LARGE.name: LARGE}
ROWS = {"W1": 1_000_000, "W2": 100_000, "W3": 100_000, "W4": 100_000, LARGE.name: LARGE.rows}
CONTENDERS = ("isthmus", "compiled", "isthmus_bf16", "compiled_bf16")


# ---- the child


def compiled(order: Order, half: bool) -> Trained:
    """What someone writes who knows torch and the device. Only whole batches, so that shapes never change."""
    import torch

    torch.manual_seed(order.seed)
    workload, device = order.workload, torch.device(order.device)
    net, x = torch_net(workload).to(device), as_torch(workload, order.X).to(device)
    if x.ndim == 4:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext():
            found = net(batch)
        return torch_loss(workload, [None if one is None else one.float() for one in found], batch)

    fast = torch.compile(loss_of, mode="reduce-overhead" if device.type == "cuda" else "default")
    whole = len(x) // workload.batch * workload.batch
    for _ in range(order.epochs):
        for rows in torch.randperm(len(x), device=device)[:whole].split(workload.batch):
            torch.compiler.cudagraph_mark_step_begin()
            optimizer.zero_grad(set_to_none=True)
            fast(x.index_select(0, rows)).backward()
            optimizer.step()
        order.stamp()
    return Trained(whole, lambda X: X, net)


def measured(arguments: argparse.Namespace) -> Result:
    """Train once, in this process."""
    import torch

    workload, half = ALL[arguments.workloads], arguments.child.endswith("bf16")
    ours = arguments.child.startswith("isthmus")
    seconds_to_import(OURS if ours else ("torch",))
    X = data(workload, arguments.rows or ROWS[workload.name])
    on_gpu = arguments.device != "cpu"
    stamps: list[float] = []

    def stamp() -> None:
        if on_gpu:
            torch.cuda.synchronize()
        stamps.append(time.perf_counter())

    order = Order(workload, X, arguments.epochs, stamp, device=arguments.device)
    stamp()
    trained = isthmus(order, "bf16" if half else "auto") if ours else compiled(order, half)
    stamp()
    epochs = [end - begin for begin, end in zip(stamps, stamps[1:-1], strict=False)]
    rate, operations = trained.rows / statistics.median(epochs[1:]), arithmetic(workload)
    done = rate * operations
    return {
        "rate": rate,
        "tera": done / 1e12,
        "share": done / peak(arguments.device, half),
        "first": epochs[0],
        "total": stamps[-1] - stamps[0],
        "memory": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0,
    }


def arithmetic(workload: Workload) -> float:
    """Additions and multiplications of forward and backward for one sample, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    net, x = torch_net(workload), as_torch(workload, data(workload, 2))
    with FlopCounterMode(display=False) as counter:
        torch_loss(workload, net(x), x).backward()
    return counter.get_total_flops() / 2


def peak(device: str, half: bool, size: int = 8192) -> float:
    """Operations per second of one large product, the best of some."""
    import torch

    size = size if device != "cpu" else 1024
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if half else torch.float32)
    best = 0.0
    for _ in range(10):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        if device != "cpu":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


# ---- the table


def main() -> int:
    arguments = parsed()
    if not linux():
        return refuse(NOT_LINUX)
    if arguments.child:
        report(lambda: measured(arguments))
        return 0
    chosen = arguments.workloads.split(",")
    if wrong := [name for name in chosen if name not in ALL]:
        return refuse(f"there is no workload {wrong[0]!r}; there are: {', '.join(ALL)}.")
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        return refuse("torch sees no GPU here, so there is nothing to measure; on a CPU run `dev.py bench peers`.")
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else "on the CPU, to try this script"
    lines = [line for name in chosen for line in rates(arguments, ALL[name])]
    title = f"Training on a device, {arguments.rounds} rounds of {arguments.epochs} epochs"
    count = sum(parameter.numel() for parameter in torch_net(LARGE).parameters()) / 1e6
    show(title, f"{where}, {Machine(0).words()}", COLUMNS, lines, [f"{LARGE.name}: {count:.0f} million parameters."])
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(ALL), help="with commas")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="at least 2; the first is not in the rate")
    parser.add_argument("--rows", type=int, default=0, help="of the data; 0 for what suits a GPU")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tries the script")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.epochs = max(2, arguments.epochs)
    return arguments


def rates(arguments: argparse.Namespace, workload: Workload) -> Iterator[tuple[str, ...]]:
    """The lines of one workload."""
    machine, script = Machine(cpus=0), str(Path(__file__).resolve())
    words = ["--rows", str(arguments.rows), "--epochs", str(arguments.epochs), "--device", arguments.device]
    words += ["--workloads", workload.name, "--child"]
    names = arguments.only.split(",")
    results = interleaved(names, arguments.rounds, lambda name: machine.run(script, [*words, name]))
    for name, found in results.items():
        if (why := failure(found)) is not None:
            yield workload.name, name, why
            continue
        yield workload.name, name, *numbers(found, results.get("compiled" + "_bf16" * name.endswith("_bf16"), []))


def numbers(found: list[Result], rivals: list[Result]) -> tuple[Any, ...]:
    all_rates = [result["rate"] for result in found]
    rate = statistics.median(all_rates)
    base = median(rivals, "rate") if rivals and failure(rivals) is None else None
    return (
        f"{rate:,.0f}",
        f"{min(all_rates):,.0f}-{max(all_rates):,.0f}",
        f"{rate / base:.2f}" if base else "",
        f"{median(found, 'tera'):.2f}",
        f"{median(found, 'share'):.1%}",
        f"{median(found, 'first'):.2f}",
        f"{median(found, 'total'):.1f}",
        f"{median(found, 'memory'):,.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
