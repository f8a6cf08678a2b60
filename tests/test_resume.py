"""A stopped run goes on where it stood, and ends as if nothing had happened: bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import storage
from isthmus.errors import ModelFileError, TrainingError, TrainingWarning
from isthmus.module import AutoencoderModule
from isthmus.networks.dense import Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Checkpoint, Epoch, EpochReport, History, Step, Training, train
from isthmus.training.interrupts import Interrupts
from isthmus.training.state import RunState
from isthmus.variants.base import Variant

N_ROWS, N_EPOCHS, KILLS = 44, 40, 57
HARD = Dense(widths=(8,), normalisation="batch", dropout=0.3)  # draws at random and keeps running statistics
SETTINGS: dict[str, Any] = dict(batch_size=8, optimizer="adamw", weight_decay=0.01, learning_rate=0.01, patience=None)


def data(seed: int = 0) -> Tensor:
    return torch.randn(N_ROWS, 6, generator=torch.Generator().manual_seed(seed))


def module_of(network: Any = HARD, variants: Any = ("denoising", "variational"), seed: int = 1) -> AutoencoderModule:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoencoderModule(SampleSpec((6,)), 2, network, "normal", variants)


def fit(
    module: AutoencoderModule,
    checkpoint: Any = None,
    *,
    x: Tensor | None = None,
    seed: int = 0,
    told: Callable[[], object] = lambda: None,
    **settings: Any,
) -> History:
    """Train on x; `told` is called whenever rows are asked for."""
    rows = data() if x is None else x
    training = Training(**(SETTINGS | {"max_epochs": 6, "checkpoint": checkpoint} | settings))

    def batches(chosen: Any) -> Batch:
        told()
        return Batch(rows[torch.as_tensor(chosen)])

    return train(module, batches, len(rows), training, seed=seed)


def digest(module: AutoencoderModule, history: History) -> str:
    """Of all weights and of all that the history says, except how long it took."""
    told = [[epoch.number, sorted(epoch.training.items()), sorted(epoch.validation.items())] for epoch in history]
    rest = [told, history["learning_rate"], history.best_epoch, history.ended]
    found = hashlib.sha256(json.dumps(rest).encode())
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()


def run(checkpoint: Any = None, **named: Any) -> str:
    module = module_of()
    return digest(module, fit(module, checkpoint, **named))


# ---- kill -9


def die_at_sync(number: int) -> None:
    """Of every writing, the first sync is that of the new file before its renaming, the second is the folder's."""
    calls = iter(range(1, number))
    real = os.fsync

    def sync(descriptor: int) -> None:
        real(descriptor)
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = sync


def attempt(folder: Path, at_sync: int | None = None) -> tuple[int, int]:
    """One try in a process of its own: the process's number, and a pipe that speaks when it begins with the data."""
    hear, speak = os.pipe()
    child = os.fork()
    if child:
        os.close(speak)
        return child, hear
    try:
        if at_sync is not None:
            die_at_sync(at_sync)
        checkpoint = Checkpoint(folder / "run.checkpoint", every=0.0)
        found = run(checkpoint, max_epochs=N_EPOCHS, told=lambda: os.write(speak, b"."))
        (folder / "result").write_text(found)
    finally:
        os._exit(0 if (folder / "result").exists() else 1)


def killed_again_and_again(folder: Path, seconds: float) -> dict[str, int]:
    """Start, kill, start again ...; says in what state the kills found the run."""
    random = np.random.default_rng(0)
    found = {"kills": 0, "steps": 0, "before the first checkpoint": 0, "while writing": 0, "within an epoch": 0}
    for number in range(KILLS):
        child, hear = attempt(folder, number - 4 if 5 <= number < 11 else None)
        if number < 5:
            time.sleep(random.uniform(0, 0.005))
        elif number < 11:  # it kills itself within a writing
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        else:
            os.read(hear, 1)
            # all delays together are much shorter than the run, so that it cannot end before the last of them
            time.sleep(random.uniform(0, seconds / KILLS))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(hear)
        found["kills"] += os.WIFSIGNALED(status) and not (folder / "result").exists()
        found["while writing"] += (folder / f".run.checkpoint.{child}.tmp").exists()
        if (folder / "run.checkpoint").exists():
            found["steps"] = storage.load(folder / "run.checkpoint").document["step"]
            found["within an epoch"] += found["steps"] % 5 != 0
        else:
            found["before the first checkpoint"] += 1
    return found


def main(folder: Path) -> None:
    """What the test starts: torch is imported once, every try is a fork."""
    torch.set_num_threads(1)
    started = time.monotonic()
    whole = run(Checkpoint(folder / "other.checkpoint", every=0.0), max_epochs=N_EPOCHS)
    report: dict[str, Any] = dict(killed_again_and_again(folder, time.monotonic() - started))
    child, _ = attempt(folder)
    os.waitpid(child, 0)
    report |= {"whole": whole, "without checkpoint": run(max_epochs=N_EPOCHS)}
    report |= {"result": (folder / "result").read_text(), "left": sorted(path.name for path in folder.iterdir())}
    sys.stdout.write(json.dumps(report))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork, which makes 57 starts affordable")
def test_57_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["result"] == report["whole"] == report["without checkpoint"]
    assert report["kills"] == KILLS
    for moment in ("steps", "before the first checkpoint", "while writing", "within an epoch"):
        assert report[moment] > 0, report
    assert report["left"] == ["result"]  # no checkpoint, and nothing half written


# ---- other ways to stop


class StopAt:
    """Ctrl-C at the end of an epoch, once."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def __call__(self, report: EpochReport) -> None:
        if report.epoch.number == self.epoch:
            raise KeyboardInterrupt


def stop(checkpoint: Checkpoint, module: AutoencoderModule | None = None, epoch: int = 3, **named: Any) -> None:
    """A run that ends by Ctrl-C in this epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        history = fit(module or module_of(), checkpoint, callbacks=[StopAt(epoch)], **named)
    assert len(history) == epoch and Path(checkpoint.path).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("adam", "cosine(warm_up=0.2)"),
        ("adamw", "plateau(patience=1)"),
        ("sgd", Step(every=2)),
        ("sgd(momentum=0.0)", "exponential"),
        ("rmsprop", "constant"),
        ("rmsprop(momentum=0.5)", "plateau(patience=1)"),
    ],
)
def test_a_run_goes_on_after_ctrl_c(tmp_path: Path, optimizer: str, schedule: Any) -> None:
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    settings = {"optimizer": optimizer, "schedule": schedule, "l1": 1e-3, "clip": 1.0, "ema": 0.9}
    stop(checkpoint, **settings)
    assert run(checkpoint, **settings) == run(**settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("validation", [0.0, 0.3])
@pytest.mark.parametrize("epoch", [1, 5, 6])
def test_it_goes_on_wherever_it_was_stopped(tmp_path: Path, epoch: int, validation: float) -> None:
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint, epoch=epoch, validation=validation)
    assert run(checkpoint, validation=validation) == run(validation=validation)


@pytest.mark.slow
def test_patience_is_counted_across_the_stop(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"patience": 2, "max_epochs": 60, "learning_rate": 0.1, "validation": 0.3}
    whole = fit(module_of(), **settings)
    assert 3 < len(whole) < 60 and whole.best_epoch == len(whole) - 2
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint, epoch=len(whole) - 1, **settings)
    module = module_of()
    resumed = fit(module, checkpoint, **settings)
    assert len(resumed) == len(whole) and resumed.best_epoch == whole.best_epoch
    assert run(**settings) == digest(module, resumed)


def test_a_path_is_a_checkpoint_that_is_written_now_and_then(tmp_path: Path) -> None:
    path = tmp_path / "run"
    seen = []
    fit(module_of(), str(path), callbacks=[lambda report: seen.append(path.exists())])
    assert seen == [False] * 6  # the run was shorter than 30 seconds
    fit(module_of(), Checkpoint(path, every=0.0), callbacks=[lambda report: seen.append(path.exists())])
    assert seen[6:] == [True] * 6 and not path.exists()


def test_without_a_seed_of_its_own_a_run_goes_on_with_the_stored_one(tmp_path: Path) -> None:
    """As an estimator without random_state draws a new seed, and builds other first weights, at every start."""
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint, seed=11)
    module = module_of(seed=99)
    assert digest(module, fit(module, checkpoint, seed=12)) == run(seed=11) != run(seed=12)


class Learned(Variant):
    """Depends on what it was prepared with: some rows, and a draw."""

    def prepare(self, batches: Any, generator: torch.Generator) -> None:
        self.mean = torch.cat(list(batches())).mean(0)
        self.draw = torch.rand((), generator=generator) + torch.rand(())

    def corrupt(self, reconstruction: Any) -> None:
        reconstruction.seen = reconstruction.seen - self.mean * self.draw


def test_what_is_prepared_before_training_is_prepared_the_same(tmp_path: Path) -> None:
    checkpoint, whole, parts = Checkpoint(tmp_path / "run", every=0.0), *(module_of(variants=Learned()) for _ in "ab")
    stop(checkpoint, module_of(variants=Learned()), seed=11)
    first, second = fit(whole, seed=11), fit(parts, checkpoint, seed=12)
    assert digest(whole, first) == digest(parts, second)
    mine, theirs = (module.variants[0] for module in (whole, parts))
    assert isinstance(mine, Learned) and isinstance(theirs, Learned)
    assert torch.equal(mine.mean, theirs.mean) and torch.equal(mine.draw, theirs.draw)


def test_the_users_random_numbers_survive_a_resumed_run(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is not signal.default_int_handler or os.name == "nt", reason="Ctrl-C is taken here"
)
def test_ctrl_c_writes_the_checkpoint_however_seldom_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real signal, in the middle of a step: the step is finished, its end written down."""
    monkeypatch.setattr("isthmus.training.ahead.FETCHED", 1)  # so that every step looks at data
    checkpoint = Checkpoint(tmp_path / "run", every=1e6)
    pressed: list[int] = []

    def press_in_a_step(rows: Any) -> Batch:
        pressed.append(len(rows))
        if len(pressed) == 15:
            os.kill(os.getpid(), signal.SIGINT)
        return Batch(data()[torch.as_tensor(rows)])

    training = Training(**(SETTINGS | {"max_epochs": 6, "checkpoint": checkpoint}))
    with pytest.warns(TrainingWarning, match="stopped by hand in epoch 3"):
        train(module_of(), press_in_a_step, N_ROWS, training)
    assert storage.load(checkpoint.path).document["step"] == 12  # 15 looks at data: fingerprint, steps, held-out rows
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run(checkpoint) == run() and not list(tmp_path.iterdir())


def test_a_second_ctrl_c_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts(wanted=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts(wanted=False):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_a_long_history_fits_into_a_checkpoint(tmp_path: Path) -> None:
    """Thirty thousand epochs, which is more than the file's document may hold."""
    epochs = [Epoch(n, {"loss": 1 / n, "distortion": 0.1}, {"loss": 2 / n}, 1e-3, 0.01) for n in range(1, 30_001)]
    module = module_of()
    state = RunState(module, [], torch.Generator(), History(epochs, best_epoch=30_000))
    storage.save(tmp_path / "run", state.document(), state.tensors())
    back = RunState(module, [], torch.Generator())
    back.restore(storage.load(tmp_path / "run"))
    assert back.history == state.history


# ---- another run's checkpoint


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("rows", {"x": data()[:40]}),
        ("values", {"x": data(seed=1)}),
        ("learning rate", {"learning_rate": 0.02}),
        ("optimizer's settings", {"optimizer": "adamw(beta1=0.8)"}),
        ("epochs", {"max_epochs": 7}),
        ("dropout", {"module": lambda: module_of(network=Dense((8,), normalisation="batch", dropout=0.1))}),
        ("activation", {"module": lambda: module_of(network=Dense((8,), "relu", normalisation="batch", dropout=0.3))}),
        ("width", {"module": lambda: module_of(network=Dense((9,), normalisation="batch", dropout=0.3))}),
        ("variant", {"module": lambda: module_of(variants=("denoising", "variational", "l1_sparse"))}),
        ("variant's settings", {"module": lambda: module_of(variants=("denoising", "variational(beta=2.0)"))}),
        ("number type", {"module": lambda: module_of().double(), "x": data().double()}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, what: str, change: dict[str, Any]) -> None:
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint)
    before = Path(checkpoint.path).read_bytes()
    settings = {name: value for name, value in change.items() if name != "module"}
    module = change.get("module", module_of)()
    with pytest.raises(TrainingError, match=r"checkpoint .*run' belongs to a run with other data or settings; give"):
        fit(module, checkpoint, **settings)
    assert Path(checkpoint.path).read_bytes() == before  # it is still there for the run that it belongs to


def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    stop(checkpoint)
    content = bytearray(Path(checkpoint.path).read_bytes())
    content[-9] ^= 1
    Path(checkpoint.path).write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        fit(module_of(), checkpoint)
    assert "\n" not in str(caught.value) and "run" in str(caught.value)


def test_neither_callbacks_nor_an_objects_address_make_it_another_run(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        """Prints its address, as functions and many objects do."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 2)

        def extra_repr(self) -> str:
            return f"helper={object()!r}"

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)  # type: ignore[no-any-return]

    checkpoint = Checkpoint(tmp_path / "run", every=0.0)
    network = (Odd(), torch.nn.Linear(2, 6))
    stop(checkpoint, module_of(network, ()))
    assert len(fit(module_of(network, ()), checkpoint, callbacks=[lambda report: None])) == 6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
