"""Rows made odd: every value is one of its column's, but none of its row's."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.errors import DataError


def mixed_up(X: Any, random: np.random.Generator) -> Any:
    """A table of the same type in which each column is shuffled by itself. Raises DataError for anything else.

    >>> mixed = mixed_up(np.arange(12).reshape(6, 2), np.random.default_rng(0))
    >>> sorted(mixed[:, 0].tolist()), bool((mixed[:, 1] == mixed[:, 0] + 1).all())
    ([0, 2, 4, 6, 8, 10], False)
    """
    if hasattr(X, "columns") or hasattr(X, "column_names"):
        import narwhals as nw

        frame = nw.from_native(X, eager_only=True)
        columns = {name: frame[name].to_list() for name in frame.columns}
        orders = {name: random.permutation(len(frame)) for name in frame.columns}
        series = [
            nw.new_series(name, [columns[name][place] for place in orders[name]], frame.schema[name],
                          backend=frame.implementation)
            for name in frame.columns
        ]  # fmt: skip
        return frame.with_columns(*series).to_native()
    if not hasattr(X, "shape") or len(X.shape) != 2:
        raise DataError("without y, X must be a table: an array (n, d) or a frame; say in y which samples are odd.")
    return random.permuted(X.toarray() if hasattr(X, "toarray") else np.asarray(X), axis=0)


def stacked(first: Any, second: Any) -> Any:
    """Two tables of the same type, one below the other."""
    if hasattr(first, "columns") or hasattr(first, "column_names"):
        import narwhals as nw

        return nw.concat([nw.from_native(one, eager_only=True) for one in (first, second)]).to_native()
    return np.concatenate([first.toarray() if hasattr(first, "toarray") else np.asarray(first), second])
