"""Transformers: what is hidden costs nothing and leaks nowhere, sizes come back, and gradients have gradients."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isthmus import Autoencoder, Training, load
from isthmus.damage import Masking
from isthmus.damage.base import pick_patches
from isthmus.errors import DataError, SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Transformer
from isthmus.networks._patches import Patches
from isthmus.networks._transformer_layers import SinePositions, attend
from isthmus.part import find, known
from isthmus.spec import SampleSpec
from isthmus.training import Batch, train
from isthmus.variants import Masked
from isthmus.variants.base import Variant

pytestmark = pytest.mark.slow

PICTURE = SampleSpec((2, 7, 10))
SERIES = SampleSpec((11, 3), channels=1)
SMALL = Transformer(patch=3, width=8, depth=2, heads=2)
TOKENS = Transformer(patch=3, width=8, depth=2, heads=2, code="tokens")
CLASS = Transformer(patch=3, width=8, depth=2, heads=2, pool="class", positions="learned")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    network: Transformer, spec: SampleSpec = PICTURE, variants: Any = (), n_components: int = 3, moved: bool = True
) -> AutoencoderModule:
    """In float64 with fixed random weights; where `moved`, also those that start at zero, so that none is left out."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = AutoencoderModule(spec, n_components, network, "normal", variants).double()
        for parameter in module.parameters() if moved else ():
            if parameter.ndim == 1 or not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return module.eval()


def hide(x: Tensor, spec: SampleSpec, side: int, share: float, value: float = 0.0) -> Tensor:
    mask = pick_patches(x, spec, share, side, generator(3))
    return torch.ones_like(x).masked_fill(mask, value)


# ---- patches


@pytest.mark.parametrize(("shape", "channels", "sides"), [
    ((2, 7, 10), 0, (3, 4)), ((7, 10, 2), 2, (2, 5)), ((1, 1, 1), 0, (4, 4)), ((11, 3), 1, (4,)), ((3, 11), 0, (11,)),
])  # fmt: skip
def test_patches_are_the_pieces_in_reading_order_and_join_to_the_sample(
    shape: tuple[int, ...], channels: int, sides: tuple[int, ...]
) -> None:
    spec = SampleSpec(shape, channels)
    patches, x = Patches(spec, sides), random(4, *shape)
    cut = patches.cut(x)
    assert torch.equal(patches.join(cut, patches.nominal), x)
    last = x.movedim(1 + channels, -1)
    for place, index in enumerate(product(*map(range, patches.grid))):
        window = tuple(slice(i * side, (i + 1) * side) for i, side in zip(index, sides, strict=True))
        piece = last[(slice(None), *window)]
        padding = [(0, side - n) for n, side in zip(piece.shape[1:-1], sides, strict=True)]
        whole = np.pad(piece.numpy(), [(0, 0), *padding, (0, 0)])
        assert torch.equal(cut[:, place], torch.from_numpy(whole).flatten(1))


def test_positions_are_sines_and_cosines_of_each_axis() -> None:
    table = SinePositions((3, 5), 8)((3, 5), torch.zeros(1, dtype=torch.float64))[0].reshape(3, 5, 8)
    for i, j in product(range(3), range(5)):
        expected = [f(place * rate) for place in (i, j) for f in (math.sin, math.cos) for rate in (1, 0.1)]
        assert table[i, j].tolist() == pytest.approx(expected, abs=1e-6)


# ---- attention


def by_hand(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1) @ values


@pytest.mark.parametrize("masked", [False, True])
def test_attention_and_both_its_gradients_are_those_of_the_formula(masked: bool) -> None:
    given = [random(2, 3, 5, 4, seed=seed).requires_grad_() for seed in range(3)]
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])[:, None, None] if masked else None
    slope, results = random(2, 3, 5, 4, seed=9), []
    for way in (attend, by_hand):
        out = way(*given, mask)
        plain = torch.autograd.grad(out, given, slope, retain_graph=True)
        first = torch.autograd.grad(out, given, slope, create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), given)
        results.append([out, *plain, *first, *second])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("network", [SMALL, CLASS, TOKENS], ids=str)
def test_the_contractive_penalty_is_the_squared_norm_of_the_jacobian_and_has_a_gradient(network: Transformer) -> None:
    spec = SampleSpec((1, 4, 5))
    module, x = module_of(network, spec, "contractive(weight=1.0)"), random(2, 1, 4, 5)
    penalty = module.penalise(module.reconstruct(x)).penalties["contractive"]
    jacobians = [torch.autograd.functional.jacobian(lambda row: module.encode(row[None])[0], row) for row in x]
    wanted = torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean()
    torch.testing.assert_close(penalty, wanted)
    weight = next(p for name, p in module.named_parameters() if name.endswith("encoder.layers.0.asking.weight"))
    (slope,) = torch.autograd.grad(penalty, weight)
    step, found = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            weight[3, 2] += sign * step
        found.append(float(module.penalise(module.reconstruct(x)).penalties["contractive"].detach()))
        with torch.no_grad():
            weight[3, 2] -= sign * step
    assert float(slope[3, 2]) == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-5)


# ---- what is hidden


def tokens_seen(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None) -> list[int]:
    """How many tokens each block of the encoder is given for a batch."""
    seen: list[int] = []
    blocks: Any = module.network.encoder.layers
    hooks = [block.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1])) for block in blocks]
    module.encode(x, weight)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("code", "pool", "more"), [("vector", "mean", 0), ("vector", "class", 1), ("tokens", "mean", 0)]
)
def test_the_encoder_works_on_visible_patches_only(code: str, pool: str, more: int) -> None:
    spec = SampleSpec((1, 28, 28))
    module = module_of(Transformer(patch=4, width=8, heads=2, code=code, pool=pool), spec)
    x = random(5, 1, 28, 28)
    assert tokens_seen(module, x) == [49 + more] * 2
    assert tokens_seen(module, x, torch.ones_like(x)) == [49 + more] * 2
    assert tokens_seen(module, x, hide(x, spec, 4, 0.75)) == [12 + more] * 2
    weight = hide(x, spec, 4, 0.75)
    weight[2, :, :4] = 1.0  # this sample shows more, and the others are filled up
    assert tokens_seen(module, x, weight) == [int(Patches(spec, (4, 4)).any_in(weight > 0).sum(1).max()) + more] * 2


def test_masked_training_encodes_a_quarter_of_the_patches_in_every_step() -> None:
    spec = SampleSpec((1, 28, 28))
    module = AutoencoderModule(
        spec, 4, Transformer(patch=4, width=8, heads=2, code="tokens"), "normal", Masked(0.75, 0.0, patch=4)
    )
    x, counts = torch.rand(40, 1, 28, 28), set[int]()
    module.network.encoder.layers[0].register_forward_pre_hook(lambda _, given: counts.add(given[0].shape[1]))  # type: ignore[index,union-attr]
    history = train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), 40, Training(max_epochs=2, batch_size=16))
    assert counts == {12} and all(map(math.isfinite, history["loss"]))


@pytest.mark.parametrize("network", [SMALL, CLASS, TOKENS], ids=str)
@pytest.mark.parametrize("spec", [PICTURE, SERIES], ids=["picture", "series"])
def test_leaving_hidden_patches_out_is_the_same_as_attending_to_the_visible_ones(
    network: Transformer, spec: SampleSpec
) -> None:
    """Held against a pass over all tokens whose attention never looks at the hidden ones."""
    module, x = module_of(network, replace(spec, gaps=True)), random(4, *spec.shape)
    weight = hide(x, spec, 3, 0.5)
    weight[1] = 1.0
    if spec is PICTURE:
        weight[2, :, :3] = 1.0
    encoder: Any = module.network.encoder
    visible = encoder.patches.any_in(weight > 0)
    x0 = torch.where(weight > 0, x, 0.0)
    tokens = encoder.embed(encoder.patches.cut(x0)) + encoder.patches.cut((weight <= 0).double()) @ encoder.absent.T
    tokens = tokens + encoder.positions(encoder.patches.grid, x)
    if encoder.summary is not None:
        tokens = torch.cat([encoder.summary.expand(4, -1, -1), tokens], 1)
    looked = visible if encoder.summary is None else torch.cat([torch.ones(4, 1, dtype=torch.bool), visible], 1)
    for block in encoder.layers:
        tokens = block(tokens, looked[:, None, None])
    tokens = encoder.normal(tokens)
    if network.code == "tokens":
        wanted = (encoder.head(tokens) * visible.unsqueeze(-1)).unflatten(1, encoder.patches.grid)
    elif encoder.summary is not None:
        wanted = encoder.head(tokens[:, 0])
    else:
        pooled = (tokens * visible.unsqueeze(-1)).sum(1) / visible.sum(1, keepdim=True)
        wanted = encoder.head(pooled)
    torch.testing.assert_close(module.features(x, weight), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("network", [SMALL, CLASS, TOKENS], ids=str)
def test_a_code_does_not_depend_on_how_much_the_others_show(network: Transformer) -> None:
    spec = replace(PICTURE, gaps=True)
    module, x = module_of(network, spec), random(4, *spec.shape)
    weight = torch.ones_like(x)
    weight[1, :, :, 3:], weight[2, :, 2:] = 0.0, 0.0
    weight[3] = 0.0  # nothing at all
    together = module.reconstruct(x, weight)
    assert together.code is not None and together.bound is not None and bool(torch.isfinite(together.bound).all())
    for row in range(4):
        alone = module.reconstruct(x[row : row + 1], weight[row : row + 1])
        assert alone.code is not None and alone.bound is not None
        torch.testing.assert_close(alone.code[:, 0], together.code[:, row], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(alone.bound[0], together.bound[row], rtol=1e-10, atol=1e-10)
    module.loss(x, weight).backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in module.parameters())


@pytest.mark.parametrize("network", [SMALL, CLASS, TOKENS], ids=str)
def test_gaps_inside_a_patch_are_heard(network: Transformer) -> None:
    """A value of zero is something else than no value."""
    module = module_of(network, replace(PICTURE, gaps=True))
    x, weight = torch.zeros(1, *PICTURE.shape, dtype=torch.float64), torch.ones(1, *PICTURE.shape, dtype=torch.float64)
    weight[:, :, 1, 1] = 0.0
    assert not torch.allclose(module.encode(x, weight), module.encode(x, torch.ones_like(weight)))


def test_hidden_places_have_no_code_and_the_decoder_starts_there_from_its_own_vector() -> None:
    spec = replace(PICTURE, gaps=True)
    module, x = module_of(TOKENS, spec), random(3, *spec.shape)
    weight = hide(x, spec, 3, 0.5)
    code = module.encode(x, weight)
    patches: Any = module.network.encoder.patches  # type: ignore[union-attr]
    hidden = ~patches.any_in(weight > 0).unflatten(1, patches.grid)
    assert bool((code[hidden] == 0).all()) and bool((code[~hidden] != 0).any(-1).all())
    told = module.decode(code, weight).mean
    other = torch.where(hidden.unsqueeze(-1), 100.0, code)  # whatever a bottleneck may put there
    assert torch.equal(module.decode(other, weight).mean, told)
    assert not torch.allclose(module.decode(code).mean, told)  # without a weight all places count as seen


@pytest.mark.parametrize("name", sorted(known("variants")))
@pytest.mark.parametrize("network", [SMALL, TOKENS], ids=["vector", "tokens"])
def test_every_variant_trains_on_pictures_with_hidden_patches(name: str, network: Transformer) -> None:
    variant: Any = find("variants", name, Variant).examples()[0]
    module = module_of(network, PICTURE, [*variant.requires, variant], n_components=4, moved=False).train()
    spec = replace(PICTURE, gaps=True)
    module_gaps = AutoencoderModule(spec, 4, network, "normal", [*variant.requires, variant]).double()
    x = random(6, *PICTURE.shape)
    for each, weight in ((module, None), (module_gaps, hide(x, spec, 3, 0.5))):
        for own in each.variants:
            own.prepare(lambda: iter([x]), generator())
        each.loss(x, weight, generator=generator()).backward()
        slopes = [p.grad for p in each.parameters() if p.grad is not None]
        assert slopes and all(bool(torch.isfinite(slope).all()) for slope in slopes)


@pytest.mark.parametrize("network", [SMALL, CLASS, TOKENS], ids=str)
@pytest.mark.parametrize("variant", ["masked", "denoising", "contractive", "l1_sparse", "kl_sparse"])
def test_a_variant_of_no_strength_is_plain(network: Transformer, variant: str) -> None:
    neutral = find("variants", variant, Variant)().neutral()  # type: ignore[attr-defined]
    x, results = random(12, *PICTURE.shape), []
    for variants in ((), [neutral]):
        module = module_of(network, PICTURE, variants, moved=False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            history = train(
                module, lambda rows: Batch(x[torch.as_tensor(rows)]), 12, Training(max_epochs=3, validation=0.0)
            )
        results.append([torch.tensor(history["loss"]), module.decode(module.encode(x)).mean])
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(plain, other, rtol=0, atol=1e-12)


# ---- which patches


@pytest.mark.parametrize(("spec", "patch"), [(PICTURE, (2, 5)), (PICTURE, 4), (SERIES, 4), (SampleSpec((10,)), 3)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_patches_fall_whole_and_exactly_as_many_in_every_sample(spec: SampleSpec, patch: Any, share: float) -> None:
    x = torch.zeros(50, *spec.shape)
    mask = pick_patches(x, spec, share, patch, generator())
    as_places = spec if len(spec.shape) > 1 else SampleSpec((*spec.shape, 1), channels=1)
    n_axes = len(as_places.shape) - 1
    patches = Patches(as_places, tuple(patch) if isinstance(patch, tuple) else (patch,) * n_axes)
    whole, cells = patches.cut(torch.ones(1, *as_places.shape)), patches.cut(mask.reshape(50, *as_places.shape).float())
    assert torch.equal(cells.amax(-1), cells.sum(-1) / whole.sum(-1))
    counts = cells.amax(-1).sum(1)
    assert counts.unique().tolist() == [round(share * cells.shape[1])]
    if 0 < share < 1:
        often = cells.amax(-1).mean(0)
        assert bool((often > 0).all()) and bool((often < 1).all())


def test_the_share_is_of_the_patches_that_have_something_to_hide() -> None:
    x = torch.zeros(30, 1, 8, 8)
    weight = torch.ones_like(x)
    weight[10:, :, 4:] = 0.0  # half the patches of these are absent anyway
    mask = pick_patches(x, SampleSpec((1, 8, 8)), 0.5, 2, generator(), weight)
    assert mask.flatten(1).sum(1).tolist() == [32] * 10 + [16] * 20
    assert not mask[10:, :, 4:].any()


def test_a_damage_of_patches_draws_each_samples_share() -> None:
    x = torch.ones(200, 1, 8, 8)
    shares = (Masking(share=(0.25, 0.75), patch=2)(x, SampleSpec((1, 8, 8)), generator()) == 0).float().mean((1, 2, 3))
    assert (shares * 16).frac().eq(0).all() and float(shares.min()) == 0.25 and float(shares.max()) == 0.75


@pytest.mark.parametrize("patch", [0, 2.5, (), (3, -1), "4"])
def test_what_is_no_patch_is_refused(patch: Any) -> None:
    for part in (Masked(patch=patch), Masking(patch=patch), Transformer(patch=patch)):
        with pytest.raises(SettingError, match="patch of"):
            part.check()


# ---- sizes


@pytest.mark.parametrize("network", [SMALL, TOKENS], ids=["vector", "tokens"])
@pytest.mark.parametrize("masked", [False, True])
def test_padding_changes_nothing_in_a_batch_of_many_sizes(network: Transformer, masked: bool) -> None:
    spec = replace(PICTURE, free=(1, 2), gaps=True)
    module = module_of(network, spec)
    sizes = [(7, 10), (4, 4), (1, 9), (7, 3)]
    x, weight = (
        torch.full((4, *spec.shape), 50.0, dtype=torch.float64),
        torch.zeros(4, *spec.shape, dtype=torch.float64),
    )
    for row, (height, width) in enumerate(sizes):
        inside = (row, slice(None), slice(height), slice(width))
        x[inside], weight[inside] = random(2, height, width, seed=row), 1.0
        if masked:
            own = pick_patches(x[inside][None], spec, 0.5, 3, generator(row))[0]
            weight[inside] = weight[inside].masked_fill(own, -1.0)
    together = module.reconstruct(x, weight)
    for row, (height, width) in enumerate(sizes):
        one = (slice(row, row + 1), slice(None), slice(height), slice(width))
        alone = module.reconstruct(x[one], weight[one])
        assert alone.bound is not None and together.bound is not None and alone.output and together.output
        torch.testing.assert_close(alone.bound[0], together.bound[row], rtol=1e-10, atol=1e-10)
        inside = together.output.mean[0][one]
        torch.testing.assert_close(alone.output.mean[0], inside, rtol=1e-10, atol=1e-10)


def test_masked_hides_without_calling_it_padding() -> None:
    """A sample of a batch of many sizes whose last rows are hidden is as large as before."""
    spec = replace(PICTURE, free=(1, 2))
    module, x = module_of(TOKENS, spec, Masked(share=0.75, patch=3)), random(8, *PICTURE.shape)
    weight = torch.ones_like(x)
    weight[0, :, 4:] = 0.0
    done = module.reconstruct(x, weight, generator=generator())
    assert done.seen_weight is not None
    patches = Patches(spec, (3, 3))
    assert torch.equal(patches.outside_of(done.seen_weight), patches.outside_of(weight))
    assert patches.any_in(done.seen_weight > 0).sum(1).tolist() == [2] + [3] * 7  # of 8 and of 12 patches


def test_tokens_take_pictures_of_other_sizes_and_a_vector_says_that_it_does_not() -> None:
    x = random(2, 2, 13, 5)
    module = module_of(TOKENS)
    code = module.encode(x)
    assert code.shape == (2, 5, 2, 3) and module.decode(code, previous=x).mean.shape == x.shape
    for network in (SMALL, CLASS, replaced(TOKENS, positions="learned")):
        with pytest.raises(DataError, match=r"\(13, 5\), and this network is for \(7, 10\)"):
            module_of(network).encode(x)
    with pytest.raises(DataError, match="a sample of 7 x 10 has 3 x 4 codes, not 5 x 2"):
        module.decode(code, previous=random(2, *PICTURE.shape))


def replaced(network: Transformer, **settings: Any) -> Transformer:
    return Transformer(**(network.get_params(deep=False) | settings))


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    wrong = {
        "must be one of vector, tokens": {"code": "grid"},
        "must be one of sine, learned": {"positions": "none"},
        "must be one of mean, class": {"pool": "max"},
        "width of transformer is 10, which heads=4 does not divide": {"width": 10},
        "decoder_width of transformer is 6, which": {"decoder_width": 6},
        "dropout of transformer is 1": {"dropout": 1},
        "depth of transformer is 0": {"depth": 0},
    }
    for words, settings in wrong.items():
        with pytest.raises(SettingError, match=words):
            Transformer(**settings).check()
    with pytest.raises(SettingError, match="use network='dense'"):
        AutoencoderModule(SampleSpec((5,)), 2, "transformer")
    with pytest.raises(SettingError, match="one number for each of 1 axes"):
        AutoencoderModule(SERIES, 2, Transformer(patch=(2, 2)))
    with pytest.raises(SettingError, match="learned positions are for one"):
        AutoencoderModule(replace(PICTURE, free=(1, 2)), 2, CLASS)


# ---- the whole way


def digits(n_rows: int = 300) -> np.ndarray:
    return (load_digits().images[:n_rows] / 16).astype(np.float32)


def fitted(network: Transformer, variant: Any = (), X: Any = None, **settings: Any) -> Autoencoder:
    training = Training(max_epochs=settings.pop("epochs", 3), batch_size=50, learning_rate=5e-3)
    model = Autoencoder(
        6, network=network, variant=variant, likelihood="normal", training=training, random_state=0, **settings
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(digits() if X is None else X)


@pytest.mark.parametrize("code", ["vector", "tokens"])
def test_a_model_goes_through_a_file_bit_for_bit(code: str, tmp_path: Path) -> None:
    network = Transformer(patch=3, width=8, heads=2, code=code)
    model = fitted(network, Masked(0.5, patch=3))
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.network == network and again.variant == Masked(0.5, patch=3)
    np.testing.assert_array_equal(again.transform(digits()), model.transform(digits()))
    np.testing.assert_array_equal(again.reconstruct(digits()), model.reconstruct(digits()))
    assert model.inverse_transform(model.transform(digits()[:5])).shape == (5, 8, 8)
    assert model.sample(2, random_state=0).shape == (2, 8, 8)


@pytest.mark.parametrize("code", ["vector", "tokens"])
def test_training_in_bfloat16_comes_near_the_same_loss(code: str) -> None:
    network = Transformer(patch=2, width=16, heads=2, code=code)
    losses = [fitted(network, precision=kind, epochs=5).history_["loss"] for kind in ("float32", "bf16")]
    assert losses[0][-1] < losses[0][0] - 3
    assert losses[0] != losses[1] and losses[1][-1] == pytest.approx(losses[0][-1], abs=1.5)


@pytest.mark.parametrize("code", ["vector", "tokens"])
def test_pictures_of_many_sizes_come_back_in_their_own(code: str) -> None:
    mixed = [picture[: 5 + i % 4, : 8 - i % 3] for i, picture in enumerate(digits(60))]
    model = fitted(Transformer(patch=3, width=8, heads=2, code=code), X=mixed)
    back = model.reconstruct(mixed)
    assert [each.shape for each in back] == [each.shape for each in mixed]
    alone = model.reconstruct(mixed[3:4])[0]
    np.testing.assert_allclose(alone, back[3], atol=1e-5)


def test_masked_patches_come_back_better_than_the_mean() -> None:
    """Two blobs of one brightness: what is hidden can only come from what is visible elsewhere."""
    levels = np.random.default_rng(0).uniform(0, 1, (400, 1, 1)).astype(np.float32)
    X = np.broadcast_to(levels, (400, 8, 8)).copy()
    model = fitted(Transformer(patch=4, width=16, heads=2, code="tokens"), Masked(0.75, 0.0, patch=4), X, epochs=30)
    hidden = X[:100].copy()
    hidden[:, :4], hidden[:, :, :4] = np.nan, np.nan
    back = model.reconstruct(hidden)
    left = np.isnan(hidden)
    assert float(np.square(back - X[:100])[left].mean()) < 0.1 * float(X.var())
