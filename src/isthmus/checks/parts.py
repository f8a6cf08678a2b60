"""What every part must survive, whatever its kind."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Likelihood
from isthmus.networks.base import Network
from isthmus.part import Part, find, from_json, known, to_json
from isthmus.variants.base import Variant

FIVE_BOXES = "corrupt → encoder → bottleneck → decoder → likelihood"


def checks(part: Part) -> Iterator[Callable[[Any], None]]:
    yield check_constructor_only_stores
    yield check_no_mutable_defaults
    yield check_get_and_set_params
    yield check_equality
    yield check_repr_tells_the_settings
    yield check_json_round_trip
    yield check_examples
    yield check_docstring
    yield check_limits_hold
    if isinstance(part, (Variant, Network, Likelihood)):
        yield check_five_boxes
    if type(part).__module__.startswith("isthmus."):
        yield check_name_finds_it


def check_constructor_only_stores(part: Part) -> None:
    """Arguments are kept as the objects that they are, and nothing else is."""
    cls = type(part)
    if isinstance(part, float):  # a number cannot be made of anything else, and stays the number that it is
        return
    given = {name: object() for name in _arguments(part)}
    try:
        made = cls(**given)
    except Exception as error:
        raise AssertionError(
            f"the constructor of {cls.__name__} does more than store: {error!r}; do the work where it is used."
        ) from error
    changed = [name for name, value in given.items() if getattr(made, name, None) is not value]
    assert not changed, f"{cls.__name__} must keep its arguments as they are given; it changes {', '.join(changed)}."
    more = sorted(vars(made).keys() - given.keys())
    assert not more, f"the constructor of {cls.__name__} also sets {', '.join(more)}; a part holds only its arguments."


def check_limits_hold(part: Part) -> None:
    """A value just outside a declared limit is refused in one sentence that names the setting."""
    part.check()
    for name, limit in part.limits.items():
        ends = (limit.low, limit.high) if limit.between else ()
        for wrong in (limit.low - 1, limit.high + 1, *ends, "many", True):
            if wrong in (-math.inf, math.inf):
                continue
            twin = copy.deepcopy(part).set_params(**{name: wrong})
            try:
                twin.check()
            except SettingError as error:
                assert name in str(error), f"{type(part).__name__} refuses {name}={wrong!r} without naming it."
            else:
                raise AssertionError(f"{type(part).__name__} takes {name}={wrong!r}, which its limits do not allow.")


def check_no_mutable_defaults(part: Part) -> None:
    """Two parts must not share what one of them can change."""
    shared = [name for name, default in part._defaults().items() if isinstance(default, (list, dict, set))]
    assert not shared, f"{type(part).__name__} has a default that can be changed in place: {', '.join(shared)}."


def check_get_and_set_params(part: Part) -> None:
    settings = part.get_params(deep=False)
    assert list(settings) == _arguments(part), f"get_params gives {list(settings)}, not the constructor's arguments."
    other = type(part)(**settings)
    assert other.set_params(**settings) is other, "set_params must return the part itself."
    after = other.get_params(deep=False)
    assert all(after[name] is settings[name] for name in settings), (
        "get_params after set_params must give what was set."
    )
    try:
        other.set_params(surely_not_a_setting=1)
    except SettingError:
        return
    raise AssertionError(f"set_params of {type(part).__name__} must refuse a name that it does not have.")


def check_equality(part: Part) -> None:
    same = type(part)(**part.get_params(deep=False))
    assert part == same, f"two {type(part).__name__} with the same settings must be equal."
    assert part != object(), "a part equals nothing but a part."
    for name in _arguments(part):
        if isinstance(part, float) and name == "to":  # what a number is cannot be set
            continue
        other = type(part)(**part.get_params(deep=False)).set_params(**{name: object()})
        assert part != other, f"two {type(part).__name__} that differ in {name} must not be equal."


def check_repr_tells_the_settings(part: Part) -> None:
    """Reading the text as Python gives an equal part, as far as its settings can be written in a line."""
    if not all(map(_has_text, part.get_params(deep=False).values())):
        return
    classes = {type(value).__name__: type(value) for value in [part, *part.get_params().values()]}
    read = _read(ast.parse(repr(part), mode="eval").body, classes)
    assert read == part, f"repr gives {part!r}, which reads as another part: {read!r}."


def check_json_round_trip(part: Part) -> None:
    document = json.loads(json.dumps(to_json(part)))
    inside = [value for value in part.get_params().values() if not isinstance(value, (str, int, float, type(None)))]
    again = from_json(document, parts=[type(part), *inside, *map(type, inside)])
    assert type(again) is type(part), f"{part!r} comes back from JSON as {again!r}."
    assert to_json(again) == document, f"{part!r} comes back from JSON with other settings: {again!r}."


def check_examples(part: Part) -> None:
    """A few small instances for these checks; equal every time, and not shared."""
    cls = type(part)
    first, second = cls.examples(), cls.examples()
    assert first, f"{cls.__name__}.examples() must give at least one instance."
    assert all(type(example) is cls for example in first), (
        f"{cls.__name__}.examples() must give instances of the class."
    )
    shared = any(mine is theirs for mine in first for theirs in second)
    assert not shared, f"{cls.__name__}.examples() must make new instances every time."


def check_docstring(part: Part) -> None:
    """The ways in take the text of every option from here."""
    text = inspect.cleandoc(type(part).__doc__ or "")
    inherited = type(part).__doc__ is type(part).__mro__[1].__doc__
    assert text and not inherited, f"{type(part).__name__} needs a docstring that says what it is for."
    silent = [name for name in _arguments(part) if not re.search(rf"\b{name}\b", text)]
    assert not silent, f"the docstring of {type(part).__name__} does not say what {', '.join(silent)} means."


def check_five_boxes(part: Part) -> None:
    """A diagram with the changed box in capitals says more than a paragraph."""
    lines = [line.strip() for line in (type(part).__doc__ or "").splitlines()]
    drawn = [line for line in lines if line.lower().startswith(FIVE_BOXES)]
    assert drawn, f"the docstring of {type(part).__name__} needs the line '{FIVE_BOXES}'."
    capitals = re.search(r"\b[A-Z]{5,}\b", drawn[0])
    assert capitals, f"the line '{drawn[0]}' of {type(part).__name__} must show the box that it changes in capitals."


def check_name_finds_it(part: Part) -> None:
    """For our own parts: the file has the lookup name, and every paper's name leads to it alone."""
    cls = type(part)
    assert cls.name() in known(cls.kind), f"{cls.__name__} has no line in the stub of {cls.kind}."
    for name in (cls.name(), *cls.aliases):
        assert find(cls.kind, name) is cls, f"{name!r} leads to {find(cls.kind, name).__name__}, not to {cls.__name__}."
    if cls.kind != "training":  # there several small classes share a file
        file = cls.__module__.rpartition(".")[2]
        assert file == cls.name(), f"{cls.__name__} stands in {file}.py; its file must be {cls.name()}.py."


def _arguments(part: Part) -> list[str]:
    return list(part._defaults())


def _has_text(value: Any) -> bool:
    """Whether a value can be read back from its repr: literals, and parts of them."""
    if isinstance(value, Part):
        return all(map(_has_text, value.get_params(deep=False).values()))
    if isinstance(value, (tuple, list)):
        return all(map(_has_text, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _read(node: ast.expr, classes: dict[str, type]) -> Any:
    """What an expression of literals and known parts stands for; nothing is run."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        settings = {str(word.arg): _read(word.value, classes) for word in node.keywords}
        return classes[node.func.id](**settings)
    if isinstance(node, (ast.Tuple, ast.List)):
        items = [_read(item, classes) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    return copy.copy(ast.literal_eval(node))
