"""What tasks that put codes to use share: a code of one length for every sample, and how it is read."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.errors import DataError
from isthmus.module import resolve_network
from isthmus.networks import Dense
from isthmus.reading import read_codes

Codes = npt.NDArray[np.float64]

log = logging.getLogger("isthmus")
SIDE = 64  # pixels: what is on a picture can be told from so many
SMALL = 3072  # values of a picture: up to so many plain layers learn as much as convolutions, in less time
WIDTHS = (512, 256)  # of these layers
LONGEST = 32  # numbers of a code of theirs: more only keep how a stroke lies, which keeps like ones apart


def suited(model: Autoencoder, X: Any, owner: str, random_state: Any) -> Autoencoder:
    """The autoencoder of a task with this name, made ready for X and with its seed; it is changed.

    Raises SettingError for a U-Net, whose code is no short description of a sample.
    """
    if model.network != "auto" and fitting.own_module(model.network) is None:
        fitting.refuse_skips(resolve_network(model.network))  # type: ignore[arg-type]
    size = _with_one_size(model, X, owner)
    if model.network == "auto" and 0 < size <= SMALL:
        model.network = Dense(WIDTHS)
        if model.n_components == "auto" and size > 8 * LONGEST:
            model.n_components = LONGEST
    if random_state is not None:
        model.set_params(random_state=random_state)
    return model


def _with_one_size(model: Autoencoder, X: Any, owner: str) -> int:
    """Pictures that are large, or of several sizes, are brought to one small size; how many values they then have.

    0 for other data. The size is written into the autoencoder's settings, unless it has one, or cuts patches.
    """
    data = fitting.data_type(model.data_type, X, owner)
    if not isinstance(data, Images) or data.size is not None or data.patch is not None:
        return 0
    seen = copy.deepcopy(data).fit(X).spec  # of files only their heads are read twice
    size = _reduced(seen.shape[1], seen.shape[2], bool(seen.free))
    if seen.free or size != seen.shape[1:]:
        log.info("pictures are brought to %d x %d pixels; data_type='images(size=...)' takes another size", *size)
        data.size = size
        model.data_type = data
    return size[0] * size[1] * seen.shape[0]


def _reduced(height: int, width: int, several: bool) -> tuple[int, int]:
    """At most `SIDE` pixels on a side; pictures of one size keep their shape.

    >>> _reduced(28, 28, False), _reduced(300, 600, False), _reduced(300, 600, True)
    ((28, 28), (32, 64), (64, 64))
    """
    if several:
        return min(SIDE, height), min(SIDE, width)
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def codes_of(model: Autoencoder, X: Any) -> Codes:
    """The code of each sample, (n_samples, n): a grid of codes is laid flat.

    Raises DataError where codes have no common length.
    """
    if model.data_.spec.free and len(model.code_density_.shape) > 1:
        units = f"{model.data_.unit}s"
        raise DataError(
            f"these {units} have several sizes, so that their codes have several lengths and cannot be compared; fit "
            "with one size, such as data_type='images(size=64)'."
        )
    return np.asarray(model.read(X, read_codes), dtype=np.float64)


def on_sphere(vectors: Codes) -> Codes:
    """Each row with length one; what is nothing stays so."""
    found: Codes = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found
