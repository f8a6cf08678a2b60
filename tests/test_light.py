"""Plain dense models without torch equal the same models with it, row by row and on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.errors import DataError, ModelFileError
from isthmus.interfaces import quick
from isthmus.interfaces.cli import cli
from isthmus.light.activations import find
from isthmus.light.files import read_detector
from isthmus.light.model import LightCallable
from isthmus.light.scores import LightPanel
from isthmus.networks import Dense
from isthmus.networks._activations import ACTIVATIONS
from isthmus.thresholds import Fixed

pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

FEW = Training(max_epochs=2)


def table(n: int = 120, gaps: bool = False, seed: int = 0) -> np.ndarray[Any, Any]:
    """Related columns in very different units, one of them with a heavy tail, one constant."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 3)) @ np.random.default_rng(1).normal(size=(3, 7)) + 0.1 * random.normal(size=(n, 7))
    X = X * 10.0 ** np.arange(-3, 4) + 1000.0
    X[:, 2] = np.exp(3 * random.normal(size=n))
    X[:, 5] = 4.0
    if gaps:
        X[::7, 1] = np.nan
        X[3, [0, 2, 4]] = np.nan
    return X


def close(first: Any, second: Any) -> None:
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-9)


# ---- one row at a time


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_are_those_of_the_networks(name: str) -> None:
    import torch

    z = np.concatenate([np.linspace(-40.0, 40.0, 161), [0.0, 1e-9, -1e-9]])
    close(find(name)(z.copy()), ACTIVATIONS[name]()(torch.from_numpy(z)).numpy())


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_scorer_is_the_score_of_every_row(activation: str) -> None:
    X = table()
    model = AnomalyDetector().default().set_params(network=Dense((9, 6), activation), n_components=2, training=FEW)
    detector = AnomalyDetector(model, scores="distortion", random_state=0).fit(X)
    score, scores = detector.scorer(), detector.score_samples(X)
    assert isinstance(score, LightCallable)
    close(score(X), scores)
    close([score(row) for row in X[:9]], scores[:9])
    encode, codes = detector.autoencoder_.encoder(), detector.autoencoder_.transform(X)
    close(encode(X), codes)
    close(np.stack([encode(row) for row in X[:9]]), codes[:9])


SCORES = ["neighbour_distance", "code_distance(neighbours=3)", "whitened_residual", "distortion"]


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("score", ["auto", SCORES], ids=["auto", "all"])
def test_every_score_is_the_same_in_numpy(score: Any, gaps: bool) -> None:
    X = pl.DataFrame(table(gaps=gaps)).with_columns(flag=pl.Series(np.arange(120) % 3 == 0))
    detector = AnomalyDetector(Autoencoder(training=FEW), scores=score, random_state=0).fit(X)
    new = table(40, gaps=gaps, seed=4)
    new[3, 0], new[5, 2] = 1e30, -40.0
    new = np.column_stack([np.vstack([X.to_numpy()[:9, :-1], new]), np.arange(49) % 2])
    scorer = detector.scorer()
    assert isinstance(scorer.__self__, LightPanel)  # type: ignore[attr-defined]
    wanted = detector.score_samples(pl.DataFrame(new, X.columns).with_columns(pl.col("flag").cast(pl.Boolean)))
    np.testing.assert_allclose(scorer(new), wanted, rtol=1e-6)
    np.testing.assert_allclose([scorer(row) for row in new[:9]], wanted[:9], rtol=1e-6)


MODELS = {
    "plain": {},
    "linear": {"network": Dense(())},
    "tied": {"network": Dense((8, 6), tied=True)},
    "batch normalisation": {"network": Dense((8,), normalisation="batch", dropout=0.1)},
    "wide code": {"network": Dense((70,)), "n_components": 60},
    "denoising": {"variant": "denoising"},
    "masked": {"variant": "masked"},
    "sparse and contractive": {"variant": ["l1_sparse", "contractive"]},
    "variational": {"variant": "variational(beta=0.5)"},
    "variational, tied": {"variant": "vae", "network": Dense((8,), tied=True)},
    "fixed scale": {"likelihood": "normal(scale=0.3)"},
    "learned scale": {"likelihood": "normal(scale='learned')"},
    "scaling": {"data_type": "tables(scaling='robust')"},
}


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", MODELS)
def test_every_plain_model_scores_and_encodes_in_numpy(name: str, gaps: bool) -> None:
    settings = {"network": Dense((9, 6)), "n_components": 2} | MODELS[name]
    model = Autoencoder(**settings, training=FEW, random_state=0).fit(table(gaps=gaps))
    X = table(30, gaps=True, seed=5)  # with gaps, whether training had some or not
    score, encode = model.scorer(), model.encoder()
    assert isinstance(score, LightCallable) and isinstance(encode, LightCallable)
    scores, codes = model.score_samples(X), model.transform(X)
    close(score(X), scores)
    close([score(row) for row in X], scores)
    close(encode(X), codes)
    close(np.stack([encode(row) for row in X]), codes)


@pytest.mark.slow
def test_yes_and_no_have_their_own_law() -> None:
    X = pl.DataFrame(table(gaps=True)).with_columns(flag=pl.Series(np.arange(120) % 3 == 0))
    detector = AnomalyDetector(scores="distortion", random_state=0).fit(X)
    X[5, "flag"] = None
    score = detector.scorer()
    assert isinstance(score, LightCallable)
    close(score(X.cast(pl.Float64).to_numpy()), detector.score_samples(X))


def test_columns_that_were_left_out_may_hold_anything() -> None:
    X = table()
    X[:, 4] = np.nan
    model = Autoencoder(training=FEW, random_state=0).fit(X)
    rows = table(6, seed=3)
    assert isinstance(model.scorer(), LightCallable)
    close(model.scorer()(rows), model.score_samples(rows))


def test_wild_values_are_cut_off_as_on_the_full_path() -> None:
    model = Autoencoder(training=FEW, random_state=0).fit(table())
    X = table(6, seed=3)
    X[2, 0], X[3, 6] = 1e200, -1e40
    close(model.scorer()(X), model.score_samples(X))
    close([model.scorer()(row) for row in X], model.score_samples(X))


@pytest.mark.parametrize("variant", ["top_k(k=1)", "plain"])
def test_what_is_no_row_of_the_table_is_a_sentence(variant: str) -> None:
    model = Autoencoder(3, variant=() if variant == "plain" else variant, training=FEW, random_state=0).fit(table())
    score, row = model.scorer(), table()[4]
    for wrong in (row[:-1], table()[:4, :-1]):
        with pytest.raises(DataError, match="X has 6 features, but Autoencoder is expecting 7 features"):
            score(wrong)
    row[1] = np.inf
    with pytest.raises(DataError, match=r"column 'x1' holds an infinite value in row 0 \(counting from 0\)"):
        score(row)


OTHERS = {
    "top_k": {"variant": "top_k(k=1)"},
    "layer normalisation": {"network": Dense((8,), normalisation="layer")},
    "laplace": {"likelihood": "laplace"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_go_through_torch(name: str) -> None:
    model = Autoencoder(2, **OTHERS[name], training=FEW, random_state=0).fit(table(gaps=True))
    X = table(20, gaps=True, seed=5)
    score, encode = model.scorer(), model.encoder()
    assert not isinstance(score, LightCallable)
    close(score(X), model.score_samples(X))
    close([score(row) for row in X], model.score_samples(X))
    close(encode(X), model.transform(X))
    close(encode(X[3]), model.transform(X)[3])


@pytest.mark.slow
def test_words_go_through_torch() -> None:
    X = pl.DataFrame(table(gaps=True)).with_columns(word=pl.Series(["a", "b", "b"] * 40))
    detector = AnomalyDetector(scores="distortion", random_state=0).fit(X)
    assert not isinstance(detector.scorer(), LightCallable)


def test_pictures_are_scored_as_always() -> None:
    X = np.random.default_rng(0).integers(0, 255, size=(20, 8, 8), dtype=np.uint8)
    detector = AnomalyDetector(Autoencoder(2, network=Dense((8,)), training=FEW), random_state=0).fit(X)
    close(detector.scorer()(X), detector.score_samples(X))


def test_a_scorer_is_a_snapshot() -> None:
    X = table()
    model = Autoencoder(training=FEW, random_state=0).fit(X)
    score = model.scorer()
    before = score(X[0])
    model.fit(X[:50] * 3)
    assert score(X[0]) == before != model.scorer()(X[0])


# ---- from a file


def frame(n: int = 90, seed: int = 0) -> pl.DataFrame:
    X = table(n, gaps=True, seed=seed)
    columns = {f"c{place}": pl.Series(X[:, place], nan_to_null=True) for place in range(7)}
    return pl.DataFrame({**columns, "whole": np.arange(n) ** 2 % 17, "answer": np.arange(n) % 3 == 0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("light")
    model = AnomalyDetector().default().set_params(training=FEW)
    bare = {"scores": "distortion", "random_state": 0}
    AnomalyDetector(model, contamination=0.05, **bare).fit(frame()).save(path / "frame.safetensors")
    AnomalyDetector(model, contamination=0.05, random_state=0).fit(frame()).save(path / "panel.safetensors")
    AnomalyDetector(model, **bare).fit(table()).save(path / "array.safetensors")
    named = frame().with_columns(word=pl.Series(["a", "b", "b"] * 30))
    AnomalyDetector(model, random_state=0).fit(named).save(path / "words.safetensors")
    Autoencoder(training=FEW, random_state=0).fit(frame()).save(path / "autoencoder.safetensors")
    new = frame(300, seed=4)
    new[7, "c3"], new[9, "c6"] = -4e4, 2e9
    new.write_csv(path / "new.csv")
    new.select(reversed(new.columns)).write_csv(path / "turned.tsv", separator="\t")
    new.drop("c2").write_csv(path / "lacking.csv")
    new.with_columns(c2=pl.lit("many")).write_csv(path / "text.csv")
    new.with_columns(c2=pl.lit(float("inf"))).write_csv(path / "infinite.csv")
    new.with_columns(answer=pl.lit(3)).write_csv(path / "answer.csv")
    new.with_columns(c4=pl.lit(None)).write_csv(path / "empty.csv")
    pl.DataFrame(table(40, seed=2)).write_csv(path / "array.csv")
    return path


def run(folder: Path, *words: str) -> Result:
    given = [str(folder / word) if "." in word else word for word in words]
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli, ["detect", *given])


def both(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> tuple[Result, Result]:
    """What comes without torch and what comes the ordinary way."""
    answers: list[Any] = []
    opened = quick.opened
    with monkeypatch.context() as patch:
        patch.setattr(quick, "opened", lambda *given: answers.append(opened(*given)) or answers[-1])
        without = run(folder, *words)
        assert answers[-1] is not None, "it fell back"
        patch.setattr(quick, "opened", lambda *given: None)
        return without, run(folder, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("frame.safetensors", "new.csv"),
        ("frame.safetensors", "turned.tsv", "--n-reasons", "5", "--n-rows", "40"),
        ("frame.safetensors", "empty.csv", "--fail-if-odd"),
        ("frame.safetensors", "new.csv", "--n-rows", "0"),
        ("panel.safetensors", "new.csv"),
        ("array.safetensors", "array.csv", "--quiet"),
    ],
    ids=" ".join,
)
def test_the_command_says_the_same_without_torch(
    words: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, ordinary = both(monkeypatch, folder, *words)
    assert without.output == ordinary.output and without.exit_code == ordinary.exit_code
    assert "odd" in without.output or without.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("model", ["frame.safetensors", "panel.safetensors"])
def test_the_tables_are_the_same_without_torch(
    model: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, ordinary = both(monkeypatch, folder, model, "new.csv", "--json")
    rows, wanted = ([json.loads(line) for line in one.stdout.splitlines()] for one in (without, ordinary))
    assert [(row["row"], row["odd"]) for row in rows] == [(row["row"], row["odd"]) for row in wanted]
    assert any(row["odd"] for row in rows) and len(rows) == 300
    close([row["score"] for row in rows], [row["score"] for row in wanted])
    assert [list(row) for row in rows] == [list(row) for row in wanted]
    both(monkeypatch, folder, model, "new.csv", "-o", str(tmp_path / "a.parquet"))
    assert pl.read_parquet(tmp_path / "a.parquet").schema == {"row": pl.Int64, "score": pl.Float64, "odd": pl.Boolean}


@pytest.mark.parametrize(
    "words",
    [
        ("words.safetensors", "new.csv"),
        ("autoencoder.safetensors", "new.csv"),
        ("frame.safetensors", "lacking.csv"),
        ("frame.safetensors", "text.csv"),
        ("frame.safetensors", "infinite.csv"),
        ("frame.safetensors", "answer.csv"),
        ("array.safetensors", "new.csv"),
    ],
    ids=" ".join,
)
def test_what_is_not_quite_plain_goes_the_ordinary_way(words: tuple[str, ...], folder: Path) -> None:
    assert quick.opened(*(str(folder / word) for word in words)) is None


def test_a_damaged_file_is_refused_without_torch_too(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "frame.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        read_detector(str(tmp_path / "bad.safetensors"))


def test_a_file_of_other_shapes_is_left_to_torch(folder: Path, tmp_path: Path) -> None:
    """Whoever builds a file whose outline does not fit its weights gets no scores out of it."""
    from isthmus import storage

    document, arrays = storage.load_arrays(folder / "frame.safetensors")
    import torch

    for name, value in {
        "module.network.encoder.layers.0.linear.weight": np.ones((3, 2), np.float32),
        "module.network.encoder.layers.0.linear.bias": np.ones(2, np.float32),
        "data.scaler_scale": np.zeros(9),
        "data.column_kind": np.frombuffer(b'["numeric"]', np.uint8).copy(),
    }.items():
        assert f"autoencoder.{name}" in arrays
        tensors = {key: torch.tensor(array) for key, array in arrays.items()} | {
            f"autoencoder.{name}": torch.from_numpy(value)
        }
        storage.save(tmp_path / "odd.safetensors", document, tensors)
        assert read_detector(str(tmp_path / "odd.safetensors")) is None, name
    for broken in ("outline", "schema", "data"):
        changed = json.loads(json.dumps(document))
        changed["fitted"]["autoencoder"][broken] = {"encoder": [], "part": 3}
        storage.save(tmp_path / "odd.safetensors", changed, tensors)
        assert read_detector(str(tmp_path / "odd.safetensors")) is None, broken


def test_the_threshold_is_the_models_own(tmp_path: Path) -> None:
    model = AnomalyDetector().default().set_params(training=FEW)
    detector = AnomalyDetector(model, threshold=Fixed(12.5), scores="distortion", random_state=0).fit(table())
    detector.save(tmp_path / "fixed.safetensors")
    light = read_detector(str(tmp_path / "fixed.safetensors"))
    assert light is not None and light.threshold == 12.5
    close(light.scores(table(seed=8)), -detector.score_samples(table(seed=8)))


HEAVY = ("torch", "sklearn", "pandas", "scipy", "pydantic", "narwhals")


@pytest.mark.parametrize("model", ["frame.safetensors", "panel.safetensors"])
def test_nothing_heavy_is_loaded(model: str, folder: Path) -> None:
    """Neither by the room itself nor by the command."""
    files = [str(folder / model), str(folder / "new.csv")]
    code = f"""
import sys
from isthmus.light import activations, columns, files, laws, model, network, scores, wording
heavy = sorted(set({(*HEAVY, "polars")!r}) & set(sys.modules))
from isthmus.interfaces.cli import cli
try:
    cli.main(["detect", *{files!r}])
except SystemExit as end:
    print(end.code, heavy, sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0 [] []", done.stdout + done.stderr
