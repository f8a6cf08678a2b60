"""What fitting decides before and after the training loop: data type, number type, code size, density of codes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from isthmus.data.base import Data
from isthmus.errors import ModelFileError, SettingError
from isthmus.metrics import variance_curve
from isthmus.module import AutoencoderModule
from isthmus.part import Part, find, known, public, resolve
from isthmus.spec import SampleSpec
from isthmus.training import Batch, History, Training, train
from isthmus.training.progress import ProgressBar
from isthmus.training.watch import Watcher

log = logging.getLogger("isthmus")
SHOWN = 4096  # rows that the choice of a size, the doctor and the density of codes look at, at most
SHOWN_NUMBERS = 2**22  # and how many numbers
TOGETHER = 1024  # components of a code, at most, whose covariance is kept


def data_type(wanted: str | Data, X: Any, owner: str) -> Data:
    """A fresh data type for X: the one asked for, or the first that accepts it."""
    if wanted != "auto":
        data = copy.deepcopy(resolve("data", wanted, Data))
    else:
        classes: list[Any] = [find("data", name) for name in known("data")]
        # where no type recognises its own, tables say in a sentence what they read
        data = cast(Data, next((cls for cls in classes if cls.accepts(X)), find("data", "tables"))())
    data.owner = owner
    return data


def number_type(precision: str) -> torch.dtype:
    """The torch type to train in."""
    kinds = {"auto": torch.float32, "float32": torch.float32, "float64": torch.float64, "bf16": torch.float32}
    if precision not in kinds:
        raise SettingError(f"precision is {precision!r}; it must be one of {', '.join(kinds)}.")
    return kinds[precision]


def own_module(network: object) -> AutoencoderModule | None:
    """A copy of a whole module with encode, decode, reconstruct and loss; None for any other network."""
    made: object = network() if isinstance(network, type) and issubclass(network, nn.Module) else network
    return cast(AutoencoderModule, copy.deepcopy(made)) if isinstance(made, nn.Module) else None


def training_settings(given: object) -> Training:
    """The Training object, or the defaults for "auto"."""
    settings = Training() if isinstance(given, str) and given == "auto" else given
    if not isinstance(settings, Training):
        raise SettingError(f"training is {given!r}; it must be 'auto' or a Training object.")
    settings.check()
    return settings


def part_behind(argument: str, name: str) -> object:
    """The part that a name stands for, so that its settings can be reached; other values stay as they are."""
    kinds = {"variant": "variants", "network": "networks", "likelihood": "likelihoods"}
    if argument == "training" and name == "auto":
        return Training()
    if argument not in kinds:
        return name
    automatic = {"network": "dense", "likelihood": "normal"}
    return resolve(kinds[argument], automatic.get(argument, name) if name == "auto" else name, Part)


def watchers(verbose: bool | None) -> list[Watcher]:
    """Who looks on in training: a bar with the losses, and in a notebook their curves where matplotlib is there."""
    bar = ProgressBar(verbose)
    if not (bar.wanted and bar.console.is_jupyter and find_spec("matplotlib")):
        return [bar]
    return [bar, public("report", "LiveCurves")(delay=bar.delay)]


def random_numbers(random_state: object) -> np.random.RandomState:
    """NumPy's generator for an int, a generator or None; a sentence for anything else."""
    try:
        return cast(np.random.RandomState, check_random_state(random_state))
    except ValueError as error:
        raise SettingError(
            f"random_state is {random_state!r}; it must be None or a whole number from 0 to {2**32 - 1}."
        ) from error


@dataclass(frozen=True)
class Run:
    """A module and all that training it needs."""

    module: AutoencoderModule
    batches: Callable[[npt.NDArray[np.int64]], Batch]
    n_rows: int
    training: Training
    seed: int
    some: Batch  # of the training rows, for whoever looks at the data
    bf16: bool
    steady: bool

    def train(self, watchers: Sequence[Watcher]) -> History:
        """Train it by itself."""
        given = (self.module, self.batches, self.n_rows, self.training)
        return train(*given, seed=self.seed, watchers=watchers, bf16=self.bf16, steady=self.steady)


def some_rows(n_rows: int, spec: SampleSpec) -> npt.NDArray[np.int64]:
    """All rows, or evenly spread ones where there are many, fewer where samples are large."""
    shown = min(n_rows, SHOWN, max(16, SHOWN_NUMBERS // spec.size))
    return np.unique(np.linspace(0, n_rows - 1, shown).astype(np.int64))


def code_size(wanted: int | str, x: Tensor, spec: SampleSpec) -> int:
    """How many numbers a code gets; "auto" goes by the principal components of some samples.

    The limit is half the columns, not half the elements: a category is one column, however many levels it has.
    """
    if isinstance(wanted, str) and wanted == "auto":
        width = _width(spec)
        enough = 1 + int((variance_curve(x) < 0.9).sum()) if len(x) > 1 else 1
        size = max(1, min(enough, (width + 1) // 2))
        why = "principal components explain 90 % of the variance" if size == enough else "half the columns"
        log.info("n_components='auto' chose %d of %d: %s", size, width, why)
        return size
    if not isinstance(wanted, (int, np.integer)) or isinstance(wanted, bool) or wanted < 1:
        raise SettingError(f"n_components is {wanted!r}; it must be a whole number of at least 1, or 'auto'.")
    return int(wanted)


def share_of_columns(share: float, spec: SampleSpec) -> int:
    """So many numbers in a code, as a share of the columns; at least one."""
    return max(1, round(share * _width(spec)))


def _width(spec: SampleSpec) -> int:
    """How many columns a sample has, however many levels its categories have."""
    return spec.size // spec.n_channels * spec.n_columns


@dataclass(frozen=True)
class CodeDensity:
    """The shape of one code, and mean and covariance of its components: where to draw new ones without a prior.

    A grid of codes has one law for all its places. Of more than `TOGETHER` components only the variances are kept: a
    matrix of them would be larger than the network, and a few samples do not tell it.
    """

    shape: tuple[int, ...]
    mean: npt.NDArray[np.float64]  # (n_components,)
    spread: npt.NDArray[np.float64]  # (n_components, n_components), or (n_components,) where there are many

    @property
    def size(self) -> int:
        """How many numbers one code has."""
        return prod(self.shape)

    @property
    def covariance(self) -> npt.NDArray[np.float64]:
        """(n_components, n_components)."""
        return np.diag(self.spread) if self.spread.ndim == 1 else self.spread

    def draw(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Codes from the normal law with this mean and covariance, which may be singular: (n_samples, *shape)."""
        noise = torch.randn((n_samples, *self.shape), generator=generator, dtype=torch.float64)
        if self.spread.ndim == 1:
            return torch.from_numpy(self.mean) + noise * torch.from_numpy(np.sqrt(self.spread))
        values, vectors = torch.linalg.eigh(torch.from_numpy(self.spread))
        codes: Tensor = torch.from_numpy(self.mean) + (noise * values.clamp_min(0).sqrt()) @ vectors.mT
        return codes


def code_density(module: AutoencoderModule, some: Batch) -> CodeDensity:
    """What the codes of some samples look like."""
    device = next(module.parameters()).device
    weight = None if some.weight is None else some.weight.to(device)
    with torch.inference_mode():
        codes = module.encode(some.x.to(device), weight).double().cpu()
    each = codes.flatten(0, -2)  # every place of a grid is one
    many = each.shape[1] > TOGETHER
    spread = each.var(0, correction=0) if many else torch.atleast_2d(torch.cov(each.T, correction=0))
    return CodeDensity(tuple(codes.shape[1:]), each.mean(0).numpy(), spread.numpy())


def restored_density(module: AutoencoderModule, spec: SampleSpec, tensors: dict[str, Tensor]) -> CodeDensity:
    """The density in a model file; its shape is the module's own, whatever the file says."""
    with torch.inference_mode():
        shape = tuple(module.encode(next(module.parameters()).new_zeros(1, *spec.shape)).shape[1:])
    mean, spread = tensors["mean"], tensors["covariance"]
    if mean.shape != shape[-1:] or spread.shape != (1 if shape[-1] > TOGETHER else 2) * shape[-1:]:
        raise ModelFileError(f"the density of codes in this file is not one over {shape[-1]} components.")
    return CodeDensity(shape, mean.double().numpy(), spread.double().numpy())


def refuse_drawing(module: object) -> None:
    """A sentence for networks whose codes nothing can be drawn from."""
    if isinstance(module, AutoencoderModule):
        refuse_skips(module.architecture)


def refuse_skips(network: object) -> None:
    """The same, known before there is a module."""
    if getattr(network, "skips", False):
        raise SettingError(
            "this model is a U-Net (skips=True), made for restoring: its codes carry whole samples, and no new ones "
            "can be drawn; fit one without skips for that."
        )


class Half(nn.Module):
    """One direction of a module, sharing its weights."""

    def __init__(self, module: AutoencoderModule, way: Callable[[AutoencoderModule, Tensor], Tensor]):
        super().__init__()
        self.module = module
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.module, x)
