"""Which scores a detector takes, and which autoencoders stand beside its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.damage import Gaussian
from isthmus.data import Tables
from isthmus.data._stream_find import find_source
from isthmus.data._stream_source import Source
from isthmus.errors import SettingError
from isthmus.module import resolve_variants
from isthmus.part import resolve
from isthmus.scores import Distortion, NeighbourDistance
from isthmus.scores.base import Score
from isthmus.tasks.base import Plan
from isthmus.variants import Denoising

#: Numbers in the codes of the autoencoders that stand beside the detector's own, as shares of the columns.
SHARES = (0.25, 2.0)
#: What they are trained with: codes longer than the sample would copy it.
NOISE = Denoising(Gaussian(0.5))


def arranged(plan: Plan, wanted: object, X: Any) -> Plan:
    """The plan with the scores that these words stand for, and the autoencoders that stand beside its own.

    No scores at all mean the bare distortion.
    """
    beside = _stand_beside(plan.autoencoder, X)
    scores = _chosen(wanted, beside)
    if not scores:
        return plan
    model = plan.autoencoder
    if not isinstance(model.random_state, (int, np.integer)):  # a seed tells later which rows it held out
        model.set_params(random_state=_seed(fitting.random_numbers(model.random_state)))
    if not beside:
        return replace(plan, scores=tuple(scores))
    return replace(plan, others=_copies(model), shares=(None, *SHARES), scores=tuple(scores))


def _chosen(wanted: object, beside: bool) -> list[Score]:
    given = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if len(given) == 1 and isinstance(given[0], str) and given[0] == "auto":
        return [NeighbourDistance()] if beside else []
    scores = [resolve("scores", one, Score) for one in given]
    if not scores:
        raise SettingError("scores is an empty list; give at least one, or 'auto'.")
    return [] if len(scores) == 1 and type(scores[0]) is Distortion else scores


def _stand_beside(model: Autoencoder, X: Any) -> bool:
    """Whether autoencoders of other sizes may stand beside this one: of tables in memory, where no size was given."""
    free = isinstance(model.n_components, str) and fitting.own_module(model.network) is None
    if not free or fitting.training_settings(model.training).checkpoint is not None:
        return False
    data = fitting.data_type(model.data_type, X, "")
    return isinstance(data, Tables) and not isinstance(find_source(X, data.streaming), Source)


def _copies(model: Autoencoder) -> tuple[Autoencoder, ...]:
    """Copies of this unfitted autoencoder to be trained beside it, with seeds of their own."""
    random = fitting.random_numbers(model.random_state)
    copies = [clone(model).set_params(random_state=_seed(random)) for _ in SHARES]
    if not resolve_variants(model.variant):
        copies = [copy.set_params(variant=NOISE) for copy in copies]
    return tuple(copies)


def _seed(random: np.random.RandomState) -> int:
    return int(random.randint(2**31))
