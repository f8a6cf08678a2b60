"""Codes of few values: gradients past the rounding, codebooks that follow the features, bits and levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from isthmus import Autoencoder, load
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.part import resolve
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Checkpoint, Training, train
from isthmus.variants import Binary, FiniteScalar, Quantized
from isthmus.variants.base import Variant

TANH = Dense(widths=(7,), activation="tanh")
GRID = Conv(channels=(4, 5), code="grid")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    variants: Any = (), n_components: int = 4, network: Any = TANH, shape: tuple[int, ...] = (5,), **spec: Any
) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AutoencoderModule(SampleSpec(shape, **spec), n_components, network, "normal", variants).double()


def rows_of(x: Tensor) -> Callable[[Any], Batch]:
    return lambda rows: Batch(x[torch.as_tensor(rows)])


def quantized(module: AutoencoderModule) -> Quantized:
    found = module.variants[0]
    assert isinstance(found, Quantized)
    return found


def books(module: AutoencoderModule) -> dict[str, Tensor]:
    """vectors (groups, n_codes, size), sums and use of a module's codebooks, as they lie in it."""
    return {name.rpartition(".")[2]: value for name, value in module.named_buffers() if "quantized" in name}


def pass_of(module: AutoencoderModule, features: Tensor, learn: bool = True) -> tuple[Tensor, Tensor]:
    """Code (B, ..., n) and rate (B,) of these features in a pass, learning or not."""
    x = torch.zeros(len(features), *module.spec.shape, dtype=features.dtype)
    made = Reconstruction(module.spec, x, None, x, None, x, generator() if learn else None)
    code, rate = module.bottleneck.bottleneck(features, made)
    return code[0], torch.as_tensor(rate).expand(1, len(features))[0]


# ---- gradients past the rounding

STRAIGHT: list[tuple[Variant, Callable[[Tensor], Tensor]]] = [
    (Quantized(n_codes=8, groups=2, commitment=0.0), lambda f: f),
    (FiniteScalar(levels=4), torch.tanh),
    (FiniteScalar(levels=(2, 3, 4, 9)), torch.tanh),
    (Binary(slope=1.5), lambda f: 2 * torch.sigmoid(1.5 * f) - 1),
    (Binary(signs=False, slope=1.5), lambda f: torch.sigmoid(1.5 * f)),
    (Binary(signs=False, stochastic=True), torch.sigmoid),
]


@pytest.mark.parametrize(("variant", "soft"), STRAIGHT, ids=[repr(variant) for variant, _ in STRAIGHT])
def test_the_gradient_goes_straight_through_the_rounding(variant: Variant, soft: Callable[[Tensor], Tensor]) -> None:
    """Whatever is asked of the code is felt as if the code were what is rounded."""
    features, asked = random(9, 4).requires_grad_(), random(9, 4, seed=1)
    code, _ = pass_of(module_of(variant), features)
    (found,) = torch.autograd.grad((code * asked).sum(), features)
    (expected,) = torch.autograd.grad((soft(features) * asked).sum(), features)
    torch.testing.assert_close(found, expected)
    assert float((code - soft(features)).detach().abs().max()) > 0.1  # and yet it is rounded


def test_the_rate_draws_the_features_to_their_entries_and_not_the_other_way() -> None:
    module = module_of(Quantized(n_codes=8, groups=2, commitment=0.7))
    features = random(9, 4).requires_grad_()
    code, rate = pass_of(module, features, learn=False)
    torch.testing.assert_close(rate, 0.7 * (features - code.detach()).square().sum(1))
    (found,) = torch.autograd.grad(rate.sum(), features)
    torch.testing.assert_close(found, 1.4 * (features - code.detach()))


# ---- the codebook


def among(entries: Tensor, vectors: Tensor) -> Tensor:
    """Which entries are one of these vectors, to the bit."""
    return (entries[:, None] == vectors).all(-1).any(1)


def test_every_piece_of_a_code_is_its_nearest_entry_to_the_bit() -> None:
    module = module_of(Quantized(n_codes=8, groups=2))
    features = random(50, 4)
    code, _ = pass_of(module, features, learn=False)
    for group, entries in enumerate(books(module)["vectors"]):
        pieces = features[:, 2 * group : 2 * group + 2]
        nearest = torch.cdist(pieces, entries).argmin(1)
        assert torch.equal(code[:, 2 * group : 2 * group + 2], entries[nearest])
        assert torch.equal(quantized(module).indices(features)[:, group], nearest)
    assert torch.equal(quantized(module).lookup(quantized(module).indices(features)), code)


def test_at_first_all_entries_are_feature_vectors_of_the_batch() -> None:
    module = module_of(Quantized(n_codes=6, decay=1.0, revive=0.0))
    features = random(50, 4)
    pass_of(module, features)
    entries = books(module)["vectors"][0]
    assert bool(among(entries, features).all()) and len(entries.unique(dim=0)) == 6


def test_the_moving_averages_follow_their_formula() -> None:
    """N = d N + (1 - d) n, m = d m + (1 - d) sum of vectors, e = m / N; n in units of equal use."""
    module = module_of(Quantized(n_codes=3, decay=0.8, revive=0.0))
    entries, use = random(3, 4, seed=2), torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    state = books(module)
    state["vectors"].copy_(entries[None])
    state["use"].copy_(use[None])
    state["sums"].copy_((use[:, None] * entries)[None])
    features = random(20, 4)
    chosen = torch.cdist(features, entries).argmin(1)
    code, _ = pass_of(module, features)
    assert torch.equal(code, entries[chosen])  # the entries from before
    counts = torch.stack([(chosen == entry).sum() for entry in range(3)]).double()
    sums = torch.stack([features[chosen == entry].sum(0) for entry in range(3)])
    assert counts.min() > 0
    use_after = 0.8 * use + 0.2 * counts * 3 / 20
    sums_after = 0.8 * use[:, None] * entries + 0.2 * sums * 3 / 20
    torch.testing.assert_close(state["use"][0], use_after)
    torch.testing.assert_close(state["sums"][0], sums_after)
    torch.testing.assert_close(state["vectors"][0], sums_after / use_after[:, None])


def test_without_a_memory_a_pass_is_a_step_of_k_means() -> None:
    module = module_of(Quantized(n_codes=5, decay=0.0, revive=0.0))
    features = random(200, 4)
    pass_of(module, features)
    errors = []
    for _ in range(30):
        chosen = quantized(module).indices(features)[:, 0]
        errors.append(float((features - quantized(module).lookup(chosen[:, None])).square().sum()))
        pass_of(module, features)
        for entry in chosen.unique().tolist():
            torch.testing.assert_close(books(module)["vectors"][0, entry], features[chosen == entry].mean(0))
    assert all(later <= earlier + 1e-9 for earlier, later in zip(errors[:-1], errors[1:], strict=True))
    assert errors[-1] < 0.95 * errors[0]
    assert torch.equal(chosen, quantized(module).indices(features)[:, 0])  # it came to rest


def test_dead_entries_are_revived_from_the_batch_and_live_ones_are_left_alone() -> None:
    features = random(50, 4)
    revived = {}
    for revive in (0.0, 0.5):
        module = module_of(Quantized(n_codes=6, decay=1.0, revive=revive))
        state = books(module)
        state["use"].fill_(1.0)
        state["use"][0, 4:] = 0.4
        state["vectors"][0, 4:] += 100.0
        state["sums"].copy_(state["use"].unsqueeze(-1) * state["vectors"])
        before = state["vectors"].clone()
        pass_of(module, features)
        torch.testing.assert_close(state["vectors"][0, :4], before[0, :4])
        revived[revive] = among(state["vectors"][0, 4:], features)
    assert bool(revived[0.5].all()) and not bool(revived[0.0].any())


@pytest.mark.slow
def test_dead_entries_come_back_in_training() -> None:
    """Eight clusters, and entries that begin at one point far away: without revival few of them serve all."""
    centres = 4 * random(8, 5, seed=3)
    x = centres[torch.arange(800) % 8] + 0.1 * random(800, 5, seed=4)
    used = {}
    for revive in (0.0, 0.3):
        module = module_of(Quantized(n_codes=8, revive=revive, decay=0.9), n_components=2)
        books(module)["use"].fill_(1.0)  # so that they are not drawn from the first batch
        books(module)["vectors"].add_(50.0 + torch.arange(8, dtype=torch.float64)[None, :, None])
        train(module, rows_of(x), len(x), Training(max_epochs=40, batch_size=100, learning_rate=1e-2, validation=0.0))
        used[revive] = quantized(module).perplexity(quantized(module).indices(module.features(x)))
    assert used[0.0] < 5 and used[0.3] > 7


def test_only_a_training_pass_teaches_the_codebook() -> None:
    x = random(20, 5)
    module = module_of(Quantized(n_codes=6))
    before = {name: value.clone() for name, value in books(module).items()}

    def taught() -> bool:
        return any(not torch.equal(value, before[name]) for name, value in books(module).items())

    module.encode(x)  # in training mode, but deterministic
    module.eval()
    first, second = module.reconstruct(x), module.reconstruct(x)
    module.reconstruct(x, generator=generator())  # stochastic, but held out
    assert not taught()
    assert torch.equal(first.log_weights, second.log_weights)
    module.train().reconstruct(x, generator=generator())
    assert taught()


def test_perplexity_counts_the_entries_in_use() -> None:
    variant = Quantized(n_codes=8)
    assert variant.perplexity(torch.arange(8)[:, None]) == pytest.approx(8)
    assert variant.perplexity(torch.zeros(5, 1, dtype=torch.long)) == pytest.approx(1)
    shares = np.array([0.5, 0.25, 0.25])
    both = torch.tensor([[0, 3], [0, 3], [1, 3], [2, 3]])  # the groups' average
    expected = (math.exp(-(shares * np.log(shares)).sum()) + 1) / 2
    assert variant.perplexity(both) == pytest.approx(expected)


def test_groups_must_divide_the_code_and_there_must_be_a_codebook() -> None:
    with pytest.raises(SettingError, match="groups of quantized is 3, which does not divide n_components=4"):
        module_of(Quantized(groups=3))
    with pytest.raises(SettingError, match="quantized has no codebook yet"):
        Quantized().indices(random(2, 4))


# ---- grids of codes


def test_a_grid_has_one_index_at_each_place_from_one_codebook() -> None:
    x = random(6, 1, 8, 8)
    module = module_of(Quantized(n_codes=8), 4, GRID, shape=(1, 8, 8)).eval()
    features = module.features(x)
    indices = quantized(module).indices(features)
    assert indices.shape == (6, 2, 2, 1) and len(indices.unique()) > 1
    entries = books(module)["vectors"][0]
    assert torch.equal(module.encode(x), entries[indices[..., 0]])
    torch.testing.assert_close(quantized(module).lookup(indices), module.encode(x))
    rate = module.reconstruct(x).rate
    torch.testing.assert_close(rate, 0.25 * (features - module.encode(x)).square().flatten(1).sum(1)[None])


def test_padding_changes_neither_loss_nor_codebook() -> None:
    x = random(5, 1, 8, 8)
    padded, weight = torch.zeros(2, 5, 1, 16, 12, dtype=torch.float64)
    padded[..., :8, :8], weight[..., :8, :8] = x, 1.0
    results = []
    for given, present in ((x, torch.ones_like(x)), (padded, weight)):
        module = module_of(Quantized(n_codes=6, decay=0.5), 4, GRID, shape=(1, 16, 12), free=(1, 2))
        done = [module.reconstruct(given, present, generator=generator()) for _ in range(3)][-1]
        assert done.bound is not None
        results.append([done.bound, *books(module).values()])
    for alone, together in zip(*results, strict=True):
        torch.testing.assert_close(together, alone)


# ---- training, files


def images() -> Tensor:
    return torch.from_numpy(load_digits().images / 16)[:, None]


@pytest.mark.slow
def test_on_digits_most_entries_are_in_use_and_rounding_afterwards_is_worse() -> None:
    """2 x 2 places of 6 bits each; the rival is a plain autoencoder rounded to 8 x 8 levels at each place."""
    x, n_codes = images(), 64
    training, test = x[:1400], x[1400:]
    settings = Training(max_epochs=15, batch_size=50, learning_rate=5e-3, validation=0.0)
    network = Conv(channels=(16, 32), code="grid")
    errors = []
    for variants, size in ((Quantized(n_codes=n_codes, revive=0.5), 8), ((), 2)):
        module = module_of(variants, size, network, shape=(1, 8, 8)).float()
        train(module, rows_of(training.float()), len(training), settings)
        with torch.inference_mode():
            code = module.encode(test.float())
            if not variants:
                seen = module.encode(training.float()).flatten(0, 2)
                low, high = seen.min(0).values, seen.max(0).values
                code = ((code.clamp(low, high) - low) / (high - low) * 7).round() / 7 * (high - low) + low
            else:
                indices = quantized(module).indices(module.features(test.float()))
                use = quantized(module).perplexity(indices) / n_codes
            errors.append(float((module.decode(code).mean - test).square().flatten(1).sum(1).mean()))
    assert use >= 0.8 and errors[0] < errors[1]


@pytest.mark.slow
def test_the_codebook_survives_the_file(tmp_path: Path) -> None:
    x = (random(300, 2) @ random(2, 6, seed=1)).numpy()
    settings = Training(max_epochs=30, learning_rate=1e-2)
    model = Autoencoder(4, variant=Quantized(n_codes=16, groups=2), training=settings, random_state=0).fit(x)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    for name, value in books(model.module_).items():
        assert torch.equal(books(again.module_)[name], value)
    np.testing.assert_array_equal(again.transform(x), model.transform(x))
    codes = model.transform(x)
    assert len(np.unique(codes[:, :2], axis=0)) <= 16 and len(np.unique(codes, axis=0)) > 16


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.training.ahead.FETCHED", 1)  # so that every step looks at data
    x, calls = random(60, 5), []
    settings: dict[str, Any] = dict(max_epochs=6, batch_size=10, learning_rate=1e-2)

    def batches(rows: Any) -> Batch:
        calls.append(1)
        if len(calls) == 20:
            raise Stopped
        return Batch(x[torch.as_tensor(rows)])

    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    with pytest.raises(Stopped):
        train(module_of(Quantized(n_codes=6)), batches, 60, Training(**settings, checkpoint=checkpoint))
    results = []
    for keeping in (checkpoint, None):
        module = module_of(Quantized(n_codes=6))
        asked = len(calls)
        train(module, batches, 60, Training(**settings, checkpoint=keeping))
        results.append((module.state_dict(), len(calls) - asked))
    assert results[0][1] < results[1][1]  # it did go on, and not begin again
    assert all(torch.equal(value, results[1][0][name]) for name, value in results[0][0].items())


# ---- levels


def test_levels_lie_evenly_from_minus_one_to_one() -> None:
    features = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None].expand(-1, 4)
    module = module_of(FiniteScalar(levels=(2, 3, 4, 9)))
    code, _ = pass_of(module, features)
    for column, levels in enumerate((2, 3, 4, 9)):
        torch.testing.assert_close(code[:, column].unique(), torch.linspace(-1, 1, levels, dtype=torch.float64))
        # the nearest of them: no value is further than half a step from what is rounded
        assert float((code - features.tanh())[:, column].abs().max()) <= 1 / (levels - 1) + 1e-12
    variant = module.variants[0]
    assert isinstance(variant, FiniteScalar)
    indices = variant.indices(features)
    assert indices.min() == 0 and indices.amax(0).tolist() == [1, 2, 3, 8]
    torch.testing.assert_close(variant.lookup(indices).double(), code)


@pytest.mark.parametrize("levels", [1, 2.5, (), (3, 1), "many", True], ids=repr)
def test_levels_that_round_nothing_are_refused(levels: Any) -> None:
    with pytest.raises(SettingError, match="levels of finite_scalar is .* a whole number of at least 2"):
        resolve("variants", FiniteScalar(levels=levels), Variant)


def test_as_many_levels_as_components() -> None:
    with pytest.raises(SettingError, match="has 3 numbers and the code 4 components"):
        module_of(FiniteScalar(levels=(3, 3, 3)))


# ---- bits


@pytest.mark.parametrize(("signs", "values"), [(True, {-1.0, 1.0}), (False, {0.0, 1.0})])
@pytest.mark.parametrize("stochastic", [False, True])
def test_a_code_is_made_of_bits(signs: bool, values: set[float], stochastic: bool) -> None:
    x = random(200, 5)
    module = module_of(Binary(signs=signs, stochastic=stochastic))
    for code in (module.reconstruct(x, generator=generator()).code, module.encode(x)):
        assert code is not None and set(code.unique().tolist()) == values
    assert torch.equal(module.encode(x) == 1, module.features(x) > 0)  # the likelier bit, and nothing drawn


def test_drawn_bits_have_the_chances_promised() -> None:
    module = module_of(Binary(signs=False, stochastic=True, slope=2.0))
    features = torch.tensor([[-1.0, -0.2, 0.3, 1.5]], dtype=torch.float64).expand(40_000, 4)
    code, _ = pass_of(module, features)
    chances = torch.sigmoid(2 * features[0])
    spread = (chances * (1 - chances) / len(features)).sqrt()
    assert bool(((code.mean(0) - chances).abs() <= 4 * spread).all())


@pytest.mark.slow
@pytest.mark.parametrize("variant", [Binary(), Binary(stochastic=True), FiniteScalar(levels=3)], ids=repr)
def test_bits_and_levels_learn_what_there_is(variant: Variant) -> None:
    """Sixteen points in eight numbers, which a few bits can tell apart: nearly all of the spread is explained."""
    signs = torch.tensor([[(number >> bit) % 2 * 2 - 1 for bit in range(4)] for number in range(16)])
    x = (signs.double() @ random(4, 8, seed=2))[torch.arange(800) % 16]
    module = module_of(variant, 8, Dense(widths=(32,)), shape=(8,))
    train(module, rows_of(x), len(x), Training(max_epochs=40, batch_size=50, learning_rate=1e-2, validation=0.0))
    back = module.decode(module.encode(x)).mean.detach()
    left = float((x - back).square().sum() / (x - x.mean(0)).square().sum())
    assert left < 0.05
