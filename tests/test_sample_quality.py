"""Precision, recall, density and coverage: as their definitions say, and as published for two samples of one law."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isthmus.errors import DataError
from isthmus.metrics import sample_quality


def by_definition(real: Tensor, drawn: Tensor, k: int) -> tuple[float, float, float, float]:
    """Every pair of samples, one after the other."""

    def reach(x: Tensor) -> list[float]:
        return [sorted(float((one - other).norm()) for other in x)[k] for one in x]

    real_reach, drawn_reach = reach(real), reach(drawn)
    near = [[float((r - d).norm()) < real_reach[i] for i, r in enumerate(real)] for d in drawn]
    back = [[float((r - d).norm()) < drawn_reach[j] for j, d in enumerate(drawn)] for r in real]
    precision = sum(map(any, near)) / len(drawn)
    recall = sum(map(any, back)) / len(real)
    density = sum(map(sum, near)) / (k * len(drawn))
    return precision, recall, density, sum(map(any, zip(*near, strict=True))) / len(real)


@pytest.mark.parametrize("k", [1, 3])
def test_each_is_what_its_definition_says(k: int) -> None:
    random = torch.Generator().manual_seed(0)
    real = torch.randn((40, 2, 2), generator=random, dtype=torch.float64)
    drawn = 0.7 * torch.randn((30, 2, 2), generator=random, dtype=torch.float64) + 0.5
    found = sample_quality(real, drawn, k)
    wanted = by_definition(real.flatten(1), drawn.flatten(1), k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.slow
def test_a_lost_group_costs_coverage_and_no_precision() -> None:
    """One of ten: coverage falls by about a tenth, what is drawn is as good as before."""
    random = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(10)

    def draw(n_groups: int) -> Tensor:
        which = torch.randint(n_groups, (3000,), generator=random)
        return centres[which] + torch.randn((3000, 10), generator=random)

    real = draw(10)
    whole, part = sample_quality(real, draw(10)), sample_quality(real, draw(9))
    assert 0.08 < whole.coverage - part.coverage < 0.12
    assert part.precision == pytest.approx(whole.precision, abs=0.02)


@pytest.mark.parametrize("k", [1, 5])
def test_two_samples_of_one_law_have_the_expected_values(k: int) -> None:
    """Whatever the law: density 1, and a sample is covered unless its k nearest of both kinds are real ones."""
    random = torch.Generator().manual_seed(k)
    n, found = 50, []
    for _ in range(400):
        real, drawn = torch.randn((2, n, 3), generator=random).exp()
        quality = sample_quality(real, drawn, k)
        found.append((quality.density, quality.coverage))
    values = torch.tensor(found)
    covered = 1 - math.prod((n - 1 - place) / (2 * n - 1 - place) for place in range(k))
    error = (values.mean(0) - torch.tensor([1.0, covered])).abs()
    assert bool((error < 5 * values.std(0) / len(values) ** 0.5).all()), values.mean(0)


@pytest.mark.slow
def test_two_samples_of_one_law_have_the_published_values() -> None:
    """10,000 samples of N(0, I) in 1,000 dimensions each, k = 5: in so many, neighbourhoods hardly meet."""
    random = torch.Generator().manual_seed(0)
    real, drawn = torch.randn((2, 10_000, 1_000), generator=random)
    found = sample_quality(real, drawn)
    assert found.precision == pytest.approx(0.477, abs=0.02)
    assert found.recall == pytest.approx(0.471, abs=0.02)
    assert found.density == pytest.approx(1.056, abs=0.04)  # of one draw: some samples are near very many others
    assert found.coverage == pytest.approx(0.974, abs=0.02)


def test_what_has_no_neighbours_is_refused() -> None:
    x = torch.zeros(5, 2)
    with pytest.raises(DataError, match="k is 5"):
        sample_quality(x, x, k=5)
    with pytest.raises(DataError, match="2 numbers and drawn ones 3"):
        sample_quality(x, torch.zeros(5, 3))
