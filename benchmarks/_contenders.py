"""Who is measured: each trains the same network with the same loss and says when an epoch ends.

Peers are imported inside the functions: what is not installed is one line of the table. A peer gets our network and
loss through its own means to bring them (PyOD: `build_model` and a criterion), or builds it from its own layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from _workloads import Array, Workload, as_torch, halves, torch_loss, torch_net


@dataclass(frozen=True)
class Order:
    """What to train.

    Parameters
    ----------
    stamp : called at the end of every epoch.
    exact : for the check: no held-out rows, no schedule, no scaling, so that all do the same arithmetic.
    """

    workload: Workload
    X: Array
    epochs: int
    stamp: Callable[[], None]
    seed: int = 0
    exact: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Trained:
    """What came of it: how many rows an epoch had, how to give samples back, and the model itself."""

    rows: int
    reconstruct: Callable[[Array], Array]
    model: Any


@dataclass(frozen=True)
class Contender:
    """A way to train.

    Parameters
    ----------
    imports : modules whose import is timed, `package:name` for lazy ones.
    works : the workloads that it can train.
    environment : what has to be set before the import.
    differs : where its network cannot be ours; such a contender is left out of the check.
    """

    train: Callable[[Order], Trained]
    imports: tuple[str, ...] = ("torch",)
    works: tuple[str, ...] = ("W1", "W2", "W3", "W4", "W5")
    environment: dict[str, str] = field(default_factory=dict)
    differs: str = ""


# ---- ours


def autoencoder(workload: Workload, exact: bool = False, **settings: Any) -> Any:
    """The estimator that a user would write down."""
    from isthmus import Autoencoder
    from isthmus.data import Series, Tables
    from isthmus.networks import Dense, Recurrent

    if workload.hidden:
        network: Any = Recurrent(hidden=workload.hidden)
        settings["data_type"] = Series(scaling="none")
    else:
        network = Dense(widths=workload.widths, activation="relu") if workload.widths else halves(workload)
    if workload.widths and (exact or workload.name != "W1"):  # W1 keeps the scaling that a user has
        settings["data_type"] = Tables(scaling="none")
    if workload.variational:
        settings["variant"] = "variational"
    return Autoencoder(workload.components, network=network, likelihood=workload.likelihood, **settings)


def isthmus(order: Order, precision: str = "auto") -> Trained:
    import torch

    from isthmus import Training

    def stamp(report: object) -> None:
        order.stamp()

    exact = {"validation": 0.0, "schedule": "constant"} if order.exact else {}
    training = Training(order.epochs, order.workload.batch, callbacks=[stamp], **exact)
    torch.manual_seed(order.seed)  # modules of one's own start from torch's random numbers
    model = autoencoder(
        order.workload,
        order.exact,
        training=training,
        precision=precision,
        device=order.device,
        random_state=order.seed,
    ).fit(order.X)
    held_out = round(training.validation * len(order.X))
    return Trained(len(order.X) - held_out, model.reconstruct, model)


def isthmus_bf16(order: Order) -> Trained:
    return isthmus(order, "bf16")


# ---- torch by hand


def tuned(order: Order) -> Trained:
    """What someone writes who knows torch: data as one tensor, rows by index, fused Adam, no look at the loss."""
    import torch

    torch.manual_seed(order.seed)
    net, x = torch_net(order.workload), as_torch(order.workload, order.X)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    for _ in range(order.epochs):
        for rows in torch.randperm(len(x)).split(order.workload.batch):
            batch = x.index_select(0, rows)
            optimizer.zero_grad(set_to_none=True)
            torch_loss(order.workload, net(batch), batch).backward()
            optimizer.step()
        order.stamp()
    return Trained(len(x), _by_torch(order.workload, net), net)


def plain(order: Order) -> Trained:
    """The loop of the tutorials."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(order.seed)
    net = torch_net(order.workload)
    loader = DataLoader(TensorDataset(as_torch(order.workload, order.X)), order.workload.batch, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(order.epochs):
        total = 0.0
        for (batch,) in loader:
            optimizer.zero_grad()
            loss = torch_loss(order.workload, net(batch), batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        order.stamp()
    return Trained(len(order.X), _by_torch(order.workload, net), net)


def _by_torch(workload: Workload, net: Any) -> Callable[[Array], Array]:
    import torch

    def reconstruct(X: Array) -> Array:
        net.eval()
        with torch.inference_mode():
            out = net(as_torch(workload, X))[0]
            found: Array = (out.sigmoid() if workload.likelihood == "bernoulli" else out).numpy()
        return found

    return reconstruct


# ---- peers


def pyod(order: Order) -> Trained:
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.vae import VAE

    workload = order.workload
    base: Any = VAE if workload.variational else AutoEncoder

    class Detector(base):
        def build_model(self) -> None:
            net = torch_net(workload)
            if not workload.variational:
                net.forward = lambda x: net.decoder(net.encoder(x))
            self.model = net
            self.logvar_clip_ = None

        def epoch_update(self) -> None:
            order.stamp()

    detector = Detector(
        epoch_num=order.epochs,
        batch_size=workload.batch,
        verbose=0,
        preprocessing=workload.name == "W1" and not order.exact,
        optimizer_params={},
        random_state=order.seed,
    )
    if workload.variational:
        detector.criterion = lambda x, out, mean, log_variance, **_: torch_loss(workload, (out, mean, log_variance), x)
    detector.fit(order.X)
    reconstruct = lambda X: _by_torch(workload, _first_of_three(detector.model))(X)  # noqa: E731
    return Trained(len(order.X) // workload.batch * workload.batch, reconstruct, detector)


def _first_of_three(net: Any) -> Any:
    """A torch net as ours again, after PyOD had its output alone."""
    net.__dict__.pop("forward", None)
    return net


def keras_jax(order: Order) -> Trained:
    import keras
    from _keras import keras_model

    class Stamp(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            order.stamp()

    workload = order.workload
    keras.utils.set_random_seed(order.seed)
    model = keras_model(workload)
    shaped = lambda X: X if workload.widths or workload.hidden else X[..., None]  # noqa: E731
    X = shaped(order.X)
    model.fit(X, X, epochs=order.epochs, batch_size=workload.batch, verbose=0, callbacks=[Stamp()])

    def reconstruct(X: Array) -> Array:
        found: Array = model.predict(shaped(X), batch_size=1024, verbose=0)
        return found

    return Trained(len(order.X), reconstruct, model)


def sklearn(order: Order) -> Trained:
    from sklearn.neural_network import MLPRegressor

    warnings.simplefilter("ignore")
    sizes = order.workload.sizes[1:-1]
    model = MLPRegressor(hidden_layer_sizes=sizes, alpha=0.0, batch_size=order.workload.batch, random_state=order.seed)
    for _ in range(order.epochs):  # one call is one epoch
        model.partial_fit(order.X, order.X)
        order.stamp()
    return Trained(len(order.X), lambda X: np.asarray(model.predict(X)), model)


OURS = ("isthmus:Autoencoder",)
CONTENDERS = {
    "isthmus": Contender(isthmus, OURS),
    "isthmus_bf16": Contender(isthmus_bf16, OURS),
    "tuned": Contender(tuned),
    "plain": Contender(plain),
    "pyod": Contender(pyod, ("pyod.models.auto_encoder", "pyod.models.vae"), ("W1", "W2", "W4")),
    "keras_jax": Contender(
        keras_jax, ("keras",), environment={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ),
    "sklearn": Contender(sklearn, ("sklearn.neural_network",), ("W1", "W2"), differs="relu on the code, too"),
}
