"""Dense layers in NumPy: products, and activations between them.

Every array is a row (d,) or rows (n, d); the same code serves both. What only scales or shifts between two products
(batch normalisation, the factors of activations) is multiplied into the weights beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from isthmus.light.activations import Floats, find

Arrays = Mapping[str, np.ndarray[Any, Any]]
#: One layer: weight (in, out), bias (out,), and what follows, None where nothing does.
Layer = tuple[Floats, Floats, Callable[[Floats], Floats] | None]


def run(layers: list[Layer], hidden: Floats) -> Floats:
    """The layers one after the other; none leaves what was given as it is."""
    for weight, bias, core in layers:
        hidden = hidden.dot(weight)
        hidden += bias
        if core is not None:
            hidden = core(hidden)
    return hidden


class Network:
    """An encoder and a decoder, by an outline and the arrays that it names.

    Parameters
    ----------
    outline : see `training.plain`.
    arrays : the module's tensors by name.

    Raises
    ------
    KeyError, TypeError, ValueError : where the outline is none, or the arrays are not what it speaks of.
    """

    def __init__(self, outline: Mapping[str, Any], arrays: Arrays):
        self.encoder = _layers(outline["encoder"], arrays)
        self.decoder = _layers(outline["decoder"], arrays)
        self.n_inputs, self.n_outputs = len(self.encoder[0][0]), self.decoder[-1][0].shape[1]
        self.n_components = int(outline["n_components"])
        features, code = self.encoder[-1][0].shape[1], len(self.decoder[0][0])
        halves = {"plain": 1, "mean": 2}[outline["bottleneck"]["kind"]]
        if code != self.n_components or features != halves * code:
            raise ValueError(f"{features} features and {code} numbers in a code do not belong together")
        self.absent = None
        if outline["absent"] is not None:
            first = outline["encoder"][0]
            scale = _scale_and_mean(first["batch"], arrays)[0] if first["batch"] is not None else 1.0
            self.absent = _matrix(arrays[outline["absent"]]).T * (scale * find(first["activation"]).before)
            if self.absent.shape != self.encoder[0][0].shape:
                raise ValueError("the weights of absent values have another shape than those of values")
        self.whole = self._joined()

    def features(self, x: Floats, gone: Any = None) -> Floats:
        """The encoder's output; `gone` marks absent values, which stand at 0 in x."""
        if gone is None or self.absent is None:
            return run(self.encoder, x)
        weight, bias, core = self.encoder[0]
        hidden = x.dot(weight) + bias + gone.astype(np.float64).dot(self.absent)
        return run(self.encoder[1:], hidden if core is None else core(hidden))

    def code(self, x: Floats, gone: Any = None) -> Floats:
        """The code: the features, or the mean among them."""
        return self.features(x, gone)[..., : self.n_components]

    def raw(self, x: Floats, gone: Any = None) -> Floats:
        """What comes out of the decoder for x."""
        return run(self.decoder, self.code(x, gone))

    def _joined(self) -> list[Layer]:
        """Encoder and decoder in one, without the stop at the code where one product costs less than two."""
        (first, first_bias, core), (second, second_bias, then) = self.encoder[-1], self.decoder[0]
        k = self.n_components
        first, first_bias = np.ascontiguousarray(first[:, :k]), first_bias[:k].copy()
        before, behind = self.encoder[:-1], self.decoder[1:]
        if core is None and len(first) * second.shape[1] <= max(4096, first.size + second.size):
            return [*before, (first @ second, first_bias @ second + second_bias, then), *behind]
        return [*before, (first, first_bias, core), (second, second_bias, then), *behind]


def _layers(steps: Any, arrays: Arrays) -> list[Layer]:
    layers: list[Layer] = []
    factor = 1.0  # of the activation before
    for step in steps:
        weight, bias = _matrix(arrays[step["weight"]]), np.array(arrays[step["bias"]], dtype=np.float64)
        weight = weight[: step["rows"]] if step["rows"] is not None else weight.T
        if step["batch"] is not None:
            weight, bias = _normalised(weight, bias, step["batch"], arrays)
        activation = find(step["activation"])
        if bias.shape != (weight.shape[1],) or (layers and len(weight) != len(layers[-1][1])):
            raise ValueError("the shapes of neighbouring layers do not fit")
        weight, bias = np.ascontiguousarray(weight * (factor * activation.before)), bias * activation.before
        layers.append((weight, bias, activation.core if step["activation"] not in (None, "linear") else None))
        factor = activation.after
    if not layers or factor != 1.0:
        raise ValueError("a network ends in a linear layer")
    return layers


def _matrix(array: Any) -> Floats:
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise ValueError(f"weights have the shape {array.shape}")
    return np.asarray(array, dtype=np.float64)


def _normalised(weight: Floats, bias: Floats, batch: Any, arrays: Arrays) -> tuple[Floats, Floats]:
    """Batch normalisation by running statistics is a scaling and a shift."""
    scale, mean = _scale_and_mean(batch, arrays)
    shift = np.asarray(arrays[f"{batch['prefix']}.bias"], dtype=np.float64)
    return weight * scale, (bias - mean) * scale + shift


def _scale_and_mean(batch: Any, arrays: Arrays) -> tuple[Floats, Floats]:
    mean, variance, gain = (
        np.asarray(arrays[f"{batch['prefix']}.{name}"], dtype=np.float64)
        for name in ("running_mean", "running_var", "weight")
    )
    return gain / np.sqrt(variance + batch["epsilon"]), mean
