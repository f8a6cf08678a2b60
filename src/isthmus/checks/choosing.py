"""Which checks a part must pass, by its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from isthmus.checks import (
    damage,
    data,
    densities,
    likelihoods,
    networks,
    parts,
    priors,
    scores,
    tasks,
    thresholds,
    training,
    variants,
)
from isthmus.damage.base import Damage
from isthmus.data.base import Data
from isthmus.densities.base import Density
from isthmus.estimator import Estimator
from isthmus.likelihoods.base import Likelihood
from isthmus.networks.base import Network
from isthmus.part import Part
from isthmus.priors.base import Prior
from isthmus.scores.base import Score
from isthmus.thresholds.base import Threshold
from isthmus.training import Training
from isthmus.training.optimizers import Optimizer
from isthmus.training.schedules import Schedule
from isthmus.variants.base import Variant

Check = Callable[[Any], None]

# A kind's base class, and what chooses the checks of one of its parts.
CHOICES: tuple[tuple[type, Callable[[Any], Iterator[Check]]], ...] = (
    (Part, parts.checks),
    (Damage, damage.checks),
    (Data, data.checks),
    (Density, densities.checks),
    (Likelihood, likelihoods.checks),
    (Network, networks.checks),
    (Prior, priors.checks),
    (Score, scores.checks),
    (Threshold, thresholds.checks),
    (Optimizer, training.optimizer_checks),
    (Schedule, training.schedule_checks),
    (Training, training.training_checks),
    (Variant, variants.checks),
    (Estimator, tasks.checks),
)


def checks_for(part: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """The checks that a part must pass, each with its name; a check raises AssertionError with a sentence.

    Parameters
    ----------
    part : an object, or a class, which stands for all of its `examples()`.

    Raises
    ------
    TypeError : for something that is no part and no estimator.

    >>> from isthmus.damage import Swap
    >>> dict(checks_for(Swap()))["check_neutral_changes_nothing"]()
    """
    objects = _objects(part)
    for item in objects:
        # an object needs no words of its own where it is the only one
        label = f"[{item!r}]" if len(objects) > 1 else ""
        found = [check for base, choose in CHOICES if isinstance(item, base) for check in choose(item)]
        if not found:
            raise TypeError(f"{item!r} is neither a part nor an estimator of Isthmus, so there is nothing to check.")
        for check in found:
            yield f"{check.__name__}{label}", partial(_run, check, item)


def check_part(part: Any) -> None:
    """Run every check on a part.

    Parameters
    ----------
    part : an object, or a class, which stands for all of its `examples()`.

    Raises
    ------
    AssertionError : with one line for each check that failed.

    >>> from isthmus.thresholds import Deviation
    >>> check_part(Deviation)
    """
    failed = []
    for name, check in checks_for(part):
        try:
            check()
        except AssertionError as error:
            failed.append(f"{name}: {error}")
    assert not failed, "\n".join(failed)


def _run(check: Check, part: Any) -> None:
    """A check that cannot be gone through has failed too."""
    try:
        check(part)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{check.__name__} of {part!r} ended in {type(error).__name__}: {error}") from error


def _objects(part: Any) -> list[Any]:
    if not isinstance(part, type):
        return [part]
    return part.examples() if issubclass(part, Part) else [part()]
