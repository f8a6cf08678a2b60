"""Recurrent networks and series: what padding must not change, what is told of gaps, and what comes back."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from isthmus import AnomalyDetector, Autoencoder, load
from isthmus.checks.small import generator, largest_difference, seeded
from isthmus.data import Images, Series, Tables
from isthmus.errors import DataError, IsthmusWarning, ModelFileError, SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Recurrent
from isthmus.networks._recurrent_layers import lengths_of, reverse
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.training.steps import AutogradStep
from isthmus.variants import Contractive

FREE = SampleSpec((11, 3), channels=1, free=(0,))
LENGTHS = (1, 7, 11, 4, 3)
SHORT = Training(max_epochs=3, batch_size=16)


def module(network: Recurrent, spec: SampleSpec = FREE, likelihood: str = "normal", variant=()) -> AutoencoderModule:
    with seeded(0):
        return AutoencoderModule(spec, 4, network, likelihood, variant)


def uneven(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples of odd lengths in one batch, with rubbish behind each one's end."""
    x = torch.randn(len(LENGTHS), 11, 3, generator=generator(seed))
    weight = torch.zeros_like(x)
    for row, length in enumerate(LENGTHS):
        weight[row, :length] = 1.0
    return x.masked_fill(weight == 0, 1e4), weight


# ---- lengths


@pytest.mark.parametrize("network", Recurrent.examples(), ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_neither_code_nor_loss(network: Recurrent, dtype: torch.dtype) -> None:
    """Each of some samples of odd lengths is the same in a padded batch and alone."""
    model, (x, weight) = module(network).eval().to(dtype), uneven()
    x, weight = x.to(dtype), weight.to(dtype)
    together = model.reconstruct(x, weight)
    assert together.code is not None and together.bound is not None and together.output is not None
    for row, length in enumerate(LENGTHS):
        alone = model.reconstruct(x[row : row + 1, :length])
        assert alone.code is not None and alone.bound is not None and alone.output is not None
        assert largest_difference(together.code[:, row], alone.code[:, 0]) < 1e-6
        assert float((together.bound[row] - alone.bound[0]).detach().abs()) < 1e-6 * length
        assert largest_difference(together.output.mean[0, row, :length], alone.output.mean[0, 0]) < 1e-6
    further = model.reconstruct(*(nn.functional.pad(of, (0, 0, 0, 9)) for of in (x, weight)))
    assert further.code is not None and largest_difference(further.code, together.code) < 1e-6


def test_gradients_do_not_see_padding() -> None:
    """The gradients of a padded batch are the sums of those of its samples alone."""
    network = Recurrent("gru", hidden=6, layers=2, bidirectional=True)
    model, (x, weight) = module(network).double(), uneven()
    x, weight = x.double(), weight.double()
    model.loss(x, weight, generator=generator()).backward()
    together = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    for row, length in enumerate(LENGTHS):
        (model.loss(x[row : row + 1, :length], generator=generator()) / len(LENGTHS)).backward()
    alone = [p.grad for p in model.parameters() if p.grad is not None]
    assert max(largest_difference(a, b) for a, b in zip(together, alone, strict=True)) < 1e-10


@pytest.mark.parametrize("cell", ["lstm", "gru", "plain"])
def test_two_directions_are_torchs_packed_ones(cell: str) -> None:
    """Two layers of two directions over odd lengths, against torch's own way with packed sequences."""
    kinds: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "plain": nn.RNN}
    encoder = module(Recurrent(cell, hidden=5, layers=2, bidirectional=True)).double().network.encoder
    torchs = kinds[cell](3, 5, num_layers=2, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for depth, layer in enumerate(encoder.layers):  # type: ignore[arg-type]
            for way, suffix in ((layer.forth, ""), (layer.back, "_reverse")):
                for name, value in way.cell.named_parameters():
                    getattr(torchs, f"{name[:-1]}{depth}{suffix}").copy_(value)
    x, weight = (of.double() for of in uneven())
    activations: list[Tensor] = []
    encoder(x, weight, activations)
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    states = torchs(packed)[1]
    states = states[0] if cell == "lstm" else states
    wanted = [torch.cat([states[2 * depth], states[2 * depth + 1]], 1) for depth in range(2)]
    assert all(largest_difference(a, b) < 1e-12 for a, b in zip(activations[:2], wanted, strict=True))


def test_lengths_end_with_the_last_present_value() -> None:
    weight = torch.tensor([[[1.0, 0], [0, 0], [0, 1], [0, 0]], [[0, 0], [0, 0], [0, 0], [0, 0]]])
    assert lengths_of(weight) is not None and lengths_of(weight).tolist() == [3, 0]  # type: ignore[union-attr]
    turned = reverse(torch.arange(4.0).view(4, 1, 1), torch.tensor([3]))
    assert turned.flatten().tolist() == [2.0, 1.0, 0.0, 3.0]
    empty = module(Recurrent(hidden=4)).eval().encode(torch.ones(1, 4, 3), torch.zeros(1, 4, 3))
    assert bool(torch.isfinite(empty).all())


def test_gaps_are_told() -> None:
    """An absent value is not a value of 0: after a few steps of training the code tells them apart."""
    spec = SampleSpec((6, 2), channels=1, gaps=True)
    model = module(Recurrent(hidden=8), spec)
    x = torch.zeros(40, 6, 2)
    weight = (torch.rand(x.shape, generator=generator()) > 0.3).float()
    weight[:, -1] = 1.0
    x = torch.where(weight > 0, torch.randn(x.shape, generator=generator(1)), x)
    assert torch.equal(model.encode(x, weight), model.encode(x, torch.ones_like(x)))  # at first it does not listen
    with seeded(1):
        train(model, lambda rows: Batch(x[torch.as_tensor(rows)], weight[torch.as_tensor(rows)]), 40, SHORT)
    assert largest_difference(model.encode(x, weight), model.encode(x, torch.ones_like(x))) > 1e-3


# ---- learning


def strings(length: int, n: int, seed: int) -> Tensor:
    """One-hot symbols out of ten, drawn at random: nothing but memory helps."""
    drawn = torch.randint(10, (n, length), generator=generator(seed))
    return nn.functional.one_hot(drawn, 10).float()


@pytest.mark.slow
def test_short_strings_are_copied() -> None:
    """Strings that training never saw; benchmarks/copying.py has longer ones."""
    spec, x, new = SampleSpec((3, 10), channels=1), strings(3, 6000, 1), strings(3, 500, 2)
    with seeded(0):
        model = AutoencoderModule(spec, 24, Recurrent("gru", hidden=64), "categorical")
        training = Training(max_epochs=4, batch_size=32, learning_rate=0.01, validation=0.0)
        train(model, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), training)
    with torch.inference_mode():
        written = model.eval().decode(model.encode(new)).point
    assert float((written == new).flatten(1).all(1).float().mean()) >= 0.95


@pytest.mark.parametrize("cell", ["lstm", "gru", "plain"])
def test_contractive_differentiates_twice_in_float32(cell: str) -> None:
    """Torch's kernels of float32 are others than those of float64, which the contracts try."""
    x, found = torch.randn(6, 11, 3, generator=generator()), []
    for dtype in (torch.float32, torch.float64):
        model = module(Recurrent(cell, hidden=6), variant=[Contractive(weight=1.0)]).to(dtype)
        model.loss(x.to(dtype), generator=generator()).backward()
        found.append([p.grad.double() for p in model.parameters() if p.grad is not None])
    assert all(largest_difference(a, b) < 1e-4 * max(1.0, float(b.abs().max())) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("variant", ["variational", "contractive", "masked"])
def test_half_products_are_near_whole_ones(variant: str) -> None:
    batch = Batch(torch.randn(16, 11, 3, generator=generator()))
    terms = []
    for bf16 in (False, True):
        model = module(Recurrent(hidden=16), variant=[variant])
        step = AutogradStep(model, Training(), bf16)
        terms.append(step.terms(batch, generator(), learn=True)["loss"])
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    assert float((terms[0] - terms[1]).abs()) < 0.02 * float(terms[0].abs())


@pytest.mark.parametrize("settings", [{"cell": "lstn"}, {"feed": "twice"}, {"hidden": 0}, {"bidirectional": 1}])
def test_a_wrong_setting_is_told(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Recurrent(**settings).build(FREE, 4, 4, 3)  # type: ignore[arg-type]


def test_only_series_are_read() -> None:
    with pytest.raises(SettingError, match=r"\(steps, channels\)"):
        Recurrent().build(SampleSpec((10,)), 4, 4, 10)


# ---- the data type


def waves(n: int = 80, channels: int = 2, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    found = []
    for length in random.integers(5, 14, n):
        phase = random.uniform(0, 2 * np.pi)
        steps = np.arange(length)[:, None]
        found.append(10 + np.sin(0.6 * steps + phase + np.arange(channels)))
    return found


def fitted(X: object, **settings: object) -> Autoencoder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        model = Autoencoder(3, network=Recurrent(hidden=12), training=SHORT, random_state=0, **settings)  # type: ignore[arg-type]
        return model.fit(X)


def test_series_are_recognised() -> None:
    assert Series.accepts(waves()) and not Images.accepts(waves()) and not Tables.accepts(waves())
    pictures = [np.zeros((4, 5), np.uint8), np.zeros((6, 5), np.uint8)]
    assert Images.accepts(pictures) and not Series.accepts(pictures)
    assert not Series.accepts(np.zeros((3, 4, 5)))


@pytest.mark.parametrize("form", ["list", "flat list", "array", "flat array"])
def test_what_comes_back_has_the_form_that_came_in(form: str) -> None:
    X: object = waves(channels=1 if "flat" in form else 2)
    X = [one[:, 0] for one in X] if "flat" in form else X  # type: ignore[attr-defined]
    X = np.stack([one[:5] for one in X]) if "array" in form else X  # type: ignore[attr-defined]
    data = Series().fit(X)
    samples = data.open(X)
    batch = data.batch(samples, np.arange(len(samples)), torch.float64)
    back = data.give_back(batch.x, samples)
    assert type(back) is type(X) and len(back) == len(X)  # type: ignore[arg-type]
    for mine, theirs in zip(back, X, strict=True):  # type: ignore[call-overload]
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


def test_channels_are_scaled_by_themselves_and_gaps_weigh_nothing() -> None:
    X = [np.array([[1.0, 1000.0], [3.0, np.nan]]), np.array([[1.0, 3000.0], [3.0, 1000.0], [2.0, 3000.0]])]
    data = Series(scaling="standard").fit(X)
    x, weight, _ = data.batch(data.open(X), slice(None), torch.float64)
    assert weight is not None and weight.tolist()[0] == [[1, 1], [1, 0], [0, 0]] and bool((x[weight == 0] == 0).all())
    for channel in range(2):
        present = x[..., channel][weight[..., channel] > 0]
        assert abs(float(present.mean())) < 1e-12 and abs(float(present.std(correction=0)) - 1) < 1e-12
    assert data.spec.gaps and data.spec.free == (0,) and data.spec.shape == (3, 2)
    assert not Series().fit([one[:, :1] for one in X]).spec.gaps  # padding is no gap


def test_an_autoencoder_of_series_is_kept_in_a_file(tmp_path: Path) -> None:
    X = waves()
    model = fitted(X)
    assert type(model.module_.architecture) is Recurrent and type(model.data_) is Series
    back = model.reconstruct(X)
    assert [one.shape for one in back] == [one.shape for one in X]
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert np.array_equal(again.transform(X), model.transform(X))
    np.testing.assert_allclose(model.transform(X[3:4]), model.transform(X)[3:4], atol=1e-6)
    longer = [np.concatenate([X[0], X[0], X[0]])]  # longer than any in training
    assert model.reconstruct(longer)[0].shape == longer[0].shape


@pytest.mark.slow
def test_odd_series_are_found() -> None:
    X = waves(400)
    training = Training(max_epochs=30, batch_size=32, learning_rate=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)
        model = Autoencoder(4, network=Recurrent(hidden=24), training=training, random_state=0)
        detector = AnomalyDetector(model, contamination=0.02).fit(X)
    odd = [one.copy() for one in waves(20, seed=1)]
    for one in odd:
        one[:, 1] = one[::-1, 1]  # every value is usual, their order is not
    usual = waves(20, seed=2)
    assert np.median(detector.score_samples(odd)) < np.quantile(detector.score_samples(usual), 0.1)
    assert detector.explain(odd).shape == (20, 2)
    assert "on average" in detector.reasons(odd, np.array([0]))[0]


@pytest.mark.parametrize(
    ("X", "why"),
    [
        ([], "empty"),
        ([np.zeros((3, 2)), np.zeros((3, 4))], "same channels"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], "at least one step"),
        (np.zeros((3, 2, 2, 2)), "n, steps, channels"),
        ([np.array([[1.0], [np.inf]])], "infinite"),
        ([np.full((3, 1), np.nan)], "no value"),
        ([np.array(["a", "b"])], "numbers"),
    ],
)
def test_what_is_no_series_is_refused(X: object, why: str) -> None:
    with pytest.raises(DataError, match=why):
        Series().fit(X)


def test_series_that_do_not_fit_the_training_are_refused() -> None:
    even, flat = Series().fit(np.random.default_rng(0).normal(size=(5, 4, 2))), Series().fit(waves(channels=1))
    with pytest.raises(DataError, match="4"):
        even.open(np.zeros((2, 6, 2)))
    with pytest.raises(DataError, match="channels"):
        even.open(np.zeros((2, 4, 3)))
    with pytest.raises(DataError, match="cannot be read"):
        Series.read("series.csv")
    document, tensors = flat.state()
    for change in ({"n_steps": 0}, {"container": "set"}, {"flat": "no"}, {"columns": None}):
        with pytest.raises(ModelFileError):
            Series().restore(document | change, tensors)
    with pytest.raises(SettingError, match="scaling"):
        Series(scaling="odd").fit(waves())
