from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.part import Limit
from isthmus.priors._members import Members
from isthmus.priors.base import Encode, Prior
from isthmus.spec import SampleSpec


class Mixture(Prior):
    """Several normal laws with diagonal covariances; their weights, means and variances are learned with the model.

    For data that come in groups: codes may then gather in as many places as the data do, instead of in one. Where codes
    are a grid, every place has the same law. The rate has no closed form; in training it is sampled. With one member it
    starts as, and may leave, the standard normal.

    Dilokthanakul et al. 2016, "Deep Unsupervised Clustering with Gaussian Mixture Variational Autoencoders"; Tomczak &
    Welling 2018 have it as "MoG".

    Parameters
    ----------
    k : how many members, at least 1.

    Raises
    ------
    SettingError : for k below 1.

    >>> prior = Mixture(k=1)
    >>> code = torch.tensor([[0.5, -1.0]])
    >>> prior.log_prob(code, prior.build(SampleSpec((4,)), n_components=2))  # so far log N(0, 1), of both together
    tensor([-2.4629], grad_fn=<LogsumexpBackward0>)
    """

    aliases = ("mog", "gaussian_mixture")
    factorises = False
    limits = {"k": Limit(1, whole=True)}

    def __init__(self, k: int = 10):
        self.k = k

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(k=3)]

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        return _Learned(self.k, n_components)

    def log_prob(self, code: Tensor, trained: nn.Module | None = None, encode: Encode | None = None) -> Tensor:
        return _members(trained).log_prob(code)

    def kl_bound(
        self, mean: Tensor, log_variance: Tensor, trained: nn.Module | None = None, encode: Encode | None = None
    ) -> Tensor:
        return _members(trained).kl_bound(mean, log_variance)

    def sample(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        like: Tensor,
        trained: nn.Module | None = None,
        encode: Encode | None = None,
    ) -> Tensor:
        return _members(trained).sample(shape, generator, like)


def _members(trained: nn.Module | None) -> Members:
    learned = cast(_Learned, trained)
    # far outside of what is ever useful, and exp stays finite
    return Members(learned.logits.log_softmax(0), learned.means, learned.log_variances.clamp(-20.0, 20.0))


class _Learned(nn.Module):
    """What is trained of a mixture of k laws over n numbers."""

    def __init__(self, k: int, n: int):
        super().__init__()
        means = torch.randn(k, n)
        self.logits = nn.Parameter(torch.zeros(k))
        self.means = nn.Parameter(means - means.mean(0))
        self.log_variances = nn.Parameter(torch.zeros(k, n))
