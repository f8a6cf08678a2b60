"""Many models trained at once are what they are when trained alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus import AnomalyDetector, Autoencoder, Denoiser, Training, fit_many, load
from isthmus.data import Tables
from isthmus.errors import DoctorWarning, SettingError, TrainingError, TrainingWarning
from isthmus.likelihoods import Bernoulli, Laplace, Mixed, Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.spec import Column, SampleSpec
from isthmus.thresholds import Conformal
from isthmus.training import SGD, Adam, AdamW, Batch, History, Plateau, many_step, train, train_many
from isthmus.training.many import MOST, companies
from isthmus.training.many_step import ManyAdam, ManyStep, Rule, linears
from isthmus.training.rows import Blocks, InBlocks
from isthmus.variants import Denoising, L1Sparse, Variational

pytestmark = pytest.mark.slow

SHORT = Training(max_epochs=3, batch_size=16)


def samples(n_rows: int = 90, width: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    random = torch.Generator().manual_seed(0)
    mix = torch.randn(2, width, generator=random, dtype=torch.float64)
    return torch.sigmoid(torch.randn(n_rows, 2, generator=random, dtype=torch.float64) @ mix).to(dtype)


def module_of(
    seed: int,
    widths: tuple[int, ...] = (7,),
    n_components: int = 2,
    likelihood: Any = "normal",
    variants: Any = (),
    **network: Any,
) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = AutoencoderModule(SampleSpec((6,)), n_components, Dense(widths, **network), likelihood, variants)
    return made.double()


def batches_of(x: Tensor, target: Tensor | None = None, weight: Tensor | None = None) -> Any:
    def batches(rows: Any) -> Batch:
        chosen = torch.as_tensor(rows)
        return Batch(x[chosen], None if weight is None else weight[chosen], None if target is None else target[chosen])

    return batches


def weights_of(module: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in module.state_dict().values()])


def facts(history: History) -> tuple[Any, ...]:
    return history.ended, history.best_epoch, len(history), history.names


def compare(
    modules: Sequence[AutoencoderModule],
    trainings: Sequence[Training],
    batches: Any = None,
    n_samples: int = 90,
    tolerance: float = 1e-9,
) -> list[History]:
    """Train together and alone; weights and histories must be the same within the tolerance."""
    batches = batches_of(samples()) if batches is None else batches
    seeds = [10 + place for place in range(len(modules))]
    alone = [copy.deepcopy(module) for module in modules]
    apart = [
        train(module, batches, n_samples, training, seed=seed)
        for module, training, seed in zip(alone, trainings, seeds, strict=True)
    ]
    before = [weights_of(module) for module in modules]
    together = train_many(modules, batches, n_samples, trainings, seeds=seeds)
    for one, other, start, mine, theirs in zip(modules, alone, before, together, apart, strict=True):
        assert facts(mine) == facts(theirs)
        for name in (*mine.names[:-1],):  # not the seconds
            np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=100 * tolerance, err_msg=name)
        torch.testing.assert_close(weights_of(one), weights_of(other), rtol=0, atol=tolerance)
        assert (weights_of(one) - start).abs().max() > 1e-3
        assert not one.training
    return together


# ---- the same as alone


@pytest.mark.parametrize(
    "activation", ["relu", "gelu", "tanh", "sigmoid", "silu", "leaky_relu", "elu", "selu", "linear"]
)
def test_every_activation(activation: str) -> None:
    modules = [module_of(seed, (8, 5), activation=activation) for seed in range(3)]
    assert companies(modules, [SHORT] * 3, 90) == [[0, 1, 2]]
    compare(modules, [SHORT] * 3)


@pytest.mark.parametrize(
    "likelihood", [Normal(), Normal(scale=0.3), Normal(scale="learned"), Bernoulli(), Laplace(), Mixed()], ids=repr
)
def test_every_likelihood(likelihood: Any) -> None:
    modules = [module_of(seed, likelihood=likelihood) for seed in range(2)]
    assert companies(modules, [SHORT] * 2, 90) == [[0, 1]]
    compare(modules, [SHORT] * 2)


def test_columns_of_several_kinds() -> None:
    spec = SampleSpec((6,), columns=(Column("a"), Column("b", "boolean"), Column("c", "categorical", 4)))
    x = samples()
    x[:, 2:] = torch.nn.functional.one_hot(torch.arange(90) % 4, 4).double()
    modules = [AutoencoderModule(spec, 2, Dense((7,)), "mixed").double() for _ in range(2)]
    assert companies(modules, [SHORT] * 2, 90) == [[0, 1]]
    compare(modules, [SHORT] * 2, batches_of(x))


VARIANTS: list[Any] = [(), "denoising", Denoising("masking(share=0.5)"), L1Sparse(0.3), ["denoising", L1Sparse(0.01)]]


def test_different_variants_widths_and_settings_in_one_company() -> None:
    widths = [(9, 6), (9, 4), (7, 6), (8, 5), (9, 6)]
    modules = [
        module_of(place, widths[place], 2 + place % 2, variants=variant) for place, variant in enumerate(VARIANTS)
    ]
    trainings = [
        Training(max_epochs=epochs, batch_size=16, learning_rate=rate, weight_decay=decay, schedule=schedule)
        for epochs, rate, decay, schedule in [
            (3, 1e-3, 0.0, "cosine"),
            (5, 3e-3, 0.1, "constant"),
            (4, 1e-3, 0.0, Plateau(patience=1)),
            (4, 2e-3, 0.01, "cosine"),
            (2, 1e-3, 0.0, "step"),
        ]
    ]
    assert companies(modules, trainings, 90) == [[0, 1, 2, 3, 4]]
    histories = compare(modules, trainings)
    assert [len(history) for history in histories] == [3, 5, 4, 4, 2]
    assert ["l1_sparse" in history.names for history in histories] == [False, False, False, True, True]


def test_pairs_and_padding() -> None:
    x, weight = samples(), (torch.rand(90, 6, generator=torch.Generator().manual_seed(3)) > 0.2).double()
    for source in (batches_of(x, x.flip(1)), batches_of(x, weight=weight), batches_of(x, x.flip(1), weight)):
        compare([module_of(seed, variants="denoising") for seed in range(2)], [SHORT] * 2, source)


@pytest.mark.parametrize("optimizer", [Adam(beta1=0.8, epsilon=1e-6), AdamW(beta2=0.99)], ids=repr)
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_both_kinds_of_adam(optimizer: Any, decay: float) -> None:
    training = Training(max_epochs=3, batch_size=16, optimizer=optimizer, weight_decay=decay)
    compare([module_of(seed) for seed in range(2)], [training] * 2)


@pytest.mark.parametrize("decoupled", [False, True])
def test_without_torchs_own_kernel_it_is_the_same(decoupled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ManyStep([module_of(seed) for seed in range(2)]).layout
    random = torch.Generator().manual_seed(0)
    fused, plain = (torch.ones(2 * layout.size, dtype=torch.float64) for _ in range(2))
    rule = Rule((0.9, 0.99), 1e-8, decoupled)
    by_kernel = ManyAdam(rule, [0.1, 0.1], layout, fused)
    assert by_kernel.kernel is not None
    monkeypatch.setattr(many_step, "available", lambda device: False)
    by_hand = ManyAdam(rule, [0.1, 0.1], layout, plain)
    for _ in range(5):
        slope = torch.randn(fused.shape, generator=random, dtype=torch.float64)
        by_kernel.step(fused, slope.clone(), [1e-2, 1e-2])
        by_hand.step(plain, slope.clone(), [1e-2, 1e-2])
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-12)
    assert (fused - 1).abs().mean() > 1e-3


@pytest.mark.parametrize("slow", [True, False])
def test_either_library(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_step, "default_is_slow", lambda: slow)
    compare([module_of(seed, (5,) if seed else (7,)) for seed in range(3)], [SHORT] * 3)


def test_what_was_filled_up_stays_zero() -> None:
    modules = [module_of(seed, widths, size) for seed, (widths, size) in enumerate([((9, 6), 3), ((5, 4), 2)])]
    step = ManyStep(modules)
    adam = ManyAdam(Rule((0.9, 0.999), 1e-8, False), [0.0, 0.0], step.layout, step.vector)
    x, start = samples(32), step.vector.clone()
    for _ in range(5):
        step.terms(Batch(x), [torch.Generator(), torch.Generator()], learn=True)
        adam.step(step.vector, step.slope, [1e-2, 1e-2])
    moved = 0
    chain = linears(modules[1])
    assert chain is not None
    for (linear, _), weight, bias in zip(chain, *(step.parts(step.vector)[i::2] for i in (0, 1)), strict=True):
        filled = weight[1].clone()
        filled[: linear.in_features, : linear.out_features] = 0.0
        assert not filled.any() and not bias[1, :, linear.out_features :].any()
        moved += weight[1].numel() - linear.weight.numel()
    assert moved > 0 and (step.vector - start).abs().max() > 1e-3


# ---- each has its own end


def test_who_has_stopped_early_is_as_if_alone() -> None:
    x = samples(200)
    trainings = [
        Training(max_epochs=30, batch_size=16, learning_rate=rate, patience=1, schedule="constant")
        for rate in (1e-3, 3e-2, 1e-1, 5e-2)
    ]
    modules = [module_of(seed, variants="denoising" if seed == 2 else ()) for seed in range(4)]
    histories = compare(modules, trainings, batches_of(x), 200, tolerance=1e-6)
    assert len({len(history) for history in histories}) > 2
    assert any(history.best_epoch != len(history) for history in histories)
    for history in histories:
        assert history.best_epoch is not None
        assert history["validation_loss"][history.best_epoch - 1] == min(history["validation_loss"])


def test_nothing_held_out() -> None:
    training = Training(max_epochs=3, batch_size=16, validation=0.0)
    histories = compare([module_of(seed) for seed in range(2)], [training] * 2)
    assert all(history.best_epoch is None for history in histories)


def test_a_loss_that_is_no_number_ends_one_model_and_leaves_the_others() -> None:
    x = samples(100)
    modules = [module_of(seed, activation="linear") for seed in range(3)]
    spoiled = copy.deepcopy(modules)
    calm = Training(max_epochs=6, batch_size=16, patience=None)
    wild = Training(max_epochs=6, batch_size=16, patience=None, schedule=Growing(), learning_rate=1e-3)
    alone = train_many([modules[0], modules[2]], batches_of(x), 100, calm, seeds=[0, 2])
    with pytest.warns(TrainingWarning, match="ended early: the loss became .* were kept"):
        histories = train_many(spoiled, batches_of(x), 100, [calm, wild, calm], seeds=[0, 1, 2])
    assert histories[1].ended.startswith("ended early") and 0 < len(histories[1]) < 6
    assert weights_of(spoiled[1]).isfinite().all() and not spoiled[1].training
    assert [history.ended for history in alone] == [histories[0].ended, histories[2].ended]
    for calm_one, other in ((modules[0], spoiled[0]), (modules[2], spoiled[2])):
        torch.testing.assert_close(weights_of(calm_one), weights_of(other), rtol=0, atol=1e-9)


class Growing(Plateau):
    """A learning rate that explodes after two epochs."""

    def shape(self, position: Any) -> float:
        return 1.0 if position.epoch < 2 else 1e200


def test_a_loss_that_is_no_number_from_the_start_names_the_model() -> None:
    wild = Training(max_epochs=3, batch_size=16, learning_rate=1e300)
    with pytest.raises(TrainingError, match=r"model 1 \(counting from 0\): the loss became .* learning rate 1e\+300"):
        train_many([module_of(0), module_of(1)], batches_of(samples()), 90, [SHORT, wild], seeds=[0, 1])


def test_stopped_by_hand_all_keep_their_best_weights() -> None:
    class Hand(Looker):
        def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    modules, twins = ([module_of(seed) for seed in range(2)] for _ in range(2))
    long = Training(max_epochs=9, batch_size=16, schedule="constant")
    with pytest.warns(TrainingWarning, match="stopped by hand in epoch 3"):
        histories = train_many(modules, batches_of(samples()), 90, long, seeds=[0, 1], watchers=lambda: [Hand()])
    assert [len(history) for history in histories] == [2, 2]
    two = Training(max_epochs=2, batch_size=16, schedule="constant")
    train_many(twins, batches_of(samples()), 90, two, seeds=[0, 1])
    assert all(torch.equal(weights_of(one), weights_of(two)) for one, two in zip(modules, twins, strict=True))


class Looker:
    def __init__(self) -> None:
        self.steps: list[tuple[int, ...]] = []
        self.losses: list[float] = []
        self.closed = False

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        self.steps.append((done, of, epoch, epochs))

    def epoch(self, report: Any) -> None:
        self.losses.append(report.epoch.training["loss"])

    def close(self) -> None:
        self.closed = True


def test_watchers_see_every_step_and_the_mean_of_the_losses() -> None:
    lookers: list[Looker] = []

    def watchers() -> list[Looker]:
        lookers.append(Looker())
        return lookers[-1:]

    modules = [module_of(0), module_of(1), module_of(2, (4, 4))]
    histories = train_many(modules, batches_of(samples()), 90, SHORT, seeds=[0, 1, 2], watchers=watchers)
    assert len(lookers) == 2 and all(looker.closed for looker in lookers)  # two runs: the third is of another depth
    assert lookers[0].steps == lookers[1].steps and len(lookers[0].steps) == 15
    means = np.mean([histories[0]["loss"], histories[1]["loss"]], axis=0)
    np.testing.assert_allclose(lookers[0].losses, means)


# ---- who goes together


def test_what_cannot_go_together_is_trained_as_alone() -> None:
    deep = Training(max_epochs=2, batch_size=16)
    odd: list[tuple[AutoencoderModule, Training]] = [
        (module_of(0, normalisation="batch"), deep),
        (module_of(1, dropout=0.2), deep),
        (module_of(2, tied=True), deep),
        (module_of(3, variants=Variational()), deep),
        (module_of(4, likelihood=lambda output, target: (output - target) ** 4), deep),
        (module_of(5), Training(max_epochs=2, batch_size=16, clip=1.0)),
        (module_of(6), Training(max_epochs=2, batch_size=16, l1=0.01)),
        (module_of(7), Training(max_epochs=2, batch_size=16, optimizer=SGD())),
        (module_of(7), Training(max_epochs=2, batch_size=16, ema=0.9)),
        (module_of(7), Training(max_epochs=2, batch_size=16, pretrain="layerwise")),
        (module_of(8), Training(max_epochs=2, batch_size=16, callbacks=[lambda report: report.epoch.number == 1])),
        (module_of(9, (7, 7)), deep),
        (module_of(10), Training(max_epochs=2, batch_size=32)),
        (module_of(11, activation="relu"), deep),
        (module_of(12, likelihood=Normal(scale=0.5)), deep),
        (module_of(13), Training(max_epochs=2, batch_size=16, validation=0.3)),
        (module_of(14, activation="sigmoid"), deep),
        (module_of(15, (6,), activation="sigmoid"), deep),
        (module_of(16).float(), deep),
    ]
    modules, trainings = [module for module, _ in odd], [training for _, training in odd]
    assert companies(modules, trainings, 90) == [[place] for place in range(len(odd))]
    assert companies([module_of(0), module_of(1)], [deep, deep], 90, apart=True) == [[0], [1]]
    source = lambda rows: Batch(samples()[torch.as_tensor(rows)].to(odd[0][0].network.encoder.layers[0].linear.weight))  # noqa: E731
    twins = copy.deepcopy(modules[:-1])
    histories = train_many(modules[:-1], source, 90, trainings[:-1], seeds=range(len(twins)))
    for place, twin in enumerate(twins):
        assert facts(train(twin, source, 90, trainings[place], seed=place)) == facts(histories[place])
        assert torch.equal(weights_of(twin), weights_of(modules[place]))


def test_companies_have_a_largest_size_and_alike_members() -> None:
    many = [module_of(seed) for seed in range(MOST + 3)]
    assert sorted(map(len, companies(many, [SHORT] * len(many), 90))) == [3, MOST]
    mixed = [module_of(seed, (200,) if seed % 2 else (5,)) for seed in range(4)]
    assert companies(mixed, [SHORT] * 4, 90) == [[1, 3], [0, 2]]
    large = [module_of(seed, (3000, 1000)) for seed in range(2)]  # whose own products are large enough
    assert companies(large, [SHORT] * 2, 90) == [[0], [1]]


def test_numbers_that_do_not_match_are_refused() -> None:
    with pytest.raises(SettingError, match="2 modules, 2 settings and 1 seeds"):
        train_many([module_of(0), module_of(1)], batches_of(samples()), 90, seeds=[0])
    with pytest.raises(SettingError, match="learning_rate is -1"):
        train_many([module_of(0)], batches_of(samples()), 90, Training(learning_rate=-1), seeds=[0])


# ---- what matters in the end


def test_after_many_epochs_losses_are_the_same_within_noise() -> None:
    """In float32 rounding grows; the spread over seeds is larger."""
    x = samples(400, dtype=torch.float32)
    training = Training(max_epochs=40, batch_size=32, patience=None)
    modules = [module_of(seed, (16,), activation="relu").float() for seed in range(3)]
    alone = copy.deepcopy(modules)
    together = train_many(modules, batches_of(x), 400, training, seeds=range(3))
    apart = [train(module, batches_of(x), 400, training, seed=seed) for seed, module in enumerate(alone)]
    mine, theirs = ([history["validation_distortion"][-1] for history in some] for some in (together, apart))
    first = [history["validation_distortion"][0] for history in apart]
    assert np.abs(np.subtract(mine, theirs)).max() < 0.1 * np.std(theirs) + 1e-3
    assert np.mean(first) - np.mean(theirs) > 0.1


def test_torchs_own_random_numbers_stay_where_they_were() -> None:
    before = torch.get_rng_state()
    train_many(
        [module_of(seed, variants="denoising") for seed in range(2)], batches_of(samples()), 90, SHORT, seeds=[0, 1]
    )
    assert torch.equal(torch.get_rng_state(), before)


# ---- estimators


def table(n_rows: int = 120) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(n_rows, 2)) @ random.normal(size=(2, 6)) + 0.1 * random.normal(size=(n_rows, 6))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def some_autoencoders() -> list[Autoencoder]:
    quick = Training(max_epochs=3)
    return [
        Autoencoder(2, training=quick, random_state=0),
        Autoencoder(3, training=Training(max_epochs=4, learning_rate=3e-3), random_state=1),
        Autoencoder(2, variant=L1Sparse(0.05), network=Dense((60, 30)), training=quick, random_state=2),
        Autoencoder(2, variant="denoising", training=quick, random_state=3),
        Autoencoder("auto", variant="variational", training=quick, random_state=4),
        Autoencoder(2, data_type=Tables(scaling="minmax"), likelihood="bernoulli", training=quick, random_state=5),
        Autoencoder(2, precision="float64", training=quick, random_state=6),
        Autoencoder(2, precision="bf16", training=quick, random_state=7),
    ]


def test_fit_many_gives_what_fit_gives() -> None:
    X = table()
    models, alone = some_autoencoders(), some_autoencoders()
    assert fit_many(models, X) == models
    for together, apart in zip(models, alone, strict=True):
        apart.fit(X)
        assert facts(together.history_) == facts(apart.history_)
        np.testing.assert_allclose(together.history_["loss"], apart.history_["loss"], rtol=1e-5)
        np.testing.assert_allclose(together.transform(X), apart.transform(X), atol=1e-4)
        assert (together.n_components_, together.n_samples_) == (apart.n_components_, apart.n_samples_)
        assert [finding.code for finding in together.doctor_] == [finding.code for finding in apart.doctor_]
        np.testing.assert_allclose(together.code_density_.mean, apart.code_density_.mean, atol=1e-4)


def test_fit_many_takes_tasks(tmp_path: Path) -> None:
    X = table()
    quick = Training(max_epochs=3)

    def tasks() -> list[Any]:
        plain = Autoencoder(2, training=quick)
        return [
            *(AnomalyDetector(plain, random_state=seed) for seed in range(3)),
            AnomalyDetector(plain, threshold=Conformal(0.1), random_state=0),
            AnomalyDetector(Autoencoder(2, likelihood="laplace", training=quick), random_state=0),
            Denoiser(plain, random_state=0),
            Autoencoder(2, training=quick, random_state=9),
        ]

    fitted, alone = fit_many(tasks(), X), [task.fit(X) for task in tasks()]
    for together, apart in zip(fitted[:5], alone[:5], strict=True):
        np.testing.assert_allclose(together.score_samples(X), apart.score_samples(X), rtol=1e-3)
        np.testing.assert_allclose(together.threshold_, apart.threshold_, rtol=1e-3)
        assert together.autoencoder_.data_.owner == "AnomalyDetector"
    np.testing.assert_allclose(fitted[5].transform(X), alone[5].transform(X), atol=1e-3)
    assert fitted[6].data_.owner == "Autoencoder"  # although the data were looked at once for all
    fitted[1].save(tmp_path / "detector.safetensors")
    again = load(tmp_path / "detector.safetensors").score_samples(X)
    assert np.array_equal(again, fitted[1].score_samples(X))


def test_the_data_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    fit = Tables.fit
    monkeypatch.setattr(Tables, "fit", lambda self, X: looks.append(repr(self)) or fit(self, X))  # type: ignore[func-returns-value]
    quick = Training(max_epochs=1)
    kinds = ["auto", "auto", Tables(), "tables", Tables(scaling="robust"), Tables(scaling="robust")]
    models = fit_many([Autoencoder(2, data_type=kind, training=quick, random_state=0) for kind in kinds], table())
    assert len(looks) == 4  # "auto", Tables(), "tables" and the robust one
    assert models[0].data_ is not models[1].data_


def test_fit_many_refuses_what_it_cannot_fit() -> None:
    one: Any = Autoencoder(2)
    with pytest.raises(SettingError, match="more than once"):
        fit_many([one, one], table())
    with pytest.raises(SettingError, match=r"estimators\[1\] is 'vae'"):
        fit_many([one, "vae"], table())  # type: ignore[type-var]
    assert fit_many([], table()) == []


def test_rows_on_disk_are_trained_one_model_after_another() -> None:
    x = torch.randn(64, 4)
    modules = [AutoencoderModule(SampleSpec((4,)), 2, Dense((6,))) for _ in range(2)]
    twins = copy.deepcopy(modules)
    batches = InBlocks(lambda rows: Batch(x[torch.as_tensor(rows)]), Blocks(size=8, window=2))
    together = train_many(modules, batches, 64, Training(max_epochs=2), seeds=[0, 1])
    alone = [train(twin, batches, 64, Training(max_epochs=2), seed=seed) for seed, twin in enumerate(twins)]
    assert [history["loss"] for history in together] == [history["loss"] for history in alone]
