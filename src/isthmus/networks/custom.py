from __future__ import annotations

import copy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.networks.base import EncoderDecoder, Network, mask_absent, plain_chain
from isthmus.spec import SampleSpec


class Custom(Network):
    """Your own encoder and decoder, trained or not, frozen or not; also written `network=(encoder, decoder)`.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    They are used as they are, in a copy that is trained; what you passed in stays untouched. What the two share stays
    shared in the copy. Where the encoder gives another width than the bottleneck needs (a variational code needs two
    numbers per component), one linear layer is put behind it.

    Layers that were trained elsewhere are taken in as a part of either half. Those whose parameters are frozen
    (`layer.requires_grad_(False)`) stay exactly as they are: also their running statistics, and without dropout.

    Parameters
    ----------
    encoder : a module from a batch (B, ...) to (B, any width).
    decoder : a module from a batch of codes (B, n_components) to what the likelihood needs, usually the sample's shape.

    Raises
    ------
    SettingError : when the decoder's output does not have the shape that the likelihood needs.

    >>> from torch import nn
    >>> from isthmus.spec import SampleSpec
    >>> net = Custom(nn.Linear(6, 2), nn.Linear(2, 6)).build(SampleSpec((6,)), 2, 2, 6)
    >>> net.decoder(net.encoder(torch.ones(3, 6))).shape
    torch.Size([3, 6])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        self.encoder = encoder
        self.decoder = decoder

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(_ExampleEncoder(), _ExampleDecoder())]

    def code_size(self, spec: SampleSpec) -> int | None:
        return _probe(self.encoder, spec.shape)[-1]

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        module = _CustomModule()
        encoder, decoder = copy.deepcopy((self.encoder, self.decoder))  # at once, so that what they share stays shared
        module.encoder = _Encoder(encoder, spec, n_features)
        shape = list(spec.shape)
        shape[spec.channels] = n_parameters
        module.decoder = _Decoder(decoder, tuple(shape))
        return module


class _CustomModule(EncoderDecoder):
    def chain(self) -> list[tuple[nn.Linear, nn.Module]] | None:
        """Of one layer: of more, nobody notes what the inner ones give."""
        inner: Any = self.encoder.inner
        layers = list(inner) if type(inner) is nn.Sequential else [inner]
        plain = isinstance(self.encoder.head, nn.Identity) and len(layers) > 0
        return plain_chain([(layers[0], layers[1:])]) if plain else None


class _Encoder(nn.Module):
    def __init__(self, inner: nn.Module, spec: SampleSpec, n_features: int):
        super().__init__()
        self.inner = inner
        width = _probe(inner, spec.shape)[-1]
        self.head = nn.Identity() if width == n_features else nn.Linear(width, n_features)

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        hidden = self.inner(mask_absent(x, weight))
        features = self.head(hidden)
        if activations is not None:
            activations.extend([hidden] if isinstance(self.head, nn.Identity) else [hidden, features])
        return cast(Tensor, features)


class _Decoder(nn.Module):
    def __init__(self, inner: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.inner = inner
        self.shape = shape

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        raw = cast(Tensor, self.inner(code))
        if raw.shape[1:] != self.shape:
            raise SettingError(
                f"the decoder gives shape {tuple(raw.shape[1:])} for one sample; this data and likelihood need "
                f"{self.shape}."
            )
        return raw


def _probe(module: nn.Module, shape: tuple[int, ...]) -> torch.Size:
    """The shape of what a module gives for one sample."""
    if len({parameter.device for parameter in module.parameters()}) > 1:  # built without memory, but for what it holds
        module = copy.deepcopy(module).to("meta")
    parameter: Any = next(module.parameters(), torch.zeros(()))
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    with torch.no_grad():
        out = module(torch.zeros(2, *shape, dtype=parameter.dtype, device=parameter.device))
    for layer, training in modes:
        layer.training = training
    return cast(torch.Size, out.shape[1:])


class _ExampleEncoder(nn.Sequential):
    """Any width in: a small module for the contract tests."""

    def __init__(self) -> None:
        super().__init__(nn.LazyLinear(4), nn.Tanh())


class _ExampleDecoder(nn.Module):
    """As wide as the contract tests' samples."""

    def __init__(self, n_code: int = 4, n_out: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(n_code, n_out)

    def forward(self, code: Tensor) -> Tensor:
        return cast(Tensor, self.linear(code))
