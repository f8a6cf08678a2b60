"""Are the false alarms as many as asked? Thresholds on the usual rows of ADBench's sets.

    python3 dev.py bench false_alarms                 24 sets, two seeds, 200 splits each
    python3 dev.py bench false_alarms --set thyroid --seeds 5

Of the usual rows of each set, 6,000 at most, 70 % go to a detector with `threshold=Conformal(0.05)`, which keeps a
fifth of them, or 40, out of training; on the others it must call 5 % odd. Rows that were kept out and others are all
new to the model, so that they are split again, at random and many times, into rows to set the cut on and rows to count
alarms on, which costs no training: conformal cuts at 5 %, extreme-value ones at 0.1 %, and one p-value from each split.
A count is in the band when it lies between the 0.5 and the 99.5 % quantile of its beta-binomial law. Rivals for the cut
are the quantile of the training scores (scikit-learn's contamination) and their mean and three standard deviations.
The network trains for 20 epochs: no threshold here asks how good it is. Data: $ISTHMUS_DATA, or ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _measuring import refuse, show
from scipy.stats import betabinom, kstest

from isthmus import AnomalyDetector, Training
from isthmus.errors import DataError
from isthmus.thresholds import Conformal, Deviation, ExtremeValue, Quantile
from isthmus.thresholds._p_values import p_values_of

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "adbench"
MOST, RATE, RARE = 6_000, 0.05, 0.001
FEWEST = 40  # rows that are kept out of training, at least
FEWEST_FOR_RARE = 500  # rows to fit a tail on, and to count in
Scores = np.ndarray


@dataclass
class Run:
    """One set and one seed."""

    n_calibration: int
    n_test: int
    fitted: float  # share of false alarms of the detector as it was fitted
    fitted_in_band: bool
    rivals: dict[str, float]
    splits: list[float] = field(default_factory=list)
    in_band: list[bool] = field(default_factory=list)
    p_values: list[float] = field(default_factory=list)
    rare: list[float] = field(default_factory=list)


def in_band(alarms: int, n_calibration: int, n_test: int, rate: float) -> bool:
    """Whether so many are likely: the rate of the cut of rank k among n follows a beta law with n + 1 - k and k."""
    rank = int(np.ceil((n_calibration + 1) * (1 - rate) - 1e-9))
    law = betabinom(n_test, n_calibration + 1 - rank, rank)
    return bool(law.ppf(0.005) <= alarms <= law.ppf(0.995))


def usual_rows(path: Path, seed: int) -> Scores:
    held = np.load(path)
    X = held["X"][held["y"] == 0].astype(np.float64)
    return X[np.random.default_rng(seed).permutation(len(X))[:MOST]]


def measure(path: Path, seed: int, n_splits: int) -> Run:
    X = usual_rows(path, seed)
    n_training = int(0.7 * len(X))
    rule = Conformal(RATE, calibration=max(0.2, FEWEST / n_training))
    detector = AnomalyDetector(threshold=rule, random_state=seed)
    detector.set_params(autoencoder=detector.default().set_params(training=Training(max_epochs=20)))
    detector.fit(X[:n_training])
    new = -detector.score_samples(X[n_training:])
    kept_out = detector.calibration_scores_
    alarms = int((new > detector.threshold_).sum())
    trained = np.setdiff1d(detector.decision_scores_, kept_out)
    rivals = {
        "quantile": float((new > Quantile(RATE).cut(trained)).mean()),
        "deviation": float((new > Deviation().cut(trained)).mean()),
    }
    n, m = len(kept_out), len(new)
    run = Run(n, m, alarms / m, in_band(alarms, n, m, RATE), rivals)
    again(run, np.concatenate([kept_out, new]), np.random.default_rng(seed), n_splits)
    return run


def again(run: Run, scores: Scores, random: np.random.Generator, n_splits: int) -> None:
    """Many splits of scores of rows that the model has not seen."""
    half = len(scores) // 2
    for _ in range(n_splits):
        mixed = random.permutation(scores)
        calibration, test = mixed[:half], mixed[half:]
        alarms = int((test > Conformal(RATE).cut(calibration)).sum())
        run.splits.append(alarms / len(test))
        run.in_band.append(in_band(alarms, half, len(test), RATE))
        # a p-value is a multiple of 1 / (n + 1), and is made continuous within its step and its ties
        ties = int((calibration == test[0]).sum()) + 1
        run.p_values.append(float(p_values_of(test[:1], calibration)[0]) - random.random() * ties / (half + 1))
    for _ in range(n_splits // 4 if half >= FEWEST_FOR_RARE else 0):
        mixed = random.permutation(scores)
        try:
            run.rare.append(float((mixed[half:] > ExtremeValue(RARE).cut(mixed[:half])).mean()))
        except DataError:  # scores that hardly differ
            break


def percent(values: Sequence[float], digits: int = 2) -> str:
    return f"{100 * float(np.mean(values)):.{digits}f}" if len(values) else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], help="only sets with this in their name")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--splits", type=int, default=200)
    given = parser.parse_args()
    if not DATA.is_dir():
        return refuse(f"{DATA} is not there; set ISTHMUS_DATA to the folder that holds adbench/.")
    warnings.simplefilter("ignore")
    paths = [path for path in sorted(DATA.glob("*.npz")) if not given.set or any(one in path.stem for one in given.set)]
    found: dict[str, list[Run]] = {}
    rows = []
    for path in paths:
        runs = found[path.stem] = [measure(path, seed, given.splits) for seed in range(given.seeds)]
        flat = lambda name, runs=runs: [one for run in runs for one in getattr(run, name)]  # noqa: E731
        rows.append(
            [
                path.stem,
                f"{runs[0].n_calibration:,} + {runs[0].n_test:,}",
                percent([run.fitted for run in runs]),
                percent(flat("splits")),
                percent(flat("in_band"), 1),
                f"{kstest(flat('p_values'), 'uniform').pvalue:.2f}",
                percent(flat("rare"), 3),
                percent([run.rivals["quantile"] for run in runs]),
                percent([run.rivals["deviation"] for run in runs]),
            ]
        )
        print("#", *rows[-1], file=sys.stderr, flush=True)
    every = [run for runs in found.values() for run in runs]
    pooled = [one for run in every for one in run.p_values]
    rare = [np.mean(run.rare) for run in every if run.rare]
    notes = [
        f"As fitted: {len(every)} runs, mean {percent([run.fitted for run in every])} %, in the band "
        f"{percent([run.fitted_in_band for run in every], 1)} %.",
        f"Split again: {sum(len(run.splits) for run in every):,} splits, mean "
        f"{percent([one for run in every for one in run.splits])} %, in the band "
        f"{percent([one for run in every for one in run.in_band], 1)} %; p-values, {len(pooled):,}: "
        f"Kolmogorov-Smirnov p = {kstest(pooled, 'uniform').pvalue:.3f}.",
        f"Extreme value, asked {100 * RARE:g} %: mean {percent(rare, 3)} % over {len(rare)} runs, of single runs "
        f"{100 * min(rare, default=0):.3f} to {100 * max(rare, default=0):.3f} %.",
        f"Quantile of the training scores: mean {percent([run.rivals['quantile'] for run in every])} %; mean and three "
        f"standard deviations: {percent([run.rivals['deviation'] for run in every])} %.",
    ]
    columns = ["set", "rows", "as fitted", "split again", "in band", "KS p", "0.1 % asked", "quantile", "mean + 3 sd"]
    show("False alarms, 5 % asked", f"{given.seeds} seeds, {given.splits} splits; all in percent", columns, rows, notes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
