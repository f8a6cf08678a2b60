"""Checkpoint: where a run writes down everything it needs to go on bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from isthmus import storage
from isthmus.errors import TrainingError
from isthmus.part import Part, to_json
from isthmus.training.batch import Batch


class Checkpoint(Part):
    """Writes the state of a run to one file, safely, every few seconds.

    A run with the same data and settings that finds the file goes on where it stood; the weights it ends with are the
    same, bit for bit, as without the stop (same machine, threads and versions). Ctrl-C finishes the step in hand and
    writes it too; a second Ctrl-C does not wait. The file is removed when training ends.

    Parameters
    ----------
    path : the file.
    every : seconds between two writings; 0 writes after every step.
    """

    kind: ClassVar[str] = "training"

    def __init__(self, path: str | os.PathLike[str] = "isthmus.checkpoint", every: float = 30.0):
        self.path = path
        self.every = every

    def write(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        storage.save(Path(self.path), document, tensors)

    def read(self, fingerprint: str) -> storage.Stored | None:
        """What was written by a run with this fingerprint; None where there is no file.

        Raises
        ------
        TrainingError : when the file belongs to another run.
        """
        if not Path(self.path).exists():
            return None
        stored = storage.load(Path(self.path))
        if stored.document.get("fingerprint") != fingerprint:
            raise TrainingError(
                f"the checkpoint {str(self.path)!r} belongs to a run with other data or settings; "
                "give another path, or remove the file to start anew."
            )
        return stored

    def remove(self) -> None:
        Path(self.path).unlink(missing_ok=True)


def fingerprint(module: nn.Module, batches: Callable[[Any], Batch], n_samples: int, training: Part, way: str) -> str:
    """Settings, layers, the way to the gradients, and a look at the data: what must be the same for a run to go on."""
    settings = training.get_params(deep=False)
    for name in ("checkpoint", "callbacks"):  # these say where and to whom, not what is computed
        settings.pop(name)
    parts = [*getattr(module, "variants", ()), getattr(module, "likelihood", None)]
    shapes = {name: [str(value.dtype), *value.shape] for name, value in module.state_dict().items()}
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(module))  # with dropout and activations; an address says nothing
    document = [to_json(settings), [to_json(part) for part in parts], n_samples, shapes, layers, way]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    some = np.unique(np.linspace(0, n_samples - 1, 32).astype(np.int64))
    for values in batches(some):
        if values is not None:
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
