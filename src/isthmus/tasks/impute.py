from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Tables
from isthmus.data._frames import is_path
from isthmus.data._samples import TableSamples
from isthmus.data.base import ColumnFacts, Data
from isthmus.errors import DataError, SettingError
from isthmus.likelihoods import Mixed, Normal
from isthmus.part import Limit
from isthmus.saving import Packed
from isthmus.tasks._filling import Draws, drawn, expected
from isthmus.tasks._hiding import Filler
from isthmus.tasks._table_facts import about, used
from isthmus.tasks._table_gaps import Gone, joined, missing, native, row_of
from isthmus.tasks.base import Answer
from isthmus.training import Training
from isthmus.training.applying import apply
from isthmus.variants import Masked
from isthmus.variants.base import Variant
from isthmus.words import counted

log = logging.getLogger("isthmus")
SHOWN = 10
ROUNDS = 8
NAMED = 4  # cells of a row that are written out


class Imputer(Filler):
    """Fills the missing cells of tables, numbers and words, from what stands in the same row; the rest stays as it is.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN where the weight is 0

    Learns from rows that may hold gaps themselves: training hides further cells and asks for them back. Numbers get
    their expected value within the range of training, whole numbers where training had such; words the most probable
    one. `draw` gives several filled tables instead, which differ as much as the missing values are uncertain: multiple
    imputation. A column of text that differs in almost every row cannot be learned, and gets its most frequent word.

    Gondara & Wang 2018, "MIDA: Multiple Imputation using Denoising Autoencoders"; Uria et al. 2014, "A Deep and
    Tractable Density Estimator", for draws of cells one after the other.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is a wide layer and a code as wide
        as the table, and where its likelihood is "auto" one that also learns how far numbers scatter.
    hiding : which cells training hides: "auto", masked, or a variant that hides, such as `Masked(share=0.5)`.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; whole_ : the columns whose numbers are whole throughout;
    usual_ : the most frequent word of every column of text that cannot be learned.

    Raises
    ------
    DataError : for data that are no table, and for columns without any value in training.
    SettingError : for a `hiding` that hides nothing, or beside an autoencoder that hides by itself.

    Examples
    --------
    >>> import polars as pl
    >>> from isthmus import Imputer
    >>> size = [float(i % 7) for i in range(400)]
    >>> table = pl.DataFrame({"size": size, "double": [2 * one for one in size]})
    >>> table = table.with_columns(pl.when(pl.arange(400) % 5 != 0).then("double").alias("double"))
    >>> filled = Imputer(random_state=0).fit_transform(table)
    >>> filled.null_count().row(0), bool((filled["double"] - 2 * filled["size"]).abs().max() < 2)
    ((0, 0), True)
    """

    only = "tables"
    fills = ("tables", "for pictures take Inpainter")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        hiding: str | Variant = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.hiding = hiding
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """Trained to the end: how well hidden cells are guessed still grows when the held-out loss has come to rest."""
        return Autoencoder(training=Training(patience=None))

    # ---- learning

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, which may hold gaps itself. y is ignored, as pipelines expect."""
        super().fit(X)
        self.usual_, self.whole_ = about(X, self._tables)
        return self

    def typical_hiding(self, data: Data, X: Any) -> Variant:
        """Three cells of ten; the visible ones count a little, which keeps training steady where rows are few."""
        return Masked(share=0.3, visible=0.3)

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = super().prepared(X)
        data = fitting.data_type(model.data_type, X, type(self).__name__).fit(X)
        empty = [facts.name for facts in data.schema if facts.left_out == "every value is missing"]
        if empty:
            raise DataError(
                f"the column {empty[0]!r} has no value in any row of training, so that nothing is known about it; drop "
                "it."
            )
        if isinstance(model.likelihood, str) and model.likelihood == "auto":
            model.likelihood = Mixed(numeric=Normal(scale="learned", minimum=0.05))
        return model

    @property
    def _tables(self) -> Tables:
        return cast(Tables, self.autoencoder_.data_)

    def _learned(self) -> Packed:
        return {"usual": self.usual_, "whole": self.whole_}, {}

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.usual_, self.whole_ = dict(learned["usual"]), list(learned["whole"])

    # ---- filling

    def transform(self, X: Any) -> Any:
        """The filled table, in the form of X with its columns in the order of training; present cells are the same."""
        return next(self._filled(X, None))

    def draw(
        self, X: Any, n_draws: int = 5, rounds: int = ROUNDS, random_state: int | np.random.RandomState | None = None
    ) -> list[Any]:
        """Several filled tables, each with its missing cells drawn: what they differ in nobody can know.

        Parameters
        ----------
        X : the table.
        n_draws : how many tables, at least 1.
        rounds : in how many rounds the missing cells of a row are drawn, at least 1; those of a later round know what
            was drawn before, so that more rounds keep the cells of a row in tune.
        random_state : an int for the same draws every time; None leaves it to the imputer.
        """
        _check_whole("n_draws", n_draws, 1)
        _check_whole("rounds", rounds, 1)
        return list(self._filled(X, Draws(int(n_draws), int(rounds), random_state)))

    def uncertainty(
        self, X: Any, n_draws: int = 20, random_state: int | np.random.RandomState | None = None
    ) -> npt.NDArray[np.float64]:
        """How unsure each filled cell is, (n_rows, n_features), 0 where a value is present; columns as in training.

        Of numbers and times (in seconds) it is the standard deviation over draws, of words and answers the share of
        draws that differ from the most frequent one; NaN for cells of a column that cannot be learned.

        Parameters
        ----------
        X : the table.
        n_draws : how many draws to look at, at least 2.
        random_state : an int for the same draws every time; None leaves it to the imputer.
        """
        _check_whole("n_draws", n_draws, 2)
        X, data = self._held(X), self._tables
        samples = cast(TableSamples, data.open(X))  # it is in memory
        tensors = list(self._tensors(samples, Draws(int(n_draws), ROUNDS, random_state)))
        made, values = np.zeros((len(samples), data.n_features_in)), [data.values(one) for one in tensors]
        used = iter(range(len(values[0])))
        for place, facts in enumerate(data.schema):
            column = next(used) if facts.kind != "left out" else None
            made[:, place] = np.nan if column is None else _spread([one[column] for one in values], facts.kind)
        return np.where(missing(X, self._names(X)), made, 0.0)

    def answer(self, X: Any, draw: bool = False, random_state: int | None = None) -> Answer:
        """The filled table, and which cells of each row were filled with what.

        Parameters
        ----------
        X : the data.
        draw : fill with values drawn at random as they may have been, instead of those expected.
        random_state : an int for the same draw every time.
        """
        X = self._held(X)
        filled = self.draw(X, 1, random_state=random_state)[0] if draw else self.transform(X)
        gone = missing(X, self._names(X))
        table = pl.DataFrame({"row": np.arange(len(gone)), "filled": gone.sum(1)})
        cells, rows = int(gone.sum()), int(gone.any(1).sum())
        headline = f"Filled {counted(cells, 'missing cell')} in {rows:,} of {counted(len(gone), 'row')}."
        shown = table.filter(pl.col("filled") > 0).sort("filled", descending=True)[:SHOWN]
        told = [self._told(filled, row, gone[row]) for row in shown["row"].to_list()]
        shown = shown.with_columns(pl.Series("with", told, dtype=pl.String))
        return Answer(
            table, headline if cells else f"Nothing is missing in {counted(len(gone), 'row')}.", shown, filled
        )

    # ---- what they share

    def _held(self, X: Any) -> Any:
        """The table in memory, as one of the kinds that can be filled."""
        check_is_fitted(self)
        return native(self._tables.read_more(X) if is_path(X) else X, type(self).__name__)

    def _filled(self, X: Any, draws: Draws | None) -> Iterator[Any]:
        """The table with what is expected in its gaps, or, where draws are wanted, so many tables with draws."""
        X, data = self._held(X), self._tables
        samples = cast(TableSamples, data.open(X))
        names = self._names(X)
        if self.usual_:
            self._say(missing(X, names))
        for tensor in self._tensors(samples, draws):
            values = [self._tidy(*one) for one in zip(used(data), data.values(tensor), strict=True)]
            guess = data.from_values(values, len(samples), samples.container, self.usual_)
            yield joined(X, guess, names)

    def _say(self, gone: Gone) -> None:
        """What got a word of which nothing was learned."""
        for place, facts in enumerate(self._tables.schema):
            if facts.name in self.usual_ and (n := int(gone[:, place].sum())):
                log.warning(
                    "column %r cannot be learned (%s): %s got its most frequent word, %r",
                    facts.name,
                    facts.left_out,
                    counted(n, "missing cell"),
                    self.usual_[facts.name],
                )

    def _names(self, X: Any) -> list[str] | None:
        """The columns of training, where those of X are found by name."""
        data = self._tables
        return data.feature_names if data.named and hasattr(X, "columns") else None

    def _tensors(self, samples: TableSamples, draws: Draws | None) -> Iterator[Tensor]:
        """The rows as tensors without gaps, as expected (once, for no draws) or drawn."""
        model, data = self.autoencoder_, self._tables
        dtype = data.number_type(samples.numbers)
        module, spec = model.as_type(dtype), data.spec
        batches = lambda rows: data.batch(samples, rows, dtype)  # noqa: E731
        if draws is None:
            made = apply(module, batches, len(samples), lambda batch: expected(module, spec, batch), spec.size)
            yield torch.from_numpy(made)
            return
        state = next(
            (one for one in (draws.random_state, self.random_state, model.random_state) if one is not None), None
        )
        seed = int(fitting.random_numbers(state).randint(2**31))
        generator = torch.Generator(next(module.parameters()).device).manual_seed(seed)
        read = lambda batch: drawn(module, spec, batch, draws.rounds, generator)  # noqa: E731
        for _ in range(draws.number):
            yield torch.from_numpy(apply(module, batches, len(samples), read, spec.size))

    def _tidy(self, facts: ColumnFacts, values: Any) -> Any:
        """Numbers within the range of training, and whole where that had whole ones."""
        if facts.kind not in ("numeric", "date"):
            return values
        held = np.clip(values, facts.minimum, facts.maximum)
        return np.rint(held) if facts.name in self.whole_ else held

    def _told(self, filled: Any, row: int, gone: Gone) -> str:
        """What a row was filled with, for a reader."""
        cells = row_of(filled, row)
        places = np.flatnonzero(gone)
        names = [self._tables.feature_names[place] for place in places[:NAMED]]
        told = [
            f"{name} {cells[place]:.4g}" if isinstance(cells[place], float) else f"{name} {cells[place]}"
            for name, place in zip(names, places, strict=False)
        ]
        return ", ".join(told) + (f" and {len(places) - NAMED} more" if len(places) > NAMED else "")


def _check_whole(name: str, value: object, least: int) -> None:
    if not Limit(least, whole=True).allows(value):
        raise SettingError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


def _spread(draws: list[Any], kind: str) -> Any:
    """How far the draws of each row lie apart."""
    if kind in ("numeric", "date"):
        return np.std(np.stack(draws), axis=0)
    told = np.array([[str(one) for one in draw] for draw in draws])
    return np.array([1 - max(Counter(column).values()) / len(draws) for column in told.T.tolist()])
