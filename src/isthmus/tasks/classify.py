from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.damage.base import Damage
from isthmus.errors import ModelFileError, SettingError
from isthmus.saving import Packed
from isthmus.tasks._few_labels import FOLDS, FewLabels, Lesson
from isthmus.tasks._heads import CLASSIFIERS, Floats
from isthmus.tasks._known import Known, known_classes
from isthmus.tasks._reader import Given, Reader
from isthmus.tasks._spread import neighbour_graph, spread_labels, sureness
from isthmus.tasks.base import Answer
from isthmus.training import Training
from isthmus.words import counted

MOST_SPREAD = 100_000  # samples whose neighbours are looked for unasked
SHOWN = 10
LEAST_SURE = 1e-3  # what a label must weigh, at least, to be taught


def _has_probabilities(model: Any) -> bool:
    """Whether this head says how likely each class is; only a fitted foreign one may not."""
    head = getattr(model, "head_", None)
    return head is None or hasattr(head, "predict_proba")


class SemiSupervisedClassifier(ClassifierMixin, FewLabels):
    """Learns classes from few labels, and from many samples without any.

        corrupt → encoder → bottleneck → CODE, then a head; or the encoder tuned under it

    An autoencoder is trained on all samples. Then the labelled ones teach a head on its codes, or a linear head and the
    encoder under it; and labels may be spread: passed on to samples whose codes are near, which then teach as well, by
    how sure that is. Where settings are "auto", cross-validation on the labelled samples alone decides.

    Erhan et al. 2010, "Why Does Unsupervised Pre-training Help Deep Learning?", JMLR 11:625; Iscen et al. 2019, "Label
    Propagation for Deep Semi-supervised Learning", for the labels that are spread.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that fills in what was masked. Where its network
        is "auto", for tables it has a wide layer and a code as wide as the table, up to 64 numbers.
    head : what reads the code: "logistic", "svm" (a linear one), or a classifier of scikit-learn's.
    tune : whether the whole encoder learns from labels as well, under a linear head that begins as `head`: True, False,
        or a Training object that says how; "auto" where held-out labels are met better so.
    spread : how many times labels are spread, each time over codes of the encoder as it is then; 0 for never; "auto"
        for once where held-out labels are met no worse so.
    damage : how samples are spoiled in tuning, so that few go further: move (for pictures), masking, gaussian ..., or a
        Damage object; then the encoder is tuned on labelled samples alone before labels are spread. None leaves them.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder, which no label has touched; classes_ : the classes, in order;
    transduction_ : the class of each training sample, given or found; tuned_ : whether the encoder was tuned;
    spread_ : how many times labels were spread; validation_scores_ : what cross-validation found, by way;
    tuning_history_ : the losses of tuning, epoch by epoch.

    Raises
    ------
    SettingError : for a setting that is not allowed.
    DataError : for labels that do not fit the samples, or are of one class.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from isthmus import SemiSupervisedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X[:, X.std(0) > 0]
    >>> few = y.copy()
    >>> few[100:] = -1  # nobody knows
    >>> model = SemiSupervisedClassifier(tune=False, random_state=0).fit(X, few)
    >>> bool(model.score(X[100:], y[100:]) > 0.8)
    True
    """

    verbs = ("predict", "predict_proba")
    heads: ClassVar[dict[str, BaseEstimator]] = CLASSIFIERS

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        head: str | BaseEstimator = "logistic",
        tune: Literal["auto"] | bool | Training = "auto",
        spread: Literal["auto"] | int = "auto",
        damage: str | Damage | None = None,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.head = head
        self.tune = tune
        self.spread = spread
        self.damage = damage
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on all of X, and on the labels y, one for each sample: -1, or None or an empty word, where unknown."""
        return self._fit(X, known_classes(y, None if y is None else self._fresh().count(X)), y)

    def _check(self) -> None:
        super()._check()
        automatic = isinstance(self.spread, str) and self.spread == "auto"
        whole = isinstance(self.spread, (int, np.integer)) and not isinstance(self.spread, bool)
        if not (automatic or (whole and int(self.spread) >= 0)):
            raise SettingError(f"spread is {self.spread!r}; it must be a whole number of at least 0, or 'auto'.")

    # -- learning

    def _taught(self, given: Given, known: Known, seed: int) -> Self:
        assert known.classes is not None
        self.classes_ = known.classes
        reader = self._begun(given, len(known.classes))
        features = self._features(reader, given)
        graph = neighbour_graph(features) if self._may_spread(len(given)) else None
        scores = self._scores(reader, features, graph, given, known, seed)
        # of ways that are as good, the one that has learned from more, and then the simple one
        best = max(("spread", "frozen", "tuned"), key=lambda name: scores.get(name, -1.0)) if scores else "frozen"
        self.spread_ = int(best == "spread") if self.spread == "auto" else int(self.spread)
        wanted = best != "frozen" if self.tune == "auto" else self.tune is not False
        lesson, history = Lesson(known.rows, known.values), None
        if self.spread_ and wanted and self.damage is not None:
            reader, graph = self._first_tuned(reader, features, given, known, seed), None
        for turn in range(max(1, self.spread_)):
            if self.spread_:
                graph = neighbour_graph(self._features(reader, given)) if turn or graph is None else graph
                lesson = self._spread(graph, known)
            head = self._frozen(features, lesson, seed)
            if wanted:  # each time from the autoencoder's own weights on: only the labels have become better
                reader, history = self._tuned(self._begun(given, len(known.classes)), head, given, lesson, seed + turn)
            else:
                break  # the codes stay what they are, and so do their neighbours
        self._concluded(reader, head, history, scores)
        return self._found_out(given, known)

    def _first_tuned(self, reader: Reader, features: Floats, given: Given, known: Known, seed: int) -> Reader:
        """The reader, tuned on the labelled samples alone, over and over, each time spoiled in another way.

        Its codes know of the classes, so that labels are spread better over them than over those of the autoencoder.
        """
        head = self._frozen(features, Lesson(known.rows, known.values), seed)
        times = max(1, len(given) // len(known.rows))
        lesson = Lesson(np.tile(known.rows, times), np.tile(known.values, times))
        return self._tuned(reader, head, given, lesson, seed)[0]

    def _may_spread(self, n_samples: int) -> bool:
        return n_samples <= MOST_SPREAD if self.spread == "auto" else bool(self.spread)

    def _scores(
        self, reader: Reader, features: Floats, graph: Any, given: Given, known: Known, seed: int
    ) -> dict[str, float]:
        """The share of held-out labels that each way meets; nothing where there is nothing to choose, or too few."""
        n_folds = min(FOLDS, known.fewest())
        automatic = {"tuned": self.tune == "auto", "spread": self.spread == "auto" and graph is not None}
        if n_folds < 2 or not any(automatic.values()):
            return {}
        found: dict[str, list[float]] = {
            name: [] for name in ("frozen", "spread", "tuned") if automatic.get(name, True)
        }
        for learned, judged in known.folds(n_folds, seed):
            lesson = Lesson(learned.rows, learned.values)
            head = self._frozen(features, lesson, seed)
            answers = {"frozen": head.predict(features[judged.rows])}
            if automatic["spread"]:
                answers["spread"] = self._shares(graph, learned)[judged.rows].argmax(1)
            if automatic["tuned"]:
                twin, _ = self._tuned(reader, head, given, lesson, seed)
                inside = replace(given, dtype=twin.head.weight.dtype)
                outputs = inside.through(twin, lambda batch, twin=twin: twin(batch.x, batch.weight), judged.rows)  # type: ignore[misc]
                answers["tuned"] = outputs.argmax(1)
            for name, answer in answers.items():
                found[name].append(float((answer == judged.values).sum()))
        return {name: sum(met) / len(known.rows) for name, met in found.items()}

    def _shares(self, graph: Any, known: Known) -> Floats:
        return spread_labels(graph, known.rows, known.values, len(self.classes_))

    def _spread(self, graph: Any, known: Known) -> Lesson:
        """All samples, each with the class that reached it most and how sure that is; those with labels with these.

        Samples with labels come several times, so that they are a quarter of all: they alone are never wrong.
        """
        shares = self._shares(graph, known)
        values, sure = shares.argmax(1), sureness(shares)
        values[known.rows], sure[known.rows] = known.values, 1.0
        rows = np.flatnonzero(sure > LEAST_SURE)
        rows = np.concatenate([rows, np.tile(known.rows, len(rows) // (3 * len(known.rows)))])
        return Lesson(rows, values[rows], sure[rows])

    def _targets(self, lesson: Lesson, n_outputs: int) -> Tensor:
        sure = np.ones(len(lesson.rows)) if lesson.sure is None else lesson.sure
        places = torch.from_numpy(np.asarray(lesson.values, dtype=np.int64))
        return torch.nn.functional.one_hot(places, n_outputs) * torch.from_numpy(sure)[:, None]

    def _found_out(self, given: Given, known: Known) -> Self:
        if self.head_ is not None:
            places = np.asarray(self.head_.predict(self._features(self._reader, given)))
        else:
            twin = replace(given, dtype=self._reader.head.weight.dtype)
            outputs = twin.through(self._reader, lambda batch: self._reader(batch.x, batch.weight))
            places = outputs.argmax(1)
        places[known.rows] = known.values
        self.transduction_ = self.classes_[places.astype(np.int64)]
        return self

    # -- using it

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The class of each sample, (n_samples,)."""
        check_is_fitted(self)
        if self.head_ is not None:
            places = np.asarray(self.head_.predict(self.transform(X))).astype(np.int64)
        else:
            places = self._outputs(X).argmax(1)
        found: npt.NDArray[Any] = self.classes_[places]
        return found

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """How likely each class is, (n_samples, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        if self.head_ is not None:
            found: Floats = np.asarray(self.head_.predict_proba(self.transform(X)))
            return found
        outputs = self._outputs(X).astype(np.float64)
        shares = np.exp(outputs - outputs.max(1, keepdims=True))
        found = shares / shares.sum(1, keepdims=True)
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples whose class is met, of those whose label is known."""
        known = known_classes(y, None, least=0)
        assert known.classes is not None
        weight = None if sample_weight is None else np.asarray(sample_weight)[known.rows]
        found = self.predict(X)[known.rows]
        return float(accuracy_score(known.classes[known.values], found, sample_weight=weight))

    def answer(self, X: Any) -> Answer:
        """The class of each sample, and how sure that is.

        Parameters
        ----------
        X : the data.
        """
        check_is_fitted(self)
        data = self.autoencoder_.data_
        X, labels = self._without_labels(data.open(X) if data.endings else X)  # files are looked at once
        found = self.predict(X)
        table = pl.DataFrame({"row": np.arange(len(found)), "class": pl.Series([str(one) for one in found])})
        if names := getattr(X, "names", None) if data.endings else None:
            table.insert_column(1, pl.Series("file", names, dtype=pl.String))
        if not _has_probabilities(self):
            return Answer(table, f"{_told(found, data.unit)}{_met(found, labels)}.", table[:SHOWN], unit=data.unit)
        table = table.with_columns(pl.Series("probability", self.predict_proba(X).max(1)))
        least = float(table["probability"].min())  # type: ignore[arg-type]
        headline = (
            f"{_told(found, data.unit)}{_met(found, labels)}; below are the least sure ones, down to {least:.0%}."
        )
        return Answer(table, headline, table.sort("probability")[:SHOWN], unit=data.unit)

    # -- files

    def _learned(self) -> Packed:
        learned, tensors = super()._learned()
        found = np.searchsorted(self.classes_, self.transduction_)
        tensors["transduction"] = torch.from_numpy(np.asarray(found, dtype=np.int64))
        words = {"classes": self.classes_.tolist(), "spread": self.spread_}
        return learned | words, tensors

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super()._relearn(learned, tensors)
        self.classes_, self.spread_ = np.array(learned["classes"]), int(learned["spread"])
        if self.classes_.ndim != 1 or len(self.classes_) != self._reader.head.out_features:
            raise ModelFileError("the classes in this file and its head do not go together.")
        self.transduction_ = self.classes_[tensors["transduction"].numpy()]


def _told(found: npt.NDArray[Any], unit: str) -> str:
    """How many there are of each class, the most frequent ones by name."""
    classes, counts = np.unique(found, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    listed = ", ".join(f"{counts[place]:,} {str(classes[place])!r}" for place in order[:5])
    rest = f", {int(counts[order[5:]].sum()):,} of other classes" if len(classes) > 5 else ""
    return f"Of {counted(len(found), unit)}: {listed}{rest}"


def _met(found: npt.NDArray[Any], labels: Any) -> str:
    """How many of the labels that stand beside new data are met."""
    if labels is None:
        return ""
    try:
        known = known_classes(labels, len(found), least=1)
    except ValueError:  # none is known
        return ""
    assert known.classes is not None
    met = int((known.classes[known.values].astype(str) == found[known.rows].astype(str)).sum())
    return f"; {met:,} of the {len(known.rows):,} labels in the data are met"
