"""The doctor: reads the data before training and the trained module after it, and says what it found.

Every finding is one plain text: what was seen, why it matters, what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from isthmus.data.base import ColumnFacts, Data
from isthmus.likelihoods import BetaBinomial, Categorical, ContinuousBernoulli, Mixed
from isthmus.likelihoods.base import FromCallable, Likelihood
from isthmus.metrics import explained_variance
from isthmus.module import AutoencoderModule
from isthmus.spec import SampleSpec
from isthmus.training import Batch, History
from isthmus.words import several

FAR_FROM_LEVEL = 0.002  # of the whole range: less than half a level of pictures with 256 of them


@dataclass(frozen=True)
class Finding:
    """Something the doctor saw. `code` names the kind, `text` says it."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def before_training(data: Data, some: Batch, module: object, n_rows: int) -> list[Finding]:
    """What the data alone tell: columns, gaps, range, number of rows, size of the code."""
    findings = [*_columns(getattr(data, "schema", [])), *_rows(n_rows, data)]
    if isinstance(module, AutoencoderModule):
        findings += [*_range(some, module, data.name()), *(_wide_code(module) if some.target is None else ())]
    return findings


def after_training(module: object, some: Batch, history: History) -> list[Finding]:
    """What the trained module and its history tell: identity, mean-only output, dead units, collapse, over- and
    underfitting.
    """
    findings = [*_fit(history)]
    if isinstance(module, AutoencoderModule) and len(some.x) > 1:
        findings += _module(module, some)
    return findings


# -- before


def _columns(schema: Iterable[ColumnFacts]) -> Iterable[Finding]:
    facts = list(schema)
    left_out = [fact for fact in facts if fact.kind == "left out" and not fact.identifier]
    named = [fact.name for fact in facts if fact.identifier and fact.kind == "left out"]
    numbered = [fact.name for fact in facts if fact.identifier and fact.kind != "left out"]
    constant = [fact.name for fact in facts if fact.constant and fact.kind != "left out"]
    gaps = [fact.name for fact in facts if fact.n_missing and fact.kind != "left out"]
    for reason in sorted({fact.left_out for fact in left_out}):
        names = [fact.name for fact in left_out if fact.left_out == reason]
        yield Finding("left_out", f"{_names(names)} been left out: {reason}.")
    if named:
        yield Finding(
            "identifier",
            f"{_names(named)} a different value in almost every row, like an identifier; left out: drop it.",
        )
    if numbered:
        yield Finding(
            "identifier",
            f"{_names(numbered)} a different whole number in every row, like an identifier; it carries no pattern "
            "and widens every code: drop it before fitting, unless it is a measurement.",
        )
    if constant:
        yield Finding(
            "constant_column",
            f"{_names(constant)} the same value in every row; it teaches nothing, and any other value will look very "
            "odd later: drop it, unless that is wanted.",
        )
    if gaps:
        yield Finding(
            "missing",
            f"{_names(gaps)} missing values; they carry no weight in training and scoring, nothing is filled in.",
        )
    yield from _scales(facts)


def _scales(facts: list[ColumnFacts]) -> Iterable[Finding]:
    numbers = [fact for fact in facts if fact.kind == "numeric" and fact.standard_deviation > 0]
    if len(numbers) < 2:
        return
    low = min(numbers, key=lambda fact: fact.standard_deviation)
    high = max(numbers, key=lambda fact: fact.standard_deviation)
    if high.standard_deviation >= 1e6 * low.standard_deviation:
        yield Finding(
            "scales",
            f"the spread of column {high.name!r} is {high.standard_deviation / low.standard_deviation:.0e} times "
            f"that of {low.name!r}; without scaling the first would drown the others: keep scaling='auto' or "
            "'standard'.",
        )


def _rows(n_rows: int, data: Data) -> Iterable[Finding]:
    if n_rows < 50:
        yield Finding(
            "few_rows",
            f"there are only {n_rows} {several(data.piece)}; what is learned from so few hardly holds for new ones: "
            "treat the results as a trial, or give more.",
        )


def _range(some: Batch, module: AutoencoderModule, kind: str) -> Iterable[Finding]:
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
                f"{_names(words)} words, but the likelihood {law.name()!r} takes each of their levels as a number by "
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
            f"{_names(names) if names else 'the samples have'} values that are no choice of one level out of "
            "several, but the likelihood 'categorical' is for such columns only; its loss has no meaning there: use "
            "likelihood='auto', which gives every column the law of its kind, or turn these values into words.",
        )


def _guarded(module: AutoencoderModule) -> bool:
    stations = ("corrupt", "bottleneck", "penalty")
    return any(variant.changes(station) for variant in module.variants for station in stations)


def _wide_code(module: AutoencoderModule) -> Iterable[Finding]:
    if module.n_components >= module.spec.size and not _guarded(module):
        yield Finding(
            "wide_code",
            f"the code has {module.n_components} numbers for samples of {module.spec.size}, so copying the input is "
            "a perfect solution and nothing need be learned: choose a smaller n_components, or add a variant such "
            "as 'denoising' or 'l1_sparse'.",
        )


# -- after


def _module(module: AutoencoderModule, some: Batch) -> list[Finding]:
    parameter = next(module.parameters())
    x = some.x.to(parameter.device)
    weight = None if some.weight is None else some.weight.to(parameter.device)
    target = x if some.target is None else some.target.to(parameter.device)
    with torch.inference_mode():
        done = module.reconstruct(x, weight, target=target)
    assert done.code is not None and done.output is not None
    explained = explained_variance(target, done.output.mean[0], weight)
    return [*_output(module, explained), *_codes(module, done.code[0].flatten(1)), *_hidden(done.activations[:-1])]


def _output(module: AutoencoderModule, explained: float) -> Iterable[Finding]:
    if explained > 0.999 and module.n_components >= module.spec.size and not _guarded(module):
        yield Finding(
            "identity",
            f"the output explains {100 * explained:.2f} % of the variance from a code as wide as the input: the "
            "network has learned to copy; choose a smaller n_components, or add a variant such as 'denoising'.",
        )
    if explained < 0.05:
        yield Finding(
            "mean_only",
            f"the output explains only {100 * max(0.0, explained):.1f} % of the variance: nearly the same mean comes "
            "out for every sample; train longer, raise n_components, or weaken the penalties. Features that are "
            "independent of each other cannot be compressed at all.",
        )


def _codes(module: AutoencoderModule, codes: Tensor) -> Iterable[Finding]:
    spread = codes.std(0)
    if any(variant.name() == "variational" for variant in module.variants):
        active = int((spread.square() > 0.01).sum())
        if active <= codes.shape[1] // 2:
            yield Finding(
                "posterior_collapse",
                f"{codes.shape[1] - active} of {codes.shape[1]} components of the variational code carry nothing "
                "(the variance of their mean is below 0.01): the rate outweighs what they explain; lower beta, set "
                "free_bits, or choose a smaller n_components.",
            )
        return
    dead = int((spread <= 1e-6 * spread.max().clamp_min(1e-12)).sum())
    if dead and not getattr(module.architecture, "skips", False):  # whose code is the maps of a network, dead ones too
        yield Finding(
            "dead_code",
            f"{dead} of {codes.shape[1]} components of the code have the same value for every sample; choose a "
            "smaller n_components, or weaken the penalties.",
        )


def _hidden(layers: Iterable[Tensor]) -> Iterable[Finding]:
    dead = sum(int((layer.flatten(1).std(0) < 1e-8).sum()) for layer in layers)
    units = sum(layer[0].numel() for layer in layers)
    if units and dead > units // 4:
        yield Finding(
            "dead_units",
            f"{dead} of {units} hidden units answer every sample alike; the learning rate may be too large: lower "
            "it, or use activation='gelu'.",
        )


def _fit(history: History) -> Iterable[Finding]:
    held_out = history["validation_distortion"] if "validation_distortion" in history.names else []
    if len(history) < 5:
        return
    training = history["distortion"] if "distortion" in history.names else history["loss"]
    watched = held_out or training
    gain = watched[0] - min(watched)
    if (
        history.best_epoch == len(history)
        and gain > 0
        and (watched[-max(2, len(watched) // 10)] - watched[-1]) > 0.05 * gain
    ):
        yield Finding(
            "underfitting",
            f"the loss was still falling when the {len(history)} epochs were over; raise max_epochs, or the learning "
            "rate.",
        )
    if held_out and history.best_epoch is not None:
        best = history.best_epoch - 1
        learned, kept = training[0] - training[best], training[0] - held_out[best]
        if math.isfinite(kept) and learned > 0 and kept < 0.5 * learned:
            yield Finding(
                "overfitting",
                f"of what was gained on the training rows only {100 * max(0.0, kept / learned):.0f} % holds on "
                "held-out rows: the network learns its rows by heart; give more rows, a narrower network, dropout, "
                "or a variant such as 'denoising'.",
            )


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} has" if len(names) == 1 else f"columns {shown} have"
