"""Labels as people give them: one word or number for each sample."""

from __future__ import annotations

from typing import Any

from isthmus.errors import DataError

Label = str | int | float | bool


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
