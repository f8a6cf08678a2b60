"""Heads: what reads a code and says a class or a number. Linear ones are weights; others stay objects of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.svm import LinearSVC

from isthmus.errors import SettingError

Floats = npt.NDArray[np.floating[Any]]

#: Estimators that are a matrix and a vector once they are fitted, by name: these go into a model file.
LINEAR: dict[str, type[BaseEstimator]] = {
    cls.__name__: cls
    for cls in (LogisticRegression, LinearSVC, RidgeClassifier, Ridge, LinearRegression, Lasso, ElasticNet)
}
CLASSIFIERS = {"logistic": LogisticRegression(max_iter=2000), "svm": LinearSVC(C=0.1)}
REGRESSORS = {"ridge": Ridge()}


@dataclass(frozen=True)
class Weights:
    """A linear head: features @ weights.T + bias, one output for each class, or one for a number."""

    weights: Floats  # (n_outputs, n_features)
    bias: Floats  # (n_outputs,)


def resolve_head(head: Any, named: dict[str, BaseEstimator], seed: int) -> Any:
    """An unfitted head of its own: the one of this name, or a copy of the object."""
    if isinstance(head, str):
        if head not in named:
            raise SettingError(
                f"head is {head!r}; it must be one of {', '.join(named)}, or an estimator of scikit-learn's."
            )
        head = named[head]
    if not (isinstance(head, BaseEstimator) and hasattr(head, "fit")):
        raise SettingError(
            f"head is {head!r}; it must be one of {', '.join(named)}, or an estimator of scikit-learn's."
        )
    found: Any = clone(head)
    if "random_state" in found.get_params(deep=False) and found.random_state is None:
        found.set_params(random_state=seed)
    return found


def weights_of(fitted: Any, n_outputs: int) -> Weights | None:
    """The weights of a fitted head; None where it is no linear one.

    Two classes have one row of weights in scikit-learn, and two here, which give the same.
    """
    if type(fitted).__name__ not in LINEAR or type(fitted) is not LINEAR[type(fitted).__name__]:
        return None
    rows = np.atleast_2d(np.asarray(fitted.coef_, dtype=np.float64))
    bias = np.broadcast_to(np.ravel(fitted.intercept_), (len(rows),)).astype(np.float64)
    if n_outputs == 2 and len(rows) == 1:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return Weights(rows, bias)


def fit_head(head: Any, features: Floats, values: Any, sure: Floats | None = None) -> Any:
    """Fit a head; `sure` weighs the samples, and where it takes no weights, only those count that are fairly sure."""
    if sure is None:
        return head.fit(features, values)
    try:
        return head.fit(features, values, sample_weight=sure)
    except TypeError:
        return head.fit(features[sure > 0.5], values[sure > 0.5])
