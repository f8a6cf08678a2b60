"""Strings of random symbols, copied or reversed through one code: how many come back without a single mistake.

    python3 dev.py bench copying

Ten symbols drawn at random: there is nothing to learn but to remember. The network reads a string both ways and writes
it, or its reverse, from the code alone. Exact is the share of strings never seen in training whose every symbol is
right; chance is that of the best guess without any memory.
"""

from __future__ import annotations

import argparse
import platform
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import isthmus
from isthmus.module import AutoencoderModule
from isthmus.networks import Recurrent
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train

SYMBOLS = 10
#: For each length: units of a layer, numbers in a code, strings, epochs.
SIZES = {8: (96, 128, 20_000, 15), 20: (192, 256, 40_000, 30)}


def strings(length: int, n: int, seed: int) -> Tensor:
    """(n, length, 10), one-hot."""
    drawn = torch.randint(SYMBOLS, (n, length), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(drawn, SYMBOLS).float()


def trained(cell: str, length: int, back: bool, seed: int) -> tuple[AutoencoderModule, float]:
    hidden, code, n, epochs = SIZES[length]
    torch.manual_seed(seed)
    spec = SampleSpec((length, SYMBOLS), channels=1)
    module = AutoencoderModule(spec, code, Recurrent(cell, hidden=hidden, bidirectional=True), "categorical")
    x = strings(length, n, seed=2 * seed + 1)
    target = x.flip(1) if back else None

    def batches(rows: object) -> Batch:
        index = torch.as_tensor(rows)
        return Batch(x[index], None, None if target is None else target[index])

    settings = Training(max_epochs=epochs, batch_size=64, learning_rate=1e-2 if length == 8 else 4e-3, validation=0.0)
    started = time.perf_counter()
    train(module, batches, n, settings, seed=seed)
    return module.eval(), time.perf_counter() - started


@torch.inference_mode()
def right(module: AutoencoderModule, length: int, back: bool, seed: int) -> tuple[float, float]:
    """The share of right symbols, and of strings without a mistake."""
    x = strings(length, 2000, seed=2 * seed + 2)
    found = (module.decode(module.encode(x)).point == (x.flip(1) if back else x)).all(2)
    return float(found.float().mean()), float(found.all(1).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="8,20")
    parser.add_argument("--cells", default="gru,lstm")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    table = Table(title=f"isthmus {isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    for name in ("task", "cell", "units", "code", "symbols right", "exact", "spread", "chance", "wall s"):
        table.add_column(name, justify="left" if name in ("task", "cell") else "right")
    for length in map(int, given.lengths.split(",")):
        for back in (False, True):
            for cell in given.cells.split(","):
                symbols, exact, seconds = [], [], []
                for seed in range(given.seeds):
                    module, took = trained(cell, length, back, seed)
                    each, all_ = right(module, length, back, seed)
                    symbols, exact, seconds = [*symbols, each], [*exact, all_], [*seconds, took]
                spread = f"{min(exact):.3f}-{max(exact):.3f}"
                hidden, code = map(str, SIZES[length][:2])
                means = [sum(values) / len(values) for values in (symbols, exact, seconds)]
                numbers = (f"{means[0]:.4f}", f"{means[1]:.3f}", spread, f"{SYMBOLS**-length:.0e}", f"{means[2]:.0f}")
                table.add_row(f"{'reverse' if back else 'copy'} {length}", cell, hidden, code, *numbers)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
