"""What is trained: W1 to W5, synthetic data shaped like the usual ones, and the same networks as torch modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Workload:
    """A network, its data and its loss.

    Parameters
    ----------
    shape : of one sample.
    widths : units of the hidden dense layers, from the outside in; empty for other networks.
    hidden : units of the recurrent layers; 0 for other networks.
    components : numbers in a code.
    likelihood : "normal" or "bernoulli".
    variational : whether codes are drawn, with the divergence from a standard normal law in the loss.
    """

    name: str
    title: str
    rows: int
    batch: int
    shape: tuple[int, ...]
    components: int
    widths: tuple[int, ...] = ()
    hidden: int = 0
    likelihood: str = "normal"
    variational: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all dense layers, from data to data."""
        return (self.shape[0], *self.widths, self.components, *reversed(self.widths), self.shape[0])


WORKLOADS = {
    one.name: one
    for one in (
        Workload("W1", "tabular 30-64-32-8-32-64-30", 76_800, 256, (30,), 8, (64, 32)),
        Workload("W2", "deep 784-512-256-64-256-512-784", 15_360, 256, (784,), 64, (512, 256)),
        Workload("W3", "convolutional on 28 x 28", 5_120, 128, (28, 28), 128, likelihood="bernoulli"),
        Workload(
            *("W4", "variational 784-400-20-400-784", 15_360, 128, (784,), 20, (400,)),
            likelihood="bernoulli",
            variational=True,
        ),
        Workload("W5", "LSTM 50 x 8, hidden 64, code 64, repeated", 5_120, 128, (50, 8), 64, hidden=64),
    )
}
#: About 100 million parameters, for GPUs.
LARGE = Workload("conv100m", "convolutional on 3 x 64 x 64", 4_096, 64, (64, 64, 3), 32 * 16)


def wider(columns: int) -> Workload:
    """W1 with another number of columns."""
    return replace(WORKLOADS["W1"], shape=(columns,), title=f"tabular {columns}-64-32-8-32-64-{columns}")


# ---- data


def data(workload: Workload, rows: int) -> Array:
    """The same for every contender: float32, standardised (tables) or from 0 to 1 (pictures)."""
    random = np.random.default_rng(0)
    if workload.name == "W1":
        return table(random, rows, workload.shape[0])
    if workload.name == "W5":
        return waves(random, rows, workload.shape)
    if workload is LARGE:
        return random.random((rows, *workload.shape), dtype=np.float32)
    return blobs(random, rows).reshape(rows, *workload.shape)


def table(random: np.random.Generator, rows: int, columns: int) -> Array:
    """Columns that eight causes drive, with noise; two rows in a thousand are four times as large."""
    causes = random.standard_normal((8, columns), dtype=np.float32)
    out = np.empty((rows, columns), dtype=np.float32)
    for start in range(0, rows, 100_000):  # in pieces, so that ten million rows need little beside themselves
        part = out[start : start + 100_000]
        random.standard_normal(dtype=np.float32, out=part)
        part *= np.float32(0.5)
        part += random.standard_normal((len(part), 8), dtype=np.float32) @ causes
        part[random.random(len(part)) < 0.002] *= 4
    out /= out[:100_000].std(0)
    return out


def waves(random: np.random.Generator, rows: int, shape: tuple[int, ...]) -> Array:
    """Sines, of another frequency and phase in every channel of every window, with noise."""
    steps = np.arange(shape[0], dtype=np.float32)[:, None]
    frequency, phase = (random.uniform(*ends, (rows, 1, shape[1])) for ends in ((0.02, 0.3), (0.0, 1.0)))
    out: Array = np.sin(2 * np.pi * (frequency * steps + phase)).astype(np.float32)
    out += 0.1 * random.standard_normal(out.shape, dtype=np.float32)
    return out


def blobs(random: np.random.Generator, rows: int) -> Array:
    """Four soft blobs on black, 28 x 28, about as much ink as digits have."""
    places = np.arange(28, dtype=np.float32)
    out = np.zeros((rows, 28, 28), dtype=np.float32)
    for start in range(0, rows, 5_000):
        part = out[start : start + 5_000]
        for _ in range(4):
            down, right = random.uniform(6, 22, (2, len(part), 1)).astype(np.float32)
            width = random.uniform(1.0, 2.5, (len(part), 1)).astype(np.float32)
            column, row = (np.exp(-0.5 * ((places - at) / width) ** 2) for at in (down, right))
            part += column[:, :, None] * row[:, None, :]
        np.minimum(part, 1, out=part)
        part[part < 0.05] = 0
    return out


# ---- torch modules


def halves(workload: Workload) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder; a variational encoder gives means and logarithms of variances, side by side."""
    if workload is LARGE:
        return _large_halves()
    if workload.name == "W3":
        return _picture_halves()
    if workload.hidden:
        return _recurrent_halves(workload)
    sizes, middle = workload.sizes, len(workload.widths) + 1
    features = workload.components * (2 if workload.variational else 1)
    return _dense((*sizes[:middle], features)), _dense(sizes[middle:])


def _dense(sizes: Sequence[int]) -> nn.Module:
    from torch import nn

    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _picture_halves() -> tuple[nn.Module, nn.Module]:
    from torch import nn

    def down(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]

    def up(n_in: int, n_out: int, padding: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, padding=padding), nn.ReLU(), nn.Upsample(scale_factor=2)]

    encoder = nn.Sequential(*down(1, 16), *down(16, 8), *down(8, 8), nn.Flatten())
    last = nn.Conv2d(16, 1, 3, padding=1)
    return encoder, nn.Sequential(nn.Unflatten(1, (8, 4, 4)), *up(8, 8), *up(8, 8), *up(8, 16, padding=0), last)


def _recurrent_halves(workload: Workload) -> tuple[nn.Module, nn.Module]:
    """The last state becomes the code, which every step of the decoder gets."""
    from torch import nn

    (steps, channels), hidden, components = workload.shape, workload.hidden, workload.components

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = _lstm(channels, hidden), nn.Linear(hidden, components)

        def forward(self, x: Tensor) -> Tensor:
            code: Tensor = self.head(self.lstm(x)[1][0][-1])
            return code

    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = _lstm(components, hidden), nn.Linear(hidden, channels)

        def forward(self, code: Tensor) -> Tensor:
            out: Tensor = self.head(self.lstm(code.unsqueeze(1).expand(-1, steps, -1))[0])
            return out

    return Reader(), Writer()


def _lstm(n_in: int, hidden: int) -> nn.Module:
    """With the first weights that Keras and Isthmus have."""
    from torch import nn

    layer = nn.LSTM(n_in, hidden, batch_first=True)
    nn.init.xavier_uniform_(layer.weight_ih_l0)
    nn.init.orthogonal_(layer.weight_hh_l0)
    nn.init.zeros_(layer.bias_hh_l0)
    nn.init.zeros_(layer.bias_ih_l0)
    nn.init.ones_(layer.bias_ih_l0[hidden : 2 * hidden])
    return layer


def _large_halves() -> tuple[nn.Module, nn.Module]:
    from torch import nn

    def layer(n_in: int, n_out: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, stride, padding=1), nn.ReLU()]

    widths = (128, 256, 512, 1024, 2048)
    steps = list(zip(widths[:-1], widths[1:], strict=True))
    encoder: list[nn.Module] = layer(3, 128)
    for n_in, n_out in steps:
        encoder += layer(n_in, n_out, stride=2)
    encoder.append(nn.Conv2d(2048, 32, 1))
    decoder: list[nn.Module] = [nn.Unflatten(1, (32, 4, 4)), *layer(32, 2048), *layer(2048, 2048)]
    for n_out, n_in in reversed(steps):
        decoder += [*layer(n_in, n_out), nn.Upsample(scale_factor=2), *(layer(1024, 1024) if n_out == 1024 else [])]
    return nn.Sequential(*encoder, nn.Flatten()), nn.Sequential(*decoder, nn.Conv2d(128, 3, 3, padding=1))


def torch_net(workload: Workload) -> nn.Module:
    """A module from a batch to (output, mean, logarithm of the variance); the last two are None of plain networks."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = halves(workload)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            code = self.encoder(x)
            if not workload.variational:
                return self.decoder(code), None, None
            mean, log_variance = code.chunk(2, 1)
            if not self.training:
                return self.decoder(mean), mean, log_variance
            return self.decoder(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance

    return Net()


def torch_loss(workload: Workload, found: Any, x: Tensor) -> Tensor:
    """The loss of Isthmus up to a constant and, of plain networks, a factor, which Adam does not see."""
    from torch.nn import functional

    output, mean, log_variance = found
    if workload.likelihood == "normal":
        return functional.mse_loss(output, x)
    if not workload.variational:
        return functional.binary_cross_entropy_with_logits(output, x)
    distortion = functional.binary_cross_entropy_with_logits(output, x, reduction="sum")
    rate = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (distortion + rate) / len(x)


def as_torch(workload: Workload, X: Array) -> Tensor:
    """The data as the modules take them: series as they are, pictures with their channels first."""
    import torch

    x = torch.from_numpy(X)
    if workload.hidden:
        return x
    return x.unsqueeze(1) if x.ndim == 3 else x.movedim(-1, 1).contiguous() if x.ndim == 4 else x


def distance(workload: Workload, X: Array, found: Array) -> float:
    """How far reconstructions are, the same way for everyone: squared error per value, or cross-entropy per sample."""
    x, y = X.reshape(len(X), -1).astype(float), np.asarray(found, dtype=float).reshape(len(X), -1)
    if workload.likelihood == "normal":
        return float(np.mean((x - y) ** 2))
    y = np.clip(y, 1e-7, 1 - 1e-7)
    return float(-np.mean(np.sum(x * np.log(y) + (1 - x) * np.log1p(-y), axis=1)))
