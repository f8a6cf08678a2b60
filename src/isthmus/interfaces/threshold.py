"""`isthmus threshold MODEL [DATA]`: where each rule would cut; with --set another rule for the cut, in a new file."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import click

from isthmus.errors import DataError, SettingError
from isthmus.interfaces import output
from isthmus.interfaces.asked import check_class, check_names
from isthmus.interfaces.held import check_kind
from isthmus.interfaces.messages import log
from isthmus.interfaces.options import Command, Section, setting_option
from isthmus.interfaces.signatures import Source, parameters
from isthmus.words import several

CUTTING = Source("isthmus.tasks._cut", "Cutting")


def command() -> Command:
    """`isthmus threshold`."""
    rule = next(one for one in parameters(CUTTING, "set_threshold") if one.name == "threshold")
    costs = [one for one in parameters(CUTTING, "thresholds_report") if one.name in ("miss", "false_alarm")]
    settings = (
        setting_option(replace(rule, name="set", scalars=rule.scalars - {"None"}), "rule"),
        click.Option(["--labels"], metavar="COLUMN", help="The column of DATA that says which are odd."),
        *(setting_option(one) for one in costs),
    )
    written = (
        click.Option(["-o", "--output"], metavar="NEW", help="The file to save the model with its new cut in."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON Lines, one object for each rule."),
    )
    start = "isthmus threshold m.safetensors"
    return Command(
        "threshold",
        act,
        "Where a detector cuts, and where other rules would. With --set, save it with another rule, untrained.",
        arguments=[
            click.Argument(["model"], metavar="MODEL"),
            click.Argument(["data"], metavar="[DATA]", required=False),
        ],
        sections=[Section("Settings", settings), Section("Output", written)],
        examples=[
            start,
            f"{start} new.csv --labels fraud --miss 50",
            f"{start} --set 'robust(k=4)' -o new.safetensors",
            f"{start} usual.csv --set conformal -o new.safetensors",
            f"{start} x.csv --labels y --set tuned -o m2.safetensors",
        ],
    )


def act(
    model: str,
    data: str | None,
    rule: Any,
    labels: str | None,
    miss: float | None,
    false_alarm: float | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Check what can be checked, read, and show or save."""
    _check(model, data, rule, labels, output)
    from isthmus import load
    from isthmus.interfaces.building import learned

    detector = load(model)
    X = None if data is None else learned(detector).data_.read_more(data)
    X, y = _labelled(X, labels)
    if rule is not None:
        _save(detector, rule, X, y, output)
        return
    costs = {name: value for name, value in (("miss", miss), ("false_alarm", false_alarm)) if value is not None}
    _show(detector.thresholds_report(X, y, **costs), as_json)


def _check(model: str, data: str | None, rule: Any, labels: str | None, path: str | None) -> None:
    check_names(model, data)
    if labels is not None and data is None:
        raise SettingError(f"--labels is {labels!r} and there is no DATA that holds such a column; give DATA too.")
    if (rule is None) != (path is None):
        needed, given = ("-o NEW", "--set") if path is None else ("--set RULE", "-o")
        raise SettingError(f"{given} goes with {needed}; add it, or leave both out to see where each rule would cut.")
    if path == output.STREAM:
        raise SettingError("-o is -, but a model is a file of its own; give it a name, such as model.safetensors.")
    output.check_output(path, model, *([data] if data else []))
    found = check_class(model, "detect")
    if data is not None:
        check_kind(found, model, data)


def _labelled(X: Any, labels: str | None) -> tuple[Any, Any]:
    """The data without the column of labels, and that column."""
    if labels is None:
        return X, None
    import narwhals as nw

    frame = nw.from_native(X, eager_only=True, pass_through=True)
    columns = getattr(frame, "columns", [])
    if labels not in columns:
        raise DataError(f"--labels is {labels!r}, which is no column of DATA; it has: {', '.join(columns) or 'none'}.")
    return frame.drop(labels).to_native(), frame[labels].to_list()


def _save(detector: Any, rule: Any, X: Any, y: Any, path: str | None) -> None:
    before, unit = detector.threshold_, detector.autoencoder_.data_.unit
    detector.set_threshold(rule, X, y)
    detector.save(path)
    share = float((detector.decision_scores_ > detector.threshold_).mean())
    log.info("the cut was %.4g and is %.4g", before, detector.threshold_)
    log.info("above it are %.3g %% of the %s that the model was fitted on", 100 * share, several(unit))
    log.info("saved %s (%s)", path, output.size(os.path.getsize(path or "")))


def _show(table: Any, as_json: bool) -> None:
    if as_json:
        output.write_rows(table, None, as_json=True)
        return
    import polars as pl

    notes = table.filter(pl.col("note") != "")
    output.show(table.drop("note"), "Where each rule would cut:", sys.stdout)
    for rule, note in notes.select("rule", "note").iter_rows():
        log.info("%s: %s", rule, note)
