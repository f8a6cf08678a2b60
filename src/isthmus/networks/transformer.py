from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.errors import DataError, SettingError
from isthmus.networks._patches import Patches, Shown, Size
from isthmus.networks._transformer_layers import POSITIONS, Block, Linear
from isthmus.networks.base import EncoderDecoder, Network, mask_absent
from isthmus.part import Limit
from isthmus.spec import SampleSpec

CHOICES = {"code": ("vector", "tokens"), "pool": ("mean", "class"), "positions": tuple(POSITIONS)}


class Transformer(Network):
    """Cuts pictures or series into patches, each of which looks at all others in every layer.

        corrupt → ENCODER → bottleneck → DECODER → likelihood

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; He et al. 2022, "Masked Autoencoders Are Scalable Vision
    Learners". A patch without any present value is not shown to the encoder at all, which costs it nothing: with
    `Masked(share=0.75, patch=4)` and patches of the same size the encoder works on a quarter of the patches. Of patches
    that are present in part it also hears which values are absent.

    A code is one vector, which the decoder spreads over all places; or, with `code="tokens"`, a vector of n_components
    at each place of the grid of patches. Hidden places then have a code of zeros, and the decoder, told by the weight,
    starts there from one learned vector. Sizes that the patch does not divide come back exactly, and with fixed
    positions pictures of several sizes and series of several lengths go in one batch: padding changes nothing.

    Take it for masked pre-training with many samples, and where distant parts of a sample belong together. With few
    samples, or where what is near says enough, `conv` learns faster.

    Parameters
    ----------
    patch : side of a patch, in pixels or steps; for pictures also (height, width).
    width : numbers of a token in the encoder, a multiple of heads.
    depth : blocks of the encoder.
    heads : parts into which attention is cut, in the encoder and in the decoder.
    decoder_depth : blocks of the decoder.
    decoder_width : numbers of a token in the decoder, a multiple of heads; None takes about half the width.
    code : "vector" (one for a sample) or "tokens" (one for each patch, (h, w, n_components) or (steps, n_components)).
    pool : where a vector comes from: "mean" (of all tokens that are shown) or "class" (an additional token).
    positions : how a token knows its place: "sine" (fixed, any size) or "learned" (one size only).
    dropout : share of what each half of a block adds that is silenced in training, at least 0 and below 1.

    Raises
    ------
    SettingError : for a setting out of range, samples without places (table rows), or learned positions for samples of
        several sizes.

    >>> import torch
    >>> net = Transformer(patch=4, width=16, heads=2, code="tokens").build(SampleSpec((1, 10, 8)), 5, 5, 1)
    >>> code = net.encoder(torch.zeros(3, 1, 10, 8))
    >>> code.shape, net.decoder(code).shape
    (torch.Size([3, 3, 2, 5]), torch.Size([3, 1, 10, 8]))
    """

    aliases = ("vit", "vision_transformer")

    limits = {
        "width": Limit(1, whole=True),
        "depth": Limit(1, whole=True),
        "heads": Limit(1, whole=True),
        "decoder_depth": Limit(1, whole=True),
        "decoder_width": Limit(1, whole=True, optional=True),
    }

    def __init__(
        self,
        patch: int | Sequence[int] = 4,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        decoder_depth: int = 1,
        decoder_width: int | None = None,
        code: str = "vector",
        pool: str = "mean",
        positions: str = "sine",
        dropout: float = 0.0,
    ):
        self.patch = patch
        self.width = width
        self.depth = depth
        self.heads = heads
        self.decoder_depth = decoder_depth
        self.decoder_width = decoder_width
        self.code = code
        self.pool = pool
        self.positions = positions
        self.dropout = dropout

    @classmethod
    def examples(cls) -> list[Self]:
        return [
            cls(patch=3, width=8, depth=1, heads=2),
            cls(patch=5, width=8, depth=2, heads=2, code="tokens"),
            cls(patch=2, width=6, depth=1, heads=1, decoder_width=4, pool="class", positions="learned", dropout=0.1),
        ]

    def check(self) -> None:
        super().check()
        sides: object = self.patch if isinstance(self.patch, (tuple, list)) else (self.patch,)
        if not sides or not all(map(Limit(1, whole=True).allows, cast(Sequence[object], sides))):
            raise SettingError(
                f"patch of transformer is {self.patch!r}; it must be a whole number of at least 1, or two for pictures."
            )
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} of transformer is {value!r}; it must be one of {', '.join(allowed)}.")
        for name in ("width", "decoder_width"):
            value = getattr(self, name)
            if value is not None and value % self.heads:
                raise SettingError(f"{name} of transformer is {value}, which heads={self.heads} does not divide.")
        if not Limit(0).allows(self.dropout) or self.dropout >= 1:
            raise SettingError(f"dropout of transformer is {self.dropout!r}; it must be at least 0 and below 1.")

    def code_size(self, spec: SampleSpec) -> int | None:
        """Each of many codes has half as many numbers as its patch, unless it is told how many."""
        return max(1, prod(self._sides(spec)) * spec.n_channels // 2) if self.code == "tokens" else None

    def build(self, spec: SampleSpec, n_features: int, n_components: int, n_parameters: int) -> EncoderDecoder:
        self.check()
        patches = Patches(spec, self._sides(spec))
        if spec.free and self.positions == "learned":
            raise SettingError(
                "these samples have several sizes, and learned positions are for one: give positions='sine', or "
                "samples of one size."
            )
        module = EncoderDecoder()
        module.any_size = True
        module.encoder = _Encoder(self, spec, patches, n_features)
        module.decoder = _Decoder(self, spec, patches, n_components, n_parameters)
        module.code_axes = 1 if self.code == "vector" else 1 + len(patches.sides)
        return module

    def _sides(self, spec: SampleSpec) -> Size:
        n_axes = len(spec.shape) - 1
        if n_axes not in (1, 2):
            raise SettingError(
                f"transformer reads pictures and series, and these samples have shape {spec.shape}; use "
                "network='dense'."
            )
        sides = tuple(self.patch) if isinstance(self.patch, (tuple, list)) else (cast(int, self.patch),) * n_axes
        if len(sides) != n_axes:
            raise SettingError(
                f"patch of transformer is {self.patch!r}; these samples need one number for each of {n_axes} axes."
            )
        return sides

    def inner_width(self) -> int:
        """Numbers of a token in the decoder."""
        return self.decoder_width or self.heads * max(1, self.width // (2 * self.heads))


class _Encoder(nn.Module):
    """(B, *shape) → (B, n_features), or (B, *grid, n_features) with one code for each patch."""

    def __init__(self, settings: Transformer, spec: SampleSpec, patches: Patches, n_features: int):
        super().__init__()
        self.patches, self.free = patches, bool(spec.free)
        self.tokens = settings.code == "tokens"
        self.one_size = not self.free and (not self.tokens or settings.positions == "learned")
        width, size = settings.width, prod(patches.sides) * spec.n_channels
        self.embed = Linear(size, width)
        self.positions = POSITIONS[settings.positions](patches.grid, width)
        self.layers = nn.ModuleList(Block(width, settings.heads, settings.dropout) for _ in range(settings.depth))
        self.normal = nn.LayerNorm(width)
        self.head = Linear(width, n_features)
        summed = settings.pool == "class" and not self.tokens
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, width)) if summed else None
        # what is heard of absent values; zero at first, so that it starts as if there were none
        self.absent = nn.Parameter(torch.zeros(width, size)) if spec.gaps else None

    def forward(self, x: Tensor, weight: Tensor | None = None, activations: list[Tensor] | None = None) -> Tensor:
        grid = self.patches.grid_of(self._sizes(x))
        shown = Shown.of(None if weight is None else self.patches.any_in(weight > 0))
        tokens = self._embedded(x, weight, shown) + shown.take(self.positions(grid, x))
        mask = _mask(shown.valid)
        if self.summary is not None:
            tokens = torch.cat([self.summary.expand(len(x), -1, -1), tokens], 1)
            mask = None if mask is None else functional.pad(mask, (1, 0), value=True)
        for layer in self.layers:
            tokens = layer(tokens, mask)
            if activations is not None:
                activations.append(tokens if self.summary is not None else shown.clear(tokens))
        features = self._features(self.normal(tokens), shown, grid)
        if activations is not None:
            activations.append(features)
        return features

    def _sizes(self, x: Tensor) -> Size:
        sizes = self.patches.sizes(x.shape)
        if self.one_size and sizes != self.patches.nominal:
            raise DataError(
                f"a sample has the sizes {sizes}, and this network is for {self.patches.nominal}; resize it, or train "
                "with code='tokens' and positions='sine'."
            )
        return sizes

    def _embedded(self, x: Tensor, weight: Tensor | None, shown: Shown) -> Tensor:
        """(B, K, width) of what is shown; nothing is computed for the rest."""
        tokens = cast(Tensor, self.embed(shown.take(self.patches.cut(mask_absent(x, weight)))))
        if self.absent is None or weight is None:
            return tokens
        absent = weight <= 0
        if self.free:  # padding is no gap
            absent = absent & ~self.patches.outside_of(weight)
        return tokens + functional.linear(shown.take(self.patches.cut(absent.to(x))), self.absent)

    def _features(self, tokens: Tensor, shown: Shown, grid: Size) -> Tensor:
        if self.tokens:
            return cast(Tensor, shown.put(self.head(tokens), prod(grid)).unflatten(1, grid))
        pooled = shown.mean(tokens) if self.summary is None else tokens[:, 0]
        return cast(Tensor, self.head(pooled))


class _Decoder(nn.Module):
    """(B, n_components), or (B, *grid, n_components), → the likelihood's numbers, (B, *shape)."""

    def __init__(self, settings: Transformer, spec: SampleSpec, patches: Patches, n_code: int, n_out: int):
        super().__init__()
        self.patches, self.free, self.tokens = patches, bool(spec.free), settings.code == "tokens"
        width = settings.inner_width()
        # of one size, a vector says something else at each place from the start
        n_places = 1 if self.tokens or self.free else prod(patches.grid)
        self.expand = nn.Linear(n_code, n_places * width)
        nn.init.normal_(self.expand.weight, std=n_code**-0.5)
        nn.init.zeros_(self.expand.bias)
        self.width = width
        self.positions = POSITIONS[settings.positions](patches.grid, width)
        self.layers = nn.ModuleList(
            Block(width, settings.heads, settings.dropout) for _ in range(settings.decoder_depth)
        )
        self.normal = nn.LayerNorm(width)
        self.raw = Linear(width, prod(patches.sides) * n_out)
        # where a hidden place starts from; zero at first, so that it draws no random number
        self.hidden = nn.Parameter(torch.zeros(width)) if spec.gaps and self.tokens else None

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        sizes = self._sizes(code, weight, previous)
        grid = self.patches.grid_of(sizes)
        outside = self.patches.outside_of(weight) if self.free and weight is not None else None
        if self.tokens:
            tokens = self._placed(self.expand(code.flatten(1, -2)), weight, outside)
        else:
            tokens = self.expand(code).unflatten(1, (-1, self.width))
        tokens = tokens + self.positions(grid, tokens)
        mask = _mask(None if outside is None else self.patches.any_in(~outside))
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.patches.join(self.raw(self.normal(tokens)), sizes)

    def _placed(self, tokens: Tensor, weight: Tensor | None, outside: Tensor | None) -> Tensor:
        """What the code says only where something was seen, and one learned vector where not.

        A patch that was seen in part gets its share of that vector.
        """
        if weight is None:
            return tokens
        visible = self.patches.any_in(weight > 0).unsqueeze(-1)
        tokens = tokens.masked_fill(~visible, 0.0)  # a code drawn at random stands there, too
        if self.hidden is None:
            return tokens
        inside = torch.ones_like(weight, dtype=torch.bool) if outside is None else ~outside
        absent, own = (
            self.patches.cut(each.to(tokens)).sum(-1, keepdim=True) for each in ((weight <= 0) & inside, inside)
        )
        return tokens + absent / own.clamp_min(1) * self.hidden

    def _sizes(self, code: Tensor, weight: Tensor | None, previous: Tensor | None) -> Size:
        """As large as the sample is, where something tells it."""
        told = weight if weight is not None else previous
        nominal = self.patches.nominal
        sizes = nominal if told is None else self.patches.sizes(told.shape)
        if not self.tokens:
            return sizes if self.free else nominal
        grid = tuple(code.shape[1:-1])
        if told is None and grid != self.patches.grid:
            sizes = tuple(count * side for count, side in zip(grid, self.patches.sides, strict=True))
        if grid != self.patches.grid_of(sizes):
            words = (" x ".join(map(str, each)) for each in (sizes, self.patches.grid_of(sizes), grid))
            raise DataError("a sample of {} has {} codes, not {}.".format(*words))
        return sizes


def _mask(valid: Tensor | None) -> Tensor | None:
    """Which tokens are looked at, (B, 1, 1, K); the first always, as a sample without any would be no number."""
    if valid is None:
        return None
    first = torch.arange(valid.shape[1], device=valid.device) == 0
    return (valid | first)[:, None, None]
