"""Model files: what was saved comes back exactly; what is hostile, foreign or incomplete is refused in a sentence."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isthmus import AnomalyDetector, Autoencoder, Training, load, storage
from isthmus.errors import DoctorWarning, ModelFileError
from isthmus.likelihoods import Normal
from isthmus.networks import Dense
from isthmus.reconstruction import Reconstruction
from isthmus.saving import settings_to_json
from isthmus.spec import SampleSpec
from isthmus.variants import Denoising, Variational
from isthmus.variants.base import Pass, Variant


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


X = np.random.default_rng(0).normal(size=(80, 2)) @ np.random.default_rng(1).normal(size=(2, 5))
QUICK = Training(max_epochs=3)


class Shrink(Variant):
    """A penalty of the user's own."""

    def __init__(self, weight: float = 0.1):
        self.weight = weight

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> torch.Tensor:
        assert reconstruction.code is not None
        return self.weight * reconstruction.code.square().mean(0).flatten(1).sum(1)


class MyEncoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


class MyDecoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 5))


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(2, training=QUICK, random_state=0),
        Autoencoder(
            2, variant=[Denoising("swap"), Variational(beta=0.3)], network=Dense(widths=(6,), tied=True), training=QUICK
        ),
        Autoencoder(2, network=Dense(normalisation="batch"), likelihood="laplace", precision="float64", training=QUICK),
        AnomalyDetector(Autoencoder(2, training=QUICK), contamination=0.2),
    ],
    ids=["plain", "tied-variational", "batch-float64", "detector"],
)
def test_saved_and_loaded_answers_are_equal_bit_for_bit(model: Any, tmp_path: Path) -> None:
    model.fit(X).save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert settings_to_json(again) == settings_to_json(model)
    inner, inner_again = getattr(model, "autoencoder_", model), getattr(again, "autoencoder_", again)
    np.testing.assert_array_equal(inner_again.transform(X), inner.transform(X))
    np.testing.assert_array_equal(inner_again.sample(5, random_state=1), inner.sample(5, random_state=1))
    assert inner_again.history_ == inner.history_
    assert not inner_again.module_.training


def test_parts_from_outside_come_back_when_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = Autoencoder(network=(MyEncoder(), MyDecoder()), variant=["denoising", Shrink(0.3)], training=QUICK).fit(X)
    model.save(path)
    for missing, parts in (("Shrink", [MyEncoder, MyDecoder]), ("MyEncoder", [Shrink]), ("MyEncoder", [])):
        with pytest.raises(ModelFileError, match=rf"{missing}|Shrink"):
            load(path, parts=parts)
    again = load(path, parts=[MyEncoder, MyDecoder, Shrink])
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.variant[1].weight == 0.3


class MyAutoencoder(nn.Module):
    """A whole module of the user's own: nothing but encode, decode, reconstruct and loss."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(5, 2), nn.Linear(2, 5)

    def encode(self, x: Any, weight: Any = None) -> Any:
        return self.down(x)

    def decode(self, code: Any, weight: Any = None, previous: Any = None) -> Any:
        return Normal()(self.up(code), SampleSpec((5,)))

    def reconstruct(self, x: Any, weight: Any = None, seen: Any = None, target: Any = None) -> Reconstruction:
        done = Reconstruction(SampleSpec((5,)), x, weight, x, weight, x if target is None else target)
        done.code = self.encode(x).unsqueeze(0)
        done.output = self.decode(done.code)
        done.distortion = done.output.nll(done.target).sum(-1)
        return done

    def loss(self, x: Any, weight: Any = None, seen: Any = None, target: Any = None) -> Any:
        return self.reconstruct(x, weight, seen, target).distortion.mean()


def test_a_whole_module_of_ones_own_does_all_that_an_autoencoder_does(tmp_path: Path) -> None:
    model = Autoencoder(network=MyAutoencoder(), training=Training(max_epochs=30), random_state=0).fit(X)
    assert model.n_components_ == 2 and model.transform(X).shape == (80, 2)
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    assert model.sample(3).shape == model.reconstruct(X[:3]).shape == (3, 5)
    assert f"{(5 * 2 + 2) + (2 * 5 + 5)}" in model.summary().splitlines()[-1]
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m", parts=[MyAutoencoder]).transform(X), model.transform(X))
    assert AnomalyDetector(model).fit(X).explain(X).shape == (80, 5)


def test_callbacks_and_checkpoints_do_not_go_into_the_file(tmp_path: Path) -> None:
    training = Training(max_epochs=2, callbacks=[lambda report: None], checkpoint=str(tmp_path / "run.checkpoint"))
    Autoencoder(2, training=training).fit(X).save(tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors").training.callbacks == ()
    assert not (tmp_path / "run.checkpoint").exists()


def changed(path: Path, change: Any) -> Path:
    """The same file with something in its document changed, and the hash made good again."""
    stored = storage.load(path)
    document = json.loads(json.dumps(stored.document))
    change(document)
    storage.save(path, document, stored.tensors)
    return path


def put(*keys: str, value: Any) -> Any:
    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("class", value="os.system"),
        put("class", value="load"),
        put("class", value="Pipeline"),
        put("class", value=7),
        put("settings", "variant", value={"part": ["variants", "sprase"], "settings": {}}),
        put("settings", "variant", value={"part": ["os", "system"], "settings": {"command": "true"}}),
        put("settings", "variant", value={"part": ["interfaces", "cli"], "settings": {}}),
        put("settings", "variant", value={"part": ["variants", "denoising"], "settings": {"demage": 1}}),
        put("settings", "variant", value={"part": ["variants"], "settings": {}}),
        put("settings", "variant", value={"outside": "__import__"}),
        put("settings", "network", value={"part": ["networks", "dense"], "settings": {"widths": [10**9, 10**9]}}),
        put("settings", "network", value={"part": ["networks", "dense"], "settings": {"widths": [-1]}}),
        put("settings", "colour", value="red"),
        put("settings", value=None),
        put("settings", "likelihood", value="nonsense"),
        put("fitted", "n_components", value=3),
        put("fitted", "n_components", value=10**9),
        put("fitted", "n_components", value="many"),
        put("fitted", "doctor", value=[{"colour": 1}]),
        put("fitted", "schema", value={}),
        put("fitted", "data", value={"part": ["data", "tables"], "settings": {"scaling": "standard", "evil": 1}}),
        put("fitted", "data", value="tables"),
        put("fitted", value={}),
        put("extra", value=1),
        lambda document: document.pop("class"),
        lambda document: document["fitted"].pop("schema"),
    ],
)
def test_a_hostile_document_is_refused_in_a_sentence(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    Autoencoder(2, training=Training(max_epochs=1)).fit(X).save(path)
    with pytest.raises(ModelFileError) as caught:
        load(changed(path, change))
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_or_too_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    Autoencoder(2, training=Training(max_epochs=1)).fit(X).save(path)
    stored = storage.load(path)
    names = [name for name in stored.tensors if name.startswith("module.")]
    for tensors in (
        {name: value for name, value in stored.tensors.items() if name != names[0]},
        stored.tensors | {"module.extra": torch.zeros(2)},
        stored.tensors | {names[0]: torch.zeros(3, 3)},
        {name: value for name, value in stored.tensors.items() if not name.startswith("codes.")},
        {name: value for name, value in stored.tensors.items() if not name.startswith("data.")},
        {name: value for name, value in stored.tensors.items() if name != "history"},
        stored.tensors | {"history": storage.text_tensor(["{}"])},
        stored.tensors | {"codes.mean": torch.zeros(3)},
        stored.tensors | {"codes.covariance": torch.zeros(2, 2, 2)},
        stored.tensors | {"history": storage.text_tensor(["[" * 5000])},
    ):
        storage.save(path, stored.document, tensors)
        with pytest.raises(ModelFileError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
