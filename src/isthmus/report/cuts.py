"""Where other rules would cut, beneath the histogram of a detector's scores."""

from __future__ import annotations

from typing import Any

from isthmus.report.blocks import Cell, Table
from isthmus.report.wording import clean, number, share
from isthmus.tasks import AnomalyDetector
from isthmus.training.applying import Array


def cuts_table(detector: AnomalyDetector, scores: Array | None, unit: str) -> Table:
    """A row for each rule: where it cuts, and how many lie above it.

    Parameters
    ----------
    detector : the fitted detector; its own rule comes first.
    scores : of the data shown; None for the training data alone.
    unit : what one sample is called.
    """
    head = ["rule", "cut, nats", f"training {unit}s above", *([] if scores is None else [f"{unit}s above here"])]
    lines = [_line(row, scores) for row in detector.thresholds_report().iter_rows(named=True) if row["cut"] is not None]
    caption = "Where other rules would cut; a changed rule needs no training (set_threshold)"
    return Table("cuts", caption, [*head, "false alarms expected"], lines, folded=True)


def _line(row: dict[str, Any], scores: Array | None) -> list[Cell]:
    here = [] if scores is None else [Cell(share(float((scores > row["cut"]).mean())), True)]
    expected = row["expected_false_alarms"]
    return [
        Cell(clean(row["rule"])),
        Cell(number(row["cut"]), True),
        Cell(share(row["share_odd"]), True),
        *here,
        Cell("–" if expected is None else share(expected), True),
    ]
