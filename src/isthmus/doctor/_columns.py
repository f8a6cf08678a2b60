"""What the data alone tell: columns, gaps, scales, number of rows."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.data.base import ColumnFacts, Data
from isthmus.doctor.base import Finding, have
from isthmus.words import several


def of_columns(schema: Iterable[ColumnFacts]) -> Iterable[Finding]:
    facts = list(schema)
    left_out = [fact for fact in facts if fact.kind == "left out" and not fact.identifier]
    named = [fact.name for fact in facts if fact.identifier and fact.kind == "left out"]
    numbered = [fact.name for fact in facts if fact.identifier and fact.kind != "left out"]
    constant = [fact.name for fact in facts if fact.constant and fact.kind != "left out"]
    gaps = [fact.name for fact in facts if fact.n_missing and fact.kind != "left out"]
    for reason in sorted({fact.left_out for fact in left_out}):
        names = [fact.name for fact in left_out if fact.left_out == reason]
        yield Finding("left_out", f"{have(names)} been left out: {reason}.")
    if named:
        yield Finding(
            "identifier",
            f"{have(named)} a different value in almost every row, like an identifier; left out: drop it.",
        )
    if numbered:
        yield Finding(
            "identifier",
            f"{have(numbered)} a different whole number in every row, like an identifier; it carries no pattern "
            "and widens every code: drop it before fitting, unless it is a measurement.",
        )
    if constant:
        yield Finding(
            "constant_column",
            f"{have(constant)} the same value in every row; it teaches nothing, and any other value will look very "
            "odd later: drop it, unless that is wanted.",
        )
    if gaps:
        yield Finding(
            "missing",
            f"{have(gaps)} missing values; they carry no weight in training and scoring, nothing is filled in.",
        )
    yield from _scales(facts)


def _scales(facts: list[ColumnFacts]) -> Iterable[Finding]:
    numbers = [fact for fact in facts if fact.kind == "numeric" and fact.standard_deviation > 0]
    if len(numbers) < 2:
        return
    low = min(numbers, key=lambda fact: fact.standard_deviation)
    high = max(numbers, key=lambda fact: fact.standard_deviation)
    if high.standard_deviation >= 1e6 * low.standard_deviation:
        yield Finding(
            "scales",
            f"the spread of column {high.name!r} is {high.standard_deviation / low.standard_deviation:.0e} times "
            f"that of {low.name!r}; without scaling the first would drown the others: keep scaling='auto' or "
            "'standard'.",
        )


def of_rows(n_rows: int, data: Data) -> Iterable[Finding]:
    if n_rows < 50:
        yield Finding(
            "few_rows",
            f"there are only {n_rows} {several(data.piece)}; what is learned from so few hardly holds for new ones: "
            "treat the results as a trial, or give more.",
        )
