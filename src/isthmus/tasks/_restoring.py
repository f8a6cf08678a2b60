"""What the tasks that undo a damage share: pairs, a network that keeps detail, answers in the form that came in."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.damage.base import Damage
from isthmus.data import Images
from isthmus.data.base import Data
from isthmus.errors import SettingError
from isthmus.module import resolve_variants
from isthmus.networks import Conv, Dense
from isthmus.part import resolve
from isthmus.tasks.base import Answer, Task
from isthmus.training import Batch
from isthmus.training.applying import Array
from isthmus.variants import Denoising
from isthmus.variants.base import Variant
from isthmus.words import counted

PATCH = 48  # pixels on a side of what training sees
MAPS = (32, 64)  # of the network for pictures
UNITS = 256  # of the network for tables
SHOWN = 10
CHUNK = 256
STRIPE = 256  # pixels


class Restorer(OneToOneFeatureMixin, TransformerMixin, Task):
    """Base of the tasks that undo a damage, learned from pairs or from clean samples that training spoils."""

    verbs = ("transform",)
    pairs: ClassVar[bool] = True
    gives_samples: ClassVar[bool] = True
    #: What was done to the samples, what that did to values in one word (a column's name), and in two.
    done: ClassVar[tuple[str, str, str]] = ("Restored", "changed", "the change")
    damage: str | Damage
    random_state: int | np.random.RandomState | None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, clean samples, or damaged ones whose clean counterparts are y; a y of labels is ignored."""
        target = y if are_samples(y) else None
        self.autoencoder_ = self.prepared(X, target).fit_rows(X, target=target)
        self.autoencoder_.data_.owner = type(self).__name__
        return self

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = self._fresh()
        self._suit(model, X, y if are_samples(y) else None)
        data = fitting.data_type(model.data_type, X, type(self).__name__)
        choose_network(model, data, X)
        variant = self._damaging(model, data, X, paired=are_samples(y))
        if variant is not None:
            model.set_params(variant=[*resolve_variants(model.variant), variant])
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model

    def _suit(self, model: Autoencoder, X: Any, y: Any) -> None:
        """What a task sets by the data itself, before what is left is chosen as for all."""

    def _damaging(self, model: Autoencoder, data: Data, X: Any, paired: bool) -> Variant | None:
        """The variant that spoils samples in training; None where the pairs or the autoencoder have their own."""
        own = any(variant.changes("corrupt") for variant in resolve_variants(model.variant))
        wanted = not isinstance(self.damage, str) or self.damage != "auto"
        if wanted and (own or paired):
            raise SettingError(
                f"damage is {self.damage!r}, but {'pairs' if paired else 'the variants of this autoencoder'} bring "
                "one of their own; leave damage out."
            )
        if own or paired:
            return None
        return Denoising(resolve("damage", self.damage if wanted else self.typical(data, X), Damage))

    def typical(self, data: Data, X: Any) -> str | Damage:
        """The damage to learn where nobody says."""
        raise NotImplementedError

    def transform(self, X: Any) -> Any:
        """The restored samples, in the form of X: arrays, frames, or files with the same names, sizes and depth."""
        check_is_fitted(self)
        return self.autoencoder_.reconstruct(X)

    def answer(self, X: Any) -> Answer:
        """The restored samples, and how much was changed in each.

        Parameters
        ----------
        X : the data.
        """
        check_is_fitted(self)
        X = self.autoencoder_.data_.open(X) if self._sees_pictures else X  # files are looked at once
        restored = self.transform(X)
        (did, column, what), changed = self.done, self._changed(X, restored)
        table = pl.DataFrame({"row": np.arange(len(changed)), column: changed})
        if names := getattr(X, "names", None) if self._sees_pictures else None:
            table.insert_column(1, pl.Series("file", names, dtype=pl.String))
        many = counted(len(changed), self.autoencoder_.data_.unit)
        unit = "the way from black to white" if self._sees_pictures else "a standard deviation"
        headline = f"{did} {many}; {what} was {changed.mean():.3g} of {unit} on average (root mean square)."
        return Answer(table, headline, table.sort(column, descending=True)[:SHOWN], restored)

    @property
    def _sees_pictures(self) -> bool:
        return isinstance(self.autoencoder_.data_, Images)

    def _changed(self, X: Any, restored: Any) -> Array:
        """The root mean square of the differences, in the units that the network sees, (n_samples,)."""
        data = self.autoencoder_.data_
        both = zip(_batches(data, data.open(X)), _batches(data, data.open(restored)), strict=True)
        return torch.cat([_root_mean_square(before, after) for before, after in both]).numpy()


def are_samples(y: Any) -> bool:
    """Whether these are counterparts of samples, and not labels, one value for each."""
    if y is None:
        return False
    if isinstance(y, (str, PathLike)) or Images.accepts(y):
        return True
    shape: tuple[int, ...] = getattr(y, "shape", None) or np.asarray(y, dtype=object).shape
    return len(shape) > 1


def choose_network(model: Autoencoder, data: Data, X: Any) -> None:
    """What is "auto" becomes a network that keeps detail: a U-Net for pictures, a code as wide as the table."""
    if model.network != "auto":
        return
    if isinstance(data, Images):
        model.network = Conv(MAPS, residual=1, skips=True, activation="relu")
        if model.data_type == "auto":  # no patch is larger than the largest picture
            model.data_type = Images(patch=min(PATCH, max(data.fit(X).spec.shape[1:])))
    else:
        model.network = Dense(widths=(UNITS,))
        model.n_components = data.fit(X).spec.size if model.n_components == "auto" else model.n_components


def _batches(data: Data, samples: Any) -> Iterator[Batch]:
    """All samples, few at a time."""
    singles = data.singly(samples)
    if singles is not None:
        yield from (data.batch(single, np.arange(1)) for single in singles)
        return
    for start in range(0, len(samples), CHUNK):
        yield data.batch(samples, slice(start, start + CHUNK))


def _root_mean_square(before: Batch, after: Batch) -> Tensor:
    """Over present values, (B,); a stripe at a time, as pictures may be large."""
    present = torch.ones(()) if before.weight is None else before.weight
    stripes = zip(*(one.expand_as(before.x).split(STRIPE, -1) for one in (before.x, after.x, present)), strict=True)
    squares, count = torch.zeros(2, len(before.x), dtype=torch.float64)
    for first, second, weight in stripes:
        squares += ((second - first) * (weight > 0)).flatten(1).square().sum(1)
        count += (weight > 0).flatten(1).sum(1)
    found: Tensor = (squares / count.clamp_min(1)).sqrt()
    return found
