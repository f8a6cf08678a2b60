"""What every prior must survive: density, draws and divergence belong to one law."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.checks.small import VECTOR, generator, samples, seeded
from isthmus.checks.turning import check_turning
from isthmus.priors.base import Prior

N_DRAWS = 50_000
SIZE = 3


@dataclass(frozen=True)
class Tried:
    """A prior with what it built for codes of three numbers, and an encoder to go with it."""

    prior: Prior
    trained: nn.Module | None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Any smooth map will do; the variances differ, by less than a factor of two."""
        maps = torch.randn(2, x[0].numel(), SIZE, generator=generator(3), dtype=x.dtype) / x[0].numel() ** 0.5
        return x.flatten(1) @ maps[0], 0.3 * torch.tanh(x.flatten(1) @ maps[1])

    def log_prob(self, code: Tensor) -> Tensor:
        return self.prior.log_prob(code, self.trained, self.encode).detach()

    def sample(self, n_draws: int) -> Tensor:
        like = torch.zeros((), dtype=torch.float64)
        return self.prior.sample((n_draws, SIZE), generator(), like, self.trained, self.encode).detach()

    def total(self, nats: Tensor) -> Tensor:
        """What components have, added up where they go together."""
        return nats if self.prior.factorises else nats.sum(-1)


def checks(prior: Prior) -> Iterator[Callable[[Any], None]]:
    yield check_density_is_that_of_the_draws
    yield check_divergence_is_that_of_the_density
    yield check_randomness_is_the_generators
    yield check_shapes_say_whether_it_factorises
    yield check_numeric_arguments_turn


def check_density_is_that_of_the_draws(prior: Prior) -> None:
    """By importance weights: under draws of p, the mean of q/p is one for a narrower normal law q."""
    tried = _tried(prior)
    draws = tried.sample(N_DRAWS)
    mean, scale = draws.mean(0), 0.7 * draws.std(0)
    ratio = torch.exp(tried.total(_normal_log_prob(draws, mean, scale)) - tried.log_prob(draws))
    error = (ratio.mean(0) - 1).abs()
    allowed = 6 * ratio.std(0) / N_DRAWS**0.5
    assert bool((error < allowed).all()), (
        f"the density of {prior!r} is not that of its draws: mean ratio {ratio.mean(0)}."
    )


def check_divergence_is_that_of_the_density(prior: Prior) -> None:
    """A closed form is what sampling gives, a bound is at least that; neither is negative."""
    tried = _tried(prior)
    mean = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    log_variance = torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
    scale = torch.exp(0.5 * log_variance)
    codes = mean + scale * torch.randn(N_DRAWS, SIZE, generator=generator(2), dtype=torch.float64)
    sampled = tried.total(_normal_log_prob(codes, mean, scale)) - tried.log_prob(codes)
    allowed = 6 * sampled.std(0) / N_DRAWS**0.5 + 1e-9
    given = (tried.trained, tried.encode)
    closed, bound = prior.kl(mean, log_variance, *given), prior.kl_bound(mean, log_variance, *given)
    for found in (closed, bound):
        assert found is None or bool((found >= 0).all()), f"the divergence of {prior!r} is negative: {found}."
    close = closed is None or bool(((sampled.mean(0) - closed).abs() < allowed).all())
    assert close, f"the divergence of {prior!r} is {closed} in closed form and {sampled.mean(0)} by sampling."
    above = bound is None or bool((sampled.mean(0) - bound < allowed).all())
    assert above, f"the divergence of {prior!r} is said to be at most {bound}, and is {sampled.mean(0)} by sampling."


def check_randomness_is_the_generators(prior: Prior) -> None:
    results, tried = [], _tried(prior)
    for torch_seed in (0, 1):
        with seeded(torch_seed):
            results.append(tried.sample(10))
    assert torch.equal(*results), f"{prior!r} must draw from the generator it is given, and only there."


def check_shapes_say_whether_it_factorises(prior: Prior) -> None:
    """Free bits count components one by one, and go by this."""
    shape = tuple(_tried(prior).log_prob(torch.zeros(4, SIZE, dtype=torch.float64)).shape)
    wanted = (4, SIZE) if prior.factorises else (4,)
    assert shape == wanted, (
        f"the log_prob of {prior!r} has shape {shape}, and as it says of itself it must be {wanted}."
    )


def check_numeric_arguments_turn(prior: Prior) -> None:
    codes = torch.randn(20, SIZE, generator=generator(2), dtype=torch.float64)

    def result(part: Prior) -> list[Tensor]:
        tried = _tried(part)
        return [tried.log_prob(codes), tried.sample(10)]

    check_turning([prior, *type(prior).examples()], result)


def _tried(prior: Prior) -> Tried:
    with seeded(0):
        trained = prior.build(VECTOR, SIZE)
    if trained is not None:
        prior.prepare(trained.double(), lambda: iter([samples()]), generator())
    return Tried(prior, trained)


def _normal_log_prob(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    log_prob: Tensor = torch.distributions.Normal(mean, scale, validate_args=False).log_prob(x)
    return log_prob
