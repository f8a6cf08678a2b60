"""Words of a command line, a variable or a configuration file become settings, or one sentence that says why not.

What can be told from the signature is told here, before torch is loaded; ranges are the parts' own business.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.errors import SettingError
from isthmus.interfaces.signatures import Parameter, Source, aliases, literal, lookup_name, parameters
from isthmus.part import snake_case

NOTHING = ("none", "null")
TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NUMBERS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def read(parameter: Parameter, value: Any, shown: str = "") -> Any:
    """The setting that a text stands for; `shown` is what an error calls the parameter.

    >>> share = Parameter("share", "0.1", frozenset({"float", "None"}))
    >>> read(share, "0.25"), read(share, "none")
    (0.25, None)
    """
    shown = shown or parameter.name
    text = value if isinstance(value, str) else repr(tuple(value) if isinstance(value, list) else value)
    if text.lower() in NOTHING and "None" in parameter.scalars:
        return None
    if "bool" in parameter.scalars and text.lower() in TRUTHS:
        return TRUTHS[text.lower()]
    plain = literal(text)
    if _is_number(plain, parameter) or (parameter.lists and isinstance(plain, (tuple, list))):
        return plain
    if parameter.parts:
        return _part(parameter, text, shown)
    closed = bool(parameter.scalars & {"int", "float"}) and bool(parameter.words)
    if text in parameter.words or ("str" in parameter.scalars and not closed):
        return text
    raise SettingError(f"{shown} is {text!r}; it must be {allowed(parameter)}.")


def choose(shown: str, text: str, words: Sequence[str], more: Mapping[str, str] | None = None) -> str:
    """The text, if it is one of these words, or of other words for them; else a sentence with the nearest one.

    >>> choose("--for", "detect", ["detect"])
    'detect'
    """
    if text in words or text in (more or {}):
        return text
    raise SettingError(f"{shown} is {text!r}{nearest(text, words, more)} Known: {', '.join(words)}.")


def nearest(text: str, words: Sequence[str], more: Mapping[str, str] | None = None) -> str:
    """The middle of a sentence about a wrong word.

    >>> nearest("sprase", ["l1_sparse", "top_k"])
    "; did you mean 'l1_sparse'?"
    """
    others = more or {}
    close = difflib.get_close_matches(text, [*words, *others], n=1, cutoff=0.61)
    return f"; did you mean {others.get(close[0], close[0])!r}?" if close else ", which is unknown."


def names(parameter: Parameter) -> list[str]:
    """The names that a parameter takes: words, and parts that can be built from words alone."""
    return [
        *parameter.words,
        *(lookup_name(part) for part in buildable(parameter) if lookup_name(part) not in parameter.words),
    ]


def forms(parameter: Parameter) -> list[str]:
    """The same names, each part with the names of its settings.

    >>> found = parameters(Source("isthmus.autoencoder", "Autoencoder"))
    >>> forms(next(one for one in found if one.name == "data_type"))  # doctest: +ELLIPSIS
    ['auto', 'images(mode, size, patch, damaged, max_pixels)', 'series(scaling)', 'tables(scaling, ...streaming)']
    """
    settings = {lookup_name(part): [one.name for one in parameters(part)] for part in buildable(parameter)}
    return [f"{name}({', '.join(settings[name])})" if settings.get(name) else name for name in names(parameter)]


def buildable(parameter: Parameter) -> list[Source]:
    """The parts that need no object of Python's, such as a module."""
    return [part for part in parameter.parts if all(p.default or p.scalars for p in parameters(part))]


def allowed(parameter: Parameter) -> str:
    """What a parameter may be, in words."""
    kinds = [text for kind, text in NUMBERS.items() if kind in parameter.scalars]
    words = [repr(word) for word in names(parameter)]
    nothing = ["none"] if "None" in parameter.scalars else []
    every = [*kinds, *words, *nothing] or ["text"]
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} or {every[-1]}"


def _is_number(value: Any, parameter: Parameter) -> bool:
    if isinstance(value, bool):
        return "bool" in parameter.scalars
    if isinstance(value, int):
        return bool({"int", "float"} & parameter.scalars)
    return isinstance(value, float) and "float" in parameter.scalars and math.isfinite(value)


def _part(parameter: Parameter, text: str, shown: str) -> str:
    """`name` or `name(setting=value, ...)`, checked against the part's own signature."""
    match = re.fullmatch(r"\s*([\w\-]+)\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if match is None:
        raise SettingError(
            f"{shown} is {text!r}; write a name, or name(setting=value). Known: {', '.join(names(parameter))}."
        )
    name = match[1].replace("-", "_")
    found = {word: part for part in buildable(parameter) for word in (snake_case(part.name), *aliases(part))}
    own = {word: lookup_name(part) for word, part in found.items()}
    choose(shown, name, names(parameter), own)
    if match[2] and name in found:
        _check_settings(found[name], name, match[2], shown)
    return text.strip()


def _check_settings(part: Source, name: str, text: str, shown: str) -> None:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        settings = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, AssertionError, MemoryError, RecursionError):
        raise SettingError(
            f"{shown}: cannot read the settings in {name}({text}); write {name}(setting=value)."
        ) from None
    takes = {parameter.name: parameter for parameter in parameters(part)}
    for setting, value in settings.items():
        if setting not in takes:
            hint = nearest(setting, list(takes)) if takes else ", which is unknown."
            raise SettingError(
                f"{shown}: {name} has no setting {setting!r}{hint} It has: {', '.join(takes) or 'none'}."
            )
        where = f"{shown}: {setting} of {name}"
        if isinstance(value, str) and "str" not in takes[setting].scalars and value not in takes[setting].words:
            raise SettingError(f"{where} is {value!r}; it must be {allowed(takes[setting])}.")
        read(takes[setting], value, where)
