"""Every claim that has a closed form, held against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, distributions

from isthmus.damage.base import Damage
from isthmus.likelihoods.normal import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks.dense import Dense
from isthmus.part import find, known
from isthmus.reconstruction import Reconstruction
from isthmus.spec import Column, SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.variants.base import Variant
from isthmus.variants.contractive import Contractive
from isthmus.variants.denoising import Denoising
from isthmus.variants.importance_weighted import ImportanceWeighted
from isthmus.variants.masked import Masked
from isthmus.variants.top_k import TopK
from isthmus.variants.variational import Variational

LINEAR = Dense(widths=())
TANH = Dense(widths=(7,), activation="tanh")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    variants: Any = (), width: int = 5, n_components: int = 3, network: Any = TANH, likelihood: Any = "normal"
) -> AutoencoderModule:
    """A small module with fixed random weights, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return AutoencoderModule(SampleSpec((width,)), n_components, network, likelihood, variants).double()


def rows_of(x: Tensor) -> Callable[[Any], Batch]:
    return lambda rows: Batch(x[torch.as_tensor(rows)])


def mean_over(count: int, once: Callable[[int], Tensor]) -> Tensor:
    return torch.stack([once(seed) for seed in range(count)]).mean(0)


# ---- linear = principal components


@pytest.mark.slow
def test_a_linear_autoencoder_is_pca_on_the_digits() -> None:
    """Random start, the ordinary loop, full batches, nothing held out, no singular values anywhere but in the rival."""
    x = load_digits().data
    x = x - x.mean(0)
    module = module_of(width=64, n_components=8, network=LINEAR)
    settings = Training(max_epochs=600, batch_size=len(x), learning_rate=5e-2, validation=0.0)
    train(module, rows_of(torch.from_numpy(x)), len(x), settings)
    with torch.inference_mode():
        out = module.decode(module.encode(torch.from_numpy(x))).mean.numpy()
    pca = PCA(8, svd_solver="full").fit(x)
    error, smallest = ((x - out) ** 2).sum(), ((x - pca.inverse_transform(pca.transform(x))) ** 2).sum()
    assert error / smallest - 1 <= 1e-6  # promised: 1e-4
    found, _ = np.linalg.qr(module.state_dict()["network.decoder.layers.0.linear.weight"].numpy())
    cosines = np.linalg.svd(found.T @ pca.components_.T, compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))) <= 0.01  # promised: 0.1


# ---- the linear-Gaussian model: x = W z + b + sigma * noise, z ~ N(0, I)

SIGMA = 0.8
OFFSET = random(5, seed=3)
WEIGHTS = torch.linalg.qr(random(5, 2, seed=4))[0] * torch.tensor([1.5, 0.7], dtype=torch.float64)  # orthogonal columns


def exact_log_likelihood(x: Tensor, weights: Tensor = WEIGHTS, offset: Tensor = OFFSET, sigma: float = SIGMA) -> Tensor:
    covariance = weights @ weights.T + sigma**2 * torch.eye(len(weights), dtype=torch.float64)
    return distributions.MultivariateNormal(offset, covariance).log_prob(x)


def linear_gaussian(*variants: Variant, shift: float = 0.0, widen: float = 0.0) -> AutoencoderModule:
    """The model as a module whose encoder is the exact posterior, or one that is off by shift and widen."""
    module = module_of([Variational(), *variants], n_components=2, network=LINEAR, likelihood=Normal(scale=SIGMA))
    posterior = SIGMA**2 / ((WEIGHTS**2).sum(0) + SIGMA**2)  # variances; diagonal, as the columns are orthogonal
    way = posterior[:, None] * WEIGHTS.T / SIGMA**2
    encoder = {"weight": torch.cat([way, torch.zeros_like(way)])}
    encoder["bias"] = torch.cat([shift - way @ OFFSET, posterior.log() + widen])
    state = {f"network.encoder.layers.0.linear.{name}": value for name, value in encoder.items()}
    state |= {"network.decoder.layers.0.linear.weight": WEIGHTS, "network.decoder.layers.0.linear.bias": OFFSET}
    module.load_state_dict(state)
    return module


def gaussian_samples(n: int) -> Tensor:
    return random(n, 2, seed=5) @ WEIGHTS.T + OFFSET + SIGMA * random(n, 5, seed=6)


def exact_bound(module: AutoencoderModule, x: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """The evidence lower bound of a linear decoder, integrated by hand: the noise of the code adds its trace."""
    with torch.no_grad():
        done = module.eval().reconstruct(x)  # at the posterior's mean, with the rate in closed form
        log_variance = module.features(x).chunk(2, dim=-1)[1]
    trace = (log_variance.exp() * (weights**2).sum(0)).sum(1) / (2 * sigma**2)
    return done.log_weights[0] - trace


def test_the_bound_at_the_exact_posterior_is_the_exact_log_likelihood() -> None:
    x = gaussian_samples(40)
    exact = exact_log_likelihood(x)
    torch.testing.assert_close(exact_bound(linear_gaussian(), x, WEIGHTS, SIGMA), exact, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_bound_as_training_draws_it_agrees_with_the_exact_log_likelihood() -> None:
    """No integral by hand: 4 million drawn codes, the rate in closed form; standard error 3e-4 nat."""
    x = gaussian_samples(40)
    module = linear_gaussian()
    module.variants[0].set_params(samples=10_000)
    with torch.no_grad():
        bound = mean_over(10, lambda seed: module.reconstruct(x, generator=generator(seed)).bound.mean())  # type: ignore[union-attr]
    assert abs(-float(bound) - float(exact_log_likelihood(x).mean())) < 1e-3


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_importance_weight_is_the_likelihood(samples: int) -> None:
    """p(x, z) / q(z | x) = p(x) for every z: no draw is luckier than another."""
    x = gaussian_samples(40)
    with torch.no_grad():
        done = linear_gaussian(ImportanceWeighted(samples)).reconstruct(x, generator=generator())
    assert done.log_weights.shape == (samples, 40) and done.bound is not None
    torch.testing.assert_close(done.log_weights, exact_log_likelihood(x).expand(samples, 40), rtol=0, atol=1e-9)
    torch.testing.assert_close(-done.bound, exact_log_likelihood(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("shift", "widen"), [(0.3, 0.0), (0.0, 0.5), (0.0, -0.5), (-0.2, 0.7)])
def test_any_other_posterior_is_below_by_its_divergence_from_the_exact_one(shift: float, widen: float) -> None:
    x = gaussian_samples(40)
    gap = exact_log_likelihood(x) - exact_bound(linear_gaussian(shift=shift, widen=widen), x, WEIGHTS, SIGMA)
    variances = SIGMA**2 / ((WEIGHTS**2).sum(0) + SIGMA**2)
    exact = distributions.Normal(torch.zeros(2, dtype=torch.float64), variances.sqrt())
    ours = distributions.Normal(torch.full((2,), shift, dtype=torch.float64), (variances * math.exp(widen)).sqrt())
    divergence = distributions.kl_divergence(ours, exact).sum()
    assert divergence > 0.01
    torch.testing.assert_close(gap, divergence.expand(40), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_trained_linear_variational_autoencoder_is_probabilistic_pca() -> None:
    """Tipping & Bishop 1999: at the best weights W W' + sigma² I has the sample covariance's first eigenvalues."""
    x = gaussian_samples(600)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    model = torch.cat([eigenvalues[:2], torch.full((3,), SIGMA**2, dtype=torch.float64)])
    best = -0.5 * float((math.log(2 * math.pi) + model.log() + eigenvalues / model).sum())
    module = module_of(Variational(samples=20), n_components=2, network=LINEAR, likelihood=Normal(scale=SIGMA))
    train(module, rows_of(x), len(x), Training(max_epochs=300, batch_size=600, learning_rate=5e-2, validation=0.0))
    state = module.state_dict()
    weights, offset = (state[f"network.decoder.layers.0.linear.{name}"] for name in ("weight", "bias"))
    reached = float(exact_log_likelihood(x, weights, offset).mean())
    bound = float(exact_bound(module, x, weights, SIGMA).mean())
    assert bound <= reached <= best + 1e-9
    assert best - bound < 1e-3


# ---- the rate


def passing(module: AutoencoderModule, x: Tensor, seed: int = 0) -> Reconstruction:
    with torch.no_grad():
        return module.reconstruct(x, generator=generator(seed))


def posterior_of(module: AutoencoderModule, x: Tensor) -> distributions.Normal:
    with torch.no_grad():
        mean, log_variance = module.features(x).chunk(2, dim=-1)
    return distributions.Normal(mean, (0.5 * log_variance).exp())


def test_the_rate_is_the_divergence_from_the_prior() -> None:
    x, prior = random(9, 5), distributions.Normal(0.0, 1.0)
    for beta in (1.0, 4.0):
        module = module_of(Variational(beta=beta, samples=3))
        closed = beta * distributions.kl_divergence(posterior_of(module, x), prior).sum(1)
        torch.testing.assert_close(passing(module, x).rate, closed.expand(3, 9))
        torch.testing.assert_close(module.eval().reconstruct(x).rate, closed.expand(1, 9))


def test_the_sampled_rate_agrees_with_the_closed_form_on_average() -> None:
    x = random(9, 5)
    module = module_of([Variational(), ImportanceWeighted(samples=100_000)])
    sampled = passing(module, x).rate
    closed = distributions.kl_divergence(posterior_of(module, x), distributions.Normal(0.0, 1.0)).sum(1)
    assert isinstance(sampled, Tensor)
    error = sampled.std(0) / math.sqrt(len(sampled))
    assert ((sampled.mean(0) - closed).abs() < 4 * error).all() and error.max() < 0.02


def test_codes_are_drawn_from_the_posterior() -> None:
    x = random(4, 5)
    module = module_of(Variational(samples=100_000))
    code, posterior = passing(module, x).code, posterior_of(module, x)
    assert code is not None
    torch.testing.assert_close(code.mean(0), posterior.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(code.std(0), posterior.stddev, rtol=0.01, atol=0)


def test_free_bits_put_a_floor_under_each_components_average_rate() -> None:
    x, floor = random(9, 5), 0.4
    plain, floored = module_of("variational"), module_of(Variational(free_bits=floor))
    per_component = distributions.kl_divergence(posterior_of(plain, x), distributions.Normal(0.0, 1.0)).mean(0)
    floored.load_state_dict(plain.state_dict())
    rate = passing(floored, x).rate
    assert isinstance(rate, Tensor) and (per_component < floor).any()
    torch.testing.assert_close(rate.mean(), per_component.clamp_min(floor).sum())


def gradient_norm(value: Tensor, module: AutoencoderModule) -> float:
    gradients = torch.autograd.grad(value, list(module.parameters()), allow_unused=True, materialize_grads=True)
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def test_below_the_floor_the_rate_pushes_nothing() -> None:
    x = random(9, 5)
    for floor, pushes in ((0.0, True), (1e3, False)):
        module = module_of(Variational(free_bits=floor))
        rate = module.reconstruct(x, generator=generator()).rate
        assert isinstance(rate, Tensor)
        assert (rate.requires_grad and gradient_norm(rate.sum(), module) > 0) == pushes


def test_free_bits_leave_scores_alone_so_that_rows_stay_independent() -> None:
    x = random(9, 5)
    plain, floored = module_of("variational").eval(), module_of(Variational(free_bits=0.4)).eval()
    torch.testing.assert_close(floored.reconstruct(x).log_weights, plain.reconstruct(x).log_weights)
    torch.testing.assert_close(floored.reconstruct(x).log_weights[:, :1], floored.reconstruct(x[:1]).log_weights)


# ---- importance weights


def bounds(samples: int, x: Tensor, repeats: int, **off: float) -> Tensor:
    """The bound of each repeat, averaged over x."""
    module = linear_gaussian(ImportanceWeighted(samples), **off)
    return torch.stack([-passing(module, x, seed).bound.mean() for seed in range(repeats)])  # type: ignore[union-attr]


def test_more_importance_samples_tighten_the_bound_up_to_the_likelihood() -> None:
    """Burda et al. 2016, theorem 1, in a model whose likelihood is known; the posterior is wrong on purpose."""
    x = gaussian_samples(300)
    exact = float(exact_log_likelihood(x).mean())
    means, errors = [], []
    for samples in (1, 2, 5, 20, 100):
        found = bounds(samples, x, 40, shift=0.5, widen=0.5)
        means.append(float(found.mean()))
        errors.append(float(found.std()) / math.sqrt(40))
    for low, high, error, other in zip(means[:-1], means[1:], errors[:-1], errors[1:], strict=True):
        assert high - low > 3 * (error + other)
    assert means[0] < exact - 0.3 and exact - means[-1] < 0.02
    assert means[-1] <= exact + 3 * errors[-1]


def test_with_one_sample_it_is_the_variational_bound_with_a_sampled_rate() -> None:
    x = gaussian_samples(300)
    module = linear_gaussian(ImportanceWeighted(samples=1), shift=0.5, widen=-0.7)
    done = passing(module, x)
    assert done.bound is not None and done.distortion is not None
    torch.testing.assert_close(done.bound, (done.distortion + done.rate)[0])
    found = bounds(1, x, 200, shift=0.5, widen=-0.7)
    closed = float(exact_bound(linear_gaussian(shift=0.5, widen=-0.7), x, WEIGHTS, SIGMA).mean())
    assert abs(float(found.mean()) - closed) < 4 * float(found.std()) / math.sqrt(200)


def test_the_merge_is_the_logarithm_of_the_mean_weight() -> None:
    logs = random(6, 4)
    torch.testing.assert_close(ImportanceWeighted(samples=6).merge(logs), -logs.exp().mean(0).log())
    assert torch.isfinite(ImportanceWeighted(samples=6).merge(logs - 1e4)).all()


# ---- the contractive penalty


def prepared(module: AutoencoderModule, x: Tensor, weight: Tensor) -> AutoencoderModule:
    """The same module, whose variants have seen these samples as before training."""
    for variant in module.variants:
        variant.prepare(lambda: iter([x.masked_fill(weight <= 0, math.nan)]), generator())
    return module


def squared_jacobians(module: AutoencoderModule, x: Tensor) -> Tensor:
    """||d code / d x||² of every row, by torch's own Jacobian."""
    rows = [torch.autograd.functional.jacobian(lambda row: module.encode(row[None])[0], row) for row in x]
    return torch.stack([row.square().sum() for row in rows])  # type: ignore[union-attr]


@pytest.mark.parametrize("others", [[], ["variational"], [TopK(k=2)], [Denoising("gaussian")]], ids=repr)
def test_the_contractive_penalty_is_the_jacobians_squared_norm(others: Sequence[Any]) -> None:
    x = random(6, 5)
    module = module_of([*others, Contractive(weight=0.3)])
    done = module.penalise(module.reconstruct(x, generator=generator()))
    expected = 0.3 * squared_jacobians(module, done.seen).mean()
    torch.testing.assert_close(done.penalties["contractive"], expected, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_random_probes_estimate_the_norm_without_bias() -> None:
    x = random(6, 5)
    module = module_of(Contractive(weight=1.0, probes=2))

    def once(seed: int) -> Tensor:
        return module.penalise(module.reconstruct(x, generator=generator(seed))).penalties["contractive"]

    with torch.no_grad():
        found = mean_over(1500, once)
    assert float(found) == pytest.approx(float(squared_jacobians(module, x).mean()), rel=0.02)


def test_a_deterministic_pass_takes_the_exact_norm() -> None:
    """Nothing is drawn there, neither from the user's own random numbers."""
    x = random(6, 5)
    module = module_of(Contractive(weight=1.0, probes=2)).eval()
    before = torch.get_rng_state()
    done = module.penalise(module.reconstruct(x))
    torch.testing.assert_close(done.penalties["contractive"], squared_jacobians(module, x).mean())
    assert torch.equal(torch.get_rng_state(), before)


# ---- gradients


def examples_of(kind: str) -> list[Any]:
    return [example for name in known(kind) for example in find(kind, name).examples()]


EVERY = examples_of("variants")
#: Their gradient goes past a rounding, so that it is none of the loss; tests/test_variants_discrete.py says what it is.
#: Where two sides have a loss each, no gradient is that of their sum; tests/test_adversarial.py holds both.
ROUNDED = ("binary", "finite_scalar", "quantized")
SMOOTH = [variant for variant in EVERY if variant.name() not in ROUNDED and not variant.changes("adversary")]
# the doubly reparameterised gradient is another one with the same mean
SMOOTH = [ImportanceWeighted(gradient="plain") if one.name() == "importance_weighted" else one for one in SMOOTH]


@pytest.mark.parametrize("variant", [*SMOOTH, Contractive(probes=1), Masked(visible=0.2)], ids=repr)
@pytest.mark.parametrize("likelihood", ["normal", "mixed(numeric=\"normal(scale='learned')\")"])
def test_the_losss_gradient_agrees_with_finite_differences(variant: Variant, likelihood: str) -> None:
    """Along random directions through all parameters, the draws of the pass held fast."""
    columns = (Column("a"), Column("b", "categorical", 3), Column("c", "boolean"), Column("d"))
    spec = SampleSpec((6,), columns=columns)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = AutoencoderModule(spec, 3, TANH, likelihood, [*variant.requires, variant]).double()
    x, weight = torch.rand(8, 6, dtype=torch.float64), (random(8, 6, seed=2) > -1).double()
    prepared(module, x, weight)
    remembered = {name: value.clone() for name, value in module.built.named_buffers()}

    def loss() -> Tensor:
        # what a variant remembers of a pass must not reach the next
        module.built.load_state_dict(remembered, strict=False)
        return module.loss(x, weight, generator=generator())

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    for seed in range(3):
        directions = [random(*parameter.shape, seed=seed + 7) for parameter in parameters]
        slope = sum((gradient * step).sum() for gradient, step in zip(gradients, directions, strict=True))
        sides = []
        for sign in (1e-6, -2e-6):  # one step forth, two back
            with torch.no_grad():
                for parameter, step in zip(parameters, directions, strict=True):
                    parameter += sign * step
            sides.append(loss().detach())
        with torch.no_grad():
            for parameter, step in zip(parameters, directions, strict=True):
                parameter += 1e-6 * step
        torch.testing.assert_close((sides[0] - sides[1]) / 2e-6, slope, rtol=1e-5, atol=1e-7)


# ---- limits, and what must not count


FOR_PICTURES = ("grey", "marks", "move")


def check_pictures_are_shown_spoiled(damage: Damage) -> None:
    """The same of damages that only pictures can take."""
    x = torch.rand(8, 3, 16, 16, generator=generator()).double()
    module = AutoencoderModule(SampleSpec((3, 16, 16)), 2, Dense(widths=()), Normal(), [Denoising(damage)]).double()
    done = passing(module, x)
    assert torch.equal(done.x, x) and torch.equal(done.target, x) and not torch.equal(done.seen, x)
    torch.testing.assert_close(done.code, module.features(done.seen)[None])
    assert torch.equal(module.eval().reconstruct(x).seen, x)


@pytest.mark.parametrize("damage", examples_of("damage"), ids=repr)
def test_denoising_shows_the_spoiled_and_asks_for_the_clean(damage: Damage) -> None:
    x = random(50, 5)
    if damage.name() in FOR_PICTURES:
        check_pictures_are_shown_spoiled(damage)
        return
    module = module_of(Denoising(damage))
    done = passing(module, x)
    assert torch.equal(done.x, x) and torch.equal(done.target, x) and not torch.equal(done.seen, x)
    assert done.output is not None and done.distortion is not None
    torch.testing.assert_close(done.distortion, done.output.nll(x).sum(2))
    torch.testing.assert_close(done.code, module.features(done.seen)[None])
    assert torch.equal(module.eval().reconstruct(x).seen, x)  # nothing is spoiled outside training


def test_a_pair_is_held_against_its_clean_half() -> None:
    noisy, clean = random(6, 5), random(6, 5, seed=1)
    done = module_of().reconstruct(noisy, target=clean, generator=generator())
    assert done.output is not None and done.distortion is not None
    torch.testing.assert_close(done.distortion, done.output.nll(clean).sum(2))


@pytest.mark.parametrize("visible", [1.0, 0.25, 0.0])
def test_masked_weighs_the_hidden_cells_one_and_the_visible_ones_as_asked(visible: float) -> None:
    x, weight = random(50, 5), (random(50, 5, seed=1) > -0.5).double()
    module = module_of(Masked(share=0.4, visible=visible))
    with torch.no_grad():
        done = module.reconstruct(x, weight, generator=generator())
    assert done.seen_weight is not None and done.output is not None and done.distortion is not None
    hidden = (done.seen_weight == 0) & (weight > 0)
    assert 0.3 < hidden.sum() / weight.sum() < 0.5
    cells = done.output.nll(x)[0] * weight
    expected = torch.where(hidden, cells, visible * cells).sum(1)
    torch.testing.assert_close(done.distortion[0], expected)


def test_what_is_masked_reaches_no_code() -> None:
    x = random(50, 5)
    module = module_of(Masked(share=0.4))
    first = passing(module, x)
    assert first.seen_weight is not None and first.code is not None
    other = torch.where(first.seen_weight > 0, x, random(50, 5, seed=9))
    torch.testing.assert_close(passing(module, other).code, first.code)


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_top_k_keeps_the_k_largest_and_nothing_else(k: int) -> None:
    x = random(200, 5)
    module = module_of(TopK(k=k), n_components=4)
    features, code = module.features(x), module.encode(x)
    assert ((code != 0).sum(1) == min(k, 4)).all()
    assert (code[code != 0] == features[code != 0]).all()
    left_out = torch.where(code == 0, features.abs(), 0.0).amax(1)
    assert (left_out <= torch.where(code != 0, features.abs(), torch.inf).amin(1)).all()


@pytest.mark.parametrize("variant", [(), *EVERY], ids=repr)
@pytest.mark.parametrize("junk", [0.0, 1e6, math.nan, math.inf], ids=repr)
def test_absent_cells_count_neither_in_the_loss_nor_in_a_gradient(variant: Any, junk: float) -> None:
    """Whatever stands in a cell of weight 0, even NaN, and although some damage looks at other rows."""
    x, weight = random(20, 5), (random(20, 5, seed=1) > -0.5).double()
    spec = SampleSpec((5,), gaps=True)
    variants = [*variant.requires, variant] if variant else []
    results = []
    for filling in (0.0, junk):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = prepared(AutoencoderModule(spec, 3, TANH, "normal", variants).double(), x, weight)
        loss = module.loss(torch.where(weight > 0, x, filling), weight, generator=generator())
        gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, materialize_grads=True)
        results.append([loss.detach(), *gradients])
        assert torch.isfinite(module.encode(torch.where(weight > 0, x, filling), weight)).all()
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(second, first, rtol=0, atol=0)


def test_a_targets_absent_cells_do_not_count_either() -> None:
    x, clean, weight = random(20, 5), random(20, 5, seed=2), (random(20, 5, seed=1) > -0.5).double()
    module = module_of()
    expected = module.loss(x, weight, target=clean, generator=generator())
    found = module.loss(x, weight, target=torch.where(weight > 0, clean, math.nan), generator=generator())
    torch.testing.assert_close(found, expected)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters() if parameter.grad is not None)


def test_trained_binary_cross_entropy_reaches_the_targets_entropy_and_no_less() -> None:
    x = torch.tensor([[0.1, 0.5, 0.8]], dtype=torch.float64).expand(4, 3)
    module = module_of(width=3, n_components=1, network=LINEAR, likelihood="bernoulli")
    history = train(module, rows_of(x), 4, Training(max_epochs=400, learning_rate=0.1, validation=0.0))
    entropy = float(distributions.Bernoulli(probs=x[0]).entropy().sum())
    assert 0 <= min(history["distortion"]) - entropy < 1e-6
