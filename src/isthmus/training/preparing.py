"""Before and after training: what variants gather from all training rows, and let go of again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from isthmus.training.batch import Batch


def prepare(module: nn.Module, batches: Callable[[], Iterable[Batch]], generator: torch.Generator) -> None:
    """Show all training rows to the variants that ask for them.

    Parameters
    ----------
    module : what is trained; only an AutoencoderModule has variants.
    batches : goes through the rows from the start.
    generator : for what they draw.
    """
    for variant in getattr(module, "variants", ()):
        if variant.changes("prepare"):
            variant.prepare(lambda: map(marked, batches()), generator)


def forget(module: nn.Module) -> None:
    """The end of what `prepare` gathered."""
    for variant in getattr(module, "variants", ()):
        variant.forget()


def marked(batch: Batch) -> Tensor:
    """The samples with NaN where a value is absent, whatever stood there.

    >>> marked(Batch(torch.tensor([[1.0, 5.0]]), weight=torch.tensor([[1.0, 0.0]])))
    tensor([[1., nan]])
    """
    return batch.x if batch.weight is None else batch.x.masked_fill(batch.weight <= 0, torch.nan)
