"""Six kinds of faults that hide well, planted one by one: the contracts catch each, and pass its sound twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isthmus.checks import check_part, checks_for
from isthmus.damage import Masking
from isthmus.likelihoods import Bernoulli, Laplace, Mixed, Normal
from isthmus.likelihoods.base import Distribution
from isthmus.networks import Dense
from isthmus.networks.base import EncoderDecoder
from isthmus.priors import StandardNormal
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.thresholds import Deviation
from isthmus.thresholds.base import Scores
from isthmus.training import SGD, Constant, Cosine
from isthmus.variants import L1Sparse, Variational
from isthmus.variants.base import Pass, Variant

pytestmark = pytest.mark.slow

Rated = tuple[Tensor, Tensor | float]


def failed_checks(part: Any) -> set[str]:
    """The names of the checks that a part does not pass."""
    failed = set()
    for name, check in checks_for(part):
        try:
            check()
        except AssertionError:
            failed.add(name)
    return failed


# ---- 1. a KL clamped to zero: the code is drawn and nothing draws it to the prior


class ClampedToZero(Variational):
    """A divergence that never counts.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        code, rate = super().bottleneck(features, reconstruction)
        return code, torch.as_tensor(rate).clamp(max=0.0)


class ClampedToOne(Variational):
    """A divergence that counts as one nat, wherever the code is.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        code, rate = super().bottleneck(features, reconstruction)
        return code, torch.as_tensor(rate).clamp(min=1.0, max=1.0)


class Detached(Variational):
    """A divergence that is shown in the loss and never felt.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        code, rate = super().bottleneck(features, reconstruction)
        return code, torch.as_tensor(rate).detach()


# ---- 2. a penalty that is never added


class NotReturned(L1Sparse):
    """A penalty that is worked out and forgotten.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    weight: strength of the penalty.
    """

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        super().penalty(reconstruction, module)
        return 0.0


class WeightIgnored(L1Sparse):
    """A penalty that has always the same strength.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    weight: strength of the penalty.
    """

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        return type(self)(weight=0.1)._full(reconstruction, module)

    def _full(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        return super().penalty(reconstruction, module)


# ---- 3. a codebook nobody trains


class Nearest(Variant):
    """Replaces a code by the nearest of a few learned ones.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    Parameters
    ----------
    n_codes : how many there are.
    commitment : how strongly a code is drawn to its codeword.
    """

    exact_limit = "with as many codewords as samples, each at its sample's code, nothing changes"

    def __init__(self, n_codes: int = 6, commitment: float = 0.25):
        self.n_codes = n_codes
        self.commitment = commitment

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        return nn.Embedding(self.n_codes, n_components)

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        assert self.trained is not None
        words = self.words()
        nearest = words[torch.cdist(features, words).argmin(-1)]
        to_code = self.commitment * (features - nearest.detach()).square().sum(-1)
        to_words = (features.detach() - nearest).square().sum(-1)
        code = features + (nearest - features).detach()
        return code.unsqueeze(0), (to_code + to_words).unsqueeze(0)

    def words(self) -> Tensor:
        return next(self.trained.parameters())


class NobodyTrains(Nearest):
    """The same, with words that no gradient reaches.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    n_codes, commitment: as there.
    """

    def words(self) -> Tensor:
        return super().words().detach()


class FrozenBuffer(Nearest):
    """The same, with words in a buffer that is never updated.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    n_codes, commitment: as there.
    """

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        built = nn.Module()
        built.register_buffer("words", torch.randn(self.n_codes, n_components))
        return built

    def words(self) -> Tensor:
        return next(self.trained.buffers())


# ---- 4. batch statistics at prediction


class NormalisedByTheBatch(Dense):
    """A network whose normalisation remembers nothing, and so goes by whoever else is asked about.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    widths, activation, normalisation, dropout, tied: as in dense.
    """

    @classmethod
    def examples(cls) -> list[Any]:
        return [cls(widths=(8,), normalisation="batch", dropout=0.1)]

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        built = super().build(spec, n_features, n_components, n_parameters)
        for layer in built.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = None
        return built


class Whitened(Variant):
    """Scales every code to length one.

    corrupt → encoder → BOTTLENECK → decoder → likelihood
    """

    exact_limit = "codes of length one stay as they are"

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        return nn.functional.normalize(features, dim=-1).unsqueeze(0), 0.0


class WhitenedByTheBatch(Variant):
    """Scales every component by the rows that happen to be in the batch.

    corrupt → encoder → BOTTLENECK → decoder → likelihood
    """

    exact_limit = "a batch of mean zero and variance one stays as it is"

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        scale = features.std(0, correction=0) + 1e-3
        return ((features - features.mean(0)) / scale).unsqueeze(0), 0.0


# ---- 5. a sampled code at prediction


class SampledAtPrediction(Variational):
    """Draws codes when nobody trains.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def seed(self) -> int:
        return int(torch.randint(2**31, ()))

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        if reconstruction.generator is None:
            reconstruction = replace(reconstruction, generator=torch.Generator().manual_seed(self.seed()))
        return super().bottleneck(features, reconstruction)


class SampledWithOneSeed(SampledAtPrediction):
    """The same, hidden behind a fixed seed: it repeats, and still depends on where in the batch a row stands.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def seed(self) -> int:
        return 0


# ---- 6. an ignored argument


class BetaIgnored(Variational):
    """Takes beta and goes by one.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    beta, free_bits, samples, prior: as in variational.
    """

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> Rated:
        return Variational(1.0, self.free_bits, self.samples, self.prior).bottleneck(features, reconstruction)


class WidthIgnored(Deviation):
    """Takes k and goes by three.

    k: how many standard deviations.
    """

    def cut(self, scores: Scores) -> float:
        return Deviation(3.0).cut(scores)


# ---- what is caught, and by which check

FAULTS = [
    (ClampedToZero(), "check_rate_tells_the_code_from_the_prior"),
    (ClampedToOne(), "check_rate_tells_the_code_from_the_prior"),
    (Detached(), "check_rate_tells_the_code_from_the_prior"),
    (NotReturned(), "check_penalty_enters_the_loss"),
    (WeightIgnored(), "check_neutral_equals_plain"),
    (WeightIgnored(), "check_numeric_arguments_turn"),
    (NobodyTrains(), "check_what_is_built_is_trained"),
    (NobodyTrains(), "check_every_parameter_gets_a_gradient"),
    (FrozenBuffer(), "check_what_is_built_is_trained"),
    (NormalisedByTheBatch(widths=(8,), normalisation="batch"), "check_rows_are_independent"),
    (WhitenedByTheBatch(), "check_rows_are_independent"),
    (SampledAtPrediction(), "check_prediction_is_deterministic"),
    (SampledWithOneSeed(), "check_rows_are_independent"),
    (BetaIgnored(), "check_numeric_arguments_turn"),
    (WidthIgnored(), "check_numeric_arguments_turn"),
]
SOUND = [Variational(), L1Sparse(), Nearest(), Dense(widths=(8,), normalisation="batch"), Whitened(), Deviation()]


def named(value: object) -> str:
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("part", "check"), FAULTS, ids=named)
def test_the_fault_is_caught(part: Any, check: str) -> None:
    with pytest.raises(AssertionError, match=check):
        check_part(part)


@pytest.mark.parametrize("part", SOUND, ids=named)
def test_the_sound_twin_passes(part: Any) -> None:
    assert failed_checks(part) == set()


# ---- one fault for each other check of parts that are laws, damages, networks ...


class Wrapped(Distribution):
    """A law with one thing about it changed."""

    def __init__(self, inner: Distribution):
        self.inner = inner

    def nll(self, target: Tensor) -> Tensor:
        return self.inner.nll(target)

    @property
    def mean(self) -> Tensor:
        return self.inner.mean

    @property
    def point(self) -> Tensor:
        return self.inner.point

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.inner.sample(generator)


def law(base: type, **changed: Any) -> Any:
    """A likelihood whose law differs from `base` in some methods."""
    wrapped = type("Changed", (Wrapped,), changed)

    def call(self: Any, raw: Tensor, spec: SampleSpec) -> Distribution:
        return wrapped(base.__call__(self, raw, spec))

    return type(f"Changed{base.__name__}", (base,), {"__call__": call})()


def damage(spoil: Any, **more: Any) -> Any:
    return type("Spoiling", (Masking,), {"__call__": spoil, **more})(share=0.5)


def network(change: Any, **settings: Any) -> Any:
    """A dense network whose module is changed after it was built."""

    def build(self: Any, *sizes: Any) -> EncoderDecoder:
        module = Dense.build(self, *sizes)
        change(module)
        return module

    examples = classmethod(lambda cls: [cls(widths=(8,), **settings)])
    return type("Changed", (Dense,), {"build": build, "examples": examples})(widths=(8,), **settings)


def hearing_everything(module: Any) -> None:
    """The encoder hears the values that are absent."""
    hears = module.encoder.forward
    module.encoder.forward = lambda x, weight=None, activations=None: hears(x, None, activations)


def untied(module: Any) -> None:
    """The decoder has weights of its own after all."""
    for layer in module.decoder.layers:
        layer.linear = nn.Linear(layer.linear.n_in, len(layer.linear.bias))


def upside_down(module: Any) -> None:
    pairs = module.stages()
    module.stages = lambda: [(down, up) for (down, _), (_, up) in zip(pairs, reversed(pairs), strict=True)]


def silent(module: Any) -> None:
    """The encoder tells of no layer."""
    hears = module.encoder.forward
    module.encoder.forward = lambda x, weight=None, activations=None: hears(x, weight, None)


def half_used(module: Any) -> None:
    module.encoder.spare = nn.Linear(3, 3)


def remembering(module: Any) -> None:
    """A number that is drawn when the module is built and stands in no state_dict."""
    gives, factor = module.decoder.forward, float(torch.rand(()))
    module.decoder.forward = lambda code, weight=None, previous=None: factor * gives(code, weight, previous)


def shifted(self: Wrapped, target: Tensor) -> Tensor:
    return self.inner.nll(target) + 0.1


def averaged(self: Wrapped, target: Tensor) -> Tensor:
    return self.inner.nll(target) - self.inner.nll(target).mean(0)


def drawn_anywhere(self: Wrapped, generator: torch.Generator | None = None) -> Tensor:
    return self.inner.sample(None)


def torn(self: Any, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
    return x.masked_fill(torch.rand(x.shape, generator=generator) < self.share, 0.0)


def in_place(self: Any, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
    return x.mul_(1 - (torch.rand(x.shape, generator=generator) < self.share).to(x))


def unseeded(self: Any, x: Tensor, spec: SampleSpec, generator: torch.Generator) -> Tensor:
    return x + self.share * torch.randn_like(x)


def halved(self: Any, mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * StandardNormal.kl(self, mean, log_variance)


def wider(self: Any, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return 1.1 * StandardNormal.sample(self, shape, generator, like)


def uphill(self: Any, parameters: Any, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, learning_rate, self.momentum, weight_decay=weight_decay, maximize=True)


MORE_FAULTS = [
    (law(Normal, nll=shifted), "check_density_sums_to_one"),
    (law(Bernoulli, nll=shifted), "check_density_sums_to_one"),
    (law(Laplace, nll=lambda self, target: 2 * self.inner.nll(target)), "check_density_sums_to_one"),
    (law(Normal, mean=property(lambda self: self.inner.mean + 0.1)), "check_mean_is_the_mean_of_draws"),
    (law(Mixed, sample=lambda self, generator=None: self.inner.point), "check_mean_is_the_mean_of_draws"),
    (law(Bernoulli, point=property(lambda self: 1 - self.inner.point)), "check_point_is_most_probable"),
    (law(Normal, sample=drawn_anywhere), "check_randomness_is_the_generators"),
    (law(Normal, nll=averaged), "check_rows_are_independent"),
    (law(Laplace, mean=property(lambda self: self.inner.mean[:1])), "check_shapes"),
    (law(Normal, nll=lambda self, target: self.inner.nll(target).detach()), "check_gradients_are_finite"),
    (law(Normal, mean=property(lambda self: 2 * self.inner.mean)), "check_best_law_for_a_mean_has_that_mean"),
    (damage(torn), "check_columns_fall_together"),
    (damage(in_place), "check_shape_and_input_stay"),
    (damage(unseeded), "check_randomness_is_the_generators"),
    (damage(lambda self, x, spec, generator: 0 * x), "check_neutral_changes_nothing"),
    (damage(lambda self, x, spec, generator: x * (self.share == 0)), "check_strength_is_monotone"),
    (network(hearing_everything), "check_absent_values_cannot_leak"),
    (network(untied, tied=True), "check_tied_stays_tied"),
    (network(untied, tied=True), "check_tied_halves_the_weights"),
    (network(upside_down), "check_stages_undo_each_other"),
    (network(silent), "check_activations_are_told"),
    (network(half_used), "check_every_parameter_gets_a_gradient"),
    (network(remembering), "check_weights_travel"),
    (
        type("First", (Deviation,), {"cut": lambda self, scores: self.k * float(scores[0])})(),
        "check_order_does_not_matter",
    ),
    (
        type("Falling", (Deviation,), {"cut": lambda self, scores: -self.k * float(scores.mean())})(),
        "check_larger_scores_do_not_lower_the_cut",
    ),
    (type("Cold", (Cosine,), {"factor": lambda self, position: self.shape(position)})(), "check_warm_up_rises"),
    (type("Large", (Constant,), {"shape": lambda self, position: 2.0})(), "check_factor_is_between_zero_and_one"),
    (type("Uphill", (SGD,), {"build": uphill})(), "check_finds_the_minimum"),
    (type("Halved", (StandardNormal,), {"kl": halved})(), "check_divergence_is_that_of_the_density"),
    (type("Wider", (StandardNormal,), {"sample": wider})(), "check_density_is_that_of_the_draws"),
]


@pytest.mark.parametrize(("part", "check"), MORE_FAULTS, ids=named)
def test_every_other_check_can_fail(part: Any, check: str) -> None:
    assert check in failed_checks(part)


def test_a_loss_that_leaves_the_penalties_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault in the centre instead of the variant: the penalty is computed, logged, and not minimised."""

    def without_penalties(done: Reconstruction) -> Tensor:
        assert done.bound is not None
        return done.bound.mean()

    assert failed_checks(L1Sparse()) == set()
    monkeypatch.setattr(Reconstruction, "loss", property(without_penalties))
    assert "check_penalty_enters_the_loss" in failed_checks(L1Sparse())


def test_a_check_that_cannot_be_gone_through_has_failed() -> None:
    class Broken(L1Sparse):
        """A penalty that cannot be worked out. weight: its strength."""

        def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
            raise KeyError("code")

    with pytest.raises(AssertionError, match="check_one_row_trains.*ended in KeyError"):
        check_part(Broken())
