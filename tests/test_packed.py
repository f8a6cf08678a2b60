"""Many rows at once: packed weights, larger chunks and folded columns equal the plain way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.data._extremes import extremes
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.networks._activations import ACTIVATIONS
from isthmus.spec import SampleSpec
from isthmus.training import packed as packing
from isthmus.training.applying import CHUNK
from isthmus.training.packed import PackedModule, packed

pytestmark = [pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning"), pytest.mark.slow]

N = 3000
FEW = Training(max_epochs=2)


@pytest.fixture(autouse=True)
def worth_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """N rows are enough."""
    monkeypatch.setattr(packing, "ROWS", 1000)


def table(n: int = N, gaps: bool = False, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    X = random.normal(size=(n, 3)) @ random.normal(size=(3, 8)) + 0.1 * random.normal(size=(n, 8))
    if gaps:
        X[random.random(X.shape) < 0.1] = np.nan
    return X.astype(dtype)


def close(first: Any, second: Any) -> None:
    """Within a few roundings of float32."""
    np.testing.assert_allclose(first, second, rtol=2e-5, atol=2e-5)


def works() -> bool:
    return isinstance(packed(AutoencoderModule(SampleSpec((8,)), 2).eval(), 10**6), PackedModule)


needs_products = pytest.mark.skipif(not works(), reason="this torch or this machine has no packed products")

MODELS: dict[str, dict[str, Any]] = {activation: {"network": Dense((9, 6), activation)} for activation in ACTIVATIONS}
MODELS |= {
    "linear network": {"network": Dense(())},
    "tied": {"network": Dense((8, 6), tied=True)},
    "learned scale": {"likelihood": "normal(scale='learned', minimum=0.1)"},
    "fixed scale": {"likelihood": "normal(scale=0.2)"},
    "laplace": {"likelihood": "laplace"},
    "variational": {"variant": "variational"},
    "top_k": {"variant": "top_k(k=1)"},
    "masked": {"variant": ["denoising", "masked"]},
}


@needs_products
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", MODELS)
def test_packed_modules_give_what_plain_ones_give(name: str, gaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"network": Dense((9, 6))} | MODELS[name]
    X = table(gaps=gaps)
    model = Autoencoder(2, **settings, training=FEW, random_state=0).fit(X[:400])
    assert isinstance(packed(model.module_, N), PackedModule)
    detector = AnomalyDetector(Autoencoder(2, **settings, training=FEW, random_state=0)).fit(X[:400])
    asked = [model.transform, model.score_samples, detector.score_samples]
    fast = [ask(X) for ask in asked]
    monkeypatch.setattr(packing, "ROWS", N + 1)
    assert packed(model.module_, N) is model.module_
    for ask, found in zip(asked, fast, strict=True):
        plain = ask(X)
        assert found.dtype == plain.dtype == np.float32 and found.shape == plain.shape
        close(found, plain)
        assert np.ptp(plain) > 0.01  # there is something to compare


@needs_products
def test_the_whole_pass_is_the_plain_one() -> None:
    """What tasks and reports may look at: the code, the rate, the law, every cell's cost."""
    module = Autoencoder(2, variant="vae", likelihood="normal(scale='learned')", training=FEW, random_state=0)
    module = module.fit(table(400)).module_
    twin, x = packed(module, N), torch.from_numpy(table(50))
    with torch.inference_mode():
        fast, plain = twin.reconstruct(x), module.reconstruct(x)
        pairs = [(fast.code, plain.code), (fast.rate, plain.rate), (fast.bound, plain.bound)]
        pairs += [(fast.output.mean, plain.output.mean), (fast.output.nll(x), plain.output.nll(x))]
        pairs += [(twin.cells(fast), module.cells(plain)), (fast.log_weights, plain.log_weights)]
        draws = [one.output.sample(torch.Generator().manual_seed(0)) for one in (fast, plain)]
        for first, second in [*pairs, draws]:
            assert isinstance(first, Tensor) and first.shape == second.shape
            close(first, second)


@needs_products
def test_scales_are_right_where_they_are_very_large_or_small() -> None:
    law = packing._Law(scale="learned", minimum=0.01)
    free = torch.tensor([[-100.0, -20.0, 0.0, 19.9, 20.1, 90.0, 1e4]])
    close(packing._Output(torch.cat([free, free], 1), law).scale(), torch.nn.functional.softplus(free) + 0.01)


@needs_products
def test_where_a_product_comes_out_wrong_the_module_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Autoencoder(2, training=FEW, random_state=0).fit(table(400)).module_
    run = packing._Half.run
    monkeypatch.setattr(packing._Half, "run", lambda self, hidden, start=0: 1.01 * run(self, hidden, start))
    assert packed(module, N) is module

    def missing(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(packing._Half, "run", missing)
    assert packed(module, N) is module


def test_what_is_not_packed() -> None:
    module = Autoencoder(2, training=FEW, random_state=0).fit(table(400)).module_
    assert packed(module, 10) is module  # not worth it
    layered = Autoencoder(2, network=Dense((8,), normalisation="layer"), training=FEW, random_state=0)
    layered = layered.fit(table(400)).module_
    assert packed(layered, N) is layered
    seen: list[object] = []
    handle = module.network.encoder.register_forward_hook(lambda *given: seen.append(given))
    assert packed(module, N) is module  # somebody is looking on
    handle.remove()
    assert packed(module.train(), N) is module


def test_float64_is_computed_in_float64_by_the_same_layers() -> None:
    double = Autoencoder(2, training=FEW, precision="float64", random_state=0).fit(table(400)).module_
    twin = packed(double, N)
    assert isinstance(twin, PackedModule) and twin.network is double.network and twin.chunk > CHUNK
    model = Autoencoder(2, training=FEW, random_state=0).fit(table(400))
    X = table(dtype=np.float64)
    module = model.as_type(torch.float64)
    x = model.data_.batch(model.data_.open(X), slice(None), torch.float64).x
    with torch.inference_mode():
        wanted = module.reconstruct(x).log_weights.mean(0).numpy()
    scores = model.score_samples(X)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)


def test_the_packed_twin_leaves_the_module_alone() -> None:
    model = Autoencoder(2, training=FEW, random_state=0).fit(table(400))
    before = {name: value.clone() for name, value in model.module_.state_dict().items()}
    kept, network, likelihood = table(), model.module_.network, model.module_.likelihood
    X = kept.copy()
    model.score_samples(X)
    assert (X == kept).all()  # scaled in a copy
    assert model.module_.network is network and model.module_.likelihood is likelihood
    assert all(torch.equal(value, before[name]) for name, value in model.module_.state_dict().items())


# ---- the range of columns


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.uint8])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (1000, 7), (70_001, 2), (300, 700)])
def test_extremes_are_those_of_every_column(shape: tuple[int, int], dtype: Any, order: Any) -> None:
    random = np.random.default_rng(0)
    matrix = np.asarray(random.normal(size=shape) * 50, dtype=dtype, order=order)
    low, high, missing = extremes(matrix)
    assert (low == matrix.min(axis=0)).all() and (high == matrix.max(axis=0)).all() and not missing.any()
    assert low.dtype == high.dtype == np.float64


@pytest.mark.parametrize("n", [3, 1000, 70_001])
def test_extremes_leave_out_what_is_missing(n: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    matrix[:, 2] = np.nan
    matrix[n // 2, 1] = np.nan
    matrix[-1, 0] = np.inf
    low, high, missing = extremes(matrix)
    assert missing.tolist() == [0, 1, n, 0] and high[0] == np.inf
    assert np.isnan(low[2]) and np.isnan(high[2])
    others = [0, 1, 3]
    np.testing.assert_array_equal(low[others], np.nanmin(matrix[:, others], axis=0))
    np.testing.assert_array_equal(high[others], np.nanmax(matrix[:, others], axis=0))
