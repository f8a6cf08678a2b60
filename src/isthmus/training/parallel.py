"""Training in several processes at once: each computes its share of every batch, and all take the same step.

The mean of the gradients over a batch is the sum of what its rows give, whoever computes it; so the weights stay equal
in all processes, and equal to those of one process within rounding. Nothing here is a wrapper around the module: one
`all_reduce` between `backward` and the optimizer's step is the whole of it.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn

from isthmus.errors import SettingError, TrainingError
from isthmus.training.batch import Batch
from isthmus.training.devices import launched_rank, reseed
from isthmus.training.rows import Rows

LOOK = 20  # steps between two looks at what stands on a GPU: each of them waits for it


Terms = Mapping[str, Tensor | float]


class Share(NamedTuple):
    """The part of some rows that falls to one process; its rows are never none, so that every process has a loss."""

    rows: Any
    n_rows: int  # how many of them count: 0 where there are more processes than rows, and the row is another's
    whole: int  # of how many rows this is the share


class Peers:
    """The processes that train together; here one by itself, which has nobody to ask and does nothing."""

    several = False
    first = True  # whether this is the process that writes and speaks
    stopping = True  # whether all of them know that they were asked to stop

    def same(self, number: int) -> int:
        """The first process's number."""
        return number

    def meet(self, module: nn.Module, batches: Callable[[Rows], Batch], facts: Mapping[str, float]) -> None:
        """Compare what must be equal, and take over the first process's weights."""

    def share(self, rows: Any) -> Share:
        """What falls to this process."""
        return Share(rows, len(rows), len(rows))

    def seed(self, seed: int) -> int:
        """A seed for this process alone."""
        return seed

    def reseed(self, generator: torch.Generator, seed: int, step: int) -> None:
        """Before a step: random numbers of this process's own."""

    def mean(self, parameters: Iterable[Tensor], terms: Terms, share: Share, asked: bool) -> Mapping[str, Any]:
        """After `backward`: gradients (in place) and terms of the loss as the means over the whole batch."""
        return terms

    def agreed(self, asked: bool) -> bool:
        """Whether to stop after this step: True in all processes or in none."""
        return asked

    def any(self, wanted: bool) -> bool:
        """Whether any process wants it."""
        return wanted

    def total(self, sums: dict[str, Tensor | float]) -> dict[str, Any]:
        """Sums over the shares as sums over the whole."""
        return sums

    def settle(self, module: nn.Module) -> None:
        """Make equal what layers have gathered from the shares (running statistics)."""


class Together(Peers):
    """This process among others."""

    several = True
    stopping = False

    def __init__(self, device: torch.device):
        self.device = device
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.first = self.rank == 0
        self._buffer = torch.empty(0)
        self._asked = torch.zeros(())
        self._steps = 0

    # -- before

    def same(self, number: int) -> int:
        # each half fits a float64 exactly
        high, low = self._gather(torch.tensor([number >> 32, number & 0xFFFFFFFF]))[0].tolist()
        return (int(high) << 32) + int(low)

    def meet(self, module: nn.Module, batches: Callable[[Rows], Batch], facts: Mapping[str, float]) -> None:
        own = [*module.parameters(), *module.buffers()]
        facts = {**facts, "numbers to learn": sum(value.numel() for value in own), "data": _glance(batches, facts)}
        found = self._gather(torch.tensor(list(facts.values()), dtype=torch.float64)).T
        for name, values in zip(facts, found, strict=True):
            tolerance = 1e-6 if name == "data" else 0.0  # other processors may round otherwise
            if not torch.allclose(values, values[0], rtol=tolerance, atol=0.0, equal_nan=True):
                numbers = ", ".join(f"{value:.10g}" for value in values.tolist())
                raise TrainingError(
                    f"the processes of this run differ in {name} ({numbers}); each must call fit with the same data "
                    "and settings, as rows are shared out inside; to train apart, set WORLD_SIZE=1 for each."
                )
        for value in own:
            whole = value.detach().contiguous()
            self._call(distributed.broadcast, whole, src=0)
            value.data.copy_(whole)

    # -- steps

    def share(self, rows: Any) -> Share:
        start, end = (len(rows) * rank // self.size for rank in (self.rank, self.rank + 1))
        return Share(rows[start:end] if end > start else rows[:1], end - start, len(rows))

    def seed(self, seed: int) -> int:
        return self._mixed(seed, 0)

    def reseed(self, generator: torch.Generator, seed: int, step: int) -> None:
        # from nothing but seed, step and rank, so that one checkpoint serves all processes
        generator.manual_seed(self._mixed(seed, 2 * step + 1))
        reseed(self.device, self._mixed(seed, 2 * step + 2))  # layers draw from torch's own generator

    def mean(self, parameters: Iterable[Tensor], terms: Terms, share: Share, asked: bool) -> Mapping[str, Any]:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        number = trained[0].dtype
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        values = [
            *gradients,
            *(torch.as_tensor(value, dtype=number, device=self.device).detach() for value in terms.values()),
        ]
        # where the loss does not depend on a parameter it has no gradient; another's share may be otherwise
        flags = [float(asked), *(float(one.grad is not None) for one in trained)]
        flat = self._flat(values, len(flags))
        torch.cat([value.reshape(-1) for value in values], out=flat[: -len(flags)]).mul_(share.n_rows / share.whole)
        flat[-len(flags) :] = torch.tensor(flags)
        self._sum(flat)
        *pieces, told = flat.split([*(one.numel() for one in trained), len(terms) + len(flags)])
        told = told.clone()  # the buffer is used again
        for place, (parameter, piece) in enumerate(zip(trained, pieces, strict=True)):
            if parameter.grad is not None:
                parameter.grad.copy_(piece.view_as(parameter))
            elif bool(told[place - len(trained)] > 0):
                parameter.grad = piece.view_as(parameter).clone()
        self._asked, self._steps = told[len(terms)], self._steps + 1
        return dict(zip(terms, told, strict=False))

    def agreed(self, asked: bool) -> bool:
        if self._asked.device.type == "cpu" or self._steps % LOOK == 0:
            self.stopping = bool(self._asked > 0)
        return self.stopping

    # -- epochs

    def any(self, wanted: bool) -> bool:
        return bool(self._gather(torch.tensor([float(wanted)])).any())

    def total(self, sums: dict[str, Tensor | float]) -> dict[str, Any]:
        mine = [torch.as_tensor(value, dtype=torch.float64, device=self.device) for value in sums.values()]
        summed = self._gather(torch.stack(mine)).sum(0)
        return dict(zip(sums, summed, strict=True))

    def settle(self, module: nn.Module) -> None:
        buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        if not buffers:
            return
        found = self._gather(torch.cat([buffer.detach().double().reshape(-1) for buffer in buffers]))  # (size, n)
        # what is the same everywhere stays to the bit, infinite values too
        settled = torch.where((found == found[0]).all(0), found[0], found.mean(0))
        for buffer, values in zip(buffers, settled.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(values.view_as(buffer))

    # -- pieces

    def _mixed(self, seed: int, number: int) -> int:
        return int(np.random.SeedSequence([seed, number, self.rank]).generate_state(1, np.uint64)[0] >> 1)

    def _flat(self, values: Sequence[Tensor], n_more: int) -> Tensor:
        """One place for all these numbers, the same at every step."""
        size = sum(value.numel() for value in values) + n_more
        kind = functools.reduce(torch.promote_types, {value.dtype for value in values})
        if len(self._buffer) != size or self._buffer.dtype != kind:
            self._buffer = torch.empty(size, dtype=kind, device=self.device)
        return self._buffer

    def _gather(self, mine: Tensor) -> Tensor:
        """Everybody's numbers, (size, n), the same bits everywhere: to a sum, each adds zeros for the others."""
        table = torch.zeros(self.size, len(mine), dtype=torch.float64, device=self.device)
        table[self.rank] = mine
        self._sum(table)
        return table

    def _sum(self, values: Tensor) -> None:
        self._call(distributed.all_reduce, values)

    def _call(self, talk: Callable[..., object], values: Tensor, **named: Any) -> None:
        try:
            talk(values, **named)
        except RuntimeError as error:
            raise TrainingError(
                "another process of this run has ended or does not answer; why it did stands in its own output "
                f"({str(error).splitlines()[0]})."
            ) from error


def joined(device: torch.device) -> Peers:
    """The processes to train with: those that torchrun has started, or those of torch's process group if there is one.

    `WORLD_SIZE=1` in the environment keeps a process to itself, whatever was before.

    >>> joined(torch.device("cpu")).several
    False
    """
    if launched_rank() is not None:
        _join()
    elif os.environ.get("WORLD_SIZE") == "1":
        return Peers()
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return Together(device) if several else Peers()


def _join() -> None:
    if not distributed.is_available():
        raise SettingError("this build of torch has no torch.distributed; start one process instead of several.")
    if distributed.is_initialized():
        return
    # NCCL wants a GPU for each process; gloo shares them, and is what CPUs have
    enough = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if enough else "gloo")
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise TrainingError(f"the other processes of this run cannot be reached at {where} ({error}).") from error
    atexit.register(_leave)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _glance(batches: Callable[[Rows], Batch], facts: Mapping[str, float]) -> float:
    """A number that tells other data apart."""
    some = np.unique(np.linspace(0, facts["rows"] - 1, 32).astype(np.int64))
    return float(batches(some).x.double().abs().nansum())
