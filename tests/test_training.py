"""The training loop: steps and schedules against their formulas, what is kept, what is told, and how it ends."""

from __future__ import annotations

import copy
import io
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from isthmus.errors import DoctorWarning, SettingError, TrainingError, TrainingWarning
from isthmus.module import AutoencoderModule
from isthmus.networks.dense import Dense
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import (
    SGD,
    Adam,
    AdamW,
    Batch,
    Constant,
    Cosine,
    EpochReport,
    Exponential,
    History,
    Plateau,
    RMSprop,
    Step,
    Training,
    train,
)
from isthmus.training.applying import CHUNK_NUMBERS, apply
from isthmus.training.optimizers import Optimizer
from isthmus.training.progress import ProgressBar
from isthmus.training.rows import cuts, shuffled, split
from isthmus.training.schedules import Position, Schedule
from isthmus.training.threads import ThreadTrial
from isthmus.variants.base import Pass, Variant

SMALL = Dense(widths=(6,), activation="tanh")


def data(n_rows: int = 40, width: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(2, width, generator=generator)
    return torch.randn(n_rows, 2, generator=generator) @ mix + 0.1 * torch.randn(n_rows, width, generator=generator)


def module_of(variants: Any = (), network: Any = SMALL, width: int = 5, seed: int = 1) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoencoderModule(SampleSpec((width,)), 2, network, "normal", variants)


def fit(module: nn.Module, x: Tensor, seed: int = 0, watchers: Any = (), **settings: Any) -> History:
    batches = lambda rows: Batch(x[torch.as_tensor(rows)])  # noqa: E731
    return train(module, batches, len(x), Training(**settings), seed=seed, watchers=watchers)


def weights_of(module: nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


class Slope(nn.Module):
    """A module whose loss is a slope: every step has the same gradient, so that steps show the learning rate."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
        self.slope = slope

    def loss(self, x: Tensor, weight: Tensor | None, seen: Tensor | None, target: Tensor | None) -> Tensor:
        return self.slope * self.place.sum()


# ---- optimizers


def places(optimizer: str | Optimizer, slopes: list[float], rate: float, weight_decay: float = 0.0) -> list[float]:
    """Where the parameter stands after each step, when the loss has these slopes one after the other."""
    module, rest, found = Slope(), iter(slopes), []

    def step(report: EpochReport) -> None:
        found.append(float(module.place.detach()))
        module.slope = next(rest, 0.0)

    module.slope = next(rest)
    module.place.data += 1.0
    settings = Training(
        len(slopes), 4, optimizer, rate, "constant", weight_decay=weight_decay, validation=0.0, callbacks=[step]
    )
    train(module, lambda rows: Batch(torch.zeros(len(rows), 1)), 4, settings)
    return found


SLOPES = [1.0, -0.5, 2.0, 0.25, 1.0]


def by_adam(decay: float, apart: bool, beta1: float = 0.9, beta2: float = 0.999) -> Iterator[float]:
    """Kingma & Ba 2015, algorithm 1, with the decay in the gradient or apart from it."""
    place, mean, square = 1.0, 0.0, 0.0
    for number, slope in enumerate(SLOPES, start=1):
        slope += 0.0 if apart else decay * place
        place -= 0.1 * decay * place if apart else 0.0
        mean, square = beta1 * mean + (1 - beta1) * slope, beta2 * square + (1 - beta2) * slope**2
        place -= 0.1 * (mean / (1 - beta1**number)) / (math.sqrt(square / (1 - beta2**number)) + 1e-8)
        yield place


def by_momentum(decay: float, momentum: float, nesterov: bool) -> Iterator[float]:
    place, speed = 1.0, 0.0
    for number, slope in enumerate(SLOPES):
        slope += decay * place
        speed = slope if number == 0 else momentum * speed + slope
        place -= 0.1 * (slope + momentum * speed if nesterov else speed)
        yield place


def by_rmsprop(decay: float, smoothing: float) -> Iterator[float]:
    place, square = 1.0, 0.0
    for slope in SLOPES:
        slope += decay * place
        square = smoothing * square + (1 - smoothing) * slope**2
        place -= 0.1 * slope / (math.sqrt(square) + 1e-8)
        yield place


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    ("optimizer", "formula"),
    [
        ("adam", lambda decay: by_adam(decay, apart=False)),
        (Adam(beta1=0.5, beta2=0.9), lambda decay: by_adam(decay, apart=False, beta1=0.5, beta2=0.9)),
        ("adamw", lambda decay: by_adam(decay, apart=True)),
        (AdamW(beta1=0.5), lambda decay: by_adam(decay, apart=True, beta1=0.5)),
        ("sgd", lambda decay: by_momentum(decay, 0.9, nesterov=False)),
        (SGD(momentum=0.0), lambda decay: by_momentum(decay, 0.0, nesterov=False)),
        (SGD(momentum=0.8, nesterov=True), lambda decay: by_momentum(decay, 0.8, nesterov=True)),
        ("rmsprop", lambda decay: by_rmsprop(decay, 0.99)),
        (RMSprop(smoothing=0.5), lambda decay: by_rmsprop(decay, 0.5)),
    ],
    ids=lambda value: "" if callable(value) else repr(value),  # the address of a function differs between processes
)
def test_every_optimizer_steps_by_its_formula(
    optimizer: str | Optimizer, formula: Callable[[float], Iterator[float]], decay: float
) -> None:
    found = places(optimizer, SLOPES, rate=0.1, weight_decay=decay)
    np.testing.assert_allclose(found, list(formula(decay)), rtol=1e-6)


# ---- schedules


def half_cosine(step: int, start: float, n_steps: int = 36) -> float:
    return math.cos(math.pi * (step - start) / (n_steps - start))


def warm(step: int, n_steps: int, share: float) -> float | None:
    return (step + 1) / (share * n_steps + 1) if step < share * n_steps else None


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda share: Constant(share), lambda step, epoch, start: 1.0),
        (lambda share: Cosine(share), lambda step, epoch, start: 0.5 + 0.5 * half_cosine(step, start)),
        (lambda share: Cosine(share, final=0.2), lambda step, epoch, start: 0.6 + 0.4 * half_cosine(step, start)),
        (lambda share: Step(0.5, every=3, warm_up=share), lambda step, epoch, start: 0.5 ** (epoch // 3)),
        (lambda share: Exponential(0.9, share), lambda step, epoch, start: 0.9**epoch),
    ],
    ids=["constant", "cosine", "cosine to 0.2", "step", "exponential"],
)
def test_the_learning_rate_follows_the_schedules_formula(
    make: Callable[[float], Schedule], formula: Callable[[int, int, float], float], share: float
) -> None:
    """12 epochs of 3 steps: what the history says, and how far each step went down a slope of 1."""
    module, before = Slope(), [0.0]
    gone: list[float] = []

    def note(report: EpochReport) -> None:
        gone.append(before[0] - float(module.place.detach()))
        before[0] = float(module.place.detach())

    history = fit(
        module,
        torch.zeros(12, 1),
        max_epochs=12,
        batch_size=4,
        optimizer=SGD(momentum=0.0),
        learning_rate=0.1,
        schedule=make(share),
        validation=0.0,
        callbacks=[note],
    )
    rates = [0.1 * (warm(step, 36, share) or formula(step, step // 3, share * 36)) for step in range(36)]
    np.testing.assert_allclose(history["learning_rate"], rates[2::3], rtol=1e-12)
    np.testing.assert_allclose(gone, np.reshape(rates, (12, 3)).sum(1), rtol=1e-6)


def test_plateau_falls_each_time_patience_runs_out() -> None:
    losses = [5.0, 4.0, 4.0, 4.5, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0]
    factors = [Plateau(decay=0.5, patience=2).factor(Position(9, 99, n, losses[:n])) for n in range(11)]
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_plateau_in_a_run_listens_to_the_monitored_loss() -> None:
    plateau = Plateau(decay=0.5, patience=3)
    history = fit(module_of(), data(), max_epochs=40, learning_rate=0.3, schedule=plateau, patience=None)
    for epoch, rate in enumerate(history["learning_rate"]):
        position = Position(0, 1, epoch, history["validation_loss"][:epoch])
        assert rate == pytest.approx(0.3 * plateau.shape(position))
    assert history["learning_rate"][-1] < 0.3


# ---- what is added to the steps


def test_l1_and_weight_decay_shrink_the_weights() -> None:
    sizes = {}
    for name, settings in (("plain", {}), ("l1", {"l1": 0.3}), ("decay", {"weight_decay": 0.5})):
        module = module_of()
        fit(module, data(), max_epochs=60, learning_rate=1e-2, validation=0.0, **settings)
        sizes[name] = float(weights_of(module).abs().sum())
    assert sizes["l1"] < 0.7 * sizes["plain"] and sizes["decay"] < 0.7 * sizes["plain"]


def test_l1_is_the_sum_of_absolute_weights_without_biases() -> None:
    module = module_of()
    expected = 0.3 * sum(float(p.detach().abs().sum()) for p in module.parameters() if p.ndim > 1)
    history = fit(module, data(), max_epochs=1, batch_size=40, l1=0.3, validation=0.0)
    assert history["l1"][0] == pytest.approx(expected, rel=1e-5)
    fit(Slope(), data(), max_epochs=1, l1=0.3)  # a module of any other kind


@pytest.mark.parametrize("clip", [0.5, 2.0, 100.0])
def test_clip_limits_the_gradients_norm(clip: float) -> None:
    module = Slope(slope=8.0)
    fit(module, torch.zeros(4, 1), max_epochs=1, optimizer=SGD(0.0), learning_rate=1.0, schedule="constant", clip=clip)
    assert float(module.place.detach()) == pytest.approx(-min(8.0, clip), rel=1e-5)


# ---- rows


@pytest.mark.parametrize(
    ("n", "share"), [(10, 0.1), (100, 0.2), (57, 0.5), (12, 0.99), (10, 0.999), (9, 0.5), (1, 0.5), (40, 0.0)]
)
def test_held_out_and_training_rows_share_out_all_rows(n: int, share: float) -> None:
    training, held_out = split(n, share, seed=3)
    assert sorted([*training, *held_out]) == list(range(n)) and len(training) >= 1
    wanted = 0 if n < 10 or share == 0 else min(n - 1, max(1, round(share * n)))
    assert len(held_out) == wanted
    assert not wanted or list(held_out) != list(split(n, share, seed=4)[1]) or wanted in (1, n - 1)


@pytest.mark.parametrize(("n", "size"), [(10, 4), (9, 4), (1, 1), (1, 8), (5, 1), (2, 1), (17, 16), (3, 2), (7, 7)])
def test_batches_hold_every_row_once_and_no_row_is_alone(n: int, size: int) -> None:
    ends = cuts(n, size)
    lengths = np.diff(ends)
    assert ends[0] == 0 and ends[-1] == n and (lengths[:-1] == size).all() if len(lengths) > 1 else True
    assert lengths.min() > 1 or n == 1 or size == 1


def test_every_epoch_has_an_order_of_its_own() -> None:
    rows = np.arange(30, dtype=np.int64)
    first, second = shuffled(rows, 0, 0), shuffled(rows, 0, 1)
    assert list(first) != list(second) and sorted(first) == sorted(second) == list(rows)
    assert list(first) == list(shuffled(rows, 0, 0)) != list(shuffled(rows, 1, 0))


class Listening(AutoencoderModule):
    """Notes which rows (told apart by their first element) are trained on, and which are only looked at."""

    def reconstruct(self, x: Tensor, *args: Any, **named: Any) -> Reconstruction:
        kind = "trained" if self.training else "looked"
        self.__dict__.setdefault(kind, []).append([round(float(value)) for value in x[:, 0]])
        return super().reconstruct(x, *args, **named)


def test_held_out_rows_are_looked_at_and_never_trained_on() -> None:
    x = torch.cat([torch.arange(40.0)[:, None], data()[:, 1:]], dim=1)
    module = Listening(SampleSpec((5,)), 2, SMALL)
    fit(module, x, max_epochs=3, batch_size=8, validation=0.25)
    training, held_out = split(40, 0.25, seed=0)
    epochs = [sorted(sum(module.trained[start : start + 4], [])) for start in range(0, len(module.trained), 4)]
    assert epochs == [list(training)] * 3
    assert [sorted(rows) for rows in module.looked] == [list(held_out)] * 3


# ---- history


class Pull(Variant):
    """A penalty of the test's own."""

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        assert reconstruction.code is not None
        return 0.1 * reconstruction.code[0].square().sum(1)


@pytest.mark.parametrize(
    ("variants", "terms"),
    [
        ((), ["distortion"]),
        ("l1_sparse", ["distortion", "l1_sparse"]),
        (["variational", "contractive", Pull()], ["distortion", "rate", "contractive", "pull"]),
        (["denoising", "l1_sparse", Pull()], ["distortion", "l1_sparse", "pull"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("l1", [0.0, 0.01])
def test_the_loss_is_the_sum_of_its_terms_and_each_is_told_apart(variants: Any, terms: list[str], l1: float) -> None:
    history = fit(module_of(variants), data(), max_epochs=4, batch_size=8, l1=l1, validation=0.25)
    terms = [*terms, "l1"] if l1 else terms
    assert set(history.names) == {
        *("loss", *terms, "validation_loss", *(f"validation_{term}" for term in terms), "learning_rate", "seconds")
    }
    for part in ("", "validation_"):
        total = np.sum([history[part + term] for term in terms], axis=0)
        np.testing.assert_allclose(history[part + "loss"], total, rtol=1e-6)
    assert len(history["rate" if "rate" in terms else "distortion"]) == len(history) == 4
    assert [epoch.number for epoch in history] == [1, 2, 3, 4] and min(history["seconds"]) > 0


def test_importance_weighting_is_never_looser_than_the_sum() -> None:
    history = fit(module_of(["variational", "importance_weighted"]), data(), max_epochs=4)
    assert (np.array(history["loss"]) < np.add(history["distortion"], history["rate"])).all()


def test_an_epochs_terms_are_means_over_rows_whatever_the_batches() -> None:
    """With steps of size zero all batch sizes see the same module; 10 rows in batches of 4 are 4, 4 and 2."""
    x = data(10)
    whole, parts = (
        fit(module_of(), x, max_epochs=1, batch_size=size, learning_rate=1e-30, validation=0.0)["loss"][0]
        for size in (10, 4)
    )
    assert whole == pytest.approx(parts, rel=1e-6)
    assert whole == pytest.approx(float(module_of().loss(x).detach()), rel=1e-6)


def test_history_goes_through_json_and_names_what_it_has() -> None:
    history = fit(module_of("variational"), data(), max_epochs=3)
    assert History.from_json(json.loads(json.dumps(history.to_json()))) == history
    with pytest.raises(KeyError, match="no 'los'; it has: loss, distortion, rate, validation_loss"):
        history["los"]
    assert history[1] is history.epochs[1] and History().names == []


# ---- when it ends, and what is kept


def test_early_stopping_brings_back_exactly_the_best_epochs_weights() -> None:
    snapshots: list[tuple[bool, Tensor]] = []
    module = module_of()
    history = fit(
        module,
        data(24),
        max_epochs=300,
        learning_rate=0.05,
        schedule="constant",
        validation=0.3,
        patience=5,
        callbacks=[lambda report: snapshots.append((report.best, weights_of(report.module)))],
    )
    best = int(np.argmin(history["validation_loss"])) + 1
    assert history.best_epoch == best and len(history) == best + 5 < 300
    assert history.ended == "no better held-out loss for 5 epochs"
    assert torch.equal(weights_of(module), snapshots[best - 1][1])
    assert not torch.equal(weights_of(module), snapshots[-1][1])
    lowest = np.minimum.accumulate(history["validation_loss"])
    assert [better for better, _ in snapshots] == [True, *(lowest[1:] < lowest[:-1])]
    assert not module.training


def test_without_patience_it_goes_to_the_end_and_still_brings_back_the_best() -> None:
    snapshots: list[Tensor] = []
    module = module_of()
    history = fit(
        module,
        data(24),
        max_epochs=60,
        learning_rate=0.05,
        schedule="constant",
        validation=0.3,
        patience=None,
        callbacks=[lambda report: snapshots.append(weights_of(report.module))],
    )
    assert history.ended == "all 60 epochs done" and history.best_epoch is not None and history.best_epoch < 60
    assert torch.equal(weights_of(module), snapshots[history.best_epoch - 1])


def test_with_nothing_held_out_the_last_weights_stay() -> None:
    snapshots: list[Tensor] = []
    module = module_of()
    note = lambda report: snapshots.append(weights_of(report.module))  # noqa: E731
    history = fit(module, data(), max_epochs=3, validation=0.0, callbacks=[note])
    assert history.best_epoch is None and torch.equal(weights_of(module), snapshots[-1])
    assert "validation_loss" not in history.names


def test_callbacks_are_told_of_every_epoch_and_can_stop() -> None:
    told: list[EpochReport] = []
    stop = lambda report: report.epoch.number == 3  # noqa: E731
    history = fit(module_of(), data(), max_epochs=9, callbacks=[told.append, stop, told.append])
    assert len(history) == 3 and history.ended == "a callback asked to stop after epoch 3"
    assert [report.epoch.number for report in told] == [1, 1, 2, 2, 3, 3]  # also those behind the one that stops
    assert all(isinstance(report, EpochReport) and report.max_epochs == 9 for report in told)
    assert len(fit(module_of(), data(), max_epochs=2, callbacks=[lambda report: "yes"])) == 2  # only True stops


@pytest.mark.parametrize("normalisation", [None, "batch", "layer"])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 9, 17])
def test_few_rows_and_a_last_batch_of_one_row_train(n_rows: int, normalisation: str | None) -> None:
    for size in (1, 4, 8):
        module = module_of(network=Dense(widths=(6,), normalisation=normalisation))
        before = weights_of(module)
        history = fit(module, data(n_rows), max_epochs=3, batch_size=size)
        assert len(history) == 3 and np.isfinite(history["loss"]).all()
        assert torch.isfinite(weights_of(module)).all() and not torch.equal(weights_of(module), before)


# ---- Ctrl-C


class Interrupting:
    """A watcher that presses Ctrl-C after so many steps."""

    def __init__(self, after: int):
        self.after, self.closed = after, 0

    def step(self, done: int, of: int, epoch: int, epochs: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt

    def epoch(self, report: EpochReport) -> None: ...

    def close(self) -> None:
        self.closed += 1


def interrupt_in_epoch(number: int) -> Callable[[EpochReport], None]:
    def press(report: EpochReport) -> None:
        if report.epoch.number == number:
            raise KeyboardInterrupt

    return press


def test_ctrl_c_keeps_the_best_so_far() -> None:
    snapshots: list[Tensor] = []
    module, watcher = module_of(), Interrupting(after=5 * 5 + 2)
    note = lambda report: snapshots.append(weights_of(report.module))  # noqa: E731
    with pytest.warns(TrainingWarning, match=r"stopped by hand in epoch 6; the weights of epoch \d were kept"):
        history = fit(module, data(), max_epochs=50, batch_size=8, validation=0.1, watchers=[watcher], callbacks=[note])
    assert len(history) == 5 and history.best_epoch is not None and "stopped by hand" in history.ended
    assert torch.equal(weights_of(module), snapshots[history.best_epoch - 1])
    assert watcher.closed == 1 and not module.training


def test_ctrl_c_in_a_callback_and_before_the_first_epoch_is_done() -> None:
    with pytest.warns(TrainingWarning, match="the weights of epoch"):
        assert len(fit(module_of(), data(), max_epochs=50, callbacks=[interrupt_in_epoch(2)])) == 2
    with pytest.warns(TrainingWarning, match="stopped by hand in epoch 1; the weights that it had then were kept"):
        assert len(fit(module_of(), data(), max_epochs=50, batch_size=8, watchers=[Interrupting(after=2)])) == 0


def test_any_other_error_goes_up_and_the_watchers_are_closed() -> None:
    def fail(report: EpochReport) -> None:
        raise ZeroDivisionError

    watcher = Interrupting(after=-1)
    with pytest.raises(ZeroDivisionError):
        fit(module_of(), data(), max_epochs=5, callbacks=[fail], watchers=[watcher])
    assert watcher.closed == 1


# ---- a loss that is not finite


@pytest.mark.parametrize("junk", [math.nan, math.inf])
@pytest.mark.parametrize("row", [0, 7, 39])
def test_a_loss_that_is_not_finite_names_the_data_when_they_are_to_blame(row: int, junk: float) -> None:
    """Also when the row is a held-out one."""
    x = data()
    x[row, 1] = junk
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch 1, step \d; the data hold NaN or infinite"):
        fit(module_of(), x, max_epochs=3, batch_size=16)


def test_the_advice_to_give_nan_weight_0_works() -> None:
    x = data()
    x[::7, 1] = math.nan
    module = module_of()
    weight = torch.isfinite(x).float()
    batches = lambda rows: Batch(x[torch.as_tensor(rows)], weight[torch.as_tensor(rows)])  # noqa: E731
    history = train(module, batches, 40, Training(max_epochs=3))
    assert np.isfinite(history["loss"]).all() and torch.isfinite(weights_of(module)).all()


def test_a_loss_that_is_not_finite_names_an_absurd_learning_rate() -> None:
    with pytest.raises(TrainingError, match=r"in epoch 1, step \d+; .* learning rate 1e\+06 is too large: try 100000"):
        fit(module_of(network=Dense(widths=())), data(), max_epochs=9, batch_size=2, optimizer="sgd", learning_rate=1e6)


def test_a_loss_that_is_not_finite_is_found_wherever_it_begins() -> None:
    for step in (1, 2, 5):
        module = module_of()

        def poison(done: int, at: int = step, module: AutoencoderModule = module) -> None:
            if done == at - 1:
                next(module.parameters()).data.fill_(math.nan)

        watcher = Interrupting(after=-1)
        watcher.step = lambda done, of, epoch, epochs, poison=poison: poison(done)  # type: ignore[method-assign]
        poison(0)
        with pytest.raises(TrainingError, match=f"the loss became nan in epoch {(step - 1) // 5 + 1}, step {step};"):
            fit(module, data(), max_epochs=3, batch_size=8, validation=0.0, watchers=[watcher])


def test_after_a_good_epoch_the_best_is_kept() -> None:
    snapshots: list[Tensor] = []

    def note_then_poison(report: EpochReport) -> None:
        snapshots.append(weights_of(report.module))
        if report.epoch.number == 3:
            next(report.module.parameters()).data.fill_(math.nan)

    module = module_of()
    with pytest.warns(TrainingWarning, match=r"nan in epoch 4, step \d+; .*; the weights of epoch \d were kept\.$"):
        history = fit(module, data(), max_epochs=9, callbacks=[note_then_poison])
    assert len(history) == 3 and history.best_epoch is not None
    assert torch.equal(weights_of(module), snapshots[history.best_epoch - 1])


# ---- the same again


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    """With dropout, which draws from torch's global numbers, and whatever stands there before."""
    network = Dense(widths=(6,), dropout=0.3)
    results = []
    for seed, outside in ((5, 1), (5, 2), (6, 1)):
        torch.manual_seed(outside)
        module = module_of(["denoising", "variational"], network=network)
        fit(module, data(), seed=seed, max_epochs=4, batch_size=8)
        results.append(weights_of(module))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_the_users_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(module_of("denoising", network=Dense(widths=(6,), dropout=0.3)), data(), max_epochs=3)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()


def test_fitting_an_estimator_leaves_the_users_random_numbers_alone() -> None:
    from isthmus import Autoencoder

    torch.manual_seed(3)
    np.random.seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    x = data(60).numpy().astype(np.float64)
    training = Training(max_epochs=40, learning_rate=0.02)
    network = Dense(widths=(16,), dropout=0.1)
    models = [Autoencoder(2, network=network, training=training, random_state=seed) for seed in (0, 0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)  # a run this short is not a good one
        codes = [model.fit(x).transform(x) for model in models]
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numpy_before).all()
    assert np.array_equal(codes[0], codes[1]) and not np.array_equal(codes[0], codes[2])


# ---- settings


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("max_epochs", value) for value in (0, -3, 1.5, True, "all", None)),
        *(("batch_size", value) for value in (0, -1, 2.0, "big", None)),
        *(("patience", value) for value in (0, -1, 0.5, "long")),
        *(("learning_rate", value) for value in (0, -1e-3, math.nan, math.inf, "fast", None, True)),
        *(("validation", value) for value in (-0.1, 1.0, 1.5, math.nan, "half")),
        *(("weight_decay", value) for value in (-1, math.nan, "much")),
        *(("l1", value) for value in (-1, math.nan)),
        *(("clip", value) for value in (0, -1, math.nan, "much")),
        *(("optimizer", value) for value in ("adamm", 3, "cosine", Cosine())),
        *(("schedule", value) for value in ("cosin", 3, "adam", Adam())),
    ],
    ids=repr,
)
def test_a_wrong_setting_is_one_sentence(name: str, wrong: object) -> None:
    with pytest.raises(SettingError) as caught:
        fit(module_of(), data(), **{name: wrong})
    text = str(caught.value)
    assert name in text and "\n" not in text and text.endswith(".") and len(text) < 400
    assert repr(wrong) in text or type(wrong).__name__ in text


def test_numpy_numbers_are_numbers() -> None:
    settings = dict(max_epochs=np.int64(2), batch_size=np.int32(8), patience=np.int64(3))
    numbers = dict(learning_rate=np.float32(0.01), validation=np.float64(0.2), l1=np.float32(0.0))
    assert len(fit(module_of(), data(), **settings, **numbers)) == 2


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 3.0, math.nan])
def test_a_dropout_that_is_no_share_is_refused(dropout: float) -> None:
    with pytest.raises(SettingError, match="dropout is .* must be at least 0 and below 1"):
        module_of(network=Dense(widths=(6,), dropout=dropout))


def test_a_module_that_cannot_change_is_refused() -> None:
    with pytest.raises(SettingError, match="nothing to train"):
        fit(module_of().requires_grad_(False), data(), max_epochs=1)


def test_frozen_parameters_stay() -> None:
    module = module_of()
    module.network.encoder.requires_grad_(False)
    before = [parameter.clone() for parameter in module.network.encoder.parameters()]
    fit(module, data(), max_epochs=3, weight_decay=0.1)
    assert all(torch.equal(old, new) for old, new in zip(before, module.network.encoder.parameters(), strict=True))


@pytest.mark.parametrize(
    ("n_rows", "size", "epochs"), [(3, 3, 300), (500, 16, 125), (20_000, 256, 51), (10**7, 256, 10)]
)
def test_auto_takes_more_rows_a_step_and_fewer_epochs_where_there_are_more(n_rows: int, size: int, epochs: int) -> None:
    training = Training()
    assert training.rows_per_step(n_rows) == size
    assert training.epochs(len(cuts(n_rows, size)) - 1) == epochs


def test_large_pictures_come_in_small_batches_and_fewer_steps() -> None:
    training = Training()
    assert training.rows_per_step(54_000) == 256
    assert training.rows_per_step(54_000, (1, 28, 28)) == 64  # 50,176 numbers
    assert training.rows_per_step(480, (3, 224, 224)) == 16
    assert training.rows_per_step(54_000, (7_000,)) == 256  # a wide table is no picture
    assert training.epochs(27) == 149
    assert training.epochs(27, 16, (3, 224, 224)) == 17
    assert Training(max_epochs=5).epochs(27, 10**9, (1,)) == 5


def test_rows_of_a_table_take_half_the_steps_at_twice_the_rate() -> None:
    training = Training()
    assert (training.epochs(27, 256, (30,)), training.rate((30,))) == (75, 0.002)
    for shape in ((1, 28, 28), (100, 3), ()):
        assert (training.epochs(27, 16, shape), training.rate(shape)) == (149, 0.001)
    module, given = module_of(), []
    fit(module, data(), max_epochs=1, schedule="constant", callbacks=[lambda report: given.append(report.epoch)])
    assert given[0].learning_rate == 0.002
    assert Training(learning_rate=0.5).rate((30,)) == 0.5


# ---- what adversaries and preparing variants may rely on


class Prepared(Variant):
    """Needs the mean of all training rows before it starts, and owns a parameter with an optimizer of its own."""

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        return nn.Linear(n_components, 1)

    def prepare(self, batches: Any, generator: torch.Generator) -> None:
        self.mean = torch.cat(list(batches())).mean(0)
        self.again = torch.cat(list(batches())).mean(0)
        self.draw = float(torch.rand((), generator=generator))

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        assert self.trained is not None and reconstruction.code is not None
        return self.trained(reconstruction.code[0]).squeeze(1).square()  # type: ignore[no-any-return]

    def adversary(self) -> Any:
        assert self.trained is not None
        return self.trained.parameters()


def test_a_variant_is_prepared_with_all_training_rows_and_its_adversary_is_stepped() -> None:
    x, module = data(), module_of(Prepared())
    before = weights_of(module.built)
    fit(module, x, max_epochs=2, validation=0.2)
    variant = module.variants[0]
    assert isinstance(variant, Prepared)
    torch.testing.assert_close(variant.mean, x[torch.as_tensor(split(40, 0.2, 0)[0])].mean(0))
    assert torch.equal(variant.mean, variant.again)
    assert not torch.equal(weights_of(module.built), before)


# ---- progress


def drawn(bar: ProgressBar) -> str:
    fit(module_of(), data(), max_epochs=3, watchers=[bar])
    assert isinstance(bar.console.file, io.StringIO)
    return bar.console.file.getvalue()


@pytest.mark.parametrize("verbose", [None, False])
def test_progress_is_silent_when_nobody_looks(verbose: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    fit(module_of(), data(), max_epochs=3, watchers=[ProgressBar(verbose)])
    assert capsys.readouterr() == ("", "")


def test_progress_is_drawn_on_standard_error_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = ProgressBar(verbose=True)
    bar.console = Console(file=sys.stderr, force_terminal=True, width=120)
    text = drawn(bar)
    assert "training" in text and "epoch 3/3" in text and "loss" in text and "held out" in text and "left" in text


def test_a_short_run_in_a_terminal_draws_nothing_and_a_long_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for delay, shown in ((1000.0, False), (0.0, True)):
        bar = ProgressBar()
        bar.console, bar.wanted, bar.delay = Console(file=io.StringIO(), force_terminal=True, width=120), True, delay
        assert ("epoch" in drawn(bar)) == shown


# ---- applying


def test_large_samples_go_in_small_chunks_with_the_same_result() -> None:
    x = torch.arange(40.0).reshape(20, 2)
    seen: list[int] = []

    def batches(rows: slice) -> Batch:
        seen.append(len(x[rows]))
        return Batch(x[rows])

    whole = apply(torch.nn.Linear(2, 1), batches, 20, lambda batch: batch.x.sum(1))
    small = apply(torch.nn.Linear(2, 1), batches, 20, lambda batch: batch.x.sum(1), sample_size=CHUNK_NUMBERS // 3)
    assert seen == [20, 3, 3, 3, 3, 3, 3, 2]
    np.testing.assert_array_equal(small, whole)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
def test_adam_is_torchs_bit_for_bit(ours: type, theirs: type, dtype: torch.dtype, decay: float) -> None:
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random, dtype=dtype) for shape in ((5, 3), (4,), (2, 3, 3, 3), (2,))]
    start[2] = start[2].contiguous(memory_format=torch.channels_last)
    found = []
    for build in (
        lambda parameters: ours(beta1=0.8, epsilon=1e-6).build(parameters, 0.01, decay),
        lambda parameters: theirs(parameters, 0.01, (0.8, 0.999), 1e-6, decay, fused=True),
    ):
        random.manual_seed(1)
        parameters = [torch.nn.Parameter(value.clone()) for value in start]
        adam = build(parameters)
        for step in range(7):
            for parameter in parameters[:3]:  # the last one has no gradient
                parameter.grad = torch.randn(parameter.shape, generator=random, dtype=dtype).to(parameter)
            parameters[1].grad = parameters[1].grad if step % 2 else None
            adam.param_groups[0]["lr"] = 0.01 / (1 + step)
            adam.step()
        found.append(parameters)
        assert not torch.equal(parameters[0], start[0])
        assert torch.equal(parameters[3], start[3])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_adam_goes_on_from_its_state_in_any_memory_order() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for stop in (False, True):
        parameter = torch.nn.Parameter(weight.clone().contiguous(memory_format=torch.channels_last))
        adam = Adam().build([parameter], 0.1, 0.0)
        for step in range(4):
            if stop and step == 2:
                kept = {name: value.contiguous() for name, value in adam.state_dict()["state"][0].items()}
                adam = Adam().build([parameter], 0.1, 0.0)
                adam.load_state_dict({"state": {0: kept}})
            parameter.grad = (parameter.detach() - 1).contiguous(memory_format=torch.channels_last) * (step + 1)
            adam.step()
        found.append(parameter.detach())
    assert torch.equal(*found)


def test_without_the_private_kernel_torchs_own_adam_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_fused_adam_")
    parameter = torch.nn.Parameter(torch.zeros(2))
    adam = Adam().build([parameter], 0.1, 0.0)
    assert isinstance(adam, torch.optim.Adam)
    parameter.grad = torch.ones(2)
    adam.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2,), -0.1))


@pytest.mark.slow
def test_fitting_does_not_import_the_compiler() -> None:
    code = (
        "import sys, numpy as np\n"
        "from isthmus import Autoencoder, Training\n"
        "x = np.random.default_rng(0).normal(size=(50, 1)) @ np.ones((1, 4))\n"
        "Autoencoder(1, training=Training(max_epochs=2), random_state=0).fit(x)\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_are_tried_and_tried_again() -> None:
    used: list[int] = []
    now = [0.0]
    trial = ThreadTrial(4, used.append, lambda: now[0])

    def steps(n_steps: int, seconds: dict[int, float]) -> None:
        for _ in range(n_steps):
            now[0] += seconds[used[-1]]
            trial.took(seconds[used[-1]])

    steps(200, {4: 0.01, 1: 0.03})  # a quiet machine
    assert used[-1] == 4
    steps(3000, {4: 0.2, 1: 0.03})  # a busy process has come
    assert used[-1] == 1
    share = sum(used[i] == 4 for i in range(len(used))) / len(used)
    assert 0 < share < 0.6
    steps(2000, {4: 0.01, 1: 0.03})
    assert used[-1] == 4


def test_without_a_seed_threads_are_tried_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr("isthmus.training.loop.ThreadTrial", lambda _: ThreadTrial(3, used.append))
    monkeypatch.setattr("isthmus.training.loop.one_thread", lambda *_: False)
    x = torch.randn(200, 4)
    for steady, wanted in ((True, set()), (False, {1, 3})):
        module = AutoencoderModule(SampleSpec((4,)), 2)
        batches = lambda rows: Batch(x[torch.as_tensor(rows)])  # noqa: E731
        train(module, batches, 200, Training(max_epochs=3, batch_size=16), steady=steady)
        assert set(used) == wanted


def test_losses_are_means_over_the_rows() -> None:
    x = torch.randn(103, 4, dtype=torch.float64)
    module = AutoencoderModule(SampleSpec((4,)), 2).double()
    batches = lambda rows: Batch(x[torch.as_tensor(rows)])  # noqa: E731
    training = Training(max_epochs=1, batch_size=16, learning_rate=1e-13, validation=0.2)
    history = train(module, batches, 103, training, seed=3)
    rows, held_out = split(103, 0.2, seed=3)
    for name, some in (("loss", rows), ("validation_loss", held_out)):
        assert history[name][0] == pytest.approx(module.loss(x[torch.as_tensor(some)]).item(), rel=1e-9)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_the_average_of_weights_is_what_is_kept(validation: float) -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batches = lambda rows: Batch(x[torch.as_tensor(rows)])  # noqa: E731
    settings = dict(max_epochs=3, batch_size=16, learning_rate=0.05, schedule="constant", validation=validation)
    start = AutoencoderModule(SampleSpec((4,)), 2, SMALL).double()
    ways: list[list[Tensor]] = []

    class Noting:
        def step(self, *_: int) -> None:
            ways.append([parameter.detach().clone() for parameter in plain.parameters()])

        def epoch(self, report: EpochReport) -> None: ...

        def close(self) -> None: ...

    plain, averaged = copy.deepcopy(start), copy.deepcopy(start)
    train(plain, batches, 60, Training(**settings), watchers=[Noting()])
    history = train(averaged, batches, 60, Training(**settings, ema=0.8))
    expected = [parameter.detach().clone() for parameter in start.parameters()]
    at_epochs = []
    for step, weights in enumerate(ways, start=1):
        stays = min(0.8, (1 + step) / (10 + step))
        expected = [stays * old + (1 - stays) * new for old, new in zip(expected, weights, strict=True)]
        if step % (len(ways) // 3) == 0:
            at_epochs.append(expected)
    best = (history.best_epoch or 3) - 1
    for found, wanted in zip(averaged.parameters(), at_epochs[best], strict=True):
        torch.testing.assert_close(found.detach(), wanted, rtol=1e-9, atol=1e-12)
    if validation:
        held_out = torch.as_tensor(split(60, validation, seed=0)[1])
        assert history["validation_loss"][best] == pytest.approx(averaged.loss(x[held_out]).item(), rel=1e-9)
