"""Settings become estimators, paths become data: the part of the command line that loads torch."""

from __future__ import annotations

import copy
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import isthmus
from isthmus import Autoencoder, Training, doctor, fitting
from isthmus.data.base import ColumnFacts, Data
from isthmus.errors import DataError
from isthmus.interfaces.messages import log
from isthmus.interfaces.output import STREAM, draws, is_folder
from isthmus.interfaces.signatures import parameters, public, tasks
from isthmus.interfaces.stopping import Stoppable
from isthmus.module import AutoencoderModule, resolve_likelihood, resolve_network, resolve_variants
from isthmus.part import find, known
from isthmus.tasks.base import Task
from isthmus.training import Batch
from isthmus.training.devices import resolve_device
from isthmus.words import counted, several


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
    let_draw(model)
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


def let_draw(model: Autoencoder) -> None:
    """Let somebody at a terminal see how far it is, unless he wants quiet."""
    model.verbose = None if draws(sys.stderr) and log.isEnabledFor(logging.INFO) else False


def read(model: Autoencoder, path: str, target: str | None = None) -> list[Any]:
    """Data to train on, and, of pairs, their clean counterparts, which are of the same type."""
    X = _read(model, path)
    if target is None:
        return [X]
    first, second = (type(_data_type(model, one)) for one in (path, target))
    if first is not second:
        raise DataError(
            f"{path!r} holds {first.name()} and {target!r} holds {second.name()}; give counterparts of the same kind."
        )
    return [X, _read(model, target)]


def _read(model: Autoencoder, path: str) -> Any:
    types: list[Any] = [find("data", name) for name in known("data")]
    if model.data_type == "auto" and not any(one.accepts(path) for one in types):
        if is_folder(path):
            endings = [ending for one in types for ending in one.endings]
            raise DataError(f"{path!r} holds no file of a known kind; their names end in {', '.join(endings)}.")
        raise DataError(f"{path!r} is of no kind that is known ({', '.join(known('data'))}); rename it, or convert it.")
    data = _data_type(model, path)
    X = data.read(path)
    name = "standard input" if path == STREAM else path
    width = f", {X.shape[1]:,} columns" if hasattr(X, "shape") else ""
    log.info("read %s: %s%s", name, counted(len(X), data.unit), width)
    return X


def _data_type(model: Autoencoder, path: str) -> Data:
    """The type of the data at this path."""
    return fitting.data_type(model.data_type, path, type(model).__name__)


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
    unit: str
    shape: list[int]  # of one sample of training, as a tensor
    piece: str  # what such a sample is called
    n_pieces: int
    sample_size: int
    n_components: int
    code_size: int
    network: str
    likelihood: str
    variants: list[str]
    n_parameters: int
    columns: list[PlannedColumn]
    findings: list[str]  # of the doctor, before training

    def lines(self) -> list[str]:
        """The same for a reader."""
        places = self.code_size // self.n_components
        grid = f" for each of {places:,} places" if places > 1 else ""
        cut = f", cut into {counted(self.n_pieces, self.piece)}" if self.piece != self.unit else ""
        shape = f" ({' x '.join(map(str, self.shape))})" if len(self.shape) > 1 else ""
        code = f"{counted(self.n_components, 'number')}{grid}"
        return [
            f"{several(self.unit).capitalize() + ':':<12} {self.n_samples:,}{cut}",
            f"Code:        {code}, for {self.sample_size:,} numbers a {self.piece}{shape}",
            f"Network:     {self.network}, {self.n_parameters:,} parameters",
            f"Likelihood:  {self.likelihood}",
            f"Variants:    {', '.join(self.variants) or 'none'}",
        ]


def plan(estimator: Any, X: Any, target: Any = None) -> Plan:
    """What `fit` would train on these data, built but not trained."""
    model = estimator.prepared(X, target) if isinstance(estimator, Task) else estimator
    module, settings = model.build(X), fitting.training_settings(model.training)
    data, samples = model.data_, model.data_.open(X)
    pieces, rows = data.for_training(samples)
    some = data.batch(pieces, rows[fitting.some_rows(len(rows), data.spec)], fitting.number_type(model.precision))
    if target is not None:
        clean = data.open(target)
        data.check_pairs(samples, clean)
        some = some._replace(target=some.x)  # whatever it is, the doctor is to know that there is one
    return Plan(
        len(samples),
        data.unit,
        list(data.spec.shape),
        data.piece,
        len(rows),
        data.spec.size,
        module.n_components,
        _code_size(module, some),
        repr(module.architecture),
        repr(module.likelihood),
        [repr(variant) for variant in module.variants],
        sum(parameter.numel() for parameter in module.parameters()),
        [_planned(facts) for facts in data.schema],
        [finding.text for finding in doctor.before_training(data, some, module, len(rows), settings)],
    )


def _code_size(module: AutoencoderModule, some: Batch) -> int:
    """How many numbers a whole code has, which may be a grid; shapes alone are computed, however large samples are."""
    shadow = copy.deepcopy(module).to("meta")
    x = some.x[:1].to("meta")
    with torch.inference_mode():
        return shadow.encode(x, None if some.weight is None else x)[0].numel()


def _planned(facts: ColumnFacts) -> PlannedColumn:
    remark = facts.left_out or ("constant" if facts.constant else "like an identifier" if facts.identifier else "")
    return PlannedColumn(facts.name, facts.kind, facts.n_missing, facts.n_distinct, remark)
