"""Ways from one code to another. Axes: n numbers of a code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.float64]


def straight(first: Codes, last: Codes, steps: int) -> Codes:
    """Evenly spaced on the line, (steps, n); the ends are exact.

    >>> straight(np.array([0.0, 2.0]), np.array([4.0, 0.0]), 3)
    array([[0., 2.],
           [2., 1.],
           [4., 0.]])
    """
    share = np.linspace(0, 1, steps)[:, None]
    return _with_ends((1 - share) * first + share * last, first, last)


def spherical(first: Codes, last: Codes, steps: int) -> Codes:
    """Along the great circle, in equal angles, while the norm goes evenly from one to the other, (steps, n).

    In many dimensions nearly all of a normal law lies near a sphere; a straight line leaves it, this path does not
    (White 2016, "Sampling Generative Networks"). Where a code is zero or both point the same way it is the straight
    line; between opposite ones any half circle will do.

    >>> spherical(np.array([1.0, 0.0]), np.array([0.0, 3.0]), 3).round(3)
    array([[1.   , 0.   ],
           [1.414, 1.414],
           [0.   , 3.   ]])
    """
    sizes = np.linalg.norm(first), np.linalg.norm(last)
    if not min(sizes):
        return straight(first, last, steps)
    start, end = first / sizes[0], last / sizes[1]
    across = end - (start @ end) * start
    if np.linalg.norm(across) < CLOSE:
        if start @ end > 0 or len(start) < 2:
            return straight(first, last, steps)
        across = _perpendicular(start)
    angle = np.arctan2(np.linalg.norm(across) if start @ end > CLOSE - 1 else 0.0, start @ end)
    angles = np.linspace(0, angle, steps)[:, None]
    direction = np.cos(angles) * start + np.sin(angles) * across / np.linalg.norm(across)
    return _with_ends(np.linspace(*sizes, steps)[:, None] * direction, first, last)


CLOSE = 1e-9  # of directions


def _perpendicular(direction: Codes) -> Codes:
    """A direction at right angles to this one, always the same."""
    axis = np.zeros_like(direction)
    axis[np.argmin(np.abs(direction))] = 1.0
    return axis - (axis @ direction) * direction


def _with_ends(path: Codes, first: Codes, last: Codes) -> Codes:
    """No rounding error at the ends."""
    path[0], path[-1] = first, last
    return path
