"""Where a detector cuts: rules that can be changed after training, p-values, and false discoveries in a batch.

Axes: n rows kept out of training, m rows of a batch.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.part import resolve
from isthmus.saving import Packed
from isthmus.tasks._answer import Cut
from isthmus.tasks._labels import odd_labels
from isthmus.tasks._rules import Costs, report
from isthmus.thresholds._p_values import kept_out_scores, p_values_of
from isthmus.thresholds.base import Scores, Threshold, Verdicts
from isthmus.thresholds.fixed import Fixed
from isthmus.thresholds.quantile import Quantile
from isthmus.training.applying import Array


class Cutting:
    """What a detector knows of its cut; the part of `AnomalyDetector` that is the same whatever the score is."""

    contamination: float
    threshold: str | Threshold | None
    decision_scores_: Array
    threshold_: float
    offset_: float
    #: Scores of usual rows that were kept out of training, (n,); None where none were.
    calibration_scores_: Array | None

    def score_samples(self, X: Any) -> Array:
        """Minus the score of each row."""
        raise NotImplementedError

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """-1 for odd rows and 1 for usual ones."""
        raise NotImplementedError

    # ---- the rule

    def _rule(self) -> Threshold:
        if not isinstance(self.contamination, (int, float)) or not 0 < self.contamination <= 0.5:
            raise SettingError(f"contamination is {self.contamination!r}; it must be a share above 0 and at most 0.5.")
        if self.threshold is None:
            return Quantile(self.contamination)
        return resolve("thresholds", self.threshold, Threshold)

    def _set_cut(self, kept_out: npt.NDArray[np.int64] | None, y: Any = None) -> None:
        """Cut by the scores of the training rows, or of those kept out."""
        rule, scores = self._rule(), self.decision_scores_
        odd = odd_labels(y, len(scores)) if rule.labelled and y is not None else None
        if kept_out is not None:
            scores, odd = scores[kept_out], None if odd is None else odd[kept_out]
        self.calibration_scores_ = None if kept_out is None else scores if odd is None else scores[~odd]
        self._take_cut(rule.cut(scores) if odd is None else rule.cut_labelled(scores, odd))

    def _trained_on(self, rows: npt.NDArray[np.int64], y: Any) -> npt.NDArray[np.int64]:
        """The rows to train on, without those that labels call odd where the rule takes labels."""
        if y is None or not self._rule().labelled:
            return rows
        usual: npt.NDArray[np.bool_] = ~odd_labels(y, len(y))[rows]
        return rows[usual]

    def _take_cut(self, cut: float) -> None:
        self.threshold_, self.offset_ = float(cut), -float(cut)

    def set_threshold(self, threshold: str | float | Threshold | None = None, X: Any = None, y: Any = None) -> Self:
        """Change the rule for the cut, without training again; also on a model out of a file.

        Parameters
        ----------
        threshold : the rule: fixed, deviation, robust, quantile, capacity, conformal, extreme_value, tuned, a Threshold
            object, or a number, above which a score is odd; None goes by contamination.
        X : rows that the model was not trained on, to set the cut on; they should be usual ones where y does not say
            which are odd. None takes the scores of the rows kept out of training, where there are any, else those of
            the training rows.
        y : which rows of X are odd: True, 1 or "odd", or -1 where usual ones are 1. `tuned` needs them.

        Raises
        ------
        SettingError : for a rule that is unknown, or y without X.
        DataError : for a rule that needs rows kept out of training, or labels, where there are none.

        >>> import numpy as np
        >>> from isthmus import AnomalyDetector
        >>> X = np.random.default_rng(0).normal(size=(300, 3))
        >>> detector = AnomalyDetector(contamination=0.1, random_state=0).fit(X)
        >>> [int((detector.set_threshold(rule).predict(X) == -1).sum()) for rule in (None, "quantile(share=0.2)")]
        [30, 60]
        """
        check_is_fitted(self)
        rule = Fixed(float(threshold)) if isinstance(threshold, (int, float, np.number)) else threshold
        before, self.threshold = self.threshold, rule
        try:
            self._cut_by(self._rule(), X, y)
        except Exception:
            self.threshold = before
            raise
        return self

    def _cut_by(self, rule: Threshold, X: Any, y: Any) -> None:
        if X is None and y is not None:
            raise SettingError("y is given without X; give the rows that it speaks of, too.")
        if X is None:
            self._take_cut(rule.cut(self._reference(rule)))
            return
        scores = -self.score_samples(X)
        odd = None if y is None else odd_labels(y, len(scores))
        cut = rule.cut(scores) if odd is None else rule.cut_labelled(scores, odd)
        self.calibration_scores_ = scores if odd is None else scores[~odd]
        self._take_cut(cut)

    def _reference(self, rule: Threshold) -> Scores:
        """The scores that a rule cuts by where no others are given."""
        if self.calibration_scores_ is not None:
            return self.calibration_scores_
        if rule.calibration and not rule.labelled:
            raise DataError(
                f"{rule!r} needs rows kept out of training, and this model was trained on all; give rows that it has "
                "not seen as X, or fit with this threshold."
            )
        return self.decision_scores_

    # ---- p-values

    def p_values(self, X: Any) -> Array:
        """How likely a usual row is to score as much as each row does, shape (n_samples,); small for odd ones.

        Of usual rows a share p at most has a p-value of p or less, for every p: the rank of a row among those that were
        kept out of training (conformal; Bates et al. 2023). No p-value is below 1 / (number of those rows + 1).

        Raises
        ------
        DataError : where no rows were kept out; fit with `threshold="conformal"`, or give some to `set_threshold`.
        """
        check_is_fitted(self)
        return p_values_of(-self.score_samples(X), kept_out_scores(self.calibration_scores_))

    def predict_batch(
        self, X: Any, *, fdr: float | None = None, at_most: int | float | None = None
    ) -> npt.NDArray[np.int64]:
        """-1 for odd rows and 1 for usual ones, judged together, shape (n_samples,).

        Parameters
        ----------
        X : the rows of the batch.
        fdr : false-discovery rate: of the rows called odd, at most this share is usual, on average over batches
            (Benjamini-Hochberg on `p_values`); between 0 and 1. None takes the rows above the cut.
        at_most : how many rows somebody can look at, a number or a share below 1: the oddest of those called odd.

        Raises
        ------
        SettingError : for an fdr outside (0, 1), or an `at_most` that is neither a number of rows nor a share.
        DataError : for an fdr where no rows, or too few, were kept out of training.

        >>> import numpy as np
        >>> from isthmus import AnomalyDetector
        >>> X = np.random.default_rng(0).normal(size=(600, 1)) @ np.ones((1, 4))
        >>> detector = AnomalyDetector(threshold="conformal", random_state=0).fit(X[:500])
        >>> X[590:] *= [1, -1, 1, -1]
        >>> odd = detector.predict_batch(X[500:], fdr=0.2) == -1
        >>> int(odd[90:].sum()) > 5, int(odd[:90].sum()) < 5
        (True, True)
        """
        check_is_fitted(self)
        scores = -self.score_samples(X)
        odd = Cut(self.threshold_, self.calibration_scores_, fdr).odd(scores) & among_largest(scores, at_most)
        return np.where(odd, -1, 1)

    # ---- rules side by side

    def thresholds_report(
        self, X: Any = None, y: Any = None, rules: Any = (), *, miss: float = 10.0, false_alarm: float = 1.0
    ) -> Any:
        """Where each rule would cut, and what of it: a polars frame with a row for each rule, this model's own first.

        Parameters
        ----------
        X : the rows to judge; None judges the training rows by their scores.
        y : which of them are odd, as for `set_threshold`; then there are columns for what is found.
        rules : names or Threshold objects besides those that are always shown.
        miss, false_alarm : what an odd row costs that is taken for usual, and a usual one that is taken for odd.

        Returns
        -------
        A frame with the columns rule, cut, n_odd, share_odd and expected_false_alarms (the share of usual rows that the
        rule promises, or that lie above the cut among those it is set on); with y also false_alarms (the share that
        was), precision, recall, f1 and cost, for rules tuned on y by cross-validation; note says why there is no cut.
        """
        check_is_fitted(self)
        scores = self.decision_scores_ if X is None else -self.score_samples(X)
        odd = None if y is None else odd_labels(y, len(scores))
        others = [resolve("thresholds", one, Threshold) for one in rules]
        return report(self._rule(), self.threshold_, others, self._reference, scores, odd, Costs(miss, false_alarm))

    # ---- files

    def _pack_cut(self) -> Packed:
        tensors = {"scores": torch.from_numpy(self.decision_scores_)}
        if self.calibration_scores_ is not None:
            tensors["calibration"] = torch.from_numpy(np.ascontiguousarray(self.calibration_scores_))
        return {"threshold": self.threshold_}, tensors

    def _unpack_cut(self, learned: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self._take_cut(float(learned["threshold"]))
        self.decision_scores_ = tensors["scores"].numpy()
        calibration = tensors.get("calibration")
        if calibration is not None and (calibration.ndim != 1 or not calibration.is_floating_point()):
            raise ModelFileError("the scores of rows kept out of training in this file are no list of numbers.")
        self.calibration_scores_ = None if calibration is None else calibration.numpy()


def among_largest(scores: Scores, at_most: int | float | None) -> Verdicts:
    """Which scores are among the largest, so many or so large a share of them; all for None.

    >>> among_largest(np.array([3.0, 1.0, 2.0, 5.0]), 2).tolist()
    [True, False, False, True]
    """
    if at_most is None:
        return np.ones(len(scores), dtype=bool)
    if isinstance(at_most, bool) or not at_most >= 0 or (at_most >= 1 and at_most % 1):
        raise SettingError(f"at_most is {at_most!r}; it must be a whole number of rows, or a share below 1.")
    number = int(at_most * len(scores) + 1e-9) if at_most < 1 else int(at_most)
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[:number]] = True
    return chosen
