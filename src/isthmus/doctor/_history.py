"""What the losses tell: too short, by heart, up and down, a critic that has won."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from isthmus.doctor.base import Finding
from isthmus.training import History

FIRST = 2  # epochs in which a loss may do as it likes
JUMP, OFTEN = 0.2, 0.1  # of what was gained; of the epochs
NOTABLE = 0.03  # of the loss
WON = 0.2  # nats: a critic's cross-entropy when it is hardly ever wrong


def of_history(history: History) -> Iterable[Finding]:
    held_out = history["validation_distortion"] if "validation_distortion" in history.names else []
    if len(history):
        yield from _end(history)
    if len(history) < 5:
        return
    yield from _jumps(history)
    yield from _critics(history)
    training = history["distortion"] if "distortion" in history.names else history["loss"]
    watched = held_out or training
    gain = watched[0] - min(watched)
    if (
        history.best_epoch == len(history)
        and gain > 0
        and (watched[-max(2, len(watched) // 10)] - watched[-1]) > 0.05 * gain
    ):
        yield Finding(
            "underfitting",
            f"the loss was still falling when the {len(history)} epochs were over; raise max_epochs, or the learning "
            "rate.",
        )
    if held_out and history.best_epoch is not None:
        best = history.best_epoch - 1
        learned, kept = training[0] - training[best], training[0] - held_out[best]
        if math.isfinite(kept) and learned > 0 and kept < 0.5 * learned:
            yield Finding(
                "overfitting",
                f"of what was gained on the training rows only {100 * max(0.0, kept / learned):.0f} % holds on "
                "held-out rows: the network learns its rows by heart; give more rows, a narrower network, dropout, "
                "or a variant such as 'denoising'.",
            )


def _end(history: History) -> Iterable[Finding]:
    if history.ended.startswith("ended early"):
        yield Finding(
            "diverged",
            f"training {history.ended}: steps have become so large that nothing is learned any more.",
        )


def _jumps(history: History) -> Iterable[Finding]:
    """Losses that go up again and again by much of what was gained since the start, which may be far off."""
    losses: Sequence[float] = history["distortion"] if "distortion" in history.names else history["loss"]
    gain = min(losses[:FIRST]) - min(losses)
    pairs = list(pairwise(losses[FIRST:]))
    high = sum(after - before > max(JUMP * gain, NOTABLE * abs(before)) for before, after in pairs)
    if high >= max(3, OFTEN * len(pairs)):
        told = "the opponents outdo each other in turn" if _critic_names(history) else "steps overshoot"
        yield Finding(
            "unstable",
            f"in {high} of {len(losses)} epochs the loss rose by more than {100 * JUMP:.0f} % of all that was gained: "
            f"{told}, and where training ends is chance; lower learning_rate, or set clip=1.0 or a warm-up"
            + (", lower the weight of the critic, or raise its smoothness." if _critic_names(history) else "."),
        )


def _critic_names(history: History) -> list[str]:
    return [name for name in history.names if name.startswith("critic_")]


def _critics(history: History) -> Iterable[Finding]:
    """A critic that tells all apart teaches nothing."""
    for name in _critic_names(history):
        last = history[name][-max(1, len(history) // 4) :]
        level = sum(last) / len(last)
        if level < WON:
            what = "codes from draws of the prior" if name.endswith("code") else "the output from real samples"
            yield Finding(
                "critic_wins",
                f"the critic tells {what} nearly every time (its cross-entropy is {level:.2f}, where guessing has "
                "1.39): the autoencoder has lost the game and learns nothing from it; raise smoothness, take a "
                "narrower critic (width) or a larger weight, or use wasserstein, which is steadier.",
            )
