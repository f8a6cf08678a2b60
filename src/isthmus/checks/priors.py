"""What every prior must survive: density, draws and divergence belong to one law."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import generator, seeded
from isthmus.checks.turning import check_turning
from isthmus.priors.base import Prior

N_DRAWS = 50_000


def checks(prior: Prior) -> Iterator[Callable[[Any], None]]:
    yield check_density_is_that_of_the_draws
    yield check_divergence_is_that_of_the_density
    yield check_randomness_is_the_generators
    yield check_numeric_arguments_turn


def check_density_is_that_of_the_draws(prior: Prior) -> None:
    """By importance weights: under draws of p, the mean of q/p is one for a narrower normal law q."""
    draws = _draws(prior)
    mean, scale = draws.mean(0), 0.7 * draws.std(0)
    ratio = torch.exp(_normal_log_prob(draws, mean, scale) - prior.log_prob(draws))
    error = (ratio.mean(0) - 1).abs()
    allowed = 6 * ratio.std(0) / N_DRAWS**0.5
    assert bool((error < allowed).all()), (
        f"the density of {prior!r} is not that of its draws: mean ratio {ratio.mean(0)}."
    )


def check_divergence_is_that_of_the_density(prior: Prior) -> None:
    """Where there is a closed form, it is what sampling gives; it is never negative."""
    mean = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    log_variance = torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
    closed = prior.kl(mean, log_variance)
    if closed is None:
        return
    assert bool((closed >= 0).all()), f"the divergence of {prior!r} is negative: {closed}."
    scale = torch.exp(0.5 * log_variance)
    codes = mean + scale * torch.randn(N_DRAWS, 3, generator=generator(2), dtype=torch.float64)
    sampled = _normal_log_prob(codes, mean, scale) - prior.log_prob(codes)
    allowed = 6 * sampled.std(0) / N_DRAWS**0.5 + 1e-9
    close = bool(((sampled.mean(0) - closed).abs() < allowed).all())
    assert close, f"the divergence of {prior!r} is {closed} in closed form and {sampled.mean(0)} by sampling."


def check_randomness_is_the_generators(prior: Prior) -> None:
    results = []
    for torch_seed in (0, 1):
        with seeded(torch_seed):
            results.append(_draws(prior, 10))
    assert torch.equal(*results), f"{prior!r} must draw from the generator it is given, and only there."


def check_numeric_arguments_turn(prior: Prior) -> None:
    codes = torch.randn(20, 3, generator=generator(2), dtype=torch.float64)
    check_turning([prior, *type(prior).examples()], lambda part: [part.log_prob(codes), _draws(part, 10)])


def _draws(prior: Prior, n_draws: int = N_DRAWS) -> Tensor:
    return prior.sample((n_draws, 3), generator(), torch.zeros((), dtype=torch.float64))


def _normal_log_prob(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    log_prob: Tensor = torch.distributions.Normal(mean, scale, validate_args=False).log_prob(x)
    return log_prob
