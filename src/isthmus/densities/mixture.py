from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from isthmus.densities.base import Density, Law, check_codes, tensor
from isthmus.errors import SettingError
from isthmus.part import Limit

MOST_CODES = 20_000  # that are looked at; more change little
STARTS = 4
FLOOR = 1e-9  # of a member's variance in any direction, as a share of that of all codes


class Mixture(Density):
    """Several normal laws with full covariances, fitted by expectation and maximisation.

    The first choice: quick, with a density in closed form, and good for codes that lie in groups. Ghosh et al. 2020,
    "From Variational to Deterministic Autoencoders", draw with one from an autoencoder that has no prior at all. For
    codes on curved sheets, which take many members to cover, `second_stage` is the other choice.

    Parameters
    ----------
    k : how many members; "auto" takes the number with the least Bayesian information criterion (Schwarz 1978).
    most : the largest number that "auto" tries; never more than there are numbers in the codes to learn them from.

    Raises
    ------
    SettingError : for k below 1.
    DataError : for fewer codes than members.

    >>> codes = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> codes[:250] += 10
    >>> law = Mixture().fit(codes, torch.Generator().manual_seed(0))
    >>> law.state()["weights"]
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    aliases = ("gmm", "gaussian_mixture")
    limits = {"most": Limit(1, whole=True)}

    def __init__(self, k: int | Literal["auto"] = "auto", most: int = 64):
        self.k = k
        self.most = most

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(k=2), cls(most=1)]

    def check(self) -> None:
        super().check()
        if self.k != "auto" and not Limit(1, whole=True).allows(self.k):
            raise SettingError(f"k of mixture is {self.k!r}; it must be a whole number of at least 1, or 'auto'.")

    def fit(self, codes: Tensor, generator: torch.Generator) -> Law:
        check_codes(codes)
        random = int(torch.randint(2**31, (), generator=generator))
        chosen = torch.randperm(len(codes), generator=generator)[:MOST_CODES]
        given = codes[chosen].double()
        mean, axes, scales = _axes(given)
        standard = ((given - mean) @ axes / scales).numpy()
        found = _fitted(standard, self.k, random) if isinstance(self.k, int) else _best(standard, self.most, random)
        to_code = axes * scales
        means = mean + torch.from_numpy(found.means_) @ to_code.T
        factors = _triangular(to_code @ torch.from_numpy(np.linalg.cholesky(found.covariances_)))
        return _Mixture(torch.from_numpy(found.weights_), means, factors)

    def restore(self, state: Mapping[str, Tensor]) -> Law:
        means = tensor(state, "means", (None, None))
        k, size = means.shape
        return _Mixture(tensor(state, "weights", (k,)), means, tensor(state, "factors", (k, size, size)))


def _axes(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Their mean, their principal axes, (size, size), and how far they spread along each.

    An encoder may squeeze a direction that its decoder spreads again: how narrow a group is there must be seen.
    """
    values, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(codes.T, correction=0)))
    # a direction in which nothing but rounding errors lies is not blown up
    return codes.mean(0), vectors, values.clamp_min(max(1e-12 * float(values[-1]), 1e-24)).sqrt()


def _triangular(factors: Tensor) -> Tensor:
    """Lower triangles with the same products with their transposes, and positive diagonals."""
    lower: Tensor = torch.linalg.qr(factors.mT).R.mT
    return lower * torch.where(lower.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)


def _fitted(codes: npt.NDArray[np.float64], k: int, seed: int) -> GaussianMixture:
    """From the best of a few clusterings: where two groups start as one, the steps that follow do not part them."""
    k = min(k, len(codes))
    with warnings.catch_warnings():
        # a step more changes nothing that could be seen in a sample, and there may be fewer different codes than k
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = KMeans(k, n_init=STARTS, random_state=seed).fit(codes).labels_
        shares, means, precisions = zip(*(_start(codes[labels == label], codes) for label in range(k)), strict=True)
        return GaussianMixture(
            k,
            reg_covar=FLOOR,
            init_params="random_from_data",  # which is not used, and costs nothing
            weights_init=np.array(shares) / np.sum(shares),
            means_init=np.array(means),
            precisions_init=np.array(precisions),
            random_state=seed,
        ).fit(codes)


def _start(group: npt.NDArray[np.float64], codes: npt.NDArray[np.float64]) -> tuple[float, Any, Any]:
    """Share, mean and inverse covariance of one cluster, which may hold few codes or none."""
    few = np.eye(codes.shape[1]) * 1e-3  # no narrower than that at the start; the steps decide the rest
    if len(group) < 2:
        return 1 / len(codes), (group if len(group) else codes)[0], np.linalg.inv(few)
    return len(group) / len(codes), group.mean(0), np.linalg.inv(np.atleast_2d(np.cov(group.T, bias=True)) + few)


def _best(codes: npt.NDArray[np.float64], most: int, seed: int) -> GaussianMixture:
    """The least criterion: numbers are doubled as long as that helps, then the neighbourhood is searched."""
    n_codes, size = codes.shape
    # a member has size * (size + 3) / 2 numbers of its own
    limit = max(1, min(most, n_codes // 2, int(2 * n_codes / (size + 3))))
    tried: dict[int, tuple[float, GaussianMixture]] = {}

    def criterion(k: int) -> float:
        if k not in tried:
            fitted = _fitted(codes, k, seed)
            tried[k] = float(fitted.bic(codes)), fitted
        return tried[k][0]

    k, worse = 1, 0
    while k <= limit and worse < 2:  # one that is worse may stand before one that is better
        criterion(k)
        worse = worse + 1 if criterion(k) > min(value for value, _ in tried.values()) else 0
        k *= 2
    best = min(tried, key=criterion)
    step = best // 2
    while step:
        best = min((one for one in (best - step, best, best + step) if 1 <= one <= limit), key=criterion)
        step //= 2
    return tried[min(tried, key=criterion)][1]


class _Mixture(Law):
    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor):
        self.weights = weights  # (k,)
        self.means = means  # (k, size)
        self.factors = factors  # (k, size, size)  lower triangles; each times its transpose is a covariance

    def sample(self, n_codes: int, generator: torch.Generator) -> Tensor:
        members = torch.multinomial(self.weights, n_codes, replacement=True, generator=generator)
        noise = torch.randn((n_codes, self.means.shape[1]), generator=generator, dtype=torch.float64)
        codes = torch.empty_like(noise)
        for member in members.unique():
            rows = members == member
            codes[rows] = self.means[member] + noise[rows] @ self.factors[member].T
        return codes

    def log_prob(self, codes: Tensor) -> Tensor:
        each = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            standard = torch.linalg.solve_triangular(factor, (codes.double() - mean).T, upper=False)
            spread = factor.diagonal().log().sum() + 0.5 * len(mean) * math.log(2 * math.pi)
            each.append(weight.log() - 0.5 * standard.square().sum(0) - spread)
        return torch.logsumexp(torch.stack(each), 0)

    def state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "means": self.means, "factors": self.factors}
