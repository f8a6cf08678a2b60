"""The Compressor: what comes back, in how many bytes, and what is refused."""

from __future__ import annotations

import datetime
import math
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits

import waiting
from isthmus import Autoencoder, Compressor, Training, load
from isthmus.compression.chain import fineness_of
from isthmus.compression.container import fingerprint, seal, unseal
from isthmus.compression.context import Context, Frequencies, steps
from isthmus.compression.rulers import Ruler, ordered, unordered
from isthmus.compression.stack import Stack, filler, whole_tables
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.networks import Conv, Dense
from isthmus.variants import Variational

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

GREY = load_digits().images
BLACK = GREY > 8
SHORT = Training(max_epochs=2)


def compressor(epochs: int = 2, **settings: Any) -> Compressor:
    training = Training(max_epochs=epochs, batch_size=64, learning_rate=3e-3, patience=None)
    return Compressor(Autoencoder(training=training), random_state=0, **settings)


def mixed(n: int = 260, seed: int = 0) -> pl.DataFrame:
    """Words, gaps, dates, times, yes and no, and numbers of all kinds."""
    random = np.random.default_rng(seed)
    start = datetime.datetime(2021, 5, 1, 12)
    frame = pl.DataFrame(
        {
            "id": [f"customer {place:05d}" for place in random.permutation(n)],
            "age": random.integers(18, 90, n),
            "income": np.round(np.exp(random.normal(10, 1, n)), 2),
            "score": random.normal(size=n),
            "city": random.choice(["Rome", "Oslo", "Bonn"], n, p=[0.7, 0.2, 0.1]),
            "ok": random.random(n) < 0.3,
            "day": [start.date() + datetime.timedelta(days=int(d)) for d in random.integers(0, 900, n)],
            "at": [start + datetime.timedelta(milliseconds=int(d)) for d in random.integers(0, 10**9, n)],
            "narrow": pl.Series(random.normal(size=n).astype(np.float32)),
        }
    )
    gaps = ("age", "income", "city", "ok", "day", "score")
    there = {name: pl.Series(random.random(n) > 0.1) for name in gaps}
    return frame.with_columns([pl.when(there[name]).then(pl.col(name)).alias(name) for name in gaps])


TABLE = mixed()


@pytest.fixture(scope="module")
def of_table() -> Compressor:
    return compressor().fit(TABLE[:200])


@pytest.fixture(scope="module")
def of_black() -> Compressor:
    return compressor(8).fit(BLACK[:1000])


# ---- lossless: what comes back


def test_a_mixed_table_comes_back_as_it_was(of_table: Compressor) -> None:
    new = TABLE[200:]
    back = of_table.decompress(of_table.compress(new))
    assert back.schema == new.schema
    assert back.equals(new, null_equal=True)


@pytest.mark.slow
def test_frames_of_pandas_and_arrow_come_back_as_such(of_table: Compressor) -> None:
    frame = TABLE.to_pandas()
    model = compressor().fit(frame[:200])
    new = frame[200:].reset_index(drop=True)
    pd.testing.assert_frame_equal(model.decompress(model.compress(new)), new)
    arrow = TABLE[200:].to_arrow()
    back = of_table.decompress(of_table.compress(arrow))
    assert type(back) is type(arrow) and back.equals(arrow.cast(back.schema))


def test_nan_and_no_value_come_back_as_what_they_were() -> None:
    """They are two things in polars and Arrow; an array that is given to a model of frames has only the one."""
    at, random = np.arange(60), np.random.default_rng(0)
    frame = pl.DataFrame({name: random.integers(0, 9, 60).astype(float) for name in ("nan", "none", "both", "whole")})
    nan, none = pl.lit(float("nan")), pl.lit(None, pl.Float64)
    frame = frame.with_columns(
        nan=pl.when(pl.Series(at % 7 == 0)).then(nan).otherwise("nan"),
        none=pl.when(pl.Series(at % 5 == 0)).then(none).otherwise("none"),
        both=pl.when(pl.Series(at % 7 == 1)).then(nan).when(pl.Series(at % 5 == 1)).then(none).otherwise("both"),
    )
    model = compressor().fit(frame)
    for table in (frame, frame.to_arrow()):
        back = model.decompress(model.compress(table))
        same = back.equals(table) if isinstance(back, pl.DataFrame) else pl.from_arrow(back).equals(frame)
        assert same and type(back) is type(table)
    array = frame.to_numpy()
    np.testing.assert_array_equal(model.decompress(model.compress(array)), array)


def test_what_training_did_not_know_comes_back_too(of_table: Compressor) -> None:
    """Words, numbers far outside, more digits than there were."""
    new = TABLE[200:].with_columns(
        city=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("Lima")).otherwise("city"),
        income=pl.when(pl.int_range(pl.len()) == 4).then(1e300).otherwise("income"),
        age=pl.when(pl.int_range(pl.len()) == 5).then(-(2**40)).otherwise("age"),
        score=pl.when(pl.int_range(pl.len()) == 6).then(-0.0).otherwise("score"),
    )
    new = new.with_columns(income=pl.when(pl.int_range(pl.len()) == 7).then(math.pi).otherwise("income"))
    back = of_table.decompress(of_table.compress(new))
    assert back.equals(new, null_equal=True)
    assert math.copysign(1, back["score"][6]) == -1


ARRAYS: dict[str, Callable[[Any], Any]] = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "int64": lambda X: (100 * X).astype(np.int64) + 2**60,
    "int16": lambda X: (100 * X).astype(np.int16),
    "bool": lambda X: X > 0,
    "gaps": lambda X: np.where(X > 1, np.nan, X),
    "csr": lambda X: sparse.csr_array(np.where(X > 1, X, 0)),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_come_back_bit_for_bit(kind: str) -> None:
    X = ARRAYS[kind](np.random.default_rng(0).normal(size=(120, 4)))
    model = compressor().fit(X)
    back = model.decompress(model.compress(X))
    assert type(back) is type(X) and back.dtype == X.dtype
    if sparse.issparse(X):
        back, X = back.toarray(), X.toarray()
    assert back.tobytes() == X.tobytes()


@pytest.mark.slow
def test_numbers_are_off_by_no_more_than_asked() -> None:
    new = TABLE[200:]
    exact, near = (compressor(precision=precision).fit(TABLE[:200]) for precision in (0.0, 0.01))
    back = near.decompress(near.compress(new))
    rounded = ("score", "narrow", "income")
    for name in rounded:
        assert 0 < (back[name] - new[name]).abs().max() <= 0.01 * TABLE[:200][name].std() * 1.01  # type: ignore
    rest = [name for name in new.columns if name not in rounded]
    assert back.select(rest).equals(new.select(rest), null_equal=True)
    assert len(near.compress(new)) < len(exact.compress(new)) - 600  # bytes of noise that nobody asked for


PICTURES: dict[str, Callable[[], Any]] = {
    "black and white": lambda: BLACK[:200],
    "17 levels of floats": lambda: GREY[:200],
    "uint8": lambda: (GREY[:200] * 15.9).astype(np.uint8),
    "uint16": lambda: (GREY[:60] * 4000 + np.random.default_rng(0).integers(0, 99, (60, 8, 8))).astype(np.uint16),
    "colour": lambda: np.random.default_rng(0).integers(0, 255, (60, 6, 5, 3)).astype(np.uint8),
    "holes": lambda: np.where(np.random.default_rng(0).random((200, 8, 8)) < 0.02, np.nan, GREY[:200]),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_come_back_bit_for_bit(kind: str) -> None:
    X = PICTURES[kind]()
    model = compressor().fit(X)
    assert model.lossless_
    back = model.decompress(model.compress(X[:50]))
    assert back.dtype == X.dtype and back.tobytes() == X[:50].tobytes()


@pytest.mark.slow
def test_a_folder_of_small_colour_files_comes_back_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (30, 9, 8, 3)).astype(np.uint8)
    for place, pixels in enumerate(values):
        Image.fromarray(pixels).save(tmp_path / f"{place:02d}.png")
    model = compressor().fit(str(tmp_path))
    back = model.decompress(model.compress(str(tmp_path)))
    assert model.lossless_ and back == Images.read(str(tmp_path))
    assert model.answer(str(tmp_path)).table.columns == ["row", "file", "bytes"]


def test_a_grid_of_codes_is_coded_too() -> None:
    model = Autoencoder(3, variant="vae", network=Conv((4, 6), code="grid"), training=SHORT)
    X = GREY[:100, :7, :6]
    fitted = Compressor(model, random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.decompress(fitted.compress(X)), X)


# ---- lossless: in how many bytes


def test_threads_and_batch_sizes_change_nothing(of_black: Compressor) -> None:
    X, before = BLACK[1000:1100], torch.get_num_threads()
    blob = of_black.compress(X)
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            assert of_black.compress(X) == blob
            np.testing.assert_array_equal(of_black.decompress(blob), X)
            for batch_size in (1, 7, 500) if threads == 2 else ():
                other = of_black.compress(X, batch_size=batch_size)
                assert abs(len(other) - len(blob)) < 0.1 * len(blob)
                np.testing.assert_array_equal(of_black.decompress(other), X)
    finally:
        torch.set_num_threads(before)


def test_real_bytes_are_near_the_bound(of_black: Compressor) -> None:
    """Minus the evidence lower bound, drawn often, is what bits back pays, besides start and header."""
    X = BLACK[1000:]
    model = of_black.autoencoder_
    module = model.as_type(torch.float64)
    x = model.data_.batch(model.data_.open(X), slice(None), torch.float64).x
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        bound = -sum(float(module.reconstruct(x, generator=generator).log_weights.sum()) for _ in range(20)) / 20
    packing = of_black._packed(X)
    ideal = bound / math.log(2)
    assert packing.bits.sum() == pytest.approx(ideal, rel=0.02)
    assert 8 * len(packing.payload) == pytest.approx(ideal + packing.start, rel=0.02)
    assert len(of_black.compress(X)) < len(packing.payload) + 120
    assert of_black.rate_ == pytest.approx(packing.bits.sum() / X.size, rel=0.15)


def test_the_bits_that_were_there_before_come_back(of_black: Compressor) -> None:
    packer: Any = of_black._packer
    symbols = packer.alphabet.some(BLACK[1000:1100], 100)
    chain = packer._chain(False, 64)
    coded = chain.push(symbols)
    below = chain._below()
    assert coded.kept == len(below) - coded.start // 32 < len(below)
    back = chain.pop(coded.words, coded.kept, len(symbols))
    np.testing.assert_array_equal(back.values, symbols.values)
    words = coded.words.copy()
    words[len(words) // 2] ^= 1
    with pytest.raises(DataError, match="computes the model's probabilities differently"):
        chain.pop(words, coded.kept, len(symbols))


@pytest.mark.slow
def test_beats_what_everybody_has() -> None:
    tables = load_breast_cancer().data
    training = Training(max_epochs=60, batch_size=32, learning_rate=3e-3)
    model = Compressor(Autoencoder(8, training=training), random_state=0).fit(tables[:400])
    said = model.answer(tables[400:]).headline
    ours, zlib, lzma = _sizes(said)
    assert ours < 0.6 * min(zlib, lzma)


def _sizes(headline: str) -> tuple[int, int, int]:
    """Ours, zlib's and lzma's."""
    found = re.search(r"became ([\d,]+) bytes.*zlib ([\d,]+), lzma ([\d,]+)", headline)
    assert found is not None, headline
    ours, zlib, lzma = (int(number.replace(",", "")) for number in found.groups())
    return ours, zlib, lzma


# ---- what is refused


def test_bytes_that_are_not_whole_or_not_ours_are_refused(of_black: Compressor, of_table: Compressor) -> None:
    blob = of_black.compress(BLACK[1000:1010])
    altered = bytearray(blob)
    altered[-5] ^= 4
    cases = {
        "were not written by compress": b"PK" + blob,
        "is cut off: .* bytes instead of": blob[:-1],
        "is cut off: it has 12 bytes": blob[:12],
        "is longer than it was": blob + b"\0",
        "was altered": bytes(altered),
        "of version 7": blob[:4] + b"\x07" + blob[5:],
        "was written with another model": of_table.compress(TABLE[:5]),
    }
    for sentence, wrong in cases.items():
        with pytest.raises(DataError, match=sentence) as refused:
            of_black.decompress(wrong)
        assert str(refused.value).endswith(".")
    with pytest.raises(DataError, match="was given a str"):
        of_black.decompress("text")  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_altered_byte_goes_through(place: int, change: int) -> None:
    blob = seal({"n": 3}, b"some payload", bytes(8))
    wrong = bytearray(blob)
    wrong[place % len(blob)] ^= change
    with pytest.raises(DataError):
        unseal(bytes(wrong), bytes(8))


def test_a_fingerprint_hears_of_every_weight() -> None:
    weights = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    before = fingerprint({"rate": 1.0}, weights)
    assert fingerprint({"rate": 1.0}, {name: value.clone() for name, value in weights.items()}) == before
    weights["a"][1, 2] = 1e-30
    assert fingerprint({"rate": 1.0}, weights) != before


def test_settings_that_cannot_be_are_refused() -> None:
    cases: list[tuple[Compressor, Any, str]] = [
        (Compressor(mode="exact"), GREY, "mode is 'exact'"),  # type: ignore[arg-type]
        (Compressor(Autoencoder(variant="finite_scalar"), mode="lossless"), GREY, "add variant='variational'"),
        (Compressor(Autoencoder(network=Conv(skips=True))), GREY, "U-Net"),
        (Compressor(precision=-1.0), GREY, "precision is -1.0"),
        (Compressor(quality=10), GREY, "quality is 10; it must be a whole number from 0 to 9"),
        (Compressor(mode="lossless"), [np.zeros((8, 8, 3)), np.ones((7, 8, 3))], "several sizes"),
    ]
    for model, X, sentence in cases:
        with pytest.raises(SettingError, match=sentence):
            model.fit(X)
    with pytest.raises(SettingError, match="it is for lossless tables; leave it out here"):
        compressor(precision=0.1).fit(GREY[:64])
    with pytest.raises(SettingError, match="quality is 3, and nothing is lost; leave it out"):
        compressor().fit(GREY[:64]).compress(GREY[:3], quality=3)
    prior = Autoencoder(2, variant=Variational(prior="mixture"), training=SHORT)
    with pytest.raises(SettingError, match="needs prior='standard_normal'"):
        Compressor(prior).fit(GREY[:64])
    with pytest.raises(SettingError, match="bernoulli codes black and white, and these pictures have 17 levels"):
        Compressor(Autoencoder(2, variant="vae", likelihood="bernoulli", training=SHORT)).fit(GREY[:64])
    with pytest.raises(SettingError, match="series can only be compressed nearly"):
        Compressor(mode="lossless").fit([np.zeros((9, 2)), np.ones((7, 2))])


def test_data_that_could_not_come_back_are_refused(of_table: Compressor, of_black: Compressor) -> None:
    halves = TABLE[200:].with_columns(pl.col("age").cast(pl.Float64) + 0.5)
    with pytest.raises(DataError, match="column 'age' would not come back as it is"):
        of_table.compress(halves)
    with pytest.raises(DataError, match="holds uint8, and training had bool"):
        of_black.compress(BLACK[:5].astype(np.uint8))
    with pytest.raises(DataError, match="has 3 channels and the model sees 1"):
        of_black.compress(np.repeat(BLACK[:5, ..., None], 3, 3))
    grey = compressor().fit(GREY[:100])
    with pytest.raises(DataError, match="holds the value 3.5, which is none of the 17"):
        grey.compress(np.full((2, 8, 8), 3.5))
    with pytest.raises(DataError, match="more than 1,024 different values"):
        compressor().fit(np.random.default_rng(0).random((40, 8, 8)))


# ---- lossy


@pytest.fixture(scope="module")
def near() -> Compressor:
    """Of pictures as one vector each."""
    training = Training(max_epochs=12, batch_size=16, learning_rate=2e-3)
    return Compressor(Autoencoder(training=training), mode="lossy", random_state=0).fit(GREY[:800])


def off(model: Compressor, X: Any, quality: int) -> float:
    return float(np.sqrt(np.square(model.decompress(model.compress(X, quality=quality)) - X).mean()))


@pytest.mark.slow
def test_quality_buys_closeness_with_bytes(near: Compressor) -> None:
    X = GREY[1400:]
    sizes = [len(near.compress(X, quality=quality)) for quality in (0, 3, 6, 9)]
    errors = [off(near, X, quality) for quality in (0, 3, 6, 9)]
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.8 * errors[0]
    plain = np.sqrt(np.square(near.autoencoder_.reconstruct(X) - X).mean())
    assert errors[-1] == pytest.approx(plain, rel=0.05)  # what rounding adds goes to nothing


@pytest.mark.slow
def test_the_rate_that_is_told_is_real(near: Compressor) -> None:
    X = GREY[1400:]
    for quality in (2, 5, 8):
        packing = near._packed(X, quality)
        assert packing.bits.sum() / 8 == pytest.approx(len(packing.payload), rel=0.02)
    rate = near._packed(X, 5).bits.sum() / X.size
    assert near.rate_ == pytest.approx(rate, rel=0.1)


def test_gaps_of_a_lossy_table_stay_gaps() -> None:
    model = compressor(mode="lossy").fit(TABLE[:200])
    new = TABLE[200:]
    back = model.decompress(model.compress(new))
    assert back.schema == new.schema
    seen = [name for name in new.columns if name != "id"]
    assert back.select(pl.col(seen).is_null()).equals(new.select(pl.col(seen).is_null()))
    assert len(model.compress(new)) < 600


@pytest.mark.parametrize("variant", ["finite_scalar(levels=5)", "quantized(n_codes=16, groups=3)", "binary"])
def test_discrete_codes_are_sent_as_they_are(variant: str) -> None:
    model = Compressor(Autoencoder(6, variant=variant, network=Dense((32,)), training=SHORT), random_state=0)
    fitted = model.fit(GREY[:300].astype(np.float32))
    assert not fitted.lossless_
    X = GREY[300:400].astype(np.float32)
    np.testing.assert_allclose(fitted.decompress(fitted.compress(X)), fitted.autoencoder_.reconstruct(X), atol=1e-4)


@pytest.mark.slow
def test_files_of_several_sizes_come_back_in_theirs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, size in (("one.png", (40, 33, 3)), ("two.jpg", (26, 50, 3)), ("in/three.png", (36, 36, 3))):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        smooth = np.kron(random.random((7, 9, 3)), np.ones((9, 9, 1)))[: size[0], : size[1]]
        Image.fromarray((255 * smooth).astype(np.uint8)).save(tmp_path / "photos" / name)
    folder = str(tmp_path / "photos")
    network = Conv((6, 8), code="grid")
    model = Autoencoder(4, network=network, data_type=Images(patch=16), training=Training(max_epochs=1))
    fitted = Compressor(model, random_state=0).fit(folder)
    assert not fitted.lossless_
    blob = fitted.compress(folder)
    back = fitted.decompress(blob)
    assert back.names == ["in/three.png", "one.png", "two.png"]  # what a JPEG held goes into a PNG
    assert [one.shape for one in back] == [(36, 36, 3), (40, 33, 3), (26, 50, 3)]
    fitted.save(tmp_path / "m")
    assert load(tmp_path / "m").decompress(blob) == back
    assert "JPEG in as many is off by" in fitted.answer(folder).headline
    Image.fromarray(np.zeros((30, 30, 4), np.uint8)).save(tmp_path / "clear.png")
    with pytest.raises(DataError, match="has transparency, which this model does not see"):
        fitted.compress(str(tmp_path / "clear.png"))


# ---- the parts, each alone


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (7, 4), (16, 33)])
def test_every_place_is_coded_once_after_its_neighbours(size: tuple[int, int]) -> None:
    seen = np.zeros(size, int)
    for step in steps(*size):
        for down, right in step.around:
            rows, columns = step.rows + down, step.columns + right
            inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
            assert seen[rows[inside], columns[inside]].all()
        seen[step.rows, step.columns] += 1
    assert (seen == 1).all()


def test_neighbours_make_smooth_grids_cheap() -> None:
    random = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(random.normal(size=(6, 24, 24, 2)), 1), 2).round().astype(np.int64)
    mixed_up = random.permuted(smooth.reshape(6, -1, 2), axis=1).reshape(smooth.shape)
    sizes = []
    for grids in (smooth, mixed_up):
        context = Context.learned([grids[:4]])
        assert Context.from_arrays(context.arrays()).push([grids[4:]])[0] == context.push([grids[4:]])[0]
        data, bits = context.push([grids[4:5], grids[5:]])
        for back, codes in zip(context.pop(data, [(1, 24, 24, 2)] * 2), (grids[4:5], grids[5:]), strict=True):
            np.testing.assert_array_equal(back, codes)
        assert np.concatenate(bits).sum() == pytest.approx(8 * len(data), rel=0.03)
        sizes.append(len(data))
    assert sizes[0] < 0.7 * sizes[1]


def test_indices_cost_their_entropy() -> None:
    random = np.random.default_rng(0)
    codes = random.choice(4, size=(4000, 1, 1, 1), p=[0.7, 0.2, 0.05, 0.05])
    laws = Frequencies.learned([codes], 4)
    data, _ = laws.push([codes])
    entropy = -sum(p * math.log2(p) for p in (0.7, 0.2, 0.05, 0.05))
    assert 8 * len(data) == pytest.approx(4000 * entropy, rel=0.04)
    np.testing.assert_array_equal(laws.pop(data, [codes.shape])[0], codes)


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=20), st.sampled_from(["float32", "float64"]))
@settings(max_examples=50, deadline=None)
def test_keys_have_the_order_of_their_values(values: list[float], kind: str) -> None:
    with np.errstate(over="ignore"):
        array = np.sort(np.array(values).astype(kind))
    keys = ordered(array)
    assert unordered(keys, kind).tobytes() == array.tobytes()
    apart = array[1:] > array[:-1]
    assert (keys[1:][apart] > keys[:-1][apart]).all()


@pytest.mark.parametrize(
    ("values", "kind", "digits", "unit"),
    [
        (np.arange(50) * 7 + 3, "decimal", 0, 7),
        (np.array([0.5, 1.25, 3.0]), "decimal", 2, 25),
        (np.random.default_rng(0).normal(size=50), "float64", 0, 1),
        (np.random.default_rng(0).normal(size=50).astype(np.float32), "float32", 0, 1),
        (np.random.default_rng(0).normal(size=50).astype(np.float32).astype(float), "float32", 0, 1),
    ],
)
def test_a_ruler_fits_its_column(values: Any, kind: str, digits: int, unit: int) -> None:
    ruler = Ruler.of(values, 0.0)
    assert (ruler.kind, ruler.digits, ruler.unit) == (kind, digits, unit)
    keys, exact = ruler.keys(values)
    assert exact.all()
    np.testing.assert_array_equal(ruler.values(keys), values)
    ruler.set_edges(keys, keys)
    bins, places = ruler.bins(keys, exact)
    assert (bins < ruler.n_bins).all() and (places <= ruler.last(bins)).all()


def test_plain_bits_hold_numbers_of_any_size() -> None:
    last = np.array([1, 65535, 65536, 2**40, 2**64 - 1, 2**64 - 1], np.uint64)
    values = np.array([1, 65535, 65536, 2**39 + 7, 2**64 - 1, 0], np.uint64)
    stack = Stack(filler(20), sealed=True)
    stack.push_plain(values, last)
    np.testing.assert_array_equal(stack.pop_plain(last), values)
    np.testing.assert_array_equal(stack.words(unsealed=True), filler(20))


def test_impossible_symbols_have_a_way_out() -> None:
    tables = whole_tables(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert tables.min() == 1
    stack = Stack(filler(4), sealed=True)
    stack.push(np.array([1, 0]), tables)
    assert stack.pop(tables).tolist() == [1, 0]


def test_grids_are_finer_where_posteriors_are_narrow() -> None:
    found = fineness_of(np.array([[1.0, 0.1, 0.001]] * 4))
    assert found.tolist() == [2, 6, 12]


# ---- files and the command line


def test_the_same_bytes_after_loading(of_table: Compressor, of_black: Compressor, tmp_path: Path) -> None:
    for model, X in ((of_table, TABLE[200:]), (of_black, BLACK[:30])):
        model.save(tmp_path / "model.safetensors")
        loaded = load(tmp_path / "model.safetensors")
        assert loaded.compress(X) == model.compress(X)
        assert loaded.rate_ == model.rate_ and loaded.lossless_


def isthmus(*arguments: str, code: int = 0) -> str:
    command = f"{waiting.shell_function()}; isthmus {shlex.join(arguments)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_command_line_goes_there_and_back(tmp_path: Path) -> None:
    TABLE[:200].write_csv(tmp_path / "old.csv")
    TABLE[200:].write_csv(tmp_path / "new.csv")
    old, new, model, packed, back = (str(tmp_path / name) for name in ("old.csv", "new.csv", "m", "x.isth", "back.csv"))
    said = isthmus("fit", old, "--for", "compress", "--max-epochs", "2", "--seed", "0", "-o", model)
    assert f"next: isthmus compress {model} {old} -o packed.isth" in said
    assert "60 rows of" in isthmus("compress", model, new)
    isthmus("compress", model, new, "-o", packed)
    isthmus("decompress", model, packed, "-o", back)
    assert pl.read_csv(back).equals(pl.read_csv(new), null_equal=True)
    Path(packed).write_bytes(Path(packed).read_bytes()[:-4])
    assert "error: the container is cut off" in isthmus("decompress", model, packed, "-o", back, code=2)
