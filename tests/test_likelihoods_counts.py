"""Counts, shares, outliers and grey levels: laws against scipy and torch, at the far ends, and in whole models."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, distributions

from isthmus import Autoencoder, Training, giving, load
from isthmus.data import Tables
from isthmus.errors import DoctorWarning, SettingError
from isthmus.likelihoods import (
    BetaBinomial,
    ContinuousBernoulli,
    Mixed,
    Multinomial,
    NegativeBinomial,
    Normal,
    Poisson,
    Quantised,
    StudentT,
    ZeroInflated,
)
from isthmus.likelihoods.base import Likelihood, built
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.part import resolve
from isthmus.spec import Column, SampleSpec
from isthmus.training import Batch, train
from isthmus.variants import Masked

pytestmark = pytest.mark.slow

COUNTED = [
    *(Poisson(), Poisson(link="exp"), NegativeBinomial(), NegativeBinomial(dispersion=0.3, link="exp")),
    *(ZeroInflated(), ZeroInflated("poisson"), Multinomial(total=5)),
]
ALL = [
    *(*COUNTED, Poisson(link="softmax", library=9.0), NegativeBinomial(link="softmax", library=9.0)),
    *(BetaBinomial(), ContinuousBernoulli(), StudentT(), StudentT("learned", "learned")),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def width(n: int) -> SampleSpec:
    return SampleSpec((n,))


def numbers(tensor: Tensor) -> Any:
    return tensor.detach().numpy()


def close(found: Tensor, expected: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(numbers(found), expected, rtol=tolerance, atol=tolerance)


# ---- against other people's formulas


@pytest.mark.parametrize("degrees", [1.5, 4.0, 30.0, 1e6])
def test_student_t_with_fixed_degrees_and_scale(degrees: float) -> None:
    raw, target = random(40, 3), 5 * random(40, 3, seed=1)
    law = StudentT(degrees_of_freedom=degrees, scale=0.7)(raw, width(3))
    close(law.nll(target), -stats.t.logpdf(numbers(target), degrees, numbers(raw), 0.7))
    assert torch.equal(law.mean, raw) and torch.equal(law.draw(), raw)


def test_student_t_with_learned_degrees_and_scale() -> None:
    """Raw holds centre, scale and degrees of freedom, one after the other, along any channel axis."""
    spec = SampleSpec((4, 2), channels=1)
    raw, target = random(30, 4, 6), 5 * random(30, 4, 2, seed=1)
    law = StudentT("learned", "learned", minimum=0.05)(raw, spec)
    centre, scale, degrees = raw.split(2, dim=-1)
    expected = distributions.StudentT(2 + torch.log1p(degrees.exp()), centre, torch.log1p(scale.exp()) + 0.05)
    close(law.nll(target), numbers(-expected.log_prob(target)))
    assert not torch.equal(law.draw(generator()), centre)
    only_degrees = StudentT("learned", scale=0.7)(raw[..., :4], spec)
    expected = distributions.StudentT(2 + torch.log1p(scale.exp()), centre, 0.7)
    close(only_degrees.nll(target), numbers(-expected.log_prob(target)))


def test_with_very_many_degrees_of_freedom_it_is_the_normal_law_and_an_outlier_counts_for_less_with_few() -> None:
    raw, target = torch.zeros(1, 2), torch.tensor([[0.5, 30.0]])
    normal = Normal()(raw, width(2)).nll(target)
    torch.testing.assert_close(StudentT(1e8)(raw, width(2)).nll(target), normal, rtol=1e-4, atol=1e-4)
    assert StudentT(3.0)(raw, width(2)).nll(target)[0, 1] < normal[0, 1] / 10


LOGITS = torch.tensor([-30.0, -4.0, -0.5001, -0.4999, -1e-9, 0.0, 1e-5, 0.3, 0.5, 2.0, 30.0], dtype=torch.float64)


def test_continuous_bernoulli_is_the_density_over_the_interval() -> None:
    """The norm, mean and variance by numerical integration; torch's own agrees where it does not approximate."""
    law = ContinuousBernoulli()(LOGITS[:, None], width(1))
    for place, logit in enumerate(LOGITS.tolist()):
        norm, mean = (
            integrate.quad(lambda x, power=power, logit=logit: x**power * math.exp(logit * x), 0, 1)[0]
            for power in (0, 1)
        )
        close(law.nll(torch.full_like(LOGITS, 0.3)[:, None])[place], math.log(norm) - 0.3 * logit, 1e-8)
        close(law.mean[place], mean / norm, 1e-8)
    other = distributions.ContinuousBernoulli(logits=LOGITS[[1, 2, 8, 9]])
    value = torch.tensor([0.0, 0.2, 0.9, 1.0], dtype=torch.float64)
    own = ContinuousBernoulli()(LOGITS[[1, 2, 8, 9]], width(1))
    torch.testing.assert_close(own.nll(value), -other.log_prob(value), rtol=1e-6, atol=1e-6)


def test_continuous_bernoulli_is_smooth_through_one_half() -> None:
    """Series and formula meet: value, gradient and mean, in both precisions; the gradient is mean - target."""
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-6)):
        logits = torch.linspace(-0.6, 0.6, 2401, dtype=dtype).requires_grad_()
        law = ContinuousBernoulli()(logits, width(1))
        (gradient,) = torch.autograd.grad(law.nll(torch.full_like(logits, 0.25)).sum(), logits)
        torch.testing.assert_close(gradient, law.mean.detach() - 0.25, rtol=0, atol=tolerance)
        exact = logits.detach().double()
        expected = 0.5 + exact / 12 - exact**3 / 720 + exact**5 / 30240 - exact**7 / 1209600
        torch.testing.assert_close(law.mean.detach().double(), expected, rtol=0, atol=max(tolerance, 1e-9))


@pytest.mark.parametrize("link", ["softplus", "exp"])
@pytest.mark.parametrize("library", [1.0, 250.0])
def test_poisson_and_negative_binomial(link: Any, library: float) -> None:
    raw = random(60, 3)
    mean = library * (raw.exp() if link == "exp" else torch.log1p(raw.exp()))
    count = torch.poisson(1.5 * mean, generator=generator())
    poisson = Poisson(link=link, library=library)(raw, width(3))
    close(poisson.nll(count), -stats.poisson.logpmf(numbers(count), numbers(mean)))
    close(poisson.mean, numbers(mean))
    for dispersion in (1e-3, 0.4, 3.0):
        law = NegativeBinomial(dispersion=dispersion, link=link, library=library)(raw, width(3))
        theirs = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * numbers(mean)))
        close(law.nll(count), -theirs.logpmf(numbers(count)), 1e-8)
        close(law.mean, theirs.mean())


def test_a_learned_dispersion_is_the_second_half_of_raw_and_no_dispersion_is_poisson() -> None:
    raw, free = random(50, 4), random(50, 4, seed=1)
    law = NegativeBinomial(link="exp", minimum=0.01)(torch.cat([raw, free], dim=1), width(4))
    count = law.sample(generator())
    dispersion = numbers(torch.log1p(free.exp()) + 0.01)
    expected = stats.nbinom.logpmf(numbers(count), 1 / dispersion, 1 / (1 + dispersion * np.exp(numbers(raw))))
    close(law.nll(count), -expected)
    nearly = NegativeBinomial(dispersion=1e-7, link="exp")(raw, width(4)).nll(count)
    torch.testing.assert_close(nearly, Poisson(link="exp")(raw, width(4)).nll(count), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("counts", [Poisson(link="exp"), NegativeBinomial(dispersion=0.5, link="exp")], ids=repr)
def test_zero_inflation_mixes_zeros_in(counts: Likelihood) -> None:
    raw, gate, count = random(80, 3), 2 * random(80, 3, seed=1), torch.poisson(2 * random(80, 3, seed=2).abs())
    law = ZeroInflated(counts)(torch.cat([raw, gate], dim=1), width(3))
    share = torch.sigmoid(gate)
    expected = (1 - share) * torch.exp(-counts(raw, width(3)).nll(count)) + share * (count == 0)
    close(law.nll(count), numbers(-expected.log()))
    close(law.mean, numbers((1 - share) * raw.exp()))
    assert (count == 0).any() and (count > 0).any()


def test_zero_inflation_by_name_and_what_it_refuses() -> None:
    for name in ("zinb", "zero_inflated_negative_binomial", "zero_inflated"):
        assert resolve("likelihoods", name, Likelihood) == ZeroInflated()
    for wrong in ("normal", "multinomial", ZeroInflated()):
        with pytest.raises(SettingError, match="it must be a law of single counts: 'negative_binomial' or 'poisson'"):
            ZeroInflated(wrong).n_parameters(width(3))


@pytest.mark.parametrize("trials", [1, 10, 255])
def test_beta_binomial(trials: int) -> None:
    logits, free = 2 * random(100, 3), 3 * random(100, 3, seed=1)
    law = BetaBinomial(trials=trials)(torch.cat([logits, free], dim=1), width(3))
    hits = torch.randint(0, trials + 1, (100, 3), generator=generator())
    size, mean = numbers(1 / (torch.log1p(free.exp()) + 1e-4)), numbers(torch.sigmoid(logits))
    expected = stats.betabinom.logpmf(numbers(hits), trials, mean * size, (1 - mean) * size)
    close(law.nll(hits / trials), -expected, 1e-7)
    close(law.nll((hits + 0.3) / trials), -expected if trials > 10 else numbers(law.nll(hits / trials)), 1e-7)
    close(law.mean, mean)
    every = torch.arange(trials + 1, dtype=torch.float64)[:, None, None].expand(-1, 100, 3) / trials
    close(torch.exp(-law.nll(every)).sum(0), 1.0, 1e-8)


@pytest.mark.parametrize("total", [1, 4, 60])
def test_multinomial_sums_to_the_exact_probability(total: int) -> None:
    logits = random(50, 6)
    law = Multinomial(total=total)(logits, width(6))
    count, shares = law.sample(generator()), numbers(logits.softmax(1))
    assert (count.sum(1) == total).all()
    close(law.nll(count).sum(1), -stats.multinomial.logpmf(numbers(count), total, shares))
    close(law.mean, total * shares)


def test_multinomial_gives_no_cell_of_zero_counts_a_cost_and_an_empty_row_none() -> None:
    law = Multinomial()(random(2, 3), width(3))
    nll = law.nll(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64))
    assert nll[0, [0, 2]].abs().max() < 1e-12 and nll[0, 1] > 0 and nll[1].abs().max() < 1e-12


# ---- draws, modes, ends


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_draws_have_the_mean_and_the_variance(likelihood: Likelihood) -> None:
    raw = 0.7 * random(1, likelihood.n_parameters(width(3)), seed=4)
    law = likelihood(raw.expand(100_000, -1), width(3))
    draws = law.sample(generator(1))
    spread = draws.std(0)
    assert ((draws.mean(0) - law.mean[0]).abs() < 5 * spread / math.sqrt(len(draws)) + 1e-12).all()
    variance = variance_of(likelihood, raw)
    if variance is not None:
        error = (draws - draws.mean(0)).square().std(0) / math.sqrt(len(draws))
        assert ((draws.var(0) - variance[0]).abs() < 6 * error).all()


def variance_of(likelihood: Likelihood, raw: Tensor) -> Tensor | None:
    """From textbooks; None where it is infinite or known already from a part."""
    law = likelihood(raw, width(3))
    mean = law.mean
    dispersion = torch.nn.functional.softplus(raw[:, 3:6]) + getattr(likelihood, "minimum", 0.0)
    match likelihood:
        case Poisson():
            return mean
        case NegativeBinomial(dispersion="learned"):
            return mean + dispersion * mean.square()
        case NegativeBinomial():
            return mean + float(likelihood.dispersion) * mean.square()
        case Multinomial():
            return mean * (1 - mean / likelihood.total)
        case BetaBinomial():
            trials, size = likelihood.trials, 1 / dispersion
            return mean * (1 - mean) / trials * (1 + (trials - 1) / (size + 1))
        case ContinuousBernoulli():
            logits = raw.clone().requires_grad_()  # in a family of exponentials the variance is the slope of the mean
            return torch.autograd.grad(likelihood(logits, width(3)).mean.sum(), logits)[0]
    return None


def test_student_draws_are_wide_as_they_say() -> None:
    draws = StudentT(degrees_of_freedom=9.0, scale=0.5)(torch.zeros(200_000, 1).double(), width(1)).sample(generator())
    assert stats.kstest(numbers(draws[:, 0]), stats.t(9.0, scale=0.5).cdf).pvalue > 1e-3


def test_continuous_bernoulli_draws_follow_its_distribution() -> None:
    for logit in (-30.0, -2.0, 1e-9, 0.4, 5.0):
        law = ContinuousBernoulli()(torch.full((50_000, 1), logit, dtype=torch.float64), width(1))
        draws = numbers(law.sample(generator(3))[:, 0])
        found, expected = np.sort(draws), np.expm1(logit * np.sort(draws)) / np.expm1(logit)
        assert np.abs(np.linspace(0, 1, len(found)) - expected).max() < 2.2 / math.sqrt(len(found))  # Kolmogorov: 1e-4


@pytest.mark.parametrize("likelihood", [*COUNTED[:-1], BetaBinomial(trials=40)], ids=repr)
def test_the_point_is_the_most_probable_of_all_values(likelihood: Likelihood) -> None:
    """Of every count up to 200, or every level."""
    law = likelihood(3 * random(200, likelihood.n_parameters(width(2))), width(2))
    every = torch.linspace(0, 1, 41).double() if isinstance(likelihood, BetaBinomial) else torch.arange(200).double()
    best = torch.stack([law.nll(value.expand(200, 2)) for value in every]).amin(0)
    within = law.point <= 200
    assert within.double().mean() > 0.5
    torch.testing.assert_close(law.nll(law.point)[within], best[within], rtol=0, atol=1e-9)


@pytest.mark.parametrize("total", [1, 2, 7])
def test_the_multinomials_point_is_the_most_probable_of_all_ways(total: int) -> None:
    ways = torch.tensor([way for way in product(range(total + 1), repeat=4) if sum(way) == total], dtype=torch.float64)
    logits = torch.cat([random(30, 4), torch.zeros(1, 4), 40 * random(10, 4, seed=2)])
    law = Multinomial(total=total)(logits, width(4))
    best = torch.stack([law.nll(way.expand(41, 4)).sum(1) for way in ways]).amin(0)
    assert (law.point.sum(1) == total).all() and (law.point >= 0).all()
    torch.testing.assert_close(law.nll(law.point).sum(1), best, rtol=0, atol=1e-9)


def test_many_shares_and_a_large_total() -> None:
    law = Multinomial(total=100_000)(2 * random(3, 1001), width(1001))
    draws, point = law.sample(generator()), law.point
    assert (draws.sum(1) == 100_000).all() and (point.sum(1) == 100_000).all()
    shares = law.mean / 100_000  # no count moved elsewhere makes the point more probable
    assert ((shares / (point + 1)).amax(1) <= (shares / point).amin(1) * (1 + 1e-9)).all()
    standard = (draws - law.mean) / law.mean.sqrt()
    assert standard.square().mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_far_ends_are_finite_with_finite_gradients(likelihood: Likelihood, dtype: torch.dtype) -> None:
    n = likelihood.n_parameters(width(2))
    raw = torch.tensor(list(product((-30.0, -1e-8, 0.0, 30.0), repeat=2)), dtype=dtype)
    raw = torch.cat([raw.repeat(1, n // 2 + 1)[:, :n], raw.repeat(1, n // 2 + 1).flip(1)[:, :n]]).requires_grad_()
    values = (0.0, 1e5) if likelihood.whole else (0.0, 0.5, 1.0)
    for value in values:
        law = likelihood(raw, width(2))
        nll = law.nll(torch.full((len(raw), 2), value, dtype=dtype))
        (gradient,) = torch.autograd.grad(nll.sum(), raw)
        assert torch.isfinite(nll).all() and torch.isfinite(gradient).all() and nll.dtype == dtype
    for tensor in (law.mean, law.point, law.sample(generator())):
        assert torch.isfinite(tensor).all() and tensor.dtype == dtype


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_float32_is_as_good_as_float64(likelihood: Likelihood) -> None:
    """Also for large counts, whose gammas differ in digits that float32 does not have."""
    n = likelihood.n_parameters(width(3))
    raw = random(40, n).float()
    target = torch.tensor([0.0, 7.0, 90_000.0]) if likelihood.whole else torch.tensor([0.0, 0.4, 1.0])
    short, exact = (likelihood(kind, width(3)).nll(target.to(kind).expand(40, 3)) for kind in (raw, raw.double()))
    torch.testing.assert_close(short.double(), exact, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_gradients_agree_with_finite_differences(likelihood: Likelihood) -> None:
    raw = random(4, likelihood.n_parameters(width(3)), seed=7).requires_grad_()
    values = torch.tensor([0.0, 3.0, 40.0] if likelihood.whole else [0.0, 0.37, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda raw: likelihood(raw, width(3)).nll(values.expand(4, 3)), (raw,))
    weight = torch.tensor([1.0, 0.0, 1.0]).double().expand(4, 3)
    target = values.expand(4, 3) * weight
    assert torch.autograd.gradcheck(
        lambda raw: (likelihood(raw, width(3)).given(target, weight).nll(target) * weight).sum(), (raw,)
    )


# ---- what is known of a row: its total, and which values are there


def test_absent_values_take_no_part_in_a_multinomial() -> None:
    """The shares of those present sum to one: the law of their counts given their sum."""
    logits, weight = random(20, 5), torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]).double().expand(20, 5)
    count = Multinomial(total=8)(logits, width(5)).sample(generator()) * weight
    count[0] = 0
    law = Multinomial()(logits, width(5)).given(count, weight)
    there, total = [0, 1, 3], count.sum(1)
    alone = logits[:, there].softmax(1)
    expected = stats.multinomial.logpmf(numbers(count[:, there]), numbers(total).astype(int), numbers(alone))
    close((law.nll(count) * weight).sum(1), -expected)
    close(law.mean[:, there], numbers(total[:, None] * alone))
    whole = Multinomial()(logits, width(5)).mean
    close(law.mean[1:] / law.mean[1:, :1], numbers(whole[1:] / whole[1:, :1]))  # the absent ones in proportion
    close(law.given(count, weight).mean, numbers(law.mean))  # to be told twice changes nothing
    nothing = Multinomial()(logits, width(5)).given(count, torch.zeros_like(weight))
    assert torch.isfinite(nothing.mean).all() and torch.isfinite(nothing.nll(0 * count)).all()


@pytest.mark.parametrize("cls", [Poisson, NegativeBinomial])
def test_under_softmax_the_means_sum_to_the_rows_total(cls: Callable[..., Likelihood]) -> None:
    law = cls(link="softmax", library=100.0)
    raw, count = random(9, law.n_parameters(width(5))), torch.poisson(4 * random(9, 5, seed=1).abs())
    unknown, known = law(raw, width(5)), law(raw, width(5)).given(count)
    close(unknown.mean.sum(1), 100.0)
    close(known.mean.sum(1), numbers(count.sum(1)))
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]).double().expand(9, 5)
    partly = law(raw, width(5)).given(count, weight)
    close((partly.mean * weight).sum(1), numbers((count * weight).sum(1)))
    assert torch.equal(
        ZeroInflated(law)(torch.cat([raw, raw[:, :5]], 1), width(5)).given(count).mean,
        (known.mean * torch.sigmoid(-raw[:, :5])),
    )
    free = cls(link="exp")(raw, width(5))
    assert torch.equal(free.given(count).mean, free.mean)


def test_poisson_given_a_softmaxs_total_is_the_multinomial_and_the_totals_poisson() -> None:
    """P(counts) = P(counts | total) P(total): two of the laws and a third agree."""
    raw, count = random(30, 4), torch.poisson(3 * random(30, 4, seed=1).abs())
    total = count.sum(1)
    poisson = Poisson(link="softmax", library=11.0)(raw, width(4)).nll(count).sum(1)
    shared = Multinomial()(raw, width(4)).nll(count).sum(1)
    close(poisson, numbers(shared) - stats.poisson.logpmf(numbers(total), 11.0))


def test_the_pass_tells_the_law_which_values_are_there() -> None:
    """A value that is absent changes nothing, and the module's distortion is the exact one of the rest."""
    module = AutoencoderModule(SampleSpec((4,), gaps=True), 2, Dense(widths=(5,)), Multinomial()).double().eval()
    x = torch.tensor([[3.0, 1.0, 4.0, 2.0]]).double()
    weight = torch.tensor([[1.0, 1.0, 0.0, 1.0]]).double()
    other = torch.tensor([[3.0, 1.0, 900.0, 2.0]]).double()
    first, second = (module.reconstruct(rows, weight) for rows in (x, other))
    assert first.distortion is not None and second.distortion is not None and first.output is not None
    assert torch.equal(first.distortion, second.distortion)
    shares = module.decode(module.encode(x, weight), weight).mean[0, [0, 1, 3]]
    expected = -stats.multinomial.logpmf([3, 1, 2], 6, numbers(shares / shares.sum()))
    close(first.distortion[0, 0], expected)
    close(first.output.mean[0, 0, [0, 1, 3]].sum(), 6.0)


def test_columns_of_counts_in_a_mixed_table_know_their_total() -> None:
    columns = (Column("colour", "categorical", 3), Column("a"), Column("yes", "boolean"), Column("b"), Column("c"))
    spec = SampleSpec((7,), columns=columns)
    likelihood = Mixed(numeric="multinomial")
    raw = random(6, likelihood.n_parameters(spec))
    target = torch.tensor([[0.0, 1.0, 0.0, 5.0, 1.0, 2.0, 3.0]]).double().expand(6, 7)
    law = likelihood(raw, spec).given(target)
    close(law.mean[:, [3, 5, 6]], numbers(10 * raw[:, :3].softmax(1)))
    torch.testing.assert_close(law.nll(target), likelihood(raw, spec).nll(target))
    weight = torch.ones_like(target)
    weight[:, 5] = 0
    close(likelihood(raw, spec).given(target, weight).mean[:, [3, 6]].sum(1), 8.0)


# ---- quantised pixels


def test_quantised_is_a_categorical_over_levels_for_each_channel() -> None:
    spec = SampleSpec((2, 3, 3))
    raw, likelihood = random(5, 8, 3, 3), Quantised(levels=4)
    law = likelihood(raw, spec)
    level = torch.randint(0, 4, (5, 2, 3, 3), generator=generator())
    theirs = distributions.Categorical(logits=raw.unflatten(1, (2, 4)).movedim(2, -1))
    close(law.nll(level / 3), numbers(-theirs.log_prob(level)))
    close(law.nll((level + 0.2) / 3), numbers(-theirs.log_prob(level)))
    close(law.mean, numbers((theirs.probs * torch.arange(4) / 3).sum(-1)))
    close(law.point, numbers(theirs.probs.argmax(-1)) / 3)


def test_the_annealed_mean_lies_between_the_mean_and_the_most_probable_level() -> None:
    """Zhang et al. 2016: of a flat law with one peak it goes to the peak, without its jumps."""
    raw = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]])
    plain, annealed = (Quantised(levels=5, mean=mean)(raw, width(1)) for mean in ("expected", "annealed"))
    weights = torch.softmax(raw[0] / 0.38, 0)
    torch.testing.assert_close(annealed.mean[0, 0], (weights * torch.linspace(0, 1, 5)).sum())
    assert plain.point.item() < annealed.mean.item() < plain.mean.item()
    assert torch.equal(plain.nll(raw[:, :1]), annealed.nll(raw[:, :1]))
    with pytest.raises(SettingError, match="mean is 'median'; it must be 'expected' or 'annealed'"):
        Quantised(mean="median")(raw, width(1))  # type: ignore[arg-type]


# ---- what is refused, and what the doctor says


@pytest.mark.parametrize(
    ("likelihood", "sentence"),
    [
        (StudentT(degrees_of_freedom=1.0), "degrees_of_freedom is 1.0; it must be a number above 1, or 'learned'"),
        (StudentT(degrees_of_freedom="many"), "degrees_of_freedom is 'many'"),  # type: ignore[arg-type]
        (StudentT(scale=-1.0), "scale is -1.0; it must be a number above 0"),
        (Poisson(link="log"), "link is 'log'; it must be one of softplus, exp, softmax"),  # type: ignore[arg-type]
        (NegativeBinomial(dispersion=0.0), "dispersion is 0.0; it must be a number above 0, 'learned' or 'per_column'"),
        (NegativeBinomial(library=0.0), "library of negative_binomial is 0.0; it must be a number of at least 1e-06"),
        (Multinomial(total=0), "total of multinomial is 0; it must be a whole number of at least 1"),
        (BetaBinomial(trials=2.5), "trials of beta_binomial is 2.5; it must be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_be(likelihood: Likelihood, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        likelihood(random(2, likelihood.n_parameters(width(3))), width(3))


def counts(n: int = 300, width: int = 8, depth: float = 30.0) -> Any:
    """Rows from two kinds of documents, of very different lengths."""
    numpy = np.random.default_rng(0)
    topics = numpy.dirichlet(np.full(width, 1.0), size=2)
    length = depth * numpy.gamma(1.5, size=n)
    return numpy.poisson(length[:, None] * topics[numpy.integers(0, 2, n)]).astype(np.float64)


def findings(likelihood: Any, X: Any, scaling: str = "none", **settings: Any) -> dict[str, str]:
    training = Training(max_epochs=1)
    model = Autoencoder(2, likelihood=likelihood, data_type=Tables(scaling=scaling), training=training, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(X)
    return {finding.code: finding.text for finding in model.doctor_}


@pytest.mark.parametrize("likelihood", ["poisson", "nb", "zinb", "multinomial"])
def test_the_doctor_says_when_values_are_no_counts(likelihood: str) -> None:
    assert "range" not in findings(likelihood, counts())
    said = findings(likelihood, counts(), scaling="standard")["range"]
    assert "is for counts" in said and 'scaling="none"' in said and "values such as -" in said
    assert re.search(r"values such as \d+\.5, but", findings(likelihood, counts() + 0.5)["range"])


def test_the_doctor_looks_at_each_kind_of_column() -> None:
    frame = pl.DataFrame({"kind": ["a", "b", "c"] * 100, "visits": np.arange(300) % 7, "spent": np.arange(300) % 5 / 4})
    mixed = Mixed(numeric="poisson")
    assert "'poisson' is for counts" in findings(mixed, frame)["range"]
    assert "range" not in findings(mixed, frame.drop("spent"))
    assert "range" not in findings(Mixed(), frame)


def test_the_doctor_says_when_values_are_no_shares() -> None:
    for likelihood in ("beta_binomial", "continuous_bernoulli", "quantised(levels=4)"):
        assert "from 0 to 1" in findings(likelihood, counts())["range"]
        assert "range" not in findings(likelihood, counts(), scaling="minmax")
    assert "range" not in findings("student_t", counts(), scaling="standard")


def test_the_doctor_says_when_values_are_no_choice_of_a_level() -> None:
    frame = pl.DataFrame({"kind": ["a", "b", "c"] * 100, "seen": [True, False] * 150, "visits": np.arange(300) % 7})
    said = findings("categorical", frame, scaling="auto")["range"]
    assert said.startswith("columns 'seen', 'visits' have values that are no choice of one level out of several")
    assert "'seen' has values that are no choice" in findings(Mixed(boolean="categorical"), frame, "auto")["range"]
    assert "range" not in findings("categorical", frame.select("kind"), scaling="auto")
    assert "samples have values that are no choice" in findings("categorical", counts())["range"]
    assert "range" not in findings("categorical", np.eye(8)[counts().argmax(1)])


@pytest.mark.parametrize("likelihood", ["normal", "student_t", "bernoulli", "poisson", "quantised"])
def test_the_doctor_says_when_words_would_be_taken_as_numbers(likelihood: str) -> None:
    frame = pl.DataFrame({"kind": ["a", "b", "c"] * 100, "other": ["x", "y"] * 150})
    said = findings(likelihood, frame, scaling="auto")["words"]
    assert said.startswith("columns 'kind', 'other' have words") and f"the likelihood '{likelihood}' takes" in said
    mixed = Mixed(categorical=likelihood)
    assert "words" in findings(mixed, frame, scaling="auto")
    for right in ("auto", "categorical", Mixed(numeric=likelihood)):
        assert not {"words", "range"} & set(findings(right, frame, scaling="auto"))


def test_the_doctor_says_when_shares_are_of_another_number_of_trials() -> None:
    shares = np.random.default_rng(0).integers(0, 17, (300, 5)) / 16
    assert "levels" not in findings(BetaBinomial(trials=16), shares)
    assert "levels" not in findings(BetaBinomial(trials=255), shares)  # as near as pictures ever need
    said = findings(BetaBinomial(trials=10), shares)["levels"]
    assert "is no share of 10 trials" in said and "set trials to" in said


def test_the_doctor_says_when_a_density_would_grow_without_limit() -> None:
    shares = np.random.default_rng(0).uniform(size=(300, 5))
    assert "density" not in findings("continuous_bernoulli", shares)
    assert "use likelihood='bernoulli'" in findings("continuous_bernoulli", shares.round())["density"]
    assert not {"density", "range"} & set(findings("bernoulli", shares.round()))


def test_the_doctors_advice_on_pictures_is_for_pictures() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)
    model = Autoencoder(2, likelihood="poisson", network="dense", training=Training(max_epochs=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(pictures)
    said = next(finding.text for finding in model.doctor_ if finding.code == "range")
    assert "'poisson' is for counts" in said and "use likelihood='beta_binomial'" in said and "tables" not in said


# ---- one dispersion for each column


def spread_counts(n: int = 3000) -> Any:
    """Independent columns with mean 6, whose dispersions are 0.1, 0.5 and 1.5."""
    numpy = np.random.default_rng(1)
    return numpy.poisson(6 * np.stack([numpy.gamma(1 / d, d, n) for d in (0.1, 0.5, 1.5)], axis=1)).astype(np.float32)


def trained_dispersions(module: AutoencoderModule) -> Tensor:
    (free,) = (value for name, value in module.state_dict().items() if name.startswith("built.likelihood"))
    return torch.nn.functional.softplus(free) + 1e-3


PER_COLUMN = NegativeBinomial(dispersion="per_column")


@pytest.mark.parametrize(
    "likelihood", [PER_COLUMN, ZeroInflated(PER_COLUMN), Mixed(numeric=PER_COLUMN)], ids=["nb", "zinb", "mixed"]
)
def test_dispersions_per_column_are_learned_and_found(likelihood: Likelihood) -> None:
    x = torch.from_numpy(spread_counts())
    torch.manual_seed(0)
    module = AutoencoderModule(SampleSpec((3,)), 1, Dense(widths=()), likelihood)
    assert likelihood.trained is None  # what was passed in keeps no weights
    with torch.no_grad():  # independent columns: no code helps, all is in the biases and the dispersions
        module.network.encoder.layers[0].linear.weight.zero_()
    module.network.encoder.requires_grad_(False)
    settings = Training(max_epochs=30, batch_size=100, learning_rate=0.03, validation=0.0)
    train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), settings)
    found, true = trained_dispersions(module), torch.tensor([0.1, 0.5, 1.5])
    if isinstance(likelihood, ZeroInflated):  # in the last column zeros of their own explain some of the spread as well
        found, true = found[:2], true[:2]
    torch.testing.assert_close(found, true, rtol=0.15, atol=0.02)


def test_a_dispersion_per_column_is_the_law_with_that_number() -> None:
    module = AutoencoderModule(SampleSpec((3,)), 2, "dense", PER_COLUMN).double()
    module.built["likelihood"].free.data.fill_(0.3)
    number = float(torch.nn.functional.softplus(torch.tensor(0.3, dtype=torch.float64)) + 1e-3)
    raw, target = random(4, 3), torch.poisson(5 + random(4, 3).abs())
    fixed = NegativeBinomial(dispersion=number)(raw, width(3))
    torch.testing.assert_close(module.likelihood(raw, module.spec).nll(target), fixed.nll(target))
    pictures = SampleSpec((3, 4, 4), channels=0)
    own = built(PER_COLUMN, pictures)
    own.trained.double().free.data.copy_(torch.tensor([-1.0, 0.0, 1.0]))  # type: ignore[union-attr]
    raw, target = random(2, 3, 4, 4), torch.ones(2, 3, 4, 4, dtype=torch.float64)
    second = torch.nn.functional.softplus(torch.tensor(0.0, dtype=torch.float64)) + 1e-3
    expected = NegativeBinomial(dispersion=float(second))(raw, pictures).nll(target)[:, 1]
    torch.testing.assert_close(own(raw, pictures).nll(target)[:, 1], expected)


def test_dispersions_per_column_come_back_from_the_file(tmp_path: Any) -> None:
    x = spread_counts(200)
    model = Autoencoder(2, likelihood=PER_COLUMN, data_type=Tables(scaling="none"), training=Training(max_epochs=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model.fit(x).save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert float((trained_dispersions(again.module_) - 0.694).abs().max()) > 1e-3
    np.testing.assert_array_equal(again.score_samples(x), model.score_samples(x))
    copied = copy.deepcopy(model.module_)
    copied.built["likelihood"].free.data.add_(1.0)
    x = torch.from_numpy(x)
    assert float((copied.loss(x) - model.module_.loss(x)).detach().abs()) > 1e-3


# ---- through a whole model


def test_counts_that_vary_more_than_their_mean_want_the_negative_binomial() -> None:
    """Held out rows are more probable under the law that they come from."""
    numpy = np.random.default_rng(1)
    rates = np.exp(numpy.normal(size=(600, 1)) @ numpy.normal(size=(1, 8)) + 1)
    X = numpy.poisson(rates * numpy.gamma(1.0, 1.0, size=rates.shape)).astype(np.float64)
    scores = {}
    for likelihood in ("poisson", "negative_binomial"):
        model = Autoencoder(
            1, likelihood=likelihood, data_type=Tables(scaling="none"), training=Training(max_epochs=40), random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoctorWarning)
            scores[likelihood] = model.fit(X[:400]).score(X[400:])
    assert scores["negative_binomial"] > scores["poisson"] + 1


def test_documents_come_back_with_their_length() -> None:
    """What is learned are shares; the means of a row sum to the row's own total, also where values are masked."""
    X = counts()
    for variant in ((), Masked(share=0.2)):
        model = Autoencoder(
            2,
            likelihood="multinomial",
            variant=variant,
            data_type=Tables(scaling="none"),
            training=Training(max_epochs=30),
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoctorWarning)
            model.fit(X)
        assert not {"mean_only", "range"} & {finding.code for finding in model.doctor_}
        assert model.history_["distortion"][-1] < model.history_["distortion"][0]
    again = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(again.sum(1), 1.0, rtol=1e-4)  # from a code alone: shares
    given_back = giving.mean(model.module_, Batch(torch.as_tensor(X[:9]).float()))
    np.testing.assert_allclose(numbers(given_back).sum(1), X[:9].sum(1), rtol=1e-4)
