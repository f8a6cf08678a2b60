"""What becomes of samples on their way into a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isthmus.compression.stack import Floats


@dataclass
class Packing:
    """Samples as a header and bits.

    Parameters
    ----------
    header : what is needed to read the bits, and to give back the type that came in.
    payload : the bits.
    bits : what each sample takes, (n,).
    n_values : in one sample, on average.
    start : bits that the start of a chain takes, and that come back with it.
    """

    header: dict[str, Any]
    payload: bytes
    bits: Floats
    n_values: float
    start: int = 0
