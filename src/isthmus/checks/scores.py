"""What every score must survive: a number for each sample, of whatever stands beside it, the same from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import generator, seeded
from isthmus.checks.turning import check_turning
from isthmus.errors import ModelFileError
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.scores.base import Measure, Score
from isthmus.spec import SampleSpec

N_ROWS = 300


def checks(score: Score) -> Iterator[Callable[[Any], None]]:
    yield check_one_number_for_each_sample
    yield check_far_samples_are_odder
    yield check_samples_are_independent
    yield check_absent_values_do_not_leak
    yield check_state_gives_the_measure_back
    yield check_another_state_is_refused
    yield check_randomness_is_the_generators
    yield check_numeric_arguments_turn


def check_one_number_for_each_sample(score: Score) -> None:
    """In the number type that came in."""
    for dtype in (torch.float32, torch.float64):
        found = _scores(score, _rows(7).to(dtype), _module(dtype))
        fits = found.shape == (7,) and found.dtype == dtype and bool(found.isfinite().all())
        assert fits, f"{score!r} must give a finite number of type {dtype} for each sample, not {found}."


def check_far_samples_are_odder(score: Score) -> None:
    usual, far = _scores(score, _rows(50)), _scores(score, 30 + 10 * _rows(50))
    assert bool(far.min() > usual.median()), f"{score!r} says of samples far from all others that they are usual."


def check_samples_are_independent(score: Score) -> None:
    together = _scores(score, _rows(20))
    alone = torch.cat([_scores(score, row[None]) for row in _rows(20)])
    same = torch.allclose(together, alone, atol=1e-8)
    assert same, f"{score!r} says something else of a sample when others stand beside it."


def check_absent_values_do_not_leak(score: Score) -> None:
    module, x, weight = _module(), _rows(20), torch.ones(20, 4, dtype=torch.float64)
    weight[:, 1] = 0
    changed = x.clone()
    changed[:, 1] = 1e6
    first, second = (score.read(module.reconstruct(rows, weight)) for rows in (x, changed))
    assert torch.equal(first, second), f"{score!r} looks at values that are absent."


def check_state_gives_the_measure_back(score: Score) -> None:
    """To the bit."""
    measure, read = _fitted(score), _read(score, _rows(50))
    again = score.restore({name: value.clone() for name, value in measure.state().items()})
    same = torch.equal(measure(read), again(read))
    assert same, f"{score!r} says something else after its state went to a file and back."


def check_another_state_is_refused(score: Score) -> None:
    """A file comes from anywhere: what is missing or of the wrong shape is said in a sentence."""
    state = _fitted(score).state()
    for name, value in state.items():
        for wrong in ({}, {name: torch.zeros(*value.shape, 2)}):
            rest = {one: tensor for one, tensor in state.items() if one != name}
            try:
                score.restore(rest | wrong)
            except ModelFileError:
                continue
            raise AssertionError(f"{score!r} takes a state whose {name!r} is missing, or of another shape.")


def check_randomness_is_the_generators(score: Score) -> None:
    results = []
    for torch_seed in (0, 1):
        with seeded(torch_seed):
            before = torch.get_rng_state()
            results.append(_scores(score, _rows(10)))
            assert torch.equal(before, torch.get_rng_state()), f"{score!r} changes torch's own random state."
    assert torch.equal(*results), f"{score!r} must draw from the generator it is given, and only there."


def check_numeric_arguments_turn(score: Score) -> None:
    check_turning([score, *type(score).examples()], lambda part: [_scores(part, _rows(20))])


# ---- a small model, and what is usual to it


def _module(dtype: torch.dtype = torch.float64) -> AutoencoderModule:
    with seeded(3):
        return AutoencoderModule(SampleSpec((4,), gaps=True), 2, Dense(widths=(6,))).to(dtype).eval()


def _rows(n: int) -> Tensor:
    """Four columns that follow two hidden numbers."""
    hidden = torch.randn(N_ROWS, 2, generator=generator(5), dtype=torch.float64)
    noise = torch.randn(N_ROWS, 4, generator=generator(6), dtype=torch.float64)
    return (hidden @ torch.randn(2, 4, generator=generator(7), dtype=torch.float64) + 0.1 * noise)[:n]


@torch.no_grad()
def _read(score: Score, x: Tensor, module: AutoencoderModule | None = None) -> Tensor:
    return score.read((module or _module(x.dtype)).reconstruct(x))


def _fitted(score: Score) -> Measure:
    read = _read(score, _rows(N_ROWS))
    return score.fit(read[:200], read[200:], generator())


def _scores(score: Score, x: Tensor, module: AutoencoderModule | None = None) -> Tensor:
    return _fitted(score)(_read(score, x, module))
