from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.errors import DataError, SettingError
from isthmus.likelihoods import Mixed, Normal
from isthmus.part import Limit
from isthmus.saving import Packed, put, take
from isthmus.scores.base import Score
from isthmus.tasks._answer import Cut, check_counts, odd_rows
from isthmus.tasks._choosing import arranged
from isthmus.tasks._cut import Cutting
from isthmus.tasks._heat import channel_costs, heat_maps, pixel_costs, singly
from isthmus.tasks._panel import Panel
from isthmus.tasks._reasons import column_names, in_words, read_distortions, row_scorer, shares
from isthmus.tasks._together import train_plans
from isthmus.tasks.base import Answer, Plan, Task
from isthmus.thresholds.base import Threshold
from isthmus.training.applying import Array

TRIM = Limit(0, 1, optional=True)


class AnomalyDetector(Cutting, OutlierMixin, Task):
    """Finds the odd rows, and says why.

        corrupt → encoder → bottleneck → decoder → likelihood → DISTORTION, and where it is large

    An autoencoder learns what usual rows look like. A row that it cannot give back is odd: the score is the distortion,
    in nats, of pictures whose sizes may differ in nats per value. Of tables it asks three autoencoders how far each row
    is from usual ones, as they see it, and the score says how rare that is: 3 nats one usual row in 20, 7 one in 1,100.
    Train on rows that are mostly usual. `heat_map` shows where pictures are odd.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that learns how sure it is of each number.
    contamination : share of the training rows to call odd, above 0 and at most 0.5 (scikit-learn's meaning).
    threshold : another rule for the cut: quantile, deviation, robust, fixed, capacity, conformal, extreme_value,
        tuned, or a Threshold object; None goes by contamination. `Conformal(0.05)` promises a false-alarm rate, on rows
        it keeps out of training; `Tuned()` takes the labels in y. `set_threshold` changes the rule after training.
    scores : what says how odd a row is: distortion, neighbour_distance, whitened_residual, code_distance, a Score
        object, or a list of them, of which the mean counts. "auto" asks tables for the neighbour_distance, of the
        autoencoder and of two more, with short and with long codes, that learn beside it from noisy rows; and for the
        distortion alone where data are no tables or read from disk in pieces, n_components is a number, or training
        keeps a checkpoint.
    trim : share of the training rows, the oddest after a first fit, to leave out of a second one; for data of which
        some rows are odd. None for no second one, else from 0 to below 1.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; threshold_ : the score above which a row is odd, in nats;
    decision_scores_ : scores of the training rows; labels_ : 1 for those above the threshold, else 0, as in PyOD;
    offset_ : minus the threshold, as in scikit-learn.

    Raises
    ------
    SettingError : for a contamination outside (0, 0.5], a trim outside [0, 1), or a score that is unknown or cannot
        be taken of these data.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import AnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 1)) @ np.ones((1, 4))
    >>> X[7] = [3.0, -3.0, 3.0, -3.0]
    >>> detector = AnomalyDetector(contamination=0.01, random_state=0).fit(X)
    >>> int(np.argmin(detector.score_samples(X)))
    7
    """

    verbs = ("predict", "explain")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        contamination: float = 0.1,
        threshold: str | Threshold | None = None,
        scores: str | Score | Sequence[str | Score] = "auto",
        trim: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.contamination = contamination
        self.threshold = threshold
        self.scores = scores
        self.trim = trim
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """An autoencoder that also says how sure it is of each number: a miss counts by how unusual it is there."""
        return Autoencoder(likelihood=Mixed(numeric=Normal(scale="learned", minimum=0.1)))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and set the cut. y is ignored, unless the rule for the cut is tuned on it."""
        plan = self._plan(X, y)
        train_plans([plan], X)
        return self._conclude(X, plan, y)

    def _plan(self, X: Any, y: Any = None) -> Plan:
        if not TRIM.allows(self.trim) or self.trim == 1:
            raise SettingError(f"trim is {self.trim!r}; it must be None, or a share of at least 0 and below 1.")
        rule, model = self._rule(), self._fresh()
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        rows, kept_out = self._parts(X, rule, model)
        rows = rows if rows is None else self._trained_on(rows, y)
        return arranged(Plan(model, rows, kept_out), self.scores, X)

    def _conclude(self, X: Any, plan: Plan, y: Any = None) -> Self:
        self._learn(X, plan)
        if self.trim:
            plan = self._trimmed(X, plan)
            train_plans([plan], X)
            self._learn(X, plan)
        self.decision_scores_ = -self.score_samples(X)
        self._set_cut(plan.kept_out, y)
        return self

    def _learn(self, X: Any, plan: Plan) -> None:
        """Take over what was trained, and learn from it what is usual."""
        self.autoencoder_ = plan.autoencoder
        for model in plan.models:
            model.data_.owner = type(self).__name__
        if plan.scores and self.autoencoder_.data_.spec.free:
            raise SettingError(
                f"scores={self.scores!r} compares samples with each other, and these may differ in size; use "
                "scores='distortion', or give all of them one size."
            )
        self._panel = Panel.fit(plan.scores, plan.models, X, plan.rows) if plan.scores else None

    def _trimmed(self, X: Any, plan: Plan) -> Plan:
        """The same plan, untrained, on all but the oddest of its rows, whether these lie apart or close together."""
        rows = np.arange(self.autoencoder_.count(X)) if plan.rows is None else plan.rows
        n_odd = int((self.trim or 0.0) * len(rows))
        beyond = [score.beyond(n_odd, len(rows)) for score in plan.scores]
        scores = Panel.fit(beyond, plan.models, X, plan.rows)(X) if beyond else -self.score_samples(X)
        kept = np.sort(np.argsort(scores[rows], kind="stable")[: len(rows) - n_odd])
        return replace(self._plan(X), rows=rows[kept], kept_out=plan.kept_out)

    def _parts(self, X: Any, rule: Threshold, model: Autoencoder) -> tuple[Any, Any]:
        """Rows to train on and rows to set the cut on; None, None for all rows in both."""
        if not rule.calibration:
            return None, None
        n_samples = model.count(X)
        order = fitting.random_numbers(model.random_state).permutation(n_samples)
        n_calibration = round(rule.calibration * n_samples)
        if not 0 < n_calibration < n_samples:
            raise DataError(f"{rule!r} keeps {n_calibration} of {n_samples} rows out of training; give more rows.")
        return np.sort(order[n_calibration:]), np.sort(order[:n_calibration])

    def score_samples(self, X: Any) -> Array:
        """Minus the score of each row, in nats, shape (n_samples,): lower is odder.

        The distortion of pictures whose sizes may differ is in nats per present value, so that large ones are not odd
        for that.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        if self._panel is not None:
            return -self._panel(X)
        data, means = self.autoencoder_.data_, singly(self.autoencoder_, X, pixel_costs)
        return -(self.autoencoder_.read(X, read_distortions(data)) if means is None else means[:, 0])

    def scorer(self) -> Callable[[Any], Any]:
        """A callable that gives what `score_samples` gives, for one row at a time or a few: fast, without validation.

        It takes floats in the data's own units, shape (n_features,) or (n_samples, n_features), and gives a number or
        an array (n_samples,), computed in float64. Gaps are NaN. It is a snapshot: later training does not change it.
        Of plain dense models of number columns it runs in NumPy, else through torch; `scores="distortion"` takes
        microseconds, the default a good part of a millisecond. Where samples are no rows of a table it is
        `score_samples` itself.

        >>> import numpy as np
        >>> from isthmus import AnomalyDetector
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> detector = AnomalyDetector(random_state=0).fit(X)
        >>> score = detector.scorer()
        >>> bool(np.isclose(score(X[0]), detector.score_samples(X[:1])[0]))
        True
        """
        check_is_fitted(self)
        if len(self.autoencoder_.data_.spec.shape) != 1:
            return self.score_samples
        if self._panel is not None:
            return self._panel.scorer(type(self).__name__)
        return row_scorer(self.autoencoder_, type(self).__name__)

    def _looked_at(self, X: Any) -> Any:
        """Pictures opened, so that files are looked at once; other data as they are."""
        data = self.autoencoder_.data_
        return data.open(X) if isinstance(data, Images) else X

    def heat_map(self, X: Any) -> Any:
        """Where pictures are odd: nats of each pixel, in the picture's own size.

        An array (n_samples, height, width) for an array of pictures, else a list of arrays (height, width), float32. A
        map sums to the distortion, which is minus `score_samples` unless `scores` says otherwise; where sizes may
        differ, to that times the number of present values. Raises DataError where samples are no pictures: `explain`
        speaks of those.
        """
        check_is_fitted(self)
        return heat_maps(self.autoencoder_, X)

    def decision_function(self, X: Any) -> Array:
        """The score above the cut, shape (n_samples,): negative for odd rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """-1 for odd rows and 1 for usual ones, shape (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any) -> Array:
        """Each cell's share in making its row odd, in nats, shape (n_samples, n_columns).

        A cell's share says how much less odd the row is once that cell alone holds what is expected there by all other
        cells: in the score, and a quarter in distortion and half of how rare the code is (wholly in these where
        `scores="distortion"`); the mean over all autoencoders; less what a random entry would cost there (the logarithm
        of the number of categories, 2.5 for a number), so that it may be below 0. Absent cells have none. Rows are
        scored once for each column, so that this takes as many times longer. The columns are `reason_columns_`: of
        pictures the channels, by distortion alone; `heat_map` shows places.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        means = singly(self.autoencoder_, X, channel_costs)
        return shares(self.autoencoder_, self._panel, X) if means is None else means

    @property
    def reason_columns_(self) -> list[str]:
        """The names of the columns that `explain` speaks of."""
        check_is_fitted(self)
        return column_names(self.autoencoder_.data_)

    @property
    def labels_(self) -> npt.NDArray[np.int64]:
        """1 for each training row that is odd, 0 for the others, shape (n_samples,): PyOD's name."""
        check_is_fitted(self)
        return (self.decision_scores_ > self.threshold_).astype(np.int64)

    def answer(self, X: Any, n_reasons: int = 3, n_rows: int = 20, fdr: float | None = None) -> Answer:
        """Scores of all rows, and the oddest with their reasons in words: cells of a row, places in a picture.

        Parameters
        ----------
        X : the data.
        n_reasons : how many reasons to name for each row, at least 1.
        n_rows : how many rows to show at most, at least 1.
        fdr : of the rows called odd at most this share is usual, on average; None goes by the cut. See `predict_batch`.
        """
        check_counts(n_reasons, n_rows)
        check_is_fitted(self)
        X = self._looked_at(X)
        data = self.autoencoder_.data_
        files = X.names if isinstance(data, Images) else ()
        scores = -self.score_samples(X)
        cut = Cut(self.threshold_, self.calibration_scores_, fdr)
        return odd_rows(scores, cut, n_rows, lambda rows: self.reasons(X, rows, n_reasons), data.unit, files)

    def reasons(self, X: Any, rows: npt.NDArray[np.int64], n_reasons: int = 3) -> list[str]:
        """In words, what makes these rows odd: what stands in a cell and what was expected, or where in a picture."""
        check_is_fitted(self)
        return in_words(self.autoencoder_, self._panel, X, rows, n_reasons)

    def _learned(self) -> Packed:
        document, tensors = self._pack_cut()
        if self._panel is None:
            return document, tensors
        panel, of_panel = self._panel.pack()
        return document | {"panel": panel}, tensors | put(of_panel, "panel")

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self._unpack_cut(learned, tensors)

    def _unpack(self, fitted: dict[str, Any], tensors: dict[str, Tensor], parts: Iterable[object]) -> None:
        super()._unpack(fitted, tensors, parts)
        panel, of_panel = fitted["own"].get("panel"), take(tensors, "own.panel")
        self._panel = None if panel is None else Panel.unpack(self.autoencoder_, panel, of_panel, parts)
