"""Every fast way to the gradients gives what autograd gives, and is taken where it applies."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus import Autoencoder, Training
from isthmus.damage import Gaussian, Masking
from isthmus.errors import SettingError
from isthmus.likelihoods import Bernoulli, Laplace, Mixed, Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch, _products, train
from isthmus.training._chain import activation_of
from isthmus.training._products import Default, NumPy, OneDNN, OneDNNAlone, choose, default_is_slow, has_pointwise
from isthmus.training.dense_step import DenseStep
from isthmus.training.steps import AutogradStep, step_of
from isthmus.variants import Contractive, Denoising, ImportanceWeighted, L1Sparse, Masked, TopK, Variational
from isthmus.variants.base import Pass

ACTIVATIONS = ("relu", "gelu", "elu", "selu", "silu", "leaky_relu", "tanh", "sigmoid", "linear")
WIDE = Dense(widths=(11, 7))
GAPS = SampleSpec((6,), gaps=True)


def batch(spec: SampleSpec, gaps: bool = False, pairs: bool = False, n_rows: int = 9) -> Batch:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(n_rows, *spec.shape, generator=random, dtype=torch.float64)
    weight = (torch.rand(x.shape, generator=random) > 0.3).to(x) if gaps else None
    return Batch(x, weight, x.flip(1) if pairs else None)


def both(module: AutoencoderModule, given: Batch, bf16: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Terms and gradients, by autograd and by hand."""
    found = []
    for way in (
        AutogradStep(copy.deepcopy(module), Training(), bf16),
        DenseStep(copy.deepcopy(module), 9, bf16, one_thread=True),
    ):
        terms = way.terms(given, torch.Generator().manual_seed(7), learn=True)
        slopes, module_type = way.parameters, next(module.parameters()).dtype
        if isinstance(way, DenseStep):
            flat = torch.cat([p.detach().flatten() for p in way.flat])
            assert torch.equal(flat, way.vector)
            slopes = [*_split(way), *([] if way.absent is None else [way.absent])]
            order = [p for p in way.module.parameters() if p is not way.absent]
            names = {id(p): i for i, p in enumerate(order)}
            assert len(names) == len(slopes) - (way.absent is not None)
            own = iter(slopes[: len(order)])
            rest = slopes[len(order) :]
            slopes = [rest[0] if p is way.absent else next(own) for p in way.module.parameters()]
        found.append(
            [*(torch.as_tensor(terms[name], dtype=module_type) for name in sorted(terms)), *(_slope(p) for p in slopes)]
        )
    return found[0], found[1]


def _split(way: DenseStep) -> list[Tensor]:
    assert way.vector.grad is not None
    parts = way.vector.grad.split([p.numel() for p in way.flat])
    return [_with_slope(part.view_as(p)) for p, part in zip(way.flat, parts, strict=True)]


def _with_slope(value: Tensor) -> Tensor:
    held = nn.Parameter(torch.zeros_like(value))
    held.grad = value
    return held


def _slope(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def agree(module: AutoencoderModule, given: Batch, tolerance: float = 1e-12) -> None:
    assert DenseStep.fits(module, Training())
    plain, fast = both(module.double(), given)
    assert len(plain) == len(fast) > 4
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)
    assert any(bool(one.abs().max() > 1e-3) for one in plain[3:]), "all gradients are next to nothing"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    agree(AutoencoderModule(SampleSpec((6,)), 3, Dense((11, 7), activation)), batch(SampleSpec((6,))))


@pytest.mark.parametrize("likelihood", [Normal(scale=0.3), Normal(scale="learned"), Bernoulli(), Laplace()], ids=repr)
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
def test_every_likelihood(likelihood: Any, gaps: bool, pairs: bool) -> None:
    agree(AutoencoderModule(GAPS, 3, WIDE, likelihood), batch(GAPS, gaps, pairs))


@pytest.mark.parametrize(
    "variants",
    [
        [Denoising(Gaussian(0.5))],
        [Denoising(Masking(0.3)), L1Sparse(0.2)],
        [Masked(0.4)],
        [Masked(0.4, visible=0.5), TopK(2)],
        [Variational(beta=0.7)],
        [Variational(beta=0.3, samples=3)],
        [Variational(free_bits=0.2)],
        [Variational(samples=3, free_bits=0.2), L1Sparse(0.1), Denoising()],
        [L1Sparse(0.1), L1Sparse(0.3)],
    ],
    ids=repr,
)
@pytest.mark.parametrize("gaps", [False, True])
def test_every_variant(variants: Any, gaps: bool) -> None:
    spec = SampleSpec((6,), gaps=gaps)
    agree(AutoencoderModule(spec, 3, WIDE, "bernoulli", variants), batch(spec, gaps))


def test_log_variances_beyond_the_cut() -> None:
    """What `variational` cuts off has no gradient, here as there."""
    module = AutoencoderModule(SampleSpec((6,)), 3, WIDE, "normal", "variational")
    with torch.no_grad():
        last = [layer for layer in module.network.encoder.modules() if isinstance(layer, torch.nn.Linear)][-1]
        last.bias[3:] = torch.tensor([-30.0, 2.0, 23.0])
    module.double()
    given = batch(SampleSpec((6,)))
    log_variance = module.features(given.x)[:, 3:]
    assert bool((log_variance[:, 0] < -20).all()) and bool((log_variance[:, 2] > 20).all())
    agree(module, given)


def test_mixed_columns_and_pictures() -> None:
    from isthmus.spec import Column

    columns = (Column("a", "numeric", 1), Column("b", "categorical", 3), Column("c", "boolean", 1))
    spec = SampleSpec((5,), columns=columns, gaps=True)
    agree(AutoencoderModule(spec, 2, WIDE, Mixed(numeric=Normal(scale="learned"))), batch(spec, gaps=True))
    picture = SampleSpec((2, 3, 4), channels=0)
    agree(AutoencoderModule(picture, 2, WIDE, Normal(scale="learned")), batch(picture))


def test_a_batch_without_gaps_leaves_what_hears_of_them_alone() -> None:
    module = AutoencoderModule(GAPS, 3, WIDE).double()
    way = DenseStep(module, 9)
    way.terms(batch(GAPS), torch.Generator(), learn=True)
    assert way.absent is not None and way.absent.grad is None


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (AutoencoderModule(SampleSpec((6,)), 3, Dense((8,), normalisation="batch")), "batch statistics"),
        (AutoencoderModule(SampleSpec((6,)), 3, Dense((8,), dropout=0.2)), "dropout"),
        (AutoencoderModule(SampleSpec((6,)), 3, Dense((8,), tied=True)), "tied weights"),
        (AutoencoderModule(SampleSpec((6,)), 3, Dense((8,)), variants=[Contractive()]), "a look inside the encoder"),
        (AutoencoderModule(SampleSpec((6,)), 3, variants=[Variational(), ImportanceWeighted()]), "a merge"),
        (AutoencoderModule(SampleSpec((1, 8, 8), channels=0), 3, Conv((4,))), "convolutions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_known_goes_by_autograd(module: AutoencoderModule, why: str) -> None:
    assert isinstance(step_of(module, Training(), 64), AutogradStep), why


def test_a_frozen_layer_and_weight_penalties_go_by_autograd() -> None:
    module = AutoencoderModule(SampleSpec((6,)), 3, WIDE)
    assert isinstance(step_of(module, Training(l1=0.1), 64), AutogradStep)
    next(module.parameters()).requires_grad_(False)
    assert isinstance(step_of(module, Training(), 64), AutogradStep)


@pytest.mark.skipif(not has_pointwise(), reason="torch does not let oneDNN multiply here")
def test_products_of_every_library_are_those_of_the_default_one() -> None:
    random = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=random) for shape in ((64, 130), (70, 130), (70,)))
    slope = torch.randn(64, 70, generator=random)
    found = []
    for kind in (Default, NumPy, OneDNN, OneDNNAlone):
        own = kind(weight, bias, torch.empty_like(weight), torch.empty_like(bias))
        outputs = [own.forward(x, relu, torch.empty(64, 70)) for relu in (False, True)]
        own.learn(slope)
        found.append([*outputs, own.back(slope, torch.empty_like(x)), own.weight_slope, own.bias_slope])
    for one, *others in zip(*found, strict=True):
        for other in others:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found[0][0], x @ weight.t() + bias, rtol=1e-5, atol=1e-4)
    assert isinstance(default_is_slow(), bool)


def test_the_library_follows_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = 10_000, 10**9
    fast = [NumPy, Default, OneDNN, OneDNNAlone]
    for slow, wanted in ((False, [Default] * 4), (True, fast)):
        monkeypatch.setattr(_products, "default_is_slow", lambda slow=slow: slow)
        monkeypatch.setattr(_products, "has_pointwise", lambda: True)
        asked = [(small, True), (small, False), (large, False), (large, True)]
        assert [choose(torch.float32, n, bf16=False, one_thread=alone) for n, alone in asked] == wanted
        assert choose(torch.float64, large, bf16=False, one_thread=False) is Default


def test_bfloat16_products_stay_near() -> None:
    module = AutoencoderModule(GAPS, 3, WIDE, "bernoulli", "variational")
    given = Batch(*(None if part is None else part.float() for part in batch(GAPS, gaps=True)))  # type: ignore[arg-type]
    plain, _ = both(module, given)
    for half in both(module, given, bf16=True):
        for one, other in zip(plain, half, strict=True):
            assert other.dtype == torch.float32
            assert float((one - other).norm()) <= 0.03 * float(one.norm()) + 1e-3
            assert not torch.equal(one, other) or not bool(one.any())


@pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
@pytest.mark.parametrize("variant", [[], ["denoising", "l1_sparse"], ["variational"], ["masked"]], ids=str)
def test_a_whole_run_ends_where_autograd_ends(variant: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3)) @ np.random.default_rng(1).normal(size=(3, 8))
    x[::7, 2] = np.nan
    training = Training(max_epochs=6, batch_size=32, clip=1.0, weight_decay=1e-4)

    def fitted() -> Autoencoder:
        made = Autoencoder(3, variant=variant, training=training, precision="float64", random_state=0)
        return made.fit(x)

    fast = fitted()
    monkeypatch.setattr(DenseStep, "fits", staticmethod(lambda *_: False))
    plain = fitted()
    for name, value in plain.module_.state_dict().items():
        torch.testing.assert_close(fast.module_.state_dict()[name], value, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fast.history_["loss"], plain.history_["loss"], rtol=1e-8)


def test_afterwards_every_parameter_has_its_own_memory() -> None:
    module = AutoencoderModule(SampleSpec((6,)), 3, WIDE).double()
    given = batch(SampleSpec((6,)), n_rows=40)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    train(module, lambda rows: Batch(given.x[torch.as_tensor(rows)]), 40, Training(max_epochs=2))
    memory = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    assert len(memory) == len(before)
    assert all(not torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True))


@pytest.mark.slow
def test_bf16_trains_as_well() -> None:
    x = (np.random.default_rng(0).normal(size=(400, 4)) @ np.random.default_rng(1).normal(size=(4, 30))).astype("f4")
    losses = {}
    for precision in ("float32", "bf16"):
        model = Autoencoder(4, precision=precision, training=Training(max_epochs=20), random_state=0).fit(x)
        losses[precision] = -model.score(x)
        assert next(model.module_.parameters()).dtype == torch.float32
    assert losses["bf16"] != losses["float32"]
    assert abs(losses["bf16"] - losses["float32"]) < 0.02 * abs(losses["float32"])


def test_an_unknown_layer_is_no_activation() -> None:
    assert activation_of(nn.Softplus()) is None


def test_a_law_that_cannot_be_is_refused_as_by_autograd() -> None:
    module = AutoencoderModule(SampleSpec((6,)), 3, WIDE, Normal(scale=-1.0))
    for way in (AutogradStep, DenseStep):
        with pytest.raises(SettingError, match="scale"):
            given = Batch(torch.zeros(4, 6))
            step = AutogradStep(module, Training()) if way is AutogradStep else DenseStep(module, 4)
            step.terms(given, torch.Generator(), learn=True)


class Looking(L1Sparse):
    """A penalty on what the encoder's layers give."""

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        self.kinds = {activation.dtype for activation in reconstruction.activations}
        return sum((activation.abs().mean() for activation in reconstruction.activations), torch.zeros(()))


def test_penalties_see_float32_beside_products_in_bfloat16() -> None:
    module = AutoencoderModule(SampleSpec((1, 8, 8), channels=0), 3, Conv((4,)), variants=[Looking()])
    way = step_of(module, Training(), 8, bf16=True)
    way.terms(Batch(torch.rand(8, 1, 8, 8)), torch.Generator(), learn=True)
    assert module.variants[0].kinds == {torch.float32}  # type: ignore[attr-defined]
    assert {p.grad.dtype for p in module.parameters() if p.grad is not None} == {torch.float32}
