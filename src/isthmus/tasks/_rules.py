"""Rules for the cut side by side: where each cuts, and what it finds.

Axes: m rows that are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import DataError
from isthmus.thresholds import Capacity, Conformal, Deviation, ExtremeValue, Quantile, Robust, Tuned
from isthmus.thresholds.base import Scores, Threshold, Verdicts

USUAL: tuple[Threshold, ...] = (
    Quantile(0.05),
    Deviation(),
    Robust(),
    Conformal(0.05),
    Conformal(0.01),
    ExtremeValue(0.001),
)


@dataclass(frozen=True)
class Costs:
    """What a missed odd row costs, and a usual row that is taken for odd."""

    miss: float
    false_alarm: float


@dataclass(frozen=True)
class Judged:
    """One rule and what it says of the rows."""

    rule: str
    cut: float | None = None
    n_odd: int | None = None
    share_odd: float | None = None
    expected_false_alarms: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """What the labels say of a rule."""

    false_alarms: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    cost: float | None = None


def report(
    own: Threshold,
    cut: float,
    others: Sequence[Threshold],
    reference: Callable[[Threshold], Scores],
    scores: Scores,
    odd: Verdicts | None,
    costs: Costs,
) -> Any:
    """A polars frame with a row for each rule.

    Parameters
    ----------
    own, cut : the rule of the model, and where it cut.
    others : more rules, besides `USUAL` ones.
    reference : gives the scores that a rule cuts by. Raises DataError where there are none.
    scores : of the rows that are judged, (m,).
    odd : which of them are odd, where it is known.
    costs : of a wrong verdict.
    """
    import polars as pl

    tuned = [] if odd is None else [Tuned(), Tuned("cost", miss=costs.miss, false_alarm=costs.false_alarm)]
    rows = []
    for place, rule in enumerate(_different([own, *others, *USUAL, *tuned])):
        judged, called = _judged(rule, cut if place == 0 else None, reference, scores, odd)
        measured = {} if odd is None else asdict(_measured(called, odd, costs))
        said = asdict(judged)
        note = said.pop("note")
        rows.append(said | measured | {"note": note})
    schema = {"rule": pl.String, "note": pl.String, "n_odd": pl.Int64}
    return pl.DataFrame(rows, schema={name: schema.get(name, pl.Float64) for name in rows[0]})


def _different(rules: Sequence[Threshold]) -> list[Threshold]:
    """Each rule once."""
    found: list[Threshold] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found


def _judged(
    rule: Threshold,
    cut: float | None,
    reference: Callable[[Threshold], Scores],
    scores: Scores,
    odd: Verdicts | None,
) -> tuple[Judged, npt.NDArray[np.float64] | None]:
    """What a rule says, and how far it calls each row odd; a rule tuned on these rows by cuts made without them."""
    name = written(rule)
    try:
        if cut is None and isinstance(rule, Tuned) and odd is not None:
            cut = rule.cut_labelled(scores, odd)
            called = rule.verdicts(scores, odd)
            expected = None
        else:
            held = reference(rule) if cut is None or not rule.labelled else None
            cut = rule.cut(held) if cut is None and held is not None else cut
            assert cut is not None
            called = (scores > cut).astype(np.float64)
            expected = None if held is None else _expected(rule, held, cut)
    except DataError as error:
        return Judged(name, note=str(error)), None
    above = int((scores > cut).sum())
    return Judged(name, cut, above, above / max(1, len(scores)), expected), called


def _expected(rule: Threshold, held: Scores, cut: float) -> float:
    """The share of new usual rows above the cut: what the rule promises, or what was above it, and the row itself."""
    if isinstance(rule, (Conformal, ExtremeValue)):
        return rule.rate
    if isinstance(rule, Capacity):
        return rule.rows / rule.of
    return float((1 + (held > cut).sum()) / (len(held) + 1))


def _measured(called: npt.NDArray[np.float64] | None, odd: Verdicts, costs: Costs) -> Measured:
    """Precision and the like; a share that is of nothing is None."""
    if called is None:
        return Measured()
    hits, alarms = float(called[odd].sum()), float(called[~odd].sum())
    misses = float(odd.sum()) - hits
    return Measured(
        _ratio(alarms, float((~odd).sum())),
        _ratio(hits, hits + alarms),
        _ratio(hits, float(odd.sum())),
        _ratio(2 * hits, 2 * hits + alarms + misses),
        costs.miss * misses + costs.false_alarm * alarms,
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def written(rule: Threshold) -> str:
    """A rule as one would type it.

    >>> written(Conformal(0.01)), written(Robust())
    ('conformal(rate=0.01)', 'robust')
    """
    settings = repr(rule).partition("(")[2]
    return rule.name() if settings == ")" else f"{rule.name()}({settings}"
