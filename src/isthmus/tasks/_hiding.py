"""What the tasks that fill gaps share: training hides what is there, present values come back untouched."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

from isthmus.autoencoder import Autoencoder
from isthmus.data.base import Data
from isthmus.errors import DataError, DoctorWarning, SettingError
from isthmus.module import resolve_variants
from isthmus.part import resolve
from isthmus.tasks._restoring import Restorer
from isthmus.variants.base import Variant


class Filler(Restorer):
    """Base of the tasks that fill gaps, learned from samples of which training hides a part."""

    pairs: ClassVar[bool] = False
    #: What it fills, and what to take for other data.
    fills: ClassVar[tuple[str, str]] = ("", "")
    hiding: str | Variant

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, which may hold gaps itself. y is ignored, as pipelines expect."""
        with warnings.catch_warnings():  # gaps are what it is for
            warnings.filterwarnings("ignore", ".*nothing is filled in", DoctorWarning)
            super().fit(X)
        self.autoencoder_.doctor_ = [one for one in self.autoencoder_.doctor_ if one.code != "missing"]
        return self

    def typical_hiding(self, data: Data, X: Any) -> Variant:
        """What training hides where nobody says."""
        raise NotImplementedError

    def _damaging(self, model: Autoencoder, data: Data, X: Any, paired: bool) -> Variant | None:
        words, other = self.fills
        if data.name() != self.only:
            raise DataError(f"{type(self).__name__} fills {words}, and these data are {data.name()}; {other}.")
        own = [variant for variant in resolve_variants(model.variant) if variant.hides]
        wanted = not isinstance(self.hiding, str) or self.hiding != "auto"
        if own and wanted:
            raise SettingError(
                f"hiding is {self.hiding!r}, but this autoencoder has the variant {own[0].name()} already; leave "
                "hiding out."
            )
        if own:
            return None
        found = resolve("variants", self.hiding, Variant) if wanted else self.typical_hiding(data, X)
        if not found.hides:
            raise SettingError(
                f"hiding is {self.hiding!r}, which tells the encoder of no gaps; it must be masked or holes, or "
                "another variant that hides."
            )
        return found
