"""Samples given back: in chunks, one by one, in tiles; always the same answer, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus import Autoencoder, Training, giving
from isthmus.data import Images
from isthmus.data import _image_back as back
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv
from isthmus.training import Batch

SHORT = Training(max_epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    X = np.random.default_rng(0).random((20, 24, 24), dtype=np.float32)
    network = Conv(channels=(4, 6, 8), skips=True)
    return Autoencoder(network=network, data_type=Images(patch=16), training=SHORT, random_state=0).fit(X)


def test_a_picture_comes_back_the_same_alone_in_a_stack_and_among_other_sizes(model: Autoencoder) -> None:
    """45 x 27 is no multiple of eight: the decoder must be told the size in every way."""
    X = np.random.default_rng(1).random((3, 45, 27), dtype=np.float32)
    stacked = model.reconstruct(X)
    mixed = model.reconstruct([X[0], X[1, :20, :9], X[2]])
    assert stacked.shape == X.shape
    np.testing.assert_allclose(mixed[0], stacked[0], atol=1e-6)
    np.testing.assert_allclose(mixed[2], stacked[2], atol=1e-6)
    np.testing.assert_allclose(mixed[1], model.reconstruct(X[1:2, :20, :9])[0], atol=1e-6)


def test_large_pictures_go_through_in_tiles_without_a_seam(model: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    X = [np.random.default_rng(2).random((700, 300), dtype=np.float32), np.zeros((8, 8), np.float32)]
    tiled = model.reconstruct(X)[0]
    monkeypatch.setattr(giving, "TILE", 4096)
    np.testing.assert_allclose(tiled, model.reconstruct(X)[0], atol=1e-5)


def test_a_hole_in_the_last_rows_belongs_to_the_picture(model: Autoencoder) -> None:
    """In a picture read alone nothing is padding: what is absent at its end is a hole, and comes back filled."""
    X = np.random.default_rng(3).random((30, 20)).astype(np.float32)
    holed = X.copy()
    holed[-3:] = np.nan
    given = model.reconstruct([holed, X[:10]])[0]
    assert np.isfinite(given).all()
    seen: list[torch.Tensor] = []

    def read(module: AutoencoderModule, batch: Batch) -> torch.Tensor:
        assert batch.weight is not None
        seen.append(batch.weight)
        return batch.x

    data = model.data_
    giving.give(model.module_, data, data.open([holed, X[:10]]), torch.float32, read)
    assert [tuple(weight.shape[2:]) for weight in seen] == [(30, 20), (10, 20)]
    assert (seen[0][..., :-3, :] == 1).all() and (seen[0][..., -3:, :] < 0).all()


def test_results_beyond_the_room_in_memory_lie_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back, "ROOM", 100)
    shelf = back._Shelf()
    pictures = [np.full((8, 8, 1), value, np.uint8) for value in range(4)]
    kept = [shelf.put(one) for one in pictures]
    assert [isinstance(one, np.memmap) for one in kept] == [False, True, True, True]
    for one, other in zip(kept, pictures, strict=True):
        np.testing.assert_array_equal(one, other)
