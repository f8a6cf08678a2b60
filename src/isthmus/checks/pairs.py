"""Which parts go together: the table of pairs that stands in the documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

from isthmus.checks.networks import accepted_spec
from isthmus.checks.small import NETWORK, TABLE, VECTOR, build, samples, train_shortly, with_needed
from isthmus.errors import SettingError
from isthmus.likelihoods.base import Likelihood
from isthmus.networks.base import Network
from isthmus.part import Part, find, known
from isthmus.variants.base import Variant

TRAINS = "trains"
INTRODUCTION = """\
# What goes together

Each cell was tried: a small autoencoder was built from the two parts and trained for a few steps. `{trains}` means that
it did and that the loss stayed a finite number; anything else is the reason why it is refused before training. Only
three things are refused: two variants that both own the bottleneck, two that both own the merge, and a variant without
one that it needs.

This page is written by `python docs/pairs.py`, and a test holds it against the parts as they are.
"""


def try_together(
    variants: Sequence[str | Variant], network: Network = NETWORK, likelihood: str | Likelihood = "normal"
) -> str:
    """Build and train for a few steps; gives `trains`, or the sentence of the refusal.

    Parameters
    ----------
    variants : what is added to the plain autoencoder.
    network : its layers; small and dense by default.
    likelihood : the law of its output, normal by default.

    Raises
    ------
    AssertionError : when the loss is not finite.

    >>> try_together(["top_k(k=2)", "variational"])
    'top_k and variational both own the bottleneck; an autoencoder has one, so keep one of them.'
    """
    shape = accepted_spec(network)
    spec = TABLE if shape is VECTOR else shape  # with columns of every kind, where columns are
    try:
        module = build(variants, network, likelihood, spec)
    except SettingError as refusal:
        return str(refusal)
    losses = train_shortly(module, samples(spec))["loss"]
    assert all(map(math.isfinite, losses)), f"{variants!r} with {network!r} and {likelihood!r}: the loss is {losses}."
    return TRAINS


def pair_tables() -> str:
    """The page: variants with variants, with networks and with likelihoods, as Markdown."""
    variants = {name: cast(Variant, _example("variants", name)) for name in sorted(known("variants"))}
    networks = {name: cast(Network, _example("networks", name)) for name in sorted(known("networks"))}
    likelihoods = {name: cast(Likelihood, _example("likelihoods", name)) for name in sorted(known("likelihoods"))}

    def two(row: str, column: str) -> str:
        return try_together([variants[row]] if row == column else [variants[row], variants[column]])

    def with_network(row: str, column: str) -> str:
        return try_together(with_needed(variants[row]), networks[column])

    def with_likelihood(row: str, column: str) -> str:
        return try_together(with_needed(variants[row]), likelihood=likelihoods[column])

    pieces = [
        INTRODUCTION.format(trains=TRAINS),
        "## Variants with variants\n\nOn the diagonal stands the variant alone.\n",
        _table(list(variants), list(variants), two),
        "## Variants with networks\n\nEach with the variant that it needs, where it needs one.\n",
        _table(list(variants), list(networks), with_network),
        "## Variants with likelihoods\n\nEach with the variant that it needs, where it needs one.\n",
        _table(list(variants), list(likelihoods), with_likelihood),
    ]
    return "\n".join(pieces)


def _example(kind: str, name: str) -> Part:
    return find(kind, name).examples()[0]


def _table(rows: Sequence[str], columns: Sequence[str], cell: Callable[[str, str], str]) -> str:
    """A refusal is cut at its semicolon: what follows says what to do."""
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[f"**{row}**", *(cell(row, column).partition(";")[0] for column in columns)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
