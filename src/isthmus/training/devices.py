"""Which device a module runs on, and the random numbers that its layers draw there."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from isthmus.errors import SettingError


def resolve_device(name: str | torch.device) -> torch.device:
    """`"auto"` is a GPU where there is one; anything else is torch's own name.

    Of several processes that torchrun has started on this machine, "auto" and "cuda" give each a GPU of its own, as
    long as there are enough.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device is {name!r}; it must be 'auto', 'cpu', 'cuda' or 'cuda:1' and the like.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device is {str(name)!r}, but torch sees no GPU here; use device='auto' or 'cpu'.")
    if device == torch.device("cuda") and (rank := launched_rank()) is not None:
        return torch.device("cuda", rank % torch.cuda.device_count())
    return device


#: What torchrun, or whoever else starts several processes to train together, sets for each of them.
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launched_rank() -> int | None:
    """The number of this process on its machine where torchrun has started several; None where it is alone.

    >>> launched_rank() is None
    True
    """
    alone = any(name not in os.environ for name in LAUNCHED) or int(os.environ["WORLD_SIZE"]) < 2
    return None if alone else int(os.environ["LOCAL_RANK"])


@contextlib.contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Afterwards torch's global random numbers stand where they stood before.

    >>> before = torch.get_rng_state()
    >>> with own_randomness(torch.device("cpu")):
    ...     reseed(torch.device("cpu"), 0)
    ...     draw = torch.rand(3)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def products(module: nn.Module, sample_shape: tuple[int, ...]) -> int:
    """About how often one sample multiplies a weight: a convolution's are used at many places of a picture.

    >>> products(nn.Linear(3, 4), (3,)), products(nn.Conv2d(1, 2, 3, bias=False), (1, 20, 20))
    (16, 1800)
    """
    places = max(1, math.prod(sample_shape[1:]) // 4)  # most layers stand at a coarser resolution
    return sum(one.numel() * (places if one.ndim == 4 else 1) for one in module.parameters())


#: Products times rows of one step below which a second thread costs more than it brings.
SMALL_STEP = 3e7


def one_thread(n_products: int, n_rows: int) -> bool:
    """Whether a step is so small that it runs on one thread, whatever else the machine does.

    The rule is fixed, so that the same seed gives the same weights.

    >>> one_thread(n_products=1000, n_rows=256)
    True
    """
    return n_products * n_rows < SMALL_STEP or torch.get_num_threads() == 1


@contextlib.contextmanager
def fitting_threads(alone: bool) -> Iterator[None]:
    """One thread where a run goes `alone`; afterwards torch and NumPy have as many as before.

    >>> before = torch.get_num_threads()
    >>> with fitting_threads(alone=True):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    before = torch.get_num_threads()
    if alone:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas") if alone else contextlib.nullcontext():
            yield
    finally:
        torch.set_num_threads(before)


def reseed(device: torch.device, seed: int) -> None:
    """Seed torch's global random numbers on the CPU and on this device, and on no other."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
