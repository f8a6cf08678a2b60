"""What says how odd a row is, in NumPy: the scores of a detector as its file holds them, each in nats of its tail.

Each equals the part of the same name in `isthmus.scores` but for rounding. Rows are (n, d).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.light.activations import Floats
from isthmus.light.model import Gone, LightModel, Read

Arrays = Mapping[str, np.ndarray[Any, Any]]
#: Distances that are worked on together, at most.
CHUNK_NUMBERS = 2**21
#: As in `scores._nearest`.
WILD, SMALLEST, CLOSEST = 1e15, 1e-3, 0.1


class Whitening:
    """Residuals in units of usual ones."""

    def __init__(self, arrays: Arrays):
        self.mean, self.factor = _floats(arrays["mean"], 1), _floats(arrays["factor"])
        if self.factor.shape not in (self.mean.shape, 2 * self.mean.shape):
            raise ValueError("the units of residuals have another shape than their mean")

    def __call__(self, residual: Floats) -> Floats:
        residual = residual - self.mean
        return residual * self.factor if self.factor.ndim == 1 else residual @ self.factor


class Nearest:
    """The log of the mean distance to the nearest references, less a part of the log of how far apart these are."""

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]):
        self.references, self.spread = _floats(arrays["references"], 2), _floats(arrays["spread"], 1)
        self.neighbours, self.local = int(settings["neighbours"]), float(settings["local"])
        m = len(self.references)
        if len(self.spread) != m or m < 2 or self.neighbours < 1:
            raise ValueError("there are no neighbours")
        self.middle = self.references.mean(axis=0)
        near = np.clip(self.references - self.middle, -WILD, WILD)
        self.near, self.squares = np.ascontiguousarray(near.T), 0.5 * np.square(near).sum(axis=1)
        self.typical = max(float(np.sort(self.spread)[(m - 1) // 2]), float(np.finfo(np.float64).tiny))

    def __call__(self, features: Floats) -> Floats:
        size = max(1, CHUNK_NUMBERS // len(self.squares))
        return np.concatenate([self._part(features[at : at + size]) for at in range(0, max(1, len(features)), size)])

    def _part(self, features: Floats) -> Floats:
        closeness = np.clip(features - self.middle, -WILD, WILD) @ self.near - self.squares
        found = _largest(closeness, min(self.neighbours + 1, len(self.references)))
        distances = np.sqrt(np.square(features[:, None] - self.references[found]).sum(axis=2))
        itself = distances[:, :1] <= 1e-5 * np.sqrt(np.maximum(np.square(features).sum(axis=1, keepdims=True), 1.0))
        distances = np.where(itself, distances[:, 1:], distances[:, :-1])
        around = self.spread[np.where(itself, found[:, 1:], found[:, :-1])].mean(axis=1) + CLOSEST * self.typical
        nats: Floats = np.log(distances.mean(axis=1) + SMALLEST * self.typical) - self.local * np.log(around)
        return nats


class Tail:
    """How rare it is among usual rows to score as high, in nats."""

    def __init__(self, arrays: Arrays):
        self.knots, self.nats = _floats(arrays["tail.knots"], 1), _floats(arrays["tail.nats"], 1)
        self.slope = float(_floats(arrays["tail.slope"], 0))
        if len(self.knots) != len(self.nats) or len(self.knots) < 2:
            raise ValueError("a tail has two points at least")

    def __call__(self, scores: Floats) -> Floats:
        place = np.clip(np.searchsorted(self.knots, scores), 1, len(self.knots) - 1)
        low, high = self.knots[place - 1], self.knots[place]
        share = np.clip((scores - low) / np.maximum(high - low, np.finfo(np.float64).tiny), 0.0, 1.0)
        inside = self.nats[place - 1] + share * (self.nats[place] - self.nats[place - 1])
        nats: Floats = inside + np.maximum(scores - self.knots[-1], 0.0) * self.slope
        return nats


class LightPanel:
    """The scores of several plain dense models, averaged.

    Parameters
    ----------
    models : the autoencoders.
    document : of the panel: which scores there are, with their settings.
    arrays : what they learned.

    Raises
    ------
    One of `UNFIT` where these are not known here.
    """

    def __init__(self, models: Sequence[LightModel], document: Mapping[str, Any], arrays: Arrays):
        self.models = models
        self.measures = [
            [
                _measure(model, score, _under(arrays, f"{place}.score{index}"))
                for index, score in enumerate(document["scores"])
            ]
            for place, model in enumerate(models)
        ]
        if not document["scores"]:
            raise ValueError("there is no score")

    def __call__(self, values: Floats) -> Floats:
        """How odd rows (n, n_features) in the data's own units are, (n,), in nats. Raises DataError."""
        pairs = zip(self.models, self.measures, strict=True)
        nats: Floats = np.mean([model.read(values, _mean(measures)) for model, measures in pairs], axis=0)
        return nats

    def explained(self, values: Floats) -> tuple[Floats, Floats]:
        """Of one row (n_features,): each cell's share, and what is expected there, scaled: by all models together."""
        given, kinds = [model.prepared(values) for model in self.models], self.models[0].columns.kinds
        points = [model.expected(*one) for model, one in zip(self.models, given, strict=True)]
        mean = np.mean(points, axis=0)
        expected = np.where([kind == "boolean" for kind in kinds], mean > 0.5, mean)
        each = zip(self.models, given, self.measures, strict=True)
        found = [model.shares(*one, expected, _mean(measures)) for model, one, measures in each]
        return np.asarray(np.mean(found, axis=0)), expected

    def scorer(self, values: Any) -> Any:
        """Minus the same, of a row or rows."""
        values = np.asarray(values, dtype=np.float64)
        return -self(values) if values.ndim != 1 else -self(values[None])[0]


def _mean(measures: Sequence[Read]) -> Read:
    return lambda x, gone: np.mean([measure(x, gone) for measure in measures], axis=0)


def _measure(model: LightModel, document: Mapping[str, Any], arrays: Arrays) -> Read:
    """One score of prepared rows, in nats of its tail."""
    (kind, name), settings = document["part"], document["settings"]
    if kind != "scores":
        raise ValueError(f"{kind} are no scores")
    tail = Tail(arrays)
    if name == "distortion":
        return lambda x, gone: tail(model.distortion(x, gone))
    if name == "code_distance":
        near = Nearest(arrays, settings)
        return lambda x, gone: tail(near(model.code(x, gone)))
    whitening = Whitening(arrays)
    if name == "whitened_residual":
        return lambda x, gone: tail(np.sqrt(np.square(whitening(_apart(model, x, gone)[1])).sum(axis=1)))
    if name != "neighbour_distance":
        raise ValueError(f"the score {name!r} is unknown")
    nearest, share = Nearest(arrays, settings), float(settings["residual"])

    def distance(x: Floats, gone: Gone) -> Floats:
        back, missed = _apart(model, x, gone)
        return tail(nearest(np.concatenate([back, share * whitening(missed)], axis=1)))

    return distance


def _apart(model: LightModel, x: Floats, gone: Gone) -> tuple[Floats, Floats]:
    """What comes back for prepared rows, and what is missed."""
    back = model.laws.mean(model.network.raw(x, gone))
    return back, x - back if gone is None else np.where(gone, 0.0, x - back)


def _floats(array: Any, ndim: int | None = None) -> npt.NDArray[np.float64]:
    if array.dtype.kind != "f" or ndim not in (None, array.ndim) or not np.isfinite(array).all():
        raise ValueError(f"an array of the shape {array.shape} is not what a score learns")
    return np.asarray(array, dtype=np.float64)


def _largest(values: Floats, wanted: int) -> npt.NDArray[np.int64]:
    """The places of the largest numbers of each row, the largest first."""
    last = values.shape[1] - wanted
    chosen = np.argpartition(values, last, axis=1)[:, last:]
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    places: npt.NDArray[np.int64] = np.take_along_axis(chosen, order, axis=1)
    return places


def _under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    return {name[len(prefix) + 1 :]: value for name, value in arrays.items() if name.startswith(f"{prefix}.")}
