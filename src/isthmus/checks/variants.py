"""What every variant must survive: it changes its own station, all of it, only there, and only when it should.

Axes: S samples of the code, B samples of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import (
    N_COMPONENTS,
    build,
    generator,
    largest_difference,
    prepared,
    samples,
    seeded,
    some_absent,
    train_shortly,
    with_needed,
    without_gradient,
)
from isthmus.checks.turning import check_turning
from isthmus.module import AutoencoderModule
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Variant


def checks(variant: Variant) -> Iterator[Callable[[Any], None]]:
    yield check_neutral_equals_plain if variant.neutral() is not None else check_exact_limit_is_named
    yield check_numeric_arguments_turn
    yield check_every_parameter_gets_a_gradient
    yield check_loss_goes_down
    yield check_prediction_is_deterministic
    yield check_rows_are_independent
    yield check_absent_values_cannot_leak
    yield check_training_repeats
    yield check_a_pass_changes_no_weight
    yield check_rate_enters_the_loss
    yield check_one_row_trains
    if variant.changes("build"):
        yield check_what_is_built_is_trained
    if variant.changes("corrupt"):
        yield check_corrupts_only_in_training
    if variant.changes("penalty"):
        yield check_penalty_enters_the_loss
    if variant.changes("merge"):
        yield check_merge_of_equals
    if build(with_needed(variant)).draw_codes((1, N_COMPONENTS), generator()) is not None:
        yield check_rate_tells_the_code_from_the_prior
        yield check_codes_are_drawn


def check_neutral_equals_plain(variant: Variant) -> None:
    """At zero strength, the same short training run gives the same losses, weights and outputs, to 1e-12."""
    neutral = variant.neutral()
    assert neutral is not None
    plain, other = build(variant.requires), build(with_needed(neutral))
    x = samples()
    losses = [torch.tensor(train_shortly(module, x)["loss"]) for module in (plain, other)]
    error = largest_difference(*losses)
    assert error <= 1e-12, f"{neutral!r} must train as the plain autoencoder does; its losses differ by {error:.2g}."
    weights = other.state_dict()
    for name, weight in plain.state_dict().items():
        error = largest_difference(weight, weights[name])
        assert error <= 1e-12, (
            f"{neutral!r} must train to the plain autoencoder's weights; {name} differs by {error:.2g}."
        )
    error = largest_difference(_output(plain, x), _output(other, x))
    assert error <= 1e-12, f"{neutral!r} must give the plain autoencoder's output; it differs by {error:.2g}."


def check_exact_limit_is_named(variant: Variant) -> None:
    text = variant.exact_limit.strip()
    assert text, f"{variant!r} has no neutral form, so `exact_limit` must say what holds exactly instead."


def check_numeric_arguments_turn(variant: Variant) -> None:
    def result(part: Variant) -> list[Tensor]:
        module = build(with_needed(part))
        history = train_shortly(module, samples())
        return [torch.tensor(history["loss"]), *module.state_dict().values(), _output(module, samples())]

    check_turning([variant, *type(variant).examples()], result)


def check_every_parameter_gets_a_gradient(variant: Variant) -> None:
    module = build(with_needed(variant))
    module.loss(samples(), generator=generator()).backward()
    lost = without_gradient(module.named_parameters())
    assert not lost, f"with {variant!r} no gradient reaches {', '.join(lost)}."


def check_loss_goes_down(variant: Variant) -> None:
    """Under the same corruption and draws; what an adversary of its own works against may rise."""
    module = build(with_needed(variant))
    before = _mean_loss(module)
    losses = train_shortly(module, samples())["loss"]
    assert all(map(math.isfinite, losses)), f"with {variant!r} the loss is not finite: {losses}."
    after = _mean_loss(prepared(module.train()))
    fell = after < before or bool(module.adversaries())
    assert fell, f"with {variant!r} training raises the loss, from {before:.4g} to {after:.4g}."


def check_prediction_is_deterministic(variant: Variant) -> None:
    """Without a generator nothing is drawn, corrupted or remembered."""
    module, x = build(with_needed(variant)).eval(), samples()
    before = torch.get_rng_state()
    first = _prediction(module, x)
    module.loss(x)
    assert torch.equal(torch.get_rng_state(), before), f"{variant!r} draws random numbers at prediction."
    with seeded(9):
        second = _prediction(module, x)
    same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert same, f"{variant!r} predicts differently the second time: its code must not be sampled outside training."
    encoded = module.encode(x)
    assert torch.equal(first[0][0], encoded), f"with {variant!r} the code of a pass is not the one that `encode` gives."


def check_rows_are_independent(variant: Variant) -> None:
    """Outside training, the code and the loss of a row do not depend on the other rows."""
    module, x = build(with_needed(variant)), samples()
    weight = some_absent(x)
    module.loss(x, weight, generator=generator())  # a training pass, so that what remembers has something to remember
    module.eval()
    together = _prediction(module, x, weight)
    for row in range(len(x)):
        alone = _prediction(module, x[row : row + 1], weight[row : row + 1])
        error = max(
            largest_difference(together[0][:, row], alone[0][:, 0]),
            largest_difference(together[1][row], alone[1][0]),
        )
        assert error < 1e-10, f"with {variant!r} a row's code or loss depends on the other rows (by {error:.2g})."


def check_absent_values_cannot_leak(variant: Variant) -> None:
    """What stands where the weight is zero changes neither the loss nor what is remembered, in training and outside."""
    module, x = build(with_needed(variant)), samples()
    weight = some_absent(x)
    other = torch.where(weight > 0, x, 100.0)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    for random in (generator, lambda: None):
        module.train(random is generator)
        results = []
        for rows in (x, other):
            module.load_state_dict(start)  # what the first pass remembered would change the second
            loss = module.loss(rows, weight, generator=random())
            results.append([loss, *(value.clone() for value in module.state_dict().values())])
        error = max(largest_difference(first, second) for first, second in zip(*results, strict=True))
        assert error < 1e-10, f"with {variant!r} values of weight zero change the loss or its memory (by {error:.2g})."


def check_training_repeats(variant: Variant) -> None:
    """All randomness of a pass comes from its generator: the same seed gives the same, whatever torch's own state."""
    x, results = samples(), []
    for torch_seed, seed in ((0, 5), (1, 5)):
        module = build(with_needed(variant))
        with seeded(torch_seed):
            loss = module.loss(x, generator=generator(seed))
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    same = all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert same, f"a training pass with {variant!r} must take all its random numbers from the pass's generator."


def check_a_pass_changes_no_weight(variant: Variant) -> None:
    """Weights outside its own built module, and the samples, stay as they are until the optimizer steps."""
    module, x = build(with_needed(variant)), samples()
    weight, target = some_absent(x), samples(seed=4)
    given = [x, weight, target]
    before = [tensor.clone() for tensor in given]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    module.loss(x, weight, target=target, generator=generator())
    same = all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert same, f"{variant!r} changes the samples, their weight or their target in place."
    own = "built."
    touched = [n for n, v in module.state_dict().items() if not n.startswith(own) and not torch.equal(v, weights[n])]
    assert not touched, f"a pass with {variant!r} changes weights that are not its own: {', '.join(touched)}."


def check_rate_enters_the_loss(variant: Variant) -> None:
    """Without a merge, the loss before penalties is the mean of distortion and rate, and a rate is not negative."""
    module, x = build(with_needed(variant)), samples()
    done = module.reconstruct(x, generator=generator())
    assert done.distortion is not None and done.bound is not None and done.code is not None
    if isinstance(done.rate, Tensor):
        shape = tuple(done.rate.shape)
        assert shape == done.code.shape[:2], f"{variant!r} gives a rate of shape {shape}; it must be (S, B)."
    if not any(part.changes("merge") for part in module.variants):
        error = largest_difference(done.bound.mean(), (done.distortion + done.rate).mean())
        assert error < 1e-10, f"with {variant!r} the loss is not distortion plus rate (off by {error:.2g})."
        # one that is sampled may be negative by chance, but not on average
        again = module.reconstruct(x, generator=generator(1)).rate
        sampled = not torch.equal(torch.as_tensor(done.rate), torch.as_tensor(again))
        rate = torch.as_tensor(done.rate).detach()
        negative = float(rate.mean() if sampled else rate.min())
        assert negative >= -1e-12, f"{variant!r} gives a negative rate ({negative:.2g} nats)."


def check_one_row_trains(variant: Variant) -> None:
    module = build(with_needed(variant))
    loss = module.loss(samples()[:1], generator=generator())
    assert bool(torch.isfinite(loss)), f"with {variant!r} a batch of one row has the loss {float(loss)}."


def check_what_is_built_is_trained(variant: Variant) -> None:
    """Every trainable parameter that it builds moves; where there is none, something else that it built does."""
    module = build(with_needed(variant))
    if not len(module.built):
        return
    before = {name: value.clone() for name, value in module.built.state_dict().items()}
    train_shortly(module, samples())
    moved = {name for name, value in module.built.state_dict().items() if not torch.equal(value, before[name])}
    trainable = {name for name, parameter in module.built.named_parameters() if parameter.requires_grad}
    still = sorted(trainable - moved)
    assert not still, f"nobody trains what {variant!r} built: {', '.join(still)} stayed as it was."
    assert moved, f"nobody trains what {variant!r} built: nothing of it changed in training."


def check_corrupts_only_in_training(variant: Variant) -> None:
    module, x = build(with_needed(variant)), samples()
    weight = some_absent(x)
    x = x * weight  # the encoder is shown zero where a value is absent
    quiet = module.eval().reconstruct(x, weight)
    assert not _changed(quiet, x, weight), f"{variant!r} changes what the encoder is shown outside training."
    loud = module.train().reconstruct(x, weight, generator=generator())
    assert _changed(loud, x, weight), f"{variant!r} corrupts nothing in training."


def check_penalty_enters_the_loss(variant: Variant) -> None:
    """The loss is distortion and rate plus the penalty; the penalty is not zero, and a gradient comes from it."""
    module, x = build(with_needed(variant)), samples()
    done = module.penalise(module.reconstruct(x, generator=generator()))
    penalty = done.penalties.get(variant.name())
    assert penalty is not None and done.bound is not None, f"{variant!r} has a penalty that nobody asked for."
    loss = module.loss(x, generator=generator())
    error = largest_difference(loss - done.bound.mean(), torch.stack(list(done.penalties.values())).sum())
    assert error < 1e-10, f"the penalty of {variant!r} is not added to the loss (off by {error:.2g})."
    assert bool(penalty != 0), f"the penalty of {variant!r} is zero; an example must ask for something."
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(penalty, parameters, allow_unused=True) if penalty.requires_grad else []
    felt = any(gradient is not None and bool((gradient != 0).any()) for gradient in found)
    assert felt, f"no parameter feels the penalty of {variant!r}."


def check_merge_of_equals(variant: Variant) -> None:
    """One sample of the code is itself, many equal ones count as one, and their order does not matter."""
    weights = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    one, equal = variant.merge(weights[:1]), variant.merge(weights[:1].expand(4, -1))
    error = max(largest_difference(one, -weights[0]), largest_difference(equal, -weights[0]))
    assert error < 1e-12, f"{variant!r} merges equal samples into something else (off by {error:.2g})."
    error = largest_difference(variant.merge(weights), variant.merge(weights.flip(0)))
    assert error < 1e-12, f"what {variant!r} merges depends on the order of the samples (by {error:.2g})."


def check_rate_tells_the_code_from_the_prior(variant: Variant) -> None:
    """Where the code of a row is a law and there is a prior, every row that is far from the prior pays for it."""
    own = build(with_needed(variant)).variants[-1]
    shape = (40, own.n_features(N_COMPONENTS))
    features = (3 * torch.randn(shape, generator=generator(), dtype=torch.float64)).requires_grad_()
    code, rate = _bottleneck(own, features, seed=1)
    if torch.equal(code, _bottleneck(own, features, seed=2)[0]):
        return  # one value, not a law: its rate may be the same for all
    rates = [torch.as_tensor(_bottleneck(own, features, seed)[1]).detach() for seed in range(50)]  # it may be sampled
    paid = isinstance(rate, Tensor) and bool((torch.cat(rates).mean(0) > 0).all())
    assert paid, f"{variant!r} gives codes far from the prior for nothing: their rate is zero."
    assert isinstance(rate, Tensor) and rate.requires_grad, f"no gradient comes from the rate of {variant!r}."
    (gradient,) = torch.autograd.grad(rate.sum(), features)
    felt = bool((gradient.abs().sum(1) > 0).all())
    assert felt, f"the rate of {variant!r} does not change with the code: nothing draws it to the prior."


def check_codes_are_drawn(variant: Variant) -> None:
    module = build(with_needed(variant))
    draws = [module.draw_codes((50, N_COMPONENTS), generator(seed)) for seed in (0, 0, 1)]
    shape = (50, N_COMPONENTS)
    drawn = [draw for draw in draws if draw is not None and draw.shape == shape]
    assert len(drawn) == 3, f"{variant!r} must draw codes of the shape that it is asked for, {shape}."
    assert torch.equal(drawn[0], drawn[1]), f"{variant!r} must draw codes from the generator it is given."
    assert not torch.equal(drawn[0], drawn[2]), f"{variant!r} draws the same codes from every generator."


@torch.no_grad()
def _mean_loss(module: AutoencoderModule) -> float:
    """Of some stochastic passes."""
    return float(torch.stack([module.loss(samples(), generator=generator(seed)) for seed in range(8)]).mean())


def _prediction(module: AutoencoderModule, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Code (S, B, n), bound (B,) and mean (S, B, ...) of a deterministic pass."""
    with torch.no_grad():
        done = module.reconstruct(x, weight)
    assert done.code is not None and done.bound is not None and done.output is not None
    return done.code, done.bound, done.output.mean


def _output(module: AutoencoderModule, x: Tensor) -> Tensor:
    return _prediction(module.eval(), x)[2]


def _changed(done: Reconstruction, x: Tensor, weight: Tensor) -> bool:
    pairs = ((done.seen, x), (done.target, x), (done.weight, weight), (done.seen_weight, weight))
    return not all(now is not None and torch.equal(now, then) for now, then in pairs)


def _bottleneck(variant: Variant, features: Tensor, seed: int) -> tuple[Tensor, Tensor | float]:
    x = samples(n_rows=len(features))
    return variant.bottleneck(features, Reconstruction(build().spec, x, None, x, None, x, generator(seed)))
