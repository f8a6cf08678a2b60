"""The contracts over every part of every folder, every pair of variants, and the exact limits that parts name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import isthmus
from isthmus import part as parts
from isthmus.checks import check_part, checks_for, pair_tables, try_together
from isthmus.checks.pairs import TRAINS
from isthmus.checks.small import (
    VECTOR,
    build,
    generator,
    largest_difference,
    samples,
    seeded,
    train_shortly,
    with_needed,
)
from isthmus.checks.turning import check_turning, numeric_arguments
from isthmus.errors import SettingError
from isthmus.estimator import Estimator
from isthmus.likelihoods import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.part import Part
from isthmus.priors import StandardNormal
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.tasks.base import Task
from isthmus.thresholds import Conformal, Deviation
from isthmus.training import Training
from isthmus.variants import (
    Binary,
    FiniteScalar,
    ImportanceWeighted,
    L1Sparse,
    NormMask,
    Quantized,
    Variational,
)
from isthmus.variants.base import Pass, Variant

PAIRS = Path(__file__).resolve().parent.parent / "docs" / "pairs.md"

#: Checks that train many modules.
SLOW = ("check_every_variant_goes_with_it", "check_numeric_arguments_turn")


# ---- every part


def all_classes() -> Iterator[type]:
    for kind in parts.FOLDERS:
        folder = getattr(isthmus, kind)
        yield from (getattr(folder, class_name) for class_name in parts.known(kind).values())
    yield from (value for name in isthmus.__all__ if isinstance(value := getattr(isthmus, name), type))


def every_check() -> Iterator[Any]:
    seen = set()
    for cls in all_classes():
        if cls in seen or not issubclass(cls, (Part, Estimator)):
            continue  # the training folder also holds what is no part: batches and history
        seen.add(cls)
        done: set[str] = set()
        for name, check in checks_for(cls):
            rule = name.partition("[")[0]
            # in a hurry, the first example of a part speaks for all, and of tasks, which train, their own tests
            late = rule in done or rule in SLOW or issubclass(cls, Task)
            done.add(rule)
            yield pytest.param(check, id=f"{cls.__name__}-{name}", marks=[pytest.mark.slow] if late else [])


@pytest.mark.parametrize("check", list(every_check()))
def test_every_part_keeps_its_contract(check: Callable[[], None]) -> None:
    check()


def test_every_kind_is_met() -> None:
    """The list of what is checked follows the folders, so it must not be empty for any of them."""
    kinds = {cls.kind for cls in all_classes() if issubclass(cls, Part)}
    assert kinds == set(parts.FOLDERS)
    estimators = {cls for cls in all_classes() if issubclass(cls, Estimator)}
    tasks = {getattr(isthmus.tasks, name) for name in isthmus.tasks.__all__ if name[0].isupper()}
    assert estimators == {isthmus.Autoencoder, *tasks} and all(issubclass(task, Task) for task in tasks)


# ---- every pair of variants


VARIANTS = {name: parts.find("variants", name).examples()[0] for name in parts.known("variants")}


def refusal(variants: list[Variant]) -> str | None:
    """The only reasons to refuse variants, read from the classes."""
    for station in ("bottleneck", "merge"):
        if sum(variant.changes(station) for variant in variants) > 1:
            return f"both own the {station}"
    names = {variant.name() for variant in variants}
    missing = [needed for variant in variants for needed in variant.requires if needed not in names]
    return f"needs {missing[0]}" if missing else None


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), list(product(VARIANTS, VARIANTS)))
def test_every_pair_of_variants_trains_or_says_why_not(first: str, second: str) -> None:
    pair = [VARIANTS[first]] if first == second else [VARIANTS[first], VARIANTS[second]]
    reason = refusal(pair)
    if reason is not None:
        with pytest.raises(SettingError, match=reason):
            build(pair)
        return
    turned = first > second  # the other way round they are the same two
    training = Training(max_epochs=2 if turned else 12, batch_size=8, validation=0.0)
    losses = train_shortly(build(pair), samples(), training)["loss"]
    assert all(map(math.isfinite, losses))
    assert turned or sum(losses[-3:]) < sum(losses[:3])


def cells(page: str) -> dict[tuple[str, str, str], str]:
    """What a page of tables says, by section, row and column."""
    found, section, columns = {}, "", []
    for line in page.splitlines():
        if line.startswith("## "):
            section, columns = line[3:], []
        elif line.startswith("|") and not line.startswith("| ---"):
            row, *values = (word.strip() for word in line.strip("|").split("|"))
            columns = columns or values
            found |= {(section, row, column): value for column, value in zip(columns, values, strict=True) if row}
    return found


@pytest.mark.slow
def test_the_committed_table_of_pairs_is_true() -> None:
    """Every cell of it; a part that is new is missing until `python docs/pairs.py` has been run."""
    committed, tried = cells(PAIRS.read_text(encoding="utf-8")), cells(pair_tables())
    assert len(committed) >= 49 + 14
    assert tried == committed


def test_the_table_says_why_not() -> None:
    assert try_together([VARIANTS["top_k"]]) == TRAINS
    assert "own the bottleneck" in try_together(["top_k", "variational"])
    assert "needs variational" in try_together(["importance_weighted"])


def test_two_of_one_class_both_count() -> None:
    """Each adds its own penalty, and what each builds is kept."""
    x = samples()
    twice, once = build([L1Sparse(0.1), L1Sparse(0.2)]), build([L1Sparse(0.3)])
    torch.testing.assert_close(twice.loss(x, generator=generator()), once.loss(x, generator=generator()))
    module = build([Scaled(), Scaled()])
    assert len(list(module.built.parameters())) == 2


# ---- parts from outside


class Scaled(Variant):
    """Asks for codes whose size, scaled by a learned number, is near a given one.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    Parameters
    ----------
    size : the size that is asked for.
    weight : strength of the penalty.
    """

    def __init__(self, size: float = 1.0, weight: float = 0.1):
        self.size = size
        self.weight = weight

    def build(self, spec: SampleSpec, n_components: int) -> torch.nn.Module:
        return torch.nn.Linear(1, 1, bias=False)

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor:
        assert reconstruction.code is not None and self.trained is not None
        size = reconstruction.code.square().sum(-1, keepdim=True)
        return self.weight * (self.trained(size).squeeze(-1).mean(0) - self.size).square()

    def neutral(self) -> Scaled:
        return type(self)(self.size, weight=0.0)


def test_a_part_from_outside_passes_the_same_checks() -> None:
    assert {name for name, _ in checks_for(Scaled())} > {"check_neutral_equals_plain", "check_what_is_built_is_trained"}
    check_part(Scaled)
    check_part(Scaled(size=2.0))


def test_a_part_from_outside_that_breaks_a_rule_is_told_all_of_them() -> None:
    class Hasty(Deviation):
        def __init__(self, k: float = 3.0, unused: float = 1.0):
            self.k = float(k)
            self.unused = unused

    with pytest.raises(AssertionError) as told:
        check_part(Hasty())
    text = str(told.value)
    assert "does more than store" in text and "needs a docstring" in text and "ignores unused=1.0" in text


def test_what_is_no_part_has_no_checks() -> None:
    with pytest.raises(TypeError, match="nothing to check"):
        check_part(3)


def test_arguments_inside_a_part_count_and_one_example_that_listens_is_enough() -> None:
    assert dict(numeric_arguments(Variational(prior=StandardNormal()))) == {"beta": 1.0, "free_bits": 0.0, "samples": 1}
    assert dict(numeric_arguments(Conformal(), inside=False)) == {"rate": 0.05, "calibration": 0.2, "confidence": None}
    raw = torch.zeros(1, 2)

    def scale_only(law: Normal) -> list[Tensor]:
        return [law(raw[:, : law.n_parameters(SampleSpec((1,)))], SampleSpec((1,))).nll(torch.ones(1, 1))]

    with pytest.raises(AssertionError, match="ignores minimum"):
        check_turning([Normal()], scale_only)
    check_turning([Normal(), Normal(scale="learned")], scale_only)


# ---- exact limits: one proof for each part that has no neutral form


def linear_gaussian(loadings: Tensor, offset: Tensor, noise: float, merged: bool) -> AutoencoderModule:
    """x = W z + offset + noise with the exact posterior as encoder; W must have orthogonal columns."""
    n_columns, n_components = loadings.shape
    variants = [Variational(samples=2), ImportanceWeighted(samples=1)] if merged else [Variational(samples=2)]
    network = Dense(widths=())
    module = AutoencoderModule(SampleSpec((n_columns,)), n_components, network, Normal(scale=noise), variants).double()
    variance = 1 / (1 + loadings.square().sum(0) / noise**2)
    to_mean = variance[:, None] * loadings.T / noise**2
    (encoder, decoder) = (dict(half.named_parameters()) for half in (module.network.encoder, module.network.decoder))
    with torch.no_grad():
        encoder["layers.0.linear.weight"].copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        encoder["layers.0.linear.bias"].copy_(torch.cat([-to_mean @ offset, variance.log()]))
        decoder["layers.0.linear.weight"].copy_(loadings)
        decoder["layers.0.linear.bias"].copy_(offset)
    return module


def gaussian_case() -> tuple[Tensor, Tensor, float, Tensor, Tensor]:
    """Loadings with orthogonal columns, offset, noise, samples, and their exact log-likelihood."""
    random = generator(3)
    basis = torch.linalg.qr(torch.randn(6, 2, generator=random, dtype=torch.float64)).Q
    loadings, noise = basis * torch.tensor([2.0, 0.7], dtype=torch.float64), 0.5
    offset = torch.randn(6, generator=random, dtype=torch.float64)
    x = offset + 2 * torch.randn(40, 6, generator=random, dtype=torch.float64)
    covariance = loadings @ loadings.T + noise**2 * torch.eye(6, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(offset, covariance).log_prob(x)
    return loadings, offset, noise, x, exact


def exact_limit_of_variational() -> None:
    """The bound of a linear model with normal noise, at the exact posterior, is the exact log-likelihood.

    The distortion is the only term that is sampled; its expected value is known, and the rate is in closed form.
    """
    loadings, offset, noise, x, exact = gaussian_case()
    done = linear_gaussian(loadings, offset, noise, merged=False).reconstruct(x, generator=generator())
    assert isinstance(done.rate, Tensor)
    to_mean = loadings.T / noise**2
    variance = 1 / (1 + loadings.square().sum(0) / noise**2)
    residual = x - offset - (variance[:, None] * to_mean @ (x - offset).T).T @ loadings.T
    squared = residual.square().sum(1) + (loadings.square().sum(0) * variance).sum()
    distortion = 0.5 * squared / noise**2 + 6 * (math.log(noise) + 0.5 * math.log(2 * math.pi))
    assert largest_difference(distortion + done.rate.mean(0), -exact) < 1e-9
    many = [linear_gaussian(loadings, offset, noise, False).reconstruct(x, generator=generator(i)) for i in range(400)]
    sampled = torch.stack([one.distortion for one in many if one.distortion is not None]).flatten(0, 1)
    error = (sampled.mean(0) - distortion).abs()
    assert bool((error < 6 * sampled.std(0) / len(sampled) ** 0.5).all())


def exact_limit_of_importance_weighted() -> None:
    """With one sample it is the variational bound with a sampled rate; at the exact posterior no draw moves it."""
    x = samples()
    merged = build(["variational", ImportanceWeighted(samples=1)])
    done = merged.reconstruct(x, generator=generator(4))
    assert done.distortion is not None and done.bound is not None and done.code is not None
    features = merged.features(x)
    mean, log_variance = features.chunk(2, dim=-1)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    code = done.code[0]
    sampled_rate = (posterior.log_prob(code) - prior.log_prob(code)).sum(1)
    assert largest_difference(done.bound, done.distortion[0] + sampled_rate) < 1e-10
    plain = build(["variational"]).reconstruct(x, generator=generator(4))
    assert plain.distortion is not None and largest_difference(plain.distortion, done.distortion) < 1e-12
    loadings, offset, noise, rows, exact = gaussian_case()
    bound = linear_gaussian(loadings, offset, noise, merged=True).reconstruct(rows, generator=generator()).bound
    assert bound is not None and largest_difference(bound, -exact) < 1e-9


def values_and_slopes(module: AutoencoderModule, bound: Tensor | None) -> list[Tensor]:
    """The loss of each row, and the gradients of their mean by all weights."""
    assert bound is not None
    return [bound.detach(), *torch.autograd.grad(bound.mean(), list(module.network.parameters()))]


def exact_limit_of_quantized() -> None:
    """Where every feature vector stands in the codebook it is the plain autoencoder, gradients and all."""
    x = samples()
    plain, other = build().eval(), build([Quantized(n_codes=len(x))]).eval()
    books = dict(other.named_buffers())
    books["built.quantized.vectors"].copy_(plain.features(x).detach().flip(0)[None])  # in any order
    first, second = (values_and_slopes(module, module.reconstruct(x).bound) for module in (plain, other))
    assert all(largest_difference(mine, theirs) < 1e-12 for mine, theirs in zip(first, second, strict=True))


def exact_limit_of_finite_scalar() -> None:
    """With ever more levels it is the plain autoencoder whose encoder ends in a tanh."""
    x, plain = samples(), build().eval()
    law = plain.decode(plain.encode(x).tanh()[None])
    wanted = values_and_slopes(plain, law.nll(x).flatten(2).sum(2)[0])
    errors = []
    for levels in (2**8, 2**16, 2**24):
        other = build([FiniteScalar(levels=levels)]).eval()
        found = values_and_slopes(other, other.reconstruct(x).bound)
        errors.append(max(largest_difference(mine, theirs) for mine, theirs in zip(found, wanted, strict=True)))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-6


def exact_limit_of_binary() -> None:
    """With slope 2 it is finite_scalar with two levels, gradients and all."""
    x = samples()
    results = []
    for variant in (Binary(slope=2.0), FiniteScalar(levels=2)):
        module = build([variant]).eval()
        results.append(values_and_slopes(module, module.reconstruct(x).bound))
    assert all(largest_difference(mine, theirs) < 1e-12 for mine, theirs in zip(*results, strict=True))


def exact_limit_of_norm_mask() -> None:
    """With weight 0 and threshold 0 it is the plain autoencoder with batch normalisation of its features."""
    x, plain = samples(), build()
    normalised = torch.nn.functional.batch_norm(plain.features(x), None, None, training=True)
    wanted = values_and_slopes(plain, plain.decode(normalised[None]).nll(x).flatten(2).sum(2)[0])
    other = build([NormMask(weight=0.0, threshold=0.0)])
    found = values_and_slopes(other, other.reconstruct(x, generator=generator()).bound)
    assert all(largest_difference(mine, theirs) < 1e-12 for mine, theirs in zip(found, wanted, strict=True))


PROOFS = {
    "variational": exact_limit_of_variational,
    "importance_weighted": exact_limit_of_importance_weighted,
    "quantized": exact_limit_of_quantized,
    "finite_scalar": exact_limit_of_finite_scalar,
    "binary": exact_limit_of_binary,
    "norm_mask": exact_limit_of_norm_mask,
}


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.neutral() is None])
def test_what_has_no_neutral_form_reaches_its_exact_limit(name: str) -> None:
    assert name in PROOFS, f"{name} says that {VARIANTS[name].exact_limit!r}; prove it here."
    PROOFS[name]()


def test_a_variational_code_without_rate_and_spread_is_plain() -> None:
    """beta = 0 and a posterior with next to no variance: the same loss, gradients and output."""
    x = samples()
    plain, other = build(), build([Variational(beta=0.0)])
    with torch.no_grad():
        own, theirs = other.network.encoder.layers[-1].linear, plain.network.encoder.layers[-1].linear
        for name in ("weight", "bias"):
            half = getattr(theirs, name)
            # the first half is the mean; -100 is cut to -20, a standard deviation of 5e-5
            rest = torch.zeros_like(half) if name == "weight" else torch.full_like(half, -100.0)
            getattr(own, name).copy_(torch.cat([half, rest]))
        for first, second in zip(plain.network.decoder.parameters(), other.network.decoder.parameters(), strict=True):
            second.copy_(first)
        for first, second in zip(
            plain.network.encoder.layers[0].parameters(),
            other.network.encoder.layers[0].parameters(),
            strict=True,
        ):
            second.copy_(first)
    loss, limit = (module.loss(x, generator=generator()) for module in (plain, other))
    assert abs(float(loss.detach() - limit.detach())) < 1e-3
    quiet = [module.eval().reconstruct(x) for module in (plain, other)]
    assert quiet[0].bound is not None and quiet[1].bound is not None
    assert largest_difference(quiet[0].bound, quiet[1].bound) < 1e-12


def test_rate_is_the_closed_form_and_beta_scales_it() -> None:
    features = torch.tensor([[1.0, -2.0, 0.5, -1.0]], dtype=torch.float64)
    mean, log_variance = features.chunk(2, dim=-1)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    closed = torch.distributions.kl_divergence(posterior, prior).sum(1)
    pass_ = Reconstruction(VECTOR, features, None, features, None, features)
    for beta in (1.0, 4.0):
        _, rate = Variational(beta=beta).bottleneck(features, pass_)
        torch.testing.assert_close(torch.as_tensor(rate)[0], beta * closed)


def test_more_samples_never_loosen_the_bound() -> None:
    """The mean over many draws of the importance weighted loss falls as samples grow, and stays above the truth."""
    loadings, offset, noise, x, exact = gaussian_case()
    bounds = []
    for n_samples in (1, 4, 16, 64):
        module = linear_gaussian(loadings, offset, noise, merged=True)
        module.variants[1].set_params(samples=n_samples)
        with torch.no_grad():  # a posterior that is wrong, so that the bound is loose
            dict(module.network.encoder.named_parameters())["layers.0.linear.bias"].add_(0.5)
            losses = [module.loss(x, generator=generator(seed)) for seed in range(100)]
        bounds.append(float(torch.stack(losses).mean()))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] > -float(exact.mean()) - 1e-2
    assert bounds[-1] < bounds[0] - 0.1


@pytest.mark.parametrize("probes", [None, 400])
def test_contractive_penalty_is_the_squared_norm_of_the_jacobian(probes: int | None) -> None:
    x = samples(n_rows=5)
    module = build([parts.find("variants", "contractive")(weight=1.0, probes=probes)])
    done = module.penalise(module.reconstruct(x, generator=generator()))
    jacobians = [torch.autograd.functional.jacobian(lambda row: module.encode(row[None])[0], row) for row in x]
    expected = float(torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean())
    close = 1e-10 if probes is None else 0.1
    assert float(done.penalties["contractive"].detach()) == pytest.approx(expected, rel=close)


def test_seeded_gives_the_callers_state_back() -> None:
    before = torch.get_rng_state()
    with seeded(1):
        torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
    assert with_needed(ImportanceWeighted())[0] == "variational"


def test_checks_are_plain_functions_with_a_reason() -> None:
    for _, check in checks_for(L1Sparse()):
        function = check.args[0]
        assert function.__name__.startswith("check_") and len(inspect.signature(function).parameters) == 1
