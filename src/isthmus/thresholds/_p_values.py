"""How likely a usual row is to score as much, and which rows of a batch are odd by that. NumPy alone.

Axes: n rows kept out of training, m new rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isthmus.errors import DataError, SettingError
from isthmus.thresholds.base import Scores, Verdicts


def p_values_of(scores: Scores, calibration: Scores) -> npt.NDArray[np.float64]:
    """Of each new row (m,): the share of the rows kept out, and of itself, that score at least as much.

    >>> p_values_of(np.array([0.5, 3.5, 9.0]), np.arange(9.0)).tolist()
    [0.9, 0.6, 0.1]
    """
    n = len(calibration)
    as_large = n - np.searchsorted(np.sort(calibration), scores, side="left")
    return np.asarray((1.0 + as_large) / (n + 1.0), dtype=np.float64)


def kept_out_scores(calibration: Scores | None) -> Scores:
    """The scores of rows kept out of training. Raises DataError where there are none."""
    if calibration is None:
        raise DataError(
            "p-values and false-discovery rates need rows kept out of training, and this model was trained on all: "
            "fit with threshold='conformal', or give usual rows that it has not seen: set_threshold('conformal', X)."
        )
    return calibration


def discoveries(p_values: npt.NDArray[np.float64], fdr: float, n_calibration: int) -> Verdicts:
    """Which rows of a batch are odd, (m,), so that of those called odd at most a share `fdr` is usual, on average.

    Benjamini and Hochberg 1995: the k smallest, for the largest k whose k-th is at most fdr * k / m. It holds for
    p-values of one set of rows kept out (Bates et al. 2023).

    Raises
    ------
    SettingError : for an fdr outside (0, 1).
    DataError : where so few rows are kept out that no p-value can be small enough.

    >>> discoveries(np.array([0.01, 0.8, 0.04, 0.02]), 0.1, 99).tolist()
    [True, False, True, True]
    """
    if isinstance(fdr, bool) or not isinstance(fdr, (int, float)) or not 0 < fdr < 1:
        raise SettingError(f"fdr is {fdr!r}; it must be a share between 0 and 1.")
    if 1 / (n_calibration + 1) > fdr:
        raise DataError(
            f"a false-discovery rate of {fdr:g} needs at least {int(np.ceil(1 / fdr)) - 1} rows kept out of training, "
            f"and there are {n_calibration}; give more rows, or a larger fdr."
        )
    m = len(p_values)
    ordered = np.sort(p_values)
    small = np.flatnonzero(ordered <= fdr * np.arange(1, m + 1) / max(m, 1))
    return p_values <= (ordered[small[-1]] if len(small) else -1.0)
