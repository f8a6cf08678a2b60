from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from isthmus.errors import DataError, SettingError
from isthmus.part import Limit
from isthmus.thresholds.base import Scores, Threshold, Verdicts

GOALS = ("f1", "cost")


class Tuned(Threshold):
    """The cut that did best on rows of which it is known whether they are odd.

    By repeated two-fold cross-validation: the cut is chosen on one half of the rows and tried on the other, again and
    again. The mean of the chosen cuts is taken, which depends less on chance than the best cut on all rows;
    `verdicts` has what they said of rows that they were not chosen on.

    Parameters
    ----------
    goal : what is to be best: f1, the harmonic mean of precision and recall; or cost, which is to be lowest.
    miss : what an odd row costs that is taken for usual, at least 0; for the goal cost.
    false_alarm : what a usual row costs that is taken for odd, at least 0; for the goal cost.
    at_most : share of the rows that may be called odd, above 0, for those who look at them.
    rounds : how often the rows are halved, at least 1.
    calibration : share of the rows kept out of training to set the cut, between 0 and 1.

    Raises
    ------
    SettingError : for a goal that is neither, or a number outside its limits.
    DataError : without labels, or with fewer than two rows of a kind.

    >>> import numpy as np
    >>> scores, odd = np.arange(100.0), np.arange(100) >= 90
    >>> 89 <= Tuned().cut_labelled(scores, odd) <= 91
    True
    >>> Tuned("cost", miss=100.0).cut_labelled(scores, odd) <= 90, Tuned(at_most=0.05).cut_labelled(scores, odd) >= 94
    (True, True)
    """

    labelled = True
    limits = {
        "miss": Limit(0),
        "false_alarm": Limit(0),
        "at_most": Limit(0, 1),
        "rounds": Limit(1, whole=True),
        "calibration": Limit(0, 1, between=True),
    }

    def __init__(
        self,
        goal: Literal["f1", "cost"] = "f1",
        miss: float = 10.0,
        false_alarm: float = 1.0,
        at_most: float = 1.0,
        rounds: int = 20,
        calibration: float = 0.3,
    ):
        self.goal = goal
        self.miss = miss
        self.false_alarm = false_alarm
        self.at_most = at_most
        self.rounds = rounds
        self.calibration = calibration

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls("cost"), cls(at_most=0.02)]

    def check(self) -> None:
        super().check()
        if self.goal not in GOALS:
            raise SettingError(f"goal of tuned is {self.goal!r}; it must be one of {', '.join(GOALS)}.")

    def cut(self, scores: Scores) -> float:
        raise DataError(
            "tuned needs to know which rows are odd: give y to fit, or to set_threshold afterwards; on the command "
            "line: isthmus threshold MODEL DATA --set tuned --labels COLUMN -o NEW."
        )

    def cut_labelled(self, scores: Scores, odd: Verdicts) -> float:
        found = float(np.mean([cut for cut, _ in self._halves(scores, odd)]))
        return max(found, _allowed(np.sort(scores), self.at_most))

    def verdicts(self, scores: Scores, odd: Verdicts) -> npt.NDArray[np.float64]:
        """How often each row is called odd by cuts that were chosen without it, from 0 to 1, shape (n_samples,)."""
        called = np.zeros(len(scores))
        asked = np.zeros(len(scores))
        for cut, others in self._halves(scores, odd):
            called[others] += scores[others] > cut
            asked[others] += 1
        return called / np.maximum(asked, 1)

    def _halves(self, scores: Scores, odd: Verdicts) -> Iterator[tuple[float, npt.NDArray[np.int64]]]:
        """The cut chosen on each half, and the places of the other half."""
        order = np.lexsort((odd, scores))  # so that the order of the rows does not matter
        kinds = [order[odd[order] == kind] for kind in (False, True)]
        if min(map(len, kinds)) < 2:
            raise DataError(
                f"of {len(scores)} labelled rows {len(kinds[1])} are odd; tuned needs at least two odd ones and two "
                "usual ones, better twenty of each."
            )
        random = np.random.default_rng(0)
        for _ in range(self.rounds):
            mixed = [random.permutation(kind) for kind in kinds]
            halves = [np.concatenate([kind[start::2] for kind in mixed]) for start in (0, 1)]
            for chosen, others in (halves, halves[::-1]):
                yield self._best(scores[chosen], odd[chosen]), others

    def _best(self, scores: Scores, odd: Verdicts) -> float:
        """The best cut between two of these scores, below all or above all."""
        order = np.argsort(-scores, kind="stable")
        scores, odd = scores[order], odd[order]
        called = np.arange(len(scores) + 1)
        hits = np.concatenate([[0], np.cumsum(odd)])
        if self.goal == "f1":
            worth = 2 * hits / (called + hits[-1])
        else:
            worth = -(self.miss * (hits[-1] - hits) + self.false_alarm * (called - hits))
        possible = np.concatenate([[True], scores[1:] < scores[:-1], [True]]) & (called <= self.at_most * len(scores))
        best = int(np.argmax(np.where(possible, worth, -np.inf)))
        if best in (0, len(scores)):
            return float(scores[0] if best == 0 else np.nextafter(scores[-1], -np.inf))
        return float(scores[best - 1] + scores[best]) / 2


def _allowed(scores: Scores, share: float) -> float:
    """The lowest cut that no more than this share of sorted scores lies above."""
    most = int(share * len(scores) + 1e-9)
    return float(scores[len(scores) - 1 - most]) if most < len(scores) else -np.inf
