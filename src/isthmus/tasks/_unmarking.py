"""Taking a mark off a picture once it is known where it lies.

A smooth surface through the pixels around gives what lies below at large; what is fine in the mark, as far as it shines
through, is laid over it.

Axes: c colour channels, H and W height and width of a picture, B = 1.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from isthmus.networks._conv_skips import spread_in

LOW, HIGH = 0.8, 1.2  # of the threshold: from the one on a pixel is changed in part, from the other on wholly
WHOLE = np.ones((3, 3))  # pixels hang together over corners, too
STEPS, MOMENTUM = 40, 0.9  # towards the surface that bends least
WINDOW = 25  # pixels on a side of what is averaged to tell fine from coarse
SHINES = 0.6  # how much of what is fine is kept, as some of it is the mark's own where it was not found exactly
THROUGH = 0.5  # how far a mark is taken to let through what is below it


def found(likely: Tensor, threshold: float) -> Tensor:
    """How far each pixel is to be changed, from 0 to 1, (H, W), by how likely it is marked, (H, W).

    Nothing is, but what hangs together with a pixel that is likelier than the threshold.

    >>> likely = torch.tensor([[0.45, 0.9, 0.5, 0.1, 0.45]])
    >>> [round(share, 3) for share in found(likely, 0.5)[0].tolist()]
    [0.25, 1.0, 0.5, 0.0, 0.0]
    """
    low, high = LOW * threshold, HIGH * threshold
    values = likely.cpu().numpy()
    parts, _ = ndimage.label(values > low, WHOLE)
    strong = np.unique(parts[values > threshold])
    kept = torch.from_numpy(np.isin(parts, strong[strong > 0])).to(likely.device)
    return kept * ((likely - low) / max(high - low, 1e-9)).clamp(0, 1)


def without_mark(x: Tensor, share: Tensor, weight: Tensor | None = None) -> Tensor:
    """The picture (c, H, W), changed as far as `share` (H, W) says, from 0 to 1; where it is 0 it stays the very same.

    `weight`, shaped as x, is 0 where a value is absent; such values stay, and tell nothing.

    >>> slope = torch.linspace(0, 1, 40).expand(1, 40, 40)
    >>> marked = torch.zeros(40, 40)
    >>> marked[15:25, 15:25] = 1
    >>> back = without_mark(torch.where(marked > 0, 0.5 * slope + 0.5, slope), marked)
    >>> bool((back - slope).abs().max() < 0.05)
    True
    """
    present = torch.ones_like(x, dtype=torch.bool) if weight is None else weight > 0
    gone, known = (share > 0) & present, (share == 0) & present
    if not bool(gone.any() and known.any()):  # nothing to do, or nothing to go by
        return x
    smooth = spread_in(x[None], known.to(x)[None], steps=STEPS, momentum=MOMENTUM)[0]
    # what is left of a slope would be told from the mean at one side of it as something fine
    guess = (smooth + SHINES * _fine(x - THROUGH * smooth, gone)).clamp(0, 1)
    return torch.where(gone, torch.lerp(x, guess, share.to(x).expand_as(x)), x)


def _fine(x: Tensor, marked: Tensor) -> Tensor:
    """How each marked value differs from the mean of those around that are deep in the mark; 0 at its rim."""
    deep = 1 - functional.max_pool2d((~marked).to(x)[None], 3, 1, 1)
    near = functional.avg_pool2d(deep, WINDOW, 1, WINDOW // 2).clamp_min(0.5 / WINDOW**2)
    means = functional.avg_pool2d(deep * x, WINDOW, 1, WINDOW // 2) / near
    return (deep * (x - means))[0]
