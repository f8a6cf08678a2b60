"""Layers from elsewhere: taken into either half as they are, frozen or not, alone or shared."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isthmus import Autoencoder, Training, load
from isthmus.module import AutoencoderModule
from isthmus.networks import Custom
from isthmus.spec import SampleSpec

X = (load_digits().data[:400] / 16).astype(np.float32)
ROUGH = Training(  # everything that changes weights at once
    max_epochs=3, batch_size=50, optimizer="adamw", learning_rate=0.01, weight_decay=0.1, ema=0.9, clip=1.0, l1=1e-3
)


class Pretrained(nn.Sequential):
    """Layers that somebody else trained; the numbers that they remember are far from where they start."""

    def __init__(self, n_in: int = 64, n_out: int = 12):
        super().__init__(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Dropout(0.5))
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.fill_(0.3)
        norm.running_var.fill_(2.0)


class Encoder(nn.Module):
    def __init__(self, pretrained: nn.Module | None = None):
        super().__init__()
        self.pretrained = pretrained if pretrained is not None else Pretrained()
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.pretrained(x))
        return out


class Decoder(nn.Module):
    def __init__(self, pretrained: nn.Module | None = None):
        super().__init__()
        self.pretrained = pretrained if pretrained is not None else Pretrained(4, 12)
        self.head = nn.Linear(12, 64)

    def forward(self, code: Tensor) -> Tensor:
        out: Tensor = self.head(self.pretrained(code))
        return out


def fitted(encoder: nn.Module, decoder: nn.Module, variant: Any = (), **settings: Any) -> Autoencoder:
    network: Any = settings.pop("network", (encoder, decoder))
    model = Autoencoder(4, network=network, variant=variant, training=ROUGH, random_state=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def halves(frozen: bool) -> tuple[Encoder, Decoder]:
    pair = Encoder(), Decoder()
    for half in pair:
        half.pretrained.requires_grad_(not frozen)
    return pair


VARIANTS: list[Any] = [(), "variational", "masked", "contractive", ["denoising", "l1_sparse"], "importance_weighted"]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_frozen_layers_stay_exactly_as_they_are_and_the_others_learn(variant: Any) -> None:
    pair = halves(frozen=True)
    given = [state(half) for half in pair]
    variant = ["variational", variant] if variant == "importance_weighted" else variant
    model = fitted(*pair, variant)
    for half, before in zip((model.module_.network.encoder, model.module_.network.decoder), given, strict=True):
        assert changed(half.inner, before) == {"head.weight", "head.bias"}  # type: ignore[arg-type]
    assert model.history_["loss"][-1] < model.history_["loss"][0]


def test_layers_that_are_not_frozen_go_on_learning() -> None:
    pair = halves(frozen=False)
    given = [state(half) for half in pair]
    model = fitted(*pair)
    for half, before in zip((model.module_.network.encoder, model.module_.network.decoder), given, strict=True):
        assert changed(half.inner, before) == set(before)  # type: ignore[arg-type]


@pytest.mark.parametrize("frozen", [True, False])
def test_what_was_passed_in_stays_untouched_and_the_model_shares_only_with_its_own_halves(frozen: bool) -> None:
    pair = halves(frozen)
    given, flags = [state(half) for half in pair], [[p.requires_grad for p in half.parameters()] for half in pair]
    model = fitted(*pair)
    assert not any(changed(half, before) for half, before in zip(pair, given, strict=True))
    assert [[p.requires_grad for p in half.parameters()] for half in pair] == flags
    theirs = {p.data_ptr() for half in pair for p in half.parameters()}
    own = {p.data_ptr() for p in model.module_.parameters()}
    assert not theirs & own
    assert (
        {p.data_ptr() for p in model.encoder_.parameters()}
        == own
        == {p.data_ptr() for p in model.decoder_.parameters()}
    )


def test_training_starts_from_what_the_layers_have_learned() -> None:
    encoder, decoder = (half.eval() for half in halves(frozen=False))
    module = AutoencoderModule(SampleSpec((64,)), 4, (encoder, decoder)).eval()
    x = torch.from_numpy(X[:20])
    assert torch.equal(module.encode(x), encoder(x))
    assert torch.equal(module.decode(encoder(x)).mean, decoder(encoder(x)))


def test_only_what_is_frozen_is_left_in_evaluation_mode() -> None:
    encoder, decoder = halves(frozen=False)
    encoder.pretrained.requires_grad_(False)
    module = AutoencoderModule(SampleSpec((64,)), 4, (encoder, decoder)).train()
    inner: Any = module.network.encoder.inner  # type: ignore[union-attr]
    quiet = {name for name, layer in inner.named_modules() if not layer.training}
    assert quiet == {"pretrained", "pretrained.0", "pretrained.1", "pretrained.2", "pretrained.3"}
    assert all(layer.training for layer in module.network.decoder.modules())
    assert not any(layer.training for layer in module.eval().modules())


def test_layers_of_one_of_our_own_models_go_into_another() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = Autoencoder(12, training=Training(max_epochs=5), random_state=0).fit(X)
    learned = copy.deepcopy(first.encoder_).requires_grad_(False)
    model = fitted(
        nn.Sequential(learned, nn.Linear(12, 4)), nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 64))
    )
    inside: Any = model.module_.network.encoder.inner[0]  # type: ignore[union-attr]
    x = torch.from_numpy(X)
    with torch.no_grad():
        assert torch.equal(inside(x), first.encoder_(x))


class Turned(nn.Module):
    """The decoder with the encoder's own weight, transposed."""

    def __init__(self, linear: nn.Linear | None = None):
        super().__init__()
        self.linear = linear if linear is not None else nn.Linear(64, 4)

    def forward(self, code: Tensor) -> Tensor:
        return code @ self.linear.weight


@pytest.mark.slow
def test_what_the_halves_share_is_trained_as_one_and_comes_back_as_one(tmp_path: Path) -> None:
    linear = nn.Linear(64, 4)
    network = Custom(linear, Turned(linear))
    model = fitted(linear, network.decoder, network=network)
    x = torch.from_numpy(X[:10])

    def is_tied(model: Autoencoder) -> bool:
        halves: Any = model.module_.network
        return halves.encoder.inner.weight is halves.decoder.inner.linear.weight

    assert is_tied(model)
    assert sum(p.numel() for p in model.module_.parameters()) == 64 * 4 + 4
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", parts=[linear, network.decoder])
    assert is_tied(again)
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    assert torch.equal(again.encoder_(x), model.encoder_(x))


def test_frozen_layers_come_back_from_a_file(tmp_path: Path) -> None:
    pair = halves(frozen=True)
    model = fitted(*pair)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", parts=[Encoder, Decoder])
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    inner: Any = again.module_.network.encoder.inner
    assert not changed(inner.pretrained, state(pair[0].pretrained))


LEARNED = Pretrained()


class Holding(nn.Module):
    """Has layers that were trained elsewhere from the start, beside new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.learned, self.head = copy.deepcopy(LEARNED), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.learned(x))
        return out


def test_a_class_that_holds_learned_layers_is_read_from_a_file(tmp_path: Path) -> None:
    model = fitted(Holding(), Decoder())
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors", parts=[Holding, Decoder])
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_a_look_at_a_module_leaves_its_modes() -> None:
    encoder = Encoder()
    encoder.pretrained.eval()
    assert Custom(encoder, Decoder()).code_size(SampleSpec((64,))) == 4
    assert encoder.training and encoder.head.training
    assert not any(layer.training for layer in encoder.pretrained.modules())
