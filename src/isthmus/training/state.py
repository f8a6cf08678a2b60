"""RunState: everything that decides how a run goes on, and its way into a checkpoint and back."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.storage import Stored, tensor_text, text_tensor
from isthmus.training.averaging import WeightAverage
from isthmus.training.history import History
from isthmus.training.optimizers import Stepper


@dataclass
class RunState:
    """Where a run stands. The order of the rows follows from the seed and `step`, so it need not be kept."""

    module: nn.Module
    optimizers: list[Stepper]
    generator: torch.Generator  # of the passes
    history: History = field(default_factory=History)
    step: int = 0  # steps done in all
    sums: dict[str, Tensor | float] = field(default_factory=dict)  # of this epoch's terms, each times its rows
    epoch_seconds: float = 0.0
    best: dict[str, Tensor] | None = None  # the weights with the lowest held-out loss
    best_loss: float = math.inf
    average: WeightAverage | None = None  # of the weights, where one is wanted
    settled_after: float = 0.0  # epochs until no weight of the loss warms up any more; patience begins there

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Within it the module has the weights that count: the average where one is wanted."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def decide(self, asked_to_stop: bool, max_epochs: int, patience: int | None) -> None:
        """Whether this was the last epoch, and why; `patience` is None where nothing is held out."""
        done = len(self.history)
        waited = done - max(self.history.best_epoch or 0, math.ceil(self.settled_after))
        if asked_to_stop:
            self.history.ended = f"a callback asked to stop after epoch {done}"
        elif done >= max_epochs:
            self.history.ended = f"all {done} epochs done"
        elif patience is not None and waited >= patience:
            self.history.ended = f"no better held-out loss for {waited} epochs"

    def settle(self) -> None:
        """The weights to give back: the best, or the average, or those of the last step."""
        if self.best is not None:
            self.module.load_state_dict(self.best)
            return
        self.history.best_epoch = None
        if self.average is not None:
            self.average.put(self.average.values)

    def document(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "epoch_seconds": self.epoch_seconds,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
        }

    def tensors(self) -> dict[str, Tensor]:
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in (self.best or {}).items()}
        tensors |= {f"sums.{name}": torch.as_tensor(value, dtype=torch.float64) for name, value in self.sums.items()}
        if self.average is not None:
            tensors |= {f"average.{index}": value for index, value in enumerate(self.average.values)}
        for index, optimizer in enumerate(self.optimizers):
            tensors |= _pack(optimizer, f"optimizer{index}")
        # a document is short, a history may be long
        tensors["history"] = text_tensor([json.dumps(self.history.to_json())])
        tensors["random.pass"] = self.generator.get_state()
        tensors["random.torch"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    def restore(self, stored: Stored) -> None:
        document, tensors = stored.document, stored.tensors
        self.step, self.epoch_seconds = document["step"], document["epoch_seconds"]
        self.best_loss = math.inf if document["best_loss"] is None else document["best_loss"]
        self.history = History.from_json(json.loads(tensor_text(tensors["history"])[0]))
        self.module.load_state_dict(self._group(tensors, "module"))
        self.best = self._group(tensors, "best") or None
        self.sums = dict(self._group(tensors, "sums"))
        if self.average is not None:
            kept = self._group(tensors, "average")
            self.average.values = [kept[str(index)] for index in range(len(kept))]
        for index, optimizer in enumerate(self.optimizers):
            _unpack(optimizer, tensors, f"optimizer{index}")
        self.generator.set_state(tensors["random.pass"])
        torch.set_rng_state(tensors["random.torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)

    def _group(self, tensors: dict[str, Tensor], first: str) -> dict[str, Tensor]:
        length = len(first) + 1
        return {name[length:]: value.to(self.device) for name, value in tensors.items() if name.startswith(f"{first}.")}


def numbers(terms: Mapping[str, Tensor | float]) -> dict[str, Tensor | float]:
    """The terms' values in double precision; on a GPU nobody waits for them."""
    return {name: value if isinstance(value, float) else _number(value) for name, value in terms.items()}


def _number(value: Tensor) -> Tensor | float:
    return value.item() if value.device.type == "cpu" else value.double()


def add(sums: dict[str, Tensor | float], values: dict[str, Tensor | float], n_rows: int) -> None:
    """Add means over some rows to the sums over all."""
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value * n_rows


def _pack(optimizer: Stepper, prefix: str) -> dict[str, Tensor]:
    return {
        f"{prefix}.{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _unpack(optimizer: Stepper, tensors: dict[str, Tensor], prefix: str) -> None:
    document = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}."):
            _, index, name = key.rsplit(".", 2)
            state.setdefault(int(index), {})[name] = value
    document["state"] = state
    optimizer.load_state_dict(document)
