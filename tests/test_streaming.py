"""Tables larger than memory: piece by piece they are what they are when read whole."""

from __future__ import annotations

import datetime
import gzip
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import polars as pl
import pytest
import torch

from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.data import Tables, _stream_csv, _stream_samples, _stream_scratch, _stream_source, _stream_survey
from isthmus.data._stream_samples import StreamedSamples
from isthmus.errors import DataError, SettingError
from isthmus.training import Batch
from isthmus.training.rows import BlockRows, Blocks, cuts, shuffled, split

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
N = 5000


def mixed(n: int = N) -> pl.DataFrame:
    """All kinds of columns: numbers whole and wide, gaps, heavy tails, words, keys, dates, yes/no, empty ones."""
    random = np.random.default_rng(0)
    wide = random.normal(size=n) * 1e3
    wide[::7] = np.nan
    start = datetime.datetime(2020, 1, 1)
    return pl.DataFrame(
        {
            "key": np.arange(n),
            "mixed key": random.permutation(n) + 17,
            "age": pl.Series([None if row % 11 == 3 else row % 90 for row in range(n)], dtype=pl.Int64),
            "wide": pl.Series(wide, nan_to_null=True),
            "heavy": np.exp(random.normal(size=n) * 3).round(3),
            "yes": pl.Series(random.integers(2, size=n), dtype=pl.Int64),
            "member": [None if row % 5 == 0 else row % 3 == 0 for row in range(n)],
            "town": [None if row % 13 == 0 else f"town {row % 17 * row % 7}" for row in range(n)],
            "code": [f"id-{row}" for row in range(n)],
            "since": [None if row % 9 == 0 else start.date() + datetime.timedelta(days=row % 700) for row in range(n)],
            "seen": [start + datetime.timedelta(seconds=row * 3, microseconds=row % 1000) for row in range(n)],
            "empty": pl.Series([None] * n, dtype=pl.Float64),
            "late": pl.Series([None] * (n - 3) + [1.5, 2.5, 3.5], dtype=pl.Float64),
            "constant": [2.5] * n,
        }
    )


def narrow(n: int = N) -> pl.DataFrame:
    """Columns that float32 holds exactly."""
    random = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "a": random.normal(size=n).astype(np.float32),
            "b": pl.Series(random.integers(-9, 9, size=n), dtype=pl.Int8),
            "c": random.integers(2, size=n) > 0,
        }
    )


def gappy(n: int = N) -> pl.DataFrame:
    """A gap in small whole numbers makes them wide, as it does in memory."""
    return narrow(n).with_columns(pl.when(pl.int_range(n) != n - 5).then(pl.col("b")))


TABLES = {"mixed": mixed, "narrow": narrow, "gappy": gappy}
ENDINGS = (".parquet", ".csv", ".tsv", ".csv.gz")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in pieces, so that small tables have many of them."""
    monkeypatch.setattr(_stream_source, "PIECE", 2**14)
    monkeypatch.setattr(_stream_csv, "TEXT_PIECE", 2**14)
    monkeypatch.setattr(_stream_scratch, "STRETCH", 2**12)
    monkeypatch.setattr(_stream_samples, "BLOCK", 2**10)
    monkeypatch.setattr(_stream_samples, "WINDOW", 2**15)


def both(path: Any, **settings: Any) -> tuple[Tables, Tables]:
    return Tables(streaming=False, **settings).fit(path), Tables(streaming=True, **settings).fit(path)


def same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.x, second.x)
    assert (first.weight is None) == (second.weight is None)
    assert first.weight is None or second.weight is None or torch.equal(first.weight, second.weight)


def written(folder: Path, name: str, ending: str) -> Path:
    path = folder / f"{name}{ending}"
    Tables.write(TABLES[name](), path)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scaling", ["auto", "robust"])
def test_the_schema_is_the_one_of_the_whole_table(tmp_path: Path, name: str, ending: str, scaling: str) -> None:
    whole, streamed = both(written(tmp_path, name, ending), scaling=scaling)
    assert [repr(facts) for facts in streamed.schema] == [repr(facts) for facts in whole.schema]
    for (document, tensors), (other, others) in [(whole.state(), streamed.state())]:
        assert document == other
        assert all(torch.equal(tensors[key].nan_to_num(), others[key].nan_to_num()) for key in tensors)
    assert streamed.spec == whole.spec


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", TABLES)
def test_batches_are_those_of_the_whole_table(tmp_path: Path, name: str, ending: str) -> None:
    path = written(tmp_path, name, ending)
    whole, streamed = both(path)
    there, here = whole.open(path), streamed.open(path)
    training, _ = streamed.for_training(here)
    assert len(here) == len(there) == len(training) == N
    assert here.source.n_pieces > 2 and len(training.slot_of) > 100
    random = np.random.default_rng(2)
    rows: list[Any] = [np.arange(90), np.arange(700, 2000), np.array([N - 1]), random.integers(N, size=300)]
    rows += [random.permutation(N)[:2500], slice(10, 30), np.array([5, 4, 3, 3])]
    for dtype in (torch.float32, torch.float64):
        for chosen in rows:
            expected = whole.batch(there, chosen, dtype)
            same(streamed.batch(training, chosen, dtype), expected)
            same(streamed.batch(here, chosen, dtype), expected)


def test_batches_in_training_order_are_those_of_the_whole_table(tmp_path: Path) -> None:
    path = written(tmp_path, "mixed", ".parquet")
    whole, streamed = both(path)
    there, (training, _) = whole.open(path), streamed.for_training(streamed.open(path))
    assert 1 < training.blocks.window < len(training.slot_of), "the window must be smaller than the table"
    for epoch in range(2):
        order = shuffled(split(N, 0.1, 3, training.blocks)[0], 3, epoch)
        ends = cuts(len(order), 64)
        for start, stop in zip(ends, ends[1:], strict=False):
            same(streamed.batch(training, order[start:stop]), whole.batch(there, order[start:stop]))


def test_each_block_is_read_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "mixed", ".parquet")
    tables = Tables(streaming=True).fit(path)
    training, _ = tables.for_training(tables.open(path))
    loaded: list[int] = []
    load = type(training)._load
    monkeypatch.setattr(type(training), "_load", lambda self, block: (loaded.append(block), load(self, block))[1])
    rows = split(N, 0.1, 3, training.blocks)[0]
    order = shuffled(rows, 3, 0)
    for start in range(0, len(order), 64):
        tables.batch(training, order[start : start + 64])
    assert sorted(loaded) == sorted(rows.chosen.tolist())  # type: ignore[union-attr]


def test_some_rows_for_training_are_these_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "mixed", ".parquet")
    whole, streamed = both(path)
    there = whole.open(path)
    for rows in (np.arange(0, N, 3), np.array([7, 2, 4000, 2])):
        training, places = streamed.for_training(streamed.open(path), rows)
        assert len(training) == len(set(rows.tolist()))
        index = np.arange(len(rows))
        same(streamed.batch(training, places[index]), whole.batch(there, rows))


def test_the_order_depends_on_seed_and_epoch_alone_and_mixes_well() -> None:
    n, blocks = 100_003, Blocks(size=100, window=50)
    rows, held_out = split(n, 0.1, 5, blocks)
    assert isinstance(rows, BlockRows) and isinstance(held_out, BlockRows)
    everything = np.concatenate([rows[0 : len(rows)], held_out[0 : len(held_out)]])
    assert len(rows) + len(held_out) == n and np.array_equal(np.sort(everything), np.arange(n))
    assert abs(len(held_out) / n - 0.1) < 0.002
    order = rows.shuffled(5, 2)
    whole = order[0 : len(order)]
    assert np.array_equal(np.sort(whole), rows[0 : len(rows)])
    again = split(n, 0.1, 5, blocks)[0]
    for start in (0, 4990, 70_001, len(order) - 10):  # any stretch, asked for at once
        assert np.array_equal(shuffled(again, 5, 2)[start : start + 37], whole[start : start + 37])
    assert not np.array_equal(whole, rows.shuffled(5, 3)[0 : len(order)])
    assert not np.array_equal(whole, rows.shuffled(6, 2)[0 : len(order)])
    # 64 rows of a batch come from nearly as many blocks as 64 random ones of 50, and are spread over the file
    kinds = [len(np.unique(whole[start : start + 64] // 100)) for start in range(0, 60_000, 640)]
    assert 50 * (1 - (1 - 1 / 50) ** 64) * 0.9 < np.mean(kinds)
    spread = [whole[start : start + 64].std() for start in range(0, 60_000, 640)]
    assert np.mean(spread) > 0.85 * n / 12**0.5


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_model_fitted_piece_by_piece_scores_as_one_in_memory(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, "mixed", ending)
    training = Training(max_epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AnomalyDetector(
            Autoencoder(3, data_type=Tables(streaming=True), training=training), random_state=0
        ).fit(path)
    assert model.decision_scores_.shape == (N,)
    streamed = model.score_samples(path)
    np.testing.assert_array_equal(streamed, -model.decision_scores_)
    model.autoencoder_.data_.streaming = False  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.score_samples(path), streamed, rtol=1e-12)
    again = model.reasons(path, np.array([4000, 3]))
    model.autoencoder_.data_.streaming = True  # type: ignore[attr-defined]
    assert model.reasons(path, np.array([4000, 3])) == again


def test_a_promised_rate_and_pairs_work_from_files(tmp_path: Path) -> None:
    path = written(tmp_path, "narrow", ".parquet")
    model = Autoencoder(2, data_type=Tables(streaming=True), training=Training(max_epochs=3), random_state=0)
    detector = AnomalyDetector(model, threshold="conformal", random_state=0).fit(path)
    assert 0.02 < (detector.predict(path) == -1).mean() < 0.1
    assert model.fit_rows(path, target=path).n_samples_ == N


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    path = written(tmp_path, "mixed", ".parquet")

    def fit(**settings: Any) -> Autoencoder:
        training = Training(max_epochs=3, batch_size=128, **settings)
        model = Autoencoder(3, data_type=Tables(streaming=True), training=training, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(path)

    whole = fit()
    steps = 0
    batch = Tables.batch

    def interrupted(self: Tables, *arguments: Any) -> Batch:
        nonlocal steps
        steps += 1
        if steps == 60:  # in the second epoch
            raise RuntimeError("power cut")
        return batch(self, *arguments)

    settings = {"checkpoint": str(tmp_path / "run.checkpoint")}
    from isthmus.training import Checkpoint

    checkpoint = Checkpoint(settings["checkpoint"], every=0)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(Tables, "batch", interrupted)
        fit(checkpoint=checkpoint)
    assert Path(settings["checkpoint"]).exists()
    resumed = fit(checkpoint=checkpoint)
    assert resumed.history_["loss"] == whole.history_["loss"]
    for name, value in whole.module_.state_dict().items():
        assert torch.equal(value, resumed.module_.state_dict()[name]), name


# ---- files ---------------------------------------------------------------------------------------------------------


def test_several_parquet_files_are_one_table(tmp_path: Path) -> None:
    frame = mixed()
    for place, start in enumerate(range(0, N, 1700)):
        Tables.write(frame[start : start + 1700], tmp_path / f"part-{place}.parquet")
    paths = sorted(tmp_path.glob("*.parquet"))
    whole = Tables().fit(frame)
    expected = whole.batch(whole.open(frame), slice(None))
    for X in (paths, str(tmp_path / "*.parquet"), tmp_path):
        for streaming in (True, False, "auto"):
            tables = Tables(streaming=streaming).fit(X)
            same(tables.batch(tables.open(X), slice(None)), expected)
    Tables.write(frame.drop("town"), tmp_path / "part-9.parquet")
    with pytest.raises(DataError, match=r"part-9.parquet has other columns"):
        Tables().fit(tmp_path)


SPELLED = {  # what pieces spell alone, and what all of them spell together
    "whole, then broken": ["1"] * 3000 + ["2.5"] * 3000,
    "whole, then words": ["1"] * 3000 + ["none"] * 3000,
    "late words": ["1.5"] * 5999 + ["x"],
    "comma, then point": ["1,5"] * 3000 + ["1.5"] * 3000,
    "comma, then whole": ["1,5", "2"] * 1500 + ["15"] * 3000,
    "point, then whole": ["1.5"] * 3000 + ["15"] * 3000,
    "huge": ["5"] * 3000 + ["9223372036854775808"] * 3000,
    "dates, then moments": ["2020-01-01"] * 3000 + ["2020-01-01 12:00"] * 3000,
    "no such day": ["2020-01-01"] * 5999 + ["2021-02-30"],
    "truths, then ones": ["true", "false"] * 1500 + ["1"] * 3000,
    "gaps first": ["NA"] * 3000 + ["2", "3"] * 1500,
    "codes": ["7"] * 3000 + ["007"] * 3000,
    "blanks": [" 7", "8 "] * 1500 + ["9"] * 3000,
}


@pytest.mark.parametrize("separator", [",", ";"])
def test_columns_of_text_spell_what_they_spell_as_a_whole(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "table.csv"
    rows = zip(*SPELLED.values(), strict=True)
    lines = [separator.join(f'"{name}"' for name in SPELLED)]
    lines += [separator.join(f'"{cell}"' if separator in cell else cell for cell in row) for row in rows]
    path.write_text("\n".join([*lines[:50], "", *lines[50:], "", ""]), encoding="utf-8")
    whole = Tables.read(path)
    source = _stream_csv.CsvSource(str(path), frozenset())
    assert source.n_pieces > 10
    assert pl.concat(source.pieces()).equals(whole)
    assert source.schema == dict(whole.schema)


def test_newlines_in_quotes_do_not_cut_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(3000), "words": [f'a "b"\n\nc, {row % 3}\n' for row in range(3000)]})
    Tables.write(frame, tmp_path / "table.csv")
    pieces = _stream_csv.CsvSource(str(tmp_path / "table.csv"), frozenset())
    assert pieces.n_pieces > 3 and pl.concat(pieces.pieces()).equals(Tables.read(tmp_path / "table.csv"))


def csv_lines(n: int = 4000) -> list[str]:
    return ["a,b", *(f"{row % 50}.5,word {row % 3}" for row in range(n))]


@pytest.mark.parametrize(
    ("line", "text"),
    [(3000, "1,2,3"), (3000, '5,"never closed'), (3000, "1,\0"), (3000, "1,\udcff")],
)
def test_damaged_text_is_refused_in_the_same_words(tmp_path: Path, line: int, text: str) -> None:
    path, lines = tmp_path / "table.csv", csv_lines()
    lines[line - 1] = text
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError) as whole:
        Tables(streaming=False).fit(path)
    with pytest.raises(DataError) as streamed:
        Tables(streaming=True).fit(path)
    assert str(streamed.value) == str(whole.value)


def test_a_wrong_cell_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    path, lines = tmp_path / "table.csv", csv_lines()
    path.write_text("\n".join(lines))
    tables = Tables(streaming=True).fit(path)
    lines[3001] = "what,word 1"
    (tmp_path / "new.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"column 'a' holds the text 'what' in row 3000 \(counting from 0\)"):
        samples = tables.open(tmp_path / "new.csv")
        tables.batch(samples, slice(None))


def test_infinite_values_are_refused_as_in_memory(tmp_path: Path) -> None:
    frame = narrow().with_columns(pl.when(pl.int_range(N) == 3210).then(np.inf).otherwise(pl.col("a")).alias("a"))
    Tables.write(frame, tmp_path / "table.parquet")
    for streaming in (True, False):
        with pytest.raises(DataError, match=r"column 'a' holds an infinite value in row 3210 \(counting from 0\)"):
            Tables(streaming=streaming).fit(tmp_path / "table.parquet")


def test_a_damaged_piece_of_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    mixed(20_000).select("wide", "heavy").write_parquet(path, row_group_size=2000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = b"\xff" * 20_000
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"table.parquet is a damaged Parquet file between rows \d+ and \d+"):
        Tables(streaming=True).fit(path)
    path.write_bytes(data[:-9])
    with pytest.raises(DataError, match="its end is missing"):
        Tables(streaming=True).fit(path)


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress("\n".join(csv_lines()).encode())[:-200])
    with pytest.raises(DataError, match=r"table.csv.gz cannot be read to its end"):
        Tables(streaming=True).fit(path)


def test_what_cannot_be_streamed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Tables.write(narrow(), tmp_path / "table.ndjson")
    with pytest.raises(SettingError, match=r"streaming is True, and .*table.ndjson can only be read whole"):
        Tables(streaming=True).fit(tmp_path / "table.ndjson")
    with pytest.raises(SettingError, match="streaming is 'yes'; it must be True, False or 'auto'"):
        Tables(streaming="yes").fit(narrow())
    with pytest.raises(DataError, match=r"no file matches '.*none-\*.parquet'"):
        Tables().fit(str(tmp_path / "none-*.parquet"))
    Tables.write(narrow(), tmp_path / "table.parquet")
    monkeypatch.setattr(_stream_scratch.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(DataError, match=r"needs .* GB in .* while it is used, and 0.0 GB are free there"):
        Tables(streaming=True).fit(tmp_path / "table.parquet")


def test_auto_streams_what_would_take_half_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.data import _stream_find

    for ending in (".parquet", ".csv"):
        path = written(tmp_path, "mixed", ending)
        for memory, streams in ((10**9, False), (10**5, True)):
            monkeypatch.setattr(_stream_find, "available", lambda memory=memory: memory)
            samples = Tables().fit(path).open(path)
            assert isinstance(samples, _stream_samples.StreamedSamples) == streams


def test_very_many_words_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stream_survey, "COUNTED_WORDS", 1000)
    words = _stream_survey.Words()
    for start in range(0, 60_000, 500):
        words.add(pl.Series([f"rare {start + row}" for row in range(500)] + ["often"] * 300 + ["less"] * 100))
        assert len(words.counts) <= 1000
    assert abs(words.distinct / 60_002 - 1) < 0.06
    assert words.total == 60_000 + 120 * 400
    assert words.counts.most_common(2) == [("often", 36_000), ("less", 12_000)]


# ---- memory --------------------------------------------------------------------------------------------------------


def test_some_rows_of_very_many_cost_only_themselves() -> None:
    """Once each batch asked for the places of all rows, and the longer a table the slower was each of its rows."""
    n = 10**8
    source = MagicMock(starts=np.array([0, n // 2]), piece=lambda place: place)
    source.__len__.return_value = n
    samples = StreamedSamples(source, lambda piece: SimpleNamespace(piece=piece))  # type: ignore[arg-type,return-value]
    tracemalloc.start()
    (one,) = samples.parts(slice(n // 2 + 3, n // 2 + 5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert one[0].piece == 1 and one[1].tolist() == [3, 4] and one[2].tolist() == [0, 1]  # type: ignore[attr-defined]
    assert peak < 1e5


CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
from isthmus import Autoencoder, Training
from isthmus.data import Tables
from isthmus.networks import Dense
small, large, streaming = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
def fit(path):
    model = Autoencoder(2, network=Dense(widths=(8,)), data_type=Tables(streaming=streaming),
                        training=Training(max_epochs=1, batch_size=4096))
    return model.fit(path).score_samples(path)
fit(small)  # what the libraries take by themselves
before = peak()
print(len(fit(large)), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one process")
def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    """100 MB of numbers in less than they are (40 MB when quiet); read whole they take three times as much."""
    n, d = 200_000, 128
    values = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    frame = pl.DataFrame(values, schema=[f"c{place}" for place in range(d)])
    frame.write_parquet(tmp_path / "large.parquet")
    frame[:3000].write_parquet(tmp_path / "small.parquet")
    assert (tmp_path / "large.parquet").stat().st_size > 90e6
    taken = {}
    for streaming in (True, False):
        words = [str(tmp_path / "small.parquet"), str(tmp_path / "large.parquet"), str(streaming)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        count, taken[streaming] = map(int, done.stdout.split())
        assert count == n
    assert taken[True] < 90e6 < 200e6 < taken[False], taken
