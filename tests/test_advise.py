"""Advice on the size of a code: right where the truth is known, in a table, a figure and a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from sklearn.model_selection import GridSearchCV

from isthmus import Advice, Autoencoder, Training, advise, fit_many
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.evaluation._advice import Tried, conclusion
from isthmus.evaluation._dimension import Dimension, intrinsic_dimension
from isthmus.interfaces.cli import cli
from isthmus.networks import Dense

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")]

SHORT = Autoencoder(network=Dense((32,)), training=Training(max_epochs=25, learning_rate=5e-3, batch_size=32))


def linear(n: int, k: int, width: int, noise: float = 0.1) -> Any:
    random = np.random.default_rng(0)
    return random.normal(size=(n, k)) @ random.normal(size=(k, width)) + noise * random.normal(size=(n, width))


# ---- dimensions


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_dimension_of_a_ball_in_a_larger_space(k: int) -> None:
    random = np.random.default_rng(k)
    flat = random.uniform(size=(3000, k)) @ np.linalg.qr(random.normal(size=(12, k)))[0].T
    found = intrinsic_dimension(flat)
    assert found.estimate == pytest.approx(k, abs=0.1 + 0.08 * k)
    assert found.likelihood == pytest.approx(k, abs=0.1 + 0.15 * k)


def test_the_dimension_does_not_depend_on_scale_or_turning() -> None:
    X = linear(800, 3, 8)
    turned = 1e3 * X @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0] + 7
    assert intrinsic_dimension(turned).estimate == pytest.approx(intrinsic_dimension(X).estimate, rel=1e-4)


def test_rows_that_are_all_alike_have_no_dimension() -> None:
    with pytest.raises(DataError, match="1 rows that differ"):
        intrinsic_dimension(np.ones((50, 3)))


# ---- advice


def test_the_size_of_a_plane_is_found() -> None:
    found = advise(linear(400, 3, 12), sizes=range(1, 7), seeds=2, autoencoder=SHORT)
    assert found.n_components == 3
    assert "n_components=3" in found.reason and found.reason.endswith(".")
    explained = found.table["explained"].to_numpy()
    assert explained[2] > 0.95 and explained[1] < 0.9
    assert found.table["pca"].to_numpy()[2] == pytest.approx(explained[2], abs=0.03)  # PCA is the right model here


def test_rows_that_are_held_out_are_not_learned_from() -> None:
    """Noise can be learned by heart: what is measured must not show it."""
    X = np.random.default_rng(0).normal(size=(120, 10))
    found = advise(X, sizes=[1, 8], seeds=1, autoencoder=SHORT)
    assert found.table["explained"][1] < 0.85
    models = fit_many([Autoencoder(2, training=Training(max_epochs=1), random_state=0)], X, rows=np.arange(50))
    assert models[0].n_samples_ == 50


def test_rows_for_many_are_those_for_one() -> None:
    X = linear(100, 2, 6)
    rows = np.arange(0, 100, 2)
    make = lambda: Autoencoder(2, network=Dense((8,)), training=Training(max_epochs=3), random_state=0)  # noqa: E731
    many = fit_many([make(), make()], X, rows=rows)
    assert np.allclose(many[0].transform(X), make().fit_rows(X, rows).transform(X), atol=1e-3)
    from isthmus import AnomalyDetector

    with pytest.raises(SettingError, match="rows are for Autoencoders"):
        fit_many([AnomalyDetector()], X, rows=rows)


def test_how_well_y_is_told_stands_beside() -> None:
    """The class lies along the direction with the least variance, which short codes leave out."""
    random = np.random.default_rng(0)
    inner = random.normal(size=(400, 3)) * [3, 2, 1.5]
    X = inner @ np.linalg.qr(random.normal(size=(8, 3)))[0].T
    straight = Autoencoder(network=Dense(()), training=Training(max_epochs=60, learning_rate=2e-2, batch_size=32))
    found = advise(X, inner[:, 2] > 0, sizes=[1, 3], seeds=1, autoencoder=straight)
    told = found.table["told"].to_list()
    assert told[0] < 0.65 < 0.8 < told[1]
    assert any("tell y from 3 numbers" in note for note in found.notes)


def concluded(explained: list[float], directions: float, share: float = 0.95) -> int:
    found = np.asarray(explained)[:, None] + np.zeros((1, 2))
    tried = Tried(range(1, len(explained) + 1), found, None, explained, Dimension(9, 1, directions))
    return conclusion(tried, share).n_components


def test_the_rule() -> None:
    curve = [0.4, 0.6, 0.88, 0.93, 0.96, 0.97, 0.975]
    assert concluded(curve, 6.5) == 4  # 0.93 is above 95 % of 0.975
    assert concluded(curve, 6.5, share=0.99) == 6
    assert concluded(curve, 2.6) == 3  # three directions, and 0.88 is above 90 % of 0.975
    assert concluded(curve, 1.6) == 4  # two give back too little


def test_a_mixed_table_and_pictures_and_a_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    height = random.normal(170, 9, size=120)
    frame = pl.DataFrame(
        {
            "height": [None if i % 11 == 0 else value for i, value in enumerate(height)],
            "weight": 0.9 * height - 90,
            "word": ["tall" if value > 175 else "small" for value in height],
        }
    )
    for given in (frame, frame.to_pandas()):
        assert advise(given, sizes=[1, 2], seeds=1, autoencoder=SHORT).n_components in (1, 2)
    x = random.uniform(1, 7, size=120)
    pictures = np.exp(-np.square(np.arange(8)[None, None, :] - x[:, None, None]) / 4 + np.zeros((1, 8, 1)))
    assert advise(pictures.astype(np.float32), sizes=[1, 2], seeds=1).n_components <= 2
    Images.write(np.repeat(pictures[:30, ..., None], 3, 3).astype(np.float32), tmp_path / "photos")
    assert advise(str(tmp_path / "photos"), sizes=[1, 2], seeds=1).n_components <= 2


def test_large_pictures_are_looked_at_small() -> None:
    from isthmus.evaluation.advising import _template

    assert _template(None, np.zeros((3, 64, 40), np.float32)).data_type.size == 32
    assert _template(None, np.zeros((3, 16, 16), np.float32)).data_type.size is None


def test_the_advice_as_text_figure_and_page(tmp_path: Path) -> None:
    found = advise(linear(100, 2, 5), sizes=[1, 2, 3], seeds=2, autoencoder=SHORT)
    assert isinstance(found, Advice)
    assert "<- take this" in repr(found)
    axes = found.plot(Figure().subplots())
    assert [float(value) for value in axes.get_lines()[0].get_xdata()] == [1, 2, 3]
    page = found.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page and "<svg" in page


def test_the_same_again() -> None:
    X = linear(100, 2, 5)
    first, second = (advise(X, sizes=[1, 2], seeds=2, autoencoder=SHORT) for _ in range(2))
    assert first.table.equals(second.table)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"sizes": []}, "sizes is"), ({"sizes": [0]}, "sizes is"), ({"seeds": 0}, "seeds is 0"), ({"share": 2}, "share")],
)
def test_what_it_refuses(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        advise(linear(60, 2, 5), **settings)
    with pytest.raises(DataError, match="needs at least 20"):
        advise(linear(8, 2, 5))


def test_from_the_command_line(tmp_path: Path) -> None:
    pl.DataFrame(linear(80, 2, 5)).write_csv(tmp_path / "t.csv")
    words = ["advise", str(tmp_path / "t.csv"), "--sizes", "1,2", "--seeds", "1"]
    done = CliRunner().invoke(cli, [*words, "--html", str(tmp_path / "p.html")])
    assert done.exit_code == 0, done.stderr
    assert "Take n_components=" in done.stdout and (tmp_path / "p.html").exists()
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert [json.loads(line)["size"] for line in done.stdout.splitlines()] == [1, 2]
    assert CliRunner().invoke(cli, [*words[:3], "one"]).exit_code == 2
    done = CliRunner().invoke(cli, [*words, "--labels", "column_0", "--json"])
    assert all(json.loads(line)["told"] is not None for line in done.stdout.splitlines())
    done = CliRunner().invoke(cli, [*words, "--labels", "kind"])
    assert done.exit_code == 2 and "no column of DATA" in done.stderr


# ---- searches


def test_a_grid_search_by_scikit_learn() -> None:
    """The held-out score grows up to the true size, and `variant__weight` reaches into a part."""
    X = linear(300, 2, 8)
    model = Autoencoder(variant="l1_sparse", network=Dense((32,)), training=SHORT.training, random_state=0)
    search = GridSearchCV(model, {"n_components": [1, 2], "variant__weight": [1e-4, 10.0]}, cv=2).fit(X)
    assert search.best_params_ == {"n_components": 2, "variant__weight": 1e-4}
    assert math.isfinite(search.best_score_)


def test_a_search_by_optuna() -> None:
    import optuna

    X = linear(300, 2, 8)

    def loss(trial: Any) -> float:
        size = trial.suggest_int("n_components", 1, 4)
        model = Autoencoder(size, network=Dense((32,)), training=SHORT.training, random_state=0)
        return -model.fit(X[:200]).score(X[200:]) + 0.05 * size

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"n_components": [1, 2, 3, 4]}, seed=0))
    study.optimize(loss, n_trials=4)
    assert study.best_params["n_components"] == 2
