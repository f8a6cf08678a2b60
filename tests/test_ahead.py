"""Batches fetched for several steps at once are those that each step would have fetched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from isthmus import Autoencoder, Training
from isthmus.training import Batch
from isthmus.training.ahead import ahead
from isthmus.training.parallel import Share
from isthmus.training.rows import Rows


def numbers(gaps: bool, n_rows: int = 90) -> Any:
    X = np.random.default_rng(0).normal(size=(n_rows, 5)).astype(np.float32)
    if gaps:
        X[7:9, 1] = np.nan
    return X


def shares(*rows: list[int]) -> list[Share]:
    return [Share(np.array(some), len(some), len(some)) for some in rows]


def test_every_share_gets_the_batch_of_its_own_rows() -> None:
    X, asked = torch.arange(20.0).view(10, 2), []

    def fetch(rows: Rows) -> Batch:
        asked.append(len(rows))
        return Batch(X[torch.as_tensor(rows)])

    given = shares([3, 1], [0], [9, 9, 2], [5])
    found = list(ahead(given, fetch, n_steps=3))
    assert [share.rows.tolist() for share, _ in found] == [share.rows.tolist() for share in given]
    assert all(torch.equal(batch.x, X[torch.as_tensor(share.rows)]) for share, batch in found)
    assert asked == [6, 1]


def test_once_something_is_absent_every_step_fetches_its_own() -> None:
    """A step without gaps has no weights at all, whoever else has some."""

    def fetch(rows: Rows) -> Batch:
        x = torch.as_tensor(rows)[:, None]
        return Batch(x, None if (x != 4).all() else (x != 4).float())

    found = list(ahead(shares([0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]), fetch, n_steps=2))
    assert [batch.weight is None for _, batch in found] == [True, True, False, True, True, True]
    assert [batch.x.flatten().tolist() for _, batch in found] == [[n, n + 1] for n in range(0, 12, 2)]


@pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")
@pytest.mark.parametrize("gaps", [False, True])
def test_a_run_does_not_change(gaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, although several batches are scaled as one."""

    def fitted() -> tuple[list[int], Autoencoder]:
        sizes: list[int] = []
        model = Autoencoder(2, variant="denoising", training=Training(max_epochs=3, batch_size=8), random_state=0)
        take = type(model)._batches

        def counting(self: Any, *given: Any) -> Any:
            batches, n_rows = take(self, *given)
            return lambda rows: (sizes.append(len(rows)), batches(rows))[1], n_rows

        with monkeypatch.context() as patch:
            patch.setattr(type(model), "_batches", counting)
            return sizes, model.fit(numbers(gaps))

    many, model = fitted()
    monkeypatch.setattr("isthmus.training.ahead.FETCHED", 1)
    few, plain = fitted()
    assert gaps or len(many) < len(few)
    for ours, theirs in zip(model.module_.parameters(), plain.module_.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert model.history_["loss"] == plain.history_["loss"]
