"""Network: which layers. Builds a module with an encoder and a decoder.

Axes: B samples of a batch, *spec.shape one sample; features are (B, ..., n_features), codes (B, ..., n_components).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from torch import Tensor, nn

from isthmus.part import Part
from isthmus.spec import SampleSpec


class EncoderDecoder(nn.Module):
    """What a network builds.

    `encoder(x, weight=None, activations=None)` gives features and appends the output of each of its layers to
    `activations` where a list is given; `decoder(code, weight=None, previous=None)` gives the likelihood's raw numbers.
    """

    encoder: nn.Module
    decoder: nn.Module
    #: How many axes one code has: 1 for a vector, 3 for a grid of codes.
    code_axes: int = 1
    #: Whether it takes samples of any size along the free axes, although one code is as long as the other.
    any_size: bool = False
    #: How far from an element of the output the elements lie that it depends on, at most, along the free axes; None
    #: where it depends on the whole sample.
    reach: int | None = None
    #: The steps by which a sample must move along the free axes to give the same output, moved.
    stride: int = 1

    def stages(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs (encoder layer, the decoder layer that undoes it) from the outside in, for greedy pre-training."""
        return []

    def chain(self) -> list[tuple[nn.Linear, nn.Module]] | None:
        """The encoder as linear layers, each with the element-wise activation behind it; None where it is more.

        It notes what each of them gives in `activations`.
        """
        return None


class Network(Part):
    """Settings of a network; `build` makes its module."""

    kind: ClassVar[str] = "networks"
    #: The decoder makes a sample step by step, from what it made before.
    autoregressive: ClassVar[bool] = False

    @abstractmethod
    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        """A module from samples of this spec to features, and from codes to `n_parameters` along the channel axis."""

    def code_size(self, spec: SampleSpec) -> int | None:
        """How many numbers a code must have, where the network leaves no choice."""
        return None


def plain_chain(layers: Iterable[tuple[Any, Any]]) -> list[tuple[nn.Linear, nn.Module]] | None:
    """Linear layers and the modules behind each as a chain; None where one is not linear or more stands behind it.

    >>> [type(after).__name__ for _, after in plain_chain([(nn.Linear(2, 3), [nn.Tanh()]), (nn.Linear(3, 1), [])])]
    ['Tanh', 'Identity']
    """
    found = [(linear, *after) if len(after) else (linear, nn.Identity()) for linear, after in layers]
    plain = all(len(layer) == 2 and type(layer[0]) is nn.Linear for layer in found)  # one that is derived may do more
    return found if plain else None


def mask_absent(x: Tensor, weight: Tensor | None) -> Tensor:
    """The sample with its absent values at zero, so that whatever stood there cannot leak into the code."""
    return x if weight is None else x.masked_fill(weight <= 0, 0.0)  # a product would keep NaN
