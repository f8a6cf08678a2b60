"""What a classifier and a regressor share that learn from all samples and from the labels of some."""

from __future__ import annotations

import copy
import json
import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.damage.base import Damage
from isthmus.data import Tables
from isthmus.errors import ModelFileError, SettingError
from isthmus.networks import Dense
from isthmus.part import resolve
from isthmus.saving import Packed
from isthmus.storage import tensor_text, text_tensor
from isthmus.tasks._heads import Floats, fit_head, resolve_head, weights_of
from isthmus.tasks._known import Known
from isthmus.tasks._plain_torch import plain_module
from isthmus.tasks._reader import Given, Lessons, Reader, read_features, tuned
from isthmus.tasks.base import Task
from isthmus.training import History, Training

log = logging.getLogger("isthmus")
UNITS = 256  # of the network for tables
MOST_CODE = 64  # numbers in the code of a table
FOLDS = 3


@dataclass(frozen=True)
class Lesson:
    """What is taught: these rows, their values, and how sure each is (None: all alike)."""

    rows: Any
    values: Any
    sure: Floats | None = None


class FewLabels(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Task):
    """Base of `SemiSupervisedClassifier` and `SemiSupervisedRegressor`."""

    labels: ClassVar[bool] = True
    heads: ClassVar[dict[str, BaseEstimator]]
    head: Any
    tune: Any
    damage: str | Damage | None
    random_state: Any
    head_: Any

    def default(self) -> Autoencoder:
        """An autoencoder that fills in what was masked; its codes keep what the parts of a sample say of each other."""
        return Autoencoder(variant="denoising(damage='masking')")

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = self._fresh()
        data = fitting.data_type(model.data_type, X, type(self).__name__)
        if isinstance(model.network, str) and model.network == "auto" and isinstance(data, Tables):
            model.network = Dense(widths=(UNITS,))
            if model.n_components == "auto":
                model.n_components = min(data.fit(X).spec.size, MOST_CODE)
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model

    def _fit(self, X: Any, known: Known, y: Any) -> Self:
        """Train on all samples, then learn from the labels of some."""
        return self._learn(X, known, self._start(X, y))

    def _start(self, X: Any, y: Any, pretrained: bool = True) -> int:
        """Train the autoencoder on all samples, or leave it as it begins; the seed of what comes after."""
        self._check()
        name = getattr(y, "name", None)  # of a frame's column
        self.label_name_ = name if isinstance(name, str) else ""
        self.autoencoder_ = model = self.prepared(X)
        seed = int(fitting.random_numbers(model.random_state).randint(2**31))
        resolve_head(self.head, self.heads, seed)
        if pretrained:
            model.fit_rows(X)
        else:
            run = model._start(*model._batches(X, None, None))
            model.module_, model.history_ = run.module.eval(), History(ended="was not trained")
            model.code_density_ = fitting.code_density(run.module, run.some)
        model.data_.owner = type(self).__name__
        return seed

    def _learn(self, X: Any, known: Known, seed: int) -> Self:
        """Learn from labels what the autoencoder at hand allows."""
        data = self.autoencoder_.data_
        return self._taught(Given(data, data.open(X), data.number_type(X)), known, seed)

    @abstractmethod
    def _taught(self, given: Given, known: Known, seed: int) -> Self:
        """Learn from the labels, in the way that the settings say or cross-validation finds best."""

    def _check(self) -> None:
        if not (isinstance(self.tune, (bool, Training)) or (isinstance(self.tune, str) and self.tune == "auto")):
            raise SettingError(f"tune is {self.tune!r}; it must be True, False, 'auto', or a Training object.")
        if self.damage is not None:
            resolve("damage", self.damage, Damage)

    # -- the two ways to learn

    def _begun(self, given: Given, n_outputs: int) -> Reader:
        """A reader of the autoencoder's code, whose head has learned nothing."""
        module = self.autoencoder_.as_type(given.dtype)
        codes = given.through(module, lambda batch: read_features(module, batch.x, batch.weight)).astype(np.float64)
        scale = codes.std(0)
        scale = torch.from_numpy(np.where(scale > 1e-8 * np.abs(codes).max(initial=0.0), scale, 1.0))
        damage = None if self.damage is None else resolve("damage", self.damage, Damage)
        mean = torch.from_numpy(codes.mean(0))
        return Reader(copy.deepcopy(self.autoencoder_.module_), mean, scale, n_outputs, damage).eval()

    def _features(self, reader: Reader, given: Given) -> Floats:
        twin = _as_type(reader, given.dtype)
        return given.through(twin, lambda batch: twin.features(batch.x, batch.weight)).astype(np.float64)

    def _frozen(self, features: Floats, lesson: Lesson, seed: int) -> Any:
        """The head, fitted on features as they are."""
        head = resolve_head(self.head, self.heads, seed)
        return fit_head(head, features[lesson.rows], lesson.values, lesson.sure)

    def _tuned(self, reader: Reader, head: Any, given: Given, lesson: Lesson, seed: int) -> tuple[Reader, History]:
        """The reader, tuned from the first layer on; it begins with the head where that is a linear one."""
        reader = copy.deepcopy(reader)
        weights = weights_of(head, reader.head.out_features)
        if weights is not None:
            reader.begin_with(weights)
        lessons = Lessons(lesson.rows, self._targets(lesson, reader.head.out_features))
        return tuned(reader, given, lessons, self._tuning(), seed)

    def _tuning(self) -> Training:
        if isinstance(self.tune, Training):
            return self.tune
        return Training(learning_rate=5e-4, validation=0.2, patience=20)

    @abstractmethod
    def _targets(self, lesson: Lesson, n_outputs: int) -> Tensor:
        """What the outputs are held against, (n_rows, n_outputs)."""

    def _concluded(self, reader: Reader, head: Any, history: History | None, scores: dict[str, float]) -> Self:
        """Keep what was learned: a linear head as weights in the reader, another as the object that it is."""
        tuned = history is not None
        self.tuned_, self.validation_scores_, self.tuning_history_ = tuned, scores, history or History()
        weights = None if tuned else weights_of(head, reader.head.out_features)
        if weights is not None:
            reader.begin_with(weights)
        self.head_ = head if weights is None and not tuned else None
        self._reader = reader.eval()
        if not tuned:
            self._reader.module = self.autoencoder_.module_  # nothing of it has changed
        log.info("learned from labels: %s", self._said(scores))
        return self

    def _said(self, scores: dict[str, float]) -> str:
        held = ", ".join(f"{name} {score:.3g}" for name, score in scores.items())
        return f"{'the encoder tuned' if self.tuned_ else 'codes as they are'}{f' (held out: {held})' if held else ''}"

    # -- using it

    def transform(self, X: Any) -> Floats:
        """What the head reads: the scaled code of each sample, of the tuned encoder where it was, (n_samples, n)."""
        given, reader = self._opened(X)
        return given.through(reader, lambda batch: reader.features(batch.x, batch.weight))

    def _outputs(self, X: Any) -> Floats:
        """The linear head's outputs, (n_samples, n_outputs)."""
        given, reader = self._opened(X)
        return given.through(reader, lambda batch: reader(batch.x, batch.weight))

    def _opened(self, X: Any) -> tuple[Given, Reader]:
        check_is_fitted(self)
        data, X = self.autoencoder_.data_, self._without_labels(X)[0]
        dtype = data.number_type(X)
        return Given(data, data.open(X), dtype), _as_type(self._reader, dtype)

    def _without_labels(self, X: Any) -> tuple[Any, Any]:
        """A frame without the column of the labels, and this column; None where there is none, as is the rule."""
        columns = getattr(X, "columns", None)
        if not self.label_name_ or columns is None or self.label_name_ not in list(columns):
            return X, None
        if self.label_name_ in self.autoencoder_.data_.feature_names:
            return X, None
        rest = X.drop(columns=self.label_name_) if hasattr(X, "iloc") else X.drop(self.label_name_)
        return rest, X[self.label_name_]

    @property
    def _n_features_out(self) -> int:
        return int(self._reader.head.in_features)

    def to_torch(self) -> torch.nn.Module:
        """The weights, in a PyTorch module of their own: from samples in the data's own units to what is predicted.

        It takes a tensor (n, n_features) of numbers, NaN where a value is absent, or pictures (n, channels, height,
        width) in the unit of the training pictures, and gives the outputs: one for each class of `classes_`, whose
        softmax are the probabilities, or the number. Scaling is a part of it. Of a plain dense encoder of number
        columns it is a `Sequential` of torch's own layers alone.

        Raises
        ------
        SettingError : for tables with words, which no tensor holds, and for a head that is no linear one.
        """
        check_is_fitted(self)
        if self.head_ is not None:
            raise SettingError(f"the head {self.head_!r} is no linear one, and no torch module; take tune=True.")
        return plain_module(self.autoencoder_.data_, self._reader)

    # -- files

    def _learned(self) -> Packed:
        if self.head_ is not None:
            raise SettingError(
                f"the head {type(self.head_).__name__} is no matrix that a model file could hold; take a linear head "
                "or tune=True, or save the autoencoder alone: autoencoder_.save(path)."
            )
        before, now = (one.state_dict() for one in (self.autoencoder_.module_, self._reader.module))
        changed = {name: value for name, value in now.items() if not torch.equal(value, before[name])}
        tensors = {f"encoder.{name}": value for name, value in changed.items()}
        own = {name: value for name, value in self._reader.state_dict().items() if not name.startswith("module.")}
        tensors |= {f"reader.{name}": value for name, value in own.items()}
        tensors["history"] = text_tensor([json.dumps(self.tuning_history_.to_json())])
        return {"tuned": self.tuned_, "scores": self.validation_scores_, "label": self.label_name_}, tensors

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        module = self.autoencoder_.module_
        own = {name[7:]: value for name, value in tensors.items() if name.startswith("reader.")}
        changed = {name[8:]: value for name, value in tensors.items() if name.startswith("encoder.")}
        shapes = {name: value.shape for name, value in module.state_dict().items()}
        if any(shapes.get(name) != value.shape for name, value in changed.items()):
            raise ModelFileError("the tuned weights in this file do not fit its own encoder.")
        if changed:
            module = copy.deepcopy(module)
            module.load_state_dict(changed, strict=False)
        reader = Reader(module, own["mean"], own["scale"], len(own["head.bias"]), None)
        self._set_reader(reader, own)
        self.head_, self.label_name_ = None, str(learned["label"])
        self.tuned_, self.validation_scores_ = bool(learned["tuned"]), dict(learned["scores"])
        self.tuning_history_ = History.from_json(json.loads(tensor_text(tensors["history"])[0]))

    def _set_reader(self, reader: Reader, own: dict[str, Tensor]) -> None:
        expected = {name: value.shape for name, value in reader.state_dict().items() if not name.startswith("module.")}
        if expected != {name: value.shape for name, value in own.items()}:
            raise ModelFileError("the head in this file does not fit its own code.")
        reader.load_state_dict(own, strict=False)
        self._reader = reader.eval()


def _as_type(reader: Reader, dtype: torch.dtype) -> Reader:
    """The reader, in a copy where it must change its number type."""
    return reader if reader.head.weight.dtype == dtype else copy.deepcopy(reader).to(dtype)
