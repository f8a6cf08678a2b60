"""What every threshold must survive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.checks.turning import check_turning
from isthmus.thresholds.base import Scores, Threshold


def checks(threshold: Threshold) -> Iterator[Callable[[Any], None]]:
    yield check_cut_is_a_number
    yield check_order_does_not_matter
    yield check_larger_scores_do_not_lower_the_cut
    yield check_numeric_arguments_turn


def check_cut_is_a_number(threshold: Threshold) -> None:
    scores = _scores()
    before = scores.copy()
    cut = _cut(threshold, scores)
    assert type(cut) is float and np.isfinite(cut), f"the cut of {threshold!r} must be a finite float, not {cut!r}."
    assert np.array_equal(scores, before), f"{threshold!r} changed the scores in place."
    assert 0 <= threshold.calibration < 1, f"{threshold!r} keeps a share of {threshold.calibration} out of training."


def check_order_does_not_matter(threshold: Threshold) -> None:
    scores = _scores()
    cuts = _cut(threshold, scores), _cut(threshold, scores[::-1].copy())
    assert np.isclose(*cuts, rtol=1e-12), f"the cut of {threshold!r} depends on the order of the scores: {cuts}."


def check_larger_scores_do_not_lower_the_cut(threshold: Threshold) -> None:
    scores = _scores()
    cuts = _cut(threshold, scores), _cut(threshold, scores + 1.0)
    assert cuts[1] >= cuts[0], f"{threshold!r} lowers the cut from {cuts[0]:.4g} to {cuts[1]:.4g} when all scores rise."


def check_numeric_arguments_turn(threshold: Threshold) -> None:
    """The cut is set on the rows that are kept out, where some are."""
    scores = _scores()

    def result(part: Threshold) -> list[Tensor]:
        n_kept_out = round(part.calibration * len(scores))
        return [torch.tensor(_cut(part, scores[:n_kept_out] if n_kept_out else scores))]

    check_turning([threshold, *type(threshold).examples()], result)


def _cut(threshold: Threshold, scores: Scores) -> float:
    """A rule that must be told which rows are odd is told so of many large scores and of a few small ones."""
    if not threshold.labelled:
        return threshold.cut(scores)
    odd = np.sin(1e4 * (scores - scores.min())) > 2.5 - (scores - scores.min()) / 2  # by the scores, in whatever order
    return threshold.cut_labelled(scores, odd)


def _scores() -> Scores:
    return np.random.default_rng(0).gamma(2.0, size=997)
