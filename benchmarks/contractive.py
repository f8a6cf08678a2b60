"""Contractive autoencoders on MNIST: how little codes move, what that costs, and what a classifier gains.

The protocol is that of Rifai et al. 2011 in short: one layer of sigmoid units with tied weights, cross-entropy; then
the encoder is the first layer of a classifier that is trained as a whole. Untied weights stand beside them. Fewer rows,
units and epochs than there by default, so that all of it takes some minutes on one core; `--rows 50000 --units 1000`
are the published ones. The classifier that starts from nothing learned is the simple rival. MNIST is looked for in
$ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import os
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

import isthmus
from isthmus.module import AutoencoderModule
from isthmus.networks.base import EncoderDecoder, Network, plain_chain
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.variants import Contractive, Denoising

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
HELD_OUT, BATCH = 5000, 100


def mnist(part: str) -> tuple[Tensor, Tensor]:
    """Pixels (n, 784) from 0 to 1, and digits (n,)."""
    with gzip.open(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784) / np.float32(255)
    with gzip.open(DATA / "mnist" / f"{part}-labels-idx1-ubyte.gz") as file:
        digits = np.frombuffer(file.read()[8:], np.uint8).astype(np.int64)
    return torch.from_numpy(pixels), torch.from_numpy(digits)


class OneLayer(Network):
    """Sigmoid units, and the same weights the other way round, or others.

    Parameters
    ----------
    tied : whether they are the same.
    """

    def __init__(self, tied: bool = True):
        self.tied = tied

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        return _OneLayer(spec.size, n_features, self.tied)


class _OneLayer(EncoderDecoder):
    def __init__(self, n_pixels: int, n_units: int, tied: bool):
        super().__init__()
        self.encoder = _Encoder(n_pixels, n_units)
        self.decoder = _Tied(self.encoder.linear) if tied else _Untied(n_units, n_pixels)

    def chain(self) -> Any:
        return plain_chain([(self.encoder.linear, [self.encoder.after])])


class _Encoder(nn.Module):
    def __init__(self, n_pixels: int, n_units: int):
        super().__init__()
        self.linear, self.after = nn.Linear(n_pixels, n_units), nn.Sigmoid()

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        hidden = self.after(self.linear(x))
        if activations is not None:
            activations.append(hidden)
        return hidden


class _Untied(nn.Linear):
    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        return super().forward(code)


class _Tied(nn.Module):
    def __init__(self, linear: nn.Linear):
        super().__init__()
        self._linear = [linear]  # in a list, so that the shared weight is registered once
        self.bias = nn.Parameter(torch.zeros(linear.in_features))

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        return functional.linear(code, self._linear[0].weight.t(), self.bias)


class Bench:
    """Data and settings that all ways share, and the table."""

    def __init__(self, given: argparse.Namespace):
        x, y = mnist("train")
        self.x, self.y, self.held = x[: given.rows], y[: given.rows], (x[-HELD_OUT:], y[-HELD_OUT:])
        self.test, self.given, self.plain_norm, self.plain_error = mnist("t10k"), given, 0.0, 0.0
        title = f"isthmus {isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
        self.table = Table(title=f"{title}: {given.rows} rows, {given.units} units, {given.epochs} epochs")
        for name in (
            "before the classifier",
            "|J| on test",
            "against plain",
            "squared error",
            "classifier %",
            "wall s",
        ):
            self.table.add_column(name, justify="left" if name.startswith("learned") else "right")

    def way(self, name: str, variants: Any, epochs: int | None = None, tied: bool = True) -> None:
        started, epochs = time.perf_counter(), self.given.epochs if epochs is None else epochs
        modules = [self.learned(variants, seed, epochs, tied) for seed in range(self.given.seeds)]
        norms, errors = zip(*map(self.read, modules), strict=True)
        wrong = [self.classified(module, seed) for seed, module in enumerate(modules)]
        if name.startswith("plain"):
            self.plain_norm, self.plain_error = float(np.mean(norms)), float(np.mean(errors))
        against = f"1/{self.plain_norm / np.mean(norms):.1f}" if self.plain_norm else ""
        more = f" ({100 * (np.mean(errors) / self.plain_error - 1):+.0f} %)" if self.plain_norm else ""
        rate = f"{np.mean(wrong):.2f} ({min(wrong):.2f} to {max(wrong):.2f})"
        cells = (f"{np.mean(norms):.3g}", against, f"{np.mean(errors):.2f}{more}", rate)
        self.table.add_row(name, *cells, f"{time.perf_counter() - started:.0f}")
        Console(width=120).print(name, *cells)

    def learned(self, variants: Any, seed: int, epochs: int, tied: bool) -> AutoencoderModule:
        torch.manual_seed(seed)
        module = AutoencoderModule(SampleSpec((784,)), self.given.units, OneLayer(tied), "bernoulli", variants)
        if epochs:
            settings = Training(max_epochs=epochs, batch_size=BATCH, learning_rate=1e-3, validation=0.0)
            train(module, lambda rows: Batch(self.x[torch.as_tensor(rows)]), len(self.x), settings, seed=seed)
        return module.eval()

    @torch.no_grad()
    def read(self, module: AutoencoderModule) -> tuple[float, float]:
        """The mean norm of the Jacobian and the squared error, summed over pixels, on test pictures."""
        reader, x = Contractive(), self.test[0]
        parts = [module.reconstruct(part) for part in x.split(1000)]
        norms = torch.cat([reader.squared_norm(part, module).sqrt() for part in parts])
        back = torch.cat([part.output.mean[0] for part in parts])
        return float(norms.mean()), float((back - x).square().sum(1).mean())

    def classified(self, module: AutoencoderModule, seed: int) -> float:
        """The test error in percent of a classifier that starts with this encoder, at its best on held-out rows."""
        torch.manual_seed(seed)
        network: Any = module.network
        model = nn.Sequential(copy.deepcopy(network.encoder.linear), nn.Sigmoid(), nn.Linear(self.given.units, 10))
        nn.init.zeros_(model[2].weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.given.tuning * (len(self.x) // BATCH))
        best, found = 100.0, 100.0
        for _ in range(self.given.tuning):
            for rows in torch.randperm(len(self.x)).split(BATCH)[: len(self.x) // BATCH]:
                optimizer.zero_grad()
                functional.cross_entropy(model(self.x[rows]), self.y[rows]).backward()
                optimizer.step()
                schedule.step()
            if (held := wrong(model, *self.held)) < best:
                best, found = held, wrong(model, *self.test)
        return found


@torch.no_grad()
def wrong(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return 100 * float((model(x).argmax(1) != y).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20000, help="training pictures, 55,000 at most")
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=15, help="of the autoencoder")
    parser.add_argument("--tuning", type=int, default=15, help="epochs of the classifier")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.1, 1.0], help="of the contractive penalty")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    bench = Bench(given)
    bench.way("nothing", (), epochs=0)
    bench.way("plain", ())
    bench.way("denoising, gaussian", Denoising("gaussian"))
    for weight in given.weights:
        bench.way(f"contractive, weight {weight:g}", Contractive(weight=weight))
    # without ties the encoder's weights may shrink while the decoder's grow, and the norm says less
    bench.way("plain, untied", (), tied=False)
    for weight in given.weights:
        bench.way(f"contractive, weight {weight:g}, untied", Contractive(weight=weight), tied=False)
    Console(width=120).print(bench.table)


if __name__ == "__main__":
    main()
