"""Every finding of the doctor: it speaks on an example that has the fault, and is silent on one that has not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from isthmus import Autoencoder, Training
from isthmus.data import Tables
from isthmus.doctor import Finding
from isthmus.errors import DataError, DoctorWarning
from isthmus.networks import Dense
from isthmus.training import Adam
from isthmus.variants import L1Sparse, Variational


def findings(model: Autoencoder, X: Any) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(X)
    return {finding.code: finding.text for finding in model.doctor_}


class _HalfDead(Dense):
    """A linear network in which half of the code never answers."""

    def __init__(self) -> None:
        super().__init__(widths=())

    def build(self, *shape: Any) -> Any:
        module = super().build(*shape)
        linear = module.encoder.layers[0].linear
        linear.weight.data[2:] = 0
        linear.weight.register_hook(lambda gradient: gradient * torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
        return module


def healthy(n: int = 400, width: int = 6) -> Any:
    random = np.random.default_rng(0)
    return random.normal(size=(n, 2)) @ random.normal(size=(2, width)) + 0.1 * random.normal(size=(n, width))


def quick(n_components: Any = 2, **settings: Any) -> Autoencoder:
    return Autoencoder(n_components, **({"training": Training(max_epochs=40), "random_state": 0} | settings))


def test_a_healthy_run_has_no_findings() -> None:
    assert findings(Autoencoder(2, random_state=0), healthy()) == {}


def test_findings_are_warnings_of_their_own_class() -> None:
    with pytest.warns(DoctorWarning, match="only 20 rows"):
        quick().fit(healthy(20))


def test_constant_column() -> None:
    X = healthy()
    X[:, 3] = 7.0
    assert "'x3'" in findings(quick(), X)["constant_column"]


def test_empty_and_identifier_columns_of_a_frame() -> None:
    frame = pl.DataFrame(healthy()).with_columns(
        pl.lit(None, dtype=pl.Float64).alias("empty"),
        pl.Series("customer", [f"C-{i:05d}" for i in range(400)]),
        pl.Series("number", np.arange(400)),
    )
    found = findings(quick(), frame)
    assert "'empty'" in found["left_out"]
    assert "'customer'" in found["identifier"] or "'number'" in found["identifier"]


def test_missing_values_are_said() -> None:
    X = healthy()
    X[::7, 1] = np.nan
    assert "'x1' has missing values" in findings(quick(), X)["missing"]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused_with_column_and_row(value: float) -> None:
    X = healthy()
    X[17, 2] = value
    with pytest.raises(DataError, match=r"x2.*infin|infin.*x2"):
        quick().fit(X)


@pytest.mark.slow
def test_scales_that_differ_by_a_million() -> None:
    X = healthy()
    X[:, 0] *= 1e8
    assert "'x0'" in findings(quick(), X)["scales"]
    X[:, 0] /= 1e4
    assert "scales" not in findings(quick(), X)


@pytest.mark.slow
def test_range_against_the_likelihood() -> None:
    assert "'bernoulli'" in findings(quick(likelihood="bernoulli"), healthy())["range"]
    assert "range" not in findings(quick(likelihood="bernoulli", data_type=Tables(scaling="minmax")), healthy())


@pytest.mark.slow
def test_a_wide_code_without_a_guard() -> None:
    assert "copying" in findings(quick(8), healthy())["wide_code"]
    assert "wide_code" not in findings(quick(8, variant="denoising"), healthy())
    assert "wide_code" not in findings(quick(2), healthy())


@pytest.mark.slow
def test_identity() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(500, 4))
    long = Training(max_epochs=200, learning_rate=1e-2, patience=None)
    assert "learned to copy" in findings(quick(4, network=Dense(widths=()), training=long), X)["identity"]
    assert "identity" not in findings(quick(2, network=Dense(widths=()), training=long), X)


def test_mean_only_output() -> None:
    found = findings(quick(variant=L1Sparse(weight=1e4)), healthy())
    assert "mean" in found["mean_only"]


def test_dead_components_of_the_code() -> None:
    """A strong penalty on the code drives components to zero for every sample."""
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 1)) @ np.ones((1, 6)) * 3
    training = Training(max_epochs=100, optimizer="sgd", learning_rate=1e-3)
    model = quick(4, network=_HalfDead(), training=training)
    assert "2 of 4 components" in findings(model, X)["dead_code"]
    assert "dead_code" not in findings(quick(2), healthy())


def test_dead_hidden_units() -> None:
    """A far too large first step pushes ReLU units to where they never answer again."""
    training = Training(max_epochs=3, optimizer=Adam(), learning_rate=5.0, schedule="constant", patience=None)
    network = Dense(widths=(64, 64), activation="relu")
    assert "dead_units" in findings(quick(network=network, training=training), healthy())
    assert "dead_units" not in findings(quick(network=network), healthy())


@pytest.mark.slow
def test_posterior_collapse() -> None:
    assert "variational" in findings(quick(variant=Variational(beta=200.0)), healthy())["posterior_collapse"]
    assert "posterior_collapse" not in findings(quick(variant=Variational(beta=0.05)), healthy())


def test_underfitting() -> None:
    short = Training(max_epochs=5, learning_rate=1e-4, schedule="constant")
    assert "still falling" in findings(quick(training=short), healthy())["underfitting"]


@pytest.mark.slow
def test_overfitting() -> None:
    X = np.random.default_rng(0).normal(size=(60, 30))
    network = Dense(widths=(256, 256))
    long = Training(max_epochs=300, patience=None, learning_rate=3e-3)
    found = findings(quick(20, network=network, training=long), X)
    assert "by heart" in found["overfitting"]
    assert "overfitting" not in findings(quick(training=long), healthy())


def test_every_finding_is_one_plain_text_without_line_breaks() -> None:
    X = healthy(20)
    X[:, 0] = 1.0
    X[3, 1] = np.nan
    for text in findings(quick(9), X).values():
        assert "\n" not in text
        assert text.endswith(".")


def test_findings_survive_the_model_file(tmp_path: Any) -> None:
    from isthmus import load

    model = quick(9)
    findings(model, healthy())
    model.save(tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors").doctor_ == model.doctor_
    assert isinstance(model.doctor_[0], Finding)
