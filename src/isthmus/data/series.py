from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.data import _series_state as stored
from isthmus.data._frames import default_names
from isthmus.data._matrix import add_statistics, judge_matrix, refuse_infinite
from isthmus.data._numbers import SCALINGS, choose_scaler, statistics
from isthmus.data._samples import LIMITS, as_tensor
from isthmus.data._series_samples import SeriesSamples, gather, looks_like_series
from isthmus.data.base import Data, Rows
from isthmus.errors import DataError, SettingError
from isthmus.light.wording import written_number
from isthmus.spec import SampleSpec
from isthmus.training.batch import Batch


class Series(Data):
    """Series of numbers: steps in order, each with one or several channels, of one length or of many.

        DATA → corrupt → encoder → bottleneck → decoder → likelihood → DATA

    Takes arrays (n_samples, steps, channels) or (n_samples, steps), and lists of arrays (steps, channels) or (steps,)
    whose lengths may differ; NaN stands for an absent value. Every channel is scaled by itself. What comes back has
    the form that came in: of a list every series in its own length. A list of 2-D float arrays of different lengths
    and one number of columns is recognised as series; for other forms write `data_type="series"`.

    Parameters
    ----------
    scaling : what numbers are turned into, channel by channel, as in tables: "auto" (the default), "standard",
        "robust", "minmax", "center" or "none".

    Raises
    ------
    SettingError : for an unknown scaling.
    DataError : in `fit` and `open`, for what is no series, infinite values, empty series, or another number of
        channels than the training's.

    >>> import numpy as np
    >>> short, long = np.array([[1.0], [3.0]]), np.array([[1.0], [np.nan], [3.0]])
    >>> series = Series().fit([short, long])
    >>> x, weight, _ = series.batch(series.open([short]), np.array([0]))
    >>> x.squeeze().tolist(), weight.squeeze().tolist()
    ([-1.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    """

    unit = "sequence"
    owner: str = "Series"

    def __init__(self, scaling: str = "auto"):
        self.scaling = scaling

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(scaling="minmax")]

    @classmethod
    def accepts(cls, X: Any) -> bool:
        return looks_like_series(X)

    # ---- learning ----------------------------------------------------------------------------------------------

    def fit(self, X: Any) -> Self:
        if self.scaling not in SCALINGS:
            raise SettingError(f"scaling is {self.scaling!r}; it must be one of {', '.join(SCALINGS)}.")
        samples = gather(X)
        steps = samples.all_steps()
        schema = judge_matrix(steps)
        refuse_infinite(steps, [facts.name for facts in schema])
        if empty := [facts.name for facts in schema if facts.kind == "left out"]:
            raise DataError(f"channel {empty[0]!r} of the series has no value at all; leave it out.")
        found = statistics(steps)
        scaler = choose_scaler(steps, found, self.scaling)
        compressed = set(scaler.compressed.tolist())
        schema = [add_statistics(facts, found, place, place in compressed) for place, facts in enumerate(schema)]
        gaps = any(facts.n_missing for facts in schema)
        self._learned(
            stored.Learned(schema, scaler, samples.container, samples.flat, samples.n_steps, samples.uneven, gaps)
        )
        return self

    def _learned(self, state: stored.Learned) -> None:
        """Write down what was learned, by `fit` or in a file."""
        self._state, self.schema, self.container = state, state.schema, state.container
        self.feature_names = default_names(len(state.schema))
        shape = (state.n_steps, len(state.schema))
        self.spec = SampleSpec(shape, channels=1, free=(0,) if state.uneven else (), gaps=state.gaps)

    # ---- tensors out of series ---------------------------------------------------------------------------------

    def open(self, X: Any) -> SeriesSamples:
        samples, spec = gather(X), self.spec
        if samples.n_channels != spec.n_channels:
            raise DataError(
                f"the series have {samples.n_channels} channels, but {self.owner} is expecting {spec.n_channels}."
            )
        if not spec.free and (samples.uneven or samples.n_steps != spec.shape[0]):
            raise DataError(
                f"the series have up to {samples.n_steps} steps, and all of training's had {spec.shape[0]}; cut them "
                "to that length, or train on series of different lengths."
            )
        refuse_infinite(samples.all_steps(), self.feature_names)
        samples.n_steps = max(samples.n_steps, spec.shape[0])
        return samples

    def batch(self, samples: SeriesSamples, rows: Rows, dtype: torch.dtype = torch.float32) -> Batch:
        """The series with their absent values and their padding at 0, of weight 0."""
        values = as_tensor(samples.padded(rows))
        working = torch.float64 if dtype == torch.float64 or values.dtype == torch.float64 else torch.float32
        x = self._state.scaler.forward(values.flatten(0, 1), working).view(values.shape)
        absent = torch.isnan(x)
        x = x.masked_fill_(absent, 0.0).clamp_(-LIMITS[torch.float32], LIMITS[torch.float32]).to(dtype)
        return Batch(x, (~absent).to(dtype) if bool(absent.any()) else None)

    # ---- series out of tensors ---------------------------------------------------------------------------------

    def from_tensor(self, x: Tensor, container: str | None = None) -> Any:
        """Whole series, as long as the tensor is; `give_back` cuts each to its own length."""
        values = self._unscaled(x)
        return list(values) if (container or self.container) == "list" else values

    def give_back(self, x: Tensor | Iterator[Tensor], samples: SeriesSamples) -> Any:
        values = self._unscaled(x if isinstance(x, Tensor) else torch.stack(list(x)), samples.flat)
        if samples.container == "numpy":
            return values[:, : samples.lengths[0]]
        return [one[:length] for one, length in zip(values, samples.lengths.tolist(), strict=True)]

    def _unscaled(self, x: Tensor, flat: bool | None = None) -> Any:
        """Values in the data's own unit, (n, steps, channels), or (n, steps) of flat series."""
        if x.ndim != 3 or x.shape[2] != self.spec.n_channels:
            raise DataError(f"the tensor has shape {tuple(x.shape)}; it must be (n, steps, {self.spec.n_channels}).")
        values = self._state.scaler.inverse(x.detach().cpu().flatten(0, 1)).view(x.shape).numpy()
        values = values[:, :, 0] if (self._state.flat if flat is None else flat) else values
        return values if x.dtype == torch.float64 else values.astype(np.float32)

    def describe(self, column: int, x_row: Tensor) -> str:
        """The mean of one channel over the steps, in the data's own unit."""
        values = self._unscaled(x_row.double()[None], flat=False)[0, :, column]
        return f"{written_number(float(values.mean()), self.schema[column].standard_deviation)} on average"

    # ---- files and names ---------------------------------------------------------------------------------------

    @staticmethod
    def read(path: Any) -> NoReturn:
        raise DataError(f"series cannot be read from {str(path)!r}; give an array (n, steps, channels) or a list.")

    @staticmethod
    def write(X: Any, path: Any) -> NoReturn:
        raise DataError(f"series cannot be written to {str(path)!r}; keep them with numpy.save.")

    def network(self) -> str:
        return "recurrent"

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return stored.to_state(self._state)

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        self._learned(stored.from_state(document, tensors))
        return self
