from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from isthmus import fitting, giving
from isthmus.autoencoder import Autoencoder
from isthmus.damage.base import pick_columns
from isthmus.data import Tables
from isthmus.errors import DataError, SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Dense
from isthmus.saving import Packed
from isthmus.tasks._reader import Given, read_features
from isthmus.tasks.base import Answer, Task
from isthmus.training import Batch
from isthmus.words import counted

CHUNK = 256
SHOWN = 20
UNITS = 64
SHUFFLES = 3
MASKS = 8


def _of_an_array(model: Any) -> bool:
    """Whether it was fitted on an array, whose columns are numbers without names."""
    autoencoder = vars(model).get("autoencoder_")
    return autoencoder is None or autoencoder.data_.container in ("numpy", "scipy", "scipy matrix")


class FeatureSelector(SelectorMixin, Task):
    """Keeps the columns that carry the code: those of which an autoencoder knows what the others say.

        corrupt → encoder → bottleneck → decoder → likelihood → MEAN of what was masked; or the slopes of the CODE

    No label is asked. A column that goes with many others says much about a row; one that goes with none is noise to
    the others, however much it varies. Where labels are known, a test of each column against them is the simpler way.

    Han et al. 2018, "Autoencoder Inspired Unsupervised Feature Selection", ICASSP, for the weights; Breiman 2001,
    "Random Forests", for what is lost when a column is shuffled.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that fills in what was masked, so that a column
        must be known by others.
    n_features : how many columns to keep: a whole number, or a share of them between 0 and 1.
    criterion : "explained": how much of a column's variance the other columns tell, where half of all cells are masked;
        a share where columns are scaled to a variance of 1. Where all columns have one unit, as spectra or genes,
        `data_type="tables(scaling='center')"` keeps it. "gradient": how far the code moves with a
        column, squared, over the rows, which is most for a column that stands alone; "weights": the squared weights of
        the first layer; "shuffle": how much likelihood is lost when a column's values are shuffled (a pass over all
        rows for each column, so slow with many).
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; scores_ : of each column by the criterion, (n_features_in_,), 0 for columns
    that are left out; ranking_ : the columns' places from the highest score on.

    Raises
    ------
    SettingError : for a setting that is not allowed.
    DataError : for samples that are no rows of a table.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import FeatureSelector
    >>> random = np.random.default_rng(0)
    >>> together = random.normal(size=(300, 1)) + 0.3 * random.normal(size=(300, 4))
    >>> X = np.c_[together, random.normal(size=(300, 4))]  # and four columns that go with none
    >>> FeatureSelector(n_features=4, random_state=0).fit(X).get_support().tolist()
    [True, True, True, True, False, False, False, False]
    """

    verbs = ("transform",)
    refuses: ClassVar[tuple[str, ...]] = ("images", "series")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        n_features: float = 0.5,
        criterion: Literal["explained", "gradient", "weights", "shuffle"] = "explained",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.n_features = n_features
        self.criterion = criterion
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """An autoencoder that fills in what was masked: a column that no other tells of does not pay."""
        return Autoencoder(variant="denoising(damage='masking(share=0.5)')")

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = self._fresh()
        data = fitting.data_type(model.data_type, X, type(self).__name__)
        if not isinstance(data, Tables):
            raise DataError(
                f"columns are kept of tables, and these are {data.name()}; their codes say what is in them."
            )
        if isinstance(model.network, str) and model.network == "auto":
            model.network = Dense(widths=(UNITS,))
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and score its columns. y is ignored."""
        self._check()
        model = self.prepared(X).fit_rows(X)
        self.autoencoder_ = model
        model.data_.owner = type(self).__name__
        used = SCORES[self.criterion](model, X)
        kept = [place for place, facts in enumerate(model.data_.schema) if facts.kind != "left out"]
        self.scores_ = np.zeros(model.data_.n_features_in)
        self.scores_[kept] = used.double().numpy()
        return self

    def _check(self) -> None:
        if self.criterion not in SCORES:
            raise SettingError(f"criterion is {self.criterion!r}; it must be one of {', '.join(SCORES)}.")
        n, whole = self.n_features, isinstance(self.n_features, (int, np.integer))
        if isinstance(n, bool) or not isinstance(n, (int, float, np.integer)) or not (n >= 1 if whole else 0 < n <= 1):
            raise SettingError(f"n_features is {n!r}; it must be a whole number of at least 1, or a share up to 1.0.")

    @property
    def ranking_(self) -> npt.NDArray[np.int64]:
        """The columns' places from the highest score on, (n_features_in_,)."""
        return np.argsort(-self.scores_, kind="stable")

    def _get_support_mask(self) -> npt.NDArray[np.bool_]:
        check_is_fitted(self)
        whole = isinstance(self.n_features, (int, np.integer))
        n = int(self.n_features) if whole else max(1, round(self.n_features * len(self.scores_)))
        support = np.zeros(len(self.scores_), dtype=bool)
        support[self.ranking_[:n]] = True
        return support

    def transform(self, X: Any) -> Any:
        """The columns that are kept, as they came: an array, a sparse matrix or a frame."""
        check_is_fitted(self)
        data = self.autoencoder_.data_
        opened = X if isinstance(X, pl.DataFrame) else data.read_more(X) if isinstance(X, str) else X
        data.open(opened)  # a sentence where it does not fit
        support = self.get_support()
        if hasattr(opened, "columns") and data.named:
            names = [name for name, kept in zip(data.feature_names, support, strict=True) if kept]
            return opened[names] if hasattr(opened, "iloc") else opened.select(names)
        if hasattr(opened, "iloc"):
            return opened.iloc[:, np.flatnonzero(support)]
        rows = opened if hasattr(opened, "shape") else np.asarray(opened)
        return rows[:, np.flatnonzero(support)]

    @available_if(_of_an_array)  # type: ignore[untyped-decorator]
    def inverse_transform(self, X: Any) -> Any:
        """Rows with all columns again, zero where they were left out; for a selector that was fitted on an array."""
        check_is_fitted(self)
        rows = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        support = self.get_support()
        if rows.ndim != 2 or rows.shape[1] != support.sum():
            raise DataError(f"X has shape {rows.shape}; it must be (n_samples, {support.sum()}), the columns kept.")
        whole = np.zeros((len(rows), len(support)), dtype=rows.dtype)
        whole[:, support] = rows
        return whole

    def answer(self, X: Any) -> Answer:
        """The columns that are kept of each row, and the scores of all.

        Parameters
        ----------
        X : the data.
        """
        kept = self.transform(X)
        names = list(np.asarray(self.autoencoder_.data_.feature_names)[self.get_support()])
        table = kept if isinstance(kept, pl.DataFrame) else pl.DataFrame(_columns(kept, names))
        order = self.ranking_[: min(SHOWN, len(table))]
        listed = [self.autoencoder_.data_.feature_names[place] for place in order]
        least = float(self.scores_[self.get_support()].min())
        headline = (
            f"Kept {counted(len(names), 'column')} of {len(self.scores_)}, with scores from "
            f"{float(self.scores_.max()):.3g} down to {least:.3g} (by {self.criterion})."
        )
        return Answer(table, headline, pl.DataFrame({"column": listed, "score": self.scores_[order]}))

    # -- files

    def _learned(self) -> Packed:
        return {}, {"scores": torch.from_numpy(self.scores_)}

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.scores_ = tensors["scores"].double().numpy()


def _columns(kept: Any, names: list[str]) -> dict[str, Any]:
    values = kept.to_numpy() if hasattr(kept, "iloc") else kept.toarray() if hasattr(kept, "toarray") else kept
    return {name: values[:, place] for place, name in enumerate(names)}


# ---- scores of the columns in use, (n_columns,), in double precision


def _opened(model: Autoencoder, X: Any) -> tuple[Given, AutoencoderModule]:
    given = Given(model.data_, model.data_.open(X), torch.float64)
    return given, model.as_type(torch.float64)


def by_explaining(model: Autoencoder, X: Any) -> Tensor:
    """The variance of a column that the other columns tell, where it is masked, as scaled; not below zero."""
    given, module = _opened(model, X)
    spec, device = model.data_.spec, next(module.parameters()).device
    whole = given.batch(slice(None)).to(device)
    present = torch.ones_like(whole.x) if whole.weight is None else (whole.weight > 0).to(whole.x)
    middle = (whole.x * present).sum(0) / present.sum(0).clamp_min(1)
    generator = torch.Generator(device).manual_seed(0)
    told, number = torch.zeros(2, spec.size, dtype=torch.float64, device=device)
    with torch.inference_mode():
        for _ in range(MASKS):
            hidden = pick_columns(whole.x, spec, 0.5, generator)
            seen = whole.x.masked_fill(hidden, 0.0)
            mean = torch.cat([giving.decoded(module, batch).mean for batch in _split(seen, whole.weight)])
            judged = hidden * present
            told += (((middle - whole.x).square() - (mean - whole.x).square()) * judged).sum(0)
            number += judged.sum(0)
    return spec.gather(told / number.clamp_min(1)).clamp_min(0.0).cpu()


def by_gradient(model: Autoencoder, X: Any) -> Tensor:
    """The squared derivatives of the code, each of its numbers in standard deviations, meaned over rows.

    Zero counts for absent values.
    """
    given, module = _opened(model, X)
    codes = torch.from_numpy(given.through(module, lambda batch: read_features(module, batch.x, batch.weight)))
    scale = codes.std(0, correction=0)
    scale = torch.where(scale > 1e-8 * codes.abs().max(), scale, torch.inf)  # a number that never moves says nothing
    total = torch.zeros(model.data_.spec.size, dtype=torch.float64)
    for start in range(0, len(given), CHUNK):
        batch = given.batch(slice(start, start + CHUNK)).to(next(module.parameters()).device)
        total += _squared_slopes(module, batch, scale.to(batch.x.device)).cpu()
    return model.data_.spec.gather(total / len(given))


def _squared_slopes(module: AutoencoderModule, batch: Batch, scale: Tensor) -> Tensor:
    """Summed over the code and over rows, (size,)."""
    x = batch.x.clone().requires_grad_()
    code = read_features(module, x, batch.weight) / scale
    total = torch.zeros_like(x)
    for number in range(code.shape[1]):
        (slope,) = torch.autograd.grad(code[:, number].sum(), x, retain_graph=True)
        total += slope.square()
    return (total if batch.weight is None else total * (batch.weight > 0)).sum(0).detach()


def by_weights(model: Autoencoder, X: Any) -> Tensor:
    """The squared weights that lead from each element into the first layer."""
    module, size = model.as_type(torch.float64), model.data_.spec.size
    layers = [one for one in module.modules() if isinstance(one, nn.Linear) and one.in_features == size]
    if not layers:
        raise SettingError("criterion is 'weights', and the first layer is no linear one; take 'gradient'.")
    return model.data_.spec.gather(layers[0].weight.detach().square().sum(0).cpu())


def by_shuffling(model: Autoencoder, X: Any) -> Tensor:
    """What the likelihood of a row loses when the values of one column are those of other rows; not below zero."""
    given, module = _opened(model, X)
    device, spec = next(module.parameters()).device, model.data_.spec
    whole = given.batch(slice(None)).to(device)
    generator = torch.Generator().manual_seed(0)
    lost = torch.zeros(spec.n_columns, dtype=torch.float64)
    with torch.inference_mode():
        before = _costs(module, whole.x, whole.x, whole.weight)
        for column in range(spec.n_columns):
            cells = spec.column_of.to(device) == column
            for _ in range(SHUFFLES):
                order = torch.randperm(len(whole.x), generator=generator).to(device)
                seen = torch.where(cells, whole.x[order], whole.x)
                more = float((_costs(module, seen, whole.x, whole.weight) - before).mean())
                lost[column] += max(0.0, more) / SHUFFLES
    return lost


def _costs(module: AutoencoderModule, seen: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
    pieces = zip(x.split(CHUNK), _split(seen, weight), strict=True)
    found = [module.reconstruct(target, batch.weight, seen=batch.x).distortion for target, batch in pieces]
    return torch.cat([one.mean(0) for one in found if one is not None])


def _split(x: Tensor, weight: Tensor | None) -> list[Batch]:
    weights = [None] * len(x) if weight is None else weight.split(CHUNK)
    return [Batch(*pair) for pair in zip(x.split(CHUNK), weights, strict=False)]


SCORES: dict[str, Callable[[Autoencoder, Any], Tensor]] = {
    "explained": by_explaining,
    "gradient": by_gradient,
    "weights": by_weights,
    "shuffle": by_shuffling,
}
