from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.priors._members import Members
from isthmus.priors.base import Encode, Prior
from isthmus.spec import SampleSpec


class Vamp(Prior):
    """The mean of what the encoder makes of a few learned samples: a prior that lies where codes are.

    The best prior for the bound is the mean of the posteriors of all training rows; this one takes k "pseudo-inputs"
    instead, which are trained with the model. They start as training rows. Good where codes have a shape that no few
    normal laws have; it costs a pass of k more samples in every step. The rate has no closed form; in training it is
    sampled.

    Tomczak & Welling 2018, "VAE with a VampPrior".

    Parameters
    ----------
    k : how many pseudo-inputs, at least 1; the paper takes 500 for MNIST.

    Raises
    ------
    SettingError : for k below 1, and for samples whose sizes differ.

    >>> from isthmus.module import AutoencoderModule
    >>> from isthmus.variants import Variational
    >>> module = AutoencoderModule(SampleSpec((6,)), n_components=2, variants=Variational(prior=Vamp(k=5)))
    >>> module.built["variational"].inputs.shape, module.draw_codes((3, 2), torch.Generator()).shape
    (torch.Size([5, 6]), torch.Size([3, 2]))
    """

    aliases = ("vampprior", "vamp_prior")
    factorises = False
    limits = {"k": Limit(1, whole=True)}

    def __init__(self, k: int = 50):
        self.k = k

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(k=3)]

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        if spec.free:
            raise SettingError("the prior vamp needs samples of one size, and the sizes of these differ; take mixture.")
        return _Inputs(self.k, spec)

    def prepare(self, trained: nn.Module, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        """Pseudo-inputs become rows of the data, as far as there are any; what is absent in them is zero."""
        inputs = cast(_Inputs, trained).inputs
        found: list[Tensor] = []
        for x in batches():
            found.append(x)
            if sum(map(len, found)) >= 4 * len(inputs):  # enough to choose from; the first rows may be alike
                break
        rows = torch.cat(found)
        chosen = torch.randperm(len(rows), generator=generator, device=generator.device)[: len(inputs)]
        with torch.no_grad():
            inputs[: len(chosen)] = torch.nan_to_num(rows[chosen.to(rows.device)]).to(inputs)

    def log_prob(self, code: Tensor, trained: nn.Module | None = None, encode: Encode | None = None) -> Tensor:
        return _members(trained, encode).log_prob(code)

    def kl_bound(
        self, mean: Tensor, log_variance: Tensor, trained: nn.Module | None = None, encode: Encode | None = None
    ) -> Tensor:
        return _members(trained, encode).kl_bound(mean, log_variance)

    def sample(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        like: Tensor,
        trained: nn.Module | None = None,
        encode: Encode | None = None,
    ) -> Tensor:
        return _members(trained, encode).sample(shape, generator, like)


def _members(trained: nn.Module | None, encode: Encode | None) -> Members:
    assert encode is not None, "a variational autoencoder gives its encoder"
    mean, log_variance = encode(cast(_Inputs, trained).inputs)  # (k, ..., n)
    return Members(torch.full_like(mean.flatten(1)[:, 0], len(mean)).log().neg().detach(), mean, log_variance)


class _Inputs(nn.Module):
    """k learned samples."""

    def __init__(self, k: int, spec: SampleSpec):
        super().__init__()
        self.inputs = nn.Parameter(0.5 * torch.randn(k, *spec.shape))
