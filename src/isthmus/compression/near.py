"""Lossy: codes as whole numbers and the laws that they are sent by, made from a trained autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.compression.codes import MIDDLE, QUALITIES, Codes, codes_of, is_discrete
from isthmus.compression.container import Opened
from isthmus.compression.context import Context, Frequencies
from isthmus.compression.forms import forms_in, give_pictures, header_of, refuse_hidden
from isthmus.compression.packed import Packing
from isthmus.compression.stack import Floats, Whole, coder
from isthmus.compression.words import give_table, given
from isthmus.data import Images, Series, Tables
from isthmus.data._image_forms import Pixels, resized, to_pixels
from isthmus.data._image_samples import ImageSamples
from isthmus.data._samples import TableSamples
from isthmus.data._series_samples import SeriesSamples
from isthmus.data._values import restored_values
from isthmus.errors import DataError
from isthmus.giving import takes_any_size
from isthmus.saving import Packed, put, take
from isthmus.training import Batch

SEEN = 2000  # training samples that laws are learned from, at most
SEEN_NUMBERS = 6_000_000  # and numbers
CHUNK_NUMBERS = 2**21  # numbers that go through the network at once, unless one sample has more


class Near:
    """Packs the codes of samples, so that they come back nearly.

    Parameters
    ----------
    model : the trained autoencoder.
    """

    def __init__(self, model: Autoencoder):
        self.model = model
        self.codes: Codes | None = None
        self.laws: dict[int, Any] = {}
        self.shares: Floats = np.ones(0)
        self.rate = float("nan")

    @property
    def _module(self) -> Any:
        return self.model.as_type(torch.float32, "cpu")

    @property
    def _singly(self) -> bool:
        """Whether each picture goes through the network alone, in its own size."""
        return bool(self.model.data_.spec.free) and takes_any_size(self.model.module_)

    @property
    def qualities(self) -> range:
        """Those that there are; discrete codes have one."""
        return range(MIDDLE, MIDDLE + 1) if is_discrete(self.model.module_) else range(QUALITIES)

    def learn(self, X: Any) -> None:
        """Steps, laws and rate, from the training data."""
        with torch.inference_mode():
            samples = self._some(X)
            if isinstance(self.model.data_, Images):
                batches = list(self._batches(samples))
            else:
                rows = np.unique(np.linspace(0, len(samples) - 1, SEEN).astype(np.int64))
                batches = [self.model.data_.batch(samples, rows, torch.float32)]
            self.codes = codes_of(self._module, batches)
            codes = [self.codes.read(batch) for batch in batches]
            for quality in self.qualities:
                grids = [self.codes.rounded(one, quality) for one in codes]
                self.laws[quality] = self._law(grids)
                if quality == MIDDLE:
                    bits = np.concatenate(self.laws[quality].push(grids)[1])
                    self.rate = float(bits.sum() / sum(_n_values(batch) for batch in batches))
        if isinstance(self.model.data_, Tables):
            present = _present(self.model.data_, given(self.model.data_, X).samples)
            self.shares = (present.sum(0) + 0.5) / (len(present) + 1)

    def _law(self, grids: list[Whole]) -> Any:
        owner: Any = self.model.module_.bottleneck
        return Frequencies.learned(grids, owner.n_codes) if owner.name() == "quantized" else Context.learned(grids)

    def _some(self, X: Any) -> Any:
        """Some of the training samples, opened."""
        data = self.model.data_
        if isinstance(data, Tables):
            return given(data, X).samples
        samples = data.open(X)
        if not isinstance(data, Images):
            return samples
        assert isinstance(samples, ImageSamples)
        rows: list[int] = []
        numbers = 0
        for place in np.random.RandomState(0).permutation(len(samples))[:SEEN].tolist():
            height, width = samples.model_size(place)
            numbers += height * width * data.spec.shape[0]
            if rows and numbers > SEEN_NUMBERS:
                break
            rows.append(place)
        return samples.select(sorted(rows))

    def _batches(self, samples: Any) -> Iterator[Batch]:
        """The samples a few at a time; pictures of several sizes one by one."""
        data = self.model.data_
        if isinstance(data, Images) and self._singly:
            for place in range(len(samples)):
                yield data.batch(samples.alone(place), np.arange(1), torch.float32)
            return
        chunk = max(1, min(1024, CHUNK_NUMBERS // data.spec.size))
        for start in range(0, len(samples), chunk):
            yield data.batch(samples, slice(start, min(start + chunk, len(samples))), torch.float32)

    # -- packing

    def pack(self, X: Any, quality: int, batch_size: int) -> Packing:
        """Samples as a header and bits."""
        assert self.codes is not None
        data = self.model.data_
        header, samples = self._opened(X)
        quality = quality if quality in self.qualities else MIDDLE
        with torch.inference_mode():
            grids, sizes = [], 0
            for batch in self._batches(samples):
                grids.append(self.codes.whole(batch, quality))
                sizes += _n_values(batch)
        payload, bits = self.laws[quality].push(grids)
        header |= {"quality": quality, "shapes": _short(grids)}
        if isinstance(data, Tables) and (absent := ~_present(data, samples)).any():
            gaps = self._push_gaps(absent)
            header["gaps"], payload = len(gaps), gaps + payload
        return Packing(header, payload, np.concatenate(bits), sizes / header["n"])

    def _opened(self, X: Any) -> tuple[dict[str, Any], Any]:
        data = self.model.data_
        if isinstance(data, Tables):
            seen = given(data, X)
            kept = {name: seen.header[name] for name in ("container", "dtype")}
            return kept | {"n": len(seen.samples)}, seen.samples
        if isinstance(data, Series):
            return _header_of_series(data, series := data.open(X)), series
        assert isinstance(data, Images)
        samples = data.open(X)
        refuse_hidden(data, samples)
        return header_of(samples), samples

    def unpack(self, opened: Opened) -> Any:
        """The samples, nearly."""
        header, payload = opened
        if "quality" not in header:
            raise DataError("the container was not written by a lossy model; give another one.")
        quality, cut = header["quality"], header.get("gaps", 0)
        grids = self.laws[quality].pop(payload[cut:], _long(header["shapes"]))
        data = self.model.data_
        if isinstance(data, Tables):
            absent = self._pop_gaps(payload[:cut], header["n"]) if cut else None
            return self._table(data, torch.cat(list(self._decoded(grids, quality, None))), absent, header)
        if isinstance(data, Series):
            x = torch.cat(list(self._decoded(grids, quality, None)))
            return _series(data.give_back(x, _samples_of(header)), header)
        assert isinstance(data, Images)
        return self._pictures(data, grids, quality, header)

    def _decoded(self, grids: list[Whole], quality: int, sizes: list[tuple[int, int]] | None) -> Iterator[Tensor]:
        """What comes out for codes, a few at a time; of pictures of several sizes each with its own."""
        assert self.codes is not None
        module, start = self._module, 0
        like = next(module.parameters())
        with torch.inference_mode():
            for grid in grids:
                codes = self.codes.values(grid, quality, like)
                weight = None
                if sizes is not None and self._singly:
                    weight = torch.ones(len(grid), module.spec.shape[0], *sizes[start])
                yield module.decode(codes, weight).mean
                start += len(grid)

    def _pictures(self, data: Images, grids: list[Whole], quality: int, header: dict[str, Any]) -> Any:
        forms = forms_in(header)
        pixels: list[Pixels] = []
        side: Any = data._sides()
        sizes: list[tuple[int, int]] = [side or form.size for form in forms]
        for x in self._decoded(grids, quality, sizes):
            for one in x:
                form, (height, width) = forms[len(pixels)], sizes[len(pixels)]
                fitted = resized(one[None, :, :height, :width], form.size)
                pixels.append(to_pixels(fitted, form.channels, data._state.extent, form.dtype)[0])
        return give_pictures(pixels, header)

    def _table(self, data: Tables, x: Tensor, absent: Any, header: dict[str, Any]) -> Any:
        layout = data._layout
        values = restored_values(x, layout, data._scaler)
        places = layout.number_columns.tolist()
        dtype = np.dtype(header["dtype"])
        numbers = np.empty((len(x), len(places)), np.float64)
        codes = np.zeros((len(x), len(layout.code_columns)), np.int32)
        for index, place in enumerate(places):
            numbers[:, index] = values[place] > 0.5 if layout.used[place].kind == "boolean" else values[place]
        for index, place in enumerate(layout.code_columns.tolist()):
            start = int(layout.starts[place])
            codes[:, index] = x[:, start : start + layout.sizes[place]].argmax(1).numpy()
        if absent is not None:
            numbers[absent[:, places]] = np.nan
            codes[absent[:, layout.code_columns.numpy()]] = -1
        whole = np.rint(numbers) if dtype.kind in "iu" else numbers
        if dtype.kind in "iu":
            whole = whole.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
        return give_table(data, whole.astype(dtype), codes, header | {"words": _no_words(data, codes)})

    # -- gaps of tables

    def _push_gaps(self, absent: Any) -> bytes:
        stream = coder()
        encoder = stream.queue.RangeEncoder()
        for share, column in zip(self.shares, absent.T, strict=True):
            encoder.encode(column.astype(np.int32), stream.model.Bernoulli(1 - share, perfect=False))
        return bytes(encoder.get_compressed().astype("<u4").tobytes())

    def _pop_gaps(self, data: bytes, n: int) -> Any:
        stream = coder()
        decoder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        return np.stack(
            [decoder.decode(stream.model.Bernoulli(1 - share, perfect=False), n) > 0 for share in self.shares], 1
        )

    # -- files

    def state(self) -> Packed:
        assert self.codes is not None
        tensors = {"centre": torch.from_numpy(self.codes.centre), "step": torch.from_numpy(self.codes.step)}
        for quality, law in self.laws.items():
            tensors |= put({name: torch.from_numpy(array) for name, array in law.arrays().items()}, f"law{quality}")
        return {"rate": self.rate}, tensors | {"shares": torch.from_numpy(self.shares)}

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.rate, self.shares = float(document["rate"]), tensors["shares"].numpy()
        self.codes = Codes(self._module, tensors["centre"].numpy(), tensors["step"].numpy())
        for quality in self.qualities:
            arrays = {name: value.numpy() for name, value in take(tensors, f"law{quality}").items()}
            self.laws[quality] = Frequencies(arrays["counts"]) if "counts" in arrays else Context.from_arrays(arrays)


def _header_of_series(data: Series, samples: SeriesSamples) -> dict[str, Any]:
    """What must be known to give series back: their container, type and lengths. Gaps come back filled."""
    if samples.n_steps > data.spec.shape[0]:
        raise DataError(
            f"the series have up to {samples.n_steps} steps, and those of training {data.spec.shape[0]}; cut them."
        )
    header: dict[str, Any] = {"n": len(samples), "container": samples.container, "dtype": samples.values[0].dtype.str}
    lengths = samples.lengths.tolist() if samples.uneven else samples.lengths[:1].tolist()
    return header | {"lengths": lengths} | ({"flat": True} if samples.flat else {})


def _samples_of(header: dict[str, Any]) -> SeriesSamples:
    """What stands in for the series that came in, whose values are not there."""
    lengths = np.array(header["lengths"])
    lengths = np.full(header["n"], lengths[0]) if len(lengths) == 1 else lengths
    return SeriesSamples([], header["container"], header.get("flat", False), lengths, int(lengths.max()))


def _series(found: Any, header: dict[str, Any]) -> Any:
    """Series in the type of their numbers."""
    dtype = np.dtype(header["dtype"])
    if isinstance(found, list):
        return [_series(one, header) for one in found]
    return (np.rint(found) if dtype.kind in "iu" else found).astype(dtype)


def _n_values(batch: Batch) -> int:
    return int(batch.x.numel() if batch.weight is None else (batch.weight > 0).sum())


def _present(data: Tables, samples: TableSamples) -> Any:
    """Which cells of each used column are there, (n, columns)."""
    layout = data._layout
    matrix = samples.numbers if isinstance(samples.numbers, np.ndarray) else samples.numbers.toarray()
    matrix = matrix if layout.taken is None else matrix[:, layout.taken.numpy()]
    found = np.ones((len(matrix), len(layout.used)), bool)
    if matrix.dtype.kind == "f":
        found[:, layout.number_columns.numpy()] = ~np.isnan(matrix)
    if samples.codes is not None:
        found[:, layout.code_columns.numpy()] = samples.codes >= 0
    return found


def _no_words(data: Tables, codes: Any) -> dict[str, list[None]]:
    """Nothing for each word that training did not know."""
    coded = [place for place, facts in enumerate(data.schema) if facts.kind == "categorical"]
    counts = {place: int((codes[:, at] == len(data.schema[place].levels)).sum()) for at, place in enumerate(coded)}
    return {str(place): [None] * count for place, count in counts.items() if count}


def _short(grids: list[Whole]) -> list[list[int]]:
    """The shapes of grids, each but once where it is repeated: [how often, n, h, w, k]."""
    found: list[list[int]] = []
    for grid in grids:
        if found and found[-1][1:] == list(grid.shape):
            found[-1][0] += 1
        else:
            found.append([1, *grid.shape])
    return found


def _long(short: list[list[int]]) -> list[tuple[int, ...]]:
    return [tuple(shape) for times, *shape in short for _ in range(times)]
