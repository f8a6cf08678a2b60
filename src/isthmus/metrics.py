"""Figures that several layers ask for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import DataError


def variance_curve(x: Tensor) -> Tensor:
    """Share of the variance that the first 1, 2, ... principal components of the rows explain.

    Parameters
    ----------
    x : samples, (n_samples, ...); each is flattened.

    >>> import torch
    >>> variance_curve(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))[0]
    tensor(1.)
    """
    centred = x.flatten(1) - x.flatten(1).mean(0)
    energy = torch.linalg.svdvals(centred).square()
    share: Tensor = energy.cumsum(0) / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
    return share


def explained_variance(target: Tensor, output: Tensor, weight: Tensor | None = None) -> float:
    """1 - (squared error / squared distance from the column means), over present values: 1 is exact, 0 is no better
    than the mean.

    >>> import torch
    >>> explained_variance(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]]))
    0.0
    """
    present = torch.ones_like(target) if weight is None else (weight > 0).to(target)
    mean = (target * present).sum(0) / present.sum(0).clamp_min(1)
    spread = ((target - mean).square() * present).sum()
    error = ((target - output).square() * present).sum()
    return float(1 - error / spread) if spread > 0 else 1.0


@dataclass(frozen=True)
class SampleQuality:
    """How drawn samples lie among real ones; each is better the larger it is."""

    precision: float  # share of the drawn that lie near a real one
    recall: float  # share of the real that lie near a drawn one
    density: float  # how many real ones the drawn lie near, 1 where both have one law; not bounded by 1
    coverage: float  # share of the real that have a drawn one near


def sample_quality(real: Tensor, drawn: Tensor, k: int = 5) -> SampleQuality:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) of drawn samples.

    Near a sample is what is no farther than its k-th nearest neighbour of the same kind. Recall and precision are one
    where outliers cover much; density and coverage go by the real neighbourhoods alone and do not suffer from it.

    Parameters
    ----------
    real : real samples, or features of them, (n_real, ...); each is flattened.
    drawn : the others, (n_drawn, ...).
    k : which neighbour, at least 1 and below the number of samples.

    Raises
    ------
    DataError : for a k that leaves no neighbour, and samples of different sizes.

    >>> import torch
    >>> line = torch.arange(20.0)[:, None]
    >>> sample_quality(line, line[:10], k=1)
    SampleQuality(precision=1.0, recall=0.5, density=1.0, coverage=0.5)
    """
    real, drawn = real.flatten(1), drawn.flatten(1)
    if real.shape[1] != drawn.shape[1]:
        raise DataError(f"real samples have {real.shape[1]} numbers and drawn ones {drawn.shape[1]}; give the same.")
    if not 1 <= k < min(len(real), len(drawn)):
        raise DataError(
            f"k is {k}; it must be at least 1 and below the {min(len(real), len(drawn))} samples there are."
        )
    real_reach, drawn_reach = (_neighbour(one, k) for one in (real, drawn))
    near_real = torch.zeros(len(drawn), dtype=torch.long)  # to how many real ones a drawn one is near
    covered = torch.zeros(len(real), dtype=torch.bool)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    for rows in torch.arange(len(real)).split(BLOCK):
        distances = _squared_distances(real[rows], drawn)
        near = distances < real_reach[rows, None]
        near_real += near.sum(0).cpu()
        covered[rows] = near.any(1).cpu()
        recalled[rows] = (distances < drawn_reach).any(1).cpu()
    shares = [one.double().mean().item() for one in (near_real > 0, recalled, near_real.double() / k, covered)]
    return SampleQuality(*shares)


def nearest(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each row from the nearest of others, and which one that is, both (n,).

    >>> import torch
    >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [7.0], [5.0]]))
    (tensor([1., 0.]), tensor([0, 2]))
    """
    found = [torch.cdist(rows, among.flatten(1), compute_mode=EXACT).min(1) for rows in x.flatten(1).split(BLOCK)]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


BLOCK = 2048  # rows whose distances are held at a time
EXACT = "donot_use_mm_for_euclid_dist"  # so that equal rows are zero apart


def _neighbour(x: Tensor, k: int) -> Tensor:
    """The squared distance of every row from its k-th nearest neighbour, itself apart."""
    blocks = []
    for rows in torch.arange(len(x)).split(BLOCK):
        distances = _squared_distances(x[rows], x)
        distances[torch.arange(len(rows)), rows] = -1.0  # its own, to the bit the least
        blocks.append(distances.kthvalue(k + 1, dim=1).values)
    return torch.cat(blocks)


def _squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(n, m) of (n, d) and (m, d)."""
    squares = first.square().sum(1, keepdim=True) + second.square().sum(1)
    return torch.addmm(squares, first, second.T, alpha=-2).clamp_min_(0.0)
