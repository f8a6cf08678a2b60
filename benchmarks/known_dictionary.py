"""A dictionary that is known, found again from its sums: sparse codes beside principal components.

    python3 dev.py bench known_dictionary

512 words, unit vectors in 256 numbers, of which a sample adds up about five, the frequent ones ten times as often as
the rare ones, a quarter of the words in pairs that like to come together. An autoencoder without hidden layers is
shown the samples and never the words; then its decoder's columns are compared with them. Reported: the mean over the
words of the largest cosine with a column, the share of words with a cosine above 0.95, F1 of which word is on in which
of 20,000 new samples, after columns and words are matched one to one (Hungarian method), components that no sample
uses, how many are on in a sample, and the variance explained. Ways that make nothing exactly zero keep as many values
as there are words on. Nothing is read from disk.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import isthmus
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.variants import L1Sparse, TopK
from isthmus.variants.base import Variant


@dataclass(frozen=True)
class World:
    """Words, and how often each is on. Axes: K words, d numbers of a sample, n samples."""

    words: Tensor  # (K, d)
    chances: Tensor  # (K,)
    partners: int  # the first words: each odd one often comes with the even one before it

    @classmethod
    def drawn(cls, n_words: int, size: int, together: float, seed: int) -> World:
        generator = torch.Generator().manual_seed(seed)
        words = torch.nn.functional.normalize(torch.randn(n_words, size, generator=generator))
        # from frequent to rare by a factor of ten, in an order that has nothing to do with the pairs
        decay = 10 ** -torch.linspace(0, 1, n_words)[torch.randperm(n_words, generator=generator)]
        return cls(words, decay * together / decay.sum(), n_words // 4)

    def samples(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n samples (n, d), and how much of each word is in them (n, K), 0 where it is off."""
        generator = torch.Generator().manual_seed(seed)
        on = torch.rand(n, len(self.words), generator=generator) < self.chances
        firsts, seconds = on[:, 0 : self.partners : 2], on[:, 1 : self.partners : 2]
        copied = torch.rand(firsts.shape, generator=generator) < 0.3  # what the first does, the second does too
        on[:, 1 : self.partners : 2] = torch.where(copied, firsts, seconds)
        amounts = on * (0.5 + torch.rand(on.shape, generator=generator))
        return amounts @ self.words, amounts


@dataclass(frozen=True)
class Found:
    """How much of the dictionary was found."""

    cosine: float
    recovered: float
    f1: float
    dead: float
    on: float
    explained: float


def compared(world: World, columns: Tensor, codes: Tensor, back: Tensor, x: Tensor, amounts: Tensor) -> Found:
    """`columns` (n_components, d) are the decoder's, `codes` (n, n_components) and `back` of the samples x."""
    cosines = torch.nn.functional.normalize(columns) @ world.words.T
    columns_of, words_of = linear_sum_assignment(-cosines.abs().numpy())
    said, true = (codes != 0)[:, columns_of], (amounts > 0)[:, words_of]
    best = cosines.abs().amax(0)
    return Found(
        cosine=float(best.mean()),
        recovered=float((best > 0.95).double().mean()),
        f1=float(2 * (said & true).sum() / (said.sum() + true.sum())),
        dead=float((codes == 0).all(0).double().mean()),
        on=float((codes != 0).double().sum(1).mean()),
        explained=1 - float((x - back).square().sum() / (x - x.mean(0)).square().sum()),
    )


def cut(codes: Tensor, on: float) -> Tensor:
    """The largest values of the whole, as many as `on` for each sample on average; the others 0."""
    largest = codes.abs().flatten().topk(round(on * len(codes))).values
    return torch.where(codes.abs() >= largest[-1], codes, 0.0)


def sparse(world: World, variant: Variant, epochs: int, rows: int, seed: int, rate: float) -> tuple[Found, float]:
    """A linear autoencoder with as many components as there are words, and the seconds that it took."""
    x, _ = world.samples(rows, seed + 1)
    torch.manual_seed(seed)
    module = AutoencoderModule(SampleSpec((x.shape[1],)), len(world.words), Dense(widths=()), variants=variant)
    # each component begins as one direction, which it looks for and adds
    with torch.no_grad():
        encoder, decoder = (half.layers[0].linear for half in (module.network.encoder, module.network.decoder))
        encoder.weight.copy_(torch.nn.functional.normalize(encoder.weight))
        decoder.weight.copy_(encoder.weight.T)
    settings = Training(max_epochs=epochs, batch_size=256, learning_rate=rate, validation=0.0)
    started = time.perf_counter()
    train(module, lambda chosen: Batch(x[torch.as_tensor(chosen)]), rows, settings, seed=seed)
    seconds = time.perf_counter() - started
    new, amounts = world.samples(20_000, seed + 2)
    with torch.inference_mode():
        codes = module.encode(new)
        if not isinstance(variant, TopK):
            codes = cut(codes, float((amounts > 0).sum()) / len(amounts))
        back = module.decode(codes).mean
    return compared(world, decoder.weight.detach().T, codes, back, new, amounts), seconds


def principal(world: World, rows: int, seed: int) -> Found:
    """As many principal components as there are numbers, which is all there can be."""
    x, _ = world.samples(rows, seed + 1)
    columns = torch.linalg.eigh(torch.cov(x.T))[1].T
    new, amounts = world.samples(20_000, seed + 2)
    codes = cut((new - x.mean(0)) @ columns.T, float((amounts > 0).sum()) / len(amounts))
    return compared(world, columns, codes, codes @ columns + x.mean(0), new, amounts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=512)
    parser.add_argument("--size", type=int, default=256, help="numbers of a sample")
    parser.add_argument("--together", type=float, default=5.0, help="words in a sample, on average")
    parser.add_argument("--rows", type=int, default=100_000, help="training samples")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at the start")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    k = round(given.together)
    ways: dict[str, Variant] = {
        f"top_k, k={k}, batch, revive=0.1": TopK(k=k, batch=True, revive=0.1),
        f"top_k, k={k}, revive=0.1": TopK(k=k, revive=0.1),
        f"top_k, k={k}": TopK(k=k),
        "l1_sparse, weight=0.3, cut to as many": L1Sparse(weight=0.3),
    }
    names = ("code", "mean largest cosine", "found (cos > 0.95)", "F1", "dead", "on", "explained", "wall s")
    table = Table(title=f"isthmus {isthmus.__version__}, Python {platform.python_version()}, {given.seeds} seeds")
    for name in names:
        table.add_column(name, justify="left" if name == "code" else "right")
    for name, variant in [*ways.items(), ("principal components, cut to as many", None)]:
        found, seconds = [], 0.0
        for seed in range(given.seeds):
            world = World.drawn(given.words, given.size, given.together, seed)
            if variant is None:
                found.append(principal(world, given.rows, seed))
            else:
                one, took = sparse(world, variant, given.epochs, given.rows, 100 * seed, given.rate)
                found, seconds = [*found, one], seconds + took / given.seeds
        table.add_row(name, *cells(found), f"{seconds:.0f}" if variant is not None else "")
        Console(width=140, stderr=True).print(name, *cells(found))
    Console(width=140).print(table)


def cells(found: list[Found]) -> list[str]:
    """The mean of each number over the seeds, and how far they lie apart where that shows."""
    shown = []
    for name, form in (("cosine", ".3f"), ("recovered", ".1%"), ("f1", ".3f"), ("dead", ".1%"), ("on", ".2f")):
        values = np.array([getattr(one, name) for one in found])
        shown.append(f"{values.mean():{form}}")
    return [*shown, f"{np.mean([one.explained for one in found]):.1%}"]


if __name__ == "__main__":
    main()
