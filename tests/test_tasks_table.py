"""Every task on every kind of data: what docs/tasks.md says in a cell is what happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars import selectors

import isthmus
from isthmus import Autoencoder, Training, advise, evaluate, load
from isthmus.errors import IsthmusError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"
N = 48
QUICK = Training(max_epochs=2)
LABELS = np.arange(N) % 2
KNOWN = np.arange(N) < 20


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


KINDS = rows()[0][1:]
CELLS = {
    (re.findall(r"`(\w+)`", row[0])[0], kind): said
    for row in rows()[1:]
    for kind, said in zip(KINDS, row[1:], strict=True)
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    random = np.random.default_rng(0)
    numbers = (random.normal(size=(N, 2)) @ random.normal(size=(2, 6)) + LABELS[:, None]).round(3)
    amount = numbers[:, 0].copy()
    amount[::9] = np.nan
    mixed = pl.DataFrame(
        {
            "amount": amount,
            "age": (40 + 9 * numbers[:, 1]).round(),
            "paid": np.where(LABELS > 0, "card", np.where(numbers[:, 2] > 0, "cash", "phone")),
            "member": [None if place % 7 == 0 else place % 2 == 0 for place in range(N)],
        }
    ).with_columns(pl.col("amount").fill_nan(None))
    at = np.linspace(0, 1, 12)
    grey = np.stack([np.outer(np.roll(at, place % 12), at) for place in range(N)]).astype(np.float32)
    folder = tmp_path_factory.mktemp("colour")
    for place in range(N):
        picture = np.stack([np.outer(np.roll(np.linspace(0, 1, 16), place + 3 * c), np.ones(16)) for c in range(3)], -1)
        Image.fromarray((255 * picture).astype(np.uint8)).save(folder / f"{place:02d}.png")
    return dict(zip(KINDS, (numbers, mixed, grey, str(folder)), strict=True))


def some(X: Any) -> Any:
    return X if isinstance(X, str) else X[:8]


def with_gaps(X: Any) -> Any:
    """Whatever can be missing is missing in places; a folder stays as it is and is asked with a mask."""
    if not isinstance(X, np.ndarray):
        return some(X)
    X = some(X).copy()
    X[:, 1] = np.nan
    return X


def filled(model: Any, X: Any) -> Any:
    if not isinstance(X, str):
        return model.transform(with_gaps(X))
    return model.transform(X, mask=np.eye(16) > 0)


#: How each task is called, and what it is asked for; the answer is compared.
ASKED: dict[str, Callable[[Any, Any], Any]] = {
    "AnomalyDetector": lambda model, X: model.score_samples(X),
    "Denoiser": lambda model, X: model.transform(some(X)),
    "Inpainter": filled,
    "Imputer": lambda model, X: model.transform(with_gaps(X)),
    "Colorizer": lambda model, X: model.transform(some(X)),
    "WatermarkRemover": lambda model, X: model.transform(some(X)),
    "Autoencoder": lambda model, X: [model.transform(X), model.inverse_transform(model.transform(some(X)))],
    "Clusterer": lambda model, X: model.predict(X),
    "Retriever": lambda model, X: model.query(some(X), 3),
    "Synthesizer": lambda model, X: model.sample(5),
    "Compressor": lambda model, X: model.decompress(model.compress(some(X))),
    "SemiSupervisedClassifier": lambda model, X: model.predict(X),
    "SemiSupervisedRegressor": lambda model, X: model.predict(X),
    "FeatureSelector": lambda model, X: model.transform(X),
}


def fitted(name: str, X: Any) -> Any:
    if name == "Autoencoder":
        return Autoencoder(2, training=QUICK, random_state=0).fit(X)
    given = {"n_clusters": 3} if name == "Clusterer" else {}
    model = getattr(isthmus, name)(Autoencoder(training=QUICK), random_state=0, **given)
    if name == "SemiSupervisedClassifier":
        return model.set_params(tune=QUICK).fit(X, np.where(KNOWN, LABELS, -1))
    if name == "SemiSupervisedRegressor":
        return model.set_params(tune=QUICK).fit(X, np.where(KNOWN, LABELS + 0.5, np.nan))
    return model.fit(X)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, pl.DataFrame):
        return first.equals(second, null_equal=True)
    if isinstance(first, list):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize(("name", "kind"), [pytest.param(*cell, id=" on ".join(cell)) for cell in CELLS])
def test_the_cell_is_true(
    name: str, kind: str, samples: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, said = samples[kind], CELLS[name, kind]
    if said.startswith("refuses"):
        monkeypatch.setattr(Autoencoder, "_end", lambda *_: pytest.fail("it was trained before the refusal"))
        with pytest.raises(IsthmusError) as refusal:
            fitted(name, X)
        assert said.partition(": ")[2].lower() in str(refusal.value).lower() and "\n" not in str(refusal.value)
        return
    if name in ("evaluate", "advise"):
        judged = judge(name, X)
        assert same(judged, judge(name, X))
        return
    model = fitted(name, X)
    answer = ASKED[name](model, X)
    check_form(said, X, answer)
    model.save(tmp_path / "model.safetensors")
    assert same(answer, ASKED[name](load(tmp_path / "model.safetensors"), X))
    assert same(answer, ASKED[name](fitted(name, X), X))


def judge(name: str, X: Any) -> list[Any]:
    quick = Autoencoder(2, training=QUICK, random_state=0)
    if name == "advise":
        advice = advise(X, sizes=(1, 2), seeds=1, autoencoder=quick)
        assert advice.n_components in (1, 2) and advice.reason
        return [advice.n_components, advice.reason]
    found = evaluate(quick.fit(X), X)
    assert found.n_samples == N and all(np.isfinite(one.value) for one in found.measures if one.value is not None)
    return [[str(one) for one in found.measures], found.features]


def check_form(said: str, X: Any, answer: Any) -> None:
    """One answer for each sample, or samples in the form in which they came."""
    if " for each " in said:
        assert len(answer) == N
    given = X if "some of" in said else some(X)
    if re.match("cleaned|filled|cleared|bytes|some of", said) and not isinstance(X, str):
        assert type(answer) is type(given) and len(answer) == len(given)
        assert "some of" in said or answer.shape == given.shape
    if said.startswith("filled"):
        assert all(np.isfinite(np.asarray(one, dtype=float)).all() for one in numbers_of(answer))
    if said.startswith("bytes") and not isinstance(X, str):
        assert same(answer, given)


def numbers_of(answer: Any) -> list[Any]:
    if isinstance(answer, pl.DataFrame):
        assert answer.null_count().sum_horizontal()[0] == 0
        return [answer.select(selectors.numeric()).to_numpy()]
    return list(answer)
