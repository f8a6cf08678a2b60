"""What every network must survive.

Axes: B samples of the batch, *spec.shape one sample.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from isthmus.checks.small import (
    N_COMPONENTS,
    PICTURE,
    SERIES,
    VECTOR,
    build,
    generator,
    largest_difference,
    samples,
    seeded,
    some_absent,
    train_shortly,
    with_needed,
    without_gradient,
)
from isthmus.checks.turning import check_turning
from isthmus.errors import DataError, SettingError
from isthmus.networks.base import EncoderDecoder, Network
from isthmus.part import find, known
from isthmus.spec import SampleSpec
from isthmus.variants.base import Variant


def checks(network: Network) -> Iterator[Callable[[Any], None]]:
    yield check_shapes
    yield check_activations_are_told
    yield check_every_parameter_gets_a_gradient
    yield check_absent_values_cannot_leak
    yield check_rows_are_independent
    yield check_one_row_trains
    yield check_weights_travel
    yield check_stages_undo_each_other
    yield check_numeric_arguments_turn
    yield check_every_variant_goes_with_it
    yield check_any_size_comes_back
    yield check_padding_changes_nothing
    if getattr(network, "tied", False):
        yield check_tied_halves_the_weights
        yield check_tied_stays_tied


def check_shapes(network: Network) -> None:
    """Wider features than the code too, as a distribution over codes needs."""
    spec = accepted_spec(network)
    for n_features in (N_COMPONENTS, 2 * N_COMPONENTS):
        module, x = _made(network, spec, n_features), samples(spec)
        features = module.encoder(x, None)
        given = (features.ndim - 1, features.shape[-1])
        assert given == (module.code_axes, n_features), (
            f"{network!r} gives features of shape {tuple(features.shape[1:])}."
        )
        raw = module.decoder(_code(features), None, x)
        assert raw.shape == x.shape, f"{network!r} decodes to shape {tuple(raw.shape)}; samples have {tuple(x.shape)}."


def check_activations_are_told(network: Network) -> None:
    """What looks inside the encoder gets the output of each layer, the features last."""
    spec = accepted_spec(network)
    activations: list[Tensor] = []
    features = _made(network, spec).eval().encoder(samples(spec), None, activations)
    assert activations, f"the encoder of {network!r} must append the output of its layers to `activations`."
    assert torch.equal(activations[-1], features), f"the last activation of {network!r} must be the features."


def check_every_parameter_gets_a_gradient(network: Network) -> None:
    spec = replace(accepted_spec(network), gaps=True)
    module, x = build((), network, spec=spec), samples(spec)
    with seeded(2):
        module.loss(x, some_absent(x), generator=generator()).backward()
    lost = without_gradient(module.named_parameters())
    assert not lost, f"in {network!r} no gradient reaches {', '.join(lost)}."


def check_absent_values_cannot_leak(network: Network) -> None:
    """What stands where the weight is zero changes neither the code nor the loss."""
    spec = replace(accepted_spec(network), gaps=True)
    module, x = build((), network, spec=spec).eval(), samples(spec)
    weight = some_absent(x)
    other = torch.where(weight > 0, x, 1e6)
    same = torch.equal(module.encode(x, weight), module.encode(other, weight))
    assert same, f"in {network!r} the code depends on values whose weight is zero."
    same = torch.equal(module.loss(x, weight), module.loss(other, weight))
    assert same, f"in {network!r} the loss depends on values whose weight is zero."


def check_rows_are_independent(network: Network) -> None:
    """Outside training, the code and the loss of a row do not depend on the other rows."""
    spec = accepted_spec(network)
    module, x = build((), network, spec=spec), samples(spec)
    with seeded(2):
        module.loss(x, generator=generator())  # gives running statistics something to remember
    module.eval()
    together = module.reconstruct(x)
    for row in range(len(x)):
        alone = module.reconstruct(x[row : row + 1])
        assert together.code is not None and alone.code is not None
        assert together.bound is not None and alone.bound is not None
        error = max(
            largest_difference(together.code[:, row], alone.code[:, 0]),
            largest_difference(together.bound[row], alone.bound[0]),
        )
        assert error < 1e-10, f"in {network!r} a row's code or loss depends on the other rows (by {error:.2g})."


def check_one_row_trains(network: Network) -> None:
    spec = accepted_spec(network)
    module = build((), network, spec=spec)
    with seeded(2):
        loss = module.loss(samples(spec)[:1], generator=generator())
        loss.backward()
    assert bool(torch.isfinite(loss)), f"{network!r} gives the loss {float(loss)} for a batch of one row."


def check_weights_travel(network: Network) -> None:
    """Through a state_dict, a copy and another number type the output stays."""
    spec = accepted_spec(network)
    module, x = _made(network, spec).eval(), samples(spec)
    expected = _pass(module, x)
    other = _made(network, spec, seed=1).eval()
    other.load_state_dict(module.state_dict())
    for how, travelled in (("a state_dict", other), ("a copy", copy.deepcopy(module))):
        same = torch.equal(_pass(travelled, x), expected)
        assert same, f"{network!r} gives another output after its weights went through {how}."
    error = largest_difference(_pass(copy.deepcopy(module).float().double(), x), expected)
    assert error < 1e-4, f"{network!r} gives another output (by {error:.2g}) after float32 and back."


def check_stages_undo_each_other(network: Network) -> None:
    """Pairs of layers from the outside in: the decoder's goes back to the shape that the encoder's came from."""
    spec = accepted_spec(network)
    module = _made(network, spec).eval()
    stages, given = module.stages(), list[Tensor]()
    hooks = [down.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for down, _ in stages]
    module.encoder(samples(spec), None)
    for hook in hooks:
        hook.remove()
    assert len(given) == len(stages), f"the encoder of {network!r} goes through {len(given)} of {len(stages)} stages."
    for depth, ((down, up), hidden) in enumerate(zip(stages, given, strict=True)):
        back = up(down(hidden))
        fits = back.shape == hidden.shape
        assert fits, (
            f"stage {depth} of {network!r} goes from {tuple(hidden.shape[1:])} back to {tuple(back.shape[1:])}."
        )


def check_numeric_arguments_turn(network: Network) -> None:
    spec = accepted_spec(network)

    def result(part: Network) -> list[Tensor]:
        module = _made(part, spec).train()
        with seeded(2):  # of dropout
            return [_pass(module, samples(spec)), *module.state_dict().values()]

    check_turning([network, *type(network).examples()], result)


def check_every_variant_goes_with_it(network: Network) -> None:
    """Each trains, reaches every weight, and leaves rows independent and absent values unheard."""
    spec = replace(accepted_spec(network), gaps=True)
    for name in known("variants"):
        variant = find("variants", name, Variant).examples()[0]
        assert isinstance(variant, Variant)
        module, x = build(with_needed(variant), network, spec=spec), samples(spec)
        weight = some_absent(x)
        with seeded(2):
            module.loss(x, weight, generator=generator()).backward()
        lost = without_gradient(module.named_parameters())
        assert not lost, f"in {network!r} with {name} no gradient reaches {', '.join(lost)}."
        module.zero_grad()
        losses = train_shortly(module, x)["loss"]
        assert all(map(math.isfinite, losses)), f"{network!r} with {name} has the losses {losses}."
        together, other = (module.reconstruct(rows, weight) for rows in (x, torch.where(weight > 0, x, 1e6)))
        alone = module.reconstruct(x[1:2], weight[1:2])
        assert together.bound is not None and other.bound is not None and alone.bound is not None
        error = largest_difference(together.bound[1:2], alone.bound)
        assert error < 1e-10, f"in {network!r} with {name} the loss of a row depends on the others (by {error:.2g})."
        error = largest_difference(together.bound, other.bound)
        assert error < 1e-10, f"in {network!r} with {name} the loss depends on values of weight zero (by {error:.2g})."


def check_any_size_comes_back(network: Network) -> None:
    """Odd, one thin, and a single element."""
    spec = accepted_spec(network)
    for sizes in ((1, 1), (1, 7), (7, 4)) if len(spec.shape) > 1 else ():
        own = replace(spec, shape=_resized(spec, sizes))
        x = samples(own, n_rows=3)
        raw = _pass(_made(network, own).eval(), x)
        assert raw.shape == x.shape, f"{network!r} gives samples of shape {tuple(x.shape[1:])} back as {raw.shape[1:]}."


def check_padding_changes_nothing(network: Network) -> None:
    """A sample that is padded with weight 0 to the length of others has the loss and the output that it has alone."""
    spec = accepted_spec(network)
    free = tuple(axis for axis in range(len(spec.shape)) if axis != spec.channels)
    if not free:
        return
    try:
        module = build((), network, spec=replace(spec, free=free)).eval()
    except SettingError:
        return  # it takes one size only, and says so
    real = samples(replace(spec, shape=_resized(spec, (5, 6))), n_rows=2)
    inside = tuple(map(slice, real.shape))
    x = torch.full((2, *spec.shape), 100.0, dtype=torch.float64)
    weight = torch.zeros_like(x)
    x[inside], weight[inside] = real, 1.0
    alone, padded = module.reconstruct(real, torch.ones_like(real)), module.reconstruct(x, weight)
    assert alone.bound is not None and padded.bound is not None and alone.output and padded.output
    error = max(
        largest_difference(alone.bound, padded.bound),
        largest_difference(alone.output.mean[0], padded.output.mean[0][inside]),
    )
    assert error < 1e-10, f"in {network!r} padding changes the loss or the output (by {error:.2g})."


def check_tied_halves_the_weights(network: Network) -> None:
    """Biases aside, within 2 %."""
    spec = accepted_spec(network)
    loose = type(network)(**(network.get_params(deep=False) | {"tied": False}))
    counts = [sum(p.numel() for p in _made(part, spec).parameters() if p.ndim > 1) for part in (network, loose)]
    share = counts[0] / counts[1]
    assert abs(share - 0.5) < 0.01, (
        f"{network!r} has {counts[0]} weights and untied {counts[1]}: a share of {share:.3f}."
    )


def check_tied_stays_tied(network: Network) -> None:
    """In a copy, in another number type and after loading, the decoder still follows the encoder's weights."""
    spec = accepted_spec(network)
    module = _made(network, spec).eval()
    loaded = _made(network, spec, seed=1).eval()
    loaded.load_state_dict(module.state_dict())
    code = torch.ones(2, N_COMPONENTS, dtype=torch.float64)
    ways = {
        "a copy": copy.deepcopy(module),
        "float32 and back": copy.deepcopy(module).float().double(),
        "loading": loaded,
    }
    untouched = module.decoder(code, None, None)
    for how, travelled in ways.items():
        before = travelled.decoder(code, None, None)
        with torch.no_grad():
            for parameter in travelled.encoder.parameters():
                parameter.mul_(1.5)
        moved = largest_difference(before, travelled.decoder(code, None, None))
        assert moved > 1e-6, f"after {how} the decoder of {network!r} no longer follows its encoder's weights."
    same = torch.equal(untouched, module.decoder(code, None, None))
    assert same, f"copies of {network!r} still share weights with what they were made from."


def accepted_spec(network: Network) -> SampleSpec:
    """The first shape of samples that this network is for."""
    refusals = []
    for spec in (VECTOR, SERIES, PICTURE):
        try:
            _pass(_made(network, spec), samples(spec))
        except (SettingError, DataError, RuntimeError) as error:
            refusals.append(str(error))
            continue
        return spec
    raise AssertionError(f"{network!r} refuses vectors, series and pictures alike: {' | '.join(refusals)}")


def _resized(spec: SampleSpec, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a sample with other sizes along the axes that are no channels."""
    left = iter(sizes)
    return tuple(size if axis == spec.channels else next(left) for axis, size in enumerate(spec.shape))


def _made(network: Network, spec: SampleSpec, n_features: int = N_COMPONENTS, seed: int = 0) -> EncoderDecoder:
    with seeded(seed):
        return network.build(spec, n_features, N_COMPONENTS, spec.n_channels).double()


def _pass(module: EncoderDecoder, x: Tensor) -> Tensor:
    raw: Tensor = module.decoder(_code(module.encoder(x, None)), None, x)
    return raw


def _code(features: Tensor) -> Tensor:
    return features[..., :N_COMPONENTS]
