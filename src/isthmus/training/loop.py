"""The one training loop.

A run is a small state machine: everything that decides what comes next stands in `_Run`, and `checkpoint` writes all
of it down, so that a stopped run goes on bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import SettingError, TrainingError
from isthmus.module import AutoencoderModule
from isthmus.storage import Stored
from isthmus.training import parallel
from isthmus.training.ahead import ahead, rows_at_once, steps_ahead
from isthmus.training.averaging import WeightAverage
from isthmus.training.batch import Batch
from isthmus.training.checkpoint import fingerprint
from isthmus.training.devices import fitting_threads, one_thread, own_randomness, products, reseed
from isthmus.training.failing import NotFinite, check_finite, likely_cause, warn_of_end
from isthmus.training.history import Epoch, History
from isthmus.training.interrupts import Interrupts
from isthmus.training.memory import kept_memory
from isthmus.training.preparing import forget, prepare
from isthmus.training.pretraining import pretrain
from isthmus.training.rows import AnyRows, Rows, cuts, shuffled, split
from isthmus.training.schedules import Position
from isthmus.training.settings import Training, optimizers_of
from isthmus.training.state import RunState, add, numbers
from isthmus.training.steps import step_of
from isthmus.training.threads import ThreadTrial
from isthmus.training.warm_up import settled_after, warming
from isthmus.training.watch import EpochReport, Watcher

Batches = Callable[[Rows], Batch]


def train(
    module: nn.Module,
    batches: Batches,
    n_samples: int,
    training: Training | None = None,
    *,
    seed: int = 0,
    watchers: Sequence[Watcher] = (),
    bf16: bool = False,
    steady: bool = True,
) -> History:
    """Train a module in place and say what happened.

    Parameters
    ----------
    module : an `AutoencoderModule`, or any module with its `loss`; its parameters say device and dtype.
    batches : gives the rows asked for as a `Batch`.
    n_samples : how many rows there are.
    training : the settings; None for the defaults.
    seed : decides the split, the order and all randomness of the passes.
    watchers : told of every step and epoch.
    bf16 : whether products are taken in bfloat16, beside float32 weights.
    steady : whether the number of threads follows a fixed rule, for the same weights every time; else it is tried.

    Raises
    ------
    SettingError : for a setting out of range, or a module without a parameter that may change.
    TrainingError : when the loss is not finite and there are no better weights to go back to (in the first epoch, or
        when nothing is held out), or a checkpoint belongs to another run.

    >>> import torch
    >>> from isthmus.module import AutoencoderModule
    >>> from isthmus.spec import SampleSpec
    >>> x = torch.randn(64, 1) @ torch.ones(1, 4)
    >>> module = AutoencoderModule(SampleSpec((4,)), n_components=1)
    >>> history = train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), 64, Training(max_epochs=5))
    >>> history["loss"][-1] < history["loss"][0]
    True
    """
    training = Training() if training is None else training
    training.check()
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise SettingError("there is nothing to train: the module has no parameter with requires_grad=True.")
    run = _Run(module, batches, n_samples, training, seed, watchers, bf16)
    try:
        # layers such as dropout draw from torch's global generator
        with own_randomness(run.device), fitting_threads(run.alone), kept_memory(run.device):
            run.trial = None if steady or run.alone else ThreadTrial(torch.get_num_threads())
            run.go()
    finally:
        run.way.release()
        forget(module)
        for watcher in watchers:
            watcher.close()
    return run.state.history


class _Run:
    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        n_samples: int,
        training: Training,
        seed: int,
        watchers: Sequence[Watcher],
        bf16: bool,
    ):
        self.module, self.batches, self.n_samples, self.training = module, batches, n_samples, training
        self.device = next(module.parameters()).device
        self.peers = parallel.joined(self.device)
        self.seed = seed = self.peers.same(seed)
        self.watchers, self.fingerprint = watchers if self.peers.first else (), ""
        self.blocks = getattr(batches, "blocks", None)  # of rows that lie on disk
        self.rows, self.held_out = split(n_samples, training.validation, seed, self.blocks)
        self.shape = module.spec.shape if isinstance(module, AutoencoderModule) else ()
        self.size = training.rows_per_step(len(self.rows), self.shape)
        self.steps_ahead = 1 if self.blocks or self.peers.several else steps_ahead(module, self.size)
        self.steps_per_epoch = len(cuts(len(self.rows), self.size)) - 1
        self.max_epochs = training.epochs(self.steps_per_epoch, self.size, self.shape)
        self.first_rate = training.rate(self.shape)
        self.schedule = training.resolved_schedule()
        self.checkpoint = training.resolved_checkpoint()
        self.alone = one_thread(products(module, self.shape), self.size)
        self.way = step_of(module, training, self.size, bf16, self.alone)
        self.way = warming(self.way, module, training, lambda: self.state.step / self.steps_per_epoch)
        adversaries = module.adversaries() if isinstance(module, AutoencoderModule) else []
        optimizers = optimizers_of(self.way.parameters, adversaries, training, self.first_rate)
        self.state = RunState(module, optimizers, torch.Generator(self.device).manual_seed(seed))
        self.state.settled_after = settled_after(module, training)
        if training.ema is not None:
            self.state.average = WeightAverage(self.way.parameters, training.ema)
        self.recent: list[Tensor | float] = []  # losses since the last look, newest last
        self.trial: ThreadTrial | None = None
        self.losses: list[float] = []  # monitored, of the epochs done
        self.rate = 0.0  # of the last step
        self.interrupts = Interrupts(wanted=self.checkpoint is not None or self.peers.several)
        self.written = time.monotonic()

    # -- the way through

    def go(self) -> None:
        stored = self._stored()
        reseed(self.device, self.seed)
        prepare(self.module, lambda: self._chunks(self.rows), self.state.generator)
        if stored is not None:
            self.state.restore(stored)
        facts = {"rows": self.n_samples, "rows per step": self.size, "epochs": self.max_epochs}
        rates = {"steps done": self.state.step, "learning rate": self.first_rate}
        self.peers.meet(self.module, self.batches, {**facts, **rates})
        self.module.train()
        self._pretrain()
        try:
            with self.interrupts:
                while not self.state.history.ended:
                    self._epoch()
        except KeyboardInterrupt:
            if not self.peers.stopping:  # a second Ctrl-C, which the others do not know of
                raise
            self._stopped(f"was stopped by hand in epoch {len(self.state.history) + 1}")
        except NotFinite as found:
            self._not_finite(found)
        self._finish()

    def _epoch(self) -> None:
        number = self.state.step // self.steps_per_epoch
        self.losses = [epoch.monitored for epoch in self.state.history]
        first = self.state.step % self.steps_per_epoch
        shares = map(self.peers.share, self._orders(number, first))
        started = time.monotonic()
        for index, (share, batch) in enumerate(ahead(shares, self._batch, self.steps_ahead), first):
            self._step(share, batch)
            seconds = time.monotonic() - started
            self.state.epoch_seconds += seconds
            if self.trial is not None:
                self.trial.took(seconds)
            if index + 1 == self.steps_per_epoch:
                with self.state.averaged():
                    self._epoch_done(number)
            asked = self.peers.agreed(self.interrupts.asked)
            self._write(now=asked)
            if asked and not self.state.history.ended:
                raise KeyboardInterrupt
            for watcher in self.watchers:
                watcher.step(self.state.step, self.max_epochs * self.steps_per_epoch, number + 1, self.max_epochs)
            started = time.monotonic()

    def _step(self, share: parallel.Share, batch: Batch) -> None:
        self.peers.reseed(self.state.generator, self.seed, self.state.step)
        terms = self.way.terms(batch, self.state.generator, learn=True)
        terms = self.peers.mean(self.way.parameters, terms, share, self.interrupts.asked)
        self.rate = self.first_rate * self._factor()
        for optimizer in self.state.optimizers:
            for group in optimizer.param_groups:
                if self.training.clip is not None:  # an adversary's gradients do not count among the others
                    nn.utils.clip_grad_norm_(group["params"], self.training.clip)
                group["lr"] = self.rate
            optimizer.step()
        self.state.step += 1
        if self.state.average is not None:
            self.state.average.update(self.state.step)
        values = numbers(terms)
        add(self.state.sums, values, share.whole)
        self.recent.append(values["loss"])
        if self.device.type == "cpu" or len(self.recent) >= 100:
            self._look()

    def _epoch_done(self, number: int) -> None:
        self._look()
        self.peers.settle(self.module)
        means = {name: float(value) / len(self.rows) for name, value in self.state.sums.items()}
        epoch = Epoch(number + 1, means, self._validate(), self.rate, self.state.epoch_seconds)
        self.state.sums, self.state.epoch_seconds = {}, 0.0
        if not math.isfinite(epoch.monitored):
            raise NotFinite(self.state.step, epoch.monitored)
        self.state.history.epochs.append(epoch)
        better = epoch.monitored < self.state.best_loss
        if better:
            self.state.best_loss, self.state.history.best_epoch = epoch.monitored, epoch.number
            if len(self.held_out):
                self.state.best = copy.deepcopy(self.module.state_dict())
        asked = self._tell(EpochReport(epoch, self.max_epochs, better, self.module))
        self.state.decide(asked, self.max_epochs, self.training.patience if len(self.held_out) else None)

    def _tell(self, report: EpochReport) -> bool:
        for watcher in self.watchers:
            watcher.epoch(report)
        return self.peers.any(any([callback(report) is True for callback in self.training.callbacks]))

    # -- pieces

    def _pretrain(self) -> None:
        if (part := self.training.resolved_pretrain()) is not None and not self.state.step:
            how = (self.training, self._orders, self._batch, self.state.generator, self.peers)
            self.state.history.pretraining = pretrain(self.module, part, *how)

    def _orders(self, number: int, first: int = 0) -> Iterator[Rows]:
        """The rows of each step of an epoch, from step `first` on."""
        order = shuffled(self.rows, self.seed, number)
        for start, end in list(pairwise(cuts(len(order), self.size)))[first:]:
            yield order[start:end]

    def _chunks(self, rows: AnyRows) -> Iterator[Batch]:
        for start in range(0, len(rows), size := rows_at_once(self.shape)):
            yield self._batch(rows[start : start + size])

    def _batch(self, rows: Rows) -> Batch:
        return self.batches(rows).to(self.device)

    def _validate(self) -> dict[str, float]:
        """The same terms over the held-out rows, under the same corruption every time."""
        if not len(self.held_out):
            return {}
        self.module.eval()
        generator = torch.Generator(self.device).manual_seed(self.peers.seed(self.seed + 1))
        share = self.peers.share(self.held_out)
        sums: dict[str, Tensor | float] = {}
        for batch in self._chunks(share.rows):
            terms = self.way.terms(batch, generator, learn=False)
            add(sums, numbers(terms), min(share.n_rows, len(batch.x)))
        self.module.train()
        return {name: float(value) / share.whole for name, value in self.peers.total(sums).items()}

    def _factor(self) -> float:
        n_steps = self.max_epochs * self.steps_per_epoch
        return self.schedule.factor(Position(self.state.step, n_steps, len(self.losses), self.losses))

    # -- when something goes wrong

    def _look(self) -> None:
        check_finite(self.recent, self.state.step)
        self.recent = []

    def _not_finite(self, found: NotFinite) -> None:
        epoch = (found.at_step - 1) // self.steps_per_epoch + 1
        where = f"the loss became {found.value} in epoch {epoch}, step {found.at_step}"
        cause = likely_cause(self._chunks(np.arange(self.n_samples)), self.first_rate)
        if self.state.best is None:
            raise TrainingError(f"{where}; {cause}.") from None
        self._stopped(f"ended early: {where}; {cause}")

    def _stopped(self, how: str) -> None:
        self.state.history.ended = how
        if self.peers.first:
            kept = self.state.history.best_epoch if self.state.best is not None else None
            warn_of_end(self.state.history, kept, stacklevel=4)

    def _finish(self) -> None:
        self.state.settle()
        self.peers.settle(self.module)
        self.module.eval()
        if self.checkpoint is not None and self.peers.first and not self.state.history.ended.startswith("was stopped"):
            self.checkpoint.remove()

    # -- stop and go on

    def _write(self, now: bool) -> None:
        if self.checkpoint is None or not self.peers.first or self.state.history.ended:
            return
        if now or time.monotonic() - self.written >= self.checkpoint.every:
            document = self.state.document() | {"fingerprint": self.fingerprint, "seed": self.seed}
            self.checkpoint.write(document, self.state.tensors())
            self.written = time.monotonic()

    def _stored(self) -> Stored | None:
        """What a stopped run left; with its seed, whatever the seed is now."""
        if self.checkpoint is None:
            return None
        self.fingerprint = fingerprint(self.module, self.batches, self.n_samples, self.training, self.way.name)
        stored = self.checkpoint.read(self.fingerprint)
        if stored is not None:
            self.seed = stored.document["seed"]
            self.rows, self.held_out = split(self.n_samples, self.training.validation, self.seed, self.blocks)
            self.state.generator.manual_seed(self.seed)
        return stored
