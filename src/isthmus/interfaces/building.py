"""Settings become estimators, paths become data: the part of the command line that loads torch."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import isthmus
from isthmus import Autoencoder, Training, doctor, fitting
from isthmus.data.base import ColumnFacts
from isthmus.errors import DataError
from isthmus.interfaces.messages import log
from isthmus.interfaces.output import STREAM, draws
from isthmus.interfaces.signatures import parameters, public, tasks
from isthmus.interfaces.stopping import Stoppable
from isthmus.module import resolve_likelihood, resolve_network, resolve_variants
from isthmus.part import find, known
from isthmus.tasks.base import Task
from isthmus.training.devices import resolve_device


def estimator(task: str | None, given: dict[str, Any]) -> Any:
    """An estimator with these settings, each handed to the outermost class that takes it; the rest are defaults."""
    own: dict[str, Any] = {}
    if task is not None:
        takes = {one.name for one in parameters(tasks()[task])}
        own = {name: value for name, value in given.items() if name in takes}
    inner = {name: value for name, value in given.items() if name not in own}
    takes = {one.name for one in parameters(public("Autoencoder"))}
    mine = {name: list(value) if isinstance(value, tuple) else value for name, value in inner.items() if name in takes}
    model = Autoencoder() if task is None else _task_class(task)().default()
    model.set_params(**mine, training=_training(model, {n: v for n, v in inner.items() if n not in takes}))
    model.set_params(verbose=None if draws(sys.stderr) and log.isEnabledFor(logging.INFO) else False)
    _check(model)
    return model if task is None else _task_class(task)(autoencoder=model, **own)


def _task_class(task: str) -> type[Task]:
    found: type[Task] = getattr(isthmus.tasks, tasks()[task].name)
    return found


def _training(model: Autoencoder, given: dict[str, Any]) -> Training:
    training = model.training if isinstance(model.training, Training) else Training()
    if given.get("checkpoint"):
        given["checkpoint"] = Stoppable(given["checkpoint"])
        if Path(given["checkpoint"].path).exists():
            log.info("going on from the checkpoint %s", given["checkpoint"].path)
    training.set_params(**given)
    training.check()
    return training


def _check(model: Autoencoder) -> None:
    """What can be known before the data are read."""
    fitting.number_type(model.precision)
    resolve_device(model.device)
    resolve_variants(model.variant)
    if model.network != "auto":
        resolve_network(model.network)  # type: ignore[arg-type]
    if model.likelihood != "auto":
        resolve_likelihood(model.likelihood)


def autoencoder(estimator: Any) -> Autoencoder:
    """The unfitted autoencoder inside."""
    found: Autoencoder = estimator if isinstance(estimator, Autoencoder) else estimator.autoencoder
    return found


def learned(estimator: Any) -> Autoencoder:
    """The fitted autoencoder inside."""
    found: Autoencoder = estimator if isinstance(estimator, Autoencoder) else estimator.autoencoder_
    return found


def read(model: Autoencoder, path: str) -> Any:
    """Data to train on."""
    accepting = [name for name in known("data") if find("data", name).accepts(path)]  # type: ignore[attr-defined]
    if model.data_type == "auto" and not accepting:
        raise DataError(f"{path!r} is of no kind that is known ({', '.join(known('data'))}); rename it, or convert it.")
    X = fitting.data_type(model.data_type, path, type(model).__name__).read(path)
    name = "standard input" if path == STREAM else path
    width = f", {X.shape[1]:,} columns" if hasattr(X, "shape") else ""
    log.info("read %s: %s rows%s", name, f"{len(X):,}", width)
    return X


# ---- what would be trained


@dataclass(frozen=True)
class PlannedColumn:
    """One column of the data."""

    column: str
    kind: str
    missing: int
    distinct: int
    remark: str


@dataclass(frozen=True)
class Plan:
    """What training would be about."""

    n_samples: int
    sample_size: int
    n_components: int
    network: str
    likelihood: str
    variants: list[str]
    n_parameters: int
    columns: list[PlannedColumn]
    findings: list[str]  # of the doctor, before training

    def lines(self) -> list[str]:
        """The same for a reader."""
        return [
            f"Rows:        {self.n_samples:,}",
            f"Code:        {self.n_components} numbers, for {self.sample_size} numbers a row",
            f"Network:     {self.network}, {self.n_parameters:,} parameters",
            f"Likelihood:  {self.likelihood}",
            f"Variants:    {', '.join(self.variants) or 'none'}",
        ]


def plan(model: Autoencoder, X: Any) -> Plan:
    """What `fit` would train on these data, built but not trained."""
    module = model.build(X)
    data, samples = model.data_, model.data_.open(X)
    some = data.batch(samples, fitting.some_rows(len(samples), data.spec), fitting.number_type(model.precision))
    return Plan(
        len(samples),
        data.spec.size,
        module.n_components,
        repr(module.architecture),
        repr(module.likelihood),
        [repr(variant) for variant in module.variants],
        sum(parameter.numel() for parameter in module.parameters()),
        [_planned(facts) for facts in data.schema],
        [finding.text for finding in doctor.before_training(data, some, module, len(samples))],
    )


def _planned(facts: ColumnFacts) -> PlannedColumn:
    remark = facts.left_out or ("constant" if facts.constant else "like an identifier" if facts.identifier else "")
    return PlannedColumn(facts.name, facts.kind, facts.n_missing, facts.n_distinct, remark)
