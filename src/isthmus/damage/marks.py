from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from isthmus.damage import _drawing as drawing
from isthmus.damage._colour import LUMA
from isthmus.damage.base import Damage, Level
from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.spec import SampleSpec


class Marks(Damage):
    """Watermarks on pictures: half-transparent texts, signs, stamps, lines, bands and curves at random places.

    Texts are in Pillow's own font, and in those that come with matplotlib where that is installed.

    Parameters
    ----------
    alpha : how far a mark hides what is below it, between 0 (not at all) and 1; two numbers, (least, most): each mark
        draws its own.
    count : how many marks a picture gets; two numbers, (least, most): each picture draws its own.

    Raises
    ------
    SettingError : for samples that are no pictures (channels, height, width) with 1 to 4 channels.
    MissingExtraError : where Pillow is missing: pip install 'isthmus[image]'.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> x, generator = torch.zeros(2, 3, 32, 32), torch.Generator().manual_seed(0)
    >>> marked = Marks(alpha=0.5, count=1)(x, SampleSpec((3, 32, 32)), generator)
    >>> 0 < marked.max() <= 0.5, (marked == 0).any()
    (tensor(True), tensor(True))
    """

    levels = {"alpha": Limit(0, 1), "count": Limit(0, whole=True)}

    def __init__(self, alpha: Level = (0.3, 0.8), count: Level = (1, 3)):
        self.alpha = alpha
        self.count = count

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(alpha=0.6, count=2)]

    def __call__(self, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
        if len(spec.shape) != 3 or spec.channels != 0 or spec.n_channels > 4:
            raise SettingError(
                f"marks are drawn on pictures (1 to 4 channels, height, width), and these samples have shape "
                f"{spec.shape}."
            )
        seeds = torch.randint(2**62, (len(x),), generator=generator, device=generator.device).tolist()
        return torch.stack([self._marked(one, np.random.default_rng(seed)) for one, seed in zip(x, seeds, strict=True)])

    def _marked(self, x: Tensor, random: np.random.Generator) -> Tensor:
        least, most = _ends(self.count)
        n_colours = 1 if len(x) < 3 else 3  # alpha stays as it is
        colours = x[:n_colours]
        for _ in range(int(random.integers(int(least), int(most) + 1))):
            cover = drawing.mark(random, *x.shape[1:]) * random.uniform(*_ends(self.alpha))
            shade = drawing.shade(random)
            shade = [sum(part * value for part, value in zip(LUMA, shade, strict=True))] if n_colours == 1 else shade
            over = torch.tensor(shade, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
            colours = colours + torch.from_numpy(cover).to(x) * (over - colours)
        return torch.cat([colours, x[n_colours:]])

    def neutral(self) -> Self:
        return type(self)(alpha=0.0, count=self.count)


def _ends(level: Level) -> tuple[float, float]:
    """The least and the most of it."""
    return (level[0], level[1]) if isinstance(level, (tuple, list)) else (level, level)
