"""Tables as symbols: levels of categories, yes and no, and bins of numbers with the rest in plain bits.

The law of a cell is the model's, mixed with how often each symbol was there in training: so a cell never costs much
more than it would without a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from isthmus.compression.rulers import Cells, Ruler, any_key, any_value, softmax
from isthmus.compression.stack import Floats, Keys, Whole, whole_tables
from isthmus.compression.symbols import Alphabet, Symbols
from isthmus.compression.words import Given, give_table, given
from isthmus.data import Tables
from isthmus.data._samples import TableSamples
from isthmus.errors import DataError
from isthmus.likelihoods.base import Distribution
from isthmus.saving import Packed

WEIGHTS = np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])  # of the model in a cell's law
SHOWN = 64  # bins whose densities are computed at once


class TableAlphabet(Alphabet):
    """Cells of tables as symbols.

    Parameters
    ----------
    data : the data type with the schema that it learned.
    precision : the largest error of a number that is not whole, in standard deviations of its column; 0 for none.
    """

    def __init__(self, data: Tables, precision: float):
        self.data, self.precision = data, precision
        layout = data._layout
        self.numbers = layout.number_columns.numpy()
        self.codes = layout.code_columns.numpy()
        self.columns: list[Cells] = []

    # -- learning

    def learn(self, X: Any) -> None:
        """Rulers and bins, from the training data."""
        seen = given(self.data, X)
        matrix, layout = self._numbers(seen.samples), self.data._layout
        rulers = dict(zip(self.numbers.tolist(), self._rulers(matrix), strict=True))
        for place, facts in enumerate(layout.used):
            start = int(layout.starts[place])
            elements = slice(start, start + layout.sizes[place])
            self.columns.append(Cells(facts.name, rulers.get(place), elements, np.ones(1)))
        symbols = self._symbols(seen, matrix)
        for place, cells in enumerate(self.columns):
            found = symbols.values[symbols.present[:, place], place]
            counts = np.bincount(found, minlength=self._n_symbols(place)) + 0.1
            cells.usual = counts / counts.sum()
        self.shares = (symbols.present.sum(0) + 0.5) / (len(symbols) + 1)
        self._finish()

    def _rulers(self, matrix: Any) -> list[Ruler | None]:
        found: list[Ruler | None] = []
        for index, place in enumerate(self.numbers):
            facts, values = self.data._layout.used[place], matrix[:, index]
            if facts.kind == "boolean":
                found.append(None)
                continue
            step = 0.0 if facts.kind == "date" else 2 * self.precision * facts.standard_deviation
            found.append(Ruler.of(values[~np.isnan(values)] if values.dtype.kind == "f" else values, step))
        even = self._even(matrix)
        for index, ruler in enumerate(found):
            if ruler is not None:
                values = matrix[:, index]
                values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
                ruler.set_edges(ruler.keys(values)[0], ruler.keys(even[:, index])[0])
        return found

    def _even(self, matrix: Any) -> Floats:
        """Values that are evenly spread once they are scaled, (m, d), a little beyond the range of training."""
        wide = matrix.astype(np.float64)
        ends = np.stack([np.nanmin(wide, 0), np.nanmax(wide, 0)]) if wide.shape[1] else np.zeros((2, 0))
        low, high = self.data._scaler.forward_(torch.from_numpy(ends)).numpy()
        room = (high - low) / 8
        even = np.linspace(low - room, high + room, 128)
        return self.data._scaler.inverse(torch.from_numpy(even)).numpy()

    def _finish(self) -> None:
        """What follows from rulers: where bins lie once they are scaled."""
        self.size = sum(len(cells.usual) for cells in self.columns)
        self.ruled = [place for place, cells in enumerate(self.columns) if cells.ruler is not None]
        most = max((cells.ruler.n_bins for cells in self.columns if cells.ruler is not None), default=0)
        spans = np.zeros((2, most, len(self.numbers)))
        for index, place in enumerate(self.numbers):
            if (ruler := self.columns[place].ruler) is not None:
                for ends, padded in zip(ruler.spans(), spans, strict=True):
                    padded[:, index] = np.append(ends, np.full(most - len(ends), ends[-1]))
        low, high = (self.data._scaler.forward_(torch.from_numpy(values.copy())).numpy() for values in spans)
        self.widths = np.log(np.maximum(high - low, 1e-300))  # (n_bins, d)
        self.centres = torch.zeros(most, self.data.spec.size, dtype=torch.float64)
        self.centres[:, self.data._layout.number_elements] = torch.from_numpy((low + high) / 2)

    def _n_symbols(self, place: int) -> int:
        cells = self.columns[place]
        if cells.ruler is not None:
            return cells.ruler.n_bins + 1
        return max(2, int(cells.elements.stop) - int(cells.elements.start))

    # -- data and symbols

    def read(self, X: Any) -> tuple[Symbols, dict[str, Any]]:
        seen = given(self.data, X)
        symbols = self._symbols(seen, self._numbers(seen.samples))
        header = seen.header | ({} if symbols.present.all() else {"gaps": True})
        self._refuse_changed(seen, self.write(symbols, header))
        return symbols, header

    def some(self, X: Any, most: int) -> Symbols:
        seen = given(self.data, X)
        symbols = self._symbols(seen, self._numbers(seen.samples))
        rows = np.unique(np.linspace(0, len(symbols) - 1, most).astype(np.int64))
        assert symbols.plain is not None
        return Symbols(symbols.values[rows], symbols.plain[rows], symbols.present[rows])

    def _symbols(self, seen: Given, matrix: Any) -> Symbols:
        n, samples = len(matrix), seen.samples
        values = np.zeros((n, len(self.columns)), np.int64)
        plain, present = np.zeros(values.shape, np.uint64), np.ones(values.shape, bool)
        for index, place in enumerate(self.numbers):
            column, ruler = np.ascontiguousarray(matrix[:, index]), self.columns[place].ruler
            if column.dtype.kind == "f":
                present[:, place] = ~np.isnan(column)
                column = np.where(present[:, place], column, column.dtype.type(0))
            if ruler is None:
                values[:, place] = column > 0.5
                continue
            values[:, place], plain[:, place] = ruler.bins(*ruler.keys(column))
            lost = values[:, place] == ruler.n_bins
            plain[lost, place] = any_key(column[lost])
        if samples.codes is not None:
            values[:, self.codes], present[:, self.codes] = np.maximum(samples.codes, 0), samples.codes >= 0
        return Symbols(values, plain, present)

    def write(self, symbols: Symbols, header: dict[str, Any]) -> Any:
        samples = self._samples(symbols, np.dtype(header["dtype"]))
        return give_table(self.data, samples.numbers, samples.codes, header)

    def _samples(self, symbols: Symbols, dtype: Any) -> TableSamples:
        """The table that symbols stand for, as the data type would have opened it."""
        n = len(symbols)
        matrix = np.empty((n, len(self.numbers)), dtype)
        for index, place in enumerate(self.numbers):
            bins, ruler, here = symbols.values[:, place], self.columns[place].ruler, symbols.present[:, place]
            if ruler is None:
                matrix[:, index] = bins
            else:
                assert symbols.plain is not None and ruler.edges is not None
                lost, plain = bins == ruler.n_bins, symbols.plain[:, place]
                matrix[:, index] = ruler.values(
                    np.where(lost, ruler.edges[0], ruler.edges[np.where(lost, 0, bins)] + plain)
                )
                matrix[lost, index] = any_value(plain[lost], dtype.kind in "iub")
            if not here.all():
                matrix[~here, index] = np.nan
        codes = None
        if len(self.codes):
            codes = np.where(symbols.present[:, self.codes], symbols.values[:, self.codes], -1).astype(np.int32)
        gaps = not symbols.present.all()
        return TableSamples(matrix, codes, "numpy", gaps, wild=True)

    def _numbers(self, samples: TableSamples) -> Any:
        """The number columns that are in use, (n, d)."""
        matrix = samples.numbers if isinstance(samples.numbers, np.ndarray) else samples.numbers.toarray()
        taken = self.data._layout.taken
        return matrix if taken is None else matrix[:, taken.numpy()]

    def _refuse_changed(self, seen: Given, back: Any) -> None:
        """Whether all comes back as it was; what is rounded by request aside."""
        again = given(self.data, back)
        before, after = self._numbers(seen.samples), self._numbers(again.samples)
        for index, place in enumerate(self.numbers):
            ruler = self.columns[place].ruler
            rounded = ruler is not None and ruler.kind == "step"
            if not rounded and not _equal(before[:, index], after[:, index]):
                raise _changed(self.columns[place].name)
        first, second = seen.samples.codes, again.samples.codes
        if first is not None and second is not None and not np.array_equal(first, second):
            raise _changed(self.columns[self.codes[(first != second).any(0).argmax()]].name)
        if any(seen.header.get(name) != again.header.get(name) for name in ("words", "left", "nans")):
            raise _changed("with words that training did not know, or with NaN")

    # -- laws

    def batch(self, symbols: Symbols) -> tuple[Tensor, Tensor | None]:
        lost = np.zeros_like(symbols.present)
        for place in self.ruled:  # what has no bin may be anything: the model had better not see it
            lost[:, place] = symbols.values[:, place] == self._n_symbols(place) - 1
        seen = Symbols(np.where(lost, 0, symbols.values), symbols.plain, symbols.present & ~lost)
        samples = self._samples(seen, np.dtype(np.float64))
        layout = self.data._layout
        if layout.taken is not None:  # the data type expects the columns that it left out, too
            whole = np.zeros((len(symbols), len(self.data.schema)))
            whole[:, layout.taken.numpy()] = samples.numbers
            samples = TableSamples(whole, samples.codes, "numpy", samples.gaps, wild=True)
        batch = self.data.batch(samples, slice(None), torch.float64)
        return batch.x, batch.weight

    def tables(self, law: Distribution, n: int) -> Iterator[tuple[slice, Floats]]:
        model = self.probabilities(law)
        for place, cells in enumerate(self.columns):
            mixed = cells.weight * model[place] + (1 - cells.weight) * cells.usual
            yield slice(place, place + 1), whole_tables(mixed)[:, None]

    def probabilities(self, law: Distribution) -> list[Floats]:
        """What the model alone gives to the symbols of each column, (n, k)."""
        at = law.nll(torch.stack([torch.zeros(self.data.spec.size), torch.ones(self.data.spec.size)])[:, None].double())
        gain = (at[0] - at[1]).numpy()  # of one over zero in the log, (n, width of the tensor)
        masses = self._masses(law, len(gain))
        indices = {int(place): index for index, place in enumerate(self.numbers)}
        found = []
        for place, cells in enumerate(self.columns):
            if cells.ruler is None:
                logits = gain[:, cells.elements]
                logits = np.concatenate([np.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
                found.append(softmax(logits))
            else:
                inside = softmax(masses[: cells.ruler.n_bins, :, indices[place]].T)
                found.append(np.concatenate([inside, np.zeros((len(inside), 1))], 1))
        return found

    def _masses(self, law: Distribution, n: int) -> Floats:
        """The logs of what lies in each bin, (n_bins, n, d)."""
        if not len(self.centres):
            return np.zeros((0, n, len(self.numbers)))
        columns = {element: index for index, element in enumerate(self.data._layout.number_elements.tolist())}
        densities = np.zeros((len(self.centres), n, len(columns)))
        for own, head in getattr(law, "heads", [(torch.arange(self.data.spec.size), law)]):
            here = [(at, columns[element]) for at, element in enumerate(own.tolist()) if element in columns]
            ours, theirs = [at for at, _ in here], [column for _, column in here]
            for start in range(0, len(self.centres), SHOWN) if here else ():
                some = slice(start, start + SHOWN)
                nll = head.nll(self.centres[some, None][..., own].expand(-1, n, -1))
                densities[some, :, theirs] = -nll[..., ours].numpy()
        return cast(Floats, densities + self.widths[:, None])

    def weigh(self, law: Distribution, symbols: Symbols) -> None:
        """How much the model counts in the law of each column: what codes these samples best."""
        for place, (cells, model) in enumerate(zip(self.columns, self.probabilities(law), strict=True)):
            here = symbols.present[:, place]
            if not here.any():
                continue
            chosen = symbols.values[here, place]
            theirs, usual = model[here, chosen], cells.usual[chosen]
            mixed = WEIGHTS[:, None] * theirs + (1 - WEIGHTS[:, None]) * usual
            cells.weight = float(WEIGHTS[np.log(mixed).mean(1).argmax()])

    def last(self, cells: slice, values: Whole) -> Keys | None:
        ruler = self.columns[cells.start].ruler
        return None if ruler is None else ruler.last(values)

    # -- files

    def state(self) -> Packed:
        rulers = [None if cells.ruler is None else asdict(cells.ruler) | {"edges": None} for cells in self.columns]
        document = {"rulers": rulers, "weights": [cells.weight for cells in self.columns]}
        tensors = {"shares": torch.from_numpy(self.shares)}
        for place, cells in enumerate(self.columns):
            tensors[f"usual{place}"] = torch.from_numpy(cells.usual)
            if cells.ruler is not None and cells.ruler.edges is not None:
                tensors[f"edges{place}"] = torch.from_numpy(cells.ruler.edges.view(np.int64))
        return document, tensors

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.shares, layout = tensors["shares"].numpy(), self.data._layout
        for place, facts in enumerate(layout.used):
            start, ruler = int(layout.starts[place]), None
            if (settings := document["rulers"][place]) is not None:
                ruler = Ruler(**settings)
                ruler.edges = tensors[f"edges{place}"].numpy().view(np.uint64)
            elements = slice(start, start + layout.sizes[place])
            usual, weight = tensors[f"usual{place}"].numpy(), float(document["weights"][place])
            self.columns.append(Cells(facts.name, ruler, elements, usual, weight))
        self._finish()


def _equal(first: Any, second: Any) -> bool:
    alike = np.array_equal(first, second, equal_nan=first.dtype.kind == "f" and second.dtype.kind == "f")
    return bool(alike)


def _changed(name: str) -> DataError:
    return DataError(
        f"the column {name!r} would not come back as it is: the type that it had in training cannot hold one of its "
        "values; give it that type, or fit with this one."
    )
