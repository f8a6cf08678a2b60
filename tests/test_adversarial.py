"""A critic beside the autoencoder: each minimises its own loss, in one loop, and a stopped run goes on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import SettingError, TrainingWarning
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Checkpoint, EpochReport, History, Training, train
from isthmus.training.optimizers import Optimizer
from isthmus.variants import Adversarial, Wasserstein

pytestmark = pytest.mark.slow

CODE, SAMPLE = Adversarial(width=6), Adversarial(on="sample", width=6, matching=0.3)
TANH = Dense(widths=(7,), activation="tanh")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def module_of(
    variants: Any = (), n_components: int = 2, network: Any = TANH, shape: tuple[int, ...] = (5,), **spec: Any
) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = AutoencoderModule(SampleSpec(shape, **spec), n_components, network, "normal", variants)
        return made.double()


def fit(module: nn.Module, x: Tensor, bf16: bool = False, **settings: Any) -> History:
    training = Training(**(dict(max_epochs=4, batch_size=16, learning_rate=1e-2, validation=0.2) | settings))
    return train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), training, bf16=bf16)


def own(module: AutoencoderModule) -> Adversarial:
    found = module.variants[-1]
    assert isinstance(found, Adversarial)
    return found


def halves(module: AutoencoderModule) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The autoencoder's parameters and the critic's."""
    return list(module.network.parameters()), list(own(module).adversary())


# ---- whose gradient is whose


def told_apart(module: AutoencoderModule, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of the pass, and by hand: what the autoencoder minimises (without the distortion) and the critic's loss,
    as functions of one set of weights."""
    done = module.penalise(module.reconstruct(x, generator=generator(seed)))
    variant = own(module)
    assert done.code is not None and done.output is not None
    if variant.on == "code":
        made = done.code[0]
        real = torch.randn(made.shape, generator=generator(seed), dtype=made.dtype)
    else:
        made, real = done.output.mean[0], done.target
    critic = variant.trained
    assert critic is not None
    found_out, inside = critic(made)
    fooling = variant.weight * functional.softplus(-found_out).mean()
    fooling = fooling + variant.matching * 0.5 * (inside - critic(real)[1]).flatten(1).square().sum(1).mean()
    at = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(at)[0].sum(), at, create_graph=True)
    loss = functional.softplus(-critic(real)[0]).mean() + functional.softplus(critic(made.detach())[0]).mean()
    rough = 0.5 * variant.smoothness * slope.flatten(1).square().sum(1).mean()
    return done.loss, fooling, loss + rough


@pytest.mark.parametrize("variant", [CODE, SAMPLE], ids=repr)
def test_one_backward_pass_gives_each_side_the_gradient_of_its_own_loss(variant: Adversarial) -> None:
    x, module = random(12, 5), module_of(variant)
    loss, fooling, critics = told_apart(module, x)
    bound = module.reconstruct(x, generator=generator()).bound
    assert bound is not None
    torch.testing.assert_close(loss, bound.mean() + fooling)  # the critic's own loss is no part of the value
    autoencoder, critic = halves(module)
    found = torch.autograd.grad(loss, [*autoencoder, *critic], retain_graph=True)
    wanted = [
        *torch.autograd.grad(bound.mean() + fooling, autoencoder, retain_graph=True),
        *torch.autograd.grad(critics, critic),
    ]
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("variant", [CODE, SAMPLE], ids=repr)
def test_the_critics_gradient_is_the_slope_of_its_loss_by_finite_differences(variant: Adversarial) -> None:
    x, module = random(12, 5), module_of(variant)
    _, critic = halves(module)
    loss = module.loss(x, generator=generator())
    slopes = torch.autograd.grad(loss, critic)
    for parameter, slope in zip(critic, slopes, strict=True):
        direction = torch.randn(parameter.shape, generator=generator(7), dtype=torch.float64)
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(step * direction)
            values.append(float(told_apart(module, x)[2].detach()))
            with torch.no_grad():
                parameter.sub_(step * direction)
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float((slope * direction).sum()), rel=1e-5, abs=1e-9)


class OneSide(Optimizer):
    """Plain steps for the first of the optimizers that are built, or the second; the other stands still.

    Parameters
    ----------
    moves : which of them.
    built : how many were built before.
    """

    def __init__(self, moves: int = 0, built: list[int] | None = None):
        self.moves = moves
        self.built = built

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> Any:
        assert self.built is not None
        self.built.append(len(self.built))
        optimizer = torch.optim.SGD(list(parameters), learning_rate)
        if self.built[-1] != self.moves:
            optimizer.step = lambda closure=None: None  # type: ignore[method-assign,assignment]
        return optimizer


@pytest.mark.parametrize("variant", [CODE, SAMPLE], ids=repr)
@pytest.mark.parametrize("moves", [0, 1])
def test_a_step_of_one_side_leaves_the_other_alone(variant: Adversarial, moves: int) -> None:
    module = module_of(variant)
    before = [[parameter.detach().clone() for parameter in half] for half in halves(module)]
    fit(module, random(40, 5), optimizer=OneSide(moves, []), clip=1.0)
    moved = [
        [not torch.equal(parameter, then) for parameter, then in zip(half, was, strict=True)]
        for half, was in zip(halves(module), before, strict=True)
    ]
    assert all(moved[moves]) and not any(moved[1 - moves])


def test_the_limit_on_gradients_is_each_sides_own() -> None:
    """A steep critic does not shorten the autoencoder's steps, and the other way round."""
    x, steps = random(16, 5), []
    for smoothness in (0.0, 1e6):
        module = module_of(Adversarial(width=6, smoothness=smoothness))
        before = [parameter.detach().clone() for parameter in halves(module)[0]]
        fit(module, x, max_epochs=1, optimizer=OneSide(0, []), clip=1e-3, validation=0.0)
        steps.append([parameter.detach() - then for parameter, then in zip(halves(module)[0], before, strict=True)])
    for first, second in zip(*steps, strict=True):
        torch.testing.assert_close(first, second)


# ---- what it is for


def test_codes_of_all_samples_come_to_look_like_the_prior() -> None:
    x = random(600, 2, seed=3).abs() @ random(2, 6, seed=4) + 0.05 * random(600, 6, seed=5)
    far = []
    for variants in ((), Adversarial(weight=2.0)):
        module = module_of(variants, 2, Dense(widths=(32,)), (6,))
        fit(module, x, max_epochs=100, batch_size=100, learning_rate=5e-3, validation=0.0)
        with torch.no_grad():
            far.append(float(Wasserstein().discrepancy(module.encode(x), random(600, 2, seed=6))))
    assert far[1] < 0.15 and far[1] < 0.3 * far[0]


def test_the_history_tells_the_critics_loss_beside_the_terms() -> None:
    history = fit(module_of([CODE, SAMPLE]), random(40, 5))
    for name in ("critic_code", "critic_sample", "validation_critic_code", "validation_critic_sample"):
        assert len(history[name]) == 4 and all(0 < value < 10 for value in history[name])
    for epoch in history:
        for terms in (epoch.training, epoch.validation):
            assert terms["loss"] == pytest.approx(terms["distortion"] + terms["adversarial"])
    blind = module_of(Adversarial(width=6))
    for parameter in halves(blind)[1]:
        nn.init.zeros_(parameter)
    done = blind.penalise(blind.reconstruct(random(12, 5), generator=generator()))
    assert float(done.terms()["critic_code"]) == pytest.approx(2 * math.log(2))
    assert float(done.penalties["adversarial"].detach()) == pytest.approx(math.log(2))


def test_a_critic_of_samples_looks_at_pictures_and_steps_of_any_size() -> None:
    pictures, steps = random(6, 2, 9, 7), random(6, 11, 3)
    module = module_of(SAMPLE, 2, Conv(channels=(4, 5), code="grid"), (2, 9, 7), free=(1, 2))
    for x in (pictures, pictures[..., :5]):
        loss = module.loss(x, torch.ones_like(x), generator=generator())
        assert bool(torch.isfinite(loss))
    critic = Adversarial(on="sample", width=6).build(SampleSpec((11, 3), channels=1), 2)
    assert critic is not None
    told, inside = critic.double()(steps)
    assert told.shape == (6,) and inside.shape == (6, 6, 2)
    alone = critic(steps[:1])[0]
    torch.testing.assert_close(alone, told[:1])


def test_a_critic_of_samples_does_not_see_what_is_absent() -> None:
    x, weight, losses = random(12, 5), (random(12, 5, seed=1) > -0.5).double(), []
    for filler in (0.0, 50.0):
        module = module_of(SAMPLE, gaps=True)
        given = torch.where(weight > 0, x, filler)
        losses.append(float(module.loss(given, weight, generator=generator()).detach()))
    assert losses[0] == losses[1]


def test_every_sample_of_a_code_is_examined() -> None:
    """With a variational code of several samples, codes and outputs count once each."""
    x = random(12, 5)
    for variant in (CODE, SAMPLE):
        module = module_of(["variational(samples=3)", variant])
        loss = module.loss(x, generator=generator())
        loss.backward()
        assert all(parameter.grad is not None for half in halves(module) for parameter in half)
    module = module_of(["variational(samples=3)", SAMPLE])
    done = module.penalise(module.reconstruct(x, generator=generator()))
    assert done.output is not None
    critic = own(module).trained
    assert critic is not None
    told, inside = critic(done.output.mean) if done.output.mean.ndim == 2 else critic(done.output.mean.flatten(0, 1))
    unlike = inside - critic(x)[1].repeat(3, 1)
    expected = functional.softplus(-told).mean() + 0.3 * 0.5 * unlike.square().sum(1).mean()
    torch.testing.assert_close(done.penalties["adversarial"], expected)


# ---- in the loop


class StopAt:
    """Ctrl-C at the end of an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def __call__(self, report: EpochReport) -> None:
        if report.epoch.number == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "variants",
    [
        CODE,
        [SAMPLE, "variational"],
        "wasserstein",
        "neighbours(n_neighbors=3, most_rows=20)",
        "orthogonal",
        "contractive",
    ],
    ids=repr,
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, variants: Any) -> None:
    x, path = random(40, 5), tmp_path / "run"
    network = Dense(widths=(7,), normalisation="batch")
    settings: dict[str, Any] = {"max_epochs": 5, "ema": 0.9, "clip": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        fit(
            module_of(variants, network=network),
            x,
            checkpoint=Checkpoint(path, every=0.0),
            callbacks=[StopAt(2)],
            **settings,
        )
    assert path.exists()
    resumed, whole = module_of(variants, network=network), module_of(variants, network=network)
    told = fit(resumed, x, checkpoint=Checkpoint(path, every=0.0), **settings), fit(whole, x, **settings)
    assert [epoch.training for epoch in told[0]] == [epoch.training for epoch in told[1]]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("variant", [CODE, SAMPLE, "contractive(probes=1)", "neighbours(n_neighbors=3)"], ids=repr)
def test_products_in_bfloat16_leave_the_critic_in_float32(variant: Any) -> None:
    x, moved = random(40, 5).float(), []
    for bf16 in (False, True):
        module = module_of(variant).float()
        history = fit(module, x, bf16=bf16, max_epochs=6)
        assert history["loss"][-1] < history["loss"][0]
        assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
        moved.append(history["loss"][-1])
    assert moved[0] != moved[1] and moved[1] == pytest.approx(moved[0], rel=0.05)


def test_what_the_critic_cannot_look_at_is_refused() -> None:
    with pytest.raises(SettingError, match="on of adversarial is 'output'"):
        module_of(Adversarial(on="output"))
    with pytest.raises(SettingError, match="matching goes with on='sample'"):
        module_of(Adversarial(matching=0.5))
