"""Likelihoods against torch.distributions, against each other, and against the meaning of their own words."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, distributions

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution, FromCallable, Likelihood
from isthmus.likelihoods.bernoulli import Bernoulli
from isthmus.likelihoods.categorical import Categorical
from isthmus.likelihoods.laplace import Laplace
from isthmus.likelihoods.mixed import Mixed
from isthmus.likelihoods.normal import Normal
from isthmus.part import find, known, resolve
from isthmus.spec import Column, SampleSpec

COLUMNS = (
    *(Column("colour", "categorical", 3), Column("age"), Column("member", "boolean")),
    *(Column("size", "categorical", 2), Column("height")),
)
TABLE = SampleSpec((8,), columns=COLUMNS)
EVERY = [example for name in known("likelihoods") for example in find("likelihoods", name).examples()]
every_likelihood = pytest.mark.parametrize("likelihood", EVERY, ids=repr)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def law_of(likelihood: Likelihood, *leading: int, spec: SampleSpec = TABLE, seed: int = 0) -> Distribution:
    return likelihood(random(*leading, likelihood.n_parameters(spec), seed=seed), spec)


# ---- against other people's formulas


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_normal_and_laplace_with_a_fixed_scale(scale: float) -> None:
    spec, raw, target = SampleSpec((5,)), random(7, 5), random(7, 5, seed=1)
    normal, laplace = Normal(scale=scale)(raw, spec), Laplace(scale=scale)(raw, spec)
    torch.testing.assert_close(normal.nll(target), -distributions.Normal(raw, scale).log_prob(target))
    torch.testing.assert_close(laplace.nll(target), -distributions.Laplace(raw, scale).log_prob(target))
    assert torch.equal(normal.mean, raw) and torch.equal(laplace.point, raw)


@pytest.mark.parametrize(
    ("cls", "theirs"), [(Normal, distributions.Normal), (Laplace, distributions.Laplace)], ids=["normal", "laplace"]
)
@pytest.mark.parametrize(("shape", "channels"), [((5,), 0), ((3, 4), 0), ((4, 3), 1), ((2, 3, 4), 1)])
def test_a_learned_scale_is_the_second_half_of_the_channel_axis(
    cls: Callable[..., Likelihood], theirs: type, shape: tuple[int, ...], channels: int
) -> None:
    spec = SampleSpec(shape, channels=channels)
    likelihood = cls(scale="learned", minimum=0.05)
    wide = list(shape)
    wide[channels] = likelihood.n_parameters(spec)
    raw, target = random(2, 6, *wide), random(6, *shape, seed=1)
    location, free = raw.chunk(2, dim=channels - len(shape))
    scale = torch.log1p(free.exp()) + 0.05
    torch.testing.assert_close(likelihood(raw, spec).nll(target), -theirs(location, scale).log_prob(target))


def test_a_learned_scale_has_a_floor_that_keeps_the_likelihood_finite() -> None:
    raw = torch.tensor([[0.0, -1e4]])
    for cls in (Normal, Laplace):
        learned = cls(scale="learned", minimum=0.01)(raw, SampleSpec((1,)))
        at_floor = cls(scale=0.01)(raw[:, :1], SampleSpec((1,)))
        for target in (torch.zeros(1, 1), torch.ones(1, 1)):
            torch.testing.assert_close(learned.nll(target), at_floor.nll(target))


def test_bernoulli_on_hard_and_soft_targets() -> None:
    logits, hard = random(9, 4), (random(9, 4, seed=1) > 0).double()
    law = Bernoulli()(logits, SampleSpec((4,)))
    torch.testing.assert_close(law.nll(hard), -distributions.Bernoulli(logits=logits).log_prob(hard))
    soft = torch.rand(9, 4, dtype=torch.float64)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(law.nll(soft), -soft * p.log() - (1 - soft) * (1 - p).log())
    torch.testing.assert_close(law.mean, p)
    assert torch.equal(law.point, (p > 0.5).double())


def test_binary_cross_entropy_is_smallest_at_the_target_where_it_is_the_targets_entropy() -> None:
    target = torch.tensor([[0.05, 0.3, 0.5, 0.9]], dtype=torch.float64)
    entropy = distributions.Bernoulli(probs=target).entropy()
    best = Bernoulli()(torch.logit(target), SampleSpec((4,))).nll(target)
    torch.testing.assert_close(best, entropy)
    for shift in (-1.0, -0.01, 0.01, 1.0):
        assert (Bernoulli()(torch.logit(target) + shift, SampleSpec((4,))).nll(target) > entropy).all()


def test_categorical_is_a_softmax_over_each_columns_levels() -> None:
    spec = SampleSpec((5,), columns=(Column("a", "categorical", 3), Column("b", "categorical", 2)))
    logits = random(6, 5)
    law = Categorical()(logits, spec)
    one = torch.eye(5, dtype=torch.float64)
    target = one[[0, 1, 2, 0, 1, 2]] + one[[3, 4, 3, 4, 3, 4]]
    first = distributions.Categorical(logits=logits[:, :3]).log_prob(torch.tensor([0, 1, 2, 0, 1, 2]))
    second = distributions.Categorical(logits=logits[:, 3:]).log_prob(torch.tensor([0, 1, 0, 1, 0, 1]))
    torch.testing.assert_close(law.nll(target).sum(1), -first - second)
    torch.testing.assert_close(spec.gather(law.mean), torch.ones(6, 2, dtype=torch.float64))
    assert torch.equal(law.point[:, :3].argmax(1), logits[:, :3].argmax(1)) and (spec.gather(law.point) == 1).all()


def test_equal_levels_have_one_most_probable_value_all_the_same() -> None:
    spec = SampleSpec((5,), columns=(Column("a", "categorical", 3), Column("b", "categorical", 2)))
    assert Categorical()(torch.zeros(1, 5), spec).point.tolist() == [[1, 0, 0, 1, 0]]


@pytest.mark.parametrize("size", [1e3, -1e3, 1e30])
def test_huge_logits_stay_finite(size: float) -> None:
    logits = torch.tensor([[size, 0.0]], requires_grad=True)
    for likelihood in (Bernoulli(), Categorical()):
        for target in ([[1.0, 0.0]], [[0.0, 1.0]]):
            nll = likelihood(logits, SampleSpec((2,))).nll(torch.tensor(target)).sum()
            (gradient,) = torch.autograd.grad(nll, logits)
            assert torch.isfinite(nll) and nll >= 0 and torch.isfinite(gradient).all()


# ---- mixed


def test_mixed_gives_every_column_the_law_that_suits_it() -> None:
    """Whatever the order of the columns: raw holds numbers, then answers, then levels."""
    raw, target = random(6, 8), law_of(Mixed(), 6, seed=2).sample(torch.Generator().manual_seed(0))
    nll = Mixed(numeric=Normal(scale=0.5))(raw, TABLE).nll(target)
    numbers, answers, colour, size = raw.split([2, 1, 3, 2], dim=1)
    torch.testing.assert_close(nll[:, [3, 7]], -distributions.Normal(numbers, 0.5).log_prob(target[:, [3, 7]]))
    torch.testing.assert_close(nll[:, [4]], -distributions.Bernoulli(logits=answers).log_prob(target[:, [4]]))
    for elements, logits in ((slice(0, 3), colour), (slice(5, 7), size)):
        expected = -distributions.OneHotCategorical(logits=logits).log_prob(target[:, elements])
        torch.testing.assert_close(nll[:, elements].sum(1), expected)


@pytest.mark.parametrize(("tails", "theirs"), [("normal", distributions.Normal), ("laplace", distributions.Laplace)])
def test_mixed_with_a_learned_scale(tails: str, theirs: type) -> None:
    likelihood = Mixed(numeric=f"{tails}(scale='learned')")
    assert likelihood.n_parameters(TABLE) == 10
    raw, target = random(6, 10), random(6, 8, seed=1)
    scale = torch.nn.functional.softplus(raw[:, 2:4]) + 0.01
    expected = -theirs(raw[:, :2], scale).log_prob(target[:, [3, 7]])
    torch.testing.assert_close(likelihood(raw, TABLE).nll(target)[:, [3, 7]], expected)


@pytest.mark.parametrize("kind", ["numeric", "boolean", "categorical"])
def test_mixed_on_columns_of_one_kind_is_that_kinds_own_likelihood(kind: str) -> None:
    size = 2 if kind == "categorical" else 1
    spec = SampleSpec((4,), columns=tuple(Column(f"c{i}", kind, size) for i in range(4 // size)))  # type: ignore[arg-type]
    own: Likelihood = {"numeric": Normal(), "boolean": Bernoulli(), "categorical": Categorical()}[kind]
    raw, target = random(5, 4), torch.rand(5, 4, dtype=torch.float64)
    torch.testing.assert_close(Mixed()(raw, spec).nll(target), own(raw, spec).nll(target))
    torch.testing.assert_close(Mixed()(raw, spec).mean, own(raw, spec).mean)


# ---- what every likelihood must be


@every_likelihood
def test_a_law_has_the_samples_shape_whatever_stands_before(likelihood: Likelihood) -> None:
    target = law_of(likelihood, 3).sample(torch.Generator().manual_seed(0))
    raw = random(5, 3, likelihood.n_parameters(TABLE))
    together = likelihood(raw, TABLE)
    assert together.mean.shape == together.point.shape == together.sample().shape == (5, 3, 8)
    for index in range(5):
        torch.testing.assert_close(together.nll(target)[index], likelihood(raw[index], TABLE).nll(target))


@pytest.mark.slow
@every_likelihood
def test_draws_have_the_mean_and_their_nll_is_the_entropy(likelihood: Likelihood) -> None:
    """E[sample] = mean; and no other law explains the draws better than the one they come from."""
    raw = random(1, likelihood.n_parameters(TABLE))
    law, other = likelihood(raw, TABLE), likelihood(raw + 0.3 * random(*raw.shape, seed=5), TABLE)
    generator = torch.Generator().manual_seed(0)
    many = likelihood(raw.expand(40_000, -1), TABLE)
    draws = many.sample(generator)
    spread = draws.std(0) / math.sqrt(len(draws)) + 1e-9
    assert ((draws.mean(0) - law.mean[0]).abs() < 4.5 * spread).all()
    assert law.nll(draws).sum(1).mean() < other.nll(draws).sum(1).mean()


@every_likelihood
def test_the_point_is_the_most_probable_value(likelihood: Likelihood) -> None:
    law = law_of(likelihood, 50)
    at_point = law.nll(law.point).sum(1)
    for seed in range(5):
        assert (at_point <= law.nll(law.sample(torch.Generator().manual_seed(seed))).sum(1) + 1e-9).all()


@every_likelihood
def test_draws_follow_the_generator_and_stay_in_the_support(likelihood: Likelihood) -> None:
    law = law_of(likelihood, 500)
    first, again, other = (law.sample(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    low, high = likelihood.support
    assert (low is None or first.min() >= low) and (high is None or first.max() <= high)


@every_likelihood
def test_gradients_agree_with_finite_differences(likelihood: Likelihood) -> None:
    target = law_of(likelihood, 2, seed=3).sample(torch.Generator().manual_seed(0))
    raw = random(2, likelihood.n_parameters(TABLE)).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw: likelihood(raw, TABLE).nll(target), (raw,))


@every_likelihood
def test_float32_draws_are_always_finite(likelihood: Likelihood, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.rand may give exactly 0, and the largest number below 1."""
    for extreme in (0.0, 1 - 2**-24):
        rand = partial(torch.full, fill_value=extreme)
        monkeypatch.setattr(torch, "rand", lambda shape, generator=None, rand=rand, **how: rand(shape, **how))
        law = likelihood(torch.zeros(2, likelihood.n_parameters(TABLE)), TABLE)
        assert torch.isfinite(law.sample()).all()


def test_draw_leaves_out_noise_whose_scale_was_set_by_hand() -> None:
    raw = random(3, 4)
    for cls in (Normal, Laplace):
        assert torch.equal(cls(scale=1.0)(raw, SampleSpec((4,))).draw(), raw)
        assert not torch.equal(cls(scale="learned")(raw, SampleSpec((2,))).draw(), raw[:, :2])


# ---- functions, and what is refused


def test_a_function_is_a_likelihood() -> None:
    likelihood = FromCallable(lambda output, target: (output - target).abs() ** 3)
    law = likelihood(random(2, 3, 4), SampleSpec((4,)))
    torch.testing.assert_close(law.nll(random(3, 4, seed=1)), (random(2, 3, 4) - random(3, 4, seed=1)).abs() ** 3)
    assert torch.equal(law.mean, random(2, 3, 4)) and likelihood.n_parameters(SampleSpec((4,))) == 4
    for example in FromCallable.examples():
        assert example(random(3, 4), SampleSpec((4,))).nll(random(3, 4, seed=1)).shape == (3, 4)


def test_a_function_that_averages_is_told_so() -> None:
    law = FromCallable(torch.nn.functional.mse_loss)(random(3, 4), SampleSpec((4,)))
    with pytest.raises(SettingError, match=r"returned shape \(\); .* shape \(3, 4\) .*reduction='none'"):
        law.nll(random(3, 4, seed=1))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), "leaned"])
@pytest.mark.parametrize("cls", [Normal, Laplace])
def test_a_scale_that_cannot_be_is_refused(cls: Callable[..., Likelihood], scale: float | str) -> None:
    with pytest.raises(SettingError, match="scale is .* must be a number above 0, or 'learned'"):
        law_of(cls(scale=scale), 2)


def test_a_head_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingError, match="likelihood 'cauchy' is unknown"):
        law_of(Mixed(numeric="cauchy"), 2)


def test_names_of_papers_find_the_likelihood() -> None:
    found = [type(resolve("likelihoods", name, Likelihood)) for name in ("mse", "l1", "bce", "softmax", "gaussian")]
    assert found == [Normal, Laplace, Bernoulli, Categorical, Normal]
