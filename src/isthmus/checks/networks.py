"""What every network must survive.

Axes: B samples of the batch, *spec.shape one sample.
"""

from __future__ import annotations

import copy
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
    without_gradient,
)
from isthmus.checks.turning import check_turning
from isthmus.errors import DataError, SettingError
from isthmus.networks.base import EncoderDecoder, Network
from isthmus.spec import SampleSpec


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
    """Pairs of layers from the outside in: the decoder's goes back to the width that the encoder's came from."""
    spec = accepted_spec(network)
    module = _made(network, spec).eval()
    hidden = samples(spec)
    for depth, (down, up) in enumerate(module.stages()):
        if depth == 0 and module.code_axes == 1:
            hidden = hidden.flatten(1)
        inner = down(hidden)
        back = up(inner)
        fits = back.shape == hidden.shape
        assert fits, (
            f"stage {depth} of {network!r} goes from {tuple(hidden.shape[1:])} back to {tuple(back.shape[1:])}."
        )
        hidden = inner


def check_numeric_arguments_turn(network: Network) -> None:
    spec = accepted_spec(network)

    def result(part: Network) -> list[Tensor]:
        module = _made(part, spec).train()
        with seeded(2):  # of dropout
            return [_pass(module, samples(spec)), *module.state_dict().values()]

    check_turning([network, *type(network).examples()], result)


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


def _made(network: Network, spec: SampleSpec, n_features: int = N_COMPONENTS, seed: int = 0) -> EncoderDecoder:
    with seeded(seed):
        return network.build(spec, n_features, N_COMPONENTS, spec.n_channels).double()


def _pass(module: EncoderDecoder, x: Tensor) -> Tensor:
    raw: Tensor = module.decoder(_code(module.encoder(x, None)), None, x)
    return raw


def _code(features: Tensor) -> Tensor:
    return features[..., :N_COMPONENTS]
