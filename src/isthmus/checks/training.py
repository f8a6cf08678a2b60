"""What optimizers, schedules and the training settings must survive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.checks.small import build, samples, train_shortly
from isthmus.checks.turning import check_turning
from isthmus.training import Training
from isthmus.training.optimizers import Optimizer
from isthmus.training.schedules import Position, Schedule

# A run in which everything happens: several batches, held-out rows, steps so large that the loss rises, and the end
# of patience.
EVENTFUL = Training(
    max_epochs=8, batch_size=8, learning_rate=0.5, schedule="constant", clip=5.0, validation=0.25, patience=1
)
# And one that goes to its last epoch.
CALM = Training(max_epochs=2, batch_size=8, patience=None)


def optimizer_checks(optimizer: Optimizer) -> Iterator[Callable[[Any], None]]:
    yield check_finds_the_minimum
    yield check_optimizer_arguments_turn


def schedule_checks(schedule: Schedule) -> Iterator[Callable[[Any], None]]:
    yield check_factor_is_between_zero_and_one
    yield check_warm_up_rises
    yield check_schedule_arguments_turn


def training_checks(training: Training) -> Iterator[Callable[[Any], None]]:
    yield check_training_arguments_turn


def check_finds_the_minimum(optimizer: Optimizer) -> None:
    start, *_, end = _way(optimizer, n_steps=300)
    assert float(end.norm()) < 0.1 * float(start.norm()), (
        f"{optimizer!r} goes from {start} to {end}; the minimum is at 0."
    )


def check_optimizer_arguments_turn(optimizer: Optimizer) -> None:
    check_turning([optimizer, *type(optimizer).examples()], lambda part: _way(part, n_steps=20))
    loose, decayed = _way(optimizer, 20), _way(optimizer, 20, weight_decay=0.5)
    assert not torch.equal(loose[-1], decayed[-1]), f"{optimizer!r} ignores the weight decay."


def check_factor_is_between_zero_and_one(schedule: Schedule) -> None:
    factors = _factors(schedule)
    fine = bool(((factors >= 0) & (factors <= 1)).all())
    assert fine, f"the factors of {schedule!r} must lie between 0 and 1; they are {factors}."


def check_warm_up_rises(schedule: Schedule) -> None:
    warm = type(schedule)(**(schedule.get_params(deep=False) | {"warm_up": 0.5}))
    factors = _factors(warm)[:60]
    steady = bool((factors.diff() > 0).all()) and float(factors.diff().std()) < 1e-9 and float(factors[0]) < 0.1
    assert steady, (
        f"the factor of {warm!r} must rise from about zero along a line over the first half; it is {factors}."
    )


def check_schedule_arguments_turn(schedule: Schedule) -> None:
    check_turning([schedule, *type(schedule).examples()], lambda part: [_factors(part)])


def check_training_arguments_turn(training: Training) -> None:
    def result(part: Training) -> list[Tensor]:
        module = build()
        history = train_shortly(module, samples(), part)
        return [torch.tensor(history["loss"]), *module.state_dict().values()]

    check_turning([EVENTFUL, CALM], result)


def _way(optimizer: Optimizer, n_steps: int, weight_decay: float = 0.0) -> list[Tensor]:
    """Where a parameter stands after each step down a narrow valley."""
    position = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    steps = optimizer.build([position], 0.02, weight_decay)
    way = [position.detach().clone()]
    for _ in range(n_steps):
        steps.zero_grad()
        (position.square() * torch.tensor([1.0, 5.0])).sum().backward()
        steps.step()
        way.append(position.detach().clone())
    return way


def _factors(schedule: Schedule) -> Tensor:
    """Over 120 steps in 60 epochs, whose loss falls for six epochs and then stays."""
    losses = [1.0 / (1 + min(epoch, 6)) for epoch in range(60)]
    positions = [Position(step, 120, step // 2, losses[: step // 2]) for step in range(120)]
    return torch.tensor([schedule.factor(position) for position in positions], dtype=torch.float64)
