from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.networks._recurrent_layers import CELLS, BothWays, Recurrence, kernels, lengths_of
from isthmus.networks.base import EncoderDecoder, Network, mask_absent
from isthmus.part import Limit
from isthmus.spec import SampleSpec

FEEDS = ("repeat", "first")


class Recurrent(Network):
    """Reads a series step by step, keeps what it remembers at the end as the code, and writes the series anew from it.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    The sequence-to-sequence autoencoder of Srivastava et al. 2015, "Unsupervised Learning of Video Representations
    using LSTMs". Samples are (steps, channels) and may differ in length: a sample ends at its last step with a present
    value, so padding of weight 0 changes neither its code nor its loss. Values absent before that are shown to the
    encoder as 0 and, where the data have gaps, it hears which ones they are.

    Take it for series whose order matters and whose lengths differ. For windows of one length without much order, or
    of hundreds of steps, dense or convolutional networks learn faster: a recurrent one goes through the steps one by
    one, and one state has to hold the whole series.

    Parameters
    ----------
    cell : "lstm" (the default; Hochreiter & Schmidhuber 1997), "gru" (Cho et al. 2014, three quarters of the weights)
        or "plain", which forgets soonest.
    hidden : units of every layer, at least 1.
    layers : layers of encoder and decoder each, at least 1.
    bidirectional : whether the encoder also reads from each sample's own end to its start.
    feed : how the decoder gets the code: "repeat" at every step (the default), "first" at the first step only, so that
        it must carry the code along.

    Raises
    ------
    SettingError : for an unknown cell or feed, a number below 1, or samples that are no series (steps, channels).

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> net = Recurrent("gru", hidden=16).build(SampleSpec((20, 3), channels=1, free=(0,)), 5, 5, 3)
    >>> code = net.encoder(torch.zeros(4, 9, 3))
    >>> code.shape, net.decoder(code, torch.ones(4, 9, 3)).shape
    (torch.Size([4, 5]), torch.Size([4, 9, 3]))
    """

    aliases = ("rnn", "seq2seq")

    limits = {"hidden": Limit(1, whole=True), "layers": Limit(1, whole=True)}

    def __init__(
        self,
        cell: str = "lstm",
        hidden: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        feed: str = "repeat",
    ):
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.feed = feed

    @classmethod
    def examples(cls) -> list[Self]:
        return [
            cls(hidden=8),
            cls("gru", hidden=6, layers=2, bidirectional=True),
            cls("plain", hidden=8, feed="first"),
            cls("lstm", hidden=6, layers=2, bidirectional=True, feed="first"),
        ]

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        self.check()
        self._check(spec)
        module = EncoderDecoder()
        module.any_size = True
        module.encoder = _Encoder(self, spec, n_features)
        module.decoder = _Decoder(self, spec, n_components, n_parameters)
        return module

    def _check(self, spec: SampleSpec) -> None:
        if len(spec.shape) != 2 or spec.channels != 1:
            raise SettingError(
                f"recurrent reads series (steps, channels), and these samples have shape {spec.shape}; use "
                "network='dense', or give series with data_type='series'."
            )
        choices: dict[str, tuple[str, ...]] = {"cell": tuple(CELLS), "feed": FEEDS}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} of recurrent is {value!r}; it must be one of {', '.join(allowed)}.")
        if not isinstance(self.bidirectional, bool):
            raise SettingError(f"bidirectional of recurrent is {self.bidirectional!r}; it must be True or False.")


class _Encoder(nn.Module):
    def __init__(self, settings: Recurrent, spec: SampleSpec, n_features: int):
        super().__init__()
        width = settings.hidden * (1 + settings.bidirectional)
        self.gaps = spec.gaps
        sizes = [spec.n_channels, *[width] * (settings.layers - 1)]
        self.layers = nn.ModuleList(
            BothWays(settings.cell, n_in, settings.hidden, settings.bidirectional, hears=n_in if first else 0)
            for n_in, first in zip(sizes, [spec.gaps, *[False] * (settings.layers - 1)], strict=True)
        )
        self.head = nn.Linear(width, n_features)

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        with kernels(x):
            return self._read(x, weight, activations)

    def _read(self, x: Tensor, weight: Tensor | None, activations: list[Tensor] | None) -> Tensor:
        lengths = lengths_of(weight)
        shown = mask_absent(x, weight)
        if self.gaps:  # beside the values the first layer hears which ones are absent
            absent = torch.zeros_like(x) if weight is None else (weight <= 0).to(x)
            shown = torch.cat([shown, absent], 2)
        hidden, told = shown.transpose(0, 1), list[Tensor]()
        for layer in self.layers:
            hidden, state = layer(hidden, lengths)
            told.append(state)
        features = cast(Tensor, self.head(state))
        if activations is not None:  # the last states: what stands in padding is nobody's
            activations += [*told, features]
        return features


class _Decoder(nn.Module):
    def __init__(self, settings: Recurrent, spec: SampleSpec, n_code: int, n_out: int):
        super().__init__()
        self.n_steps = spec.shape[0]
        self.feed = settings.feed
        sizes = [n_code, *[settings.hidden] * (settings.layers - 1)]
        self.layers = nn.ModuleList(Recurrence(settings.cell, n_in, settings.hidden) for n_in in sizes)
        self.head = nn.Linear(settings.hidden, n_out)

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        told = weight if weight is not None else previous
        hidden = self._fed(code, self.n_steps if told is None else told.shape[1])
        with kernels(code):
            for layer in self.layers:
                hidden = layer(hidden)
        return cast(Tensor, self.head(hidden)).transpose(0, 1)

    def _fed(self, code: Tensor, n_steps: int) -> Tensor:
        """What each step is given of the code, (T, B, n)."""
        if self.feed == "repeat":
            return code.expand(n_steps, -1, -1)
        return torch.cat([code[None], code.new_zeros(n_steps - 1, *code.shape)])
