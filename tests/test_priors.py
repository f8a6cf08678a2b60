"""Priors that are trained: a law that is one, drawn as it says, the same after a file; what they are good for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import isthmus
from isthmus import Autoencoder, Training
from isthmus.checks.small import VECTOR, build, generator, samples, seeded, train_shortly
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.priors import Mixture, StandardNormal, Vamp
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training.dense_step import DenseStep
from isthmus.variants import Variational

# models of a few steps on noise, which the doctor rightly finds poor
pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

TRAINED: list[Prior] = [Mixture(k=4), Vamp(k=4)]


def module_with(prior: Prior, n_components: int, spec: SampleSpec = VECTOR) -> AutoencoderModule:
    """An untrained one whose members lie apart."""
    with seeded(1):
        module = AutoencoderModule(spec, n_components, Dense(widths=(6,)), variants=Variational(prior=prior)).double()
    for name, value in module.built.named_parameters():
        with torch.no_grad():
            value.mul_(2.0 if "log_variances" not in name else 1.0).add_(
                0.3 * torch.randn(value.shape, generator=generator(5), dtype=value.dtype)
            )
    return module


def log_prob(module: AutoencoderModule, code: Tensor) -> Tensor:
    variant: Any = module.variants[0]
    found: Tensor = variant.prior.log_prob(code, variant.trained, variant._encode)
    return found.detach()


# ---- one law


@pytest.mark.parametrize("prior", TRAINED, ids=repr)
@pytest.mark.parametrize("size", [1, 2])
def test_the_density_integrates_to_one(prior: Prior, size: int) -> None:
    module = module_with(prior, size)
    step = 0.02 if size == 1 else 0.08
    line = torch.arange(-14, 14, step, dtype=torch.float64)
    points = line[:, None] if size == 1 else torch.cartesian_prod(line, line)
    total = torch.cat([log_prob(module, some).exp() for some in points.split(50_000)]).sum() * step**size
    assert float(total) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("prior", TRAINED, ids=repr)
def test_draws_have_the_moments_of_the_density(prior: Prior) -> None:
    module = module_with(prior, 1)
    drawn = module.draw_codes((200_000, 1), generator())
    assert drawn is not None
    line = torch.arange(-14, 14, 0.01, dtype=torch.float64)[:, None]
    mass = log_prob(module, line).exp() * 0.01
    for power in (1, 2, 3):
        wanted = float((line[:, 0] ** power * mass).sum())
        values = drawn[:, 0].detach() ** power
        assert abs(float(values.mean()) - wanted) < 6 * float(values.std()) / len(values) ** 0.5


def test_one_member_is_the_standard_normal() -> None:
    """Density, rate outside training (in closed form, where there is one member) and, on average, the one in it."""
    x = samples()
    plain, other = build(["variational"]), build([Variational(prior=Mixture(k=1), samples=100)])
    code = torch.randn(7, 4, generator=generator(), dtype=torch.float64)
    assert torch.allclose(log_prob(other, code), StandardNormal().log_prob(code).sum(1), rtol=0, atol=1e-12)
    rates = [torch.as_tensor(module.eval().reconstruct(x).rate).detach() for module in (plain, other)]
    assert torch.allclose(*rates, rtol=0, atol=1e-12)
    draws = [torch.as_tensor(other.reconstruct(x, generator=generator(seed)).rate).detach() for seed in range(20)]
    sampled = torch.cat(draws)
    error = (sampled.mean(0) - rates[0][0]).abs()
    assert bool((error < 6 * sampled.std(0) / len(sampled) ** 0.5).all())


def test_the_gradient_of_the_sampled_rate_is_that_of_the_closed_form() -> None:
    x = samples()
    slopes = []
    for prior, n_draws in ((StandardNormal(), 1), (Mixture(k=1), 150)):
        module = build([Variational(prior=prior, samples=100)])
        draws = []
        for seed in range(n_draws):
            rate = torch.as_tensor(module.reconstruct(x, generator=generator(seed)).rate).mean()
            draws.append(torch.autograd.grad(rate, module.network.encoder.layers[-1].linear.bias)[0])
        slopes.append(torch.stack(draws))
    error = (slopes[1].mean(0) - slopes[0][0]).abs()
    assert bool((error < 6 * slopes[1].std(0) / len(slopes[1]) ** 0.5).all())


@pytest.mark.parametrize("prior", TRAINED, ids=repr)
def test_the_rate_outside_training_is_at_least_the_divergence(prior: Prior) -> None:
    """And where members are far apart next to it."""
    x = samples()
    module = build([Variational(prior=prior)])
    bound = torch.as_tensor(module.eval().reconstruct(x).rate).detach()[0]
    drawn = torch.stack(
        [torch.as_tensor(module.reconstruct(x, generator=generator(i)).rate).detach()[0] for i in range(400)]
    )
    error = 6 * drawn.std(0) / len(drawn) ** 0.5
    assert bool((drawn.mean(0) < bound + error).all()) and bool((bound >= 0).all())


# ---- grids, damage, settings


@pytest.mark.parametrize(("prior", "axes"), [(Mixture(k=3), 3), (Vamp(k=3), 1)], ids=["mixture", "vamp"])
def test_a_grid_of_codes_has_a_prior_too(prior: Prior, axes: int) -> None:
    """Of a mixture every place has the same law; a pseudo-input is a whole sample, and so a law over all places."""
    spec = SampleSpec((1, 8, 8), channels=0)
    network = Conv(channels=(4,), code="grid")
    with seeded(0):
        module = AutoencoderModule(spec, 2, network, "normal", Variational(prior=prior)).double()
    x = samples(spec)
    code = module.encode(x)
    assert code.ndim == 4 and log_prob(module, code).shape == code.shape[:axes]
    drawn = module.draw_codes((5, *code.shape[1:]), generator())
    assert drawn is not None and drawn.shape == (5, *code.shape[1:])
    losses = train_shortly(module, x)["loss"]
    assert losses[-1] < losses[0]


def test_pseudo_inputs_start_as_training_rows() -> None:
    module = build([Variational(prior=Vamp(k=5))])
    inputs = dict(module.named_parameters())["built.variational.inputs"]
    distances = torch.cdist(inputs.detach(), samples())
    assert float(distances.amin(1).max()) == 0.0 and len(set(distances.argmin(1).tolist())) == 5


def test_absent_values_do_not_become_pseudo_inputs() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[::2, 1] = np.nan
    model = Autoencoder(1, variant=Variational(prior=Vamp(k=30)), training=Training(max_epochs=1), random_state=0)
    model.fit(x)
    assert bool(model.module_.built["variational"].inputs.isfinite().all())
    assert np.isfinite(model.reconstruct(x)).all()


def test_free_bits_need_independent_components() -> None:
    with pytest.raises(SettingError, match="free_bits is 0.5"):
        build([Variational(free_bits=0.5, prior="mixture")])
    build([Variational(free_bits=0.5)])


def test_vamp_refuses_samples_of_many_sizes() -> None:
    with pytest.raises(SettingError, match="samples of one size"):
        Vamp().build(SampleSpec((1, 8, 8), channels=0, free=(1, 2)), 2)


def test_what_is_learned_is_left_to_autograd() -> None:
    """The hand-written step knows no parameters but those of the layers."""
    training = Training()
    assert DenseStep.fits(build(["variational"]), training)
    assert not DenseStep.fits(build([Variational(prior=Mixture(k=2))]), training)


# ---- files


@pytest.mark.parametrize("prior", TRAINED, ids=repr)
def test_a_trained_prior_is_in_the_file(prior: Prior, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = Autoencoder(2, variant=Variational(prior=prior), training=Training(max_epochs=3), random_state=0).fit(x)
    start = Autoencoder(2, variant=Variational(prior=prior), random_state=0).build(x)
    learned = {name: value for name, value in model.module_.state_dict().items() if name.startswith("built.")}
    assert all(not torch.equal(value, start.state_dict()[name]) for name, value in learned.items())
    model.save(tmp_path / "m.safetensors")
    loaded = isthmus.load(tmp_path / "m.safetensors")
    assert all(torch.equal(value, loaded.module_.state_dict()[name]) for name, value in learned.items())
    assert np.array_equal(model.sample(5), loaded.sample(5))
    assert loaded.variant == model.variant or loaded.variant[0] == Variational(prior=prior)


def test_a_copy_in_another_number_type_uses_its_own_encoder() -> None:
    """Pseudo-inputs of a model that was copied must not go through the encoder of the first."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = Autoencoder(2, variant=Variational(prior=Vamp(k=3)), training=Training(max_epochs=2), random_state=0).fit(x)
    double: Any = model.as_type(torch.float64)
    assert double.variants[0].encoder is double.network.encoder is not model.module_.network.encoder
    assert double.variants[0].trained is double.built["variational"]
    pass_ = Reconstruction(double.spec, *[torch.from_numpy(x), None] * 2, torch.from_numpy(x))
    assert double.bottleneck.bottleneck(double.features(torch.from_numpy(x)), pass_)[1].dtype == torch.float64


# ---- what it is for


@pytest.mark.slow
@pytest.mark.parametrize("prior", [Mixture(k=4), Vamp(k=8)], ids=repr)
def test_a_trained_prior_has_a_better_bound_than_the_standard_normal_on_groups(prior: Prior) -> None:
    """Four narrow groups: the standard normal pays for their choice and for what lies between them."""
    random = np.random.default_rng(0)
    centres = np.array([[4.0, 4], [4, -4], [-4, 4], [-4, -4]])
    x = centres[random.integers(4, size=400)] + 0.3 * random.normal(size=(400, 2))
    bounds = []
    for one in ("standard_normal", prior):
        training = Training(max_epochs=30, batch_size=20, learning_rate=1e-2, validation=0.0)
        model = Autoencoder(2, variant=Variational(prior=one), likelihood="normal(scale=0.1)", training=training)
        model.set_params(network=Dense(widths=(32,)), random_state=0).fit(x)
        bounds.append(isthmus.evaluation.log_likelihood(model, x, samples=20, random_state=0).mean())
    assert bounds[1] > bounds[0] + 0.05, bounds
