"""What is said of tied, frozen and sparse parts, on whole models: through files, other processes and more training."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isthmus import Autoencoder, Training, load
from isthmus.errors import DoctorWarning
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, train
from isthmus.variants import TopK


def digits() -> np.ndarray:
    return (load_digits().data / 16).astype(np.float32)[:400]


def fitted(model: Autoencoder) -> Autoencoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        return model.fit(digits())


# ---- tied weights


def test_tied_weights_halve_all_parameters() -> None:
    """Within 2 %, biases and all."""
    sizes = []
    for tied in (True, False):
        module = AutoencoderModule(SampleSpec((784,)), 30, Dense((256, 64), tied=tied))
        sizes.append(sum(parameter.numel() for parameter in module.parameters()))
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.01)


LATER = """
import sys, numpy as np, torch
from isthmus import Training, load
from isthmus.training import Batch, train

def widest_gap(module):
    '''Between the decoder and the encoder's weights the other way round, worked out by hand.'''
    code = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, hidden = module.decode(code).mean, code
        layers = module.network.decoder.layers
        for index, (one, mirror) in enumerate(zip(layers, reversed(module.network.encoder.layers))):
            hidden = hidden @ mirror.linear.weight + one.linear.bias
            hidden = hidden.tanh() if index + 1 < len(layers) else hidden
    return float((found - hidden).abs().max())

model, x = load(sys.argv[1]), np.load(sys.argv[2])
np.testing.assert_array_equal(model.reconstruct(x), np.load(sys.argv[3]))
module, rows = model.module_.double(), torch.from_numpy(x).double()
before = [parameter.detach().clone() for parameter in module.parameters()]
gaps = [widest_gap(module)]
train(module, lambda chosen: Batch(rows[torch.as_tensor(chosen)]), len(rows), Training(max_epochs=2))
gaps.append(widest_gap(module))
moved = [float((new - old).abs().max()) for new, old in zip(module.parameters(), before)]
assert max(gaps) < 1e-12 and min(moved) > 1e-5, (gaps, moved)
print("tied", sum(parameter.numel() for parameter in module.parameters()))
"""


@pytest.mark.slow
def test_they_stay_tied_in_another_process_and_in_further_training(tmp_path: Path) -> None:
    x = digits()[:, 2:6]
    network = Dense(widths=(6,), activation="tanh", tied=True)
    model = Autoencoder(3, network=network, training=Training(max_epochs=3), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(x).save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "back.npy", model.reconstruct(x))
    paths = [str(tmp_path / name) for name in ("model.safetensors", "x.npy", "back.npy")]
    done = subprocess.run([sys.executable, "-c", LATER, *paths], capture_output=True, text=True, check=False)
    n_parameters = sum(parameter.numel() for parameter in model.module_.parameters())
    assert done.stdout.split() == ["tied", str(n_parameters)], done.stderr


# ---- frozen parts


class Trained(nn.Sequential):
    """Layers that somebody trained before: they keep running statistics, and drop units in training."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Dropout(0.5), nn.Tanh(), nn.Linear(20, 5))


def some_encoder() -> Trained:
    torch.manual_seed(0)
    encoder = Trained()
    for _ in range(5):  # so that the statistics are not those of the beginning
        encoder(3 * torch.randn(50, 64) + 1)
    return encoder


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    "settings", [{}, {"ema": 0.9}, {"weight_decay": 0.1, "l1": 1e-3}, {"validation": 0.0}], ids=str
)
@pytest.mark.parametrize("variant", [(), ["denoising", "top_k"]], ids=str)
def test_a_frozen_encoder_stays_bit_for_bit(settings: dict[str, Any], variant: Any, tmp_path: Path) -> None:
    encoder = some_encoder().requires_grad_(False)
    training = Training(max_epochs=3, **settings)
    model = fitted(Autoencoder(network=(encoder, nn.Linear(5, 64)), variant=variant, training=training, random_state=0))
    x = torch.from_numpy(digits())
    for kept in (model, None):
        if kept is None:
            model.save(tmp_path / "model.safetensors")
            kept = load(tmp_path / "model.safetensors", parts=[Trained, nn.Linear(5, 64)])
        inner = kept.module_.network.encoder
        found = next(part for part in inner.modules() if isinstance(part, Trained))
        before = state(encoder)
        assert all(torch.equal(value, before[name]) for name, value in state(found).items())
        if not variant:
            torch.testing.assert_close(kept.module_.encode(x), encoder.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.module_.network.decoder.inner.weight, model.network[1].weight)


def test_only_what_is_frozen_stays() -> None:
    """The first layer is frozen, those behind it learn and gather their statistics."""
    encoder = some_encoder()
    encoder[0].requires_grad_(False)
    before = state(encoder)
    training = Training(max_epochs=2)
    model = fitted(Autoencoder(network=(encoder, nn.Linear(5, 64)), training=training, random_state=0))
    found = next(part for part in model.module_.modules() if isinstance(part, Trained))
    same = {name for name, value in state(found).items() if torch.equal(value, before[name])}
    assert same == {"0.weight", "0.bias"}


# ---- a dictionary that is known


@pytest.mark.slow
def test_a_known_dictionary_is_found_again() -> None:
    """96 words in 64 numbers, three of them in a sample: mean largest cosine 0.95, none dead, F1 0.9."""
    generator = torch.Generator().manual_seed(0)
    words = torch.nn.functional.normalize(torch.randn(96, 64, generator=generator))
    on = torch.rand(20_000, 96, generator=generator) < 3 / 96
    x = (on * (0.5 + torch.rand(on.shape, generator=generator))) @ words
    torch.manual_seed(0)
    module = AutoencoderModule(SampleSpec((64,)), 96, Dense(widths=()), variants=TopK(k=3, batch=True, revive=0.1))
    training = Training(max_epochs=12, batch_size=256, learning_rate=3e-3, validation=0.0)
    train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), training)
    columns = torch.nn.functional.normalize(module.state_dict()["network.decoder.layers.0.linear.weight"].T)
    cosines = (columns @ words.T).abs()
    with torch.inference_mode():
        said = module.encode(x) != 0
    theirs, ours = linear_sum_assignment(-cosines.T.numpy())
    hits = float((said[:, ours] & on[:, theirs]).sum())
    assert float(cosines.amax(0).mean()) >= 0.95
    assert int((~said.any(0)).sum()) == 0
    assert 2 * hits / float(said.sum() + on.sum()) >= 0.9
