"""A plain GAN from the library's own networks, in a loop of its own, and how many groups of its data it forgets.

    python examples/gan.py

A generative adversarial network (Goodfellow et al. 2014) has no encoder and no likelihood: a generator turns noise into
samples, a critic tells them from real ones, and each learns from the other. A decoder and an encoder are all it takes,
and `Dense` builds both. Nothing in the game asks the generator for *every* kind of sample, and it forgets some: modes.
The ring has 8 groups, the grid 25 (Srivastava et al. 2017); benchmarks/modes.py measures autoencoders beside it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from isthmus.networks import Dense
from isthmus.spec import SampleSpec

NOISE = 2  # numbers that a sample is made from


@dataclass(frozen=True)
class Groups:
    """Points in the plane, in round groups of equal size and one width."""

    centres: Tensor  # (K, 2)
    width: float

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        which = torch.randint(len(self.centres), (n,), generator=generator)
        return self.centres[which] + self.width * torch.randn((n, 2), generator=generator)

    def quality(self, points: Tensor) -> tuple[int, float, float]:
        """Groups that were met, share of points within 3 widths of a centre, and KL(met || equal shares) in nats."""
        distances, nearest = torch.cdist(points.double(), self.centres.double()).min(1)
        good = distances < 3 * self.width
        counts = torch.bincount(nearest[good], minlength=len(self.centres)).double()
        shares = counts / counts.sum().clamp_min(1)
        divergence = math.log(len(shares)) - float(torch.special.entr(shares).sum())
        return int((counts > 0).sum()), float(good.double().mean()), divergence


def ring() -> Groups:
    """Eight groups of width 0.01 on the unit circle."""
    angle = 2 * math.pi * torch.arange(8) / 8
    return Groups(torch.stack([angle.cos(), angle.sin()], 1), 0.01)


def grid() -> Groups:
    """25 groups of width 0.05, two units apart."""
    line = torch.arange(-4.0, 5.0, 2.0)
    return Groups(torch.cartesian_prod(line, line), 0.05)


class GAN:
    """A decoder that makes samples and an encoder that judges them; in between nothing but noise.

    Parameters
    ----------
    spec : what one sample looks like.
    seed : of the weights and of all noise.
    """

    def __init__(self, spec: SampleSpec, seed: int):
        torch.manual_seed(seed)
        self.random = torch.Generator().manual_seed(seed)
        # build(...) makes both halves; a GAN takes one of each
        self.maker: nn.Module = Dense((400,), activation="relu").build(spec, 1, NOISE, spec.n_channels).decoder
        self.critic: nn.Module = Dense((200, 200), activation="relu").build(spec, 1, 1, spec.n_channels).encoder
        self.steps = [
            torch.optim.Adam(half.parameters(), lr=1e-4, betas=(0.8, 0.999)) for half in (self.maker, self.critic)
        ]

    def draw(self, n: int) -> Tensor:
        made: Tensor = self.maker(torch.randn((n, NOISE), generator=self.random))
        return made

    def learn(self, real: Tensor) -> None:
        """One step of the critic, then one of the generator."""
        made = self.draw(len(real))
        judged = self.critic(torch.cat([real, made.detach()]))
        truth = torch.cat([torch.ones(len(real), 1), torch.zeros(len(made), 1)])
        self._step(1, binary_cross_entropy_with_logits(judged, truth))
        self._step(0, binary_cross_entropy_with_logits(self.critic(made), torch.ones(len(made), 1)))

    def _step(self, which: int, loss: Tensor) -> None:
        for optimizer in self.steps:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.steps[which].step()


def trained(groups: Groups, steps: int, seed: int, batch_size: int = 100) -> GAN:
    """A GAN that has seen `steps` batches."""
    random = torch.Generator().manual_seed(1000 + seed)
    gan = GAN(SampleSpec((2,)), seed)
    for _ in range(steps):
        gan.learn(groups.draw(batch_size, random))
    return gan


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a plain GAN on a ring and on a grid of groups.")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    for name, groups in (("ring", ring()), ("grid", grid())):
        for seed in range(given.seeds):
            with torch.no_grad():
                points = trained_points(groups, given.steps, seed)
            met, good, divergence = groups.quality(points)
            print(f"{name}, seed {seed}: {met} of {len(groups.centres)} groups, {good:.1%} good, KL {divergence:.2f}")


def trained_points(groups: Groups, steps: int, seed: int, n: int = 2500) -> Tensor:
    """What a trained GAN draws."""
    with torch.enable_grad():
        gan = trained(groups, steps, seed)
    return gan.draw(n).detach()


if __name__ == "__main__":
    main()
