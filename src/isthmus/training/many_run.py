"""Models that take their steps at the same time: the loop around `many_step`, with an end of its own for each model.

Axes: K models.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import TrainingError
from isthmus.module import AutoencoderModule
from isthmus.training.batch import Batch
from isthmus.training.devices import fitting_threads, own_randomness
from isthmus.training.failing import likely_cause, warn_of_end
from isthmus.training.history import Epoch, History
from isthmus.training.loop import Batches
from isthmus.training.many_step import ManyAdam, ManyStep, Rule
from isthmus.training.optimizers import AdamW
from isthmus.training.rows import cuts, shuffled, split
from isthmus.training.schedules import Position
from isthmus.training.settings import Training
from isthmus.training.watch import EpochReport, Watcher
from isthmus.variants import L1Sparse

Terms = dict[str, Tensor]  # of all models, (K,) each


@dataclass
class Member:
    """Where one of the models stands; `place` is its number among all that were given."""

    place: int
    module: AutoencoderModule
    training: Training
    seed: int
    n_samples: int
    history: History = field(default_factory=History)
    losses: list[float] = field(default_factory=list)  # monitored, of the epochs done
    best_loss: float = math.inf
    rate: float = 0.0  # of the last step

    def __post_init__(self) -> None:
        self.rows, self.held_out = split(self.n_samples, self.training.validation, self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.schedule = self.training.resolved_schedule()
        self.size = self.training.rows_per_step(len(self.rows), self.module.spec.shape)
        self.steps_per_epoch = len(cuts(len(self.rows), self.size)) - 1
        self.max_epochs = self.training.epochs(self.steps_per_epoch, self.size, self.module.spec.shape)
        self.first_rate = self.training.rate(self.module.spec.shape)
        self.sparse = any(isinstance(variant, L1Sparse) for variant in self.module.variants)

    def next_rate(self, step: int) -> float:
        """The learning rate of the next step."""
        position = Position(step, self.max_epochs * self.steps_per_epoch, len(self.losses), self.losses)
        self.rate = self.first_rate * self.schedule.factor(position)
        return self.rate

    def own(self, means: Terms, place: int) -> dict[str, float]:
        """This model's terms, out of those of all."""
        return {name: float(values[place]) for name, values in means.items() if name != "l1_sparse" or self.sparse}

    def note(self, epoch: Epoch) -> bool:
        """Write an epoch down, and whether and why it was the last; says whether it was the best so far."""
        self.history.epochs.append(epoch)
        self.losses.append(epoch.monitored)
        better = epoch.monitored < self.best_loss
        if better:
            self.best_loss, self.history.best_epoch = epoch.monitored, epoch.number
        done, patience = len(self.losses), self.training.patience
        waited = done - (self.history.best_epoch or 0)
        if done >= self.max_epochs:
            self.history.ended = f"all {done} epochs done"
        elif len(self.held_out) and patience is not None and waited >= patience:
            self.history.ended = f"no better held-out loss for {waited} epochs"
        return better


class ManyRun:
    """One run of several models. Whoever has ended gets the best weights at once, and the others go on without it.

    Parameters
    ----------
    members : the models, which must be fit to go together.
    batches, n_samples : the data, as for `train`.
    watchers : told of every step, and of every epoch the mean of the losses.
    """

    def __init__(self, members: Sequence[Member], batches: Batches, n_samples: int, watchers: Sequence[Watcher]):
        self.members, self.batches, self.n_samples, self.watchers = list(members), batches, n_samples, watchers
        self.step = ManyStep([member.module for member in members])
        optimizer: Any = members[0].training.resolved_optimizer()
        rule = Rule((optimizer.beta1, optimizer.beta2), optimizer.epsilon, type(optimizer) is AdamW)
        decays = [member.training.weight_decay for member in members]
        self.adam = ManyAdam(rule, decays, self.step.layout, self.step.vector)
        self.best = self.step.vector.clone()
        self.max_epochs = max(member.max_epochs for member in members)
        self.ends = cuts(len(members[0].rows), members[0].size)
        self.done = 0  # steps
        self.order = np.zeros((len(members), 0), dtype=np.int64)  # of this epoch's rows
        self.sums: Terms = {}  # of this epoch's terms, each times its rows

    def go(self) -> None:
        """Train all of them to their ends."""
        for member in self.members:
            member.module.train()
        try:
            with own_randomness(torch.device("cpu")), fitting_threads(True):
                while self.members:
                    self._epoch()
        except KeyboardInterrupt:
            for member in self.members:
                member.history.ended = f"was stopped by hand in epoch {len(member.losses) + 1}"
            self._release_ended(warn=True)
        finally:
            for watcher in self.watchers:
                watcher.close()

    def _epoch(self) -> None:
        number, started = len(self.members[0].losses), time.monotonic()
        self.order = np.stack([shuffled(member.rows, member.seed, number) for member in self.members])
        self.sums = {}
        for start, end in zip(self.ends[:-1], self.ends[1:], strict=True):
            terms = self._terms(self.order[:, start:end], [member.generator for member in self.members], learn=True)
            self.adam.step(self.step.vector, self.step.slope, [one.next_rate(self.done) for one in self.members])
            self.done += 1
            _add(self.sums, terms, end - start)
            if not math.isfinite(float(terms["loss"].sum())):
                self._not_finite(terms["loss"], number + 1)
                if not self.members:
                    return
            for watcher in self.watchers:
                watcher.step(self.done, self.max_epochs * (len(self.ends) - 1), number + 1, self.max_epochs)
        self._epoch_done(number + 1, (time.monotonic() - started) / len(self.members))

    def _epoch_done(self, number: int, seconds: float) -> None:
        means = {name: values / self.ends[-1] for name, values in self.sums.items()}
        held_out = self._validate()
        watched = (held_out or means)["loss"]
        if not math.isfinite(float(watched.sum())):
            places = self._not_finite(watched, number)
            means, held_out = ({name: values[places] for name, values in one.items()} for one in (means, held_out))
        better = []
        for place, member in enumerate(self.members):
            epoch = Epoch(number, member.own(means, place), member.own(held_out, place), member.rate, seconds)
            if member.note(epoch):
                better.append(place)
        if len(self.members[0].held_out if self.members else ()):
            for kept, part in zip(*(self.step.parts(one) for one in (self.best, self.step.vector)), strict=True):
                kept[better] = part[better]
        self._tell(number, means, held_out, seconds, bool(better))
        self._release_ended()

    def _tell(self, number: int, means: Terms, held_out: Terms, seconds: float, better: bool) -> None:
        if not self.members:
            return
        first = self.members[0]
        training, validation = ({name: float(one.mean()) for name, one in each.items()} for each in (means, held_out))
        epoch = Epoch(number, training, validation, first.rate, seconds * len(self.members))
        for watcher in self.watchers:
            watcher.epoch(EpochReport(epoch, self.max_epochs, better, first.module))

    # -- pieces

    def _terms(self, rows: np.ndarray[Any, Any], generators: Sequence[torch.Generator], learn: bool) -> Terms:
        """What the step says of these rows, (K, B)."""
        return self.step.terms(self.batches(rows.ravel()), generators, learn)

    def _validate(self) -> Terms:
        """The same terms over the held-out rows, under the same corruption every time."""
        held_out = np.stack([member.held_out for member in self.members])
        n_rows = held_out.shape[1]
        generators = [torch.Generator().manual_seed(member.seed + 1) for member in self.members]
        sums: Terms = {}
        for start in range(0, n_rows, 1024):
            rows = held_out[:, start : start + 1024]
            _add(sums, self._terms(rows, generators, learn=False), rows.shape[1])
        return {name: values / n_rows for name, values in sums.items()}

    def _not_finite(self, losses: Tensor, epoch: int) -> list[int]:
        """Those whose loss is no number end with their best weights; the places of the others."""
        places = [place for place, good in enumerate(losses.isfinite().tolist()) if good]
        for place, member in enumerate(self.members):
            if place not in places:
                where = f"the loss became {float(losses[place])} in epoch {epoch}, step {self.done}"
                cause = likely_cause(self._chunks(), member.first_rate)
                if member.history.best_epoch is None or not len(member.held_out):
                    raise TrainingError(f"model {member.place} (counting from 0): {where}; {cause}.")
                member.history.ended = f"ended early: {where}; {cause}"
        self._release_ended(warn=True)
        return places

    def _chunks(self) -> Iterator[Batch]:
        for start in range(0, self.n_samples, 1024):
            yield self.batches(np.arange(start, min(start + 1024, self.n_samples)))

    def _release_ended(self, warn: bool = False) -> None:
        """Give those that have ended their weights, and go on with the others."""
        for place, member in enumerate(self.members):
            if not member.history.ended:
                continue
            if member.history.best_epoch is None or not len(member.held_out):
                member.history.best_epoch = None
            which = self.step.vector if member.history.best_epoch is None else self.best
            self.step.write(place, which)
            member.module.eval()
            if warn:
                warn_of_end(member.history, member.history.best_epoch, stacklevel=6)
        places = [place for place, member in enumerate(self.members) if not member.history.ended]
        if len(places) == len(self.members):
            return
        self.best = self.step.layout.select(self.best, len(self.members), places)
        self.members = [self.members[place] for place in places]
        if places:
            self.adam.keep(places)
            self.step.keep(places)
            self.order = self.order[places]
            self.sums = {name: values[places] for name, values in self.sums.items()}


def _add(sums: Terms, terms: Terms, n_rows: int) -> None:
    for name, values in terms.items():
        share = values.double() * n_rows
        sums[name] = sums[name] + share if name in sums else share
