"""A ring of 8 groups and a grid of 25: how many does a model that draws new points meet, and how many points are good?

    python3 dev.py bench modes

A plain GAN (examples/gan.py), whose lost groups are the classical complaint, beside autoencoders whose codes are drawn
from their prior or from a density fitted on codes, and beside a mixture of normal laws fitted on the points themselves,
which in two dimensions is all one needs. 2,500 points are drawn; one is good within three widths of a centre, and a
group is met that has a good point; KL is that of the shares of the groups to equal ones, in nats. Points drawn from the
true law are good in 98.9 % of all cases.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import isthmus
from isthmus import Autoencoder, Synthesizer, Training
from isthmus.densities import Mixture
from isthmus.networks import Dense

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import gan

N_DRAWN = 2500


@dataclass(frozen=True)
class Given:
    """What all contenders share."""

    groups: gan.Groups
    rows: int
    epochs: int
    gan_steps: int
    seed: int

    @property
    def points(self) -> Tensor:
        return self.groups.draw(self.rows, torch.Generator().manual_seed(100 + self.seed))


def by_gan(given: Given) -> Tensor:
    return gan.trained_points(given.groups, given.gan_steps, given.seed, N_DRAWN)


def by_autoencoder(variant: str, likelihood: str, density: str) -> Callable[[Given], Tensor]:
    def draw(given: Given) -> Tensor:
        training = Training(max_epochs=given.epochs, batch_size=200, learning_rate=3e-3, patience=None)
        model = Autoencoder(2, variant=variant or (), network=Dense((64, 64)), likelihood=likelihood, training=training)
        fitted = Synthesizer(model, density=density, random_state=given.seed).fit(given.points.numpy())
        return torch.from_numpy(np.asarray(fitted.sample(N_DRAWN)))

    return draw


def by_mixture(given: Given) -> Tensor:
    law = Mixture().fit(given.points.double(), torch.Generator().manual_seed(given.seed))
    return law.sample(N_DRAWN, torch.Generator().manual_seed(given.seed))


NARROW = "normal(scale=0.01)"
CONTENDERS: dict[str, Callable[[Given], Tensor]] = {
    "GAN": by_gan,
    "variational, its prior": by_autoencoder("variational", NARROW, "prior"),
    "variational with a mixture as prior": by_autoencoder("variational(prior='mixture(k=30)')", NARROW, "prior"),
    "variational, mixture on codes": by_autoencoder("variational", NARROW, "mixture"),
    "variational, second stage": by_autoencoder("variational", NARROW, "second_stage"),
    "plain, mixture on codes": by_autoencoder("", "normal", "mixture"),
    "plain, second stage": by_autoencoder("", "normal", "second_stage"),
    "no autoencoder: mixture on points": by_mixture,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000, help="points to learn from; the GAN draws ever new ones")
    parser.add_argument("--epochs", type=int, default=40, help="of the autoencoders")
    parser.add_argument("--gan-steps", type=int, default=10_000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table(title=f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {given.seeds} seeds")
    for name in ("set", "drawn by", "groups met", "good %", "KL", "wall s"):
        table.add_column(name, justify="left" if name in ("set", "drawn by") else "right")
    for set_name, groups in (("ring", gan.ring()), ("grid", gan.grid())):
        for name, draw in CONTENDERS.items():
            found, started = [], time.perf_counter()
            for seed in range(given.seeds):
                one = Given(groups, given.rows, given.epochs, given.gan_steps, seed)
                found.append(groups.quality(draw(one)))
            seconds = (time.perf_counter() - started) / given.seeds
            met, good, divergence = np.array(found).T
            row = (
                set_name,
                name,
                f"{met.mean():.1f} ± {met.std():.1f} of {len(groups.centres)}",
                f"{100 * good.mean():.1f} ± {100 * good.std():.1f}",
                f"{divergence.mean():.2f}",
                f"{seconds:.0f}",
            )
            table.add_row(*row)
            print(*row, sep="; ", file=sys.stderr, flush=True)  # for who waits
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
