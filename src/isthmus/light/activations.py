"""Activations in NumPy. Each is written so that factors around it can go into the weights before and behind it:

    activation(z) = after * core(before * z)

which leaves as few passes over a row as possible; the core works in place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: Fewer numbers than these are done one by one rather than wait for SciPy to be loaded.
ONE_BY_ONE = 400_000
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
LEAK = 0.01


@dataclass(frozen=True)
class Activation:
    """`after * core(before * z)`; the core may change its argument, and gives an array of the same shape."""

    core: Callable[[Floats], Floats]
    before: float = 1.0
    after: float = 1.0

    def __call__(self, z: Floats) -> Floats:
        return self.after * self.core(self.before * z)


def _erf() -> Callable[..., Any]:
    """SciPy's, where it is loaded anyway."""
    found = sys.modules.get("scipy.special")
    return found.erf if found is not None else _late_erf


def _late_erf(x: Floats) -> Floats:
    """The error function by the standard library, or by SciPy once that is worth loading."""
    if x.size > ONE_BY_ONE or "scipy.special" in sys.modules:
        from scipy.special import erf

        return erf(x)
    return np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def _relu(u: Floats) -> Floats:
    return np.maximum(u, 0.0, out=u)


def _leaky_relu(u: Floats) -> Floats:
    return np.maximum(u, LEAK * u, out=u)


def _tanh(u: Floats) -> Floats:
    return np.tanh(u, out=u)


def _shifted_tanh(u: Floats) -> Floats:
    np.tanh(u, out=u)
    u += 1.0
    return u


def _silu(u: Floats) -> Floats:
    share = np.tanh(u)
    share *= u
    share += u
    return share


def _elu(u: Floats, alpha: float = 1.0) -> Floats:
    below = np.minimum(u, 0.0)
    np.expm1(below, out=below)
    if alpha != 1.0:
        below *= alpha
    np.maximum(u, 0.0, out=u)
    u += below
    return u


def _selu(u: Floats) -> Floats:
    return _elu(u, SELU_ALPHA)


def _linear(u: Floats) -> Floats:
    return u


def find(name: str | None) -> Activation:
    """The activation of this name, as `networks` calls it; None is the linear one. Raises KeyError.

    >>> import numpy as np
    >>> find("sigmoid")(np.zeros(2)), find("relu")(np.array([-1.0, 2.0]))
    (array([0.5, 0.5]), array([0., 2.]))
    """
    if name == "gelu":
        return _gelu()
    return {
        "relu": Activation(_relu),
        "elu": Activation(_elu),
        "selu": Activation(_selu, after=SELU_SCALE),
        "silu": Activation(_silu, before=0.5),
        "leaky_relu": Activation(_leaky_relu),
        "tanh": Activation(_tanh),
        "sigmoid": Activation(_shifted_tanh, before=0.5, after=0.5),
        "linear": Activation(_linear),
    }[name or "linear"]


def _gelu() -> Activation:
    """z / 2 (1 + erf(z / √2)), with u = z / √2 it is (u + u erf(u)) / √2."""
    erf = _erf()

    def core(u: Floats) -> Floats:
        share = erf(u)
        share *= u
        share += u
        return share  # type: ignore[no-any-return]

    return Activation(core, before=math.sqrt(0.5), after=math.sqrt(0.5))
