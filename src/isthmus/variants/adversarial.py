from __future__ import annotations

from collections.abc import Iterable
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import SettingError
from isthmus.part import Limit, resolve
from isthmus.priors.base import Prior
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants._places import code_places, numbers_of
from isthmus.variants.base import Pass, Variant


class Adversarial(Variant):
    """Trains a critic beside the autoencoder, which learns to pass its examination.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    With `on="code"` the critic tells codes from draws from the prior, and the encoder makes them alike, so that new
    samples can be drawn: Makhzani et al. 2015, "Adversarial Autoencoders". With `on="sample"` it tells the output's
    mean from what was asked for, and the autoencoder learns to give samples that look real, sharp where an average
    would be blurred: Larsen et al. 2016, "Autoencoding beyond pixels" (VAE/GAN, with the variational variant). Its
    inner layer then is a place where likeness can be measured: `matching` weighs half the squared distance there.

    The critic minimises its own cross-entropy and the autoencoder -log of the probability that it is taken for real
    (Goodfellow et al. 2014, the loss that does not saturate), each with an optimizer of its own; no gradient of one
    reaches the other. The critic is held smooth by a penalty on its slope at real examples (R1: Mescheder et al. 2018).
    Its cross-entropy stands in the history as critic_code or critic_sample: 2 log 2 = 1.39 where it can tell nothing.

    Every place of a grid of codes is one code. A sample with axes is looked at through convolutions and averaged over
    its places, so that any size will do.

    Use it where a prior on codes is wanted and batches are too small, or codes too wide, for wasserstein, which is
    steadier; use it on samples for pictures, after the likelihood alone has been tried. The opponent moves, so the
    held-out loss need not fall: train with patience=None or validation=0.0.

    Parameters
    ----------
    on : "code" or "sample", what the critic looks at.
    weight : strength of the penalty on the autoencoder, in nats per nat of being found out.
    width : units of the critic's hidden layers, channels for samples with axes.
    smoothness : weight of the penalty on the critic's squared slope.
    matching : weight of the likeness in the critic's inner layer; with on="sample" only.
    prior : standard_normal, or a Prior object; with on="code" only.

    Raises
    ------
    SettingError : for a setting out of range, or a matching of codes, which have no partners.

    >>> Adversarial(on="sample", weight=0.1).neutral()
    Adversarial(on='sample', weight=0.0)
    """

    aliases = ("aae", "adversarial_autoencoder", "vae_gan")

    limits = {"weight": Limit(0), "width": Limit(1, whole=True), "smoothness": Limit(0), "matching": Limit(0)}

    def __init__(
        self,
        on: str = "code",
        weight: float = 1.0,
        width: int = 64,
        smoothness: float = 1.0,
        matching: float = 0.0,
        prior: str | Prior = "standard_normal",
    ):
        self.on = on
        self.weight = weight
        self.width = width
        self.smoothness = smoothness
        self.matching = matching
        self.prior = prior

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(width=8), cls(on="sample", width=8, matching=0.5)]

    def check(self) -> None:
        super().check()
        if self.on not in ("code", "sample"):
            raise SettingError(f"on of adversarial is {self.on!r}; it must be one of code, sample.")
        if self.matching and self.on == "code":
            raise SettingError("matching goes with on='sample': a code has no partner among the prior's draws.")

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module | None:
        if not self.weight and not self.matching:
            return None
        if self.on == "code":
            return _Critic(SampleSpec((n_components,)), self.width)
        return _Critic(spec, self.width)

    def adversary(self) -> Iterable[nn.Parameter]:
        return () if self.trained is None else self.trained.parameters()

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        if not self.weight and not self.matching:
            return reconstruction.x.new_zeros(())
        made, real = self._examined(reconstruction)
        found_out, inside = self._judged(made)
        total = self.weight * functional.softplus(-found_out).mean()
        if self.matching:
            wanted = self._judged(real)[1]
            unlike = (inside - wanted.repeat(len(made) // len(real), *[1] * (wanted.ndim - 1))).flatten(1)
            total = total + self.matching * 0.5 * unlike.square().sum(1).mean()
        loss = self.critic_loss(made.detach(), real)
        reconstruction.asides[f"critic_{self.on}"] = (loss - self._roughness(real)).detach()
        # of the critic's loss only the gradient: what the autoencoder minimises is told without it
        return total + (loss - loss.detach())

    def critic_loss(self, made: Tensor, real: Tensor) -> Tensor:
        """What the critic minimises, a scalar: its cross-entropy, and its slope at real examples."""
        told = functional.softplus(-self._critic(real)[0]).mean() + functional.softplus(self._critic(made)[0]).mean()
        return told + self._roughness(real)

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor | None:
        if self.on != "code" or not self.weight:
            return None
        return resolve("priors", self.prior, Prior).sample(shape, generator, like)

    def neutral(self) -> Self:
        return type(self)(self.on, 0.0, self.width, self.smoothness, 0.0, self.prior)

    def _examined(self, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        """What was made and what is real: codes and draws, or the output's means and targets."""
        if self.on == "code":
            made = code_places(reconstruction, MOST)
            real = resolve("priors", self.prior, Prior).sample(made.shape, numbers_of(reconstruction), made)
            return made, real
        assert reconstruction.output is not None
        mean, real, weight = reconstruction.output.mean, reconstruction.target, reconstruction.weight
        if weight is not None:
            mean, real = mean.masked_fill(weight <= 0, 0.0), real.masked_fill(weight <= 0, 0.0)
        return mean.flatten(0, 1), real

    @property
    def _critic(self) -> _Critic:
        if self.trained is None:
            raise SettingError("adversarial has no critic yet; it is built with an AutoencoderModule.")
        return cast(_Critic, self.trained)

    def _judged(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's word, with a gradient for what it is given and none for the critic."""
        still = {name: value.detach() for name, value in self._critic.named_parameters()}
        return cast(tuple[Tensor, Tensor], torch.func.functional_call(self._critic, still, (given,)))

    def _roughness(self, real: Tensor) -> Tensor:
        """The critic's squared slope at real examples; nothing where no gradients are taken."""
        if not self.smoothness or not torch.is_grad_enabled():
            return real.new_zeros(())
        at = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self._critic(at)[0].sum(), at, create_graph=True)
        return 0.5 * self.smoothness * slope.flatten(1).square().sum(1).mean()


MOST = 1024  # codes of a batch that the critic looks at


class _Critic(nn.Module):
    """From samples to one number each, above 0 for what looks real, and to what the last inner layer gives."""

    def __init__(self, spec: SampleSpec, width: int):
        super().__init__()
        self.channels = spec.channels
        self.inner = nn.Sequential(*(_dense(spec, width) if len(spec.shape) == 1 else _convolutions(spec, width)))
        self.head = nn.Linear(width, 1)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        inside = self.inner(given.movedim(1 + self.channels, 1))
        seen = inside if inside.ndim == 2 else inside.flatten(2).mean(2)
        return self.head(seen).squeeze(1), inside


def _dense(spec: SampleSpec, width: int) -> list[nn.Module]:
    return [nn.Linear(spec.size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]


def _convolutions(spec: SampleSpec, width: int) -> list[nn.Module]:
    """Three, each of half the resolution."""
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(spec.shape) - 2]
    layers: list[nn.Module] = []
    for n_in in (spec.n_channels, width, width):
        layers += [kind(n_in, width, kernel_size=3, stride=2, padding=1), nn.SiLU()]
    return layers
