from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting, giving
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data._image_samples import ImageSamples
from isthmus.errors import DataError, SettingError
from isthmus.light.model import scorer as light_scorer
from isthmus.light.wording import reason
from isthmus.likelihoods import Mixed, Normal
from isthmus.module import AutoencoderModule
from isthmus.part import resolve
from isthmus.reading import light_model, through_torch
from isthmus.saving import Packed
from isthmus.tasks._answer import check_counts, odd_rows
from isthmus.tasks._heat import Read, channel_costs, cost_sides, maps, means_over_values, pixel_costs
from isthmus.tasks._places import place_in_words
from isthmus.tasks.base import Answer, Plan, Task
from isthmus.thresholds.base import Threshold
from isthmus.thresholds.quantile import Quantile
from isthmus.training import Batch
from isthmus.training.applying import Array, apply


class AnomalyDetector(OutlierMixin, Task):
    """Finds the odd rows, and says why.

        corrupt → encoder → bottleneck → decoder → likelihood → DISTORTION, and where it is large

    An autoencoder learns what usual rows look like; a row that it cannot give back is odd. The score is the distortion
    in nats; of pictures whose sizes may differ in nats per value, whatever their size. Train on rows that are mostly
    usual. `heat_map` shows where pictures are odd.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that learns how sure it is of each number.
    contamination : share of the training rows to call odd, above 0 and at most 0.5 (scikit-learn's meaning).
    threshold : another rule for the cut: quantile, deviation, fixed, conformal, or a Threshold object; None goes by
        contamination. `Conformal(0.05)` promises a false-alarm rate, on rows it keeps out of training.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; threshold_ : the score above which a row is odd, in nats;
    decision_scores_ : scores of the training rows; offset_ : minus the threshold, as in scikit-learn.

    Raises
    ------
    SettingError : for a contamination outside (0, 0.5].

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
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.contamination = contamination
        self.threshold = threshold
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """An autoencoder that also says how sure it is of each number: a miss counts by how unusual it is there."""
        return Autoencoder(likelihood=Mixed(numeric=Normal(scale="learned", minimum=0.1)))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and set the cut. y is ignored."""
        plan = self._plan(X)
        plan.autoencoder.fit_rows(X, plan.rows)
        return self._conclude(X, plan)

    def _plan(self, X: Any) -> Plan:
        rule, model = self._rule(), self._fresh()
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return Plan(model, *self._parts(X, rule, model))

    def _conclude(self, X: Any, plan: Plan) -> Self:
        self.autoencoder_ = plan.autoencoder
        self.autoencoder_.data_.owner = type(self).__name__
        scores = self.decision_scores_ = -self.score_samples(X)
        self.threshold_ = self._rule().cut(scores if plan.kept_out is None else scores[plan.kept_out])
        self.offset_ = -self.threshold_
        return self

    def _rule(self) -> Threshold:
        if not isinstance(self.contamination, (int, float)) or not 0 < self.contamination <= 0.5:
            raise SettingError(f"contamination is {self.contamination!r}; it must be a share above 0 and at most 0.5.")
        if self.threshold is None:
            return Quantile(self.contamination)
        return resolve("thresholds", self.threshold, Threshold)

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
        """Minus the distortion of each row, in nats, shape (n_samples,): lower is odder.

        Of pictures whose sizes may differ it is in nats per present value, so that large ones are not odd for that.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        means = self._means_over_values(X, pixel_costs)
        return -(self.autoencoder_.read(X, self._score) if means is None else means[:, 0])

    def scorer(self) -> Callable[[Any], Any]:
        """A callable that gives what `score_samples` gives, for one row at a time or a few: fast, without validation.

        It takes floats in the data's own units, shape (n_features,) or (n_samples, n_features), and gives a number or
        an array (n_samples,), computed in float64. Gaps are NaN. It is a snapshot: later training does not change it.
        Of a plain dense model of number columns it runs in NumPy, else through torch. Where samples are no rows of a
        table it is `score_samples` itself.

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
        light = light_model(self.autoencoder_._pack(), type(self).__name__)
        if light is not None:
            return light_scorer(light, with_rate=False)
        return through_torch(self.autoencoder_, lambda module, batch: -self._score(module, batch), "score_samples")

    def _score(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """The distortion of each sample, (B,); for each present value where sizes may differ."""
        distortion = module.reconstruct(batch.x, batch.weight).distortion
        assert distortion is not None
        if not self.autoencoder_.data_.spec.free:
            return distortion.mean(0)
        present = torch.ones_like(batch.x) if batch.weight is None else (batch.weight > 0).to(batch.x)
        return distortion.mean(0) / present.flatten(1).sum(1).clamp_min(1)

    def _means_over_values(self, X: Any, read: Read) -> Array | None:
        """The same of maps, where pictures are read one by one: of mixed sizes, or large."""
        model, data = self.autoencoder_, self.autoencoder_.data_
        if not data.spec.free:
            return None
        dtype = data.number_type(X)
        return means_over_values(model.as_type(dtype), data, data.open(X), dtype, read, model.verbose)

    def _looked_at(self, X: Any) -> Any:
        """Pictures opened, so that files are looked at once; other data as they are."""
        data = self.autoencoder_.data_
        return data.open(X) if isinstance(data, Images) else X

    def heat_map(self, X: Any) -> Any:
        """Where pictures are odd: nats of each pixel, in the picture's own size.

        An array (n_samples, height, width) for an array of pictures, else a list of arrays (height, width), float32. A
        map sums to minus `score_samples`; where sizes may differ, to that times the number of present values. Raises
        DataError where samples are no pictures: `explain` speaks of those.
        """
        check_is_fitted(self)
        data = self.autoencoder_.data_
        if not isinstance(data, Images):
            raise DataError(
                f"a heat map is for pictures, and this model is for {data.name()}; `explain` tells their odd cells."
            )
        samples, dtype = data.open(X), data.number_type(X)
        return data.give_maps(maps(self.autoencoder_.as_type(dtype), data, samples, dtype), samples)

    def decision_function(self, X: Any) -> Array:
        """The score above the cut, shape (n_samples,): negative for odd rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """-1 for odd rows and 1 for usual ones, shape (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any) -> Array:
        """Each cell's share of its row's score, in nats, shape (n_samples, n_columns).

        A cell's share is the drop in score when the cell alone takes the value that the model expects there. Absent
        cells have none. The columns are `reason_columns_`: of pictures the channels; `heat_map` shows the places.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        means = self._means_over_values(X, channel_costs)
        return self.autoencoder_.read(X, self._shares) if means is None else means

    @property
    def reason_columns_(self) -> list[str]:
        """The names of the columns that `explain` speaks of."""
        check_is_fitted(self)
        spec, data = self.autoencoder_.data_.spec, self.autoencoder_.data_
        return [column.name for column in spec.columns] or list(data.feature_names)

    def answer(self, X: Any, n_reasons: int = 3, n_rows: int = 20) -> Answer:
        """Scores of all rows, and the oddest with their reasons in words: cells of a row, places in a picture.

        Parameters
        ----------
        X : the data.
        n_reasons : how many reasons to name for each row, at least 1.
        n_rows : how many rows to show at most, at least 1.
        """
        check_counts(n_reasons, n_rows)
        check_is_fitted(self)
        X = self._looked_at(X)
        data = self.autoencoder_.data_
        files = X.names if isinstance(data, Images) else ()
        scores = -self.score_samples(X)
        return odd_rows(
            scores, self.threshold_, n_rows, lambda rows: self.reasons(X, rows, n_reasons), data.unit, files
        )

    def reasons(self, X: Any, rows: npt.NDArray[np.int64], n_reasons: int = 3) -> list[str]:
        """In words, what makes these rows odd: what stands in a cell and what was expected, or where in a picture."""
        check_is_fitted(self)
        data = self.autoencoder_.data_
        if isinstance(data, Images) and hasattr(self.autoencoder_.module_, "cells"):
            return self._places(data, data.open(X).select(np.asarray(rows).tolist()), n_reasons)
        samples, module = data.open(X), self.autoencoder_.as_type(torch.float64)

        def batches(index: slice) -> Batch:
            return data.batch(samples, np.asarray(rows)[index], torch.float64)

        shares = apply(module, batches, len(rows), lambda batch: self._shares(module, batch), data.spec.size)
        expected = torch.from_numpy(
            apply(
                module,
                batches,
                len(rows),
                lambda batch: giving.decoded(module, batch).point,
                data.spec.size,
            )
        )
        given = batches(slice(None)).x
        return [self._reason(shares[i], given[i], expected[i], n_reasons) for i in range(len(rows))]

    def _places(self, data: Images, samples: ImageSamples, n_reasons: int) -> list[str]:
        """In words, where these pictures are odd."""
        dtype = data.number_type(samples)
        told = []
        for place, sides in enumerate(maps(self.autoencoder_.as_type(dtype), data, samples, dtype, cost_sides)):
            height, width = samples.model_size(place)
            cost, present, lighter = sides[:, :height, :width].numpy()
            told.append(place_in_words(cost, n_reasons, present, lighter, samples.source.form(place).size))
        return told

    def _reason(self, shares: Array, given: Tensor, expected: Tensor, n_reasons: int) -> str:
        describe, names = self.autoencoder_.data_.describe, self.reason_columns_
        return reason(shares, names, lambda place: (describe(place, given), describe(place, expected)), n_reasons)

    def _shares(self, module: AutoencoderModule, batch: Batch) -> Tensor:
        """The drop in distortion when one cell at a time takes its expected value, (B, n_columns)."""
        spec, x, weight = self.autoencoder_.data_.spec, batch.x, batch.weight
        score = self._score(module, batch)
        expected = giving.decoded(module, batch).point
        shape = [1] * x.ndim
        shape[spec.axis] = spec.n_channels
        drops = []
        for column in range(spec.n_columns):
            cell = (spec.column_of == column).to(x.device).view(shape)
            drop = score - self._score(module, Batch(torch.where(cell, expected, x), weight))
            present = cell.expand_as(x) if weight is None else cell & (weight > 0)
            drops.append(torch.where(present.flatten(1).any(1), drop, 0.0))
        return torch.stack(drops, 1)

    def _learned(self) -> Packed:
        return {"threshold": self.threshold_}, {"scores": torch.from_numpy(self.decision_scores_)}

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.threshold_ = float(learned["threshold"])
        self.offset_ = -self.threshold_
        self.decision_scores_ = tensors["scores"].numpy()
