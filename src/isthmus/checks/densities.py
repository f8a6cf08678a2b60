"""What every density over codes must survive: what it draws is like what it was fitted on, and its law is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import generator, seeded
from isthmus.checks.turning import check_turning
from isthmus.densities.base import Density
from isthmus.errors import DataError, ModelFileError

N_DRAWS = 20_000


def checks(density: Density) -> Iterator[Callable[[Any], None]]:
    yield check_draws_are_codes
    yield check_density_is_that_of_the_draws
    yield check_state_gives_the_law_back
    yield check_another_state_is_refused
    yield check_randomness_is_the_generators
    yield check_codes_stay
    yield check_one_code_is_refused
    yield check_numeric_arguments_turn


def check_draws_are_codes(density: Density) -> None:
    """As many as asked for, and where the codes are: they lie far from zero."""
    draws = density.fit(_codes(), generator()).sample(N_DRAWS, generator(1))
    assert draws.shape == (N_DRAWS, 3) and draws.dtype == torch.float64, f"{density!r} must draw (n, 3) in float64."
    missed = (draws.mean(0) - _codes().mean(0)).abs() / _codes().std(0)
    assert bool((missed < 1).all()), f"{density!r} draws codes whose mean is {missed} standard deviations off."


def check_density_is_that_of_the_draws(density: Density) -> None:
    """By importance weights, as for priors."""
    law = density.fit(_codes(), generator())
    draws = law.sample(N_DRAWS, generator(1))
    found = law.log_prob(draws)
    if found is None:
        return
    near = torch.distributions.Normal(draws.mean(0), 0.5 * draws.std(0))
    ratio = torch.exp(near.log_prob(draws).sum(1) - found)
    allowed = 6 * ratio.std() / N_DRAWS**0.5
    assert bool((ratio.mean() - 1).abs() < allowed), (
        f"the log_prob of {density!r} is not that of its draws: mean ratio {float(ratio.mean()):.4g}."
    )


def check_state_gives_the_law_back(density: Density) -> None:
    """To the bit."""
    law = density.fit(_codes(), generator())
    again = density.restore({name: value.clone() for name, value in law.state().items()})
    same = torch.equal(law.sample(50, generator(1)), again.sample(50, generator(1)))
    assert same, f"{density!r} draws other codes after its state went to a file and back."
    before, after = law.log_prob(_codes()), again.log_prob(_codes())
    known = before is None or (after is not None and torch.equal(before, after))
    assert known, f"the density of {density!r} is another after its state went to a file and back."


def check_another_state_is_refused(density: Density) -> None:
    """A file comes from anywhere: what is missing or of the wrong shape is said in a sentence."""
    state = density.fit(_codes(), generator()).state()
    for name, value in state.items():
        for wrong in ({}, {name: torch.zeros(*value.shape, 2)}):
            rest = {one: tensor for one, tensor in state.items() if one != name}
            try:
                density.restore(rest | wrong)
            except ModelFileError:
                continue
            raise AssertionError(f"{density!r} takes a state whose {name!r} is missing, or of another shape.")


def check_randomness_is_the_generators(density: Density) -> None:
    results = []
    for torch_seed in (0, 1):
        with seeded(torch_seed):
            before = torch.get_rng_state()
            results.append(density.fit(_codes(), generator()).sample(10, generator(1)))
            assert torch.equal(before, torch.get_rng_state()), f"{density!r} changes torch's own random state."
    assert torch.equal(*results), f"{density!r} must draw from the generators it is given, and only there."


def check_codes_stay(density: Density) -> None:
    codes = _codes()
    density.fit(codes, generator())
    assert torch.equal(codes, _codes()), f"{density!r} changes the codes in place."


def check_one_code_is_refused(density: Density) -> None:
    for codes in (_codes()[:1], torch.full((5, 3), torch.nan, dtype=torch.float64)):
        try:
            density.fit(codes, generator())
        except DataError:
            continue
        raise AssertionError(f"{density!r} takes codes that have no law, such as {codes[:1]}.")


def check_numeric_arguments_turn(density: Density) -> None:
    def result(part: Density) -> list[Tensor]:
        return [part.fit(_codes(), generator()).sample(10, generator(1))]

    check_turning([density, *type(density).examples()], result)


def _codes() -> Tensor:
    """Two groups, and a direction that depends on another."""
    noise = torch.randn(300, 3, generator=generator(7), dtype=torch.float64)
    group = torch.where(torch.arange(300) % 3 > 0, 3.0, -3.0).double()
    return torch.stack([10 + group, -5 + noise[:, 1], 2 * noise[:, 1]], 1) + 0.3 * noise
