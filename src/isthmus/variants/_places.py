"""The codes of a batch as draws from one law, for variants that hold that law against something.

Axes: S samples of the code, B samples of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.reconstruction import Reconstruction
from isthmus.variants._discrete import present_places


def code_places(reconstruction: Reconstruction, most: int | None = None) -> Tensor:
    """All codes of a pass, (n, n_components): each sample of a code and each place of a grid is one of its own.

    Parameters
    ----------
    reconstruction : the pass. Places in the padding of a batch do not count.
    most : with more than that, as many of them are taken at random; None takes all.

    >>> from isthmus.spec import SampleSpec
    >>> x = torch.zeros(3, 2)
    >>> pass_ = Reconstruction(SampleSpec((2,)), x, None, x, None, x, code=torch.ones(1, 3, 2, 2, 5))
    >>> code_places(pass_).shape
    torch.Size([12, 5])
    """
    code, features = reconstruction.code, reconstruction.features
    assert code is not None
    present = None if features is None else present_places(features, reconstruction)
    places = code.flatten(0, -2) if present is None else code[:, present].flatten(0, 1)
    if most is None or len(places) <= most:
        return places
    if reconstruction.generator is None:  # a deterministic pass draws nothing
        return places[torch.linspace(0, len(places) - 1, most, device=places.device).long()]
    return places[torch.randperm(len(places), generator=reconstruction.generator, device=places.device)[:most]]


def numbers_of(reconstruction: Reconstruction) -> torch.Generator:
    """The pass's own random numbers; in a deterministic pass the same ones every time."""
    if reconstruction.generator is not None:
        return reconstruction.generator
    return torch.Generator(reconstruction.x.device).manual_seed(0)
