"""What a law draws, as samples that can be given back.

Every category has a last place, for a value that training did not know; such a value has no name.

Axes: B samples, E elements of a row as a tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.likelihoods.base import Distribution
from isthmus.spec import SampleSpec


def draw(law: Distribution, spec: SampleSpec, generator: torch.Generator) -> Tensor:
    """Samples drawn from a law, of words only those that training knew: (B, E) for rows of a table."""
    made, words = law.draw(generator), spec.elements("categorical")
    if len(words) and len(spec.shape) == 1:
        chances = law.mean
        uniform = torch.rand(chances.shape, generator=generator, device=made.device, dtype=made.dtype)
        noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))  # the largest log p + Gumbel is a draw
        scores = chances.clamp_min(1e-30).log() + noise
        picked = one_hot(scores - scores.min() + 1, spec)
        made = made.index_copy(1, words.to(made.device), picked.index_select(1, words.to(made.device)))
    return made


def one_hot(scores: Tensor, spec: SampleSpec) -> Tensor:
    """Scores above 0 with every category at its highest known level; the last one, which is none, never wins.

    >>> from isthmus.spec import Column
    >>> spec = SampleSpec((4,), columns=(Column("colour", "categorical", 3), Column("size")))
    >>> one_hot(torch.tensor([[0.3, 0.1, 0.6, 2.5]]), spec).tolist()
    [[1.0, 0.0, 0.0, 2.5]]
    """
    result, start = scores.clone(), 0
    for column in spec.columns:
        if column.kind == "categorical":
            known = scores[:, start : start + column.size - 1]
            result[:, start : start + column.size] = 0.0
            if column.size > 1:
                result[:, start : start + column.size].scatter_(1, known.argmax(1, keepdim=True), 1.0)
        start += column.size
    return result
