"""What codes of few values share: gradients past the rounding, and which places of a padded grid count.

Axes: B samples of the batch.
"""

from __future__ import annotations

from torch import Tensor, nn

from isthmus.reconstruction import Reconstruction


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard`, to the bit, with the gradient of `soft`.

    >>> import torch
    >>> soft = torch.tensor([0.4], requires_grad=True)
    >>> straight_through(soft.round(), soft**2).backward()
    >>> soft.grad
    tensor([0.8000])
    """
    return hard.detach() + (soft - soft.detach())


def learns(reconstruction: Reconstruction, trained: nn.Module | None) -> bool:
    """Whether this pass may change what is remembered: a stochastic pass, while the module is in training mode."""
    return trained is not None and trained.training and reconstruction.generator is not None


def present_places(features: Tensor, reconstruction: Reconstruction) -> Tensor | None:
    """Which places of a grid of features say something of the sample, (B, ...); None where all do.

    A network clears what lies in the padding of a batch, and may clear what is hidden: all features of such a place are
    zero.
    """
    if not (reconstruction.spec.free or reconstruction.spec.gaps) or features.ndim == 2:
        return None
    return features.detach().ne(0).any(-1)
