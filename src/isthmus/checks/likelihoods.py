"""What every likelihood must survive: it is a law, with the density, mean, mode and draws that it claims.

Axes: N laws or draws side by side, *spec.shape one sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import PICTURE, SERIES, TABLE, generator, largest_difference, seeded
from isthmus.checks.turning import check_turning
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.spec import Column, SampleSpec

# All kinds of columns, and few enough values that draws meet every combination.
SPEC = SampleSpec(
    (6,), columns=(Column("height"), Column("colour", "categorical", 3), Column("member", "boolean"), Column("width"))
)
N_DRAWS = 20_000


def checks(likelihood: Likelihood) -> Iterator[Callable[[Any], None]]:
    yield check_shapes
    yield check_density_sums_to_one
    yield check_mean_is_the_mean_of_draws
    yield check_point_is_most_probable
    yield check_randomness_is_the_generators
    yield check_best_law_for_a_mean_has_that_mean
    yield check_gradients_are_finite
    yield check_rows_are_independent
    yield check_numeric_arguments_turn


def check_shapes(likelihood: Likelihood) -> None:
    """Also with an axis of code samples before the batch, and for series and pictures."""
    for spec in (SPEC, TABLE, SERIES, PICTURE):
        raw = _raw(likelihood, spec, 2 * 3).unflatten(0, (2, 3))
        law = likelihood(raw, spec)
        expected = (2, 3, *spec.shape)
        target = law.sample(generator())[0]
        found = {"mean": law.mean, "point": law.point, "sample": law.sample(generator()), "nll": law.nll(target)}
        for name, value in found.items():
            assert value.shape == expected, f"{name} of {likelihood!r} has shape {tuple(value.shape)}, not {expected}."


def check_density_sums_to_one(likelihood: Likelihood) -> None:
    """The nll is minus the log of a density or probability: summed or integrated over all values it gives one."""
    if levels := getattr(likelihood, "levels", None):
        _check_levels_sum_to_one(likelihood, levels)
        return
    law = _one_law(likelihood)
    draws = law.sample(generator())
    smooth = _smooth_elements(draws)
    total = _sum_over_seen(likelihood, draws, ~smooth)
    assert abs(total - 1) < 1e-3, f"the probabilities of {likelihood!r} sum to {total:.4f}, not to 1."
    for element, area in zip(smooth.nonzero().flatten().tolist(), _areas(likelihood, draws, smooth), strict=True):
        assert abs(area - 1) < 1e-3, (
            f"the density of {likelihood!r} has the integral {area:.4f} over element {element}."
        )


def _check_levels_sum_to_one(likelihood: Likelihood, levels: int) -> None:
    """Where each element takes one of some levels from 0 to 1, draws need not meet them all."""
    every = torch.linspace(0, 1, levels, dtype=torch.float64)[:, None].expand(-1, *SPEC.shape)
    total = torch.exp(-_one_law(likelihood, levels).nll(every)).sum(0)
    error = largest_difference(total, torch.ones_like(total))
    assert error < 1e-9, f"the probabilities of {likelihood!r} sum to {total}, not to 1 for each element."


def check_mean_is_the_mean_of_draws(likelihood: Likelihood) -> None:
    law = _one_law(likelihood)
    draws = law.sample(generator())
    error = (draws.mean(0) - law.mean[0]).abs()
    allowed = 6 * draws.std(0) / N_DRAWS**0.5 + 1e-9
    assert bool((error < allowed).all()), f"draws of {likelihood!r} average {draws.mean(0)}, its mean is {law.mean[0]}."


def check_point_is_most_probable(likelihood: Likelihood) -> None:
    law = _one_law(likelihood)
    at_point = float(law.nll(law.point).flatten(1).sum(1)[0])
    best_draw = float(law.nll(law.sample(generator())).flatten(1).sum(1).min())
    assert at_point <= best_draw + 1e-9, f"{likelihood!r} has a draw that is more probable than its point."


def check_randomness_is_the_generators(likelihood: Likelihood) -> None:
    law = likelihood(_raw(likelihood, SPEC, 50), SPEC)
    draws = []
    for torch_seed, seed in ((0, 0), (1, 0)):
        with seeded(torch_seed):
            draws.append(law.sample(generator(seed)))
    assert torch.equal(*draws), f"{likelihood!r} must draw from the generator it is given, and only there."


def check_best_law_for_a_mean_has_that_mean(likelihood: Likelihood) -> None:
    """Targets may be expectations (soft ones, such as a probability): what is learned from one is that very mean."""
    target = likelihood(_raw(likelihood, SPEC, 1, seed=5), SPEC).mean.detach()
    raw = _raw(likelihood, SPEC, 1).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    for _ in range(250):
        optimizer.zero_grad()
        likelihood(raw, SPEC).nll(target).sum().backward()
        optimizer.step()
        schedule.step()
    error = largest_difference(likelihood(raw, SPEC).mean, target)
    assert error < 0.02, f"{likelihood!r}, fitted to one target, has a mean that is {error:.3f} away from it."


def check_gradients_are_finite(likelihood: Likelihood) -> None:
    """Also where a decoder is far off."""
    for size in (1.0, 100.0):
        raw = (size * _raw(likelihood, SPEC, 20)).requires_grad_()
        target = likelihood(_raw(likelihood, SPEC, 20, seed=5), SPEC).sample(generator())
        nll = likelihood(raw, SPEC).nll(target)
        (gradient,) = torch.autograd.grad(nll.sum(), raw)
        finite = bool(torch.isfinite(nll).all() and torch.isfinite(gradient).all())
        assert finite, f"{likelihood!r} has an infinite nll or gradient for raw values of about {size:g}."
        assert bool((gradient != 0).any()), f"{likelihood!r} has no gradient for raw values of about {size:g}."


def check_rows_are_independent(likelihood: Likelihood) -> None:
    raw = _raw(likelihood, SPEC, 8)
    target = likelihood(raw, SPEC).sample(generator())
    together = likelihood(raw, SPEC).nll(target)
    alone = torch.cat([likelihood(raw[i : i + 1], SPEC).nll(target[i : i + 1]) for i in range(8)])
    error = largest_difference(together, alone)
    assert error < 1e-10, f"in {likelihood!r} the nll of a row depends on the other rows (by {error:.2g})."


def check_numeric_arguments_turn(likelihood: Likelihood) -> None:
    def result(part: Likelihood) -> list[Tensor]:
        law = part(_raw(part, SPEC, 20), SPEC)
        return [law.nll(likelihood(_raw(likelihood, SPEC, 20, seed=5), SPEC).sample(generator())), law.mean]

    check_turning([likelihood, *type(likelihood).examples()], result)


def _raw(likelihood: Likelihood, spec: SampleSpec, n_rows: int, seed: int = 3) -> Tensor:
    """What a decoder might give."""
    shape = list(spec.shape)
    shape[spec.channels] = likelihood.n_parameters(spec)
    return 0.5 * torch.randn(n_rows, *shape, generator=generator(seed), dtype=torch.float64)


def _one_law(likelihood: Likelihood, n_rows: int = N_DRAWS) -> Distribution:
    """The same law in every row, so that one draw of it is many."""
    return likelihood(_raw(likelihood, SPEC, 1).expand(n_rows, -1), SPEC)


def _smooth_elements(draws: Tensor) -> Tensor:
    """Which elements take any real value: their draws are all different."""
    return torch.tensor([len(draws[:200, element].unique()) > 100 for element in range(draws.shape[1])])


def _sum_over_seen(likelihood: Likelihood, draws: Tensor, counted: Tensor) -> float:
    """The probability of all values that were drawn; draws meet practically all there are.

    Elements that move together are taken together, and of several groups the one that is furthest from 1 counts.
    """
    sums = [1.0]
    for group in _groups(draws, counted):
        seen = draws[:, group].unique(dim=0)
        target = draws[:1].repeat(len(seen), 1)
        target[:, group] = seen
        nll = _one_law(likelihood, len(seen)).nll(target)[:, group].sum(1)
        sums.append(float(torch.exp(-nll).sum()))
    return max(sums, key=lambda total: abs(total - 1))


def _groups(draws: Tensor, counted: Tensor) -> Iterator[Tensor]:
    """The counted elements, apart where their draws are uncorrelated: with independent ones, combinations are many."""
    values = draws - draws.mean(0)
    deviation = values.square().mean(0).sqrt().clamp_min(1e-12)
    correlation = values.T @ values / len(draws) / deviation[:, None] / deviation
    linked = (correlation.abs() > 8 / len(draws) ** 0.5) & counted & counted[:, None]
    linked |= torch.eye(len(counted), dtype=torch.bool)
    for _ in range(len(counted)):  # whoever is linked to a linked one
        linked = (linked.double() @ linked.double()) > 0
    for group in linked[counted].unique(dim=0):
        yield group.nonzero().flatten()


def _areas(likelihood: Likelihood, draws: Tensor, smooth: Tensor) -> list[float]:
    """The integral of each smooth element's density, by the trapezoidal rule far beyond the draws, where it may be."""
    low, high = draws.amin(0), draws.amax(0)
    reach = high - low
    steps = torch.linspace(-0.5, 1.5, 100_001, dtype=torch.float64)[:, None]
    least, most = likelihood.support
    inside = (low + steps * reach).clamp(-math.inf if least is None else least, math.inf if most is None else most)
    grid = torch.where(smooth, inside, draws[0])
    density = torch.exp(-_one_law(likelihood, len(grid)).nll(grid))
    return [float(torch.trapezoid(density[:, i], grid[:, i])) for i in smooth.nonzero().flatten().tolist()]
