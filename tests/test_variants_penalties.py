"""Penalties on the law of the codes and on the encoder: wasserstein, orthogonal, neighbours and contractive, each held
against its own mathematics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.priors import StandardNormal
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.training.dense_step import DenseStep
from isthmus.training.preparing import marked
from isthmus.training.steps import AutogradStep
from isthmus.variants import Contractive, Denoising, Neighbours, Orthogonal, Wasserstein
from isthmus.variants._graph import Graph, graph_of, some_rows
from isthmus.variants._slopes import squared_norm

pytestmark = pytest.mark.slow

LINEAR = Dense(widths=())
GRID = Conv(channels=(4, 5), code="grid", normalisation=None)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    variants: Any = (), n_components: int = 3, network: Any = None, shape: tuple[int, ...] = (5,), **spec: Any
) -> AutoencoderModule:
    network = Dense(widths=(7,), activation="tanh") if network is None else network
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = AutoencoderModule(SampleSpec(shape, **spec), n_components, network, "normal", variants)
        return made.double()


def prepared(module: AutoencoderModule, *batches: Tensor) -> AutoencoderModule:
    for variant in module.variants:
        variant.prepare(lambda: iter(batches), generator())
    return module


def fit(module: AutoencoderModule, x: Tensor, **settings: Any) -> Any:
    training = Training(**(dict(max_epochs=20, batch_size=64, learning_rate=5e-3, validation=0.0) | settings))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), training)


def penalty_of(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None, seed: int = 0) -> Tensor:
    (found,) = module.penalise(module.reconstruct(x, weight, generator=generator(seed))).penalties.values()
    return found


def padded_picture() -> tuple[Tensor, Tensor, Tensor]:
    """A small picture, the same in a padded batch, and the weight that says so."""
    x = random(2, 1, 8, 8)
    padded = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    padded[..., :8, :8] = x
    weight = torch.zeros_like(padded)
    weight[..., :8, :8] = 1.0
    return x, padded, weight


# ---- wasserstein


def test_the_discrepancy_is_what_a_double_loop_over_all_pairs_gives() -> None:
    codes, drawn, scales = 2 * random(6, 3) + 1, random(5, 3, seed=1), (0.3, 2.0)

    def kernel(first: Tensor, second: Tensor) -> float:
        return sum(s * 6.0 / (s * 6.0 + float((first - second).square().sum())) for s in scales)

    within = sum(kernel(a, b) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j) / 30
    among = sum(kernel(a, b) for i, a in enumerate(drawn) for j, b in enumerate(drawn) if i != j) / 20
    across = sum(kernel(a, b) for a in codes for b in drawn) / 30
    found = Wasserstein(scales=scales).discrepancy(codes, drawn)
    assert float(found) == pytest.approx(within + among - 2 * across, rel=1e-12)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (1.0, 0.5), (0.0, 2.0), (-0.3, 0.0)])
def test_the_discrepancy_estimates_the_distance_of_two_normal_laws_without_bias(mean: float, spread: float) -> None:
    """Differences of two normal draws are normal, so that each mean of the kernel is an integral over one number."""
    steps = torch.linspace(-40, 40, 160_001, dtype=torch.float64)

    def expected_kernel(centre: float, variance: float) -> float:
        if variance == 0:
            return 2.0 / (2.0 + centre**2)
        density = torch.exp(-0.5 * (steps - centre).square() / variance) / math.sqrt(2 * math.pi * variance)
        return float(torch.trapezoid(density * 2.0 / (2.0 + steps.square()), steps))

    within, among = expected_kernel(0.0, 2 * spread**2), expected_kernel(0.0, 2.0)
    exact = within + among - 2 * expected_kernel(mean, spread**2 + 1)
    variant = Wasserstein(scales=(1.0,))
    found = torch.stack(
        [
            variant.discrepancy(mean + spread * random(20, 1, seed=seed), random(20, 1, seed=10_000 + seed))
            for seed in range(1500)
        ]
    )
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / len(found) ** 0.5
    assert exact == pytest.approx(0.0, abs=1e-9) if (mean, spread) == (0.0, 1.0) else exact > 0.01


def test_the_codes_of_all_samples_come_to_look_like_the_prior() -> None:
    x = random(600, 2, seed=3).abs() @ random(2, 6, seed=4) + 0.05 * random(600, 6, seed=5)
    far = []
    for variants in ((), Wasserstein(weight=10.0)):
        module = module_of(variants, 2, Dense(widths=(32,)), (6,))
        fit(module, x, max_epochs=60, batch_size=100)
        with torch.no_grad():
            far.append(float(Wasserstein().discrepancy(module.encode(x), random(600, 2, seed=6))))
    assert far[1] < 0.05 and far[1] < 0.2 * far[0]


def test_new_codes_are_drawn_from_the_prior_where_the_codes_are_held_to_it() -> None:
    wanted = StandardNormal().sample((4, 3), generator(5), torch.zeros((), dtype=torch.float64))
    drawn = module_of("wasserstein").draw_codes((4, 3), generator(5))
    assert drawn is not None and torch.equal(drawn, wanted)
    assert module_of(Wasserstein(weight=0.0)).draw_codes((4, 3), generator(5)) is None
    assert module_of(["top_k(k=1)", "wasserstein"]).draw_codes((4, 3), generator(5)) is None  # its codes are others
    assert module_of().draw_codes((4, 3), generator(5)) is None


@pytest.mark.parametrize("variant", [Wasserstein(weight=1.0), Orthogonal(weight=1.0)], ids=repr)
def test_places_of_a_grid_are_codes_and_padding_is_none(variant: Any) -> None:
    x, padded, weight = padded_picture()
    module = module_of(variant, 3, GRID, (1, 16, 16), free=(1, 2)).eval()
    alone, together = penalty_of(module, x), penalty_of(module, padded, weight)
    assert float(alone.detach()) == pytest.approx(float(together.detach()), rel=1e-9) and alone != 0


def test_of_very_many_codes_some_are_held_against_the_prior() -> None:
    x, module = random(3, 1, 80, 80), module_of(Wasserstein(weight=1.0), 2, GRID, (1, 80, 80)).eval()
    first, same, other = (float(penalty_of(module, x, seed=seed).detach()) for seed in (0, 0, 1))
    assert first == same != other
    quiet = [float(module.loss(x).detach()) for _ in range(2)]
    assert quiet[0] == quiet[1]
    assert float(module_of("wasserstein").loss(random(1, 5), generator=generator()).detach()) == pytest.approx(
        float(module_of().loss(random(1, 5)).detach())  # one code alone has no law
    )


@pytest.mark.parametrize("scales", [(), (1.0, 0.0), 1.0, (math.inf,)])
def test_scales_that_are_none_are_refused(scales: Any) -> None:
    with pytest.raises(SettingError, match="scales of wasserstein"):
        AutoencoderModule(SampleSpec((3,)), 2, variants=Wasserstein(scales=scales))


# ---- orthogonal


def test_the_penalty_is_the_sum_of_squared_correlations_whatever_the_scale_of_the_code() -> None:
    x, module = random(40, 5), module_of(Orthogonal(weight=0.7))
    correlations = np.corrcoef(module.encode(x).detach().numpy().T)
    expected = 0.7 * np.square(correlations[np.triu_indices(3, 1)]).sum()
    assert float(penalty_of(module, x).detach()) == pytest.approx(expected, rel=1e-8)
    with torch.no_grad():
        module.network.encoder.layers[-1].linear.weight.mul_(torch.tensor([[0.01], [5.0], [-2.0]]))
    assert float(penalty_of(module, x).detach()) == pytest.approx(expected, rel=1e-6)


def test_a_linear_autoencoder_gets_uncorrelated_codes_in_the_principal_subspace() -> None:
    x = random(300, 3, seed=2) @ random(3, 8, seed=3) * 2 + 0.3 * random(300, 8, seed=4)
    basis = torch.from_numpy(PCA(3).fit(x.numpy()).components_)
    worst = []
    for variants in ((), Orthogonal(weight=1.0)):
        module = module_of(variants, 3, LINEAR, (8,)).eval()
        optimizer = torch.optim.LBFGS(
            module.parameters(), max_iter=2000, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure(module: AutoencoderModule = module, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = module.loss(x)
            loss.backward()
            return loss

        optimizer.step(closure)
        found = torch.linalg.qr(module.network.decoder.layers[0].linear.weight.detach()).Q
        angles = torch.linalg.svdvals(basis @ found)
        assert float(angles.min()) > 1 - 1e-8, "not the principal subspace"
        correlations = torch.corrcoef(module.encode(x).detach().T)
        worst.append(float((correlations - torch.eye(3)).abs().max()))
    assert worst[0] > 0.05 and worst[1] < 1e-4


@pytest.mark.parametrize(
    "variants",
    [Wasserstein(), Orthogonal(weight=5.0), ["variational(samples=2)", "wasserstein", "orthogonal"]],
    ids=repr,
)
def test_the_fast_step_gives_the_same(variants: Any) -> None:
    x, results = random(60, 5), []
    for fast in (True, False):
        module = module_of(variants)
        assert DenseStep.fits(module, Training())
        way = DenseStep(module, 30) if fast else AutogradStep(module, Training())
        told = list(way.terms(Batch(x[:30]), generator(), learn=True).values())
        slopes = torch.cat([parameter.grad.flatten() for parameter in way.parameters if parameter.grad is not None])
        told += way.terms(Batch(x), generator(), learn=False).values()
        way.release()
        results.append([torch.tensor(told, dtype=slopes.dtype), slopes])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


# ---- neighbours


@pytest.mark.parametrize("share_absent", [0.0, 0.2])
def test_the_graph_holds_the_nearest_rows(share_absent: float) -> None:
    rows = random(1500, 4)  # more than are looked at in one piece
    rows[random(1500, 4, seed=1).abs() < share_absent] = torch.nan
    graph = graph_of(rows, 5)
    assert graph is not None
    distances = nan_euclidean_distances(rows.numpy())
    np.fill_diagonal(distances, np.inf)
    distances[np.isnan(distances)] = np.inf
    wanted = np.sort(distances, axis=1)[:, :5]
    found = np.take_along_axis(distances, graph.neighbours.numpy(), axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_edges_are_drawn_by_weights_that_add_up_to_the_logarithm_of_their_number() -> None:
    rows = random(50, 3)
    graph = graph_of(rows, 8)
    assert graph is not None
    weights = torch.diff(graph.sums, prepend=graph.sums.new_zeros(1)).view(50, 8)
    torch.testing.assert_close(weights.sum(1), torch.full((50,), math.log2(8), dtype=torch.float64))
    torch.testing.assert_close(weights[:, 0], torch.ones(50, dtype=torch.float64))
    distances = (rows.unsqueeze(1) - rows[graph.neighbours]).norm(dim=2)
    slopes = torch.log(weights[:, 1:]) / (distances[:, 1:] - distances[:, :1])  # one bandwidth for each row
    torch.testing.assert_close(slopes, slopes[:, :1].expand_as(slopes), rtol=1e-6, atol=1e-6)
    heads, tails = graph.edges(400_000, generator())
    counts = torch.zeros(50, 50, dtype=torch.float64)
    counts.index_put_((heads, tails), torch.ones(len(heads), dtype=torch.float64), accumulate=True)
    expected = 400_000 * weights / weights.sum()
    found = counts.gather(1, graph.neighbours)
    assert float(found.sum()) == 400_000
    assert float(((found - expected).square() / expected).sum()) < 400 + 5 * math.sqrt(800)


def test_the_penalty_is_the_cross_entropy_of_finding_the_other_end_of_an_edge() -> None:
    x = random(30, 5)
    module = prepared(module_of(Neighbours(weight=0.5, n_neighbors=4, repulsion=2.0)), x)
    variant = module.variants[0]
    assert isinstance(variant, Neighbours) and variant.graph is not None
    heads, tails = variant.graph.edges(6, generator(3))
    first, second = (module.encode(x[places]).detach() for places in (heads, tails))
    squares = [[float((a - b).square().sum()) for b in second] for a in first]
    edges = sum(math.log1p(squares[i][i]) for i in range(6)) / 6
    others = sum(math.log(sum(1 / (1 + squares[i][j]) for j in range(6))) for i in range(6)) / 6
    found = float(penalty_of(module, x[:6], seed=3).detach())
    assert found == pytest.approx(0.5 * (edges + 2.0 * others), rel=1e-9)


def test_of_many_rows_a_random_part_is_kept_and_sizes_are_filled_up() -> None:
    x = torch.arange(500.0).unsqueeze(1)
    parts = [some_rows(iter(x.split(size)), 100, generator(seed)).flatten() for seed in (0, 1) for size in (7, 500)]
    for part in parts:
        assert len(part) == 100 and bool((part.diff() > 0).all())  # each once, in their order
    assert torch.equal(parts[0], parts[1]) and not torch.equal(parts[0], parts[2])
    mean = torch.stack([some_rows(iter(x.split(64)), 20, generator(seed)).mean() for seed in range(200)]).mean()
    assert abs(float(mean) - 249.5) < 4 * 144.3 / math.sqrt(4000)
    assert torch.equal(some_rows(iter(x.split(64)), 1000, generator()), x)
    wide, high = torch.ones(2, 1, 3, 5), torch.ones(1, 1, 4, 2)
    rows = some_rows(iter([wide, high]), 10, generator())
    assert rows.shape == (3, 1, 4, 5) and int(rows.isnan().sum()) == 2 * 5 + 12


def test_the_graph_lives_as_long_as_training() -> None:
    x, module = random(40, 5), module_of(Neighbours(n_neighbors=4))
    seen: list[Graph | None] = []
    variant = module.variants[0]
    assert isinstance(variant, Neighbours)
    history = fit(module, x, max_epochs=2, validation=0.2, callbacks=[lambda report: seen.append(variant.graph)])
    assert variant.graph is None and len(seen) == 2
    assert seen[0] is not None and len(seen[0].rows) == 32  # the training rows
    assert all(value > 0 for value in history["neighbours"] + history["validation_neighbours"])
    with pytest.raises(SettingError, match="neighbours has no graph"):
        module.train().loss(x)
    assert float(module.eval().penalise(module.reconstruct(x)).penalties["neighbours"]) == 0.0


def test_one_row_has_no_neighbour_and_trains() -> None:
    history = fit(module_of("neighbours"), random(1, 5), max_epochs=2)
    assert history["neighbours"] == [0.0, 0.0]


def test_absent_values_are_told_before_training_and_to_the_encoder() -> None:
    """What stands in an absent cell reaches neither the graph nor the codes."""
    x, weight = random(40, 5), (random(40, 5, seed=1) > -0.8).double()
    losses = []
    for filler in (0.0, 100.0):
        batch = Batch(torch.where(weight > 0, x, filler), weight)
        module = prepared(module_of(Neighbours(n_neighbors=4), gaps=True), marked(batch))
        losses.append(float(penalty_of(module, batch.x, weight).detach()))
    assert losses[0] == losses[1]


def test_pictures_of_several_sizes_have_neighbours_too() -> None:
    x, padded, weight = padded_picture()
    module = module_of(Neighbours(n_neighbors=1), 3, GRID, (1, 16, 16), free=(1, 2))
    prepared(module, marked(Batch(padded, weight)), random(3, 1, 16, 16, seed=2))
    loss = module.loss(padded, weight, generator=generator())
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(parameter.grad is not None for parameter in module.network.encoder.parameters())


def kept(x: np.ndarray, codes: np.ndarray, k: int = 10) -> float:
    """The share of each row's k nearest rows that are among the k nearest codes."""
    near, close = (
        NearestNeighbors(n_neighbors=k).fit(values).kneighbors(return_distance=False) for values in (x, codes)
    )
    return float(np.mean([len(set(first) & set(second)) / k for first, second in zip(near, close, strict=True)]))


@pytest.mark.slow
def test_maps_of_digits_keep_neighbours_better_than_plain_and_principal_components() -> None:
    pixels = load_digits().data[:1000].astype(np.float32) / 16
    x = torch.from_numpy(pixels)
    maps = {"pca": PCA(2).fit_transform(pixels)}
    for name, variants in (("plain", ()), ("neighbours", Neighbours())):
        module = module_of(variants, 2, Dense(widths=(128, 64)), (64,)).float()
        fit(module, x, max_epochs=100, batch_size=128)
        with torch.no_grad():
            maps[name] = module.encode(x).numpy()
    shares = {name: kept(pixels, codes) for name, codes in maps.items()}
    trusted = {name: trustworthiness(pixels, codes, n_neighbors=10) for name, codes in maps.items()}
    for rival in ("pca", "plain"):
        assert shares["neighbours"] > shares[rival] + 0.1, shares
        assert trusted["neighbours"] > trusted[rival] + 0.005, trusted


# ---- contractive


def jacobian_norms(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """By automatic differentiation of one row after the other, (B,)."""

    def of(row: Tensor, present: Tensor | None) -> Tensor:
        given = None if present is None else present[None]
        return torch.autograd.functional.jacobian(lambda one: module.encode(one[None], given)[0], row).square().sum()

    weights = [None] * len(x) if weight is None else list(weight)
    return torch.stack([of(row, present) for row, present in zip(x, weights, strict=True)])


ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "linear")


@pytest.mark.parametrize("widths", [(), (7,), (7, 6), (9, 7, 6)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_closed_form_is_the_squared_norm_of_the_jacobian(activation: str, widths: tuple[int, ...]) -> None:
    """And its gradient by the weights is that of the norm by automatic differentiation."""
    x = random(6, 5)
    module = module_of(Contractive(weight=1.0), network=Dense(widths=widths, activation=activation, tied=True))
    variant, encoder = module.variants[0], list(module.network.encoder.parameters())
    assert isinstance(variant, Contractive)
    done = module.reconstruct(x, generator=generator())
    chain = module.chain()
    assert chain is not None
    closed = squared_norm(chain, done.activations)
    assert closed is not None
    exact = variant._by_autograd(done, module)
    torch.testing.assert_close(closed, jacobian_norms(module, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(closed, exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(penalty_of(module, x), closed.mean(), rtol=1e-10, atol=1e-10)
    slopes = [
        torch.autograd.grad(norm.sum(), encoder, retain_graph=True, materialize_grads=True) for norm in (closed, exact)
    ]
    for first, second in zip(*slopes, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_one_layer_is_the_published_equation() -> None:
    x, encoder = random(6, 5), nn.Sequential(nn.Linear(5, 4), nn.Sigmoid())
    module = module_of(Contractive(weight=1.0), 4, (encoder, nn.Linear(4, 5)))
    hidden, weights = module.encode(x), module.network.encoder.inner[0].weight
    published = ((hidden * (1 - hidden)).square() * weights.square().sum(1)).sum(1)
    assert module.chain() is not None
    torch.testing.assert_close(penalty_of(module, x), published.mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(published, jacobian_norms(module, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("variants", "network"),
    [
        ((), Dense(widths=(7,), activation="gelu")),
        ((), Dense(widths=(7,), activation="tanh", normalisation="batch")),
        ((), Dense(widths=(7,), activation="tanh", normalisation="layer")),
        (("variational",), Dense(widths=(7,), activation="tanh")),
        (("top_k(k=2)",), Dense(widths=(7,), activation="tanh")),
        ((), (nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3)), nn.Linear(3, 5))),
    ],
    ids=["gelu", "batch", "layer", "variational", "top_k", "custom"],
)
def test_where_there_is_no_closed_form_the_norm_is_exact_all_the_same(variants: Any, network: Any) -> None:
    x, module = random(6, 5), module_of([*variants, Contractive(weight=1.0)], network=network).eval()
    done = module.penalise(module.reconstruct(x, generator=generator()))
    assert float(done.penalties["contractive"].detach()) == pytest.approx(float(jacobian_norms(module, x).mean()))
    with torch.no_grad():  # as over held-out rows
        again = module.penalise(module.reconstruct(x, generator=generator())).penalties["contractive"]
    assert float(again) == pytest.approx(float(done.penalties["contractive"].detach()))


def test_the_norm_of_rows_with_gaps_leaves_out_what_is_absent() -> None:
    x, weight = random(6, 5), (random(6, 5, seed=1) > -0.5).double()
    module = module_of(Contractive(weight=1.0), gaps=True)
    expected = float(jacobian_norms(module, x, weight).mean())
    assert float(penalty_of(module, x, weight).detach()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Dense(widths=(16, 12, 8)), (10,)), (Conv(channels=(4, 6), normalisation=None), (1, 8, 8)), (GRID, (1, 8, 8))],
    ids=["deep", "conv", "grid"],
)
def test_the_estimate_is_unbiased_to_two_percent_over_200_draws(network: Any, shape: tuple[int, ...]) -> None:
    x = random(128, *shape)
    module = module_of(Contractive(weight=1.0, probes=1), 4, network, shape).eval()
    exact = float(jacobian_norms(module, x).mean())
    draws = torch.stack([penalty_of(module, x, seed=seed).detach() for seed in range(200)])
    assert float(draws.std()) > 0
    assert float(draws.mean()) == pytest.approx(exact, rel=0.02)


def test_the_encoder_runs_once_and_its_statistics_move_once() -> None:
    x = random(12, 5)
    module = module_of(["denoising", Contractive(probes=1)], network=Dense(widths=(7,), normalisation="batch"))
    calls: list[Tensor] = []
    module.network.encoder.register_forward_hook(lambda encoder, given, out: calls.append(given[0]))
    done = module.penalise(module.reconstruct(x, generator=generator()))
    assert len(calls) == 1 and done.penalties["contractive"] > 0
    statistics = {name: value for name, value in module.named_buffers() if name.endswith("num_batches_tracked")}
    assert statistics and all(int(value) == 1 for name, value in statistics.items() if "encoder" in name)
    assert not x.requires_grad and not torch.equal(done.seen, x)  # the slope is taken at what was shown


def test_the_slope_is_taken_at_what_the_encoder_is_shown() -> None:
    x = random(6, 5)
    module = module_of([Denoising("gaussian"), Contractive(weight=1.0)])
    done = module.penalise(module.reconstruct(x, generator=generator()))
    expected = float(jacobian_norms(module, done.seen.detach()).mean())
    assert float(done.penalties["contractive"].detach()) == pytest.approx(expected)


def test_contraction_makes_codes_move_less() -> None:
    x = random(200, 2, seed=2) @ random(2, 5, seed=3) + 0.1 * random(200, 5, seed=4)
    norms = []
    for variants in ((), Contractive(weight=3.0), Contractive(weight=3.0, probes=1)):
        module = module_of(variants, 2, Dense(widths=(16,), activation="gelu"))
        fit(module, x, max_epochs=30)
        norms.append(float(jacobian_norms(module, x).mean()))
    assert norms[1] < 0.5 * norms[0] and norms[2] < 0.5 * norms[0]
