"""Part: settings in, nothing else.

Damage, likelihoods, networks, variants, priors, thresholds, optimizers and schedules are parts. A part holds only its
constructor's arguments; it can be listed, changed, printed, compared and written to JSON, and it is found by the name
of its file. What is trainable is built elsewhere and never lives in the part a user passed in.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar, cast

from isthmus.errors import ModelFileError, SettingError

P = TypeVar("P", bound="Part")


def snake_case(name: str) -> str:
    """The lookup name of a class, which is also the name of its file.

    >>> snake_case("ImportanceWeighted"), snake_case("L1Sparse"), snake_case("KLSparse")
    ('importance_weighted', 'l1_sparse', 'kl_sparse')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Limit:
    """Which values a setting may have: numbers from `low` to `high`, without these two where `between`, whole ones only
    where `whole`; None as well where `optional`.

    >>> Limit(0, 1).allows(0.5), Limit(1, whole=True).allows(2.5)
    (True, False)
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    optional: bool = False
    between: bool = False

    def allows(self, value: object) -> bool:
        if value is None:
            return self.optional
        is_number = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool)
        if not is_number or (self.between and value in (self.low, self.high)):
            return False
        return self.low <= cast(float, value) <= self.high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        ends = f"from {self.low:g} to {self.high:g}" if self.high < math.inf else f"of at least {self.low:g}"
        ends = f"between {self.low:g} and {self.high:g}" if self.between else ends
        return f"{kind} {ends}{' or None' if self.optional else ''}"


class Part:
    """Something with settings and a name; see the module's docstring.

    `kind` is the folder it lives in, `aliases` the names papers use for it, `limits` what its settings may be.
    """

    kind: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[Mapping[str, Limit]] = {}

    @classmethod
    def name(cls) -> str:
        return snake_case(cls.__name__)

    @classmethod
    def examples(cls) -> list[Self]:
        """A few small instances, for the contract tests."""
        return [cls()]

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        if cls.__init__ is object.__init__:
            return {}
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; with `deep`, also those of parts inside, as `outer__inner`."""
        params: dict[str, Any] = {}
        for name in self._defaults():
            value = getattr(self, name)
            params[name] = value
            if deep and isinstance(value, Part):
                params |= {f"{name}__{inner}": setting for inner, setting in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Change settings by name; `outer__inner` reaches into a part inside."""
        for name, value in params.items():
            first, _, rest = name.partition("__")
            if first not in self._defaults():
                raise SettingError(f"{self.name()} has no setting {first!r}; it has: {_listed(self._defaults())}.")
            if not rest:
                setattr(self, first, value)
                continue
            inner = getattr(self, first)
            if not isinstance(inner, Part):
                raise SettingError(f"{first} of {self.name()} is {inner!r}, which has no settings of its own.")
            inner.set_params(**{rest: value})
        return self

    def check(self) -> None:
        """One sentence for the first setting that is not allowed; asked before a part is used."""
        for name, limit in self.limits.items():
            if not limit.allows(value := getattr(self, name)):
                raise SettingError(f"{name} of {self.name()} is {_shortened(value)}; it must be {limit}.")

    def __repr__(self) -> str:
        settings = self.get_params(deep=False)
        defaults = self._defaults()
        shown = [f"{name}={value!r}" for name, value in settings.items() if not _same(value, defaults[name])]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.get_params(deep=False), other.get_params(deep=False)
        return all(_same(mine[name], theirs[name]) for name in mine)

    __hash__ = object.__hash__


def known(kind: str) -> dict[str, str]:
    """The parts of one folder as its stub lists them: lookup name to class name, without importing any of them.

    >>> known("damage")["swap"]
    'Swap'
    """
    package = importlib.import_module(f"isthmus.{kind}")
    return {snake_case(name): name for name in package.__all__ if name[0].isupper()}


def find(kind: str, name: str, base: type[Part] = Part) -> type[Part]:
    """The class with this name or alias; a wrong name is answered with the nearest right ones of class `base`."""
    package = importlib.import_module(f"isthmus.{kind}")
    names = known(kind)
    if name in names and _is_part(cls := getattr(package, names[name]), Part):
        return cast(type[Part], cls)
    classes = _classes(kind, base)
    aliases = {alias: own for own, cls in classes.items() for alias in cls.aliases}
    if name in aliases:
        return classes[aliases[name]]
    close = difflib.get_close_matches(name, [*classes, *aliases], n=1, cutoff=0.4)
    hint = f"; did you mean {aliases.get(close[0], close[0])!r}?" if close else "."
    given = f"{_singular(kind, base)} {_shortened(name)}"
    raise SettingError(f"{given} is unknown{hint} Known: {', '.join(sorted(classes))}.")


def public(folder: str, name: str) -> Any:
    """A public name of one of our folders, loaded when asked for: `model.report` stands below what does its work."""
    return getattr(importlib.import_module(f"isthmus.{folder}"), name)


def resolve(kind: str, value: object, base: type[P]) -> P:
    """A name, a name with settings (`"top_k(k=4)"`), a class or an object becomes an object of class `base`.

    >>> from isthmus.damage.base import Damage
    >>> resolve("damage", "masking(share=0.5)", Damage)
    Masking(share=0.5)
    """
    made = _parse(kind, value, base) if isinstance(value, str) else value
    if isinstance(made, type) and issubclass(made, base):
        made = _make(made, {})
    if not isinstance(made, base):
        raise SettingError(
            f"a {_singular(kind, base)} is a name or an object of class {base.__name__}, not {_shortened(value)}. "
            f"Known names: {', '.join(sorted(_classes(kind, base)))}."
        )
    made.check()
    return made


def _is_part(cls: object, base: type[Part]) -> bool:
    return isinstance(cls, type) and issubclass(cls, base)


def _classes(kind: str, base: type[Part]) -> dict[str, type[Part]]:
    """The parts of one folder that are of class `base`: a folder may hold several kinds of class."""
    package = importlib.import_module(f"isthmus.{kind}")
    classes = {name: getattr(package, class_name) for name, class_name in known(kind).items()}
    return {name: cls for name, cls in classes.items() if _is_part(cls, base)}


def _parse(kind: str, text: str, base: type[Part]) -> Part:
    """`name` or `name(setting=literal, ...)`."""
    match = re.fullmatch(r"\s*([\w\-]+)\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if match is None:
        raise SettingError(
            f"cannot read {_shortened(text)} as a {_singular(kind, base)}; write a name, or name(setting=value)."
        )
    cls = find(kind, match[1].replace("-", "_"), base)
    settings: dict[str, Any] = {}
    if match[2]:
        try:
            call = ast.parse(f"f({match[2]})", mode="eval").body
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
                raise ValueError("more than settings with their names")
            settings = {cast(str, word.arg): ast.literal_eval(word.value) for word in call.keywords}
            if len(settings) < len(call.keywords):
                raise ValueError("one setting twice")
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise SettingError(f"cannot read the settings in {_shortened(text)}; write name(setting=value).") from error
    return _make(cls, settings)


def _make(cls: type[P], settings: Mapping[str, Any]) -> P:
    """An object with these settings; an unknown one, or one that is missing, is named."""
    allowed = cls._defaults()
    for name in settings:
        if name not in allowed:
            raise SettingError(f"{cls.name()} has no setting {_shortened(name)}; it has: {_listed(allowed)}.")
    needed = [name for name, default in allowed.items() if default is inspect.Parameter.empty]
    if any(name not in settings for name in needed):
        words = ", ".join(needed)
        raise SettingError(f"{cls.name()} needs {words}; give an object: {cls.__name__}({words}).")
    return cls(**settings)


def to_json(value: Any) -> Any:
    """Plain JSON for settings: numbers, words, lists and parts."""
    if isinstance(value, Part):
        settings = {name: to_json(setting) for name, setting in value.get_params(deep=False).items()}
        return {"part": [value.kind, _stored_name(value)], "settings": settings}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"mapping": {key: to_json(item) for key, item in value.items()}}
    if hasattr(value, "item") and getattr(value, "size", None) == 1:  # a NumPy number
        return value.item()
    return {"outside": type(value).__name__ if not inspect.isfunction(value) else value.__name__}


def from_json(document: Any, parts: Iterable[object] = ()) -> Any:
    """The inverse of `to_json`. Names are looked up in our folders and in `parts`, and nowhere else.

    Raises
    ------
    ModelFileError : for a name that is in neither, an unknown setting, or JSON that `to_json` does not write.
    """
    if isinstance(document, list):
        return tuple(from_json(item, parts) for item in document)
    if not isinstance(document, dict):
        return document
    try:
        if "mapping" in document:
            return {key: from_json(item, parts) for key, item in document["mapping"].items()}
        if "outside" in document:
            return _outside(document["outside"], parts)
        (kind, name), stored = document["part"], document["settings"]
        if not name.startswith("+") and kind not in FOLDERS:
            raise SettingError(f"{_shortened(kind)} is no kind of part.")
        cls = _outside(name[1:], parts) if name.startswith("+") else find(kind, name)
        if not _is_part(cls, Part):
            return cls  # an object was given for the name: it stands for itself, settings and all
        return _make(cls, {key: from_json(item, parts) for key, item in stored.items()})
    except ModelFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = str(error).rstrip(".") if isinstance(error, SettingError) else "its description is incomplete"
        raise ModelFileError(f"the file names a part that cannot be built: {said}.") from error


FOLDERS = "damage likelihoods networks variants priors thresholds training data densities scores".split()


def _stored_name(part: Part) -> str:
    return part.name() if type(part).__module__.startswith("isthmus.") else f"+{type(part).__name__}"


def _outside(name: object, parts: Iterable[object]) -> Any:
    for part in parts:
        if name in (getattr(part, "__name__", None), type(part).__name__):
            return part
    if not isinstance(name, str) or not name.isidentifier():
        raise ModelFileError(f"the file names {_shortened(name)} as a part, which cannot be a name.")
    raise ModelFileError(
        f"this model uses {_shortened(name)}, which is not part of Isthmus; load it with parts=[{name[:60]}]."
    )


def _same(first: Any, second: Any) -> bool:
    try:
        return bool(type(first) is type(second) and first == second)
    except (ValueError, RuntimeError):  # arrays and tensors have no single truth
        return first is second


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _shortened(value: object) -> str:
    """What was given, for a sentence: on one line, and not endless."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _singular(kind: str, base: type[Part]) -> str:
    """What one thing of this kind is called: the class it must have says so best."""
    if base.__name__ in ("Part", "Data"):
        return {"training": "training setting", "data": "data type"}.get(kind, kind.removesuffix("s"))
    return snake_case(base.__name__).replace("_", " ")
