"""Sentences and numbers for readers that are the same with torch and without it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from isthmus.errors import DataError


def wrong_width(width: int, owner: str, wanted: int) -> DataError:
    """X has not as many columns as the training data."""
    return DataError(f"X has {width} features, but {owner} is expecting {wanted} features as input.")


def infinite_value(name: str, first_row: int, count: int) -> DataError:
    """A column holds `count` infinite values, the first of them in `first_row`."""
    held = "an infinite value" if count == 1 else f"{count} infinite values, the first"
    return DataError(
        f"column {name!r} holds {held} in row {first_row} (counting from 0); replace "
        f"{'it' if count == 1 else 'them'} with NaN (missing) or a finite number."
    )


def written_number(value: float, spread: float) -> str:
    """As many decimals as tell a hundredth of the column's spread, and no digits that a float64 does not have.

    >>> written_number(34.0941, 49.7), written_number(0.0773412, 0.014), written_number(2.0, 1.1)
    ('34.1', '0.0773', '2')
    """
    if not 0 < spread < math.inf or abs(value) >= 1e15:
        return f"{value:.6g}"
    decimals = max(0, 2 - math.floor(math.log10(spread)))
    shown = f"{value:.{min(decimals, 12)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def reason(
    shares: npt.NDArray[np.floating], names: list[str], tell: Callable[[int], tuple[str, str]], n_reasons: int
) -> str:
    """In words, the cells that make a row odd.

    Parameters
    ----------
    shares : each cell's share of the row's score, in nats.
    names : what the cells are called.
    tell : what stands in a cell and what was expected there, by its place.
    n_reasons : how many cells to name at most; those with little to say are left out. Where no cell alone makes the row
        odd, that is said.
    """
    largest = [int(i) for i in np.argsort(-shares, kind="stable")[:n_reasons] if shares[i] > 0.05 * shares.max() > 0]
    if not largest:
        return "no single cell: it is odd as a whole"
    told = [(names[i], *tell(i), shares[i]) for i in largest]
    return "; ".join(
        f"{name} = {given} (expected {expected}, +{_nats(share)})" for name, given, expected, share in told
    )


def _nats(share: float) -> str:
    """A share with one decimal; of a huge one the first digits."""
    return f"{share:.1f}" if share < 1e6 else f"{share:.3g}"
