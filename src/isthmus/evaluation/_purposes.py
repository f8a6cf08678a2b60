"""Which measures count for which task, and what is to be kept in mind about all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from isthmus.errors import SettingError
from isthmus.evaluation._harness import Harness
from isthmus.evaluation._result import Measure, written
from isthmus.words import counted


@dataclass(frozen=True)
class Purpose:
    """What a model is for: the sections that count, and why, in a sentence."""

    sections: tuple[str, ...]
    why: str


RESTORING = Purpose(
    ("restoring", "reconstruction"),
    "for restoring, what counts is how near the output comes to clean samples: give spoiled ones as X and their clean "
    "counterparts as y",
)
PURPOSES = {
    "reduce": Purpose(
        ("preservation", "downstream", "code"),
        "for reducing, what counts is whether neighbours stay neighbours and what can still be told from the code; the "
        "reconstruction is the way there",
    ),
    "detect": Purpose(
        ("detection",),
        "for finding odd samples, what counts is whether they score above usual ones, which only labels can show: a "
        "model that gives back everything, odd samples too, finds none",
    ),
    "denoise": RESTORING,
    "inpaint": RESTORING,
    "impute": RESTORING,
    "colorize": RESTORING,
    "unmark": RESTORING,
    "cluster": Purpose(
        ("code", "preservation"),
        "for grouping, what counts is whether groups lie apart in the code and neighbours stay together",
    ),
    "retrieve": Purpose(
        ("preservation", "downstream"),
        "for finding what is alike, what counts is whether near codes belong to near samples, and to the same class",
    ),
    "generate": Purpose(
        ("generation",),
        "for drawing new samples, what counts is whether they lie among real ones and reach all of them; a good "
        "reconstruction says nothing about what is drawn",
    ),
    "compress": Purpose(
        ("reconstruction", "code"),
        "for compressing, what counts is what comes back, for how long a code; the bytes themselves are counted by the "
        "compressor",
    ),
    "classify": Purpose(
        ("downstream", "code"),
        "for telling classes with few labels, what counts is the accuracy on the code beside that on the data",
    ),
}
ALIASES = {
    "synthesize": "generate",
    "map": "reduce",
    "encode": "reduce",
    "regress": "classify",
    "remove_marks": "unmark",
    "query": "retrieve",
    "select": "reduce",
}
NEARLY_ALL = 0.95  # of the variance


def purpose_of(task: str | None, own: str) -> tuple[str, Purpose]:
    """The task asked for, or the model's own, which may be one from outside."""
    if task is None:
        name = ALIASES.get(own, own)
        return (name, PURPOSES[name]) if name in PURPOSES else ("reduce", PURPOSES["reduce"])
    name = ALIASES.get(task, task)
    if name not in PURPOSES:
        near = difflib.get_close_matches(str(task), [*PURPOSES, *ALIASES], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SettingError(f"task {task!r} is unknown; {hint}Known: {', '.join(PURPOSES)}.")
    return name, PURPOSES[name]


def notes(harness: Harness, purpose: Purpose, found: list[Measure], n_samples: int) -> Iterator[str]:
    """Sentence by sentence: what counts, what proves nothing, who is better, what was left out."""
    places = {one.name: one for one in found}
    yield f"{purpose.why[0].upper()}{purpose.why[1:]}."
    missing = [name for name in purpose.sections if name not in {one.section for one in found}]
    if missing == list(purpose.sections):
        yield "None of that could be measured here; what stands above is about other things."
    yield from _copying(harness, places)
    yield from _beside_pca(places)
    if not harness.refitted and harness.n_seen == n_samples:
        yield (
            f"The model was fitted on {counted(n_samples, harness.data.unit)} as well; if they are these, the figures "
            "flatter it: give samples that it has not seen, or cv=5."
        )


def _copying(harness: Harness, places: dict[str, Measure]) -> Iterator[str]:
    """That giving back everything is no proof."""
    explained, mixed = places["explained variance"].value, places["explained variance, mixed rows"].value
    if harness.size >= harness.x.shape[1] and not harness.skips:
        held = [variant.name() for variant in getattr(harness.autoencoder.module_, "variants", [])]
        only = f"only {', '.join(held)} keeps it from copying" if held else "nothing keeps it from copying"
        yield (
            f"No compression: a code has {harness.size} numbers for a sample of {harness.x.shape[1]}, and {only}; a "
            "perfect reconstruction proves nothing here."
        )
    if explained > NEARLY_ALL:
        same = mixed > explained - 0.05
        yield (
            f"The output explains {100 * explained:.1f} % of the variance, which alone is no proof of a good code: "
            f"copying would explain all. Rows put together from cells of different rows come back with "
            f"{100 * max(mixed, 0):.1f} %"
            + (
                ", as well as real ones: how columns go together has not been learned."
                if same
                else ", worse than real."
            )
        )


def _beside_pca(places: dict[str, Measure]) -> Iterator[str]:
    """Who wins where, in one sentence."""
    wins: dict[bool, list[str]] = {True: [], False: []}
    for one in places.values():
        known = one.better and one.value == one.value and one.pca == one.pca and one.section not in ("code",)
        if known and "mixed" not in one.name and written(one.value) != written(one.pca):
            wins[(one.value > one.pca) == (one.better == "higher")].append(one.name)
    if wins[False]:
        yield f"PCA with a code of the same size is better at: {'; '.join(wins[False])}."
    elif wins[True]:
        yield "PCA with a code of the same size is worse at everything that was measured for both."


def headline(name: str, task: str, harness: Harness, found: list[Measure]) -> str:
    """The result in one sentence."""
    explained = next(one for one in found if one.name == "explained variance")
    how = "fitted anew without them" if harness.refitted else "as it is"
    beside = f", PCA {100 * explained.pca:.1f} %" if explained.pca == explained.pca else ""
    many = counted(len(harness.rows), harness.data.unit)
    return (
        f"{name} for {task}: {100 * explained.value:.1f} % of the variance of {many} comes back ({how}) from codes of "
        f"{counted(harness.size, 'number')}{beside}."
    )
