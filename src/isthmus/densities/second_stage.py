from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor

from isthmus.densities.base import Density, Law, check_codes, tensor
from isthmus.errors import ModelFileError
from isthmus.likelihoods import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.part import Limit
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, train
from isthmus.training.devices import own_randomness
from isthmus.variants import Variational


class SecondStage(Density):
    """A second, small variational autoencoder, on the codes of the first.

    The first one need not care whether its codes look like a prior; the second only has to learn their law, with a
    code as wide as they are, so that nothing is lost. For codes on curved sheets; it takes a minute where `mixture`
    takes seconds, and its density is not known. Dai & Wipf 2019, "Diagnosing and Enhancing VAE Models".

    Parameters
    ----------
    widths : units of its hidden layers, from the outside in.
    steps : how many steps its training takes, rounded up to whole passes over the codes.

    Raises
    ------
    SettingError : for steps below 1.
    DataError : for fewer than 2 codes.

    >>> codes = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> law = SecondStage(widths=(8,), steps=100).fit(codes, torch.Generator().manual_seed(0))
    >>> law.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """

    aliases = ("two_stage", "second_vae")
    limits = {"steps": Limit(1, whole=True)}

    def __init__(self, widths: Sequence[int] = (128, 128), steps: int = 4000):
        self.widths = widths
        self.steps = steps

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(widths=(16,), steps=40)]

    def fit(self, codes: Tensor, generator: torch.Generator) -> Law:
        check_codes(codes)
        given = codes.double()
        mean, scale = given.mean(0), given.std(0, correction=0).clamp_min(1e-12)
        x = ((given - mean) / scale).float()
        seed = int(torch.randint(2**31, (), generator=generator))
        with own_randomness(torch.device("cpu")):
            torch.manual_seed(seed)
            module = self._module(codes.shape[1])
        size = min(256, max(16, len(x) // 8))
        epochs = -(-self.steps * size // len(x))
        settings = Training(
            max_epochs=epochs, batch_size=size, learning_rate=2e-3, validation=0.0, patience=None, ema=0.99
        )
        train(module, lambda rows: Batch(x[torch.as_tensor(rows)]), len(x), settings, seed=seed)
        return _SecondStage(module.double().eval(), mean, scale)

    def restore(self, state: Mapping[str, Tensor]) -> Law:
        mean = tensor(state, "mean", (None,))
        module = self._module(len(mean)).double()
        weights = {name: value for name, value in state.items() if name not in ("mean", "scale")}
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelFileError("the weights of a density in this file do not fit its own settings.") from error
        return _SecondStage(module.eval(), mean, tensor(state, "scale", (len(mean),)))

    def _module(self, size: int) -> AutoencoderModule:
        network = Dense(widths=tuple(self.widths))
        return AutoencoderModule(SampleSpec((size,)), size, network, Normal(scale="learned"), Variational())


class _SecondStage(Law):
    def __init__(self, module: AutoencoderModule, mean: Tensor, scale: Tensor):
        self.module = module
        self.mean = mean
        self.scale = scale

    @torch.no_grad()
    def sample(self, n_codes: int, generator: torch.Generator) -> Tensor:
        drawn = cast(Tensor, self.module.draw_codes((n_codes, len(self.mean)), generator))
        return self.mean + self.scale * self.module.decode(drawn).sample(generator)

    def state(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict()) | {"mean": self.mean, "scale": self.scale}
