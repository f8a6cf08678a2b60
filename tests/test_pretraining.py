"""Layer-wise training: what a stage passes through, what it may change, and that it helps."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from isthmus import Autoencoder, Training
from isthmus.errors import SettingError, TrainingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv, Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Layerwise, train
from isthmus.training.pretraining import shallow_loss, stage, stages_of

DEEP = Dense(widths=(24, 12), activation="tanh")


def digits() -> np.ndarray:
    return (load_digits().data / 16).astype(np.float32)[:600]


def fitted(network: object = DEEP, variant: object = (), **settings: object) -> Autoencoder:
    training = Training(**(dict(max_epochs=10, batch_size=32, patience=None) | settings))  # type: ignore[arg-type]
    model = Autoencoder(6, network=network, variant=variant, training=training, random_state=0)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(digits())


def test_a_stage_is_the_shallow_autoencoder_of_its_layers() -> None:
    module = AutoencoderModule(SampleSpec((8,)), 3, DEEP).double()
    x = torch.rand(5, 8, dtype=torch.float64)
    (first, last), (second, before) = module.stages()[:2]
    with stage(module.stages(), 0):
        loss = shallow_loss(module, Batch(x), torch.Generator(), innermost=False)
    law = module.likelihood(last(first(x)).unsqueeze(0), module.spec)
    assert torch.equal(loss, law.nll(x).flatten(2).sum(2).mean())
    with stage(module.stages(), 1):
        loss = shallow_loss(module, Batch(x), torch.Generator(), innermost=False)
    law = module.likelihood(last(before(second(first(x)))).unsqueeze(0), module.spec)
    assert torch.equal(loss, law.nll(x).flatten(2).sum(2).mean())


def test_a_stage_changes_its_own_layers_only_and_leaves_no_trace() -> None:
    module = AutoencoderModule(SampleSpec((8,)), 3, DEEP)
    before = copy.deepcopy(module.state_dict())
    with stage(module.stages(), 1) as own:
        assert {id(p) for p in own} == {id(p) for p in module.parameters() if p.requires_grad}
        assert {id(p) for p in own} == {id(p) for layer in module.stages()[1] for p in layer.parameters()}
        shallow_loss(module, Batch(torch.rand(5, 8)), torch.Generator(), innermost=False).backward()
        torch.optim.SGD(own, 0.1).step()
    assert all(p.requires_grad for p in module.parameters())
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        f"network.{half}.layers.1.linear.{kind}" for half in ("encoder", "decoder") for kind in ("weight", "bias")
    }
    assert not any("forward" in vars(layer) for layer in module.modules())


@pytest.mark.parametrize("network", [DEEP, Dense((24, 12), "tanh", tied=True)], ids=["free", "tied"])
def test_every_stage_ends_below_its_start_and_the_whole_begins_ahead(network: Dense) -> None:
    pretrained, joint = fitted(network, pretrain="layerwise", max_epochs=1), fitted(network, max_epochs=1)
    stages = pretrained.history_.pretraining
    assert len(stages) == 3 and all(len(losses) == 10 for losses in stages)
    assert all(losses[-1] < losses[0] for losses in stages)
    assert pretrained.history_["loss"][0] < joint.history_["loss"][0]
    assert joint.history_.pretraining == []


@pytest.mark.slow
def test_fine_tuned_it_is_not_worse_than_joint_training() -> None:
    x = digits()

    def error(model: Autoencoder) -> float:
        return float(np.square(model.reconstruct(x) - x).sum(1).mean())

    assert error(fitted(pretrain="layerwise", max_epochs=40)) <= 1.05 * error(fitted(max_epochs=40))


@pytest.mark.parametrize("variant", ["variational", ["denoising", "l1_sparse"], "masked"], ids=str)
def test_variants_go_along(variant: object) -> None:
    stages = fitted(variant=variant, pretrain=Layerwise(epochs=4)).history_.pretraining
    assert all(losses[-1] < losses[0] for losses in stages)


@pytest.mark.parametrize("code", ["dense", "grid"])
def test_convolutions_of_odd_sizes(code: str) -> None:
    x = torch.rand(48, 1, 9, 7, generator=torch.Generator().manual_seed(0)).expand(-1, 2, -1, -1).contiguous()
    network = Conv(channels=(6, 8), code=code)
    module = AutoencoderModule(SampleSpec((2, 9, 7), channels=0), 5, network)
    settings = Training(max_epochs=1, batch_size=16, pretrain=Layerwise(epochs=8), learning_rate=5e-3)
    stages = train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), 48, settings).pretraining
    assert len(stages) == 3 and all(losses[-1] < losses[0] for losses in stages)


def test_epochs_turn_and_are_kept_in_the_file(tmp_path: object) -> None:
    from isthmus import load

    model = fitted(pretrain=Layerwise(epochs=2), max_epochs=1)
    assert [len(losses) for losses in model.history_.pretraining] == [2, 2, 2]
    model.save(f"{tmp_path}/model.safetensors")
    assert load(f"{tmp_path}/model.safetensors").history_.pretraining == model.history_.pretraining


@pytest.mark.parametrize(
    "network",
    [Dense(widths=()), Conv(channels=(4, 6), skips=True), (torch.nn.Linear(8, 3), torch.nn.Linear(3, 8))],
    ids=str,
)
def test_what_is_no_stack_is_refused(network: object) -> None:
    spec = SampleSpec((1, 8, 8), channels=0) if isinstance(network, Conv) else SampleSpec((8,))
    n_components = network.code_size(spec) if isinstance(network, Conv) else 3
    module = AutoencoderModule(spec, n_components or 3, network)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="leave pretrain out"):
        stages_of(module)


def test_a_rate_that_is_too_large_is_named() -> None:
    with pytest.raises(TrainingError, match=r"layer-wise training of layer \d; .*try 1e\+19"):
        fitted(Dense((24, 12), "linear"), pretrain="layerwise", learning_rate=1e20, optimizer="sgd")
