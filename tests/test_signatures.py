"""Every way into the centre is used once, with a small part of the test's own: also what only later parts need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from isthmus.checks.small import VECTOR, build, generator, largest_difference, samples, seeded, some_absent
from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.networks.base import EncoderDecoder, Network, mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import Batch, History, Training, train
from isthmus.training.optimizers import Optimizer
from isthmus.variants import Masked, TopK, Variational
from isthmus.variants.base import Pass, Variant

RUN = Training(max_epochs=60, batch_size=8, learning_rate=0.02, validation=0.0)


def fit(module: nn.Module, *tensors: Tensor | None, training: Training = RUN) -> History:
    def batches(rows: Any) -> Batch:
        return Batch(*(None if tensor is None else tensor[torch.as_tensor(rows)] for tensor in tensors))

    x = tensors[0]
    assert x is not None
    with seeded(0):
        return train(module, batches, len(x), training)


# ---- pairs: what is shown and what is asked for


def test_a_pair_is_held_against_its_target() -> None:
    x, target = samples(), samples(seed=8)
    module = build().eval()
    done = module.reconstruct(x, target=target)
    assert done.output is not None and done.distortion is not None
    torch.testing.assert_close(done.distortion[0], done.output.nll(target)[0].sum(1))
    assert torch.equal(done.target, target) and torch.equal(done.seen, x)
    torch.testing.assert_close(module.loss(x, target=target), done.distortion.mean())


def test_training_on_pairs_learns_the_target() -> None:
    x = samples(n_rows=60)
    target = -x.flip(1)
    module = build()
    fit(module, x, None, target)
    output = module.decode(module.encode(x)).mean.detach()
    to_target, to_input = (float((output - other).square().mean()) for other in (target, x))
    assert to_target < 0.3 * float(target.var()) < to_input


def test_what_the_encoder_is_shown_may_be_given() -> None:
    x, seen = samples(), samples(seed=8)
    module = build().eval()
    done = module.reconstruct(x, seen=seen)
    assert done.code is not None and torch.equal(done.code[0], module.encode(seen)) and torch.equal(done.target, x)


# ---- free axes: samples of different length, padded, with weight 0 on the padding


class Steps(Network):
    """A code from the mean over the steps that are there, and a sample as long as the weight says.

    corrupt → ENCODER → bottleneck → DECODER → likelihood
    """

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        module = EncoderDecoder()
        module.encoder = _StepsEncoder(spec.n_channels, n_features)
        module.decoder = _StepsDecoder(n_components, n_parameters, spec.shape[0])
        return module


class _StepsEncoder(nn.Module):
    def __init__(self, n_channels: int, n_features: int):
        super().__init__()
        self.inner, self.outer = nn.Linear(n_channels, 6), nn.Linear(6, n_features)

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        there = torch.ones_like(x[..., :1]) if weight is None else (weight > 0).to(x).amax(-1, keepdim=True)
        hidden = torch.tanh(self.inner(mask_absent(x, weight))) * there  # (B, steps, 6)
        features: Tensor = self.outer(hidden.sum(1) / there.sum(1).clamp_min(1))
        if activations is not None:
            activations.extend([hidden, features])
        return features


class _StepsDecoder(nn.Module):
    def __init__(self, n_components: int, n_parameters: int, longest: int):
        super().__init__()
        self.longest = longest
        self.inner, self.outer = nn.Linear(n_components + 1, 6), nn.Linear(6, n_parameters)

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        n_steps = self.longest if weight is None else weight.shape[1]
        place = torch.arange(n_steps).to(code)[None, :, None].expand(len(code), -1, -1) / self.longest
        repeated = code[:, None].expand(-1, n_steps, -1)
        out: Tensor = self.outer(torch.tanh(self.inner(torch.cat([repeated, place], -1))))
        return out


SERIES = SampleSpec((9, 2), channels=1, free=(0,))


def padded(x: Tensor, lengths: Tensor, longest: int, filler: float) -> tuple[Tensor, Tensor]:
    """The first steps of each sample, padded to one length."""
    there = (torch.arange(longest) < lengths[:, None])[..., None].expand(-1, -1, x.shape[2])
    return torch.where(there, x[:, :longest], filler), there.to(x)


@pytest.mark.parametrize("variants", [(), ("denoising",), ("variational",)])
def test_the_length_of_the_padding_changes_neither_code_nor_loss(variants: tuple[str, ...]) -> None:
    lengths = torch.tensor([3, 5, 2, 4])
    long = samples(SERIES, n_rows=4)
    module = build(variants, Steps(), spec=SERIES).eval()
    codes, losses = [], []
    for longest, filler in ((5, 0.0), (9, 7.0)):
        x, weight = padded(long, lengths, longest, filler)
        done = module.reconstruct(x, weight)
        assert done.code is not None and done.bound is not None
        codes.append(done.code)
        losses.append(done.bound)
    assert largest_difference(*codes) < 1e-12
    assert largest_difference(*losses) < 1e-12


def test_samples_of_different_length_train() -> None:
    x, weight = padded(samples(SERIES), torch.arange(24) % 8 + 2, 9, 0.0)
    module = build((), Steps(), spec=SERIES)
    history = fit(module, x, weight)
    assert history["loss"][-1] < history["loss"][0]


# ---- adversary: a critic with an optimizer of its own, one backward pass


class _Reversed(torch.autograd.Function):
    """The same value, and the gradient the other way round: what the critic lowers, the encoder raises."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class Critic(Variant):
    """A critic learns to tell codes from normal draws, and the encoder learns to fool it.

    corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY
    """

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), nn.Linear(8, 1))

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor:
        assert reconstruction.code is not None and self.trained is not None
        code = reconstruction.code[0]
        drawn = torch.randn(code.shape, generator=reconstruction.generator, dtype=code.dtype)
        softplus = nn.functional.softplus
        # cross-entropy of "drawn from the prior": the critic lowers it, the encoder raises it
        return (softplus(-self.trained(drawn)) + softplus(self.trained(_Reversed.apply(code)))).squeeze(-1)

    def adversary(self) -> Iterable[nn.Parameter]:
        assert self.trained is not None
        return self.trained.parameters()


class Recording(Optimizer):
    """Plain steps, and a note of who got which parameters. kept: where the notes go; idle: which ones never step."""

    def __init__(self, kept: list[list[nn.Parameter]], idle: tuple[int, ...] = ()):
        self.kept = kept
        self.idle = idle

    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        group = list(parameters)
        self.kept.append(group)
        optimizer = torch.optim.SGD(group, learning_rate)
        if len(self.kept) - 1 in self.idle:
            optimizer.step = lambda closure=None: None
        return optimizer


def critic_run(idle: tuple[int, ...] = ()) -> tuple[AutoencoderModule, list[list[nn.Parameter]], set[str]]:
    """The module, the parameters of each optimizer, and the names of the parameters that moved."""
    module, kept = build([Critic()]), list[list[nn.Parameter]]()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    settings = Training(max_epochs=2, batch_size=8, optimizer=Recording(kept, idle), validation=0.0)
    fit(module, samples(), training=settings)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    return module, kept, moved


def test_the_adversary_has_its_own_optimizer() -> None:
    module, kept, moved = critic_run()
    theirs = {id(parameter) for parameter in module.built.parameters()}
    others = {id(parameter) for parameter in module.network.parameters()}
    assert [{id(parameter) for parameter in group} for group in kept] == [others, theirs]
    assert moved == set(module.state_dict())


def test_each_optimizer_steps_its_own_parameters_only() -> None:
    module, _, moved = critic_run(idle=(0,))
    assert moved == {name for name in module.state_dict() if name.startswith("built.")}
    module, _, moved = critic_run(idle=(1,))
    assert moved == {name for name in module.state_dict() if name.startswith("network.")}


def test_both_are_served_by_one_backward_pass_in_opposite_directions() -> None:
    """The critic's gradient lowers the penalty, the encoder's raises it."""
    module, x = build([Critic()]), samples()
    done = module.penalise(module.reconstruct(x, generator=generator()))
    penalty = done.penalties["critic"]
    penalty.backward()
    for half, sign in ((module.built, -1), (module.network.encoder, 1)):
        moved = build([Critic()])
        with torch.no_grad():
            for parameter, twin in zip(half.parameters(), _same_half(moved, half, module).parameters(), strict=True):
                assert parameter.grad is not None
                twin -= 0.01 * parameter.grad
        after = moved.penalise(moved.reconstruct(x, generator=generator())).penalties["critic"]
        assert sign * (float(after.detach()) - float(penalty.detach())) > 0


def _same_half(other: AutoencoderModule, half: nn.Module, module: AutoencoderModule) -> nn.Module:
    return other.built if half is module.built else other.network.encoder


# ---- stages: greedy training, layer by layer


def test_stages_train_a_network_layer_by_layer() -> None:
    x = samples(n_rows=60)
    module = build((), Dense(widths=(8, 6), activation="tanh"))
    hidden = x
    for down, up in module.stages():
        optimizer = torch.optim.Adam([*down.parameters(), *up.parameters()], lr=0.02)
        losses = []
        for _ in range(150):
            optimizer.zero_grad()
            loss = (up(down(hidden)) - hidden).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.6 * losses[0]
        hidden = down(hidden).detach()
    assert hidden.shape == (60, module.n_components)
    error = (module.decode(module.encode(x)).mean.detach() - x).square().sum(1).mean()
    assert float(error) < 0.5 * float((x - x.mean(0)).square().sum(1).mean())


# ---- prepare: once, before training, with all rows


class Centred(Variant):
    """Hands the encoder samples without the mean of all rows.

    corrupt → encoder → BOTTLENECK → decoder → likelihood
    """

    calls: ClassVar[list[int]] = []

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        built = nn.Module()
        built.register_buffer("mean", torch.zeros(spec.shape))
        return built

    def prepare(self, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        assert isinstance(generator, torch.Generator)
        first, again = torch.cat(list(batches())), torch.cat(list(batches()))
        assert torch.equal(first, again), "batches() starts anew each time"
        assert self.trained is not None
        self.trained.mean.copy_(first.mean(0))
        self.calls.append(len(first))


def test_prepare_is_called_once_with_all_training_rows() -> None:
    Centred.calls.clear()
    x = samples(n_rows=50)
    with seeded(0):
        module = AutoencoderModule(VECTOR, 4, variants=[Centred()]).double()
    fit(module, x, training=Training(max_epochs=3, batch_size=8, validation=0.0))
    assert Centred.calls == [50]
    torch.testing.assert_close(module.state_dict()["built.centred.mean"], x.mean(0))


# ---- merge: several samples of the code


class Best(Variant):
    """Counts only the best of several codes.

    corrupt → encoder → bottleneck → decoder → likelihood   (MERGE: the smallest)

    samples: how many codes are drawn.
    """

    requires = ("variational",)

    def __init__(self, samples: int = 5):
        self.samples = samples

    def merge(self, log_weights: Tensor) -> Tensor:
        return -log_weights.amax(0)


def test_merge_sees_every_sample_of_every_row_and_its_answer_is_the_loss() -> None:
    module, x = build(["variational", Best()]), samples()
    done = module.reconstruct(x, generator=generator())
    assert done.code is not None and done.distortion is not None and isinstance(done.rate, Tensor)
    assert done.code.shape == (5, len(x), 4) and done.distortion.shape == done.rate.shape == (5, len(x))
    best = (done.distortion + done.rate).amin(0)
    assert largest_difference(done.loss, best.mean()) < 1e-12
    assert done.bound is not None and done.bound.shape == (len(x),)


def test_two_owners_of_the_merge_are_refused() -> None:
    with pytest.raises(SettingError, match="best and importance_weighted both own the merge"):
        build(["variational", Best(), "importance_weighted"])


# ---- previous: a decoder that makes a sample step by step


class StepByStep(Network):
    """Each value from the code and the value before it.

    corrupt → ENCODER → bottleneck → DECODER → likelihood
    """

    autoregressive = True

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        module = Dense(widths=()).build(spec, n_features, n_components, n_parameters)
        module.decoder = _StepByStep(n_components, n_parameters)
        return module


class _StepByStep(nn.Module):
    def __init__(self, n_components: int, n_parameters: int):
        super().__init__()
        self.from_code, self.from_before = nn.Linear(n_components, n_parameters), nn.Parameter(torch.tensor(0.5))
        self.given: list[Tensor | None] = []

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        self.given.append(previous)
        out: Tensor = self.from_code(code)
        if previous is None:
            return out
        return out + self.from_before * nn.functional.pad(previous[:, :-1], (1, 0))


def test_a_step_by_step_decoder_is_given_the_target() -> None:
    x, target = samples(), samples(seed=8)
    module = build((), StepByStep())
    decoder = module.network.decoder
    assert isinstance(decoder, _StepByStep)
    module.reconstruct(x, target=target)
    assert decoder.given[-1] is not None and torch.equal(decoder.given[-1], target)
    module.decode(module.encode(x))
    assert decoder.given[-1] is None
    first = module.decode(module.encode(x), previous=target).mean
    later = target.clone()
    later[:, 5:] = 0.0
    same = module.decode(module.encode(x), previous=later).mean[:, :6]
    assert torch.equal(first[:, :6], same), "a value may depend on what stands before it only"


def test_every_sample_of_a_code_goes_with_the_target_and_weight_of_its_row() -> None:
    x = samples()
    weight = some_absent(x)
    module = build([Variational(samples=3)], StepByStep())
    decoder = module.network.decoder
    assert isinstance(decoder, _StepByStep)
    done = module.reconstruct(x, weight, generator=generator())
    given = decoder.given[-1]
    assert given is not None and torch.equal(given.unflatten(0, (3, len(x)))[2], x * weight)
    assert done.code is not None and done.output is not None
    for sample in range(3):
        alone = module.decode(done.code[sample], weight, x * weight).mean
        assert largest_difference(done.output.mean[sample], alone) < 1e-12


# ---- a network of the user's own, whole or in halves


class Whole(nn.Module):
    """Only what everything above the centre uses: encode, decode, reconstruct, loss."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(10, 2), nn.Linear(2, 10)
        self.asked: list[tuple[bool, bool]] = []

    def encode(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        out: Tensor = self.down(mask_absent(x, weight))
        return out

    def decode(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        out: Tensor = self.up(code)
        return out

    def reconstruct(
        self, x: Tensor, weight: Tensor | None = None, seen: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        return self.decode(self.encode(x if seen is None else seen, weight))

    def loss(
        self, x: Tensor, weight: Tensor | None = None, seen: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        self.asked.append((weight is not None, target is not None))
        error = (self.reconstruct(x, weight, seen) - (x if target is None else target)).square()
        return error.mean() if weight is None else (error * weight).sum() / weight.sum()


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_a_whole_module_with_only_the_four_methods_trains(validation: float) -> None:
    x = samples(n_rows=40)
    weight = some_absent(x)
    with seeded(0):
        module = Whole().double()
    before = float(module.loss(x).detach())
    run = Training(max_epochs=40, batch_size=8, learning_rate=0.02, validation=validation)
    history = fit(module, x, weight, x, training=run)
    assert module.asked[-1] == (True, True) and list(history[0].training) == ["loss"]
    assert float(module.loss(x).detach()) < 0.5 * before


def test_a_pair_of_modules_is_a_network() -> None:
    x = samples()
    with seeded(0):
        pair = (nn.Linear(10, 4), nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 10)))
        module = AutoencoderModule(VECTOR, 4, network=pair).double()
    given = [parameter.clone() for half in pair for parameter in half.parameters()]
    torch.testing.assert_close(module.encode(x).float(), pair[0](x.float()), rtol=1e-4, atol=1e-5)
    history = fit(module, x)
    assert history["loss"][-1] < history["loss"][0]
    now = [parameter for half in pair for parameter in half.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(given, now, strict=True)), "what the user passed in stays untrained"


def test_a_pair_gets_a_layer_where_the_bottleneck_needs_another_width() -> None:
    with seeded(0):
        module = AutoencoderModule(
            VECTOR, 4, network=(nn.Linear(10, 5), nn.Linear(4, 10)), variants="variational"
        ).double()
    assert module.features(samples()).shape == (24, 8) and module.encode(samples()).shape == (24, 4)


def test_a_pair_with_the_wrong_output_is_told_so() -> None:
    module = AutoencoderModule(VECTOR, 4, network=(nn.Linear(10, 4), nn.Linear(4, 7)))
    with pytest.raises(SettingError, match=r"the decoder gives shape \(7,\).*need \(10,\)"):
        module.loss(torch.zeros(3, 10))


# ---- a function as likelihood


def test_a_function_is_a_likelihood() -> None:
    def absolute(output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs()

    x = samples(n_rows=40)
    weight = some_absent(x)
    with seeded(0):
        module = AutoencoderModule(VECTOR, 4, Dense(widths=(8,)), absolute).double()
    law = module.decode(module.encode(x, weight))
    assert isinstance(law, Distribution)
    expected = ((law.mean - x).abs() * weight).sum(1).mean()
    torch.testing.assert_close(module.eval().loss(x, weight), expected)
    history = fit(module, x)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_a_function_that_gives_one_number_for_all_is_refused() -> None:
    module = AutoencoderModule(VECTOR, 4, likelihood=nn.functional.mse_loss)
    with pytest.raises(SettingError, match=r"reduction='none'"):
        module.loss(torch.zeros(3, 10))


# ---- what a variant may change on the way in


class Doubled(Variant):
    """Shows the double, asks for the half, and counts only the first value.

    CORRUPT → encoder → bottleneck → decoder → likelihood
    """

    def corrupt(self, reconstruction: Reconstruction) -> None:
        reconstruction.seen = 2 * reconstruction.seen
        reconstruction.target = 0.5 * reconstruction.target
        reconstruction.weight = torch.zeros_like(reconstruction.x).index_fill_(1, torch.tensor(0), 1.0)


def test_corrupt_may_change_what_is_shown_what_is_asked_for_and_what_counts() -> None:
    module, x = build([Doubled()]), samples()
    done = module.reconstruct(x, generator=generator())
    assert done.code is not None and torch.equal(done.code[0], module.encode(2 * x))
    assert done.output is not None and done.distortion is not None
    torch.testing.assert_close(done.distortion[0], done.output.nll(0.5 * x)[0, :, 0])
    assert torch.equal(done.x, x)


def test_a_penalty_sees_the_encoders_layers() -> None:
    def layers() -> Iterator[Tensor]:
        yield from build().reconstruct(samples(), generator=generator()).activations

    assert [layer.shape[1] for layer in layers()] == [8, 4]


def test_variants_are_copied_so_that_settings_and_weights_stay_apart() -> None:
    mine = [Critic(), TopK(k=2), Masked()]
    module = build(mine)
    assert all(own is not given for own, given in zip(module.variants, mine, strict=True))
    assert mine[0].trained is None and module.variants[0].trained is not None
    assert not VECTOR.gaps and module.spec.gaps
