"""Values that the likelihood has no probability for."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from isthmus.doctor.base import Finding, have
from isthmus.likelihoods import BetaBinomial, Categorical, ContinuousBernoulli, Mixed
from isthmus.likelihoods.base import FromCallable, Likelihood
from isthmus.module import AutoencoderModule
from isthmus.spec import SampleSpec
from isthmus.training import Batch

FAR_FROM_LEVEL = 0.002  # of the whole range: less than half a level of pictures with 256 of them


def of_range(some: Batch, module: AutoencoderModule, kind: str) -> Iterable[Finding]:
    target = some.x if some.target is None else some.target
    likelihood, spec = module.likelihood, module.spec
    every = torch.arange(spec.n_channels)
    for law, own, elements in likelihood.heads(spec) if isinstance(likelihood, Mixed) else [(likelihood, spec, every)]:
        values, weight = (
            None if of is None else of.index_select(spec.axis, elements.to(of.device)) for of in (target, some.weight)
        )
        assert values is not None
        if isinstance(law, Categorical):
            yield from _no_groups(own, values, weight)
            continue
        yield from _outside(law, values if weight is None else values[weight > 0], kind)
        words = [column.name for column in own.columns if column.kind == "categorical"]
        if words and not isinstance(law, FromCallable):
            yield Finding(
                "words",
                f"{have(words)} words, but the likelihood {law.name()!r} takes each of their levels as a number by "
                "itself, so that none or several may be likely at once: use likelihood='auto', or "
                f"Mixed(numeric={law.name()!r}), which gives words a softmax.",
            )


def _outside(likelihood: Likelihood, present: Tensor, kind: str) -> Iterable[Finding]:
    """Values that the law has no probability for."""
    low, high = likelihood.support
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if not present.numel():
        return
    least, most = float(present.min()), float(present.max())
    outside = least < low or most > high
    if likelihood.whole:
        between = present[present != present.round()]
        if outside or len(between):
            yield _no_counts(likelihood.name(), least if outside else float(between[0]), kind)
    elif outside:
        yield Finding(
            "range",
            f"the scaled data reach from {least:.3g} to {most:.3g}, but the likelihood {likelihood.name()!r} "
            f"is for values from {low:g} to {high:g}; its loss has no meaning there: use likelihood='normal'"
            + (", or data_type='tables(scaling=\"minmax\")'." if kind == "tables" else "."),
        )
    elif isinstance(likelihood, ContinuousBernoulli) and bool(((present == 0) | (present == 1)).all()):
        yield Finding(
            "density",
            "all data are 0 or 1, but the likelihood 'continuous_bernoulli' is a density over what lies between, which "
            "grows at the ends without limit: use likelihood='bernoulli'.",
        )
    elif isinstance(likelihood, BetaBinomial):
        level = present * likelihood.trials
        far = present[(level - level.round()).abs() > FAR_FROM_LEVEL * likelihood.trials]
        if len(far):
            yield Finding(
                "levels",
                f"the scaled data hold values such as {float(far[0]):.3g}, which is no share of {likelihood.trials} "
                "trials; 'beta_binomial' takes the nearest one, so that what lies between is lost: set trials to what "
                "the shares were counted out of, or use likelihood='continuous_bernoulli' for values of any size.",
            )


def _no_counts(name: str, value: float, kind: str) -> Finding:
    instead = (
        "use data_type='tables(scaling=\"none\")' if the table holds counts, otherwise likelihood='normal'."
        if kind == "tables"
        else "use likelihood='beta_binomial' for pixels as the whole numbers that they are, otherwise 'normal'."
    )
    return Finding(
        "range",
        f"the scaled data hold values such as {value:.3g}, but the likelihood {name!r} is for counts: 0, 1, 2 and so "
        f"on; its loss has no meaning there: {instead}",
    )


def _no_groups(spec: SampleSpec, values: Tensor, weight: Tensor | None) -> Iterable[Finding]:
    """Columns that are no choice of one level out of several: elements from 0 on that sum to one."""
    groups = spec.gather if spec.columns else (lambda of: of.sum(spec.axis, keepdim=True))
    strange = ((groups(values) - 1).abs() > 1e-3) | (groups((values < 0).to(values)) > 0)
    if weight is not None:
        strange &= groups((weight <= 0).to(values)) == 0
    along = strange.movedim(spec.axis, -1).flatten(0, -2).any(0)
    names = [spec.columns[place].name for place in along.nonzero().flatten().tolist()] if spec.columns else []
    if bool(along.any()):
        yield Finding(
            "range",
            f"{have(names) if names else 'the samples have'} values that are no choice of one level out of "
            "several, but the likelihood 'categorical' is for such columns only; its loss has no meaning there: use "
            "likelihood='auto', which gives every column the law of its kind, or turn these values into words.",
        )
