"""Every knob must turn: changing any numeric argument of a part must change its result.

An argument counts as numeric when it holds a number (or a sequence of them), or when its annotation allows one.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from isthmus.part import Part

Result = Callable[[Any], Sequence[Tensor]]


def check_turning(examples: Sequence[Any], result: Result, inside: bool = True) -> None:
    """Raise AssertionError for a numeric argument that no example's result listens to.

    Parameters
    ----------
    examples : parts of one class; an argument may matter in only one of them.
    result : what a part makes of something fixed, as tensors; it must repeat exactly.
    inside : whether arguments of the parts inside count too.
    """
    open_arguments = {name: value for part in examples for name, value in numeric_arguments(part, inside)}
    for part in examples:
        before = result(part)
        for name, value in list(numeric_arguments(part, inside)):
            if name in open_arguments and any(_differ(before, after) for after in _results(part, name, value, result)):
                del open_arguments[name]
    what = ", ".join(f"{name}={value!r}" for name, value in open_arguments.items())
    assert not open_arguments, f"{type(examples[0]).__name__} ignores {what}: other values give the same result."


def numeric_arguments(part: Any, inside: bool = True) -> Iterator[tuple[str, Any]]:
    """The numeric arguments of a part and, with `inside`, of the parts in it, as `outer__inner`, with their values.

    >>> from isthmus.damage import Swap
    >>> from isthmus.variants import Denoising
    >>> dict(numeric_arguments(Denoising(Swap())))
    {'damage__share': 0.15}
    """
    if type(part).__init__ is object.__init__:
        return
    for name, parameter in list(inspect.signature(type(part).__init__).parameters.items())[1:]:
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from ((f"{name}__{inner}", setting) for inner, setting in numeric_arguments(value) if inside)
        elif _is_number(value) or _is_numbers(value):
            yield name, value
        elif (value is None or isinstance(value, str)) and re.search(r"\b(int|float)\b", str(parameter.annotation)):
            yield name, value


def other_values(value: Any) -> list[Any]:
    """Values near this one, to be tried instead of it.

    >>> other_values(2), other_values(0.5), other_values((3, 4))
    ([3, 4, 1], [1.0, 0.25, 1.5], [(4, 4)])
    """
    if _is_numbers(value):
        return [type(value)([first, *value[1:]]) for first in other_values(value[0])[:1]]
    if not _is_number(value):
        return [1, 2, 0.5]
    if isinstance(value, Integral):
        return [value + 1, 2 * int(value), value - 1]
    return [2 * value, value / 2, value + 1]


def _results(part: Any, name: str, value: Any, result: Result) -> Iterator[Sequence[Tensor]]:
    for other in other_values(value):
        try:
            turned = copy.deepcopy(part)
            turned.set_params(**{name: other})
            yield result(turned)
        except (ValueError, TypeError, AssertionError):  # not every other value is allowed
            continue


def _differ(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    if len(first) != len(second):
        return True
    return not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 0 and all(map(_is_number, value))
