"""Weights that warm up: what each step learns with, what is judged, what is kept, and what cannot warm up."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from isthmus import Autoencoder, Training, load
from isthmus.damage import Gaussian, Masking
from isthmus.errors import DoctorWarning, SettingError, TrainingError
from isthmus.likelihoods import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.part import from_json, to_json
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Checkpoint, History, WarmUp, train, train_many
from isthmus.training.dense_step import DenseStep
from isthmus.variants import Denoising, L1Sparse, Masked, TopK, Variational
from isthmus.variants.base import Pass, Variant

SMALL = Dense(widths=(6,), activation="tanh")
N_ROWS, N_STEPS = 40, 4  # of an epoch


def data() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(N_ROWS, 2, generator=generator) @ torch.randn(2, 5, generator=generator)
    return mixed + 0.1 * torch.randn(N_ROWS, 5, generator=generator)


def module_of(variants: Any, network: Any = SMALL, likelihood: Any = "normal") -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AutoencoderModule(SampleSpec((5,)), 2, network, likelihood, variants)


def fit(module: AutoencoderModule, epochs: int = 4, **settings: Any) -> History:
    x = data()
    training = Training(**(dict(max_epochs=epochs, batch_size=9, validation=0.1, learning_rate=0.01) | settings))
    return train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), N_ROWS, training)


def weights(module: AutoencoderModule) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class Noting(Variant):
    """A penalty of the weight itself, which writes down what it was: in steps that learn, and in others."""

    noted: tuple[list[float], list[float]]

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def penalty(self, reconstruction: Any, module: Pass) -> float:
        self.noted[0 if torch.is_grad_enabled() else 1].append(float(self.weight))
        return float(self.weight)


# ---- what each step learns with


def test_it_rises_in_equal_steps_where_it_learns_and_is_whole_where_it_is_judged() -> None:
    Noting.noted = ([], [])
    module = module_of(Noting(WarmUp(3.0, start=1.0, epochs=2.5)))
    history = fit(module)
    steps = 2.5 * N_STEPS
    expected = [1 + 2 * min(1.0, step / steps) for step in range(4 * N_STEPS)]
    assert Noting.noted[0] == pytest.approx(expected, abs=1e-12) and Noting.noted[0][10] == 3.0
    assert set(Noting.noted[1]) == {3.0} and history["validation_noting"] == [3.0] * 4
    assert history["noting"][0] == pytest.approx(np.mean(expected[:N_STEPS])) and history["noting"][3] == 3.0
    assert module.variants[0] == Noting(WarmUp(3.0, start=1.0, epochs=2.5))  # nothing is left of it


@pytest.mark.parametrize("value", [WarmUp(0.5, epochs=0), WarmUp(0.5, start=0.5, epochs=3)], ids=repr)
def test_where_nothing_rises_it_is_the_number_bit_for_bit(value: WarmUp) -> None:
    plain, same, other = (module_of(Variational(beta=beta)) for beta in (0.5, value, WarmUp(0.5, epochs=3)))
    for module in (plain, same, other):
        fit(module)
    assert torch.equal(weights(plain), weights(same)) and not torch.equal(weights(plain), weights(other))


def test_a_rate_without_weight_teaches_nothing() -> None:
    """One step with beta at 0 is one with no rate at all."""
    settings: dict[str, Any] = dict(epochs=1, batch_size=36, learning_rate=0.1)
    rising, none, whole = (module_of(Variational(beta=beta)) for beta in (WarmUp(2.0), 0.0, 2.0))
    history = [fit(module, **settings) for module in (rising, none, whole)]
    assert torch.equal(weights(rising), weights(none)) and not torch.equal(weights(rising), weights(whole))
    assert history[0]["rate"] == [0.0]
    assert history[0]["validation_rate"][0] > 0.0 == history[1]["validation_rate"][0]


RISING: dict[str, tuple[Any, Any]] = {
    "variational beta": (Variational(beta=WarmUp(1.0, epochs=3)), "normal"),
    "free bits": (Variational(free_bits=WarmUp(2.0, epochs=3)), "normal"),
    "l1_sparse": (L1Sparse(weight=WarmUp(0.5, epochs=3)), "normal"),
    "damage inside": (Denoising(Gaussian(sigma=WarmUp(1.0, epochs=3))), "normal"),
    "masked": (Masked(visible=WarmUp(1.0, epochs=3)), "normal"),
    "several": (["denoising", Variational(beta=WarmUp(1.0, epochs=3)), L1Sparse(WarmUp(0.2, 0.1, 2))], "normal"),
    "scale of the likelihood": ((), Normal(scale=WarmUp(0.5, start=2.0, epochs=3))),
}


@pytest.mark.parametrize("name", RISING)
def test_the_fast_step_warms_up_as_the_plain_one_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variants, likelihood = RISING[name]
    fast, plain = (module_of(variants, likelihood=likelihood) for _ in range(2))
    assert DenseStep.fits(fast, Training())
    told = [fit(fast)]
    monkeypatch.setattr(DenseStep, "fits", lambda *_: False)
    told.append(fit(plain))
    torch.testing.assert_close(weights(fast), weights(plain), rtol=1e-4, atol=1e-5)
    assert told[0]["validation_loss"] == pytest.approx(told[1]["validation_loss"], rel=1e-4)
    assert torch.equal(weights(fast), weights(fast)) and not torch.equal(weights(fast), weights(module_of(variants)))


def test_every_number_of_a_variant_that_warms_up_turns() -> None:
    """`to`, `start` and `epochs` each change what is learned."""
    ways = [WarmUp(1.0, 0.0, 3), WarmUp(2.0, 0.0, 3), WarmUp(1.0, 0.5, 3), WarmUp(1.0, 0.0, 2)]
    found = []
    for beta in ways:
        module = module_of(Variational(beta=beta))
        fit(module)
        found.append(weights(module))
    assert all(not torch.equal(found[0], other) for other in found[1:])


def test_l1_of_the_weights_warms_up_too() -> None:
    rising, whole = module_of(()), module_of(())
    history = fit(rising, l1=WarmUp(0.1, epochs=2), batch_size=36)
    fit(whole, l1=0.1, batch_size=36)
    assert history["l1"][0] == 0.0 < history["l1"][1] and history["validation_l1"][0] > 0
    assert not torch.equal(weights(rising), weights(whole))


def test_models_that_warm_up_are_trained_one_by_one_with_the_same_result() -> None:
    x = data()
    make = lambda: [module_of(L1Sparse(weight)) for weight in (WarmUp(0.5, epochs=3), 0.1, 0.2)]  # noqa: E731
    together, training = make(), Training(max_epochs=4, batch_size=9)
    batches = lambda rows: Batch(x[torch.as_tensor(rows)])  # noqa: E731
    train_many(together, batches, N_ROWS, [training] * 3, seeds=[0] * 3)
    alone = make()[0]
    train(alone, batches, N_ROWS, training, seed=0)
    assert torch.equal(weights(together[0]), weights(alone))


# ---- stopping, going on, keeping


def test_patience_is_counted_from_the_end_of_the_warm_up() -> None:
    """With hardly any rate at first, what is judged gets worse before it gets better."""
    settings: dict[str, Any] = dict(epochs=60, patience=2, learning_rate=0.02, schedule="constant")
    early = fit(module_of(Variational(beta=20.0)), **settings)
    module = module_of(Variational(beta=WarmUp(20.0, epochs=25.5)))
    history = fit(module, **settings)
    judged = history["validation_loss"]
    assert early.ended.startswith("no better") or len(early) == 60
    assert len(history) >= 28 and min(judged[:25]) > 0
    first_best = int(np.argmin(judged[:20]))
    assert judged[first_best + 1] > judged[first_best] and judged[first_best + 2] > judged[first_best]  # 2 in vain
    assert judged[(history.best_epoch or 1) - 1] == min(judged)


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within the warm-up, in the middle of an epoch, and after it."""
    monkeypatch.setattr("isthmus.training.ahead.FETCHED", 1)  # so that every step looks at data
    variants = [Denoising("swap"), Variational(beta=WarmUp(2.0, epochs=4.5))]
    whole = module_of(variants)
    expected = fit(whole, epochs=8)
    x, asked = data(), [0]

    def batches(rows: Any) -> Batch:
        asked[0] += 1
        if asked[0] == stop * (N_STEPS + 1) + 3:  # an epoch asks for its steps, and for what is held out
            raise KeyboardInterrupt
        return Batch(x[torch.as_tensor(rows)])

    checkpoint = Checkpoint(str(tmp_path / "run"), every=0.0)
    training = Training(max_epochs=8, batch_size=9, validation=0.1, learning_rate=0.01, checkpoint=checkpoint)
    with pytest.warns(UserWarning, match="stopped by hand"):
        train(module_of(variants), batches, N_ROWS, training)
    again = module_of(variants)
    history = train(again, batches, N_ROWS, training)
    assert torch.equal(weights(again), weights(whole))
    for name in ("loss", "rate", "validation_loss"):
        assert history[name] == expected[name]


def test_a_checkpoint_of_another_warm_up_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "run")

    def stopped(report: Any) -> None:
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="stopped by hand"):
        fit(module_of(L1Sparse(WarmUp(1.0, epochs=3))), checkpoint=Checkpoint(path, every=0), callbacks=[stopped])
    assert Path(path).exists()
    for other in (WarmUp(1.0, epochs=4), 1.0):
        with pytest.raises(TrainingError, match="belongs to a run with other data or settings"):
            fit(module_of(L1Sparse(other)), checkpoint=Checkpoint(path))


def test_the_file_keeps_the_warm_up_and_answers_are_equal(tmp_path: Path) -> None:
    beta = WarmUp(0.3, start=0.1, epochs=2)
    model = Autoencoder(2, variant=Variational(beta=beta), training=Training(max_epochs=3), random_state=0)
    x = data().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(x).save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again.variant, Variational) and repr(again.variant.beta) == repr(beta)
    np.testing.assert_array_equal(again.score_samples(x), model.score_samples(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        np.testing.assert_array_equal(clone(again).fit(x).transform(x), model.transform(x))


# ---- the number itself


def test_it_is_the_number_everywhere_else() -> None:
    value = WarmUp(4.0, start=1.0, epochs=2)
    assert value == 4.0 and 2 * value == 8.0 and isinstance(value, float) and {value: 1}[4.0] == 1  # type: ignore[index]
    assert [value.at(epochs) for epochs in (0, 0.5, 1, 2, 9)] == [1.0, 1.75, 2.5, 4.0, 4.0]
    assert repr(value) == "WarmUp(to=4.0, start=1.0, epochs=2)"
    for same in (copy.deepcopy(value), from_json(to_json(value)), clone(value)):
        assert same == value and repr(same) == repr(value)
    assert value != WarmUp(4.0, start=1.0, epochs=3) and value != WarmUp(5.0, start=1.0, epochs=2)
    module = module_of(Variational(beta=value)).eval()
    plain = module_of(Variational(beta=4.0)).eval()
    assert torch.equal(module.loss(data()), plain.loss(data()))


def test_what_it_starts_with_and_how_long_it_takes_can_be_set_by_name() -> None:
    model = Autoencoder(variant=Variational(beta=WarmUp(4.0))).set_params(variant__beta__epochs=3)
    assert model.variant.beta.epochs == 3 and model.get_params()["variant__beta__to"] == 4.0
    with pytest.raises(SettingError, match=r"cannot change; give another one: WarmUp\(2.0\)"):
        model.set_params(variant__beta__to=2.0)


@pytest.mark.parametrize(
    ("module", "settings", "sentence"),
    [
        (lambda: module_of(TopK(k=WarmUp(2.0))), {}, "k of top_k is WarmUp.*must be a whole number"),  # type: ignore[arg-type]
        (lambda: module_of(L1Sparse(WarmUp(1.0, start=-1.0))), {}, "weight of l1_sparse is -1.0; it must be a number"),
        (lambda: module_of(L1Sparse(WarmUp(1.0, epochs=-1))), {}, "epochs of warm_up is -1; it must be a number"),
        (lambda: module_of(Denoising(Masking(WarmUp(0.5, start=2.0)))), {}, "share of masking is 2.0"),
        (lambda: module_of((), Dense((6,), dropout=WarmUp(0.5))), {}, "dropout of dense is read only once"),
        (lambda: module_of(()), {"learning_rate": WarmUp(0.1)}, r"a warm-up of its own: schedule=Cosine\(warm_up=0.1"),
        (lambda: module_of(()), {"weight_decay": WarmUp(0.1)}, "weight_decay of training is read only once"),
        (lambda: module_of(L1Sparse(WarmUp("much"))), {}, "to of warm_up is 'much'; it must be a number"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_warm_up_is_refused_in_a_sentence(module: Any, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        fit(module(), epochs=1, **settings)
