from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import SettingError
from isthmus.networks._activations import ACTIVATIONS
from isthmus.networks.base import EncoderDecoder, Network, mask_absent, plain_chain
from isthmus.spec import SampleSpec

NORMALISATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Dense(Network):
    """Fully connected layers, narrowing to the code and widening again; the decoder mirrors the encoder.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    Without hidden layers (`widths=()`) it is the linear autoencoder, which finds the subspace of the first principal
    components (Baldi & Hornik 1989). Where values may be absent the first layer also hears which ones are.

    Parameters
    ----------
    widths : units of the hidden layers from the outside in; "auto" takes two layers, wider for more columns.
    activation : relu, gelu, elu, selu, silu, leaky_relu, tanh, sigmoid or linear; of hidden layers, the code is linear.
    normalisation : None, "batch" or "layer"; of hidden layers, before the activation.
    dropout : share of hidden units silenced in training, between 0 and 1.
    tied : the decoder uses the encoder's weights transposed, with biases of its own, which halves the parameters.

    Raises
    ------
    SettingError : for an unknown activation or normalisation, a dropout that is no share, or a width below 1.

    >>> from isthmus.spec import SampleSpec
    >>> net = Dense(widths=(16,)).build(SampleSpec((10,)), 3, 3, 10)
    >>> sum(p.numel() for p in net.parameters())
    461
    """

    def __init__(
        self,
        widths: Sequence[int] | str = "auto",
        activation: str = "gelu",
        normalisation: str | None = None,
        dropout: float = 0.0,
        tied: bool = False,
    ):
        self.widths = widths
        self.activation = activation
        self.normalisation = normalisation
        self.dropout = dropout
        self.tied = tied

    @classmethod
    def examples(cls) -> list[Self]:
        return [
            cls(widths=(12, 8)),
            cls(widths=()),
            cls(widths=(12, 8), activation="tanh", tied=True),
            cls(widths=(8,), normalisation="batch", dropout=0.1),
            cls(widths=(8,), normalisation="layer"),
        ]

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        self._check()
        return _DenseModule(self, spec, self._widths(spec), n_features, n_components, n_parameters)

    def _widths(self, spec: SampleSpec) -> tuple[int, ...]:
        if isinstance(self.widths, str):
            first = min(512, max(64, 2 * spec.size))
            return (first, first // 2)
        return tuple(self.widths)

    def _check(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}.")
        if self.normalisation is not None and self.normalisation not in NORMALISATIONS:
            raise SettingError(f"normalisation is {self.normalisation!r}; it must be None, 'batch' or 'layer'.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout!r}; it must be at least 0 and below 1.")
        if isinstance(self.widths, str) and self.widths != "auto":
            raise SettingError(f"widths is {self.widths!r}; it must be 'auto' or whole numbers such as (128, 64).")
        if not isinstance(self.widths, str) and any(width < 1 for width in self.widths):
            raise SettingError(f"widths is {tuple(self.widths)}; every hidden layer needs at least one unit.")


class _Layer(nn.Module):
    """Linear, then normalisation, activation and dropout; a bare linear layer where `plain`."""

    def __init__(self, settings: Dense, n_in: int, n_out: int, plain: bool = False, tied_to: nn.Linear | None = None):
        super().__init__()
        self.linear: nn.Module = nn.Linear(n_in, n_out) if tied_to is None else _Transposed(tied_to, n_in, n_out)
        after: list[nn.Module] = []
        if not plain:
            if settings.normalisation is not None:
                after.append(NORMALISATIONS[settings.normalisation](n_out))
            after.append(ACTIVATIONS[settings.activation]())
            if settings.dropout:
                after.append(nn.Dropout(settings.dropout))
        self.after = nn.Sequential(*after)

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        hidden = self.linear(x)
        if extra is not None:
            hidden = hidden + extra
        for step in self.after:
            if isinstance(step, nn.BatchNorm1d) and step.training and len(hidden) == 1:
                hidden = _by_running_statistics(step, hidden)
            else:
                hidden = step(hidden)
        return cast(Tensor, hidden)


def _by_running_statistics(norm: nn.BatchNorm1d, hidden: Tensor) -> Tensor:
    """One row has no spread of its own to normalise by."""
    return functional.batch_norm(hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


class _Transposed(nn.Module):
    """A linear layer that uses another layer's weight the other way round. The weight stays the other's own."""

    def __init__(self, source: nn.Linear, n_in: int, n_out: int):
        super().__init__()
        self._source = [source]  # in a list, so that the shared weight is registered once
        self.n_in = n_in
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        weight = self._source[0].weight[: self.n_in]  # (code, inner): of a mean and a variance, the mean's rows
        return functional.linear(x, weight.t(), self.bias)


class _DenseModule(EncoderDecoder):
    def __init__(
        self, settings: Dense, spec: SampleSpec, widths: tuple[int, ...], n_features: int, n_code: int, n_out: int
    ):
        super().__init__()
        self.encoder = _Encoder(settings, spec, [spec.size, *widths, n_features])
        positions = spec.size // spec.n_channels
        self.decoder = _Decoder(settings, spec, [n_code, *reversed(widths), n_out * positions], self.encoder)

    def stages(self) -> list[tuple[nn.Module, nn.Module]]:
        return list(zip(self.encoder.layers, reversed(list(self.decoder.layers)), strict=True))  # type: ignore[arg-type]

    def chain(self) -> list[tuple[nn.Linear, nn.Module]] | None:
        return plain_chain((layer.linear, layer.after) for layer in cast(Any, self.encoder).layers)


class _Encoder(nn.Module):
    def __init__(self, settings: Dense, spec: SampleSpec, sizes: list[int]):
        super().__init__()
        last = len(sizes) - 2
        self.layers = nn.ModuleList(
            _Layer(settings, n_in, n_out, plain=index == last)
            for index, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
        )
        # what the first layer hears of absent values; zero at first, so that it starts as if there were none
        self.absent = nn.Parameter(torch.zeros(sizes[1], sizes[0])) if spec.gaps else None

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        hidden = mask_absent(x, weight).flatten(1)
        extra = None
        if self.absent is not None and weight is not None:
            extra = functional.linear((weight <= 0).to(x).flatten(1), self.absent)
        for layer in self.layers:
            hidden = layer(hidden, extra)
            extra = None
            if activations is not None:
                activations.append(hidden)
        return hidden


class _Decoder(nn.Module):
    def __init__(self, settings: Dense, spec: SampleSpec, sizes: list[int], encoder: _Encoder):
        super().__init__()
        shape = list(spec.shape)
        shape[spec.channels] = sizes[-1] // (spec.size // spec.n_channels)
        self.shape = tuple(shape)
        mirror = [cast(nn.Linear, cast(_Layer, layer).linear) for layer in reversed(encoder.layers)]
        last = len(sizes) - 2
        self.layers = nn.ModuleList()
        for index, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            fits = settings.tied and mirror[index].in_features == n_out  # two numbers per element cannot be tied
            tied_to = mirror[index] if fits else None
            self.layers.append(_Layer(settings, n_in, n_out, plain=index == last, tied_to=tied_to))

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        hidden = code
        for layer in self.layers:
            hidden = layer(hidden)
        return cast(Tensor, hidden.unflatten(1, self.shape))
