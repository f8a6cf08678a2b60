from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Pass, Variant


class Contractive(Variant):
    """Asks for codes that hardly move when the sample moves a little.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    The penalty is the weight times the squared Frobenius norm of the code's Jacobian by the sample. Rifai et al. 2011,
    "Contractive Auto-Encoders". The exact norm takes one backward pass per component; `probes` estimates it without
    bias from that many random directions (Hutchinson 1990), which is cheaper for wide codes.

    Parameters
    ----------
    weight : strength of the penalty.
    probes : None for the exact norm, or how many random directions estimate it.

    >>> Contractive(weight=0.5)
    Contractive(weight=0.5)
    """

    aliases = ("cae", "jacobian")

    limits = {"weight": Limit(0), "probes": Limit(1, whole=True, optional=True)}

    def __init__(self, weight: float = 0.1, probes: int | None = None):
        self.weight = weight
        self.probes = probes

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(probes=2)]

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        grad_was_on = torch.is_grad_enabled()
        with torch.enable_grad():
            x = reconstruction.x.detach().requires_grad_()
            code = module.code_of(module.features(x, reconstruction.seen_weight)).flatten(1)
            directions = self._directions(code, reconstruction.generator)
            norm = x.new_zeros(len(x))
            for direction in directions:
                (gradient,) = torch.autograd.grad(code, x, direction, create_graph=grad_was_on, retain_graph=True)
                norm = norm + gradient.flatten(1).square().sum(1)
        return self.weight * (norm if grad_was_on else norm.detach())

    def _directions(self, code: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        if self.probes is None or generator is None:  # a deterministic pass draws nothing
            return [unit.expand_as(code) for unit in torch.eye(code.shape[1], dtype=code.dtype, device=code.device)]
        shape = (self.probes, *code.shape)
        signs = torch.randint(0, 2, shape, generator=generator, device=code.device).to(code) * 2 - 1
        return list(signs / self.probes**0.5)

    def neutral(self) -> Self:
        return type(self)(weight=0.0, probes=self.probes)
