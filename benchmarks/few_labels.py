"""A thousand labels of MNIST: a classifier that begins as a denoising encoder beside one that begins at random.

    python3 dev.py bench few_labels

After Vincent et al. 2010 (JMLR 11:3371), in small: 58,000 training pictures without labels, 1,000 of them with, 2,000
others to choose the epoch, and the 10,000 test pictures, read once for each seed. An encoder 784-500-500-500 is trained
as part of an autoencoder with a code of 50 numbers that sees pictures with masked pixels, or whole ones (--plain), or
not at all; then a softmax is put on top and the whole is trained on the labels, by the same steps in the same order.
Each seed draws its own labels, first weights and orders, and the ways are compared seed by seed. MNIST is looked for in
$ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from _digits import labels, pictures
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

import isthmus
from isthmus import Autoencoder, Training
from isthmus.damage import Masking
from isthmus.networks import Dense
from isthmus.variants import Denoising

WIDTH, CODE, UNLABELLED, LABELLED, CHOOSING = 500, 50, 58_000, 1_000, 2_000


@dataclass(frozen=True)
class Digits:
    """Pictures (n, 1, 28, 28) and classes (n,)."""

    x: Tensor
    classes: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Digits:
        return Digits(self.x[rows], self.classes[rows])

    @classmethod
    def of(cls, part: str) -> Digits:
        return cls(torch.from_numpy(pictures(part))[:, None], torch.from_numpy(labels(part)))


def encoder(x: Tensor, variant: object, epochs: int, seed: int) -> nn.Module:
    """The hidden layers of the encoder of an autoencoder with this variant; without epochs, as they begin."""
    model = Autoencoder(
        CODE,
        network=Dense(widths=(WIDTH, WIDTH, WIDTH), activation="relu"),
        likelihood="bernoulli",
        variant=variant,  # type: ignore[arg-type]
        training=Training(max_epochs=max(1, epochs), batch_size=128, learning_rate=1e-3, validation=0.0),
        random_state=seed,
    )
    torch.manual_seed(seed)
    module = model.fit(x[:, 0].numpy()).module_ if epochs else model.build(x[:, 0].numpy())
    return nn.Sequential(nn.Flatten(), *module.network.encoder.layers[:-1])


def tuned(start: nn.Module, training: Digits, choosing: Digits, epochs: int, seed: int) -> nn.Sequential:
    """The encoder and a softmax, trained on the labels; the epoch with the fewest mistakes on `choosing`."""
    torch.manual_seed(seed)
    network = nn.Sequential(copy.deepcopy(start).train(), nn.Linear(WIDTH, 10))
    solver = torch.optim.Adam(network.parameters(), lr=5e-4)
    order, best, kept = torch.Generator().manual_seed(seed), np.inf, network
    for _ in range(epochs):
        for rows in torch.randperm(len(training.x), generator=order).split(50):
            solver.zero_grad()
            functional.cross_entropy(network(training.x[rows]), training.classes[rows]).backward()
            solver.step()
        if (error := wrong(network, choosing)) < best:
            best, kept = error, copy.deepcopy(network)
    return kept


@torch.no_grad()
def wrong(network: nn.Module, digits: Digits) -> float:
    """Share of mistakes, in percent."""
    found = torch.cat([network(part).argmax(1) for part in digits.x.split(1000)])
    return 100 * float((found != digits.classes).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6, help="of the autoencoders")
    parser.add_argument("--tuning", type=int, default=30, help="epochs over the labels")
    parser.add_argument("--share", type=float, default=0.5, help="of the pixels that are masked")
    parser.add_argument("--plain", action="store_true", help="with an autoencoder without a variant as well")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    everything, test = Digits.of("train"), Digits.of("t10k")
    free, choosing = everything[:UNLABELLED], everything[UNLABELLED : UNLABELLED + CHOOSING]
    ways = {
        f"denoising (masking {given.share:g})": (Denoising(Masking(given.share)), given.epochs),
        **({"autoencoder without a variant": ((), given.epochs)} if given.plain else {}),
        "random": ((), 0),
    }
    errors: dict[str, list[float]] = {name: [] for name in ways}
    seconds = dict.fromkeys(ways, 0.0)
    for seed in range(given.seeds):
        chosen = torch.randperm(UNLABELLED, generator=torch.Generator().manual_seed(seed))[:LABELLED]
        for name, (variant, epochs) in ways.items():
            started = time.perf_counter()
            start = encoder(free.x, variant, epochs, seed)
            network = tuned(start, free[chosen], choosing, given.tuning, seed)
            errors[name].append(wrong(network, test))
            seconds[name] += time.perf_counter() - started
        Console(width=120, stderr=True).print(seed, {name: round(found[-1], 2) for name, found in errors.items()})
    title = f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {given.seeds} seeds"
    table = Table(title=title)
    for name in (
        "the encoder begins as",
        "test error, %",
        "seeds apart",
        "fewer mistakes than random",
        "wall s a seed",
    ):
        table.add_column(name, justify="left" if name.startswith("the") else "right")
    random = np.array(errors["random"])
    for name, each in errors.items():
        found = np.array(each)
        saved = 100 * (1 - found / random)
        paired = "" if name == "random" else f"{saved.mean():.0f} % ({saved.min():.0f} to {saved.max():.0f})"
        spread = f"{found.min():.2f} to {found.max():.2f}"
        table.add_row(name, f"{found.mean():.2f}", spread, paired, f"{seconds[name] / given.seeds:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
