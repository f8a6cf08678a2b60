"""Pictures in arrays and lists: what goes in comes back, whatever its type and size, and holes carry no weight."""

from __future__ import annotations

import copy
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import isthmus
from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.data import _image_samples
from isthmus.data._image_samples import PatchSamples, corners
from isthmus.data.images import Images
from isthmus.data.tables import Tables
from isthmus.errors import DataError, IsthmusWarning, MissingExtraError, ModelFileError, SettingError

Pixels = np.ndarray[Any, Any]
DTYPES = ("bool", "uint8", "uint16", "int16", "int32", "int64", "uint64", "float16", "float32", "float64")


def pixels(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Pixels:
    """Values over the whole range that a type is used in."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return random.random(shape).astype(kind)
    if kind.kind == "b":
        return random.random(shape) < 0.5
    limits = np.iinfo(kind)
    return random.integers(max(limits.min, -(2**40)), min(int(limits.max), 2**40), shape).astype(kind)


def all_of(images: Images, X: Any, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor | None]:
    x, weight, _ = images.batch(images.open(X), slice(None), dtype)
    return x, weight


def there_and_back(images: Images, X: Any, dtype: torch.dtype = torch.float64) -> Any:
    return images.give_back(all_of(images, X, dtype)[0], images.open(X))


def equal(first: Any, second: Any) -> bool:
    same_kind = type(first) is type(second) and first.dtype == second.dtype and first.shape == second.shape
    return same_kind and bool(np.array_equal(first, second, equal_nan=first.dtype.kind == "f"))


# ---- arrays


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 2), (4, 6, 5, 3), (4, 6, 5, 4), (1, 1, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_to_the_last_bit(dtype: str, shape: tuple[int, ...]) -> None:
    X = pixels(shape, dtype)
    images = Images().fit(X)
    exact = torch.float64 if X.dtype.itemsize > 2 else torch.float32
    assert equal(there_and_back(images, X, exact), X)
    assert equal(images.from_tensor(all_of(images, X, exact)[0]), X)
    channels = shape[3] if len(shape) == 4 else 1
    assert images.spec.shape == (channels, *shape[1:3]) and images.spec.channels == 0 and not images.spec.free


def test_zero_is_black_and_one_is_white() -> None:
    for dtype, white in (("bool", True), ("uint8", 255), ("uint16", 65535), ("float32", 1.0)):
        X = np.array([[[0, white]]], dtype=dtype)
        assert all_of(Images().fit(X), X)[0].flatten().tolist() == [0.0, 1.0]
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(all_of(Images().fit(ramp), ramp)[0].numpy().ravel(), np.arange(256, dtype=np.float32) / 255)


def test_other_ranges_are_learned() -> None:
    X = np.array([[[-1000, 3000], [0, 1000]]], dtype=np.int16)
    images = Images().fit(X)
    assert all_of(images, X)[0].flatten().tolist() == [0.0, 1.0, 0.25, 0.5]
    assert all_of(images, X + 500)[0].flatten()[0] == 0.125  # a new picture may go beyond
    within = np.array([[[0.2, 0.7]]])
    assert all_of(Images().fit(within), within, torch.float64)[0].flatten().tolist() == [0.2, 0.7]
    flat = np.full((3, 2, 2), 7.0)
    assert equal(there_and_back(Images().fit(flat), flat), flat)


def test_channels_stand_first_and_rows_below_each_other() -> None:
    X = pixels((3, 4, 5, 3))
    x, _ = all_of(Images().fit(X), X)
    assert np.array_equal(x.numpy(), np.moveaxis(X, 3, 1).astype(np.float32) / np.float32(255))
    assert x.is_contiguous()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_arrays_are_neither_changed_nor_copied(dtype: str) -> None:
    X = pixels((5, 4, 3, 1), dtype)
    X.setflags(write=False)
    before = X.copy()
    images = Images().fit(X)
    samples = images.open(X)
    assert np.shares_memory(samples.source.array, X)  # type: ignore[attr-defined]
    kind = torch.float64 if dtype == "float64" else torch.float32
    for rows in (slice(None), slice(1, 3), np.array([4, 0])):
        images.batch(samples, rows, kind).x.add_(1.0)
    assert np.array_equal(X, before)


def test_any_layout_of_the_memory_is_read_alike() -> None:
    X = pixels((4, 6, 5, 3), "uint16")
    images = Images().fit(X)
    expected = all_of(images, X)[0]
    for other in (np.asfortranarray(X), X[::-1][::-1], X.astype(">u2"), np.repeat(X, 2, axis=0)[::2]):
        assert torch.equal(all_of(images, other)[0], expected)


def test_holes_have_no_weight() -> None:
    X = pixels((4, 5, 6), "float64")
    X[1, 2, 3] = X[2, :, 0] = np.nan
    images = Images().fit(X)
    x, weight = all_of(images, X)
    assert weight is not None and np.array_equal(weight[:, 0].numpy() == 0, np.isnan(X))
    assert bool((x[weight == 0] == 0).all()) and images.spec.gaps and images.schema[0].n_missing == 2
    whole = pixels((4, 5, 6), "float64", seed=1)
    assert all_of(images, whole)[1] is None and not Images().fit(whole).spec.gaps
    with pytest.raises(DataError, match="infinite"):
        Images().fit(np.where(np.isnan(X), np.inf, X))


def test_the_schema_says_what_is_in_each_channel() -> None:
    X = np.zeros((6, 3, 4, 4), dtype=np.uint8)
    X[..., 0], X[:3, ..., 1], X[..., 3] = 10, 200, pixels((6, 3, 4))
    red, green, blue, alpha = Images().fit(X).schema
    assert [facts.name for facts in (red, green, blue, alpha)] == ["red", "green", "blue", "alpha"]
    assert red.constant and not green.constant and blue.maximum == 0 and red.dtype == "uint8"
    assert (green.mean, green.minimum, green.maximum, green.n_distinct) == pytest.approx((100, 0, 200, 2))
    assert alpha.mean == pytest.approx(X[..., 3].mean()) and alpha.standard_deviation == pytest.approx(X[..., 3].std())
    assert Images().fit(X).describe(1, torch.full((4, 3, 4), 0.2)) == "51 on average"


# ---- lists


def test_lists_keep_each_size_type_and_axis() -> None:
    X = [pixels((5, 7)), pixels((3, 9), "uint16"), pixels((6, 2, 1)), pixels((4, 4), "bool"), pixels((1, 1), "float64")]
    images = Images().fit(X)
    x, weight = all_of(images, X, torch.float64)
    assert x.shape == (5, 1, 6, 9) and weight is not None and images.spec.free == (1, 2) and images.spec.gaps
    for place, one in enumerate(X):
        assert int(weight[place].sum()) == one.shape[0] * one.shape[1]
        assert bool((weight[place, :, : one.shape[0], : one.shape[1]] == 1).all())
    back = there_and_back(images, X)
    assert isinstance(back, list) and all(map(equal, back, X))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    X = [pixels((4 + place % 3, 5), seed=place) for place in range(9)]
    images = Images().fit(X)
    samples = images.open(X)
    x, weight, _ = images.batch(samples, slice(None))
    some = images.batch(samples, np.array([7, 0, 7]))
    assert weight is not None and some.weight is not None
    assert torch.equal(some.x, x[[7, 0, 7]]) and torch.equal(some.weight, weight[[7, 0, 7]])
    large = images.open([*X, pixels((9, 9))])
    assert images.batch(large, np.array([0])).x.shape == (1, 1, 9, 9)
    assert images.batch(large.select([0]), np.array([0])).x.shape == (1, 1, 6, 5)


def test_grey_and_colour_together_are_colour_to_the_model() -> None:
    X = [pixels((4, 4)), pixels((4, 4, 3)), pixels((4, 4, 2)), pixels((4, 4, 4))]
    images = Images().fit(X)
    assert images.feature_names == ["red", "green", "blue", "alpha"]
    x, _ = all_of(images, X)
    assert torch.equal(x[0, 0], x[0, 2]) and bool((x[0, 3] == 1).all()) and not bool((x[2, 3] == 1).all())
    assert all(map(equal, there_and_back(images, X), X))


@pytest.mark.parametrize(("mode", "n"), [("grey", 1), ("grey_alpha", 2), ("colour", 3), ("colour_alpha", 4)])
def test_the_mode_that_is_asked_for(mode: str, n: int) -> None:
    X = pixels((3, 4, 5, 4))
    images = Images(mode=mode).fit(X)
    x, _ = all_of(images, X)
    assert x.shape == (3, n, 4, 5)
    if n < 3:
        grey = (X[..., :3] @ np.array([0.299, 0.587, 0.114])) / 255
        assert np.allclose(x[:, 0], grey, atol=1e-6)
    back = there_and_back(images, X)
    assert back.shape == X.shape and np.array_equal(back[..., 3], X[..., 3])  # alpha stays, whether it was seen or not


def test_what_a_grey_model_makes_of_colour_is_grey() -> None:
    X = pixels((2, 3, 3, 3))
    back = there_and_back(Images(mode="grey").fit(X), X)
    assert np.array_equal(back[..., 0], back[..., 1]) and np.array_equal(back[..., 0], back[..., 2])


# ---- sizes and patches


def test_other_sizes_are_refused_where_training_had_one() -> None:
    images = Images().fit(pixels((3, 8, 6)))
    with pytest.raises(DataError, match=r"8 x 8 pixels \(height x width\) .* had 8 x 6"):
        images.open(pixels((3, 8, 8)))
    with pytest.raises(DataError, match="picture 1 has 5 x 6"):
        images.open([pixels((8, 6)), pixels((5, 6))])
    assert len(Images(size=(8, 6)).fit(pixels((3, 8, 6))).open(pixels((2, 80, 9)))) == 2


def test_resizing_is_exact_where_it_can_be_and_results_have_their_own_size() -> None:
    X = pixels((3, 4, 5, 3))
    assert equal(there_and_back(Images(size=(4, 5)).fit(X), X), X)
    flat = [np.full((4, 6), 90, np.uint8), np.full((13, 2, 3), 7, np.uint8)]
    images = Images(size=5).fit(flat)
    assert images.spec.shape == (3, 5, 5) and not images.spec.free and all_of(images, flat)[1] is None
    assert all(map(equal, there_and_back(images, flat), flat))
    # halving takes the mean of what lies together, up to the filter's soft edges
    checks = np.indices((8, 8)).sum(0) % 2 * np.uint8(255)
    x, _ = all_of(Images(size=4).fit(checks[None]), checks[None])
    assert bool(((x - 0.5).abs() < 0.07).all())


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_patches_cover_every_pixel(height: int, width: int, side: int) -> None:
    seen = np.zeros((height, width), dtype=bool)
    places = corners((height, width), side)
    for y, x in places:
        assert y + side <= max(height, side) and x + side <= max(width, side)
        seen[y : y + side, x : x + side] = True
    assert len(set(places)) == len(places) <= 256
    steps = [-(-max(0, length - side) // max(1, side // 2)) + 1 for length in (height, width)]
    if steps[0] * steps[1] <= 256 and max(steps) <= 16:
        assert seen.all()


def test_patches_of_a_huge_picture_are_few_and_spread() -> None:
    places = np.array(corners((4000, 6000), 64))
    assert len(places) == 256 and places.max(0).tolist() == [3936, 5936] and places.min(0).tolist() == [0, 0]
    assert len(corners((64, 100_000), 64)) == 256


@pytest.mark.parametrize("kind", ["array", "list", "resized"])
def test_training_sees_patches_and_other_work_whole_pictures(kind: str) -> None:
    X: Any = pixels((3, 9, 12, 3))
    images = Images(patch=4, size=(18, 24) if kind == "resized" else None)
    X = list(X) if kind == "list" else X
    samples = images.fit(X).open(X)
    assert images.spec.shape == (3, 4, 4) and images.spec.free == (1, 2) and not images.spec.gaps
    cut, rows = images.for_training(samples)
    assert isinstance(cut, PatchSamples) and len(cut) == len(rows) == 3 * len(corners(samples.model_size(0), 4))
    x = images.batch(samples, slice(None)).x
    pieces = images.batch(cut, rows).x
    expected = [
        x[place, :, r : r + 4, c : c + 4] for place in range(3) for r, c in corners(samples.model_size(place), 4)
    ]
    assert torch.equal(pieces, torch.stack(expected))
    _, some = images.for_training(samples, [2])
    assert torch.equal(images.batch(cut, some).x, pieces[2 * len(rows) // 3 :])
    assert images.batch(images.open(pixels((1, 30, 5, 3))), slice(None)).x.shape[2:] == (samples.size or (30, 5))


def test_pictures_smaller_than_a_patch_are_padded() -> None:
    images = Images(patch=6).fit([pixels((4, 9)), pixels((8, 8))])
    cut, rows = images.for_training(images.open([pixels((4, 9)), pixels((8, 8))]))
    x, weight, _ = images.batch(cut, rows)
    assert x.shape[1:] == (1, 6, 6) and weight is not None and images.spec.gaps
    assert weight[0, 0].sum(1).tolist() == [6, 6, 6, 6, 0, 0]


def test_patches_of_pairs_lie_at_the_same_places() -> None:
    clean = pixels((3, 9, 9))
    images = Images(patch=4).fit(clean)
    images.check_pairs(images.open(clean), images.open(255 - clean))
    (first, rows), (second, _) = (images.for_training(images.open(X)) for X in (clean, 255 - clean))
    both = images.batch(first, rows).x + images.batch(second, rows).x
    torch.testing.assert_close(both, torch.ones_like(both))
    with pytest.raises(DataError, match="its counterpart 8 x 9"):
        images.check_pairs(images.open(clean), images.open(clean[:, :8]))
    with pytest.raises(DataError, match="3 samples and its counterparts 2"):
        images.check_pairs(images.open(clean), images.open(clean[:2]))


# ---- what does not fit


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((4, 64)), r"it is a table; .* X\.reshape"),
        (np.zeros((2, 3, 4, 5)), "5 channels on its last axis"),
        (np.zeros((2, 3, 8, 8)), "np.moveaxis"),
        (np.zeros((0, 8, 8)), "holds no pictures"),
        (np.zeros((2, 0, 8)), "no pixels"),
        (np.zeros((2, 3, 4), dtype=complex), "type complex128"),
        (np.zeros((2, 3, 4), dtype=object), "type object"),
        (np.zeros((1, 2, 3, 4, 1)), "pictures are"),
        ([], "there are no pictures"),
        ([np.zeros((3, 3)), "photo"], "picture 1 is a str"),
        ([np.zeros((3, 3)), np.zeros(3)], r"picture 1 has shape \(3,\)"),
        (3, "a int holds no pictures"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(X: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Images().fit(X)


def test_another_unit_is_noticed_and_noise_is_not() -> None:
    images = Images().fit(pixels((5, 4, 4)))
    with pytest.raises(DataError, match="from 0 to 255, and for the model 0 is black and 1 is white"):
        images.open(np.linspace(0, 255, 80).reshape(5, 4, 4))
    noisy = np.random.default_rng(0).normal(0.5, 0.5, (5, 4, 4))
    assert equal(there_and_back(images, noisy), noisy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "gray"},
        {"damaged": "ignore"},
        {"patch": 0},
        {"patch": 2.5},
        {"max_pixels": 0},
        {"size": (4, 0)},
        {"size": (4, 4, 4)},
        {"size": "large"},
        {"size": 2.5},
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Images(**wrong).fit(pixels((2, 4, 4)))


def test_tables_and_pictures_do_not_overlap(tmp_path: Path) -> None:
    given: list[Any] = [
        *(pixels(shape) for shape in ((3, 3), (3, 3, 3), (3, 3, 3, 3))),
        *([[1, 2], [3, 4]], [pixels((3, 3))], [np.zeros(3)], str(tmp_path), "a.csv", "a.png", "-", ["a.png"], "*.tif"),
    ]
    owners = [(Images.accepts(X), Tables.accepts(X)) for X in given]
    assert all(first + second <= 1 for first, second in owners)
    assert [first for first, _ in owners[:3]] == [False, True, True]
    assert Images.accepts([pixels((3, 3))]) and Images.accepts("photo.JPG") and not Images.accepts(pixels((3,)))


def test_without_pillow_arrays_work_and_files_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    X = pixels((3, 4, 4))
    assert equal(there_and_back(Images().fit(X), X), X)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MissingExtraError, match=r"isthmus\[image\]"):
        Images().fit(tmp_path)
    with pytest.raises(MissingExtraError, match=r"isthmus\[image\]"):
        Images.write(X, tmp_path / "out")


# ---- state


def states() -> list[tuple[Images, Any]]:
    holes = pixels((4, 5, 5), "float64") * 9 - 3
    holes[0, 0, 0] = np.nan
    mixed = [pixels((4, 5, 3)), pixels((6, 3), "uint16")]
    return [
        (Images(), pixels((3, 4, 5, 4))),
        (Images(), holes),
        (Images(mode="colour"), mixed),
        (Images(patch=3), mixed),
    ]


@pytest.mark.parametrize("place", range(4))
def test_state_comes_back(place: int) -> None:
    images, X = states()[place]
    images = copy.deepcopy(images).fit(X)
    document, tensors = images.state()
    again = copy.deepcopy(states()[place][0]).restore(json.loads(json.dumps(document, allow_nan=False)), tensors)
    assert (again.spec, again.schema, again.feature_names, again.container) == (
        *(images.spec, images.schema, images.feature_names, images.container),
    )
    assert torch.equal(all_of(again, X)[0], all_of(images, X)[0])


def test_a_state_that_no_fit_can_have_left_is_refused() -> None:
    images = Images().fit(pixels((3, 4, 5, 3)))
    document, tensors = images.state()
    wrong: list[dict[str, Any]] = [
        {"container": "pickle"},
        {"shape": [3, 4]},
        {"shape": [3, 0, 5]},
        {"shape": [1, 4, 5]},
        {"shape": [3, 10**6, 10**6]},
        {"shape": [3, 4.0, 5]},
        {"free": 1},
        {"extent": {"low": 1.0, "high": 1.0, "gaps": False}},
        {"extent": {"low": 0.0, "high": float("inf"), "gaps": False}},
        {"extent": {"top": 0.0}},
        {"form": document["form"] | {"dtype": "object"}},
        {"form": document["form"] | {"mode": "EVIL"}},
        {"form": document["form"] | {"kind": "EPS"}},
        {"form": document["form"] | {"channels": 9}},
        {"form": document["form"] | {"colour": 1}},
        {"form": None},
    ]
    for change in wrong:
        with pytest.raises(ModelFileError, match="pictures cannot be"):
            Images().restore(document | change, tensors)
    for name in tensors:
        with pytest.raises(ModelFileError):
            Images().restore(document, {other: tensor for other, tensor in tensors.items() if other != name})
        with pytest.raises(ModelFileError):
            Images().restore(document, tensors | {name: torch.zeros(3)})


# ---- from end to end


def digits(dtype: str = "uint8", n: int = 300) -> Pixels:
    values = load_digits().images[:n]
    return (values * 15).astype(dtype) if dtype != "float64" else values


SMALL = Training(max_epochs=25, batch_size=64, learning_rate=0.005)


def quiet(estimator: Any, X: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        return estimator.fit(X)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_an_autoencoder_gives_pictures_of_the_same_kind(dtype: str, tmp_path: Path) -> None:
    X = digits(dtype)
    model = quiet(Autoencoder(n_components=8, network="dense", training=SMALL, random_state=0), X)
    codes, back = model.transform(X), model.reconstruct(X)
    assert codes.shape == (300, 8) and back.shape == X.shape and back.dtype == X.dtype
    whole = X.astype(np.float64)
    if dtype != "uint16":  # of which 240 is nearly black
        error = np.square(back - whole).sum() / np.square(whole - whole.mean(0)).sum()
        assert error < 0.6
    assert model.inverse_transform(codes).dtype == X.dtype and model.sample(3).shape == (3, 8, 8)
    assert (codes.dtype, model.n_features_in_) == (np.float64 if dtype == "float64" else np.float32, 1)
    model.save(tmp_path / "m.safetensors")
    loaded = isthmus.load(tmp_path / "m.safetensors")
    assert equal(loaded.reconstruct(X), back)


def test_mixed_sizes_and_holes_go_through_a_network() -> None:
    X = [picture[: 8 - place % 2, : 8 - place % 3] for place, picture in enumerate(digits())]
    model = quiet(Autoencoder(n_components=8, network="dense", training=SMALL, random_state=0), X)
    assert [one.shape for one in model.reconstruct(X)] == [one.shape for one in X]
    # what stands outside a picture does not reach its code: alone, it has the same one
    alone = np.concatenate([model.transform(X[place : place + 1]) for place in range(5)])
    assert np.allclose(alone, model.transform(X[:5]), atol=1e-5)


def test_an_odd_picture_is_found() -> None:
    X = digits("float64")
    X[13] = np.indices((8, 8)).sum(0) % 2 * 16.0
    autoencoder = Autoencoder(n_components=8, network="dense", training=SMALL)
    detector = quiet(AnomalyDetector(autoencoder, contamination=0.01, random_state=0), X)
    assert int(np.argmin(detector.score_samples(X))) == 13 and detector.predict(X)[13] == -1
    assert detector.explain(X).shape == (300, 1)
    assert detector.reasons(X, np.array([13])) == ["spread over the whole picture"]
    assert detector.answer(X).table.height == 300


def test_training_takes_patches_and_counterparts() -> None:
    """A linear network that is shown negatives learns to turn them round."""
    X = digits()
    images = Images(patch=4)
    training = Training(max_epochs=150, learning_rate=0.02, validation=0.0)
    model = Autoencoder(
        n_components=16, network="dense(widths=())", data_type=images, training=training, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        model.fit_rows(X[:20], range(10), target=255 - X[:20])
    assert model.n_components_ == 16 and model.data_.spec.shape == (1, 4, 4)
    tile = X[0, :4, :4][None]
    assert np.abs(model.reconstruct(tile).astype(int) - (255 - tile)).mean() < 8
    assert images == Images(patch=4) and not hasattr(images, "spec")


def test_patches_of_arrays_are_not_kept() -> None:
    X = pixels((6, 9, 9))
    images = Images(patch=4).fit(X)
    cut, rows = images.for_training(images.open(X))
    images.batch(cut, rows)
    assert not cut._kept.pixels and _image_samples.ROOM >= 2**20  # type: ignore[attr-defined]
