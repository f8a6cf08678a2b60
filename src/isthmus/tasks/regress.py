from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.damage.base import Damage
from isthmus.saving import Packed
from isthmus.tasks._few_labels import FOLDS, FewLabels, Lesson
from isthmus.tasks._heads import REGRESSORS, Floats
from isthmus.tasks._known import Known, known_numbers
from isthmus.tasks._reader import Given, Reader
from isthmus.tasks.base import Answer
from isthmus.training import Training
from isthmus.words import counted

SHOWN = 10


class SemiSupervisedRegressor(RegressorMixin, FewLabels):
    """Learns a number from few samples where it is known, and from many where it is not.

        corrupt → encoder → bottleneck → CODE, then a head; or the encoder tuned under it

    An autoencoder is trained on all samples. Then those whose number is known teach a head on its codes, or a linear
    head and the encoder under it.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that fills in what was masked. Where its network
        is "auto", for tables it has a wide layer and a code as wide as the table, up to 64 numbers.
    head : what reads the code: "ridge", or a regressor of scikit-learn's.
    tune : whether the whole encoder learns from labels as well, under a linear head that begins as `head`: True, False,
        or a Training object that says how; "auto" where held-out labels are met better so.
    damage : how samples are spoiled in tuning: move (for pictures), masking, gaussian ..., or a Damage object; None
        leaves them as they are.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder, which no label has touched; tuned_ : whether the encoder was tuned;
    validation_scores_ : what cross-validation found, by way, as R2; tuning_history_ : the losses of tuning, epoch by
    epoch.

    Raises
    ------
    SettingError : for a setting that is not allowed.
    DataError : for labels that do not fit the samples, or of which none is known.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from isthmus import SemiSupervisedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> few = y.copy()
    >>> few[150:] = float("nan")  # nobody knows
    >>> model = SemiSupervisedRegressor(tune=False, random_state=0).fit(X, few)
    >>> bool(model.score(X[150:], y[150:]) > 0.3)
    True
    """

    verbs = ("predict",)
    heads: ClassVar[dict[str, BaseEstimator]] = REGRESSORS

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        head: str | BaseEstimator = "ridge",
        tune: Literal["auto"] | bool | Training = "auto",
        damage: str | Damage | None = None,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.head = head
        self.tune = tune
        self.damage = damage
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on all of X, and on the numbers y, one for each sample: NaN where unknown."""
        return self._fit(X, known_numbers(y, None if y is None else self._fresh().count(X)), y)

    # -- learning

    def _taught(self, given: Given, known: Known, seed: int) -> Self:
        # the encoder is tuned on numbers of a size that suits it
        self.mean_, self.scale_ = float(known.values.mean()), float(known.values.std()) or 1.0
        known = replace(known, values=(known.values - self.mean_) / self.scale_)
        reader = self._begun(given, 1)
        features = self._features(reader, given)
        scores = self._scores(reader, features, given, known, seed)
        best = max(scores, key=lambda name: scores[name]) if scores else "frozen"
        wanted = best == "tuned" if self.tune == "auto" else self.tune is not False
        lesson = Lesson(known.rows, known.values)
        head, history = self._frozen(features, lesson, seed), None
        if wanted:
            reader, history = self._tuned(reader, head, given, lesson, seed)
        return self._concluded(reader, head, history, scores)

    def _scores(self, reader: Reader, features: Floats, given: Given, known: Known, seed: int) -> dict[str, float]:
        """R2 on held-out labels of each way; nothing where there is nothing to choose, or too few."""
        if self.tune != "auto" or known.fewest() < FOLDS:
            return {}
        truth, found = np.zeros(0), {"frozen": np.zeros(0), "tuned": np.zeros(0)}
        for learned, judged in known.folds(FOLDS, seed):
            lesson = Lesson(learned.rows, learned.values)
            head = self._frozen(features, lesson, seed)
            twin, _ = self._tuned(reader, head, given, lesson, seed)
            inside = replace(given, dtype=twin.head.weight.dtype)
            outputs = inside.through(twin, lambda batch, twin=twin: twin(batch.x, batch.weight), judged.rows)  # type: ignore[misc]
            found["tuned"] = np.append(found["tuned"], outputs[:, 0])
            found["frozen"] = np.append(found["frozen"], head.predict(features[judged.rows]))
            truth = np.append(truth, judged.values)
        return {name: float(r2_score(truth, numbers)) for name, numbers in found.items()}

    def _targets(self, lesson: Lesson, n_outputs: int) -> Tensor:
        return torch.from_numpy(np.asarray(lesson.values, dtype=np.float64))[:, None]

    # -- using it

    def predict(self, X: Any) -> Floats:
        """The number of each sample, (n_samples,)."""
        check_is_fitted(self)
        if self.head_ is not None:
            scaled: Floats = np.asarray(self.head_.predict(self.transform(X)), dtype=np.float64)
        else:
            scaled = self._outputs(X)[:, 0].astype(np.float64)
        return scaled * self.scale_ + self.mean_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 over the samples whose number is known: 1 is perfect, 0 as good as their mean."""
        known = known_numbers(y, None)
        weight = None if sample_weight is None else np.asarray(sample_weight)[known.rows]
        return float(r2_score(known.values, self.predict(X)[known.rows], sample_weight=weight))

    def to_torch(self) -> torch.nn.Module:
        """As for the classifier; the module gives the number, (n_samples, 1), in its own unit."""
        plain = super().to_torch()
        last: Any = plain[-1] if isinstance(plain, torch.nn.Sequential) else plain.get_submodule("reader.head")
        with torch.no_grad():
            last.weight.mul_(self.scale_)
            last.bias.mul_(self.scale_).add_(self.mean_)
        return plain

    def answer(self, X: Any) -> Answer:
        """The number of each sample.

        Parameters
        ----------
        X : the data.
        """
        check_is_fitted(self)
        data = self.autoencoder_.data_
        X = self._without_labels(data.open(X) if data.endings else X)[0]  # files are looked at once
        found = self.predict(X)
        table = pl.DataFrame({"row": np.arange(len(found)), "value": found})
        if names := getattr(X, "names", None) if data.endings else None:
            table.insert_column(1, pl.Series("file", names, dtype=pl.String))
        span = f"from {found.min():.4g} to {found.max():.4g}, {found.mean():.4g} on average"
        headline = f"Of {counted(len(found), data.unit)} the values go {span}; below are the largest."
        return Answer(table, headline, table.sort("value", descending=True)[:SHOWN], unit=data.unit)

    # -- files

    def _learned(self) -> Packed:
        learned, tensors = super()._learned()
        return learned | {"mean": self.mean_, "scale": self.scale_}, tensors

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super()._relearn(learned, tensors)
        self.mean_, self.scale_ = float(learned["mean"]), float(learned["scale"])
