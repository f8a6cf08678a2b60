"""What says how odd a sample is: each score against a formula, the panel against its parts, files, and trimming."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from isthmus import AnomalyDetector, Autoencoder, Training, fit_many, load, scores
from isthmus.checks import check_part
from isthmus.errors import DoctorWarning, ModelFileError, SettingError
from isthmus.interfaces.cli import cli
from isthmus.scores import CodeDistance, Distortion, NeighbourDistance, WhitenedResidual
from isthmus.scores._nearest import Nearest, largest
from isthmus.scores._residuals import MOST_NUMBERS, Whitening
from isthmus.scores._tails import Tail
from isthmus.scores.base import Measure, Score
from isthmus.training.rows import split

Array = npt.NDArray[np.float64]
FEW = Training(max_epochs=3)


@pytest.fixture(autouse=True)
def quiet_doctor() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def on_a_plane(n: int, seed: int = 0) -> Array:
    """Usual rows: five columns that follow two hidden numbers."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(2, 5))
    return random.normal(size=(n, 2)) @ mix + 0.05 * random.normal(size=(n, 5))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def detector(**settings: Any) -> AnomalyDetector:
    return AnomalyDetector(**({"autoencoder": Autoencoder(training=FEW), "random_state": 0} | settings))


@pytest.mark.parametrize("name", scores.__all__)
def test_every_score_keeps_the_contract(name: str) -> None:
    check_part(getattr(scores, name))


# ---- each against a formula


def test_whitened_residuals_are_mahalanobis_distances() -> None:
    usual = normal(400, 3) @ normal(3, 3, seed=1)
    measure = WhitenedResidual(shrinkage=0.0).fit(usual, usual, torch.Generator())
    new = normal(20, 3, seed=2)
    inverse = torch.linalg.inv(torch.cov(usual.T, correction=0))
    gap = new - usual.mean(0)
    wanted = ((gap @ inverse) * gap).sum(1).sqrt()
    torch.testing.assert_close(measure(new), wanted, rtol=0.05, atol=0.0)  # but for the floor of variances


def test_of_many_numbers_the_variances_count_alone() -> None:
    usual = normal(50, MOST_NUMBERS + 1) * 3 + 1
    whitening = Whitening.fit(usual, 0.1)
    assert whitening.factor.ndim == 1
    torch.testing.assert_close(
        whitening(usual).std(0, correction=0).mean(), torch.tensor(1.0).double(), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("m", [6, 31, 500])
def test_neighbours_are_those_of_scikit_learn(m: int) -> None:
    usual, new = normal(m, 3) + 100, normal(40, 3, seed=1) + 100
    nearest = Nearest.fit(usual, 5, 0.0, 10_000, torch.Generator())
    wanted = NearestNeighbors(n_neighbors=5).fit(usual.numpy()).kneighbors(new.numpy())[0]
    distances, _ = nearest._distances(new)
    np.testing.assert_allclose(distances, wanted, rtol=1e-9)
    own = NearestNeighbors(n_neighbors=5).fit(usual.numpy()).kneighbors()[0]
    np.testing.assert_allclose(nearest._distances(usual)[0], own, rtol=1e-9)  # nobody is his own neighbour
    np.testing.assert_allclose(nearest.spread, own.mean(1), rtol=1e-9)


@pytest.mark.parametrize("m", [6, 31, 767, 768, 2000, 2003])
def test_neighbours_as_far_as_each_other_are_as_far_as_in_a_full_sort(m: int) -> None:
    """On a grid many references coincide, and many more are equally far."""
    usual = torch.randint(-3, 4, (m, 4), generator=torch.Generator().manual_seed(0)).double()
    new = usual[:200] + 0.5
    nearest = Nearest.fit(usual, 5, 0.0, 10_000, torch.Generator())
    for samples, first in ((new, 0), (usual, 1)):  # nobody is his own neighbour
        distances, found = nearest._distances(samples)
        every = torch.cdist(samples, usual, compute_mode="donot_use_mm_for_euclid_dist").sort(1).values
        torch.testing.assert_close(distances, every[:, first : first + 5], rtol=1e-12, atol=0.0)
        torch.testing.assert_close((samples[:, None] - usual[found]).norm(dim=2), distances, rtol=1e-12, atol=0.0)
        assert all(len(set(row)) == 5 for row in found.tolist())


@pytest.mark.parametrize("m", [5, 64 * 5, 64 * 10 - 1, 64 * 10, 1001, 2000, 5003])
@pytest.mark.parametrize("wanted", [1, 5])
def test_the_largest_are_those_of_a_full_sort(m: int, wanted: int) -> None:
    values = normal(50, m)
    torch.testing.assert_close(largest(values, wanted), values.sort(1, descending=True).indices[:, :wanted])
    coarse = values.round()  # where many are equal, any of them
    found = largest(coarse, wanted)
    torch.testing.assert_close(coarse.gather(1, found), coarse.sort(1, descending=True).values[:, :wanted])
    assert all(len(set(row)) == wanted for row in found.tolist())


def test_where_usual_samples_lie_thinly_a_distance_counts_less() -> None:
    usual = torch.cat([0.1 * normal(300, 2), 50 + 10 * normal(300, 2, seed=1)])
    beside = torch.tensor([[2.0, 2.0], [20.0, 20.0]]).double()  # as far in units of their neighbours' distances

    def ratio(local: float) -> float:
        near, far = CodeDistance(local=local).fit(usual, usual, torch.Generator())(beside).exp()
        return float(far / near)

    assert ratio(0.0) > 3 > ratio(1.0) > 0


def test_a_tail_is_the_share_that_scores_as_high() -> None:
    usual = normal(5000).square()
    tail = Tail.fit(usual)
    share = torch.tensor([float((usual >= score).double().mean()) for score in (0.2, 1.0, 2.0)])
    torch.testing.assert_close(tail(torch.tensor([0.2, 1.0, 2.0])), -share.log(), rtol=0.02, atol=0.02)
    excess = Tail.fit(torch.distributions.Exponential(0.5).icdf((torch.arange(20_000) + 0.5) / 20_000))
    torch.testing.assert_close(excess(torch.tensor([10.0, 40.0])), torch.tensor([5.0, 20.0]), rtol=0.02, atol=0.0)


@pytest.mark.parametrize("usual", [torch.zeros(1), torch.ones(50), torch.arange(3.0)], ids=["one", "equal", "three"])
def test_a_tail_of_hardly_anything_still_rises(usual: Tensor) -> None:
    nats = Tail.fit(usual)(torch.linspace(-5, 5, 100))
    assert nats.isfinite().all() and (nats.diff() >= 0).all() and nats[-1] > nats[0]


# ---- the panel


def test_by_default_three_autoencoders_are_asked_of_a_table() -> None:
    found = detector().fit(on_a_plane(300))
    assert found._panel is not None
    sizes = [member.model.n_components_ for member in found._panel.members]
    assert sizes[1:] == [1, 10] and found._panel.members[0].model is found.autoencoder_
    X = on_a_plane(50, seed=1)
    each = found._panel.each(X)
    np.testing.assert_allclose(found.score_samples(X), -each.mean((0, 2)))
    np.testing.assert_allclose(found.scorer()(X), found.score_samples(X), rtol=1e-9)
    assert found.scorer()(X[3]) == pytest.approx(found.score_samples(X)[3])


def test_scores_of_usual_rows_are_the_nats_of_their_rank() -> None:
    """Of new usual rows a share of about exp(-score) scores as high, whatever the unit of the parts."""
    found = AnomalyDetector(
        Autoencoder(2, training=Training(max_epochs=30, validation=0.3)), scores="whitened_residual"
    )
    new = -found.set_params(random_state=0).fit(on_a_plane(1500)).score_samples(on_a_plane(1000, seed=1))
    for nats in (0.5, 1.0, 2.0):
        assert (new > nats).mean() == pytest.approx(np.exp(-nats), abs=0.08)


@pytest.mark.parametrize(
    "settings",
    [
        {"autoencoder": Autoencoder(2, training=FEW)},
        {"scores": "distortion"},
        {"scores": Distortion()},
        {"scores": ["distortion"]},
    ],
    ids=["size", "name", "object", "list"],
)
def test_the_bare_distortion_is_in_nats(settings: dict[str, Any]) -> None:
    found = detector(**settings).fit(on_a_plane(100))
    assert found._panel is None
    costs = found.autoencoder_.score_samples(on_a_plane(20, seed=1))
    np.testing.assert_allclose(found.score_samples(on_a_plane(20, seed=1)), costs)


def test_a_list_of_scores_is_averaged_and_each_alone_is_one_of_them() -> None:
    X, new = on_a_plane(200), on_a_plane(30, seed=1)
    model = Autoencoder(2, training=FEW)
    names = ["distortion", "code_distance(neighbours=2)", WhitenedResidual()]
    together = detector(autoencoder=model, scores=names).fit(X)
    assert together._panel is not None and together._panel.each(new).shape == (1, 30, 3)
    alone = detector(autoencoder=model, scores=[names[2]]).fit(X)
    np.testing.assert_allclose(together._panel.each(new)[0, :, 2], -alone.score_samples(new))


@pytest.mark.slow
def test_a_model_comes_back_from_its_file(tmp_path: Path) -> None:
    X, new = on_a_plane(120), on_a_plane(30, seed=1)
    found = detector(scores=["neighbour_distance", "code_distance", "whitened_residual", "distortion"]).fit(X)
    found.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.score_samples(new), found.score_samples(new))
    np.testing.assert_array_equal(again.labels_, found.labels_)
    np.testing.assert_array_equal(again.explain(new), found.explain(new))
    again.save(tmp_path / "n.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "n.safetensors").score_samples(new), found.score_samples(new))


class Largest(Score):
    """The largest miss.

    >>> Largest()
    Largest()
    """

    def read(self, pass_: Any) -> Tensor:
        missed: Tensor = (pass_.target - pass_.output.mean[0]).abs().amax(1, keepdim=True)
        return missed

    def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
        return Distortion().fit(trained, held_out, generator)

    def restore(self, state: Any) -> Measure:
        return Distortion().restore(state)


def test_a_score_from_outside_is_passed_as_an_object_and_to_load(tmp_path: Path) -> None:
    X = on_a_plane(100)
    found = detector(autoencoder=Autoencoder(2, training=FEW), scores=[Largest(), "code_distance"]).fit(X)
    found.save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="parts="):
        load(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors", parts=[Largest])
    np.testing.assert_array_equal(again.score_samples(X), found.score_samples(X))


def test_held_out_rows_are_those_that_training_held_out() -> None:
    """What is usual is learned from rows that the weights know nothing of."""
    X, given = on_a_plane(100), []

    class Spy(Largest):
        def fit(self, trained: Tensor, held_out: Tensor, generator: torch.Generator) -> Measure:
            given.append((len(trained), held_out.numpy()[:, 0]))
            return super().fit(trained, held_out, generator)

    model = Autoencoder(2, training=Training(max_epochs=2, validation=0.2))
    found = AnomalyDetector(model, scores=[Spy(), "distortion"], random_state=0).fit(X).autoencoder_
    rows = split(100, 0.2, seed=int(np.random.RandomState(0).randint(2**31)))[1]
    largest = found.read(X[rows], lambda module, batch: Largest().read(module.reconstruct(batch.x))[:, 0])
    assert given[0][0] == 80
    np.testing.assert_allclose(given[0][1], largest)


def test_pictures_may_be_scored_by_their_codes(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((40, 8, 8)).astype(np.float32)
    X[7] = 0
    found = AnomalyDetector(Autoencoder(2, training=FEW), scores=["distortion", "code_distance"], random_state=0).fit(X)
    found.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "m.safetensors").score_samples(X), found.score_samples(X))
    assert found.heat_map(X).shape == (40, 8, 8) and len(found.answer(X).table) == 40
    assert AnomalyDetector(Autoencoder(training=FEW), random_state=0).fit(X)._panel is None


@pytest.mark.slow
def test_mixed_tables_with_gaps_are_scored(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kind = random.choice(["car", "bicycle"], 300)
    wheels = [None if i % 11 == 0 else 4 if word == "car" else 2 for i, word in enumerate(kind)]
    frame = pl.DataFrame({"kind": kind, "wheels": wheels, "weight": np.where(kind == "car", 1400.0, 15.0)})
    frame = frame.with_columns(weight=pl.col("weight") * random.normal(1, 0.1, 300))
    found = AnomalyDetector(contamination=0.01, random_state=0).fit(frame)
    assert found._panel is not None
    odd = pl.DataFrame(
        {"kind": ["car", "hovercraft", "bicycle"], "wheels": [4, 4, None], "weight": [15.0, 1400.0, 15.0]}
    )
    assert list(found.predict(odd))[:2] == [-1, -1] and found.score_samples(odd)[2] > found.score_samples(odd)[0]
    found.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.score_samples(odd), found.score_samples(odd))
    assert again.answer(odd).highlights["why"].to_list() == found.answer(odd).highlights["why"].to_list()


def test_together_with_others_it_is_what_it_is_alone() -> None:
    X = on_a_plane(200)
    together = fit_many([detector(random_state=seed) for seed in range(2)], X)
    alone = [detector(random_state=seed).fit(X) for seed in range(2)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-3, atol=1e-3)


# ---- trimming, and names
@pytest.mark.slow
def test_trimming_leaves_the_oddest_rows_out_of_training() -> None:
    """Rows that are odd in one way, of which there are many, are no longer usual once they are left out."""
    random = np.random.default_rng(0)
    odd = random.normal(size=(40, 5)) + 8
    X, truth = np.vstack([on_a_plane(360), odd]), np.repeat([0, 1], [360, 40])
    model = Autoencoder(2, training=Training(max_epochs=40))
    found = {}
    for trim in (None, 0.15):
        fitted = AnomalyDetector(model, trim=trim, random_state=0).fit(X)
        found[trim] = roc_auc_score(truth, fitted.decision_scores_)
        assert len(fitted.decision_scores_) == 400 and fitted.labels_.sum() == 40
        assert fitted.autoencoder_.n_samples_ == 400 - round(400 * (trim or 0))
    assert found[0.15] > found[None]
    with_gap = AnomalyDetector(model, trim=0.15, threshold="conformal", random_state=0).fit(X)
    assert with_gap.autoencoder_.n_samples_ == 320 - 48


@pytest.mark.slow
def test_trimming_finds_odd_rows_that_are_each_others_neighbours() -> None:
    """Thirty rows nearly alike have near neighbours, each other; a neighbourhood twice as large has others in it."""
    random = np.random.default_rng(0)
    odd = 5 + 0.01 * random.normal(size=(30, 5))
    X, truth = np.vstack([on_a_plane(370), odd]), np.repeat([0, 1], [370, 30])
    model = Autoencoder(4, training=Training(max_epochs=40))
    once, twice = (
        AnomalyDetector(model, scores="neighbour_distance", trim=trim, random_state=0).fit(X).decision_scores_
        for trim in (None, 0.1)
    )
    assert roc_auc_score(truth, once) < 0.8 < 0.99 < roc_auc_score(truth, twice)


def test_neighbourhoods_for_trimming_are_twice_as_large_as_what_goes() -> None:
    for score in (NeighbourDistance(references=200), CodeDistance(references=200)):
        assert score.beyond(40, 400).get_params() == score.get_params() | {"neighbours": 40}
        assert score.beyond(1, 400).get_params() == score.get_params()
    assert Distortion().beyond(40, 400) == Distortion()


@pytest.mark.parametrize("trim", [-0.1, 1, 1.5, "much", True])
def test_a_trim_out_of_range_is_a_sentence(trim: Any) -> None:
    with pytest.raises(SettingError, match=r"trim is .*; it must be None, or a share of at least 0 and below 1\."):
        detector(trim=trim).fit(on_a_plane(60))


def test_wrong_scores_are_sentences() -> None:
    with pytest.raises(SettingError, match="score 'distorsion' is unknown; did you mean 'distortion'"):
        detector(scores="distorsion").fit(on_a_plane(60))
    with pytest.raises(SettingError, match="scores is an empty list"):
        detector(scores=[]).fit(on_a_plane(60))
    sizes = [np.random.default_rng(0).random((side, side)).astype(np.float32) for side in (12, 16, 12, 16) * 5]
    with pytest.raises(SettingError, match="differ in size"):
        AnomalyDetector(Autoencoder(2, training=FEW), scores="code_distance").fit(sizes)


def test_labels_are_pyods() -> None:
    found = detector(contamination=0.1).fit(on_a_plane(200))
    np.testing.assert_array_equal(found.labels_, (found.decision_scores_ > found.threshold_).astype(int))
    assert found.labels_.sum() == 20
    with pytest.raises(AttributeError):
        found.labels_ = found.labels_  # type: ignore[misc]


@pytest.mark.slow
def test_the_command_line_knows_scores_and_trim(tmp_path: Path) -> None:
    pl.DataFrame(on_a_plane(80)).write_csv(tmp_path / "table.csv")
    data, model = str(tmp_path / "table.csv"), str(tmp_path / "m.safetensors")
    words = ["fit", data, "--for", "detect", "--max-epochs", "2", "--seed", "0", "-o", model]
    for settings, names in (
        (["--scores", "whitened_residual", "--scores", "code_distance(neighbours=3)", "--trim", "0.1"], 2),
        (["--scores", "distortion"], None),
        ([], 1),
    ):
        done = CliRunner().invoke(cli, [*words, *settings])
        assert done.exit_code == 0, done.output
        loaded = load(model)
        assert (None if loaded._panel is None else len(loaded._panel.scores)) == names
        assert loaded.autoencoder_.n_samples_ == (72 if "--trim" in settings else 80)
        assert CliRunner().invoke(cli, ["detect", model, data]).exit_code == 0
