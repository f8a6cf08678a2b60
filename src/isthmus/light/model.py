"""A plain dense autoencoder in NumPy: scores, codes and reasons, all in float64.

It is made of what `Autoencoder._pack` gives, in memory or out of a file, and equals the torch path but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.light.activations import Floats
from isthmus.light.columns import Columns
from isthmus.light.laws import Laws
from isthmus.light.network import Network, run
from isthmus.light.wording import reason, wrong_width

CHUNK = 1024
#: Numbers that are worked on together when reasons are looked for, at most.
CHUNK_NUMBERS = 2**18
#: A row whose largest scaled value is smaller holds neither gaps, infinite nor wild values.
ORDINARY = 1e15

#: What counts besides the distortion where a cell's share is asked for, as `isthmus.tasks._shares` has it: how much of
#: minus the logarithm of the code's density, what keeps that density from being too narrow, as a share of the mean
#: variance, and what a random number and a random yes or no are taken to cost, in nats.
CODE_PART, CODE_RIDGE, RANDOM_NUMBER, RANDOM_ANSWER = 0.5, 1e-3, 2.5, math.log(2)
#: What the nats of a model count for beside those of a score.
MODEL_PART = 0.25

#: What the parts here raise for what is no plain dense model; a file may hold anything.
UNFIT = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError)

Gone = npt.NDArray[np.bool_] | None
#: Tells something of prepared rows (n, d).
Read = Callable[[Floats, Gone], Floats]


class LightModel:
    """One plain dense model; a snapshot that later training does not change.

    Parameters
    ----------
    fitted : the JSON of a fitted autoencoder.
    arrays : its tensors.
    owner : who speaks in an error about a wrong width.

    Raises
    ------
    One of `UNFIT` where they are not those of a plain dense model.
    """

    def __init__(self, fitted: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], owner: str):
        outline = fitted["outline"]
        if outline is None or fitted["data"]["part"] != ["data", "tables"]:
            raise ValueError("it is not a plain dense model of a table")
        self.columns = Columns(fitted["schema"], _under(arrays, "data"))
        self.network = Network(outline, _under(arrays, "module"))
        self.laws = Laws(outline["laws"], self.columns.kinds)
        self.beta = outline["bottleneck"].get("beta", 0.0)
        covariance = np.asarray(arrays["codes.covariance"], dtype=np.float64)
        self.code_mean = np.asarray(arrays["codes.mean"], dtype=np.float64)
        self.code_precision = precision_of(covariance)
        self.owner = owner
        if self.network.n_inputs != len(self.columns.names) or self.network.n_outputs != self.laws.n_raw:
            raise ValueError("the network is not one for these columns")

    def ordinary(self, row: Floats) -> Floats | None:
        """One row scaled; None where it holds anything that needs care."""
        if len(row) != self.columns.n_features:
            raise wrong_width(len(row), self.owner, self.columns.n_features)
        x = self.columns.scaled(row)
        return x if np.maximum.reduce(np.abs(x)) < ORDINARY else None

    def read(self, values: Floats, read: Callable[[Floats, Gone], Any]) -> Floats:
        """What `read` gives for rows (n, n_features) in the data's own units, whatever they hold. Raises DataError."""
        self.columns.check(values, self.owner)
        with np.errstate(over="ignore", invalid="ignore"):  # far outside of training costs may be infinite
            starts = range(0, max(1, len(values)), CHUNK)
            return np.concatenate([read(*self.columns.careful(values[start : start + CHUNK])) for start in starts])

    # ---- what is asked of rows

    def distortion(self, x: Floats, gone: Gone = None) -> Any:
        """What prepared rows (n, d), or one (d,), cost in nats."""
        if gone is not None:
            cells = self.laws.cells(self.network.raw(x, gone), x)
            return np.where(gone, 0.0, cells).sum(axis=-1)
        raw = run(self.network.whole, x)
        return self.laws.row(raw, x) if x.ndim == 1 else self.laws.rows(raw, x)

    def rate(self, x: Floats, gone: Gone = None) -> Any:
        """What their codes cost in nats: the divergence from a standard normal law."""
        features, k = self.network.features(x, gone), self.network.n_components
        mean, log_variance = features[..., :k], np.clip(features[..., k:], -20.0, 20.0)
        return self.beta * 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=-1)

    def code(self, x: Floats, gone: Gone = None) -> Floats:
        """Their codes."""
        return self.network.code(x, gone)

    # ---- reasons

    def oddness(self, x: Floats, gone: Gone, score: Read | None = None) -> Floats:
        """The cost of prepared rows (n, d), and half of what their codes cost, in nats; a part of it beside a score."""
        away = self.code(x, gone) - self.code_mean
        rarity = np.einsum("ij,jk,ik->i", away, self.code_precision, away)
        found = np.asarray(self.distortion(x, gone) + CODE_PART * 0.5 * rarity, dtype=np.float64)
        return found if score is None else score(x, gone) + MODEL_PART * found

    def shares(self, x: Floats, gone: Gone, expected: Floats, score: Read | None = None) -> Floats:
        """Of one prepared row: how much less odd it is when one cell at a time takes its expected value."""
        whole = self.oddness(x[None], None if gone is None else gone[None], score)[0]
        drops = np.empty(len(x))
        for columns in self._columns(len(x)):
            rows, absent = _repeated(x, gone, len(columns))
            rows[np.arange(len(columns)), columns] = expected[columns]
            if absent is not None:
                rows[absent] = 0.0
            drops[columns] = whole - self.oddness(rows, absent, score)
        drops -= [RANDOM_ANSWER if kind == "boolean" else RANDOM_NUMBER for kind in self.columns.kinds]
        return drops if gone is None else np.where(gone, 0.0, drops)

    def expected(self, x: Floats, gone: Gone) -> Floats:
        """What each cell of a prepared row should hold by all others, scaled."""
        found = np.empty(len(x))
        for columns in self._columns(len(x)):
            rows, absent = _repeated(x, np.zeros(len(x), dtype=bool) if gone is None else gone, len(columns))
            places = np.arange(len(columns)), columns
            assert absent is not None
            rows[places], absent[places] = 0.0, True
            found[columns] = self.laws.point(self.network.raw(rows, absent))[places]
        return found

    def _columns(self, n: int) -> Iterator[npt.NDArray[np.int64]]:
        """The columns of a row, as many at a time as are worked on together."""
        step = max(1, CHUNK_NUMBERS // n)
        yield from (np.arange(start, min(start + step, n)) for start in range(0, n, step))

    def prepared(self, values: Floats) -> tuple[Floats, Gone]:
        """One row (n_features,) in the data's own units, scaled, and what of it is absent."""
        rows, absent = self.columns.careful(values[None])
        return rows[0], None if absent is None else absent[0]

    def explained(self, values: Floats) -> tuple[Floats, Floats]:
        """Of one row (n_features,): each cell's share, and what is expected there, scaled."""
        x, gone = self.prepared(values)
        expected = self.expected(x, gone)
        return self.shares(x, gone, expected), expected

    def reason(self, values: Floats, n_reasons: int, explained: tuple[Floats, Floats] | None = None) -> str:
        """In words, what makes one row odd; `explained` where others say so, too."""
        shares, scaled = explained or self.explained(values)
        given, expected = self.columns.restored(self.prepared(values)[0]), self.columns.restored(scaled)

        def tell(place: int) -> tuple[str, str]:
            return self.columns.written(place, float(given[place])), self.columns.written(place, float(expected[place]))

        return reason(shares, self.columns.names, tell, n_reasons)


class LightCallable:
    """Takes a row (n_features,) or rows (n, n_features) in the data's own units; looks at nothing but their width.

    Parameters
    ----------
    model : the model.
    read : what to give for prepared rows.
    """

    def __init__(self, model: LightModel, read: Callable[[Floats, Gone], Any]):
        self.model, self.read = model, read

    def __call__(self, values: Any) -> Any:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1:
            return self.model.read(values, self.read)
        x = self.model.ordinary(values)
        return self.model.read(values[None], self.read)[0] if x is None else self.read(x, None)


def scorer(model: LightModel, with_rate: bool) -> LightCallable:
    """Minus the distortion, and the rate where it counts. Raises ValueError where the rate is not known here."""
    if not with_rate or model.beta == 0.0:
        return LightCallable(model, lambda x, gone: -model.distortion(x, gone))
    if model.beta is None:
        raise ValueError("the prior is none that is known here")
    return LightCallable(model, lambda x, gone: -(model.distortion(x, gone) + model.rate(x, gone)))


def encoder(model: LightModel) -> LightCallable:
    """Codes."""
    return LightCallable(model, model.code)


def _under(arrays: Mapping[str, np.ndarray[Any, Any]], prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    return {name[len(prefix) + 1 :]: value for name, value in arrays.items() if name.startswith(f"{prefix}.")}


def precision_of(covariance: Floats) -> Floats:
    """The inverse of what codes vary by, not wider than `CODE_RIDGE` allows; of many components the variances do."""
    covariance = np.diag(covariance) if covariance.ndim == 1 else covariance
    ridge = CODE_RIDGE * covariance.diagonal().mean() * np.eye(len(covariance))
    return np.linalg.pinv(covariance + ridge, hermitian=True)


def _repeated(x: Floats, gone: Gone, n: int) -> tuple[Floats, Gone]:
    """A row and its gaps, n times each."""
    return np.repeat(x[None], n, axis=0), None if gone is None else np.repeat(gone[None], n, axis=0)
