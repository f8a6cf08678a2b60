"""Sparse and ordered codes: targets met, places shared out, dead components revived, directions in their order."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, distributions

from isthmus import Autoencoder, load
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.part import resolve
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.training.dense_step import DenseStep
from isthmus.training.steps import AutogradStep
from isthmus.variants import KLSparse, NestedDropout, NormMask, TopK
from isthmus.variants.base import Variant

LINEAR = Dense(widths=())
TANH = Dense(widths=(7,), activation="tanh")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    variants: Any = (), n_components: int = 3, network: Any = TANH, shape: tuple[int, ...] = (5,), **spec: Any
) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = AutoencoderModule(SampleSpec(shape, **spec), n_components, network, "normal", variants)
        return made.double()


def rows_of(x: Tensor) -> Callable[[Any], Batch]:
    return lambda rows: Batch(x[torch.as_tensor(rows)])


def digits() -> Tensor:
    return torch.from_numpy(load_digits().data / 16)


def penalty_of(module: AutoencoderModule, x: Tensor) -> Tensor:
    return module.penalise(module.reconstruct(x, generator=generator())).penalties["kl_sparse"]


def divergence(target: Any, activity: Tensor) -> Tensor:
    """Of coins, by torch."""
    wanted = torch.as_tensor(target, dtype=activity.dtype).expand_as(activity)
    return distributions.kl_divergence(distributions.Bernoulli(wanted), distributions.Bernoulli(activity)).sum()


# ---- kl_sparse


@pytest.mark.parametrize("target", [0.05, 0.6, (0.1, 0.2, 0.7)], ids=repr)
@pytest.mark.parametrize(("squash", "by_hand"), [("tanh", lambda v: v.abs().tanh()), ("sigmoid", torch.sigmoid)])
def test_the_sparse_penalty_is_the_divergence_of_the_mean_activity(target: Any, squash: str, by_hand: Any) -> None:
    x = random(40, 5)
    module = module_of(KLSparse(target=target, weight=0.7, squash=squash))
    expected = 0.7 * divergence(target, by_hand(module.encode(x)).mean(0))
    torch.testing.assert_close(penalty_of(module, x), expected)


def test_the_penalty_on_all_layers_counts_every_hidden_unit_and_the_code() -> None:
    x = random(40, 5)
    module = module_of(KLSparse(target=0.2, weight=1.0, layers="all"), network=Dense(widths=(8, 6)))
    activations: list[Tensor] = []
    module.network.encoder(x, None, activations)
    assert [values.shape[1] for values in activations] == [8, 6, 3]
    expected = sum(divergence(0.2, values.abs().tanh().mean(0)) for values in activations)
    torch.testing.assert_close(penalty_of(module, x), expected)


def test_the_units_of_a_convolution_are_its_maps() -> None:
    x = random(6, 2, 8, 8)
    network = Conv(channels=(4, 5), code="grid")
    module = module_of(KLSparse(target=0.2, weight=1.0, layers="all"), 3, network, shape=(2, 8, 8))
    done = module.reconstruct(x, generator=generator())
    sparse = module.variants[0]
    assert isinstance(sparse, KLSparse)
    assert [len(activity) for activity in sparse.activities(done)] == [4, 5, 3]
    torch.testing.assert_close(sparse.activities(done)[0], done.activations[0].abs().tanh().mean((0, 2, 3)))
    assert done.code is not None
    torch.testing.assert_close(sparse.activities(done)[2], done.code.abs().tanh().mean((0, 1, 2, 3)))


def test_the_padding_of_a_batch_is_no_quiet_place() -> None:
    """A small picture in a padded batch asks for the same as alone."""
    x = random(1, 1, 8, 8)
    padded = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    padded[..., :8, :8] = x
    weight = torch.zeros_like(padded)
    weight[..., :8, :8] = 1.0
    module = module_of(KLSparse(), 3, Conv(channels=(4, 5), code="grid"), shape=(1, 16, 16), free=(1, 2))
    alone = module.penalise(module.reconstruct(x, torch.ones_like(x), generator=generator()))
    together = module.penalise(module.reconstruct(padded, weight, generator=generator()))
    torch.testing.assert_close(together.penalties["kl_sparse"], alone.penalties["kl_sparse"])


def test_the_penalty_is_nothing_at_the_target_and_pushes_back_on_both_sides() -> None:
    def of(activity: float) -> tuple[float, float]:
        code = torch.full((1, 10, 1), math.atanh(activity), dtype=torch.float64).requires_grad_()
        x = random(10, 1)
        penalty = KLSparse(target=0.3).penalty(Reconstruction(SampleSpec((1,)), x, None, x, None, x, code=code), None)  # type: ignore[arg-type]
        assert isinstance(penalty, Tensor)
        (slope,) = torch.autograd.grad(penalty, code)
        return float(penalty.detach()), float(slope.sum())

    assert of(0.3)[0] == pytest.approx(0.0, abs=1e-12) and of(0.3)[1] == pytest.approx(0.0, abs=1e-9)
    assert of(0.1)[1] < -0.1 and of(0.6)[1] > 0.1 and min(of(0.1)[0], of(0.6)[0]) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.05, 0.2])
def test_the_sparsity_target_is_met_on_digits(target: float) -> None:
    """Promised: within 10 % in a short run; here for every single unit."""
    x = digits()
    sparse = KLSparse(target=target, weight=5.0)
    module = module_of(sparse, 20, Dense(widths=(40,), activation="sigmoid"), shape=(64,))
    train(module, rows_of(x), len(x), Training(max_epochs=30, batch_size=128, learning_rate=1e-2, validation=0.0))
    activity = module.encode(x).detach().abs().tanh().mean(0)
    assert activity.mean() == pytest.approx(target, rel=0.1)
    assert ((activity / target - 1).abs() < 0.1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 0.0}, "target of kl_sparse is 0.0; it must be a number between 0 and 1, or one such number"),
        ({"target": (0.1, 1.5)}, "target of kl_sparse is"),
        ({"target": ()}, "target of kl_sparse is"),
        ({"layers": "both"}, "layers of kl_sparse is 'both'; it must be one of code, all"),
        ({"squash": "relu"}, "squash of kl_sparse is 'relu'"),
        ({"target": (0.1, 0.2), "layers": "all"}, "one target for each component goes with layers='code'"),
    ],
)
def test_what_kl_sparse_cannot_mean_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message.replace("(", r"\(")):
        resolve("variants", KLSparse(**settings), Variant)


def test_targets_and_shares_that_do_not_fit_are_refused_in_the_pass() -> None:
    x = random(6, 5)
    with pytest.raises(SettingError, match="has 2 numbers and the code 3 components"):
        module_of(KLSparse(target=(0.1, 0.2))).loss(x)
    with pytest.raises(SettingError, match="squash of kl_sparse is 'none' and a value is"):
        module_of(KLSparse(squash="none")).loss(x)


# ---- top_k


def test_batch_top_k_shares_out_the_places_of_the_whole_batch() -> None:
    x = random(50, 5)
    module = module_of(TopK(k=2, batch=True), n_components=6)
    features = module.features(x).detach()
    code = module.reconstruct(x, generator=generator()).code
    assert code is not None
    kept = code[0] != 0
    assert kept.sum() == 2 * 50 and torch.equal(code[0][kept], features[kept])
    assert features.abs()[kept].min() > features.abs()[~kept].max()
    per_row = kept.sum(1)
    assert per_row.min() < 2 < per_row.max()  # a rich row has more of them than a poor one


def test_outside_training_the_threshold_keeps_about_k_and_rows_are_independent() -> None:
    x = random(400, 5)
    module = module_of(TopK(k=2, batch=True), n_components=6)
    smallest = []
    for rows in x.split(100):
        code = module.reconstruct(rows, generator=generator()).code
        assert code is not None
        smallest.append(float(code[code != 0].detach().abs().min()))
    average = smallest[0]
    for size in smallest[1:]:
        average = 0.99 * average + 0.01 * size
    state = module.state_dict()
    assert float(state["built.top_k.threshold"]) == pytest.approx(average, rel=1e-9)
    module.eval()
    code, features = module.encode(x), module.features(x)
    assert torch.equal(code != 0, features.abs() >= state["built.top_k.threshold"])
    assert float((code != 0).sum(1).double().mean()) == pytest.approx(2, rel=0.15)
    torch.testing.assert_close(module.encode(x[:1]), code[:1])


def test_only_a_training_pass_is_remembered() -> None:
    x = random(50, 5)
    module = module_of(TopK(k=2, batch=True, revive=0.5), n_components=6)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def changed() -> bool:
        return any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())

    module.encode(x)  # in training mode, but deterministic
    module.eval()
    module.reconstruct(x)
    module.reconstruct(x, generator=generator())  # stochastic, but held out
    assert not changed()
    module.train().reconstruct(x, generator=generator())
    assert changed()


def dead_after(variant: TopK, x: Tensor) -> float:
    """Share of the components that no row uses."""
    module = module_of(variant, 64, LINEAR, shape=(x.shape[1],))
    train(module, rows_of(x), len(x), Training(max_epochs=12, batch_size=50, learning_rate=5e-3, validation=0.0))
    return float((module.encode(x) != 0).any(0).logical_not().double().mean())


def test_dead_components_are_revived() -> None:
    """Rows of a dictionary of 64 words in 16 numbers, seen by a code of 64 components of which 2 are kept."""
    words = torch.nn.functional.normalize(random(64, 16, seed=5))
    chosen = torch.stack([torch.randperm(64, generator=generator(seed))[:2] for seed in range(2000)])
    x = words[chosen].sum(1)
    without, with_it = dead_after(TopK(k=2), x), dead_after(TopK(k=2, revive=0.5), x)
    assert without > 0.1 and with_it < 0.2 * without


def test_a_dead_component_stands_beside_the_k_that_were_chosen() -> None:
    features = torch.tensor([[5.0, 4.0, 1.0, 0.5], [5.0, 4.0, 0.1, -0.6]], dtype=torch.float64)
    module = module_of(TopK(k=2, revive=0.5), n_components=4)
    top_k, x = module.variants[0], random(2, 5)
    state = module.state_dict()
    state["built.top_k.use"].copy_(torch.tensor([1.0, 0.1, 0.2, 0.3]))
    pass_ = Reconstruction(module.spec, x, None, x, None, x, generator())
    code, _ = top_k.bottleneck(features, pass_)
    assert code[0].tolist() == [[5.0, 4.0, 1.0, 0.0], [5.0, 4.0, 0.0, -0.6]]
    use = torch.tensor([1.0, 0.1, 0.2, 0.3]) * 0.99 + 0.01 * torch.tensor([2.0, 2.0, 0.0, 0.0])
    torch.testing.assert_close(state["built.top_k.use"], use.double(), rtol=1e-6, atol=0)
    quiet, _ = top_k.bottleneck(features, Reconstruction(module.spec, x, None, x, None, x))
    assert quiet[0].tolist() == [[5.0, 4.0, 0.0, 0.0], [5.0, 4.0, 0.0, 0.0]]


@pytest.mark.parametrize("variant", [TopK(k=2, batch=True, revive=0.99), TopK(k=1, revive=0.99)], ids=repr)
def test_the_fast_step_remembers_as_the_plain_one_does(variant: TopK) -> None:
    x, results = random(90, 5), []
    for fast in (True, False):
        module = module_of(variant, n_components=6)
        assert DenseStep.fits(module, Training())
        way = DenseStep(module, 30) if fast else AutogradStep(module, Training())
        told: list[Tensor | float] = []
        for rows in (x[:30], x[30:60], x[60:]):
            told += way.terms(Batch(rows), generator(), learn=True).values()
        told += way.terms(Batch(x), generator(), learn=False).values()
        way.release()
        results.append([torch.tensor(told, dtype=x.dtype), *module.state_dict().values()])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_plain_top_k_remembers_nothing() -> None:
    """So that models from before these arguments still load."""
    assert not list(module_of(TopK(k=2)).built.parameters()) and not list(module_of(TopK(k=2)).built.buffers())


def test_the_threshold_survives_the_file(tmp_path: Path) -> None:
    x = digits().numpy()[:300, 2:6]
    model = Autoencoder(3, variant=TopK(k=2, batch=True), training=Training(max_epochs=3), random_state=0).fit(x)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "model.safetensors").transform(x), model.transform(x))


# ---- nested_dropout


def kept_in(module: AutoencoderModule, x: Tensor, seed: int = 0) -> Tensor:
    code = module.reconstruct(x, generator=generator(seed)).code
    assert code is not None
    return code[0] != 0


def test_leading_components_are_kept_with_the_chances_promised() -> None:
    x = random(40_000, 5)
    kept = kept_in(module_of(NestedDropout(keep=0.7), n_components=5), x)
    assert bool((kept[:, 1:] <= kept[:, :-1]).all())  # never one without those before it
    chances = 0.7 ** torch.arange(5, dtype=torch.float64)
    spread = (chances * (1 - chances) / len(x)).sqrt()
    assert bool(((kept.double().mean(0) - chances).abs() <= 4 * spread).all())


def test_a_sample_is_cut_at_the_same_length_everywhere_and_nothing_is_cut_outside_training() -> None:
    x = random(30, 1, 8, 8)
    module = module_of(NestedDropout(keep=0.5), 4, Conv(channels=(4, 5), code="grid"), shape=(1, 8, 8))
    kept = kept_in(module, x)
    assert bool((kept == kept[:, :1, :1]).all()) and len(kept[:, 0, 0].sum(-1).unique()) > 2
    assert torch.equal(module.eval().encode(x), module.features(x))


@pytest.mark.slow
def test_a_linear_autoencoder_finds_the_principal_directions_in_order() -> None:
    """Promised: |cos| of at least 0.99 for the first 8; a code cut short is then the best of its length."""
    x = torch.from_numpy(load_digits().data)
    x = x - x.mean(0)
    pca = PCA(8, svd_solver="full").fit(x.numpy())
    cosines = []
    for variants, steps in (((), 300), (NestedDropout(), 1500)):
        module = module_of(variants, 8, LINEAR, shape=(64,))
        settings = Training(max_epochs=steps, batch_size=len(x), learning_rate=5e-2, validation=0.0)
        train(module, rows_of(x), len(x), settings)
        found = module.state_dict()["network.decoder.layers.0.linear.weight"].T.numpy()
        cosines.append(np.abs((found * pca.components_).sum(1)) / np.linalg.norm(found, axis=1))
    assert cosines[0].min() < 0.5 and cosines[1].min() >= 0.99  # without it only the subspace is found
    code = module.encode(x).detach()
    for length in range(1, 9):
        short = module.decode(torch.where(torch.arange(8) < length, code, 0.0)).mean.detach()
        smallest = x.var(0, correction=1).sum() - pca.explained_variance_[:length].sum()
        assert float((x - short).square().sum() / (len(x) - 1) / smallest) < 1.01


# ---- norm_mask


def test_components_are_normalised_scaled_and_switched_off() -> None:
    x = random(50, 5)
    module = module_of(NormMask(weight=0.5, threshold=0.3), n_components=4)
    scale, shift = torch.tensor([1.0, -2.0, 0.5, 0.7]).double(), random(4, seed=1)
    state = module.state_dict()
    state["built.norm_mask.scale"].copy_(scale)
    state["built.norm_mask.shift"].copy_(shift)
    features = module.features(x).detach()
    done = module.penalise(module.reconstruct(x, generator=generator()))
    mean, variance = features.mean(0), features.var(0, correction=0)
    off = scale.abs() < 0.3 * 2.0
    assert off.tolist() == [False, False, True, False]
    normal = (features - mean) / (variance + 1e-5).sqrt() * scale + shift
    assert done.code is not None
    torch.testing.assert_close(done.code[0].detach(), normal.masked_fill(off, 0.0))
    torch.testing.assert_close(done.penalties["norm_mask"].detach(), 0.5 * scale.abs().sum())
    # prediction takes what training has gathered: a tenth of the way from 0 and 1
    gathered = (features - 0.1 * mean) / (0.9 + 0.1 * variance + 1e-5).sqrt() * scale + shift
    torch.testing.assert_close(module.eval().encode(x).detach(), gathered.masked_fill(off, 0.0))


@pytest.mark.slow
def test_a_code_too_wide_finds_its_own_width() -> None:
    """Three factors in twenty numbers, and ten components: three stay, and next to nothing is lost."""
    x = random(1000, 3) @ random(3, 20, seed=1) + 0.1 * random(1000, 20, seed=2)
    module = module_of(NormMask(weight=2.0), 10, LINEAR, shape=(20,))
    settings = Training(max_epochs=100, batch_size=100, learning_rate=1e-2, validation=0.0)
    train(module, rows_of(x), len(x), settings)
    back, mask = module.decode(module.encode(x)).mean.detach(), module.variants[0]
    assert isinstance(mask, NormMask) and int(mask.on().sum()) == 3
    assert float((x - back).square().sum() / (x - x.mean(0)).square().sum()) < 0.01
    assert int((module.encode(x) != 0).any(0).sum()) == 3
