"""The importance weighted bound: its two gradients have one expected value, and a fitted model can be asked for it."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import isthmus
from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.checks.small import build, generator, samples
from isthmus.errors import SettingError
from isthmus.evaluation import log_likelihood
from isthmus.networks import Dense
from isthmus.variants import ImportanceWeighted, L1Sparse, Variational
from isthmus.variants.base import Variant

# an untrained model, which the doctor rightly finds poor
pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

N_COPIES, N_SEEDS = 400, 60


def gradients(gradient: Any, k: int, variational: Variational | None = None, more: tuple[Variant, ...] = ()) -> Tensor:
    """The gradient by the posterior's mean and log-variance for one row, (draws, 2 n): each row has its own draw."""
    variants = [variational or Variational(), ImportanceWeighted(samples=k, gradient=gradient), *more]
    module = build(variants).train()
    row = samples(n_rows=1).expand(N_COPIES, -1)
    found = []
    for seed in range(N_SEEDS):
        features: list[Tensor] = []
        hook = module.network.encoder.register_forward_hook(
            lambda _, __, output, kept=features: kept.append(output.requires_grad_())
        )
        loss = module.loss(row, generator=generator(seed))
        hook.remove()
        (slope,) = torch.autograd.grad(loss * N_COPIES, features[0])
        found.append(slope)
    return torch.cat(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "variational", "more"),
    [
        (1, None, ()),
        (8, None, ()),
        (4, Variational(beta=0.5), ()),
        (4, Variational(beta=3.0), ()),
        (4, None, (L1Sparse(weight=2.0),)),
    ],
    ids=["k=1", "k=8", "beta=0.5", "beta=3", "with a penalty on the code"],
)
def test_both_gradients_have_the_same_expected_value(k: int, variational: Any, more: tuple[Variant, ...]) -> None:
    """By 24,000 draws each, for every number that the encoder gives."""
    plain, dreg = (gradients(name, k, variational, more) for name in ("plain", "dreg"))
    error = (plain.mean(0) - dreg.mean(0)).abs()
    allowed = 4.5 * (plain.var(0) / len(plain) + dreg.var(0) / len(dreg)).sqrt()
    assert bool((error < allowed).all()), (error / allowed).tolist()
    assert bool((plain.mean(0).abs() > allowed).any())  # they are not all zero within the error


def test_the_doubly_reparameterised_gradient_scatters_less() -> None:
    plain, dreg = (gradients(name, 16).var(0).sum() for name in ("plain", "dreg"))
    assert float(dreg) < 0.7 * float(plain)


def test_the_decoder_has_the_same_gradient_to_the_bit_and_the_bound_the_same_value() -> None:
    x, found = samples(), []
    for name in ("plain", "dreg"):
        module = build(["variational", ImportanceWeighted(samples=5, gradient=name)])  # type: ignore[arg-type]
        loss = module.loss(x, generator=generator(3))
        found.append([loss.detach(), *torch.autograd.grad(loss, list(module.network.decoder.parameters()))])
    assert all(torch.allclose(*pair, rtol=0, atol=1e-12) for pair in zip(*found, strict=True))


def test_a_pass_is_forgotten_when_it_is_over() -> None:
    """A hook that knew its own graph would keep every step of training in memory."""
    module, x = build(["variational", "importance_weighted"]), samples()
    gc.disable()
    try:
        done = module.reconstruct(x, generator=generator())
        done.loss.backward()
        code, kept = weakref.ref(done.code), weakref.ref(done)
        del done
        assert kept() is None and code() is None
    finally:
        gc.enable()


def test_another_gradient_is_refused() -> None:
    with pytest.raises(SettingError, match="'dreg' or 'plain'"):
        build(["variational", ImportanceWeighted(gradient="steep")])  # type: ignore[arg-type]


# ---- of a fitted model


def exact_model(noise: float = 0.5) -> tuple[Autoencoder, np.ndarray, np.ndarray]:
    """A linear model with normal noise whose posterior is a little off, data, and their exact log-likelihood."""
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float64)
    network = Dense(widths=())
    model = Autoencoder(
        1,
        variant=[Variational(beta=4.0, free_bits=0.3), "denoising"],
        network=network,
        likelihood=f"normal(scale={noise})",
        training=Training(max_epochs=1),
        precision="float64",
        random_state=0,
    ).fit(x)
    module: Any = model.module_
    opened = model.data_.open(x)
    scaled = model.data_.batch(opened, np.arange(50), torch.float64).x
    loadings = torch.tensor([[1.0], [0.5], [-0.7]], dtype=torch.float64)
    variance = 1 / (1 + float(loadings.square().sum()) / noise**2)
    with torch.no_grad():
        encoder, decoder = module.network.encoder.layers[0].linear, module.network.decoder.layers[0].linear
        encoder.weight.copy_(torch.cat([variance * loadings.T / noise**2, torch.zeros(1, 3)]))
        encoder.bias.copy_(torch.tensor([0.3, math.log(variance) + 0.4]))
        decoder.weight.copy_(loadings)
        decoder.bias.zero_()
    covariance = loadings @ loadings.T + noise**2 * torch.eye(3, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(scaled)
    return model, x, exact.numpy()


def test_the_bound_grows_with_samples_to_the_exact_log_likelihood() -> None:
    """Whatever beta, free bits and damage it was trained with."""
    model, x, exact = exact_model()
    bounds = [
        float(np.mean([log_likelihood(model, x, k, random_state=seed).mean() for seed in range(20)]))
        for k in (1, 4, 16, 300)
    ]
    assert bounds == sorted(bounds) and bounds[0] < exact.mean() - 0.1
    assert bounds[-1] == pytest.approx(exact.mean(), abs=0.01)


def test_the_bound_repeats_and_needs_a_law_of_codes(tmp_path: Path) -> None:
    model, x, _ = exact_model()
    first = log_likelihood(model, x, samples=70, random_state=1)
    assert first.shape == (50,) and np.array_equal(first, log_likelihood(model, x, 70, random_state=1))
    assert not np.array_equal(first, log_likelihood(model, x, 70, random_state=2))
    model.save(tmp_path / "m")
    assert np.array_equal(first, log_likelihood(isthmus.load(tmp_path / "m"), x, 70, random_state=1))
    with pytest.raises(SettingError, match="variant='vae'"):
        log_likelihood(AnomalyDetector(Autoencoder(1, training=Training(max_epochs=1))).fit(x), x)
    with pytest.raises(SettingError, match="samples is 0"):
        log_likelihood(model, x, samples=0)


def test_absent_values_do_not_count() -> None:
    model, x, _ = exact_model()
    gaps = x.copy()
    gaps[0, 1:] = np.nan
    bound = log_likelihood(model, gaps, samples=500, random_state=0)[0]
    scaled = model.data_.batch(model.data_.open(x), np.arange(1), torch.float64).x[0, 0]
    law = torch.distributions.Normal(0.0, math.sqrt(1.0 + 0.25))
    assert float(bound) == pytest.approx(float(law.log_prob(scaled)), abs=0.15)
