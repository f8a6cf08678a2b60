"""Drawing new samples: like the old ones in type and law, of one class, between two, and the same after a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_digits, load_iris

import isthmus
from isthmus import Autoencoder, Synthesizer, Training, fit_many
from isthmus.data import Images
from isthmus.densities import Mixture, SecondStage
from isthmus.errors import DataError, DoctorWarning, ModelFileError, SettingError
from isthmus.evaluation import copying
from isthmus.interfaces.cli import cli
from isthmus.metrics import sample_quality
from isthmus.networks import Conv, Dense
from isthmus.storage import load as read_file
from isthmus.storage import save as write_file
from isthmus.tasks._paths import spherical, straight

# models of a few steps, which the doctor rightly finds poor
pytestmark = [pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning"), pytest.mark.slow]


def people(n: int = 600, seed: int = 0) -> pl.DataFrame:
    """Height decides weight and, with some chance, the size of the coat."""
    random = np.random.default_rng(seed)
    height = random.normal(170, 10, n)
    return pl.DataFrame(
        {
            "height": height,
            "weight": 0.9 * height - 90 + random.normal(0, 2, n),
            "coat": np.where(height + random.normal(0, 2, n) > 175, "large", "small"),
        }
    )


def small(**settings: Any) -> Autoencoder:
    training = Training(max_epochs=40, batch_size=32, learning_rate=5e-3)
    return Autoencoder(2, network=Dense(widths=(32,)), training=training, random_state=0, **settings)


@pytest.fixture(scope="module")
def of_iris() -> Synthesizer:
    iris = load_iris()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        return Synthesizer(small(), random_state=0).fit(iris.data, iris.target_names[iris.target])


# ---- like what came in


@pytest.mark.parametrize("convert", [lambda X: X, lambda X: X.to_pandas(), lambda X: X.to_arrow()])
def test_a_frame_for_a_frame(convert: Any) -> None:
    X = convert(people(80))
    model = Synthesizer(small(), random_state=0).fit(X)
    drawn = model.sample(7)
    assert type(drawn) is type(X) and len(drawn) == 7
    names = drawn.column_names if hasattr(drawn, "column_names") else list(drawn.columns)
    assert list(names) == ["height", "weight", "coat"]
    if isinstance(drawn, pd.DataFrame):
        assert set(drawn["coat"]) <= {"large", "small"}


def test_rows_follow_the_law_of_the_table() -> None:
    """Means, spreads, the correlation, and how a word depends on a number."""
    X = people(400)
    drawn = Synthesizer(small(), random_state=0).fit(X).sample(4000)
    for name in ("height", "weight"):
        assert drawn[name].mean() == pytest.approx(X[name].mean(), abs=0.2 * X[name].std())
        assert drawn[name].std() == pytest.approx(X[name].std(), rel=0.15)
    found, wanted = (np.corrcoef(one["height"], one["weight"])[0, 1] for one in (drawn, X))
    assert found == pytest.approx(wanted, abs=0.04)
    for table in (drawn, X):
        large = table.filter(pl.col("coat") == "large")["height"].mean()
        assert large - table.filter(pl.col("coat") == "small")["height"].mean() > 12


@pytest.mark.parametrize("kind", [Synthesizer, lambda model: model])
def test_words_that_were_never_there_are_not_drawn(kind: Any) -> None:
    """After one epoch the place of unknown words is nearly as likely as any other."""
    model = kind(Autoencoder(2, training=Training(max_epochs=1), random_state=0)).fit(people())
    assert set(model.sample(2000, random_state=0)["coat"]) == {"small", "large"}


def test_pictures_for_pictures(tmp_path: Path) -> None:
    digits = (load_digits().images / 16).astype(np.float32)[:300]
    training = Training(max_epochs=3, batch_size=32, learning_rate=3e-3)
    model = Autoencoder(6, network=Conv(channels=(8,)), training=training)
    fitted = Synthesizer(model, random_state=0).fit(digits)
    drawn = fitted.sample(5)
    assert drawn.shape == (5, 8, 8) and drawn.dtype == np.float32
    Images.write((digits[:30] * 255).astype(np.uint8), tmp_path / "digits")
    from_files = Synthesizer(model, random_state=0).fit(str(tmp_path / "digits"))
    Images.write(from_files.sample(3), tmp_path / "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == 3
    between = fitted.interpolate(digits[:1], digits[1:2], steps=4, path="spherical")
    assert between.shape == (4, 8, 8)


def test_a_mixture_on_codes_comes_nearer_to_the_rows_than_one_normal_law() -> None:
    """Three kinds of flower: one law over all codes also draws what lies between them."""
    iris = load_iris().data
    found = []
    for density in (Mixture(k=1), "auto"):
        drawn = Synthesizer(small(), density=density, random_state=0).fit(iris).sample(2000)
        found.append(sample_quality(torch.from_numpy(iris), torch.from_numpy(np.asarray(drawn))).precision)
    assert found[1] > found[0] + 0.03 and found[1] > 0.8, found


@pytest.mark.slow
def test_a_second_stage_learns_a_curved_sheet() -> None:
    """A ring of codes: what is drawn lies on it, everywhere."""
    angle = 2 * np.pi * np.random.default_rng(0).random(800)
    codes = torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1))
    law = SecondStage(widths=(64, 64), steps=1500).fit(codes, torch.Generator().manual_seed(0))
    drawn = law.sample(2000, torch.Generator().manual_seed(1))
    assert float((drawn.norm(dim=1) - 1).abs().quantile(0.75)) < 0.2  # 0.57 for one normal law
    filled = torch.histc(torch.atan2(drawn[:, 1], drawn[:, 0]), 12) / 2000
    assert float(filled.min()) > 0.04


def test_the_number_of_members_is_that_of_the_groups() -> None:
    random = torch.Generator().manual_seed(0)
    for groups in (1, 5, 11):
        lattice = torch.cartesian_prod(*2 * [torch.arange(0.0, 20, 4, dtype=torch.float64)])
        centres = lattice[torch.randperm(25, generator=random)[:groups]]
        noise = torch.randn((1500, 2), generator=random, dtype=torch.float64)
        codes = centres.repeat(1500 // groups + 1, 1)[:1500] + 0.2 * noise
        assert len(Mixture().fit(codes, random).state()["weights"]) == groups


@pytest.mark.slow
@pytest.mark.parametrize("variant", [(), "variational"], ids=["plain", "variational"])
@pytest.mark.parametrize("shape", ["ring", "grid"])
def test_no_group_is_lost(shape: str, variant: Any) -> None:
    """A ring of 8 narrow groups and a grid of 25: all are met, and nearly all points are good (Srivastava et al. 2017).

    Good is what lies within three widths of a centre, as 98.9 % of the true law do.
    """
    random = np.random.default_rng(0)
    if shape == "ring":
        angle = 2 * np.pi * np.arange(8) / 8
        centres, width = np.stack([np.cos(angle), np.sin(angle)], 1), 0.01
    else:
        centres, width = np.array(np.meshgrid([-4.0, -2, 0, 2, 4], [-4.0, -2, 0, 2, 4])).reshape(2, 25).T, 0.05
    X = centres[random.integers(len(centres), size=4000)] + width * random.normal(size=(4000, 2))
    training = Training(max_epochs=40, batch_size=100, learning_rate=3e-3, patience=None)
    likelihood = "normal(scale=0.01)" if variant else "normal"
    model = Autoencoder(2, variant=variant, network=Dense((64, 64)), likelihood=likelihood, training=training)
    drawn = Synthesizer(model, density="mixture", random_state=0).fit(X).sample(2500)
    distances = np.linalg.norm(np.asarray(drawn)[:, None] - centres, axis=2)
    good = distances.min(1) < 3 * width
    assert good.mean() >= 0.97
    assert len(set(distances.argmin(1)[good])) == len(centres)


# ---- one class


def test_classes_are_drawn_as_often_as_they_were_and_as_they_are(of_iris: Synthesizer) -> None:
    iris = load_iris()
    assert of_iris.classes_ == ["setosa", "versicolor", "virginica"]
    assert of_iris.shares_.tolist() == pytest.approx([1 / 3] * 3)
    for place, name in enumerate(iris.target_names):
        drawn = of_iris.sample(500, y=str(name))
        wanted = iris.data[iris.target == place]
        assert np.abs(drawn.mean(0) - wanted.mean(0)).max() < 0.25
    answer = of_iris.answer(900, random_state=1)
    assert answer.table["class"].value_counts()["count"].to_list() == pytest.approx([300] * 3, abs=70)
    mixed = of_iris.sample(3, y=["setosa", "virginica", "setosa"], random_state=3)
    petals = mixed[:, 2]
    assert petals[0] < 2.5 < petals[1] and petals[2] < 2.5


def test_numbers_are_labels_too_and_unequal_shares_stay() -> None:
    X = people(90)
    y = [0] * 60 + [1] * 30
    model = Synthesizer(small(), random_state=0).fit(X, np.array(y))
    assert model.classes_ == [0, 1] and model.shares_.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert len(model.sample(4, y=1)) == 4


def test_a_class_of_one_sample_is_drawn_near_it() -> None:
    X = people(80)
    place = int(X["height"].arg_max())
    model = Synthesizer(small(), random_state=0).fit(X, ["b" if row == place else "a" for row in range(80)])
    assert model.sample(200, y="b")["height"].median() > X["height"].quantile(0.9)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda m, X: m.fit(X, ["a"] * 5), "80 samples and 5 labels"),
        (lambda m, X: m.fit(X, [None] + ["a"] * 79), "a label is absent"),
        (lambda m, X: m.fit(X, ["b", "a"] * 40).sample(3, y="c"), "'c', a class that was not in the labels"),
        (lambda m, X: m.fit(X, ["b", "a"] * 40).sample(3, y=["a", "b"]), "2 labels for 3 samples"),
        (lambda m, X: m.fit(X).sample(3, y="a"), "fitted without labels"),
        (lambda m, X: m.fit(X).sample(0), "n_samples is 0"),
        (lambda m, X: m.fit(X).interpolate(X[:2], X[:1]), "a holds 2 samples"),
        (lambda m, X: m.fit(X).interpolate(np.zeros(3), X[:1]), "a has 3 numbers, and codes of this model have 2"),
        (lambda m, X: m.fit(X).interpolate(X[:1], X[:1], steps=1), "steps is 1"),
        (lambda m, X: m.fit(X).interpolate(X[:1], X[:1], path="round"), "path is 'round'"),
        (lambda m, X: m.set_params(density="prior").fit(X), "this autoencoder has none"),
        (lambda m, X: m.set_params(density="mixtur").fit(X), "did you mean 'mixture'"),
        (lambda m, X: m.set_params(density="mixture(k=0)").fit(X), "k of mixture is 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(act: Any, said: str) -> None:
    model = Synthesizer(small().set_params(training=Training(max_epochs=1)), random_state=0)
    with pytest.raises((SettingError, DataError), match=said):
        act(model, people(80))


def test_a_prior_is_drawn_from_and_knows_no_classes() -> None:
    X = people(80)
    model = Synthesizer(small(variant="variational"), density="prior", marginals=False, random_state=0)
    drawn = model.fit(X).sample(6, random_state=4)
    assert drawn.equals(model.autoencoder_.sample(6, random_state=4))
    with pytest.raises(SettingError, match="knows no classes"):
        model.fit(X, ["a", "b"] * 40)


def test_a_network_with_skips_is_refused_before_training() -> None:
    model = Autoencoder(network=Conv(channels=(8,), skips=True))
    with pytest.raises(SettingError, match="U-Net"):
        Synthesizer(model).fit(np.zeros((4, 8, 8)))


# ---- between two


def test_ends_are_exact_and_the_norm_goes_evenly() -> None:
    random = np.random.default_rng(0)
    for size in (1, 2, 50):
        first, last = random.normal(size=size), 3 * random.normal(size=size)
        for way in (straight, spherical):
            path = way(first, last, 9)
            assert np.array_equal(path[0], first) and np.array_equal(path[-1], last) and path.shape == (9, size)
        norms = np.linalg.norm(spherical(first, last, 9), axis=1)
        if size > 1:
            assert np.allclose(np.diff(norms), np.diff(norms)[0])
    path = spherical(first, last, 9)
    units = path / np.linalg.norm(path, axis=1, keepdims=True)
    angles = np.arccos(np.clip((units[1:] * units[:-1]).sum(1), -1, 1))
    assert np.allclose(angles, angles[0])


@pytest.mark.parametrize(
    ("first", "last"),
    [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([1, 1], [3, 3]), ([1, 2], [-1, -2]), ([1, 1], [1, 1 + 1e-15])],
)
def test_every_two_codes_have_a_path(first: Any, last: Any) -> None:
    first, last = np.array(first, dtype=float), np.array(last, dtype=float)
    path = spherical(first, last, 7)
    assert np.isfinite(path).all() and np.array_equal(path[0], first) and np.array_equal(path[-1], last)
    sizes = np.linspace(np.linalg.norm(first), np.linalg.norm(last), 7)
    assert np.allclose(np.linalg.norm(path, axis=1), sizes)


def test_samples_or_their_codes_give_the_same_way(of_iris: Synthesizer) -> None:
    X = load_iris().data
    codes = of_iris.autoencoder_.transform(X[[0, 149]])
    for path in ("straight", "spherical"):
        one, other = of_iris.interpolate(X[:1], X[149:], 5, path), of_iris.interpolate(*codes, 5, path)
        assert np.allclose(one, other, rtol=0, atol=1e-12)
        assert np.allclose(one[[0, -1]], of_iris.autoencoder_.reconstruct(X[[0, 149]]), rtol=0, atol=1e-9)


# ---- the values that there were


def uneven(n: int = 800, seed: int = 0) -> pl.DataFrame:
    """Mostly zeros, skewed, and whole numbers from 1 to 5, all of them driven by one hidden number."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=n)
    gain = np.where(hidden > 0.5, np.exp(hidden + random.normal(0, 0.2, n)), 0.0)
    return pl.DataFrame({"gain": gain, "size": np.exp(2 * hidden), "stars": np.clip(np.round(3 + hidden), 1, 5)})


def test_numbers_take_the_values_that_there_were() -> None:
    """Zeros as often as they were, and nothing beyond the ends; without marginals neither holds."""
    table = uneven()
    zeros, far = {}, {}
    for marginals in (True, False):
        new = Synthesizer(small(), marginals=marginals, random_state=0).fit(table).sample(2000)
        zeros[marginals] = float((new["gain"] == 0).mean() or 0)
        far[marginals] = max(new["size"].max() - table["size"].max(), table["size"].min() - new["size"].min())
        if marginals:
            assert np.corrcoef(new["size"].log(), new["stars"])[0, 1] > 0.8  # what goes together still does
            assert set(new["stars"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert abs(zeros[True] - float((table["gain"] == 0).mean() or 0)) < 0.05 and zeros[False] < 0.1
    assert far[True] <= 1e-9 < far[False]


def test_rows_of_one_class_keep_what_is_special_to_it() -> None:
    """The map is one for all classes: drawn alone, a class keeps its own place in the column."""
    table = people()
    model = Synthesizer(small(), random_state=0).fit(table.select("height", "weight"), table["coat"])
    means = {coat: model.sample(500, y=coat)["height"].mean() for coat in ("large", "small")}
    real = {coat: table.filter(coat=coat)["height"].mean() for coat in ("large", "small")}
    assert abs(means["large"] - means["small"] - (real["large"] - real["small"])) < 4


# ---- what a group has


def test_samples_gain_what_a_group_has(of_iris: Synthesizer) -> None:
    iris = load_iris()
    setosa, virginica = (iris.data[iris.target == kind] for kind in (0, 2))
    model = of_iris
    moved = model.transfer(setosa, setosa, virginica)
    assert np.abs(moved.mean(0) - virginica.mean(0)).max() < 0.35 < np.abs(setosa.mean(0) - virginica.mean(0)).max()
    assert np.allclose(model.transfer(setosa, setosa, virginica, strength=0.0), model.autoencoder_.reconstruct(setosa))
    there = model.autoencoder_.transform(setosa) + 0.5 * (
        model.autoencoder_.transform(virginica).mean(0) - model.autoencoder_.transform(setosa).mean(0)
    )
    half = model.transfer(setosa, setosa, virginica, strength=0.5)
    assert np.allclose(half, model.autoencoder_.inverse_transform(there))


# ---- copies


def test_copies_are_told_from_draws() -> None:
    """Training rows given out again, with or without a little noise, are called copies; new rows of the law are not."""
    table, others = people(400), people(400, seed=1)
    model = Synthesizer(small(), random_state=0).fit(table)
    assert not copying(model, people(400, seed=2), table, others).copies
    assert not copying(model, model.sample(400), table, others).copies
    shifted = table.with_columns(pl.col("height") + 0.001)
    for given, exact in ((table, 1.0), (shifted, 0.0)):
        found = copying(model, given, table, others)
        assert found.copies and found.exact == exact and found.beyond_chance > 0.9
        assert found.row.tolist() == list(range(400)) and "looks like copying" in str(found)


def test_rows_that_are_often_equal_are_no_copies_for_that() -> None:
    """Ratings from 1 to 3 in two columns: nearly every honest row equals a training row."""
    random = np.random.default_rng(0)
    first, second, third = (pl.DataFrame(random.integers(1, 4, size=(300, 2)), schema=["a", "b"]) for _ in range(3))
    model = Synthesizer(small(), random_state=0).fit(first)
    found = copying(model, third, first, second)
    assert found.exact == 1.0 and not found.copies


def test_too_few_held_out_samples_are_refused(of_iris: Synthesizer) -> None:
    X = load_iris().data
    with pytest.raises(DataError, match="held_out has 5 samples; give at least 20"):
        copying(of_iris, X, X, X[:5])


# ---- files, seeds, many, and the command line


@pytest.mark.parametrize("density", ["auto", SecondStage(widths=(8,), steps=30), "prior"], ids=str)
def test_the_file_draws_the_same(density: Any, tmp_path: Path) -> None:
    X, y = people(80), None if density == "prior" else ["a", "b"] * 40
    model = Synthesizer(small(variant="variational"), density=density, random_state=0).fit(X, y)
    model.save(tmp_path / "m")
    loaded = isthmus.load(tmp_path / "m")
    assert isinstance(loaded, Synthesizer) and loaded.classes_ == model.classes_
    assert loaded.sample(9).equals(model.sample(9)) and not model.sample(9).equals(model.sample(9, random_state=1))
    if y is not None:
        assert loaded.sample(3, y="b").equals(model.sample(3, y="b"))


@pytest.mark.parametrize("change", ["own.law0.means", "own.shares"])
def test_a_file_whose_law_was_changed_is_refused(change: str, tmp_path: Path) -> None:
    Synthesizer(small(), random_state=0).fit(people(80)).save(tmp_path / "m")
    stored = read_file(tmp_path / "m")
    (name,) = [name for name in stored.tensors if name.endswith(change)]
    stored.tensors[name] = torch.zeros(2, 2, 2)
    write_file(tmp_path / "m", stored.document, stored.tensors)
    with pytest.raises(ModelFileError):
        isthmus.load(tmp_path / "m")


def test_many_at_once_are_what_each_is_alone() -> None:
    X = people(80)
    made = [Synthesizer(small(), random_state=seed) for seed in range(2)]
    together = fit_many([Synthesizer(small(), random_state=seed) for seed in range(2)], X)
    for one, other in zip(made, together, strict=True):
        assert np.allclose(one.fit(X).autoencoder_.transform(X), other.autoencoder_.transform(X), rtol=0, atol=1e-3)
        assert other.sample(50)["height"].mean() == pytest.approx(one.sample(50)["height"].mean(), abs=6)


def run(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(cli, list(words))


def test_the_command_line_fits_and_draws(tmp_path: Path) -> None:
    people(80).write_csv(tmp_path / "x.csv")
    model, new = str(tmp_path / "m"), str(tmp_path / "new.csv")
    fitted = run("fit", str(tmp_path / "x.csv"), "--for", "synthesize", "--max-epochs", "3", "--seed", "0", "-o", model)
    assert fitted.exit_code == 0 and f"isthmus synthesize {model} -n 10" in fitted.stderr, fitted.output
    assert run("synthesize", model, "-n", "12", "-o", new).exit_code == 0
    drawn = pl.read_csv(new)
    assert drawn.shape == (12, 3) and set(drawn["coat"].drop_nulls()) <= {"large", "small"}
    expected = isthmus.load(model).sample(12)
    assert np.allclose(drawn["height"], expected["height"])
    # the general command draws what the task does, not from the autoencoder alone
    assert run("generate", model, "-n", "12").stdout == run("synthesize", model, "-n", "12").stdout
    refused = run("synthesize", model, "-n", "3", "--y", "a")
    assert refused.exit_code == 2 and "fitted without labels" in refused.stderr
    plain = str(tmp_path / "plain")
    run("fit", str(tmp_path / "x.csv"), "--max-epochs", "1", "--n-components", "1", "-o", plain)
    assert "synthesize needs a Synthesizer" in run("synthesize", plain, "-n", "3").stderr
