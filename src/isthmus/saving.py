"""An estimator's settings and what it learned, on their way into a model file and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import Tensor

from isthmus.errors import ModelFileError
from isthmus.part import from_json, to_json
from isthmus.training import Training

Packed = tuple[dict[str, Any], dict[str, Tensor]]


def settings_to_json(estimator: BaseEstimator) -> dict[str, Any]:
    """The constructor's arguments; what only matters while training (callbacks, checkpoint) is left out."""
    return {name: _setting(value) for name, value in estimator.get_params(deep=False).items()}


def _setting(value: Any) -> Any:
    if isinstance(value, BaseEstimator):
        return {"estimator": type(value).__name__, "settings": settings_to_json(value)}
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, Training):
        value = Training(**(value.get_params(deep=False) | {"callbacks": (), "checkpoint": None}))
    return to_json(value)


def settings_from_json(
    document: dict[str, Any], find_class: Callable[[str], type[BaseEstimator]], parts: Iterable[object]
) -> dict[str, Any]:
    """The inverse of `settings_to_json`."""
    return {name: _from_setting(value, find_class, parts) for name, value in document.items()}


def _from_setting(value: Any, find_class: Callable[[str], type[BaseEstimator]], parts: Iterable[object]) -> Any:
    if isinstance(value, dict) and "estimator" in value:
        cls = find_class(value["estimator"])
        return cls(**settings_from_json(value["settings"], find_class, parts))
    return from_json(value, parts)


def take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def put(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The same tensors, each name after `prefix.`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def check_shapes(expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Refuse weights that do not belong to the network that the settings describe."""
    if {name: value.shape for name, value in expected.items()} != {name: value.shape for name, value in given.items()}:
        names = [name for name in expected.keys() | given.keys() if not _alike(expected.get(name), given.get(name))]
        raise ModelFileError(f"the weights in this file do not fit its own settings (first: {sorted(names)[0]!r}).")


def _alike(first: Tensor | None, second: Tensor | None) -> bool:
    return first is not None and second is not None and first.shape == second.shape
