"""Several processes that train together end with the weights of one process; run as a script, this file is one of them.

One launch by torchrun goes through all the cases below on two processes of this machine (gloo); the tests hold what
each process wrote down against the same case computed here, alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from isthmus import Autoencoder, Training, load
from isthmus.errors import TrainingError, TrainingWarning
from isthmus.module import AutoencoderModule
from isthmus.networks.dense import Dense
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training import SGD, Batch, EpochReport, History, train
from isthmus.training.devices import LAUNCHED, launched_rank, resolve_device
from isthmus.training.parallel import Peers, Share, Together, joined
from isthmus.variants.base import Variant

ROOT = Path(__file__).resolve().parent.parent
SMALL = Dense(widths=(6,), activation="tanh")
SIZE = 2
RANK = int(os.environ.get("RANK", "0"))  # 0 also in the process that compares


@dataclass
class Found:
    """What one process can say of one case."""

    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    losses: dict[str, list[float]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)

    def write(self, path: Path) -> None:
        np.save(Path(f"{path}.npy"), self.weights)
        Path(f"{path}.json").write_text(json.dumps([self.losses, self.said, self.numbers]))

    @classmethod
    def read(cls, path: Path) -> Found:
        return cls(np.load(Path(f"{path}.npy")), *json.loads(Path(f"{path}.json").read_text()))


# ---- the cases


def data(n_rows: int = 53, width: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(2, width, generator=generator, dtype=dtype)
    noise = torch.randn(n_rows, width, generator=generator, dtype=dtype)
    return torch.randn(n_rows, 2, generator=generator, dtype=dtype) @ mix + 0.1 * noise


def fit(
    variants: Any = (),
    *,
    x: Tensor | None = None,
    network: Any = SMALL,
    weight: Tensor | None = None,
    seed: int = 0,
    told: list[str] | None = None,
    numbers: list[float] | None = None,
    **settings: Any,
) -> Found:
    x = data() if x is None else x
    with torch.random.fork_rng():
        torch.manual_seed(1 + 5 * RANK)  # whoever joins brings weights of its own, and takes over the first one's
        module = AutoencoderModule(SampleSpec((x.shape[1],), gaps=weight is not None), 2, network, "normal", variants)
    module = module.to(x.dtype)

    def batches(rows: Any) -> Batch:
        chosen = torch.as_tensor(rows)
        present = None if weight is None or bool((weight[chosen] > 0).all()) else weight[chosen]  # as tables do
        return Batch(x[chosen], present)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training = Training(**(dict(max_epochs=6, batch_size=9, validation=0.2, learning_rate=0.01) | settings))
        history = train(module, batches, len(x), training, seed=seed)
    said = [history.ended, *(str(one.message) for one in caught if one.category is TrainingWarning)]
    return Found(weights_of(module), losses_of(history), said + (told or []), numbers or [])


def weights_of(module: nn.Module) -> np.ndarray:
    return torch.cat([value.detach().flatten().double() for value in module.state_dict().values()]).numpy()


def losses_of(history: History) -> dict[str, list[float]]:
    return {name: history[name] for name in history.names if name != "seconds"}


class Noting(Variant):
    """Writes down what it draws."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def __deepcopy__(self, memo: object) -> Noting:
        return self

    def corrupt(self, reconstruction: Reconstruction) -> None:
        self.drawn.append(float(torch.rand((), generator=reconstruction.generator)))
        self.drawn.append(float(torch.rand(())))  # as layers such as dropout do


def noting() -> Found:
    variant = Noting()
    return fit(variant, max_epochs=2, numbers=variant.drawn)


def hold_gaps() -> Found:
    x = data()
    weight = (torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) > 0.3).to(x)
    return fit("l1_sparse", x=torch.where(weight > 0, x, torch.nan), weight=weight)


def hold_rare_gaps() -> Found:
    """Most shares have no gap, and then their loss does not depend on what hears of gaps."""
    x = data()
    weight = torch.ones_like(x)
    weight[3, 1] = weight[20, 2] = 0.0
    return fit(x=torch.where(weight > 0, x, torch.nan), weight=weight)


def by_chance() -> Found:
    """As a user writes it, with everything left to chance: the first process's choice holds."""
    settings = Training(max_epochs=3, batch_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Autoencoder(2, training=settings).fit(data().numpy())
    codes = model.transform(data().numpy()).ravel().tolist()
    return Found(weights_of(model.module_), losses_of(model.history_), numbers=codes)


def seeded() -> Found:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Autoencoder(2, precision="float64", training=Training(max_epochs=3, batch_size=16), random_state=4)
        model.fit(data().numpy())
    codes = model.transform(data().numpy()).ravel().tolist()
    return Found(weights_of(model.module_), losses_of(model.history_), numbers=codes)


def one_asks() -> Found:
    """The second process's callback wants to stop after the third epoch."""
    return fit(callbacks=[lambda report: many() and RANK == 1 and report.epoch.number == 3])


def hand_stops(checkpoint: Path | None = None, variants: Any = "denoising") -> Found:
    """Ctrl-C reaches the second process only, in the third epoch."""

    def press(report: EpochReport) -> None:
        if RANK == 1 and report.epoch.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    return fit(variants, callbacks=[press], checkpoint=checkpoint and str(checkpoint))


def goes_on(folder: Path) -> Iterator[tuple[str, Found]]:
    """Stopped by hand and started again, and without the stop."""
    path = folder / "run.checkpoint"
    stopped = hand_stops(path)
    yield "stopped", Found(stopped.weights, stopped.losses, [*stopped.said, str(path.exists())])
    ended = fit("denoising", checkpoint=str(path))
    yield "went on", Found(ended.weights, ended.losses, [*ended.said, str(path.exists())])
    yield "straight on", fit("denoising")


def refused(**different: Any) -> Found:
    try:
        fit(**different)
    except TrainingError as error:
        return Found(said=[str(error)])
    return Found()


def infinite() -> Found:
    """One row, which only one process sees, makes its loss infinite."""
    x = data()
    x[7, 0] = 1e308
    return refused(x=x, learning_rate=1e-3)


def many() -> bool:
    return "RANK" in os.environ


#: Without random parts these equal one process; 9 rows are cut into shares of 4 and 5, and clipping follows the mean.
EQUAL: dict[str, Callable[[], Found]] = {
    "float64": lambda: fit(),
    "float32": lambda: fit(x=data(dtype=torch.float32)),
    "nothing held out": lambda: fit(validation=0.0, max_epochs=4),
    "one row a step": lambda: fit(x=data(11), batch_size=1, max_epochs=4),  # the first process's share is empty
    "early stopping": lambda: fit(max_epochs=200, learning_rate=0.2, schedule="constant", patience=3),
    "plateau": lambda: fit(learning_rate=0.3, schedule="plateau", optimizer=SGD(), clip=0.5, max_epochs=12),
    "decay, l1, clip": lambda: fit(weight_decay=0.1, l1=0.01, clip=0.3, optimizer="adamw"),
    "contractive": lambda: fit(["contractive", "l1_sparse"]),
    "top_k": lambda: fit("top_k(k=1)"),
    "gaps": hold_gaps,
    "rare gaps": hold_rare_gaps,
    "public": seeded,
}
#: With random parts the processes agree to the bit among themselves, and with one process in distribution.
ALIKE: dict[str, Callable[[], Found]] = {
    "denoising": lambda: fit("denoising", x=data(400), max_epochs=10, batch_size=16),
    "variational": lambda: fit(["masked", "variational"], x=data(400), max_epochs=10, batch_size=16),
    "free bits": lambda: fit("variational(free_bits=0.2)", x=data(400), max_epochs=10, batch_size=16),
    "adversarial": lambda: fit("adversarial(width=8, weight=0.1)", x=data(400), max_epochs=10, batch_size=16),
    "neighbours": lambda: fit("neighbours(weight=0.1)", x=data(400), max_epochs=10, batch_size=16),
    "batch normalisation": lambda: fit(
        network=Dense(widths=(8,), normalisation="batch", dropout=0.1), x=data(400), max_epochs=10, batch_size=64
    ),
}
OTHERS: dict[str, Callable[[], Found]] = {
    "noting": noting,
    "left to chance": by_chance,
    "one asks": one_asks,
    "stopped by hand": hand_stops,
    "other rows": lambda: refused(x=data(53 + RANK)),
    "other data": lambda: refused(x=data() + RANK),
    "other settings": lambda: refused(learning_rate=0.01 * (1 + RANK)),
    "infinite": infinite,
}


def main(folder: Path) -> None:
    """What torchrun starts SIZE times."""
    for name, case in (EQUAL | ALIKE | OTHERS).items():
        case().write(folder / f"{name}.{RANK}")
    for name, found in goes_on(folder):
        found.write(folder / f"{name}.{RANK}")
    del os.environ["LOCAL_RANK"]  # now there is only torch's process group to tell of the others
    fit().write(folder / f"own group.{RANK}")
    os.environ["WORLD_SIZE"] = "1"
    fit(seed=RANK).write(folder / f"apart.{RANK}")


# ---- several processes


def launched(arguments: list[str], folder: Path, n_processes: int = SIZE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHED}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes wrote down."""
    folder = tmp_path_factory.mktemp("processes")
    done = launched([__file__, str(folder)], folder)
    assert done.returncode == 0, done.stderr
    return folder


def both(folder: Path, name: str) -> tuple[Found, Found]:
    first, second = (Found.read(folder / f"{name}.{rank}") for rank in range(SIZE))
    return first, second


def same(one: Found, other: Found) -> bool:
    """To the bit."""
    return np.array_equal(one.weights, other.weights) and one.losses == other.losses


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
def test_without_random_parts_two_processes_equal_one(folder: Path, name: str) -> None:
    alone, (first, second) = EQUAL[name](), both(folder, name)
    assert same(first, second) and first.said[:1] == second.said[:1] == alone.said[:1]
    tolerance = 1e-5 if name == "float32" else 1e-10
    np.testing.assert_allclose(first.weights, alone.weights, rtol=tolerance, atol=tolerance)
    assert first.losses.keys() == alone.losses.keys()
    for term, values in alone.losses.items():
        # terms are told in the number type of training
        np.testing.assert_allclose(first.losses[term], values, rtol=tolerance, atol=tolerance, err_msg=term)
    np.testing.assert_allclose(first.numbers, alone.numbers, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_with_random_parts_they_agree_to_the_bit_and_learn_as_well(folder: Path, name: str) -> None:
    alone, (first, second) = ALIKE[name](), both(folder, name)
    assert same(first, second)
    assert not np.array_equal(first.weights, alone.weights)
    ends = [found.losses["validation_loss"] for found in (first, alone)]
    gone = ends[1][0] - ends[1][-1]
    assert gone > 0 and abs(ends[0][-1] - ends[1][-1]) < 0.15 * gone


@pytest.mark.slow
def test_every_process_draws_numbers_of_its_own(folder: Path) -> None:
    first, second = (found.numbers for found in both(folder, "noting"))
    assert len(first) == len(second) == 24
    assert not set(first) & set(second)
    # 42 rows in steps of 9 are 5 steps, and one look at the held-out rows; the pass and its layers draw once in each
    one, two = np.reshape(first, (2, 6, 2))
    assert len({*one[:5].ravel(), *two[:5].ravel()}) == 20
    assert one[5, 0] == two[5, 0]  # held-out rows meet the same corruption every time


@pytest.mark.slow
def test_what_is_left_to_chance_is_the_first_process_choice(folder: Path) -> None:
    first, second = both(folder, "left to chance")
    assert same(first, second) and first.numbers == second.numbers and np.isfinite(first.weights).all()


@pytest.mark.slow
def test_a_process_group_that_is_there_is_used_and_one_can_keep_out_of_it(folder: Path) -> None:
    group = both(folder, "own group")
    assert all(same(one, other) for one, other in zip(group, both(folder, "float64"), strict=True))
    first, second = both(folder, "apart")
    assert same(first, fit()) and not same(first, second)


@pytest.mark.slow
def test_one_callback_stops_all(folder: Path) -> None:
    first, second = both(folder, "one asks")
    assert same(first, second) and first.said == second.said == ["a callback asked to stop after epoch 3"]


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_at_the_same_step_and_one_says_so(folder: Path) -> None:
    first, second = both(folder, "stopped by hand")
    assert same(first, second) and len(first.losses["loss"]) == 2
    assert first.said[0] == second.said[0] == "was stopped by hand in epoch 3"
    assert len(first.said) == 2 and len(second.said) == 1


@pytest.mark.slow
def test_a_stopped_run_of_several_goes_on_to_the_bit(folder: Path) -> None:
    stopped, on, straight = (both(folder, name) for name in ("stopped", "went on", "straight on"))
    assert stopped[0].said[-1] == "True"  # there was a checkpoint, which is the first process's business
    assert on[0].said[-1] == "False" and len(stopped[0].losses["loss"]) < len(on[0].losses["loss"])
    assert same(on[0], on[1]) and same(on[0], straight[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other rows", r"differ in rows \(53, 54\); each must call fit with the same data"),
        ("other data", "differ in data "),
        ("other settings", r"differ in learning rate \(0.01, 0.02\)"),
        ("infinite", "the loss became inf in epoch 1, step [1-5];"),
    ],
)
def test_all_processes_are_refused_alike(folder: Path, name: str, words: str) -> None:
    first, second = both(folder, name)
    assert first.said == second.said and re.search(words, first.said[0])


FAILING = """
import os, torch
from isthmus.module import AutoencoderModule
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train

x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))

def fail(report):
    if os.environ["RANK"] == "1" and report.epoch.number == 2:
        raise OSError("no more disk")

module = AutoencoderModule(SampleSpec((3,)), 1)
training = Training(max_epochs=100000, patience=None, callbacks=[fail])
train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), 64, training)
"""


@pytest.mark.slow
def test_a_failure_of_one_process_ends_all(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    started = time.monotonic()
    done = launched(["failing.py"], tmp_path)
    assert done.returncode != 0 and "no more disk" in done.stderr
    assert time.monotonic() - started < 200  # the 100,000 epochs would take far longer


# ---- the page


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "many_devices.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_script_gives_the_same_model_under_torchrun(tmp_path: Path) -> None:
    script = blocks("python")[0]
    (command,) = [line for block in blocks("bash") for line in block.splitlines() if "--standalone" in line]
    name, n_processes = re.fullmatch(r"\$ torchrun --standalone --nproc-per-node=(\d) (\w+\.py)", command).group(2, 1)
    models = []
    for folder, run in (("alone", None), ("together", int(n_processes))):
        here = tmp_path / folder
        here.mkdir()
        (here / name).write_text(script)
        if run is None:
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, name], cwd=here, env=environment, check=True, capture_output=True)
        else:
            done = launched([name], here, run)
            assert done.returncode == 0, done.stderr
        models.append(load(next(here.glob("*.safetensors"))))
    alone, together = (weights_of(model.autoencoder_.module_) for model in models)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


# ---- one process


def test_a_world_of_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit(["denoising", "variational"])
    for name, value in zip(LAUNCHED, ("0", "1", "0", "127.0.0.1", "29511"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched_rank() is None and not joined(torch.device("cpu")).several
    assert same(fit(["denoising", "variational"]), plain)
    assert not distributed.is_initialized()


def test_one_process_by_itself_hands_back_what_it_was_given() -> None:
    peers, terms, rows = Peers(), {"loss": torch.ones(())}, np.arange(5)
    assert peers.mean([], terms, peers.share(rows), False) is terms and peers.total(terms) is terms
    assert peers.share(rows) == Share(rows, 5, 5) and peers.share(rows).rows is rows
    assert peers.seed(7) == peers.same(7) == 7 and peers.first and not peers.several
    assert [peers.agreed(asked) for asked in (True, False)] == [peers.any(asked) for asked in (True, False)]


def test_an_answer_that_does_not_come_is_said_in_a_sentence() -> None:
    def talk(values: Tensor) -> None:
        raise RuntimeError("Connection closed by peer\nand more")

    peers = object.__new__(Together)
    with pytest.raises(TrainingError, match=r"another process of this run has ended .*\(Connection closed by peer\)\."):
        peers._call(talk, torch.zeros(1))


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 10, 256])
def test_shares_are_even_and_hold_every_row_once(n_rows: int, size: int) -> None:
    rows, shares = np.arange(n_rows) + 100, []
    for rank in range(size):
        peers = object.__new__(Together)
        peers.rank, peers.size = rank, size
        shares.append(peers.share(rows))
    assert all(len(share.rows) > 0 and share.whole == n_rows for share in shares)
    counted = [share.rows for share in shares if share.n_rows]
    assert np.array_equal(np.concatenate(counted), rows)
    lengths = [share.n_rows for share in shares]
    assert [len(some) for some in counted] == [length for length in lengths if length]
    assert sum(lengths) == n_rows and max(lengths) - min(lengths) <= 1


def test_every_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    for name, value in zip(LAUNCHED, ("6", "8", "2", "127.0.0.1", "29511"), strict=True):
        monkeypatch.setenv(name, value)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 2)
    assert resolve_device("cuda:0") == torch.device("cuda", 0) and resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "5")  # more processes than GPUs share them
    assert resolve_device("auto") == torch.device("cuda", 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
