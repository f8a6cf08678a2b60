"""How well odd rows are found: 24 labelled tables of ADBench, without leaks, beside simple rivals and PyOD.

    python3 dev.py bench detect                        trained on half of the usual rows, tried on all others
    python3 dev.py bench detect --mode all             trained on all rows, odd ones among them, and tried on the same
    python3 dev.py bench detect --parts                what each part of the score is worth
    python3 dev.py bench detect --digits               one digit of MNIST is usual, the nine others are odd
    python3 dev.py bench detect --speed                a table of 50,000 x 30 to fit, a million rows to score

Rows are shuffled by the seed, sets of more than --cap rows are cut down once before anything else, and nothing is drawn
twice. Columns are standardised on the training rows. AUROC in percent. MNIST and ADBench are looked for in
$ISTHMUS_DATA, or in ../shared/data. Needs PyOD.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

import isthmus
from isthmus import AnomalyDetector, Autoencoder
from isthmus.scores import NeighbourDistance
from isthmus.scores._nearest import Nearest
from isthmus.scores._tails import Tail

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
#: The sets that settings were chosen on; sets that are kin (the same source, or twins) stand in one half.
CHOSEN_ON = (
    "2_annthyroid 38_thyroid 19_landsat 31_satimage-2 4_breastw 42_WBC 14_glass 20_letter 23_mammography 27_PageBlocks "
    "35_SpamBase 44_Wilt"
).split()
Scores = dict[str, np.ndarray]


# ---- the data


def load(path: Path, cap: int, seed: int, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to train on, rows to be scored, and which of these are odd."""
    with np.load(path) as file:
        X, y = file["X"].astype(np.float64), file["y"].astype(int)
    random = np.random.default_rng(seed)
    if len(X) > cap:
        chosen = random.permutation(len(X))[:cap]
        X, y = X[chosen], y[chosen]
    if mode == "all":
        training, test = np.arange(len(X)), np.arange(len(X))
    else:
        usual = random.permutation(np.flatnonzero(y == 0))
        training, test = usual[: len(usual) // 2], np.r_[usual[len(usual) // 2 :], np.flatnonzero(y == 1)]
    scaler = StandardScaler().fit(X[training])
    return scaler.transform(X[training]), scaler.transform(X[test]), y[test]


# ---- who scores; `same` where the scored rows are those of training


def nearest(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    """The distance of the fifth neighbour."""
    distances, _ = NearestNeighbors(n_neighbors=5 + same).fit(X).kneighbors(new)
    return {"nearest neighbours": distances[:, -1]}


def forest(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    return {"isolation forest": -IsolationForest(random_state=seed).fit(X).score_samples(new)}


def principal(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    """The error of as many components as explain 90 % of the variance."""
    pca = PCA(0.9, random_state=seed).fit(X)
    return {"PCA's error": np.square(new - pca.inverse_transform(pca.transform(new))).sum(1)}


def pyod(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    from pyod.models.auto_encoder import AutoEncoder

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = AutoEncoder(random_state=seed, verbose=0).fit(X)
        return {"PyOD's AutoEncoder": model.decision_function(new)}


def bare(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    detector = AnomalyDetector(scores="distortion", random_state=seed).fit(X)
    return {"AnomalyDetector, distortion": -detector.score_samples(new)}


def ours(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    return {"AnomalyDetector": -AnomalyDetector(random_state=seed).fit(X).score_samples(new)}


def trimmed(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    return {"AnomalyDetector, trim=0.1": -AnomalyDetector(random_state=seed, trim=0.1).fit(X).score_samples(new)}


def parts(X: np.ndarray, new: np.ndarray, seed: int, same: bool) -> Scores:
    """The score, and what is left of it without one part or the other."""
    panel = AnomalyDetector(random_state=seed).fit(X)._panel
    assert panel is not None
    nats = panel.each(new).mean(2)  # (n_members, n)
    found = {"the score": nats.mean(0)}
    for place, member in enumerate(["usual", "short", "long"]):
        found[f"without the {member} code"] = np.delete(nats, place, 0).mean(0)
        found[f"the {member} code alone"] = nats[place]
    found["PCA instead of networks"] = with_pca(X, new, [one.model.n_components_ for one in panel.members])
    rows = torch.from_numpy(X), torch.from_numpy(new)
    nearest = Nearest.fit(rows[0], 5, 0.3, 2000, torch.Generator().manual_seed(0))
    return found | {"no network: distances of rows": nearest(rows[1]).numpy()}


def with_pca(X: np.ndarray, new: np.ndarray, sizes: Iterable[int]) -> np.ndarray:
    """The same score of principal components, as many of them as codes are long."""
    held_out = np.random.default_rng(0).random(len(X)) < 0.1
    learned = X[~held_out] if held_out.any() else X
    score, nats = NeighbourDistance(), []
    for size in sizes:
        pca = PCA(min(size, *learned.shape)).fit(learned)

        def read(rows: np.ndarray, pca: PCA = pca) -> torch.Tensor:
            back = pca.inverse_transform(pca.transform(rows))
            return torch.from_numpy(np.hstack([back, rows - back]))

        there = read(X[held_out] if held_out.any() else X)
        measure = score.fit(read(learned), there, torch.Generator().manual_seed(0))
        nats.append(Tail.fit(measure(there))(measure(read(new))).numpy())
    return np.mean(nats, axis=0)


# ---- tables


def tables(contenders: list[Callable[..., Scores]], given: argparse.Namespace) -> None:
    """AUROC of every contender on every set, and the means."""
    found: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, float] = {}
    paths = sorted((DATA / "adbench").glob("*.npz"), key=lambda path: int(path.stem.partition("_")[0]))
    for path in paths:
        if given.sets and path.stem not in given.sets:
            continue
        for seed in range(given.seeds):
            X, new, odd = load(path, given.cap, seed, given.mode)
            for contender in contenders:
                start = time.perf_counter()
                for name, scores in contender(X, new, seed, given.mode == "all").items():
                    scores = np.nan_to_num(scores, nan=0.0, posinf=1e300)
                    found.setdefault(name, {}).setdefault(path.stem, []).append(100 * roc_auc_score(odd, scores))
                    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        print(path.stem, {name: round(float(np.mean(sets[path.stem])), 1) for name, sets in found.items()}, flush=True)
    show(found, seconds, given)


def show(found: dict[str, dict[str, list[float]]], seconds: dict[str, float], given: argparse.Namespace) -> None:
    first = next(iter(found))
    versions = f"isthmus {isthmus.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    title = f"{versions}, {platform.machine()}, mode {given.mode}, {given.seeds} seeds, at most {given.cap:,} rows"
    means = Table(title=title)
    halves = f"mean|over seeds +-|minus {first}|ahead on|chosen on|the others|seconds"
    for name in ("", *halves.split("|")):
        means.add_column(name, justify="right" if name else "left")
    base = np.array([np.mean(found[first][one]) for one in found[first]])
    chosen = np.array([one in CHOSEN_ON for one in found[first]])
    for name, sets in found.items():
        values = np.array([np.mean(sets[one]) for one in sets])
        spread = np.std(np.mean(list(sets.values()), axis=0), ddof=1) if given.seeds > 1 else 0.0
        gap = f"{values.mean() - base.mean():+.2f}", f"{int((values > base).sum())} of {len(base)}"
        cells = f"{values.mean():.2f}", f"{spread:.2f}", *gap
        halves = f"{values[chosen].mean():.2f}", f"{values[~chosen].mean():.2f}"
        means.add_row(name, *cells, *halves, f"{seconds[name]:.0f}")
    each = Table()
    for name in ("set", *found):
        each.add_column(name, justify="right" if name != "set" else "left")
    for one in found[first]:
        each.add_row(one, *(f"{np.mean(sets[one]):.1f}" for sets in found.values()))
    console = Console(width=180)
    console.print(means)
    console.print(each)


# ---- pictures, and speed


def digits(given: argparse.Namespace) -> None:
    """One digit is usual, tried on a part of the test pictures."""
    from _digits import labels, pictures

    train, test, of_train, of_test = pictures("train"), pictures("t10k"), labels("train"), labels("t10k")
    found: dict[str, list[float]] = {}
    for digit in range(10):
        X = train[of_train == digit][: given.pictures]
        new, odd = test[: given.pictures], of_test[: given.pictures] != digit
        flat, asked = X.reshape(len(X), -1), new.reshape(len(new), -1)
        scores = nearest(flat, asked, 0, False) | principal(flat, asked, 0, False)
        model = Autoencoder(64, network="dense", variant="denoising(damage='gaussian')", random_state=0, verbose=False)
        names = ["distortion", "code_distance", "neighbour_distance"]
        panel = AnomalyDetector(model, scores=names).fit(X)._panel
        assert panel is not None
        scores |= dict(zip(names, panel.each(new)[0].T, strict=True))
        for name, values in scores.items():
            found.setdefault(name, []).append(100 * roc_auc_score(odd, values))
        print(digit, {name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    for name, values in found.items():
        print(f"{name:25} mean {np.mean(values):.2f}  worst {np.min(values):.2f}")


def speed(given: argparse.Namespace) -> None:
    """Seconds to fit, and to score."""
    random = np.random.default_rng(0)
    mix = random.normal(size=(5, 30))
    made = lambda n: random.normal(size=(n, 5)) @ mix + 0.3 * random.normal(size=(n, 30))  # noqa: E731
    X, new = made(50_000), made(1_000_000)
    for dtype in (np.float32, np.float64):
        start = time.perf_counter()
        detector = AnomalyDetector(random_state=0).fit(X.astype(dtype))
        fitted = time.perf_counter() - start
        asked = new.astype(dtype)
        start = time.perf_counter()
        detector.score_samples(asked)
        print(f"{dtype.__name__}: fit {fitted:.1f} s, score {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=["normal", "all"], default="normal")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cap", type=int, default=50_000)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--only", nargs="+", help="contenders by the names of their functions")
    parser.add_argument("--sets", nargs="+", help="tables by the names of their files")
    for what in ("parts", "digits", "speed"):
        parser.add_argument(f"--{what}", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.speed:
        return speed(given)
    if not (DATA / ("mnist" if given.digits else "adbench")).exists():
        print(f"skipped: no data in {DATA}")
        return None
    if given.digits:
        return digits(given)
    everyone = [nearest, forest, principal, pyod, bare, ours, trimmed, parts]
    usual = [one for one in everyone if one is not parts and (one is not trimmed or given.mode == "all")]
    chosen = [one for one in everyone if one.__name__ in given.only] if given.only else usual
    return tables([nearest, parts] if given.parts else chosen, given)


if __name__ == "__main__":
    main()
