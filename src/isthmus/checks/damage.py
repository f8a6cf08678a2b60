"""What every damage must survive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import generator, seeded
from isthmus.checks.turning import check_turning, numeric_arguments
from isthmus.damage.base import Damage, Level
from isthmus.errors import DataError, SettingError
from isthmus.spec import Column, SampleSpec

SPECS = (
    SampleSpec((4,), columns=(Column("height"), Column("colour", "categorical", 3))),
    SampleSpec((12, 2), channels=1),
    SampleSpec((2, 8, 8)),
    SampleSpec((3, 8, 8)),
)


def checks(damage: Damage) -> Iterator[Callable[[Any], None]]:
    yield check_neutral_changes_nothing
    yield check_shape_and_input_stay
    yield check_randomness_is_the_generators
    yield check_columns_fall_together
    yield check_strength_is_monotone
    yield check_numeric_arguments_turn


def check_neutral_changes_nothing(damage: Damage) -> None:
    x, spec = _samples(damage)
    same = damage.neutral()(x, spec, generator())
    assert torch.equal(same, x), f"{damage.neutral()!r} is neutral and must give back its input exactly."
    assert not torch.equal(damage(x, spec, generator()), x), (
        f"{damage!r} changes nothing; an example must do something."
    )


def check_shape_and_input_stay(damage: Damage) -> None:
    for dtype in (torch.float64, torch.float32):
        x, spec = _samples(damage)
        x = x.to(dtype)
        before = x.clone()
        spoiled = damage(x, spec, generator())
        assert torch.equal(x, before), f"{damage!r} changed its input in place."
        assert spoiled.shape == x.shape, f"{damage!r} turned shape {tuple(x.shape)} into {tuple(spoiled.shape)}."
        assert spoiled.dtype == dtype, f"{damage!r} turned {dtype} into {spoiled.dtype}."


def check_randomness_is_the_generators(damage: Damage) -> None:
    x, spec = _samples(damage)
    results = []
    for torch_seed, seed in ((0, 0), (1, 0), (0, 1)):
        with seeded(torch_seed):
            results.append(damage(x, spec, generator(seed)))
    assert torch.equal(results[0], results[1]), f"{damage!r} must draw from the generator it is given, and only there."
    assert not torch.equal(results[0], results[2]), f"{damage!r} must not give the same for every generator."


def check_columns_fall_together(damage: Damage) -> None:
    """One column's cell is spoiled as a whole: half a category is nothing."""
    x, spec = _samples(damage)
    if not spec.columns:
        return
    spoiled = damage(x, spec, generator())
    changed = spoiled != x
    # an element may happen to be set to the value that it had, the smallest or the largest of all
    extreme = (x == x.amin(0)) | (x == x.amax(0))
    for index, column in enumerate(spec.columns):
        cells = changed[:, spec.column_of == index][~extreme[:, spec.column_of == index].any(1)]
        torn = int((cells.any(1) & ~cells.all(1)).sum())
        assert torn == 0, (
            f"{damage!r} spoiled a part of {column.name!r}, which takes {column.size} elements, in {torn} rows."
        )


def check_strength_is_monotone(damage: Damage) -> None:
    """Half way to neutral spoils less, but something."""
    x, spec = _samples(damage)
    neutral = damage.neutral()
    strengths = [name for name, value in numeric_arguments(damage) if getattr(neutral, name, value) != value]
    assert strengths, f"{damage!r} has no numeric argument that its neutral form sets to another value."
    for name in strengths:
        half_way = _half_way(getattr(damage, name), getattr(neutral, name))
        half = type(damage)(**damage.get_params(deep=False)).set_params(**{name: half_way})
        amounts = [float((part(x, spec, generator()) - x).abs().mean()) for part in (neutral, half, damage)]
        assert amounts[0] < amounts[1] < amounts[2], f"more {name} must spoil more; mean changes were {amounts}."


def check_numeric_arguments_turn(damage: Damage) -> None:
    x, spec = _samples(damage)
    check_turning([damage, *type(damage).examples()], lambda part: [part(x, spec, generator())])


def _half_way(full: Level, none: Level) -> Level:
    ends = [level if isinstance(level, (tuple, list)) else (level, level) for level in (full, none)]
    half = tuple((first + second) / 2 for first, second in zip(*ends, strict=True))
    return half if isinstance(full, (tuple, list)) else half[0]


def _samples(damage: Damage) -> tuple[Tensor, SampleSpec]:
    """Numbers that are all different, of the first shape that this damage is for."""
    for spec in SPECS:
        x = torch.randn(200, *spec.shape, generator=generator(7), dtype=torch.float64)
        try:
            damage(x.clone(), spec, generator())
        except (SettingError, DataError):
            continue
        return x, spec
    raise AssertionError(f"{damage!r} refuses tables, series and pictures alike.")
