"""The small world in which parts are tried: few rows, few components, float64, every seed fixed.

Axes: B samples of the batch, *spec.shape one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from isthmus.likelihoods.base import Likelihood
from isthmus.module import AutoencoderModule
from isthmus.networks.base import Network
from isthmus.networks.dense import Dense
from isthmus.spec import Column, SampleSpec
from isthmus.training import Batch, History, Training, train
from isthmus.variants.base import Variant

N_ROWS = 24
N_COMPONENTS = 4
VECTOR = SampleSpec((10,))
TABLE = SampleSpec(
    (10,),
    columns=(
        Column("height"),
        Column("colour", "categorical", 3),
        Column("member", "boolean"),
        Column("size", "categorical", 4),
        Column("width"),
    ),
)
SERIES = SampleSpec((12, 2), channels=1)
PICTURE = SampleSpec((2, 8, 8))
NETWORK = Dense(widths=(8,), activation="tanh")
SHORT = Training(max_epochs=3, batch_size=8, learning_rate=0.01, schedule="constant", validation=0.0)

Name = str


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's own random numbers from a seed; the caller's state comes back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(spec: SampleSpec = VECTOR, n_rows: int = N_ROWS, seed: int = 0) -> Tensor:
    """Rows with something to learn in them; in a table each element is one that every likelihood takes."""
    random = generator(seed)
    factors = torch.randn(n_rows, 2, generator=random, dtype=torch.float64)
    loadings = torch.randn(2, spec.size, generator=random, dtype=torch.float64)
    noise = torch.randn(n_rows, spec.size, generator=random, dtype=torch.float64)
    x: Tensor = (factors @ loadings + 0.3 * noise).unflatten(1, spec.shape)
    for index, column in enumerate(spec.columns):
        elements = torch.nonzero(spec.column_of == index).flatten()
        if column.kind == "boolean":
            x[:, elements] = (x[:, elements] > 0).to(x)
        elif column.kind == "categorical":
            level = x[:, elements].argmax(1)
            x[:, elements] = nn.functional.one_hot(level, column.size).to(x)
        else:
            x[:, elements] = torch.sigmoid(x[:, elements])
    return x


def some_absent(x: Tensor, seed: int = 1) -> Tensor:
    """A weight with about one value in five absent, and none of them in the first row."""
    weight = (torch.rand(x.shape, generator=generator(seed)) > 0.2).to(x)
    weight[0] = 1.0
    return weight


def build(
    variants: Sequence[Name | Variant] = (),
    network: Name | Network = NETWORK,
    likelihood: Name | Likelihood = "normal",
    spec: SampleSpec = VECTOR,
) -> AutoencoderModule:
    """A module in float64, always with the same weights at the start, and prepared for training."""
    with seeded(0):
        module = AutoencoderModule(spec, N_COMPONENTS, network, likelihood, variants).double()
    return prepared(module)


def prepared(module: AutoencoderModule) -> AutoencoderModule:
    """The same module, whose variants have seen the samples: before training, and after it, which forgets them."""
    x = samples(module.spec)
    for variant in module.variants:
        variant.prepare(lambda: iter([x]), generator())
    return module


def with_needed(variant: Variant) -> list[Name | Variant]:
    """A variant after those that it cannot do without."""
    return [*variant.requires, variant]


def train_shortly(module: AutoencoderModule, x: Tensor, training: Training = SHORT) -> History:
    """A short run in the ordinary loop, always with the same seeds."""
    with seeded(1):
        return train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), training)


def largest_difference(first: Tensor, second: Tensor) -> float:
    """The largest absolute difference; infinite where shapes differ or a value is no number."""
    if first.shape != second.shape:
        return float("inf")
    if not first.numel():
        return 0.0
    difference = (first - second).abs().double().amax().item()
    return difference if difference == difference else float("inf")


def without_gradient(named: Iterable[tuple[str, nn.Parameter]]) -> list[str]:
    """The names of trainable parameters that got no gradient, or only zeros."""
    return [
        name
        for name, parameter in named
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.abs().amax() > 0))
    ]
