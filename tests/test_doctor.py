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
from isthmus.training import Adam, Epoch, Exponential, History
from isthmus.variants import Adversarial, L1Sparse, Variational, Wasserstein


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


class _Far(Dense):
    """Codes that are a thousand times as large as those of other networks, and stay so."""

    def __init__(self) -> None:
        super().__init__(widths=(32,))

    def build(self, *shape: Any) -> Any:
        module = super().build(*shape)
        for layer, scale in ((module.encoder.layers[-1], 1e3), (module.decoder.layers[0], 1e-3)):
            layer.linear.weight.data *= scale
            layer.linear.weight.requires_grad_(False)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_mean_only_output() -> None:
    found = findings(quick(variant=L1Sparse(weight=1e4)), healthy())
    assert "mean" in found["mean_only"]


@pytest.mark.slow
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
    long = Training(max_epochs=150, patience=None, learning_rate=3e-3)
    found = findings(quick(20, network=network, training=long), X)
    assert "by heart" in found["overfitting"]
    assert "overfitting" not in findings(quick(training=long), healthy())


# ---- beside principal components


@pytest.mark.slow
def test_a_code_that_is_too_small_or_too_large() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 20)) @ random.normal(size=(20, 45)) + 0.01 * random.normal(size=(400, 45))
    long = Training(max_epochs=60, learning_rate=1e-2, patience=None)
    found = findings(quick(4, network=Dense(widths=()), training=long), X)
    assert "codes of 4" in found["small_code"] and "for a map" in found["small_code"]
    assert "small_code" not in findings(quick(2, network=Dense(widths=()), training=long), X)  # clearly meant as a map
    flat = random.normal(size=(400, 2)) @ random.normal(size=(2, 30)) + 0.01 * random.normal(size=(400, 30))
    found = findings(quick(14, network=Dense(widths=()), training=long), flat)
    assert "codes have 14 numbers" in found["large_code"] and "2 principal components" in found["large_code"]
    assert not {"small_code", "large_code"} & findings(quick(20, network=Dense(widths=()), training=long), X).keys()


@pytest.mark.slow
def test_a_network_that_finds_less_than_pca() -> None:
    X = healthy()
    slow = Training(max_epochs=25, learning_rate=3e-3, optimizer="sgd", schedule=Exponential(0.01), patience=None)
    found = findings(quick(network=Dense((64, 64), activation="tanh"), training=slow), X)
    assert "PCA" in found["below_pca"]


# ---- gradients and cost


class _Wild(Dense):
    """A deep linear network whose weights start far too large."""

    def build(self, *shape: Any) -> Any:
        module = super().build(*shape)
        for layer in module.encoder.layers:
            layer.linear.weight.data *= 30
        return module


def test_gradients_that_vanish_or_explode() -> None:
    once = Training(max_epochs=1)
    deep = Dense((32,) * 6, activation="sigmoid")
    assert "vanishes" in findings(quick(network=deep, training=once), healthy())["vanishing_gradients"]
    gelu = Dense((32,) * 6)
    assert "vanishing_gradients" not in findings(quick(network=gelu, training=once), healthy())
    wild = _Wild((32,) * 4, activation="linear")
    assert "grow from layer to layer" in findings(quick(network=wild, training=once), healthy())["exploding_gradients"]


@pytest.mark.parametrize("kind", ["networks", "variants"])
def test_gradients_of_every_part_are_found_healthy(kind: str) -> None:
    """The step that is tried leaves the module, its gradients and torch's random numbers as they were."""
    from isthmus.doctor._gradients import of_first_step
    from isthmus.module import AutoencoderModule
    from isthmus.part import find, known
    from isthmus.spec import SampleSpec
    from isthmus.training import Batch

    for part in (example for name in known(kind) for example in find(kind, name).examples()):
        spec = SampleSpec((3, 12, 12)) if part.name() == "conv" else SampleSpec((6,))
        given = {"network": part} if kind == "networks" else {"variants": [*part.requires, part]}
        try:
            torch.manual_seed(0)
            module = AutoencoderModule(spec, 4, **given)
        except Exception:  # made for other samples; whether that is right is tested elsewhere
            continue
        before = torch.get_rng_state(), {name: value.clone() for name, value in module.state_dict().items()}
        assert list(of_first_step(module, Batch(torch.randn(40, *spec.shape)), 40, Training())) == [], part
        torch.manual_seed(0)
        assert all(parameter.grad is None for parameter in module.parameters())
        assert all(torch.equal(value, before[1][name]) for name, value in module.state_dict().items())


def test_the_examination_draws_no_random_numbers() -> None:
    from isthmus import doctor, fitting

    data = fitting.data_type("auto", healthy(), "x").fit(healthy())
    some = data.batch(data.open(healthy()), np.arange(100))
    module = quick().build(healthy())
    state = torch.get_rng_state()
    doctor.before_training(data, some, module, 400, Training())
    assert torch.equal(torch.get_rng_state(), state)


def test_cost_is_told_before_it_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.doctor import _gradients, before_training

    X = healthy()
    model = quick()
    module = model.build(X)
    some = model.data_.batch(model.data_.open(X), np.arange(100))
    found = before_training(model.data_, some, module, 10**9, Training(max_epochs=100))
    assert [finding.code for finding in found] == ["cost"] and "hours" in found[0].text
    assert before_training(model.data_, some, module, 10**4, Training(max_epochs=100)) == []
    monkeypatch.setattr(_gradients, "physical_memory", lambda: 10_000)
    found = before_training(model.data_, some, module, 10**4, Training(max_epochs=100))
    assert [finding.code for finding in found] == ["memory"]


def test_operations_are_those_of_the_products() -> None:
    from isthmus.doctor._gradients import tried
    from isthmus.module import AutoencoderModule
    from isthmus.networks import Conv
    from isthmus.spec import SampleSpec
    from isthmus.training import Batch

    module = AutoencoderModule(SampleSpec((6,)), 2, Dense((8,)))
    assert tried(module, Batch(torch.zeros(10, 6))).operations == 2 * 10 * (6 * 8 + 8 * 2 + 2 * 8 + 8 * 6)
    layer = AutoencoderModule(SampleSpec((1, 8, 8)), 2, Conv(channels=(4,), code="grid"))
    assert tried(layer, Batch(torch.zeros(3, 1, 8, 8))).operations > 2 * 3 * 16 * 4 * 9


# ---- losses


def history(losses: list[float], **more: list[float]) -> History:
    terms = {"loss": losses, "distortion": losses} | more
    epochs = [
        Epoch(number + 1, {name: values[number] for name, values in terms.items()}, {}, 1e-3, 0.1)
        for number in range(len(losses))
    ]
    return History(epochs, best_epoch=len(losses))


def codes_of(told: History) -> set[str]:
    from isthmus.doctor import after_training

    return {finding.code for finding in after_training(object(), None, told)}  # type: ignore[arg-type]


def test_losses_that_jump() -> None:
    smooth = [10 * 0.9**number for number in range(40)]
    assert "unstable" not in codes_of(history(smooth))
    jumping = [value + (3 if number % 5 == 4 else 0) for number, value in enumerate(smooth)]
    assert "unstable" in codes_of(history(jumping))
    trembling = [value + 0.05 * (-1) ** number for number, value in enumerate(smooth)]
    assert "unstable" not in codes_of(history(trembling))


def test_a_critic_that_has_won_and_one_that_has_not() -> None:
    smooth = [10 * 0.9**number for number in range(40)]
    assert "critic_wins" in codes_of(history(smooth, critic_code=[1.4] * 20 + [0.05] * 20))
    assert "critic_wins" not in codes_of(history(smooth, critic_code=[0.05] * 20 + [1.3] * 20))


def test_a_run_that_ends_in_infinity_is_remembered() -> None:
    told = history([3.0, 2.0, 1.0])
    told.ended = "ended early: the loss became inf in epoch 4, step 30; most likely the learning rate 9 is too large"
    assert "diverged" in codes_of(told)


@pytest.mark.slow
def test_a_learning_rate_that_makes_losses_jump() -> None:
    wild = Training(max_epochs=40, learning_rate=0.3, schedule="constant", patience=None, batch_size=16)
    found = findings(quick(network=Dense((64, 64), activation="tanh"), training=wild), healthy())
    assert "learning_rate" in found["unstable"]


# ---- draws


@pytest.mark.slow
def test_a_prior_that_draws_always_the_same() -> None:
    """Nothing holds these codes, which are large, to the prior: what is drawn lies near zero and is all alike."""
    X = healthy()
    loose = Training(max_epochs=40, learning_rate=3e-3)
    found = findings(quick(variant=Adversarial(weight=1e-6), training=loose, network=_Far()), X)
    assert "drawn from the prior" in found["mode_collapse"]
    held = findings(quick(variant=Wasserstein(weight=3.0), training=loose), X)
    assert "mode_collapse" not in held


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
