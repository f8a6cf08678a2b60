"""The Imputer: present cells stay bit for bit, gaps get what the rest of the row says, draws differ as they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import sparse
from sklearn.datasets import load_wine
from sklearn.impute import KNNImputer, SimpleImputer

from isthmus import Autoencoder, Imputer, Training, load
from isthmus.errors import DataError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.likelihoods import Mixed
from isthmus.tasks._filling import drawn, expected
from isthmus.variants import Masked

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

N = 240


def imputer(epochs: int = 8, **settings: Any) -> Imputer:
    model = Autoencoder(training=Training(max_epochs=epochs, learning_rate=3e-3), verbose=False)
    return Imputer(model, **{"random_state": 0, **settings})


def mixed(n: int = N) -> pl.DataFrame:
    """All kinds of columns that hang together, without gaps."""
    random = np.random.default_rng(0)
    size = random.integers(0, 4, n)
    columns = {
        "size": pl.Series(size),
        "weight": pl.Series(10.0 * size + random.normal(0, 0.5, n)),
        "word": pl.Series(np.array(["tiny", "small", "large", "huge"])[size]),
        "kind": pl.Series(np.array(["a", "b"])[size % 2]).cast(pl.Enum(["a", "b", "c"])),
        "even": pl.Series(size % 2 == 0),
        "day": pl.Series(size * 100).cast(pl.Int32).cast(pl.Date),
        "name": pl.Series([f"row {place}" for place in range(n)]),
    }
    return pl.DataFrame(columns)


def holed(table: pl.DataFrame, share: float = 0.2) -> tuple[pl.DataFrame, Any]:
    gone = np.random.default_rng(1).random(table.shape) < share
    return pl.DataFrame([one.set(pl.Series(gone[:, i]), None) for i, one in enumerate(table)]), gone


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return holed(mixed())[0]


@pytest.fixture(scope="module")
def fitted(table: pl.DataFrame) -> Imputer:
    return imputer(60).fit(table)


# ---- how well


def test_cells_are_guessed_from_the_rest_of_their_row(fitted: Imputer, table: pl.DataFrame) -> None:
    truth, gone = mixed(), holed(mixed())[1]
    filled = fitted.transform(table)
    for name in ("word", "size", "kind", "even"):
        hidden = gone[:, truth.columns.index(name)]
        assert (filled[name] == truth[name]).to_numpy()[hidden].mean() > 0.8, name
    hidden = gone[:, 1]
    off = (filled["weight"] - truth["weight"]).to_numpy()[hidden]
    assert np.sqrt(np.square(off).mean()) < 0.5 * truth["weight"].to_numpy().std()


@pytest.mark.slow
def test_numbers_come_closer_than_by_means_and_neighbours() -> None:
    X = load_wine().data
    X = (X - X.mean(0)) / X.std(0)
    gone = np.random.default_rng(0).random(X.shape) < 0.2
    given = np.where(gone, np.nan, X)

    def error(found: Any) -> float:
        return float(np.square(found - X)[gone].mean())

    ours = error(Imputer(random_state=0).fit_transform(given))
    assert ours < 0.75 * error(SimpleImputer().fit_transform(given))
    assert ours < 1.1 * error(KNNImputer().fit_transform(given))  # few rows suit neighbours well


# ---- what comes back


@pytest.mark.slow
def test_present_cells_types_and_ranges_stay(fitted: Imputer, table: pl.DataFrame) -> None:
    filled = fitted.transform(table)
    assert filled.schema == table.schema and filled.null_count().sum_horizontal()[0] == 0
    for before, after in zip(table, filled, strict=True):
        assert before.filter(before.is_not_null()).equals(after.filter(before.is_not_null()))
    for name in ("size", "weight", "day"):
        low, high = table[name].min(), table[name].max()
        assert filled[name].min() == low and filled[name].max() == high, name
    assert set(filled["word"]) == set(table["word"].drop_nulls())


def containers(table: pl.DataFrame) -> dict[str, Any]:
    rest = table.drop("day", "name")
    frame = rest.to_pandas()
    objects = frame.astype(object).where(frame.notna(), None).to_numpy()
    numbers = rest.select(pl.col("size", "weight").cast(pl.Float64)).to_numpy()
    return {
        "pandas": frame.set_index(np.arange(len(frame))[::-1] * 2),
        "categories": frame.astype({"word": "category"}),
        "nullable": frame.astype({"size": "Int64", "even": "boolean", "word": "string"}),
        "pyarrow": rest.to_arrow(),
        "lazy": rest.lazy(),
        "objects": objects,
        "lists": numbers.tolist(),
        "numpy": numbers,
        "float32": numbers.astype(np.float32),
        "sparse": sparse.csr_array(numbers),
    }


@pytest.mark.parametrize("name", list(containers(mixed(8))))
def test_every_container_comes_back_as_it_was_without_gaps(table: pl.DataFrame, name: str) -> None:
    given = containers(table)[name]
    filled = imputer(1).fit(given).transform(given)
    if name == "lazy":
        given = given.collect()
    if name == "lists":
        given = np.array(given)
    assert type(filled) is type(given)
    if isinstance(given, pd.DataFrame):
        assert filled.dtypes.tolist() == given.dtypes.tolist() and filled.index.equals(given.index)
    elif hasattr(given, "schema"):
        assert filled.schema == given.schema
    else:
        assert filled.dtype == given.dtype
    before, after = (
        np.asarray(one.toarray() if sparse.issparse(one) else one, dtype=object) for one in (given, filled)
    )
    if hasattr(given, "to_pandas"):
        before, after = (one.to_pandas().to_numpy(dtype=object) for one in (given, filled))
    missing = pd.isna(before)
    assert missing.any() and not pd.isna(after).any()
    assert (before[~missing] == after[~missing]).all()


def test_whole_numbers_stay_whole_also_among_floats() -> None:
    X = np.column_stack([np.arange(60) % 5, np.random.default_rng(0).normal(size=60)]).astype(float)
    X[::4] = np.nan
    filled = imputer(1).fit_transform(X)
    assert (filled[:, 0] == np.rint(filled[:, 0])).all() and (filled[::4, 1] != np.rint(filled[::4, 1])).all()


def test_columns_may_come_in_another_order_and_empty(fitted: Imputer, table: pl.DataFrame) -> None:
    filled = fitted.transform(table)
    assert fitted.transform(table.select(reversed(table.columns))).equals(filled)
    empty = table.with_columns(pl.lit(None).alias("word"))
    words = fitted.transform(empty)["word"]
    assert words.dtype == pl.String and words.null_count() == 0


def test_a_column_of_names_gets_its_most_frequent_word_and_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    table, _ = holed(mixed())
    table = table.with_columns(pl.concat([pl.Series(["row 7"] * 3), table["name"][3:]]).alias("name"))
    with caplog.at_level("WARNING", logger="isthmus"):
        filled = imputer(1).fit_transform(table)
    assert set(filled["name"].to_numpy()[table["name"].is_null().to_numpy()]) == {"row 7"}
    assert "column 'name' cannot be learned" in caplog.text and "its most frequent word, 'row 7'" in caplog.text


# ---- draws


def test_draws_differ_where_cells_are_missing_and_nowhere_else(fitted: Imputer, table: pl.DataFrame) -> None:
    first, second = fitted.draw(table, 2, random_state=0)
    again = fitted.draw(table, 2, random_state=0)
    assert first.equals(again[0]) and second.equals(again[1]) and not first.equals(second)
    for one in (first, second):
        assert one.schema == table.schema and one.null_count().sum_horizontal()[0] == 0
        for before, after in zip(table, one, strict=True):
            assert before.filter(before.is_not_null()).equals(after.filter(before.is_not_null()))


@pytest.mark.slow
def test_draws_have_the_spread_and_the_agreement_of_the_truth() -> None:
    """Two coins that always fall alike, and a number that scatters by 0.5 around another: nothing else tells them."""
    random = np.random.default_rng(0)
    coin, x = random.random(800) < 0.3, random.normal(size=800)
    y = x + 0.5 * random.normal(size=800)
    words = np.where(coin, "head", "tail")
    table = pl.DataFrame({"one": words, "other": words, "x": x, "y": y})
    model = imputer(40).fit(holed(table, 0.3)[0])
    given = table.with_columns(pl.lit(None, pl.String).alias("one"), pl.lit(None, pl.String).alias("other"))
    given = given.with_columns(pl.lit(None, pl.Float64).alias("y"))
    found = model.draw(given, 1, rounds=4, random_state=0)[0]
    assert (found["one"] == found["other"]).mean() > 0.9
    assert 0.2 < (found["one"] == "head").mean() < 0.4
    assert 0.35 < (found["y"] - found["x"]).std() < 0.65
    alone = model.draw(given, 1, rounds=1, random_state=0)[0]
    assert (alone["one"] == alone["other"]).mean() < 0.8  # each on its own


def test_uncertainty_is_0_where_a_value_is_and_large_where_nothing_tells(fitted: Imputer, table: pl.DataFrame) -> None:
    unsure = fitted.uncertainty(table, 8, random_state=0)
    gone = np.stack([one.is_null().to_numpy() for one in table], 1)
    assert unsure.shape == table.shape and (unsure[~gone] == 0).all()
    assert np.isnan(unsure[gone[:, 6], 6]).all()  # names
    blank = table.with_columns(pl.lit(None, one.dtype).alias(one.name) for one in table)
    assert fitted.uncertainty(blank, 8, random_state=0)[:, 1].mean() > 2 * unsure[gone[:, 1], 1].mean()


def test_nothing_missing_needs_no_network_and_words_are_known_ones() -> None:
    import torch

    from isthmus.module import AutoencoderModule
    from isthmus.spec import Column, SampleSpec
    from isthmus.training import Batch

    spec = SampleSpec((4,), columns=(Column("word", "categorical", 3), Column("x")), gaps=True)
    module = AutoencoderModule(spec, 2, "dense", Mixed(), "masked").eval()
    x = torch.tensor([[0.0, 1.0, 0.0, 0.5]])
    assert torch.equal(expected(module, spec, Batch(x)), x)
    weight = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(400, 4)
    generator = torch.Generator().manual_seed(0)
    found = drawn(module, spec, Batch(x.expand(400, 4), weight), 3, generator)
    chances = module.decode(module.encode(x, weight[:1])).mean[0, :2].detach()
    assert (found[:, 2] == 0).all() and torch.equal(found[:, :2].sum(1), torch.ones(400))
    assert float(found[:, 0].detach().mean()) == pytest.approx(float(chances[0] / chances.sum()), abs=0.1)


# ---- keeping and asking


def test_the_same_after_loading_and_on_the_command_line(fitted: Imputer, table: pl.DataFrame, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.st")
    loaded = load(tmp_path / "model.st")
    assert loaded.transform(table).equals(fitted.transform(table))
    assert loaded.draw(table, 1)[0].equals(fitted.draw(table, 1)[0])
    table.write_csv(tmp_path / "new.csv")
    words = ["impute", str(tmp_path / "model.st"), str(tmp_path / "new.csv"), "-o"]
    result = CliRunner().invoke(cli, [*words, str(tmp_path / "filled.csv"), "--json"])
    assert result.exit_code == 0, result.stderr
    counts = [json.loads(line) for line in result.stdout.splitlines()]
    assert sum(row["filled"] for row in counts) == table.null_count().sum_horizontal()[0]
    found = pl.read_csv(tmp_path / "filled.csv", schema_overrides={"day": pl.Date, "kind": pl.Enum(["a", "b", "c"])})
    assert found.null_count().sum_horizontal()[0] == 0
    assert found["word"].equals(fitted.transform(table)["word"]) and found["day"].equals(fitted.transform(table)["day"])
    drawn_ = CliRunner().invoke(cli, [*words, str(tmp_path / "drawn.csv"), "--draw"])
    assert drawn_.exit_code == 0 and (tmp_path / "drawn.csv").read_bytes() != (tmp_path / "filled.csv").read_bytes()


def test_the_answer_says_what_was_filled_with_what(fitted: Imputer, table: pl.DataFrame) -> None:
    answer = fitted.answer(table)
    cells, rows = table.null_count().sum_horizontal()[0], len(table.filter(pl.any_horizontal(pl.all().is_null())))
    assert answer.headline == f"Filled {cells} missing cells in {rows} of {N} rows."
    row, filled, said = answer.highlights.row(0)
    first = next(one.name for one in table if one[row] is None)
    assert filled == answer.table["filled"].max() and said.startswith(f"{first} {answer.samples[first][row]}"[:8])
    assert fitted.answer(answer.samples).headline == f"Nothing is missing in {N} rows."


def test_pipelines_find_the_names(table: pl.DataFrame) -> None:
    frame = table.to_pandas()[["size", "weight"]]
    model = imputer(1).set_output(transform="pandas").fit(frame)
    assert list(model.get_feature_names_out()) == ["size", "weight"] == list(model.transform(frame).columns)


# ---- what is refused


@pytest.mark.slow
def test_what_cannot_be_is_refused_in_a_sentence(fitted: Imputer, table: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="Imputer fills tables, and these data are images; for pictures take Inpainter"):
        Imputer().fit(np.zeros((20, 4, 4)))
    with pytest.raises(DataError, match="the column 'x1' has no value in any row of training"):
        imputer(1).fit(np.column_stack([np.arange(20.0), np.full(20, np.nan)]))
    with pytest.raises(SettingError, match="rounds is 0; it must be a whole number of at least 1"):
        fitted.draw(table, rounds=0)
    with pytest.raises(SettingError, match="n_draws is 0; it must be a whole number of at least 1"):
        fitted.draw(table, 0)
    with pytest.raises(SettingError, match="n_draws is 1; it must be a whole number of at least 2"):
        fitted.uncertainty(table, 1)
    with pytest.raises(SettingError, match="tells the encoder of no gaps"):
        imputer(1, hiding="l1_sparse").fit(table)


def test_an_autoencoder_that_hides_by_itself_keeps_its_way(table: pl.DataFrame) -> None:
    model = Imputer(Autoencoder(3, variant=["vae", Masked(0.4)], training=Training(max_epochs=2)), random_state=0)
    model.fit(table)
    assert model.autoencoder_.variant == ["vae", Masked(0.4)] and model.autoencoder_.n_components_ == 3
    first, second = model.draw(table, 2)
    assert not first.equals(second)  # the code is drawn, too
