"""The number columns of a table in NumPy: what they are called, and how they are scaled and scaled back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.light.activations import Floats
from isthmus.light.wording import infinite_value, written_number, wrong_width

#: Scaled values are cut off beyond this, as they would overflow once they are squared and summed.
LIMIT = 1e150
#: Rows that are looked at together.
PIECE = 4096
USED = ("numeric", "boolean")


class Columns:
    """What a table's `fit` learned, if all its columns are numbers and yes/no answers.

    Parameters
    ----------
    document : of the data's state: `from_array` and `named`.
    arrays : of the data's state: `column_*` and `scaler_*`.

    Raises
    ------
    KeyError, TypeError, ValueError : where these are not of such a table.
    """

    def __init__(self, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]):
        self.from_array, self.named = bool(document["from_array"]), bool(document["named"])
        self.all_names = words(arrays["column_name"])
        kinds = words(arrays["column_kind"])
        self.places = [place for place, kind in enumerate(kinds) if kind != "left out"]
        self.names = [self.all_names[place] for place in self.places]
        self.kinds = [kinds[place] for place in self.places]
        self.spreads = arrays["column_standard_deviation"][self.places].tolist()
        self.n_features = len(kinds)
        self.taken = None if len(self.places) == len(kinds) else np.array(self.places)
        center, scale, late_center, late_scale = (
            np.asarray(arrays[f"scaler_{name}"], dtype=np.float64)
            for name in ("center", "scale", "late_center", "late_scale")
        )
        self.center, self.scale, self.late_center, self.late_scale = center, scale, late_center, late_scale
        compressed = np.asarray(arrays["scaler_compressed"], dtype=np.int64)
        self.compressed = compressed if len(compressed) else None
        d = len(self.places)
        late = {len(compressed), len(late_center), len(late_scale)}
        if not set(self.kinds) <= set(USED) or not d or not center.shape == scale.shape == (d,) or len(late) > 1:
            raise ValueError("not all columns are numbers with a scaling each")
        finite = all(bool(np.isfinite(part).all()) for part in (center, scale, late_center, late_scale))
        if (
            not finite
            or (scale <= 0).any()
            or (late_scale <= 0).any()
            or (compressed < 0).any()
            or (compressed >= d).any()
        ):
            raise ValueError("the scaling is not by finite numbers above 0")

    def scaled(self, values: Floats) -> Floats:
        """A row (n_features,) or rows as the network takes them, in an array of their own; NaN where absent."""
        x = (values if self.taken is None else values[..., self.taken]) - self.center
        x /= self.scale
        if self.compressed is not None:
            late = np.arcsinh(x[..., self.compressed])
            late -= self.late_center
            late /= self.late_scale
            x[..., self.compressed] = late
        return x

    def careful(self, values: Floats) -> tuple[Floats, npt.NDArray[np.bool_] | None]:
        """Rows scaled, 0 where absent, and where that is; of rows that may hold anything but infinite values."""
        x = self.scaled(values)
        np.minimum(x, LIMIT, out=x)
        np.maximum(x, -LIMIT, out=x)
        gone = np.isnan(x)
        if not gone.any():
            return x, None
        x[gone] = 0.0
        return x, gone

    def check(self, values: Floats, owner: str) -> None:
        """Whether these can be rows of the table; DataError, in which `owner` speaks, where they cannot."""
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise wrong_width(values.shape[-1] if values.ndim else 1, owner, self.n_features)
        for start in range(0, len(values), PIECE):
            if np.isinf(values[start : start + PIECE]).any():
                column = int(np.flatnonzero(np.isinf(values).any(axis=0))[0])
                rows = np.flatnonzero(np.isinf(values[:, column]))
                raise infinite_value(self.all_names[column], int(rows[0]), len(rows))

    def restored(self, x: Floats) -> Floats:
        """The values in the columns' own units that became x."""
        values = np.array(x, dtype=np.float64)
        if self.compressed is not None:
            late = values[..., self.compressed] * self.late_scale + self.late_center
            values[..., self.compressed] = np.sinh(np.clip(late, -700.0, 700.0))
        return values * self.scale + self.center

    def written(self, place: int, value: float) -> str:
        """A cell as a person would write it."""
        if self.kinds[place] == "boolean":
            return "yes" if value > 0.5 else "no"
        return written_number(value, self.spreads[place])


def words(array: np.ndarray[Any, Any]) -> list[str]:
    """A list of words as `storage` keeps them: JSON in a row of bytes. Raises ValueError for anything else."""
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError("it is not a row of bytes")
    texts = json.loads(array.tobytes().decode("utf-8", "surrogatepass"))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("it holds something else than words")
    return texts
