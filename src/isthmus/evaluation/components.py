from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.utils.validation import check_is_fitted

from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data
from isthmus.errors import DataError, SettingError
from isthmus.spec import SampleSpec
from isthmus.tasks.base import Task

Floats = npt.NDArray[np.float64]
MOST = 20_000  # rows that components are found in; of more, evenly spread ones


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of the scaled data that an autoencoder sees, and the way back from them.

    Parameters
    ----------
    scores : of the samples they were found in, (n_samples, k).
    axes : directions of length one, (k, size).
    mean : of the scaled data, (size,).
    shares : of the variance, (k,).
    names : of the elements of a sample; a category has one for each of its levels.
    data : the fitted data type, which knows the way back from scaled numbers.
    """

    scores: Floats
    axes: Floats
    mean: Floats
    shares: Floats
    names: list[str]
    data: Data

    def rebuild(self, n_components: int | None = None, scores: Floats | None = None) -> Any:
        """The samples again, from some of their components: scores x axes + mean, in the form of the data.

        Parameters
        ----------
        n_components : from so many, the first ones; None takes all that were found.
        scores : of other samples, (n, k), as `transform` gives them; None takes those of the samples found in.
        """
        most = len(self.axes)
        k = most if n_components is None else n_components
        if not 1 <= k <= most:
            raise SettingError(f"n_components is {n_components}; it must be from 1 to {most}, as many as were found.")
        given = self.scores if scores is None else scores
        return self.data.from_tensor(
            torch.from_numpy(given[:, :k] @ self.axes[:k] + self.mean).reshape(-1, *self.data.spec.shape)
        )

    def transform(self, X: Any) -> Floats:
        """The scores of samples, (n_samples, k)."""
        scores: Floats = (_scaled(self.data, X, None) - self.mean) @ self.axes.T
        return scores

    def table(self) -> pl.DataFrame:
        """What each axis is made of: a row for each element of a sample, a column for each component."""
        columns = {f"component {place + 1}": axis for place, axis in enumerate(self.axes)}
        return pl.DataFrame({"element": self.names} | columns)


def principal_components(model: Autoencoder | Task, X: Any, n_components: int | None = None) -> PrincipalComponents:
    """PCA of the same scaled data as a model sees them: its simplest rival, in the data's own terms.

    A missing value counts as its column's mean.

    Parameters
    ----------
    model : a fitted Autoencoder, or a task around one: its data type scales, names, and leads back.
    X : the data.
    n_components : how many; None takes as many as a code of the model has numbers.

    Raises
    ------
    SettingError : for more components than samples or numbers in a sample.
    DataError : for pictures or series of several sizes.

    >>> import numpy as np
    >>> from isthmus import Autoencoder
    >>> X = np.random.default_rng(0).normal(size=(60, 2)) @ np.ones((2, 3))
    >>> model = Autoencoder(n_components=1, random_state=0).fit(X)
    >>> found = principal_components(model, X)
    >>> bool(np.allclose(found.rebuild(), X)), found.table()["element"].to_list()
    (True, ['x0', 'x1', 'x2'])
    """
    check_is_fitted(model)
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    data = autoencoder.data_
    if data.spec.free:
        raise DataError("samples of several sizes have no common components; fit with one size.")
    scaled = _scaled(data, X, MOST)
    most = min(scaled.shape)
    k = min(autoencoder.code_density_.size, most) if n_components is None else n_components
    if not 1 <= k <= most:
        raise SettingError(f"n_components is {n_components}; it must be from 1 to {most} for these data.")
    mean = scaled.mean(0)
    axes, shares = _axes(scaled - mean, k)
    return PrincipalComponents((scaled - mean) @ axes.T, axes, mean, shares, _names(data.spec, data), data)


def _axes(centred: Floats, k: int) -> tuple[Floats, Floats]:
    from sklearn.decomposition import PCA

    fitted = PCA(k, random_state=0).fit(centred)
    return np.asarray(fitted.components_, np.float64), np.asarray(fitted.explained_variance_ratio_, np.float64)


def _scaled(data: Data, X: Any, most: int | None) -> Floats:
    """Samples as the network sees them, flat, (n_samples, size)."""
    samples = data.open(X)
    n = len(samples)
    rows = np.unique(np.linspace(0, n - 1, n if most is None else min(n, most)).astype(np.int64))
    return data.batch(samples, rows, torch.float64).x.flatten(1).numpy()


def _names(spec: SampleSpec, data: Data) -> list[str]:
    """One name for each element; of a category with its level."""
    names = []
    if not spec.columns:
        places = spec.size // spec.n_channels
        plain = data.feature_names if len(data.feature_names) == spec.n_channels else range(spec.n_channels)
        return [f"{name} {place}" if places > 1 else str(name) for name in plain for place in range(places)]
    levels = {facts.name: list(facts.levels) for facts in data.schema}
    for column in spec.columns:
        known = [*levels.get(column.name, []), *["other"] * column.size][: column.size]
        names += [column.name] if column.size == 1 else [f"{column.name}={level}" for level in known]
    return names
