from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.compression import rivals
from isthmus.compression.choices import choose
from isthmus.compression.codes import QUALITIES
from isthmus.compression.container import fingerprint, seal, unseal
from isthmus.compression.exact import Exact
from isthmus.compression.near import Near
from isthmus.compression.packed import Packing
from isthmus.compression.stack import Floats, coder
from isthmus.data import Images, Tables
from isthmus.data._frames import is_path
from isthmus.errors import DataError, SettingError
from isthmus.saving import Packed
from isthmus.tasks.base import Answer, Task
from isthmus.words import counted

SHOWN = 10
CHUNK = 256


class Compressor(Task):
    """Makes few bytes of tables and pictures, and the same tables and pictures of the bytes.

        corrupt → encoder → BOTTLENECK → decoder → LIKELIHOOD, as real bits

    Lossless by bits back: a variational autoencoder says how likely each value is, an entropy coder spends as few bits
    on it, and the freedom in choosing a code is paid back. Nothing is lost: words, gaps, dates, whole numbers and
    floats come back as they were. Lossy: the code alone, rounded to whole numbers, is coded, and what the decoder makes
    of it comes back; for photos.

    The bytes can only be read with the model that wrote them, which is not among them: it pays where many samples of
    one kind are kept or sent. They begin with a header and a checksum; what is cut off, altered or of another model is
    refused. Samples depend on those before them, so they come back all together.

    Townsend, Bird & Barber 2019, "Practical Lossless Compression with Latent Variables using Bits Back Coding" (ICLR);
    Ballé et al. 2017, "End-to-end Optimized Image Compression" (ICLR), for rounded codes.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; "lossless" needs variant="variational". Left out, it is chosen by
        the data: variational, dense for tables and small pictures, a grid of codes for photos.
    mode : "lossless", "lossy", or "auto": lossless for tables and for pictures of one size up to 64 x 64 pixels, lossy
        for others; an autoencoder that is not variational is lossy.
    precision : lossless tables: how far numbers that are not whole may be off, in standard deviations of their column;
        0 gives every float back exactly, most of whose digits are noise to any model.
    quality : lossy: from 0, the fewest bytes, to 9, the closest; one step is half a bit for each number of the code
        that matters. `compress` takes another one where it is given.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; lossless_ : whether samples come back exactly.
    rate_ : bits per value that training samples take, by the coder's own probabilities; lossy ones at quality 5.

    Raises
    ------
    SettingError : for a mode that the autoencoder cannot have, or a setting out of range.
    DataError : for data that cannot be compressed, and for bytes that are damaged or not of this model.
    MissingExtraError : without constriction: pip install 'isthmus[compress]'.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Compressor
    >>> random = np.random.default_rng(0)
    >>> X = np.round(random.normal(size=(800, 1)) * [5, 4, 3, 2, 1] + random.normal(size=(800, 5)) / 5, 1)
    >>> model = Compressor(random_state=0).fit(X[:600])
    >>> blob = model.compress(X[600:])
    >>> len(blob) < 0.2 * X[600:].nbytes, np.array_equal(model.decompress(blob), X[600:])
    (True, True)
    """

    verbs = ("compress", "decompress")
    packs: ClassVar[bool] = True

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        mode: Literal["auto", "lossless", "lossy"] = "auto",
        precision: float = 0.0,
        quality: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.mode = mode
        self.precision = precision
        self.quality = quality
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, then learn from it how to write codes and values down. y is ignored."""
        coder()
        self._quality(self.quality)
        if not isinstance(self.precision, (int, float)) or isinstance(self.precision, bool) or self.precision < 0:
            raise SettingError(f"precision is {self.precision!r}; it must be a number of at least 0.")
        model, self.lossless_ = self._chosen(X)
        self.autoencoder_ = model.fit_rows(X)
        self.autoencoder_.data_.owner = type(self).__name__
        self._packer = self._make()
        self._packer.learn(self._read(X))
        return self

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        return self._chosen(X)[0]

    def _chosen(self, X: Any) -> tuple[Autoencoder, bool]:
        """The unfitted autoencoder, and whether it is to code exactly."""
        model = self._fresh()
        data = fitting.data_type(model.data_type, X, type(self).__name__)
        exact = choose(model, data, X, self.mode)
        if self.precision > 0 and not (exact and isinstance(data, Tables)):
            raise SettingError(f"precision is {self.precision:g}, and it is for lossless tables; leave it out here.")
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model, exact

    def _make(self) -> Exact | Near:
        return Exact(self.autoencoder_, self.precision) if self.lossless_ else Near(self.autoencoder_)

    @property
    def rate_(self) -> float:
        """Bits per value that training samples take."""
        check_is_fitted(self)
        return self._packer.rate

    # -- verbs

    def compress(self, X: Any, quality: int | None = None, batch_size: int = 64) -> bytes:
        """The samples as bytes.

        Parameters
        ----------
        X : the data.
        quality : of a lossy model, from 0 to 9; None takes the model's own.
        batch_size : of a lossless model, how many samples are coded at once, at most; any number can be read back.
        """
        check_is_fitted(self)
        return self._sealed(self._packed(X, quality, batch_size))

    def decompress(self, data: bytes) -> Any:
        """The samples again, in the type that they came in. Raises DataError for bytes that it did not write."""
        check_is_fitted(self)
        opened = unseal(data, self._fingerprint())
        try:
            return self._packer.unpack(opened)
        except DataError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AssertionError) as error:
            raise DataError(
                "the container holds something else than compress writes; compress the data again."
            ) from error

    def answer(self, X: Any, quality: int | None = None) -> Answer:
        """The samples as bytes, how many bytes each takes, how far it is off, and what others make of the same data.

        Parameters
        ----------
        X : the data.
        quality : of a lossy model, from 0 to 9; none takes the model's own.
        """
        check_is_fitted(self)
        X = self._read(X)
        packing = self._packed(X, quality)
        blob = self._sealed(packing)
        table = pl.DataFrame({"row": np.arange(len(packing.bits)), "bytes": packing.bits / 8})
        if names := packing.header.get("names"):
            table.insert_column(1, pl.Series("file", names, dtype=pl.String))
        errors = self._errors(X, self.decompress(blob))
        if not self.lossless_ or self.precision > 0:
            table = table.with_columns(pl.Series("error", errors))
        headline = self._headline(X, packing, blob, errors)
        largest = table.sort("bytes", descending=True)[:SHOWN]
        return Answer(table, headline, largest, blob, self.autoencoder_.data_.unit)

    # -- on the way

    def _read(self, X: Any) -> Any:
        """Data that need not be read again."""
        data = self.autoencoder_.data_
        if isinstance(data, Images):
            return data.open(X)
        return data.read_more(X) if is_path(X) else X

    def _packed(self, X: Any, quality: int | None = None, batch_size: int = 64) -> Packing:
        if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool) or batch_size < 1:
            raise SettingError(f"batch_size is {batch_size!r}; it must be a whole number of at least 1.")
        wanted = self._quality(self.quality if quality is None else quality)
        if quality is not None and wanted not in self._packer.qualities:
            why = "nothing is lost" if self.lossless_ else "the codes of this autoencoder are whole numbers already"
            raise SettingError(f"quality is {quality}, and {why}; leave it out.")
        return self._packer.pack(self._read(X), wanted, int(batch_size))

    def _quality(self, given: Any) -> int:
        if not isinstance(given, (int, np.integer)) or isinstance(given, bool) or not 0 <= given < QUALITIES:
            raise SettingError(f"quality is {given!r}; it must be a whole number from 0 to {QUALITIES - 1}.")
        return int(given)

    def _sealed(self, packing: Packing) -> bytes:
        return seal(packing.header, packing.payload, self._fingerprint())

    def _fingerprint(self) -> bytes:
        """Of all that decides how bits are read."""
        document, tensors = self._learned()
        _, weights = self.autoencoder_._pack()
        weights = {name: value for name, value in weights.items() if name.startswith(("module.", "data."))}
        return fingerprint(document, tensors | weights)

    def _errors(self, X: Any, back: Any) -> Floats:
        """The root mean square of the differences, in the units that the network sees, (n_samples,)."""
        data = self.autoencoder_.data_
        found = []
        for one, other in zip(_batches(data, data.open(X)), _batches(data, data.open(back)), strict=True):
            here = torch.ones_like(one.x) if one.weight is None else one.weight
            squares = ((one.x - other.x) * here).square().flatten(1).sum(1)
            found.append((squares / here.flatten(1).sum(1).clamp_min(1)).sqrt())
        return torch.cat(found).double().numpy()

    def _headline(self, X: Any, packing: Packing, blob: bytes, errors: Floats) -> str:
        data = self.autoencoder_.data_
        n, pictures = len(packing.bits), rivals.pixels_of(X) if isinstance(data, Images) else None
        raw = rivals.raw_bytes(X) if pictures is None else b"".join(one.tobytes() for one in pictures)
        rate = 8 * len(blob) / max(1.0, n * packing.n_values)
        size = "" if raw is None or (pictures and len(pictures) < n) else f" of {len(raw):,} bytes"
        said = f"{counted(n, data.unit).capitalize()}{size} became {len(blob):,} bytes, {rate:.3g} bits a value"
        off = self._off(errors)
        if pictures is not None and not self.lossless_:
            overhead = (len(blob) - packing.bits.sum() / 8) / n
            jpeg = rivals.jpeg_error(pictures, [bits / 8 + overhead for bits in packing.bits[: len(pictures)]])
            beside = "" if jpeg is None else f"; JPEG in as many is off by {np.sqrt(jpeg):.3g}"
            return f"{said}{off}{beside}."
        named = {} if raw is None or (pictures and len(pictures) < n) else rivals.general(raw)
        if pictures and (png := rivals.png(pictures)) is not None:
            named["PNG"] = png
        others = ", ".join(f"{name} {size:,}" for name, size in named.items())
        return f"{said}{off}" + (f"; {others}." if others else ".")

    def _off(self, errors: Floats) -> str:
        """How far samples are off, where they may be, as the end of a clause."""
        if self.lossless_ and self.precision == 0:
            return ", and nothing is lost"
        unit = "the way from black to white" if isinstance(self.autoencoder_.data_, Images) else "a standard deviation"
        return f", off by {np.sqrt(np.square(errors).mean()):.3g} of {unit}"

    # -- files

    def _learned(self) -> Packed:
        document, tensors = self._packer.state()
        return {"lossless": self.lossless_} | document, tensors

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.lossless_ = bool(learned["lossless"])
        self._packer = self._make()
        self._packer.restore(learned, tensors)


def _batches(data: Any, samples: Any) -> Iterator[Any]:
    """Samples as tensors, a few at a time; pictures of several sizes one by one."""
    if isinstance(data, Images) and not samples.uniform:
        yield from (data.batch(samples.alone(place), np.arange(1)) for place in range(len(samples)))
        return
    chunk = max(1, CHUNK if isinstance(data, Tables) else min(CHUNK, 2**21 // data.spec.size))
    for start in range(0, len(samples), chunk):
        yield data.batch(samples, slice(start, min(start + chunk, len(samples))))
