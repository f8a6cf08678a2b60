"""Convolutional networks, tiles and the law of pixels: exact sizes, exact padding, exact seams, exact probabilities."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import pairwise, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from isthmus.checks import check_part, checks_for
from isthmus.errors import DataError, SettingError
from isthmus.likelihoods.bernoulli import Bernoulli
from isthmus.likelihoods.discretised_logistic import DiscretisedLogistic
from isthmus.module import AutoencoderModule
from isthmus.networks._conv_layers import (
    BatchNormalisation,
    Down,
    GroupNormalisation,
    Projected,
    SameConvolution,
    Transposed,
    Upsampled,
)
from isthmus.networks.conv import Conv
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.training.tiles import apply_tiled
from isthmus.variants.top_k import TopK

PICTURE = SampleSpec((2, 9, 11))
FREE = replace(PICTURE, free=(1, 2))
WAYS = list(product(("stride", "pool"), ("transposed", "upsample", "project")))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    network: Conv, spec: SampleSpec = PICTURE, variants: Any = (), likelihood: Any = "normal", n_components: int = 3
) -> AutoencoderModule:
    """A module in float64, with fixed random weights: also where they start at zero, so that nothing is left out."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = AutoencoderModule(spec, n_components, network, likelihood, variants).double()
        for parameter in module.parameters():
            if parameter.ndim == 1 or not parameter.any():
                nn.init.normal_(parameter, std=0.3)
    return module.eval()


# ---- sizes


def random_sizes() -> list[tuple[int, int]]:
    random = Random(0)
    drawn = [(random.randint(1, 300), random.randint(1, 300)) for _ in range(48)]
    thin = [(1, random.randint(1, 300)) for _ in range(4)] + [(random.randint(1, 300), 1) for _ in range(4)]
    return [(1, 1), (2, 1), (300, 300), (299, 257), *thin, *drawn]


SIZES = random_sizes()
NETWORKS = [
    Conv(channels=(4, 8, 8)),
    Conv(channels=(4, 8), kernel_size=4, down="pool", up="project", code="grid", normalisation="group"),
    Conv(channels=(4, 4, 4, 4), kernel_size=5, up="upsample", residual=1, code="grid"),
]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_sixty_sizes_come_back_exactly(network: Conv) -> None:
    """A dense code in a network for each size; a grid of codes in one network for all, told by the weight alone."""
    assert len(set(SIZES)) >= 60
    grid = network.code == "grid"
    free = SampleSpec((3, 300, 300), free=(1, 2))
    one = AutoencoderModule(free, 2, network) if grid else None
    for size in SIZES:
        x = torch.rand(1, 3, *size)
        module = one or AutoencoderModule(SampleSpec((3, *size)), 2, network)
        with torch.inference_mode():
            code = module.eval().encode(x, torch.ones_like(x))
            out = module.decode(code, torch.ones_like(x) if grid else None).mean
        assert out.shape == x.shape
        if grid:
            step = 2 ** len(network.channels)
            assert code.shape == (1, -(-size[0] // step), -(-size[1] // step), 2)


@pytest.mark.slow
@pytest.mark.parametrize("code", ["dense", "grid"])
@pytest.mark.parametrize(("down", "up"), WAYS)
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_every_way_gives_every_size_back_and_reaches_every_weight(
    down: str, up: str, kernel_size: int, code: str
) -> None:
    network = Conv((3, 4, 4), kernel_size, down, up, residual=1, code=code)
    for size in ((1, 1), (1, 6), (7, 2), (8, 9)):
        spec = SampleSpec((2, *size), gaps=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = AutoencoderModule(spec, 3, network).double()
        x = random(6, *spec.shape)
        weight = (random(*x.shape, seed=1) > -1).double()
        assert module.decode(module.encode(x, weight), weight).mean.shape == x.shape
        module.loss(x, weight, generator=generator()).backward()
        silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
        # on a single pixel most of a kernel meets nothing, but never all of it; a stride of two may skip the rest
        assert not silent, (size, silent)


def test_without_a_weight_the_size_is_the_targets_else_the_samples_else_whole_steps() -> None:
    module = module_of(Conv((4, 4), code="grid"), FREE)
    x = random(1, 2, 10, 13)
    assert module.reconstruct(x).output.mean.shape == (1, 1, 2, 10, 13)  # type: ignore[union-attr]
    assert module.decode(module.encode(x)).mean.shape == (1, 2, 9, 16)  # 3 rows of codes, as samples of 9 have
    assert module.decode(random(1, 5, 7, 3)).mean.shape == (1, 2, 20, 28)


def test_a_code_of_another_size_than_the_picture_is_refused() -> None:
    module = module_of(Conv((4, 4), code="grid"))
    with pytest.raises(DataError, match="a picture of 9 x 11 has 3 x 3 codes, not 4 x 3"):
        module.decode(random(1, 4, 3, 3), torch.ones(1, 2, 9, 11))


# ---- the layers, each against its meaning


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 6), (7, 3)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 6])
def test_a_transposed_convolution_is_the_adjoint_of_a_step_of_two(kernel_size: int, size: tuple[int, int]) -> None:
    """<conv(x), y> = <x, transposed(y)> for the same weights, whatever the size."""
    down = SameConvolution(2, 3, kernel_size, stride=2, bias=False).double()
    up = Transposed(3, 2, kernel_size, False, 1.0).double()
    with torch.no_grad():
        up.convolution.weight.copy_(down.weight)
    x, y = random(1, 2, *size), random(1, 3, -(-size[0] // 2), -(-size[1] // 2), seed=1)
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y, size, None)).sum())


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (8, 7)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
def test_a_same_convolution_looks_around_each_place(kernel_size: int, size: tuple[int, int]) -> None:
    layer, x = SameConvolution(1, 1, kernel_size).double(), random(1, 1, *size)
    reach = (kernel_size - 1) // 2
    wide = functional.pad(x, (reach, kernel_size, reach, kernel_size))[0, 0]
    for row, column in product(range(size[0]), range(size[1])):
        window = wide[row : row + kernel_size, column : column + kernel_size]
        torch.testing.assert_close(layer(x)[0, 0, row, column], (window * layer.weight[0, 0]).sum())


def test_upsampling_repeats_and_projection_reshapes() -> None:
    x = random(1, 2, 2, 2)
    for size in ((4, 4), (3, 3), (4, 3)):
        repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : size[0], : size[1]]
        up = Upsampled(2, 3, 1, True, 1.0).double()
        torch.testing.assert_close(up(x, size, None), up.convolution(repeated))
        project = Projected(2, 3, 1, True, 1.0).double()
        own = project.convolution
        # at the start the four are equal, so it is an upsampling too
        expected = functional.conv2d(repeated, own.weight[::4])
        torch.testing.assert_close(project(x, size, None), expected)
        nn.init.normal_(own.weight)
        corner = functional.conv2d(x, own.weight[3::4])  # the value below right of each four
        torch.testing.assert_close(project(x, (4, 4), None)[..., 1::2, 1::2], corner)


def test_pooling_takes_the_largest_of_two_by_two_also_at_an_odd_border() -> None:
    down = Down(Conv(kernel_size=1, down="pool", activation="linear"), 1, 1).double()
    nn.init.ones_(down.convolution.weight)
    x = random(1, 1, 5, 3)
    expected = torch.stack([x[0, 0, r : r + 2, c : c + 2].max() for r, c in product((0, 2, 4), (0, 2))]).view(3, 2)
    torch.testing.assert_close(down(x)[0, 0], expected)
    below = torch.full((1, 1, 5, 3), -7.0, dtype=torch.float64)  # the zero outside is not larger than what is inside
    outside = torch.ones(1, 1, 6, 4, dtype=torch.bool)
    outside[..., :5, :3] = False
    padded = functional.pad(below, (0, 1, 0, 1), value=99.0)
    assert (down(padded, outside) == -7).all() and (down(padded, outside).shape == (1, 1, 3, 2))


def test_normalisations_see_what_is_inside_only() -> None:
    x, small = random(2, 8, 6, 6), random(1, 8, 4, 5, seed=1)
    outside = torch.zeros(3, 1, 6, 6, dtype=torch.bool)
    outside[2, :, 4:], outside[2, :, :, 5:] = True, True
    padded = torch.cat([x, functional.pad(small, (0, 1, 0, 2), value=50.0)])
    group = GroupNormalisation(8).double()
    nn.init.normal_(group.weight)
    nn.init.normal_(group.bias)
    torch.testing.assert_close(group(padded, outside)[2:, :, :4, :5], group(small))
    masked, plain = BatchNormalisation(8).double(), nn.BatchNorm1d(8).double()
    rows = torch.cat([part.movedim(1, 3).flatten(0, 2) for part in (x, small)])  # every pixel that is inside
    expected = plain(rows)
    torch.testing.assert_close(masked(padded, outside)[:2].movedim(1, 3).flatten(0, 2), expected[:72])
    torch.testing.assert_close(masked(padded, outside)[2, :, :4, :5].flatten(1).T, expected[72:])
    plain(rows)  # the other one was asked twice
    torch.testing.assert_close(masked.running_mean, plain.running_mean)
    torch.testing.assert_close(masked.running_var, plain.running_var)
    assert masked.num_batches_tracked == 2


def test_a_single_pixel_trains_with_batch_normalisation() -> None:
    module = AutoencoderModule(SampleSpec((3, 1, 1)), 2, Conv((4, 4), normalisation="batch"))
    assert torch.isfinite(module.loss(torch.rand(1, 3, 1, 1)))


# ---- padding


def padded_pair(x: Tensor, spec: SampleSpec) -> tuple[Tensor, Tensor]:
    """x in the corner of larger samples, beside a sample that fills it all; and their weight."""
    inside = (slice(0, 1), slice(None), slice(0, x.shape[2]), slice(0, x.shape[3]))
    large, weight = torch.full((2, *spec.shape), 1e3, dtype=torch.float64), torch.ones(2, *spec.shape).double()
    weight[0] = 0
    large[inside], weight[inside] = x, 1
    large[1] = random(*spec.shape, seed=9)
    return large, weight


@pytest.mark.parametrize("normalisation", [None, "group", "batch"])
@pytest.mark.parametrize(("down", "up"), WAYS)
def test_padding_changes_neither_code_nor_rate_nor_loss_nor_output(
    down: str, up: str, normalisation: str | None
) -> None:
    for kernel_size, residual in ((2, 0), (3, 1), (5, 0)):
        network = Conv((4, 4, 8), kernel_size, down, up, residual, "grid", normalisation=normalisation)
        module = module_of(network, FREE, "variational")
        x = random(1, 2, 5, 7)
        large, weight = padded_pair(x, FREE)
        alone, padded = module.reconstruct(x, torch.ones_like(x)), module.reconstruct(large, weight)
        assert alone.code is not None and padded.code is not None and alone.output and padded.output
        torch.testing.assert_close(padded.code[:, :1, :1, :1], alone.code)
        assert not padded.code[:, 0, 1:].any() and not padded.code[:, 0, :, 1:].any()
        for mine, theirs in ((padded.rate, alone.rate), (padded.bound, alone.bound)):
            assert isinstance(mine, Tensor) and isinstance(theirs, Tensor)
            torch.testing.assert_close(mine[..., :1], theirs)
        torch.testing.assert_close(padded.output.mean[:, :1, :, :5, :7], alone.output.mean)


@pytest.mark.parametrize("normalisation", [None, "group"])
def test_padding_changes_no_gradient_either(normalisation: str | None) -> None:
    module = module_of(Conv((4, 4), down="pool", code="grid", normalisation=normalisation), FREE).train()
    x = random(1, 2, 5, 7)
    large, weight = padded_pair(x, FREE)
    gradients = []
    for rows, told in ((x, torch.ones_like(x)), (large[:1], weight[:1])):
        module.zero_grad()
        module.loss(rows, told, generator=generator()).backward()
        gradients.append([p.grad for p in module.parameters()])
    for alone, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(padded, alone)


def test_a_hole_at_the_border_may_be_told_from_padding() -> None:
    """With a weight below 0 it belongs to the picture, as it does where all pictures have one size."""
    network = Conv((4, 4), code="grid")
    free, fixed = (module_of(network, replace(spec, gaps=True)) for spec in (FREE, PICTURE))
    x, weight = random(1, 2, 9, 11), torch.ones(1, 2, 9, 11).double()
    weight[..., 6:, :] = 0
    expected = fixed.decode(fixed.encode(x, weight), weight).mean
    told = torch.where(weight > 0, weight, -1.0)
    torch.testing.assert_close(free.decode(free.encode(x, told), told).mean, expected)
    assert (free.decode(free.encode(x, weight), weight).mean - expected).abs().max() > 1e-3
    torch.testing.assert_close(free.loss(x, told), fixed.loss(x, weight))


def test_what_is_absent_is_heard_once_there_is_something_to_hear() -> None:
    """The weights that listen start at zero: then a hole is a zero, and no more."""
    spec = replace(PICTURE, gaps=True)
    with torch.random.fork_rng():
        module = AutoencoderModule(spec, 3, Conv((4, 4))).double().eval()
    x, weight = random(2, *spec.shape), (random(2, *spec.shape, seed=1) > 0).double()
    assert torch.equal(module.encode(x, weight), module.encode(x * weight))
    nn.init.normal_(dict(module.named_parameters())["network.encoder.layers.0.absent.weight"])
    assert not torch.allclose(module.encode(x, weight), module.encode(x * weight))
    assert torch.equal(module.encode(x, weight), module.encode(torch.where(weight > 0, x, 1e9), weight))


# ---- how far an output looks, and moving a picture


@pytest.mark.parametrize("n_stages", [1, 2])
@pytest.mark.parametrize(("down", "up"), WAYS)
def test_an_output_depends_on_nothing_beyond_the_reach(down: str, up: str, n_stages: int) -> None:
    for kernel_size, residual in product((1, 2, 3, 4, 5), (0, 1)):
        network = Conv((3,) * n_stages, kernel_size, down, up, residual, "grid", activation="leaky_relu")
        net = network.build(SampleSpec((1, 8, 240)), 2, 2, 1).double()
        reach, x = net.reach, random(1, 1, 8, 240)
        assert reach is not None
        out, felt = net.decoder(net.encoder(x)), False
        for place in range(120, 120 + net.stride):
            beyond, at = x + 100, x.clone()
            beyond[..., place - reach : place + reach + 1] = x[..., place - reach : place + reach + 1]
            at[..., [place - reach, place + reach]] += 100
            changes = [(net.decoder(net.encoder(other)) - out)[..., place].abs().max() for other in (beyond, at)]
            assert changes[0] < 1e-12
            felt = felt or bool(changes[1] > 1e-9)
        assert felt or kernel_size != 3 or residual  # and it is no exaggeration


def test_a_network_that_looks_everywhere_has_no_reach() -> None:
    for network in (Conv((4,)), Conv((4,), code="grid", normalisation="group")):
        assert network.build(PICTURE, 2, 2, 2).reach is None


@pytest.mark.parametrize(("down", "up"), WAYS)
def test_a_moved_picture_has_a_moved_code_and_output(down: str, up: str) -> None:
    module = module_of(Conv((4, 4), down=down, up=up, code="grid"), replace(FREE, shape=(2, 64, 64)))
    x = random(1, 2, 64, 64)
    moved = x.roll((4, 8), (2, 3))  # whole steps of the grid
    code, out = (f(x) for f in (module.encode, lambda x: module.decode(module.encode(x)).mean))
    code_of_moved, out_of_moved = (f(moved) for f in (module.encode, lambda x: module.decode(module.encode(x)).mean))
    torch.testing.assert_close(code_of_moved[:, 5:-5, 6:-6], code.roll((1, 2), (1, 2))[:, 5:-5, 6:-6])
    torch.testing.assert_close(out_of_moved[..., 24:-24, 24:-24], out.roll((4, 8), (2, 3))[..., 24:-24, 24:-24])


# ---- settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"down": "stides"}, "down of conv is 'stides'; it must be one of stride, pool"),
        ({"up": "bilinear"}, "up of conv is 'bilinear'; it must be one of transposed, upsample, project"),
        ({"code": "vector"}, "code of conv is 'vector'; it must be one of dense, grid"),
        ({"activation": "rellu"}, "activation of conv is 'rellu'"),
        ({"normalisation": "layer"}, "normalisation of conv is 'layer'; it must be None, 'batch' or 'group'"),
        ({"dropout": 1.0}, "dropout of conv is 1.0; it must be at least 0 and below 1"),
        ({"channels": ()}, "channels of conv is .* whole numbers of at least 1"),
        ({"channels": 32}, "channels of conv is 32; .* such as"),
        ({"channels": (8, 0)}, "channels of conv"),
        ({"channels": "auto"}, "channels of conv"),
        ({"kernel_size": 0}, "kernel_size of conv is 0; it must be a whole number of at least 1"),
        ({"residual": -1}, "residual of conv"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Conv(**settings).build(PICTURE, 3, 3, 2)


@pytest.mark.parametrize("spec", [SampleSpec((5,)), SampleSpec((6, 2), channels=1), SampleSpec((4, 4, 2), channels=2)])
def test_what_is_no_picture_is_refused(spec: SampleSpec) -> None:
    with pytest.raises(SettingError, match="conv reads pictures .* use network='dense'"):
        Conv().build(spec, 3, 3, 2)


def test_a_dense_code_is_for_one_size() -> None:
    with pytest.raises(SettingError, match="several sizes, and a dense code is for one: give code='grid'"):
        Conv().build(FREE, 3, 3, 2)
    module = module_of(Conv((4,)))
    with pytest.raises(DataError, match=r"shape \(2, 9, 12\), .* dense code is for \(2, 9, 11\); resize"):
        module.encode(random(1, 2, 9, 12))


def test_a_grid_says_how_many_numbers_suit_it() -> None:
    assert Conv().code_size(PICTURE) is None
    assert Conv((8, 8), code="grid").code_size(SampleSpec((3, 64, 64))) == 24  # half of 3 * 4 * 4


@pytest.mark.slow
def test_the_network_keeps_its_contract_with_every_variant() -> None:
    check_part(Conv((5,), kernel_size=2, down="pool", code="grid", normalisation="batch", activation="elu"))


def changed(network: Conv, change: Callable[[Any], None]) -> Conv:
    """A network whose module is changed after it was built."""

    def build(self: Conv, *sizes: Any) -> Any:
        module = Conv.build(self, *sizes)
        change(module)
        return module

    made: Conv = type("Changed", (Conv,), {"build": build})(**network.get_params())
    return made


def hearing_padding(module: Any) -> None:
    """Nothing is cleared outside a picture."""
    module.encoder.free = module.decoder.free = False


def forgetting_odd_sizes(module: Any) -> None:
    """Whole steps of two, as a decoder gives them that was not told the size."""
    gives = module.decoder.forward
    module.decoder.forward = lambda code, weight=None, previous=None: gives(code)


def averaging_rows(module: Any) -> None:
    gives = module.decoder.forward
    module.decoder.forward = lambda code, *told: gives(code, *told) + 0.1 * gives(code, *told).mean(0)


def inside_out(module: Any) -> None:
    pairs = module.stages()
    module.stages = lambda: [(down, up) for (down, _), (_, up) in zip(pairs, reversed(pairs), strict=True)]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (hearing_padding, "check_padding_changes_nothing"),
        (forgetting_odd_sizes, "check_padding_changes_nothing"),
        (averaging_rows, "check_every_variant_goes_with_it"),
        (inside_out, "check_stages_undo_each_other"),
    ],
)
def test_the_contract_catches_a_network_that_breaks_it(change: Callable[[Any], None], check: str) -> None:
    checks = dict(checks_for(changed(Conv((4, 4), code="grid"), change)))
    with pytest.raises(AssertionError):
        checks[check]()
    dict(checks_for(Conv((4, 4), code="grid")))[check]()


def test_the_contract_catches_sizes_that_do_not_come_back() -> None:
    def even_only(module: Any) -> None:
        module.decoder.layers[-1].nominal = (8, 8)

    with pytest.raises(AssertionError, match="back as"):
        dict(checks_for(changed(Conv((4, 4)), even_only)))["check_any_size_comes_back"]()


def test_the_contract_catches_probabilities_that_do_not_sum_to_one() -> None:
    class Miscounted(DiscretisedLogistic):
        def __call__(self, raw: Tensor, spec: SampleSpec) -> Any:
            return DiscretisedLogistic(self.bits + 1, self.minimum)(raw, spec)

    with pytest.raises(AssertionError, match="sum to"):
        dict(checks_for(Miscounted(bits=5)))["check_density_sums_to_one"]()


def test_wide_numbers_per_value_come_along_the_channels() -> None:
    likelihood = DiscretisedLogistic()
    for network in (Conv((4, 4)), Conv((4, 4), code="grid")):
        law = module_of(network, likelihood=likelihood).reconstruct(torch.rand(3, 2, 9, 11).double()).output
        assert law is not None and law.mean.shape == (1, 3, 2, 9, 11)


# ---- variants on a grid of codes


def test_top_k_keeps_some_components_at_each_place() -> None:
    code = module_of(Conv((4, 4), code="grid"), variants=TopK(k=2), n_components=5).encode(random(3, 2, 9, 11))
    assert code.shape == (3, 3, 3, 5) and ((code != 0).sum(-1) == 2).all()


def test_the_rate_of_a_grid_is_the_sum_over_its_places() -> None:
    module, x = module_of(Conv((4, 4), code="grid"), variants="variational"), random(3, 2, 9, 11)
    mean, log_variance = module.features(x).chunk(2, dim=-1)
    each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    rate = module.reconstruct(x).rate
    assert isinstance(rate, Tensor)
    torch.testing.assert_close(rate[0], each.sum((1, 2, 3)))


def test_the_contractive_penalty_of_a_grid_is_the_squared_jacobian() -> None:
    module, x = module_of(Conv((4, 4), code="grid"), variants="contractive(weight=0.5)"), random(2, 2, 9, 11)
    found: Reconstruction = module.penalise(module.reconstruct(x))
    jacobians = [torch.autograd.functional.jacobian(lambda row: module.encode(row[None]), row) for row in x]
    expected = 0.5 * torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean()
    torch.testing.assert_close(found.penalties["contractive"], expected)


def test_the_l1_penalty_of_a_grid_counts_every_number() -> None:
    module, x = module_of(Conv((4, 4), code="grid"), variants="l1_sparse(weight=0.5)"), random(2, 2, 9, 11)
    found = module.penalise(module.reconstruct(x)).penalties["l1_sparse"]
    torch.testing.assert_close(found, 0.5 * module.encode(x).abs().sum((1, 2, 3)).mean())


# ---- against PCA


@pytest.mark.slow
def test_it_beats_pca_with_as_many_numbers_on_digits_it_has_not_seen() -> None:
    x = load_digits().images[:, None] / 16.0
    order = np.random.default_rng(0).permutation(len(x))
    seen, unseen = x[order[:1400]], x[order[1400:]]
    flat = [rows.reshape(len(rows), -1) for rows in (seen, unseen)]
    pca = PCA(8, random_state=0).fit(flat[0])
    theirs = ((pca.inverse_transform(pca.transform(flat[1])) - flat[1]) ** 2).sum(1).mean()
    rows, held_out = (torch.tensor(part, dtype=torch.float32) for part in (seen, unseen))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = AutoencoderModule(SampleSpec((1, 8, 8)), 8, Conv((16, 32)))
    settings = Training(max_epochs=25, batch_size=64, learning_rate=3e-3, validation=0.0)
    train(module, lambda index: Batch(rows[torch.as_tensor(index)]), len(rows), settings)
    with torch.inference_mode():
        ours = (module.decode(module.encode(held_out)).mean - held_out).square().flatten(1).sum(1).mean()
    assert float(ours) < 0.9 * theirs


# ---- tiles


def whole(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None) -> np.ndarray:
    with torch.inference_mode():
        told = torch.ones_like(x) if weight is None else weight
        return module.decode(module.encode(x[None], told[None]), told[None]).mean[0].numpy()


def reader(module: AutoencoderModule) -> Callable[[Batch], Tensor]:
    return lambda batch: module.decode(module.encode(batch.x, batch.weight), batch.weight).mean


@pytest.mark.parametrize("size", [(240, 131), (1, 300), (112, 112), (113, 40)])
@pytest.mark.parametrize("network", [Conv((4, 8), code="grid"), Conv((4,), 4, "pool", "project", 1, "grid")], ids=repr)
def test_tiles_give_what_the_whole_picture_gives(network: Conv, size: tuple[int, int]) -> None:
    for spec in (SampleSpec((2, 30, 30)), SampleSpec((2, 30, 30), free=(1, 2))):
        module = module_of(network, spec)
        x = random(2, *size)
        expected = whole(module, x)
        reach = module.network.reach
        assert reach is not None
        for tile, overlap in ((128, 2 * reach + 1), (104, 52), (56, "auto")):
            found = apply_tiled(module, x, None, reader(module), tile, overlap)  # type: ignore[arg-type]
            assert found.dtype == np.float32 and np.abs(found - expected).max() < 1e-5


def test_shares_of_tiles_add_up_to_one() -> None:
    """What is read as it is comes back as it is, for any size, tile and overlap."""
    module, random = module_of(Conv((4,), code="grid")), Random(0)
    for _ in range(30):
        size = (random.randint(1, 90), random.randint(1, 90))
        tile = random.randint(1, 40)
        x = np.random.default_rng(0).random((1, *size), dtype=np.float32)
        found = apply_tiled(module, x, None, lambda batch: batch.x, tile, random.randint(0, tile // 2))
        np.testing.assert_allclose(found, x, atol=1e-6)


def test_a_wider_overlap_leaves_less_of_a_seam_and_soon_none() -> None:
    module = module_of(Conv((4, 8), code="grid"))
    x = torch.full((2, 160, 160), 0.7, dtype=torch.float64)
    expected = whole(module, x)
    errors = [
        np.abs(apply_tiled(module, x, None, reader(module), 64, overlap) - expected).max() for overlap in (0, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[0] > 1e-2 and errors[2] < 1e-5
    # away from the border a flat picture stays as regular as the grid of codes makes it
    inner = apply_tiled(module, x, None, reader(module), 64, 32)[:, 32:-32, 32:-32]
    for row, column in product(range(4), range(4)):
        assert np.ptp(inner[:, row::4, column::4], axis=(1, 2)).max() < 1e-5


@pytest.mark.parametrize("free", [(), (1, 2)])
def test_holes_larger_than_a_tile_are_holes_and_no_padding(free: tuple[int, ...]) -> None:
    spec = SampleSpec((2, 30, 30), free=free, gaps=True)
    module, fixed = (
        module_of(Conv((4, 8), code="grid"), spec),
        module_of(Conv((4, 8), code="grid"), replace(spec, free=())),
    )
    x, weight = random(2, 150, 150), torch.ones(2, 150, 150).double()
    weight[:, 30:130, 20:150] = 0
    found = apply_tiled(module, x, weight, reader(module), 48, 24)
    assert np.abs(found - whole(fixed, x, weight)).max() < 1e-5


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_whole_numbers_reach_from_zero_to_one(dtype: type, largest: int) -> None:
    module = module_of(Conv((4,), code="grid")).float()
    x: np.ndarray = np.random.default_rng(0).integers(0, largest + 1, (2, 70, 50)).astype(dtype)
    found, scaled = (apply_tiled(module, values, None, reader(module), 32, 16) for values in (x, x / largest))
    np.testing.assert_allclose(found, scaled, atol=1e-5)


def test_the_result_goes_where_it_is_asked_to_and_progress_is_told(tmp_path: Path) -> None:
    module, told = module_of(Conv((4,), code="grid")), list[tuple[int, int]]()
    x = np.random.default_rng(0).random((2, 100, 70))
    expected = apply_tiled(module, x, None, reader(module), 32, 16)
    out = np.memmap(tmp_path / "out.bin", np.float32, "w+", shape=(2, 100, 70))
    out[...] = 7
    given = apply_tiled(module, x, None, reader(module), 32, 16, out, lambda done, of: told.append((done, of)))
    assert given is out and np.array_equal(out, expected)
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1)) and {of for _, of in told} == {24}
    heat = apply_tiled(
        module, x, None, lambda b: module.cells(module.reconstruct(b.x, b.weight))[0].sum(1, True), 32, 16
    )
    assert heat.shape == (1, 100, 70)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"x": np.zeros((4, 4))}, DataError, r"x has shape \(4, 4\) .* \(channels, height, width\)"),
        ({"x": np.zeros((2, 4, 0))}, DataError, "x has shape"),
        ({"x": np.zeros((2, 4, 4), dtype=bool)}, DataError, "type bool"),
        ({"weight": np.ones((1, 4, 4))}, DataError, "weight has shape"),
        ({"tile": 8, "overlap": 5}, SettingError, "overlap at most half the tile"),
        ({"tile": 0, "overlap": 0}, SettingError, "tile is 0"),
        ({"tile": 8, "overlap": "wide"}, SettingError, "overlap 'wide'"),
        ({"out": np.zeros((2, 4, 4), np.uint8)}, SettingError, "out is of type uint8"),
        ({"out": np.zeros((2, 5, 4))}, SettingError, "out has shape"),
        ({"read": lambda batch: batch.x[..., 1:]}, SettingError, "for a tile of 4 x 4 `read` gave"),
    ],
)
def test_tiles_that_cannot_be_are_refused(changed: dict[str, Any], error: type[Exception], said: str) -> None:
    module = module_of(Conv((4,), code="grid"))
    given: dict[str, Any] = {"x": np.zeros((2, 4, 4)), "weight": None, "read": lambda batch: batch.x}
    with pytest.raises(error, match=said):
        apply_tiled(module, **(given | changed))


LARGE = """
import pathlib, numpy as np, torch
from isthmus.module import AutoencoderModule
from isthmus.networks.conv import Conv
from isthmus.spec import SampleSpec
from isthmus.training.tiles import apply_tiled
torch.set_num_threads(1)
module = AutoencoderModule(SampleSpec((3, 64, 64)), 16, Conv((16, 16), code="grid")).eval()
x = np.random.default_rng(0).integers(0, 256, (3, 4000, 6000), dtype=np.uint8)
done = []
out = apply_tiled(module, x, None, lambda b: module.decode(module.encode(b.x, b.weight), b.weight).mean,
                  progress=lambda n, of: done.append(n))
assert out.shape == x.shape and out.dtype == np.float32 and np.isfinite(out).all() and len(done) > 50
# ru_maxrss would begin at what the parent held when it started this process
print(int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**20)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the peak of one process")
@pytest.mark.slow
def test_twenty_four_megapixels_take_less_than_two_gigabytes() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < 2.0


# ---- the law of pixels


def discretised(centre: float, scale: float, bits: int, dtype: torch.dtype = torch.float64) -> Any:
    """The law with this centre and scale, in units of the data."""
    likelihood = DiscretisedLogistic(bits=bits, minimum=1e-6)
    free = torch.tensor(scale - 1e-6, dtype=torch.float64).expm1().log()  # softplus of it is the scale
    raw = torch.stack([torch.tensor(centre - 0.5, dtype=torch.float64), free])[None].to(dtype)
    return likelihood(raw, SampleSpec((1,)))


def probabilities(law: Any, bits: int) -> Tensor:
    levels = torch.linspace(0, 1, 2**bits, dtype=torch.float64)
    return torch.exp(-torch.cat([law.nll(level.view(1, 1)) for level in levels])).flatten()


CASES = list(product((-0.4, 0.0, 0.31, 0.5, 0.998, 1.7), (0.001, 0.004, 0.02, 0.3, 5.0), (1, 3, 6)))


@pytest.mark.parametrize(("centre", "scale", "bits"), CASES)
def test_probabilities_of_the_levels_are_the_logistic_laws(centre: float, scale: float, bits: int) -> None:
    law, last = discretised(centre, scale, bits), 2**bits - 1
    found = probabilities(law, bits)
    borders = (torch.arange(last, dtype=torch.float64) + 0.5) / last
    below = torch.sigmoid((borders - centre) / scale)
    direct = torch.diff(torch.cat([torch.zeros(1).double(), below, torch.ones(1).double()]))
    torch.testing.assert_close(found, direct, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.sum(), torch.ones(()).double())
    levels = torch.arange(last + 1) / last
    torch.testing.assert_close(law.mean[0, 0], (found * levels).sum(), rtol=0, atol=2e-5)
    assert found[round(float(law.point) * last)] >= found.max() - 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("centre", [-3.0, 0.2, 4.0])
def test_the_tails_are_exact_where_subtraction_would_give_nothing(centre: float, level: int) -> None:
    """Against three hundred decimal places; also in float32."""
    scale, last = Decimal("0.002"), 255
    with localcontext() as context:
        context.prec = 2000
        at = [(Decimal(level) + half) / last for half in (Decimal("0.5"), Decimal("-0.5"))]
        upper, lower = (1 / (1 + (-(border - Decimal(str(centre))) / scale).exp()) for border in at)
        upper, lower = upper if level < last else Decimal(1), lower if level else Decimal(0)
        expected = -float((upper - lower).ln())
    target = torch.tensor([[level / last]], dtype=torch.float64)
    assert float(discretised(centre, 0.002, 8).nll(target)) == pytest.approx(expected, rel=1e-9)
    single = discretised(centre, 0.002, 8, torch.float32).nll(target.float())
    assert float(single) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e15])
def test_losses_and_gradients_are_finite_at_the_edges(size: float) -> None:
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=2)))
    raw = (size * signs).requires_grad_()
    for bits in (1, 8, 16):
        for target in (0.0, 0.5, 1.0, -3.0, 3.0):
            nll = DiscretisedLogistic(bits)(raw, SampleSpec((1,))).nll(torch.full((4, 1), target))
            (gradient,) = torch.autograd.grad(nll.sum(), raw)
            assert torch.isfinite(nll).all() and (nll >= 0).all() and torch.isfinite(gradient).all()
    law = DiscretisedLogistic()(raw, SampleSpec((1,)))
    for value in (law.mean, law.point, law.sample(generator())):
        assert ((value >= 0) & (value <= 1)).all()


def test_one_bit_is_a_coin() -> None:
    """P(1) = F((centre - 1/2) / scale), so it is Bernoulli's law with that logit."""
    raw = random(7, 4)
    law = DiscretisedLogistic(bits=1)(raw, SampleSpec((2,)))
    logit = raw[:, :2] / (functional.softplus(raw[:, 2:]) + 1e-3)
    target = (random(7, 2, seed=1) > 0).double()
    torch.testing.assert_close(law.nll(target), Bernoulli()(logit, SampleSpec((2,))).nll(target))
    torch.testing.assert_close(law.mean, torch.sigmoid(logit), rtol=0, atol=2e-5)


def test_pixels_are_whole_numbers() -> None:
    raw = random(50, 2)
    law = DiscretisedLogistic(bits=3)(raw, SampleSpec((1,)))
    for value in (law.sample(generator()), law.point):
        torch.testing.assert_close(value * 7, (value * 7).round())
    target = torch.full((50, 1), 3 / 7).double()
    assert torch.equal(law.nll(target), law.nll(target + 0.4 / 7))
    assert not torch.allclose(law.nll(target), law.nll(target + 0.6 / 7))
    assert torch.equal(law.nll(torch.full((50, 1), -1.0)), law.nll(torch.zeros(50, 1)))  # outside counts as the edge


def test_more_bits_cost_a_bit_each() -> None:
    """Where the law is wide, twice as many levels halve the probability of each."""
    target = torch.tensor([[0.5]], dtype=torch.float64)
    costs = [float(discretised(0.5, 0.2, bits).nll(target)) / np.log(2) for bits in (8, 9, 10, 11)]
    assert all(high - low == pytest.approx(1, abs=0.01) for low, high in pairwise(costs))


@pytest.mark.parametrize("settings", [{"bits": 0}, {"bits": 17}, {"bits": 8.0}, {"minimum": 0.0}])
def test_levels_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(settings))} of discretised_logistic is"):
        DiscretisedLogistic(**settings)(torch.zeros(1, 2), SampleSpec((1,)))


@pytest.mark.slow
def test_it_learns_to_code_digits_in_fewer_bits_than_they_have() -> None:
    """Four bits a pixel as they are stored; and fewer than the best code that looks at each pixel apart."""
    levels = np.clip(load_digits().images, 0, 15).astype(int)[:, None]
    x = torch.tensor(levels / 15, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = AutoencoderModule(SampleSpec((1, 8, 8)), 8, Conv((16, 32)), DiscretisedLogistic(bits=4))
    settings = Training(max_epochs=25, batch_size=64, learning_rate=3e-3, validation=0.0)
    train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), settings)
    with torch.inference_mode():
        bound = module.eval().reconstruct(x).bound
    assert bound is not None
    bits = float(bound.mean()) / np.log(2) / 64
    assert bits < per_pixel_entropy(levels.reshape(len(x), -1)) < 4


def per_pixel_entropy(levels: np.ndarray) -> float:
    counts: Sequence[np.ndarray] = [np.bincount(column, minlength=16) / len(column) for column in levels.T]
    return float(np.mean([-(p[p > 0] * np.log2(p[p > 0])).sum() for p in counts]))
