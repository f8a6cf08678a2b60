"""The workloads out of Keras' own layers, channels last, with the first weights drawn as torch draws them."""

from __future__ import annotations

from typing import Any

import keras
from _workloads import Workload
from keras import layers, ops


def keras_model(workload: Workload) -> Any:
    """A compiled model from samples to samples."""
    if workload.hidden:
        model, loss = _recurrent(workload), "mse"
    elif not workload.widths:
        model, loss = _pictures(), "binary_crossentropy"
    elif workload.variational:
        model, loss = _variational(workload), _cross_entropy_of_all
    else:
        model, loss = _dense(workload), "mse"
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    return model


def _first(n_in: int) -> dict[str, Any]:
    """Torch's way to draw first weights and biases: the same law, so that losses can be compared."""
    bound = n_in**-0.5
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-bound, bound),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
    }


def _linear(x: Any, units: int, activation: str | None = None) -> Any:
    return layers.Dense(units, activation=activation, **_first(x.shape[-1]))(x)


def _convolution(x: Any, filters: int, activation: str, padding: str = "same") -> Any:
    return layers.Conv2D(filters, 3, activation=activation, padding=padding, **_first(9 * x.shape[-1]))(x)


def _dense(workload: Workload) -> Any:
    sizes = workload.sizes
    middle, last = len(workload.widths) + 1, len(sizes) - 1
    hidden = start = keras.Input((sizes[0],))
    for place, units in enumerate(sizes[1:], 1):
        hidden = _linear(hidden, units, None if place in (middle, last) else "relu")
    return keras.Model(start, hidden)


def _recurrent(workload: Workload) -> Any:
    start = keras.Input(workload.shape)
    code = _linear(layers.LSTM(workload.hidden)(start), workload.components)
    fed = layers.RepeatVector(workload.shape[0])(code)
    return keras.Model(start, _linear(layers.LSTM(workload.hidden, return_sequences=True)(fed), workload.shape[1]))


def _pictures() -> Any:
    hidden = start = keras.Input((28, 28, 1))
    for filters in (16, 8, 8):
        hidden = _convolution(hidden, filters, "relu")
        hidden = layers.MaxPooling2D(2, padding="same")(hidden)
    for filters, padding in ((8, "same"), (8, "same"), (16, "valid")):
        hidden = _convolution(hidden, filters, "relu", padding)
        hidden = layers.UpSampling2D(2)(hidden)
    return keras.Model(start, _convolution(hidden, 1, "sigmoid"))


class _Drawn(layers.Layer):
    """Codes drawn about their means, and the divergence as a part of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, features: Any, training: bool = False) -> Any:
        mean, log_variance = ops.split(features, 2, axis=-1)
        rate = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), -1)
        self.add_loss(ops.mean(rate))
        if not training:
            return mean
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


def _variational(workload: Workload) -> Any:
    start = keras.Input(workload.shape)
    code = _Drawn()(_linear(_linear(start, workload.widths[0], "relu"), 2 * workload.components))
    hidden = _linear(code, workload.widths[0], "relu")
    return keras.Model(start, _linear(hidden, workload.shape[0], "sigmoid"))


def _cross_entropy_of_all(target: Any, found: Any) -> Any:
    return target.shape[-1] * keras.losses.binary_crossentropy(target, found)
