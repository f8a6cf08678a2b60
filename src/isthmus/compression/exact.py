"""Lossless: symbols and the chain of bits back, made from a trained autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.compression.chain import Chain, fineness_of, one_thread, posterior
from isthmus.compression.choices import refuse_prior
from isthmus.compression.container import Opened
from isthmus.compression.packed import Packing
from isthmus.compression.pictures import PictureAlphabet
from isthmus.compression.symbols import Alphabet
from isthmus.compression.tables import TableAlphabet
from isthmus.data import Images
from isthmus.errors import DataError
from isthmus.saving import Packed, put, take

SEEN = 1000  # training samples that grids and rates are taken from
RATED = 200
USUAL_BATCH = 64  # which a header need not say


class Exact:
    """Packs samples so that they come back exactly.

    Parameters
    ----------
    model : the trained autoencoder.
    precision : of numbers of a table, in standard deviations; 0 for exactly.
    """

    def __init__(self, model: Autoencoder, precision: float):
        self.model, data = model, model.data_
        self.alphabet: Any = PictureAlphabet(data) if isinstance(data, Images) else TableAlphabet(data, precision)  # type: ignore[arg-type]
        self.fineness = np.zeros(0, np.int64)
        self.rate = float("nan")

    @property
    def qualities(self) -> range:
        """None: there is only one way to lose nothing."""
        return range(0)

    def learn(self, X: Any) -> None:
        """Symbols, grids and rate, from the training data."""
        module = self.model.as_type(torch.float64, "cpu")
        refuse_prior(module)
        self.alphabet.learn(X)
        if isinstance(self.alphabet, PictureAlphabet):
            self.alphabet.check(module.likelihood)
        symbols = self.alphabet.some(X, SEEN)
        with one_thread():
            x, weight = self.alphabet.batch(symbols)
            means, deviations = posterior(module, x, weight)
            self.fineness = fineness_of(deviations)
            if isinstance(self.alphabet, TableAlphabet):
                every = slice(0, None, max(1, len(x) // RATED))
                codes = torch.from_numpy(means[every]).reshape(-1, *self.model.code_density_.shape)
                self.alphabet.weigh(module.decode(codes), symbols.rows(every))
        few = symbols.rows(slice(0, None, max(1, len(symbols) // RATED)))
        coded = self._chain(bool((~few.present).any()), 64).push(few)
        self.rate = float(coded.bits.mean() / few.values.shape[1])

    def _chain(self, gaps: bool, batch_size: int) -> Chain:
        module, alphabet = self.model.as_type(torch.float64, "cpu"), self.alphabet
        assert isinstance(alphabet, Alphabet)
        return Chain(module, alphabet, self.fineness, gaps, batch_size)

    def pack(self, X: Any, quality: int, batch_size: int) -> Packing:
        """Samples as a header and bits."""
        symbols, header = self.alphabet.read(X)
        coded = self._chain(header.get("gaps", False), batch_size).push(symbols)
        header |= {"n": len(symbols), "kept": coded.kept}
        header |= {"block": batch_size} if batch_size != USUAL_BATCH else {}
        n_values = symbols.values.shape[1]
        return Packing(header, coded.words.astype("<u4").tobytes(), coded.bits, n_values, coded.start)

    def unpack(self, opened: Opened) -> Any:
        """The samples again."""
        header, payload = opened
        try:
            kept, n = header["kept"], header["n"]
            block, gaps = header.get("block", USUAL_BATCH), header.get("gaps", False)
        except KeyError as error:
            raise DataError("the container was not written by a lossless model; give another one.") from error
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        return self.alphabet.write(self._chain(gaps, block).pop(words, kept, n), header)

    def state(self) -> Packed:
        document, tensors = self.alphabet.state()
        own = {"fineness": torch.from_numpy(self.fineness)}
        return {"rate": self.rate, "alphabet": document}, own | put(tensors, "alphabet")

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.rate, self.fineness = float(document["rate"]), tensors["fineness"].numpy()
        self.alphabet.restore(document["alphabet"], take(tensors, "alphabet"))
