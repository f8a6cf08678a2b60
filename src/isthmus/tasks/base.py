"""Task: one way of reading the pass. A task owns an autoencoder, fits it, and answers with its verbs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone
from torch import Tensor

from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data
from isthmus.estimator import Estimator
from isthmus.saving import Packed, put, settings_from_json, settings_to_json, take
from isthmus.tasks._answer import Answer as Answer


@dataclass(frozen=True)
class Plan:
    """An autoencoder to train, on which rows (None: all), and which rows are kept out of it for a threshold.

    `others` are trained beside it. `shares`, of each of them all, say how many numbers its code has, as a share of the
    data's columns; None, or no shares at all, leave that to the autoencoder. `scores` are what a task reads of them.
    """

    autoencoder: Autoencoder
    rows: Any = None
    kept_out: Any = None
    others: tuple[Autoencoder, ...] = ()
    shares: tuple[float | None, ...] = ()
    scores: tuple[Any, ...] = ()

    @property
    def models(self) -> tuple[Autoencoder, ...]:
        """All that are to be trained."""
        return (self.autoencoder, *self.others)


class Task(Estimator):
    """Base of all tasks. `autoencoder=None` takes the task's tuned default."""

    #: The methods that answer, the first one first; interfaces read this tuple.
    verbs: ClassVar[tuple[str, ...]] = ()
    #: Whether `fit` takes clean counterparts as its second argument.
    pairs: ClassVar[bool] = False
    #: Whether `fit` takes a label for each sample as its second argument, of which some may be unknown.
    labels: ClassVar[bool] = False
    #: Names of the data types that it refuses, in a sentence, as they make no sense to it.
    refuses: ClassVar[tuple[str, ...]] = ()
    #: Whether it answers with samples: data like those that came in, rather than something about them.
    gives_samples: ClassVar[bool] = False
    #: Whether it answers to a number of samples, instead of to data.
    draws: ClassVar[bool] = False
    #: The name of the only data type that it is for; empty where it takes any.
    only: ClassVar[str] = ""
    #: Whether it answers with bytes, and gives the samples back for them.
    packs: ClassVar[bool] = False
    #: Whether it changes only what it finds in the data, for which it must have learned something.
    finds: ClassVar[bool] = False
    autoencoder: Autoencoder | None
    autoencoder_: Autoencoder

    @abstractmethod
    def answer(self, X: Any) -> Answer:
        """What the command line, the server and the page show for new data."""

    def default(self) -> Autoencoder:
        """The autoencoder to take when none was given."""
        return Autoencoder()

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        """The unfitted autoencoder as `fit` would train it on these data, for a look at it beforehand."""
        return self._fresh()

    def _plan(self, X: Any) -> Plan | None:
        """What `fit` trains, on which rows; None for a task that cannot tell it apart from what comes after."""
        return None

    def _conclude(self, X: Any, plan: Plan) -> Self:
        """What `fit` does once the plan's autoencoder is trained."""
        raise NotImplementedError

    def _fresh(self) -> Autoencoder:
        """An unfitted copy of the autoencoder to train."""
        return self.default() if self.autoencoder is None else clone(self.autoencoder)

    def _learned(self) -> Packed:
        """What the task itself learned, as plain JSON and tensors."""
        return {}, {}

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of `_learned`."""

    def _pack(self) -> Packed:
        fitted, tensors = self.autoencoder_._pack()
        settings = settings_to_json(self.autoencoder_)
        own, own_tensors = self._learned()
        document = {"autoencoder": fitted, "settings": settings, "own": own}
        return document, put(tensors, "autoencoder") | put(own_tensors, "own")

    def _unpack(self, fitted: dict[str, Any], tensors: dict[str, Tensor], parts: Iterable[object]) -> None:
        settings = settings_from_json(fitted["settings"], _no_estimator, parts)
        self.autoencoder_ = Autoencoder(**settings)
        self.autoencoder_._unpack(fitted["autoencoder"], take(tensors, "autoencoder"), parts)
        self.autoencoder_.data_.owner = type(self).__name__
        self._relearn(fitted["own"], take(tensors, "own"))

    def _learned_data(self) -> Data | None:
        return self.autoencoder_._learned_data() if "autoencoder_" in vars(self) else None


def _no_estimator(name: str) -> type[BaseEstimator]:
    raise AssertionError(f"an autoencoder's settings hold no estimator, and this one holds {name!r}")
