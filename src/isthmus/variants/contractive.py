from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants._slopes import squared_norm
from isthmus.variants.base import Pass, Variant


class Contractive(Variant):
    """Asks for codes that hardly move when the sample moves a little.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    The penalty is the weight times the squared Frobenius norm of the code's Jacobian by what the encoder is shown.
    Rifai et al. 2011, "Contractive Auto-Encoders".

    Three ways lead to it. Where the encoder is a chain of linear layers, each with a sigmoid, tanh, ReLU, leaky ReLU,
    ELU or nothing behind it, all values are present and the code is the features as they are, the norm is a closed
    form (their equation for one layer, the product of the layers' Jacobians for more) and takes no backward pass.
    Elsewhere it is exact by one backward pass for each number of the code. `probes` estimates it without bias from that
    many random directions (Hutchinson 1990), which is cheaper for wide codes and for grids of codes.

    Use it where small changes of the input are noise, and for features that a classifier is to go on with. Denoising
    asks for nearly the same and costs less; against large damage it is the better one.

    Use it when codes go on to a classifier or to a search for neighbours, and small changes of a sample mean nothing.
    Not where the changes that matter are small themselves, and not to make codes fit for drawing new samples.

    Parameters
    ----------
    weight : strength of the penalty, in nats per squared unit of code by unit of sample.
    probes : None for the exact norm, or how many random directions estimate it.

    >>> Contractive(weight=0.5)
    Contractive(weight=0.5)
    """

    aliases = ("cae", "jacobian")
    differentiates = True

    limits = {"weight": Limit(0), "probes": Limit(1, whole=True, optional=True)}

    def __init__(self, weight: float = 0.1, probes: int | None = None):
        self.weight = weight
        self.probes = probes

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(probes=2)]

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        if not self.weight:
            return reconstruction.x.new_zeros(())
        return self.weight * self.squared_norm(reconstruction, module)

    def squared_norm(self, reconstruction: Reconstruction, module: Pass) -> Tensor:
        """The squared norm of each row's Jacobian, (B,); estimated in a stochastic pass where there are probes."""
        if self._exact(reconstruction) and reconstruction.seen_weight is None:
            chain = module.chain()
            found = None if chain is None else squared_norm(chain, reconstruction.activations)
            if found is not None:
                return found
        return self._by_autograd(reconstruction, module)

    def _exact(self, reconstruction: Reconstruction) -> bool:
        return self.probes is None or reconstruction.generator is None  # a deterministic pass draws nothing

    def _by_autograd(self, reconstruction: Reconstruction, module: Pass) -> Tensor:
        grad_was_on = torch.is_grad_enabled()
        with torch.enable_grad():
            seen, features = reconstruction.seen, reconstruction.features
            # the pass's own features, so that the encoder runs once; without gradients the pass kept no way back
            if features is None or not (grad_was_on and features.requires_grad and seen.requires_grad):
                seen = seen.detach().requires_grad_()
                features = module.features(seen, reconstruction.seen_weight)
            code = module.code_of(features).flatten(1)
            norm = seen.new_zeros(len(seen))
            for direction in self._directions(code, reconstruction):
                (slope,) = torch.autograd.grad(
                    code, seen, direction, create_graph=grad_was_on, retain_graph=True, materialize_grads=True
                )
                norm = norm + slope.flatten(1).square().sum(1)
        return norm if grad_was_on else norm.detach()

    def _directions(self, code: Tensor, reconstruction: Reconstruction) -> list[Tensor]:
        if self._exact(reconstruction):
            return [unit.expand_as(code) for unit in torch.eye(code.shape[1], dtype=code.dtype, device=code.device)]
        assert self.probes is not None
        shape = (self.probes, *code.shape)
        signs = torch.randint(0, 2, shape, generator=reconstruction.generator, device=code.device).to(code) * 2 - 1
        return list(signs / self.probes**0.5)

    def neutral(self) -> Self:
        return type(self)(weight=0.0, probes=self.probes)
