"""Pictures as symbols: each value is one of the levels that pictures of this kind can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.compression.forms import give_pictures, header_of, refuse_hidden
from isthmus.compression.stack import Floats, Keys, Whole, whole_tables
from isthmus.compression.symbols import Alphabet, Symbols
from isthmus.data import Images
from isthmus.data._image_forms import Pixels, to_tensor
from isthmus.data._image_samples import ImageSamples
from isthmus.errors import DataError, SettingError
from isthmus.likelihoods import Bernoulli
from isthmus.likelihoods.base import Distribution, Likelihood
from isthmus.saving import Packed

MOST_LEVELS = 1024  # of floats and wide whole numbers
FEW_LEVELS = 16  # up to here only levels that were seen count, of whatever type
SOME_LEVELS = 16  # whose probabilities are computed at once
CHUNK = 256  # pictures that are looked at together


class PictureAlphabet(Alphabet):
    """Values of pictures of one size as symbols.

    Parameters
    ----------
    data : the data type that has seen the training pictures.
    """

    def __init__(self, data: Images):
        self.data = data
        self.dtype = np.dtype(data._state.form.dtype)
        self.levels: Pixels = np.zeros(0, self.dtype)

    # -- learning

    def learn(self, X: Any) -> None:
        """The levels that values have."""
        samples = self._opened(X)
        gone = np.zeros(int(np.prod(self.data.spec.shape)))
        found: Pixels = np.zeros(0, self.dtype)
        for pixels in self._chunks(samples):
            if pixels.dtype.kind == "f":
                gone += np.isnan(_flat(pixels)).sum(0)
                pixels = pixels[~np.isnan(pixels)]
            found = np.union1d(found, np.unique(pixels))
            if len(found) > MOST_LEVELS and self.dtype.name not in ("uint8", "uint16"):
                raise DataError(
                    f"the pictures hold more than {MOST_LEVELS:,} different values, too many to be given back exactly; "
                    "give them as uint8 or uint16, or take mode='lossy'."
                )
        if self.dtype.name in ("uint8", "uint16") and len(found) > FEW_LEVELS:
            found = np.arange(np.iinfo(self.dtype).max + 1).astype(self.dtype)
        self.levels = found.astype(self.dtype)
        self.shares = 1 - (gone + 0.5 * (gone.sum() > 0)) / (len(samples) + 1)
        self._finish()

    def _finish(self) -> None:
        """Levels are coded in bins of one, or of 256 where there are 65,536."""
        self.width = 256 if len(self.levels) > MOST_LEVELS else 1
        middles = self.levels[self.width // 2 :: self.width]
        extent = self.data._state.extent
        self.x = to_tensor(self.levels[None, :, None, None], 1, extent, torch.float64).flatten()
        self.targets = to_tensor(middles[None, :, None, None], 1, extent, torch.float64).flatten()
        self.size = len(middles) * self.data.spec.size

    def check(self, likelihood: Likelihood) -> None:
        """A sentence for a likelihood that has no probability for these levels."""
        ends = bool(((self.x == 0) | (self.x == 1)).all())
        if type(likelihood) is Bernoulli and not ends:
            raise SettingError(
                f"the likelihood bernoulli codes black and white, and these pictures have {len(self.levels)} levels; "
                "take discretised_logistic or beta_binomial, or give black and white as True and False."
            )

    # -- pictures and symbols

    def some(self, X: Any, most: int) -> Symbols:
        samples = self._opened(X)
        rows = np.unique(np.linspace(0, len(samples) - 1, most).astype(np.int64))
        return Symbols.joined([self._symbols(pixels) for pixels in self._chunks(samples.select(rows.tolist()))])

    def read(self, X: Any) -> tuple[Symbols, dict[str, Any]]:
        samples = self._opened(X)
        parts = [self._symbols(pixels) for pixels in self._chunks(samples)]
        symbols = Symbols.joined(parts)
        return symbols, header_of(samples) | ({} if symbols.present.all() else {"gaps": True})

    def _opened(self, X: Any) -> ImageSamples:
        samples = self.data.open(X)
        refuse_hidden(self.data, samples)
        for form in samples.source.forms():
            name = form.name or "a picture"
            if form.channels != self.data.spec.shape[0]:
                seen = self.data.spec.shape[0]
                raise DataError(
                    f"{name} has {form.channels} channels and the model sees {seen}, so that it cannot come back "
                    "exactly; convert it, or fit with mode='lossy'."
                )
            if form.dtype != self.dtype.name:
                raise DataError(f"{name} holds {form.dtype}, and training had {self.dtype.name}; convert it.")
            if samples.size not in (None, form.size):
                raise DataError(
                    f"{name} would be resized to {samples.size}, and not come back exactly; leave size out."
                )
        return samples

    def _chunks(self, samples: ImageSamples) -> Iterator[Pixels]:
        """A few pictures at a time, (m, h, w, c)."""
        for start in range(0, len(samples), CHUNK):
            pixels = samples.pixels(np.arange(start, min(start + CHUNK, len(samples))))
            yield pixels if isinstance(pixels, np.ndarray) else np.stack(pixels)

    def _symbols(self, pixels: Pixels) -> Symbols:
        values = _flat(pixels)
        present = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        values = np.where(present, values, self.levels[0])
        places = np.searchsorted(self.levels, values).clip(max=len(self.levels) - 1)
        odd = self.levels[places] != values
        if odd.any():
            raise DataError(
                f"a picture holds the value {values[odd][0]}, which is none of the {len(self.levels):,} that training "
                "had; fit with pictures that have it, or with mode='lossy'."
            )
        plain = (places % self.width).astype(np.uint64) if self.width > 1 else None
        return Symbols((places // self.width).astype(np.int16), plain, present)

    def _places(self, symbols: Symbols) -> Whole:
        """Which level each value has."""
        if self.width == 1 or symbols.plain is None:
            return symbols.values.astype(np.int64)
        return symbols.values.astype(np.int64) * self.width + symbols.plain.astype(np.int64)

    def write(self, symbols: Symbols, header: dict[str, Any]) -> Any:
        values = self.levels[self._places(symbols)]
        if not symbols.present.all():
            values[~symbols.present] = np.nan
        channels, height, width = self.data.spec.shape
        pixels = values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return give_pictures(list(np.ascontiguousarray(pixels)), header)

    # -- laws

    def batch(self, symbols: Symbols) -> tuple[Tensor, Tensor | None]:
        x = self.x[torch.from_numpy(self._places(symbols))].reshape(-1, *self.data.spec.shape)
        if symbols.present.all():
            return x, None
        weight = torch.from_numpy(symbols.present).reshape(x.shape).to(x)
        return x * weight, weight

    def tables(self, law: Distribution, n: int) -> Iterator[tuple[slice, Floats]]:
        shape = (1, *(1 for _ in self.data.spec.shape))
        logs = []
        for start in range(0, len(self.targets), SOME_LEVELS):
            some = self.targets[start : start + SOME_LEVELS]
            targets = some.reshape(-1, *shape).expand(-1, n, *self.data.spec.shape)
            logs.append(-law.nll(targets).flatten(2))
        probabilities = torch.cat(logs).softmax(0).permute(1, 2, 0).contiguous()
        yield slice(None), whole_tables(probabilities.numpy())

    def last(self, cells: slice, values: Whole) -> Keys | None:
        return None if self.width == 1 else np.full(values.shape, self.width - 1, np.uint64)

    # -- files

    def state(self) -> Packed:
        levels = self.levels.astype(np.float64 if self.dtype.kind == "f" else np.int64)
        return {}, {"levels": torch.from_numpy(levels), "shares": torch.from_numpy(self.shares)}

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.levels, self.shares = tensors["levels"].numpy().astype(self.dtype), tensors["shares"].numpy()
        self._finish()


def _flat(pixels: Pixels) -> Pixels:
    """(n, h, w, c) as the tensor has them, (n, c x h x w)."""
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
