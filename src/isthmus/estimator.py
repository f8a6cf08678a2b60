"""Estimator: what the autoencoder and all tasks share: names, scikit-learn's tags, and the way to a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import __version__, storage
from isthmus.data.base import Data
from isthmus.part import public
from isthmus.saving import Packed, settings_to_json


class Estimator(BaseEstimator):
    """A scikit-learn estimator of ours, which can be written to one file; `isthmus.load` reads it back."""

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file: weights, settings, schema; no pickle, safe to load.

        Raises
        ------
        NotFittedError : before `fit`.
        StorageError : when the file cannot be written; an old file stays whole.
        """
        check_is_fitted(self)
        fitted, tensors = self._pack()
        document = {
            "isthmus": __version__,
            "class": type(self).__name__,
            "settings": settings_to_json(self),
            "fitted": fitted,
        }
        storage.save(Path(path), document, tensors)

    def report(self, path: str | Path, X: Any = None, colour: Any = None, *, title: str = "") -> Path:
        """Write a report to one HTML file, which opens offline; needs the report extra. See `isthmus.report.report`.

        Parameters
        ----------
        path : the file to write.
        X : data to show the model on, the training data or new ones; None leaves out what needs data.
        colour : what colours the map of the code: a column's name, or one value for each sample, such as y.
        title : the page's heading; empty for the model's name.
        """
        written: Path = public("report", "report")(self, path, X, colour, title=title)
        return written

    def _learned_data(self) -> Data | None:
        """The data type with its schema; None before `fit`."""
        raise NotImplementedError

    def _pack(self) -> Packed:
        """What was learned."""
        raise NotImplementedError

    def _unpack(self, fitted: dict[str, Any], tensors: dict[str, Tensor], parts: Iterable[object]) -> None:
        """The inverse of `_pack`, on an estimator with the same settings."""
        raise NotImplementedError

    @property
    def n_features_in_(self) -> int:
        """How many columns the training data had."""
        if (data := self._learned_data()) is None:
            raise AttributeError(f"{type(self).__name__} is not fitted, so it has no n_features_in_.")
        return data.n_features_in

    @property
    def feature_names_in_(self) -> npt.NDArray[np.object_]:
        """The names of the training columns, where they had names."""
        data = self._learned_data()
        if data is None or not data.named:
            raise AttributeError(f"{type(self).__name__} was not fitted on named columns.")
        return np.asarray(data.feature_names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return self._learned_data() is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
