"""Labels as people give them: one word or number for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError, SettingError

Label = str | int | float | bool
ODD_WORDS = ("odd", "yes", "true", "anomaly", "outlier")
USUAL_WORDS = ("usual", "no", "false", "normal", "inlier")


def labels_of(y: Any, n_samples: int) -> list[Label]:
    """Labels as plain Python values, from lists, arrays and columns of frames.

    Raises
    ------
    DataError : where there is not one for each sample, or some are absent.

    >>> labels_of(("cat", "dog"), 2)
    ['cat', 'dog']
    """
    listed = y.to_list() if hasattr(y, "to_list") else y.tolist() if hasattr(y, "tolist") else list(y)
    if len(listed) != n_samples:
        raise DataError(f"there are {n_samples} samples and {len(listed)} labels; give one label for each sample.")
    for label in listed:
        if not isinstance(label, Label) or label != label:
            shown = "absent" if label is None or label != label else f"of type {type(label).__name__}"
            raise DataError(f"a label is {shown}; each must be one word or number.")
    return listed


def places_of(y: Any, n_samples: int, known: list[Label]) -> list[int]:
    """The places among the known labels of the wanted ones: one for all samples, or one for each.

    Raises
    ------
    SettingError : where there are no labels, for one that is not known, and for too many or too few.

    >>> places_of("dog", 2, ["cat", "dog"])
    [1, 1]
    """
    if not known:
        raise SettingError(f"y is {y!r}, and this model was fitted without labels; leave y out, or fit with them.")
    given = [y.item() if getattr(y, "ndim", None) == 0 else y] if np.ndim(y) == 0 else list(y)
    wanted = given * n_samples if len(given) == 1 else given
    if len(wanted) != n_samples:
        raise SettingError(f"y has {len(wanted)} labels for {n_samples} samples; give one, or one for each.")
    for label in wanted:
        if label not in known:
            shown = ", ".join(map(repr, known[:20]))
            raise SettingError(f"y is {label!r}, a class that was not in the labels; there are: {shown}.")
    return [known.index(label) for label in wanted]


def odd_labels(y: Any, n_samples: int) -> Any:
    """Which samples are odd, as booleans (n_samples,): True, 1, "odd", "yes"; or -1 where usual ones are 1.

    Raises
    ------
    DataError : for labels that mean neither, or of another number.

    >>> odd_labels([0, 1, 0], 3).tolist(), odd_labels([-1, 1, 1], 3).tolist(), odd_labels(["usual", "odd"], 2).tolist()
    ([False, True, False], [True, False, False], [False, True])
    """
    listed = [one.strip().lower() if isinstance(one, str) else one for one in labels_of(y, n_samples)]
    found = {float(one) if isinstance(one, (int, float)) else one for one in listed}
    if -1.0 in found and found <= {-1.0, 1.0}:
        return np.array([one == -1 for one in listed], dtype=bool)
    if found <= {0.0, 1.0, *ODD_WORDS, *USUAL_WORDS}:
        return np.array([one in ODD_WORDS if isinstance(one, str) else bool(one) for one in listed], dtype=bool)
    strange = next(one for one in sorted(found, key=str) if one not in (0.0, 1.0, *ODD_WORDS, *USUAL_WORDS))
    raise DataError(
        f"a label is {strange!r}; write 1, True or 'odd' for odd samples and 0, False or 'usual' for usual ones, or -1 "
        "and 1 as scikit-learn does."
    )
