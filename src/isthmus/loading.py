"""Loading: a model file becomes a fitted estimator. Names are looked up in our stubs and in `parts`, nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import isthmus
from isthmus import storage
from isthmus.errors import IsthmusError, ModelFileError
from isthmus.estimator import Estimator
from isthmus.saving import settings_from_json


class _Document(BaseModel):
    """What a model file says besides its weights."""

    model_config = ConfigDict(extra="forbid", strict=True)

    isthmus: str
    class_: str
    settings: dict[str, Any]
    fitted: dict[str, Any]


def load(path: str | Path, parts: Sequence[object] = ()) -> Any:
    """Read a fitted estimator from a file that `save` wrote. Safe with files from strangers: nothing in it is run.

    Parameters
    ----------
    path : the file.
    parts : classes (or objects) of your own that the model was built with: variants, networks, encoder modules ...

    Raises
    ------
    ModelFileError : when the file is damaged, unsafe, newer than this version, or needs parts that were not given.

    >>> import numpy as np, tempfile, os
    >>> from isthmus import Autoencoder, load
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> model = Autoencoder(n_components=1, random_state=0).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> model.save(path)
    >>> bool((load(path).transform(X) == model.transform(X)).all())
    True
    """
    stored = storage.load(path)
    document = read_document(stored.document, str(path))
    try:
        settings = settings_from_json(document.settings, lambda name: _find(name, parts), parts)
        estimator = _find(document.class_, parts)(**settings)
        estimator._unpack(document.fitted, stored.tensors, parts)
    except ModelFileError:
        raise
    except IsthmusError as error:
        raise ModelFileError(f"{str(path)!r} holds settings that are not allowed: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise ModelFileError(f"{str(path)!r} does not hold what a model file must hold ({error!r}).") from error
    return estimator


def read_document(document: dict[str, Any], name: str) -> _Document:
    """Check a model file's document."""
    try:
        return _Document(**{"class_" if key == "class" else key: value for key, value in document.items()})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]).rstrip("_")
        raise ModelFileError(f"{name!r} is not a model of Isthmus: {where}: {first['msg'].lower()}.") from error


def _find(name: str, parts: Sequence[object]) -> type[Any]:
    """An estimator's class by its name."""
    for part in parts:
        if isinstance(part, type) and issubclass(part, Estimator) and part.__name__ == name:
            return part
    found = getattr(isthmus, name) if name in dir(isthmus) else None
    if isinstance(found, type) and issubclass(found, Estimator):
        return found
    from isthmus.tasks._heads import LINEAR  # scikit-learn's, which are settings like others

    if name in LINEAR:
        return LINEAR[name]
    raise ModelFileError(
        f"this file holds a {name!r}, which this version does not know; upgrade, or give parts=[{name}]."
    )
