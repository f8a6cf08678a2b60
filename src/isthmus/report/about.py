"""The parts of the report that need no data: what the model knows about itself."""

from __future__ import annotations

import inspect
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

import isthmus
from isthmus.autoencoder import Autoencoder
from isthmus.data.base import ColumnFacts, Data
from isthmus.report.blocks import Block, Cell, Code, Figures, Note, Notes, Section, Table, Text
from isthmus.report.curves import terms_of
from isthmus.report.pictures import are_pictures
from isthmus.report.plots import term_figure
from isthmus.report.wording import clean, count, duration, listed, number, share
from isthmus.tasks.base import Task
from isthmus.training import History, Training

MOST_COLUMNS = 100  # in the table of columns
ADDRESS = r" at 0x[0-9a-fA-F]+"  # of memory, in what Python calls a function
MOST_EPOCHS = 25  # in the table of epochs
KINDS = {"numeric": "number", "boolean": "yes or no", "categorical": "category", "date": "date", "left out": "left out"}


# ---- the data


def data_section(autoencoder: Autoencoder, unit: str) -> Section:
    """What was learned from which data."""
    data = autoencoder.data_
    schema: list[ColumnFacts] = list(getattr(data, "schema", []))
    blocks: list[Block] = [Text(data_sentence(autoencoder, unit))]
    if schema:
        word = "channel" if are_pictures(data.spec) else "column"
        blocks.append(column_table(schema, getattr(autoencoder, "n_samples_", 0), word))
    return Section("data", "What it learned from", blocks)


def column_table(schema: list[ColumnFacts], n_rows: int, word: str) -> Table:
    """What training found in each column; of very many those first that are worth a look."""
    shown = schema
    if len(schema) > MOST_COLUMNS:
        shown = sorted(schema, key=lambda facts: not (facts.n_missing or remark(facts)))[:MOST_COLUMNS]
    how_many = count(len(shown), word) if shown is schema else f"{len(shown)} of the {count(len(schema), word)}"
    rows = [[Cell(text, place == 2) for place, text in enumerate(_facts(facts, n_rows))] for facts in shown]
    head = [word, "kind", "missing", "what stands there", "remark"]
    return Table("columns", f"{how_many}, as found in training", head, rows, folded=len(shown) > 12)


def data_sentence(autoencoder: Autoencoder, unit: str) -> str:
    """How many samples, and columns of which kinds."""
    data = autoencoder.data_
    schema: list[ColumnFacts] = list(getattr(data, "schema", []))
    n_rows = getattr(autoencoder, "n_samples_", 0)
    learned = f"It learned from {count(n_rows, unit)}" if n_rows else "It learned"
    if are_pictures(data.spec):
        return f"{learned} {picture_words(data)}."
    if not schema:
        shape = " × ".join(map(str, data.spec.shape))
        return f"{learned}; one {unit} is a tensor of {shape} numbers."
    kinds = Counter(facts.kind for facts in schema)
    words = [count(kinds[kind], word, f"{word}s") for kind, word in _nouns() if kinds[kind]]
    missing = sum(facts.n_missing for facts in schema if facts.kind != "left out")
    cells = n_rows * (len(schema) - kinds["left out"])
    gaps = f"{count(missing, 'cell')} {'was' if missing == 1 else 'were'} missing"
    part = f" ({share(missing / cells)})" if missing and cells else ""
    return f"{learned} of {count(len(schema), 'column')}: {listed(words)}. {gaps[0].upper()}{gaps[1:]}{part}."


def picture_words(data: Data) -> str:
    """What a picture of training was like."""
    names, (height, width) = [clean(name, 20) for name in data.feature_names], data.spec.shape[1:]
    cut = "cut into pieces of" if getattr(data, "patch", None) else "of up to" if data.spec.free else "of"
    return f"{cut} {width} × {height} pixels: {listed(names)}"


def code_words(autoencoder: Autoencoder, unit: str) -> tuple[str, str]:
    """What the number of components counts, for one and for several."""
    is_grid = getattr(getattr(autoencoder.module_, "network", None), "code_axes", 1) > 1
    rest = f"for each place of a {unit}" if is_grid else f"for each {unit}"
    return f"number {rest}", f"numbers {rest}"


def _nouns() -> Iterator[tuple[Any, str]]:
    yield from (("numeric", "number"), ("boolean", "yes-or-no column"), ("categorical", "categorical column"))
    yield from (("date", "date"), ("left out", "column left out"))


def remark(facts: ColumnFacts) -> str:
    """What is special about a column."""
    if facts.left_out:
        return facts.left_out
    said = ["always the same"] * facts.constant + ["looks like an identifier"] * facts.identifier
    return ", ".join([*said, *["heavy tails, drawn in"] * facts.compressed])


def _facts(facts: ColumnFacts, n_rows: int) -> list[str]:
    missing = number(facts.n_missing) + (f" ({share(facts.n_missing / n_rows)})" if facts.n_missing and n_rows else "")
    kind = KINDS.get(facts.kind, facts.kind)
    return [clean(facts.name, 60), kind, missing, _content(facts), remark(facts)]


def _content(facts: ColumnFacts) -> str:
    if facts.kind == "categorical":
        words = [clean(level, 30) for level in facts.levels[:4]]
        more = len(facts.levels) - len(words)
        return ", ".join(words) + (f" and {more} more" if more > 0 else "")
    if facts.kind == "boolean":
        return f"yes in {share(facts.mean)}"
    if facts.kind == "numeric":
        return f"{number(facts.minimum)} to {number(facts.maximum)}, mean {number(facts.mean)}"
    return ""


# ---- training


def training_section(history: History, unit: str) -> Section:
    """How the losses went."""
    if not len(history):
        return Section("training", "Training", [Text("No epoch of training is on record.")])
    took = duration(sum(history["seconds"]))
    kept = f" The weights of epoch {history.best_epoch} were kept." if history.best_epoch else ""
    blocks: list[Block] = [Text(f"{count(len(history), 'epoch')} in {took}; {history.ended}.{kept}")]
    terms = terms_of(history)
    if len(terms) > 1:
        blocks.append(Text(f"The loss is the sum of {listed(terms[1:])}, in nats per {unit}."))
    blocks.append(Figures([term_figure(history, term) for term in terms]))
    chosen = sorted({round(place) for place in np.linspace(0, len(history) - 1, min(MOST_EPOCHS, len(history)))})
    names = [name for name in history.names if name != "seconds"]
    rows = [
        [Cell(str(history[place].number), True), *(Cell(number(history[name][place]), True) for name in names)]
        for place in chosen
    ]
    title = "Every epoch in numbers" if len(chosen) == len(history) else f"{len(chosen)} epochs in numbers"
    head = ["epoch", *(name.replace("validation_", "held-out ").replace("_", " ") for name in names)]
    blocks.append(Table("epochs", title, head, rows, folded=True))
    return Section("training", "Training", blocks)


# ---- the doctor


def doctor_section(autoencoder: Autoencoder) -> Section:
    """What the doctor found."""
    found = [
        Note(_sentence(finding.code.replace("_", " ")), _sentence(clean(finding.text)))
        for finding in autoencoder.doctor_
    ]
    healthy = "The doctor looked at the data before training and at the network after it, and has nothing to remark."
    return Section("doctor", "The doctor's findings", [Notes(found) if found else Text(healthy)])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---- settings and versions


def settings_section(model: Autoencoder | Task) -> Section:
    """Everything that was set, what the network looks like, and what it ran on."""
    autoencoder = model if isinstance(model, Autoencoder) else model.autoencoder_
    rows = [_setting(name, value, default) for name, value, default in _settings(model)]
    if model is not autoencoder:
        rows = [row for row in rows if row[0].text != "autoencoder"]
        rows += [_setting(f"autoencoder: {name}", value, default) for name, value, default in _settings(autoencoder)]
    blocks: list[Block] = [Table("settings", "Settings", ["setting", "value", ""], rows)]
    if hasattr(autoencoder.module_, "summary"):
        blocks.append(Code("Layers and shapes", re.sub(ADDRESS, "", autoencoder.summary())))
    versions = [[Cell(name), Cell(text)] for name, text in _versions(autoencoder)]
    blocks.append(Table("versions", "Versions and machine", ["what", "version"], versions))
    return Section("settings", "Settings and versions", blocks)


def _settings(estimator: BaseEstimator) -> Iterable[tuple[str, Any, Any]]:
    defaults = inspect.signature(type(estimator).__init__).parameters
    for name, value in estimator.get_params(deep=False).items():
        yield name, value, defaults[name].default


def _setting(name: str, value: Any, default: Any) -> list[Cell]:
    text = written(value)
    return [Cell(name), Cell(clean(text, 400)), Cell("" if text == written(default) else "not the default")]


def written(value: Any) -> str:
    """A setting as one would type it, the same in every run: no addresses of memory, no paths of this machine.

    >>> written(Training(max_epochs=5, checkpoint="/home/me/run")), written([1, "vae"]), written(print)
    ('Training(max_epochs=5)', "[1, 'vae']", 'print')
    """
    if isinstance(value, Training):
        return repr(Training(**(value.get_params(deep=False) | {"callbacks": (), "checkpoint": None})))
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(written, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, (nn.Module, np.random.RandomState)):
        return type(value).__name__
    return value.__name__ if inspect.isroutine(value) or inspect.isclass(value) else re.sub(ADDRESS, "", repr(value))


def _versions(autoencoder: Autoencoder) -> Iterator[tuple[str, str]]:
    yield "Isthmus", isthmus.__version__
    yield "Python", platform.python_version()
    for name in ("torch", "numpy", "scikit-learn", "polars"):
        try:
            yield name, version(name)
        except PackageNotFoundError:  # installed in another way
            continue
    yield "System", f"{platform.system()} {platform.machine()}"
    yield "Device", str(next(autoencoder.module_.parameters()).device.type)
