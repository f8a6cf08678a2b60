from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.part import Limit
from isthmus.spec import SampleSpec

TEMPERATURE = 0.38  # of the annealed mean, as in the paper


class Quantised(Likelihood):
    """Pixels as one of some levels, each with a probability of its own: for values with several likely answers.

        corrupt → encoder → bottleneck → decoder → LIKELIHOOD

    A softmax over the levels 0, 1 / (levels - 1), ..., 1 of each channel, as in Zhang et al. 2016, "Colorful Image
    Colorization", where an apple that is red or green must not come out brown. The decoder gives `levels` numbers per
    value. A target between two levels counts as the nearer one, so that what comes back is no finer than they are.

    Parameters
    ----------
    levels : how many; 256 are all that usual pictures have, fewer are learned sooner.
    mean : what counts as the mean: "expected", or the paper's "annealed", which sharpens the probabilities to their
        power 1 / 0.38 first: nearer to the most probable level, without its jumps.

    Raises
    ------
    SettingError : for another mean.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> law = Quantised(levels=3)(torch.zeros(1, 6), SampleSpec((2,)))
    >>> law.nll(torch.tensor([[0.0, 0.6]])), law.mean
    (tensor([[1.0986, 1.0986]]), tensor([[0.5000, 0.5000]]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("quantized_pixels", "levels")
    support: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)
    limits = {"levels": Limit(2, 65536, whole=True)}

    def __init__(self, levels: int = 32, mean: Literal["expected", "annealed"] = "expected"):
        self.levels = levels
        self.mean = mean

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(levels=64), cls(levels=100)]

    def n_parameters(self, spec: SampleSpec) -> int:
        return self.levels * spec.n_channels

    def __call__(self, raw: Tensor, spec: SampleSpec) -> Distribution:
        self.check()
        if self.mean not in ("expected", "annealed"):
            raise SettingError(f"mean is {self.mean!r}; it must be 'expected' or 'annealed'.")
        axis = raw.ndim + spec.axis
        logits = raw.unflatten(axis, (spec.n_channels, self.levels)).movedim(axis + 1, -1)
        return _Quantised(logits.log_softmax(-1), TEMPERATURE if self.mean == "annealed" else 1.0)


class _Quantised(Distribution):
    """The levels of each value stand along an axis of their own, the last."""

    def __init__(self, log_probabilities: Tensor, temperature: float):
        self.log_probabilities = log_probabilities
        self.temperature = temperature
        self.last = log_probabilities.shape[-1] - 1

    def nll(self, target: Tensor) -> Tensor:
        level = (target * self.last).round().clamp(0, self.last).long()
        logs = self.log_probabilities
        shape = torch.broadcast_shapes(level.shape, logs.shape[:-1])
        return -logs.expand(*shape, -1).gather(-1, level.expand(shape).unsqueeze(-1)).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        logs = self.log_probabilities
        levels = torch.linspace(0, 1, self.last + 1, dtype=logs.dtype, device=logs.device)
        return (logs / self.temperature).softmax(-1) @ levels

    @property
    def point(self) -> Tensor:
        return self.log_probabilities.argmax(-1).to(self.log_probabilities) / self.last

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        logs = self.log_probabilities
        uniform = torch.rand(logs.shape, generator=generator, device=logs.device, dtype=logs.dtype)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))  # the largest log p + Gumbel is a draw
        return (logs + gumbel).argmax(-1).to(logs) / self.last
