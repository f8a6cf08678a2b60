"""How much a detector depends on what was chosen for it: code size, capacity, loss, and the quality of its data."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils import _safe_indexing

from isthmus.errors import DataError, DoctorWarning, MissingExtraError, SettingError
from isthmus.evaluation._mixing import mixed_up, stacked
from isthmus.likelihoods import Laplace, Mixed, Normal, StudentT
from isthmus.networks import Dense
from isthmus.part import public
from isthmus.tasks import AnomalyDetector
from isthmus.tasks._labels import odd_labels
from isthmus.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = npt.NDArray[np.int64]
AS_IT_IS = "as it is"
LOSSES: Mapping[str, Any] = {
    "squared error": Mixed(numeric=Normal()),
    "learned scale": Mixed(numeric=Normal(scale="learned", minimum=0.1)),
    "absolute error": Mixed(numeric=Laplace()),
    "Student's t": Mixed(numeric=StudentT()),
}


@dataclass(frozen=True)
class Sensitivity:
    """What came of the variations.

    Parameters
    ----------
    table : a polars frame with a row for each variation: aspect, setting; auroc and its standard deviation over seeds,
        how well odd rows are told from usual ones; agreement, the rank correlation of the scores with those of the
        detector as it is; alarms, the share of usual rows above the cut.
    judged : in words, which rows were told apart.
    """

    table: Any
    judged: str

    @property
    def headline(self) -> str:
        """The aspect that matters most, in one sentence."""
        import polars as pl

        ends = self.table.group_by("aspect", maintain_order=True).agg(
            pl.col("auroc").min().alias("low"), pl.col("auroc").max().alias("high")
        )
        first = ends.sort(pl.col("high") - pl.col("low"), descending=True).row(0, named=True)
        return f"It depends most on {first['aspect']}: AUROC {first['low']:.3f} to {first['high']:.3f}, {self.judged}."

    def figure(self) -> Figure:
        """A panel for each aspect: AUROC by setting, with one standard deviation; for matplotlib's `savefig`.

        Raises
        ------
        MissingExtraError : without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError("the figure needs the report extra: pip install 'isthmus[report]'.") from error
        aspects = self.table["aspect"].unique(maintain_order=True).to_list()
        figure = Figure(figsize=(2.6 * len(aspects), 2.8), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(aspects), sharey=True))
        for panel, aspect in zip(panels, aspects, strict=True):
            rows = self.table.filter(self.table["aspect"] == aspect)
            own = (rows["setting"].str.ends_with(AS_IT_IS)).to_list()
            panel.errorbar(rows["setting"], rows["auroc"], rows["sd"], fmt="o-", capsize=3, markersize=4)
            panel.plot(rows["setting"].filter(own), rows["auroc"].filter(own), "D", markersize=8, color="tab:orange")
            panel.set_title(aspect, fontsize=10)
            panel.tick_params(axis="x", rotation=40, labelsize=8)
            panel.grid(True, axis="y", alpha=0.4)
        panels[0].set_ylabel("AUROC")
        return figure


@dataclass(frozen=True)
class _Case:
    """One variation: where it stands in the table, and what it trains on."""

    aspect: str
    setting: str
    detector: AnomalyDetector
    rows: Rows


@dataclass(frozen=True)
class _Pool:
    """Rows to train and to judge on.

    Parameters
    ----------
    X : all rows.
    training : usual ones to train on; odd : more of which some are mixed in.
    test : rows to judge, and which of them are odd.
    """

    X: Any
    training: Rows
    odd: Rows
    test: Rows
    test_is_odd: npt.NDArray[np.bool_]


def sensitivity(
    detector: AnomalyDetector,
    X: Any,
    y: Any = None,
    *,
    sizes: Sequence[int] | None = None,
    widths: Sequence[Sequence[int]] = ((), (32,), (128, 64)),
    losses: Mapping[str, Any] = LOSSES,
    odd_shares: Sequence[float] = (0.02, 0.05, 0.1),
    n_seeds: int = 2,
    random_state: int = 0,
) -> Sensitivity:
    """Train variations of a detector and say what its verdicts depend on.

    A third of the rows is kept to judge on. One thing is changed at a time; the variations train together where they
    can (`fit_many`). Without y, rows whose cells were swapped with those of other rows, column by column, stand for odd
    ones: each of their values is usual, together they are not.

    Parameters
    ----------
    detector : an AnomalyDetector; it is copied.
    X : the training data: an array, a frame or a list, rows of a table.
    y : which rows are odd (True, 1, "odd"; or -1); it trains on the others.
    sizes : numbers in a code; None takes half as many, as many, and twice as many as it chooses itself.
    widths : hidden layers of dense networks, for the capacity.
    losses : likelihoods by name.
    odd_shares : shares of odd rows that are mixed into the training rows.
    n_seeds : how often each variation is trained.
    random_state : chooses the rows that are kept, and the seeds.

    Raises
    ------
    SettingError : for something that is no AnomalyDetector, or no seeds.
    DataError : for labels without odd rows, or data whose rows cannot be chosen, such as a path.

    >>> import numpy as np
    >>> from isthmus import AnomalyDetector, Autoencoder, Training
    >>> from isthmus.evaluation import sensitivity
    >>> X = np.random.default_rng(0).normal(size=(240, 1)) @ np.ones((1, 4))
    >>> detector = AnomalyDetector(Autoencoder(1, training=Training(max_epochs=5)))
    >>> found = sensitivity(detector, X, sizes=[1, 3], widths=[(8,)], losses={}, odd_shares=[0.1], n_seeds=1)
    >>> found.table["aspect"].unique(maintain_order=True).to_list()
    ['code size', 'capacity', 'odd rows in training']
    """
    if not isinstance(detector, AnomalyDetector) or n_seeds < 1:
        raise SettingError(f"sensitivity is asked of {detector!r} with {n_seeds} seeds; give an AnomalyDetector and 1.")
    pool = _pool(X, y, np.random.default_rng(random_state))
    own = clone(detector).set_params(random_state=random_state)
    own.set_params(autoencoder=own.default() if own.autoencoder is None else own.autoencoder)
    with _without_the_doctor():
        own.fit(_safe_indexing(pool.X, pool.training))
    n = own.autoencoder_.n_components_
    own = clone(own).set_params(autoencoder__n_components=n)
    sizes = sorted({max(1, n // 2), n, 2 * n}) if sizes is None else sizes
    cases = [
        *(_case("code size", str(size), own, pool, n_components=size) for size in sizes if size != n),
        *(_case("capacity", _layers(one), own, pool, network=Dense(tuple(one))) for one in widths),
        *(_case("loss", name, own, pool, likelihood=law) for name, law in losses.items()),
        *_spoiled(own, pool, odd_shares, np.random.default_rng(random_state + 1)),
    ]
    own_names = {"code size": f"{n}, {AS_IT_IS}", "odd rows in training": f"0 %, {AS_IT_IS}"}
    found = _trained([_Case("", "", own, pool.training), *cases], pool, n_seeds, random_state)
    judged = f"of {counted(len(pool.test), 'row')}, {int(pool.test_is_odd.sum())} of them "
    return Sensitivity(_table(cases, found, own_names), judged + ("odd" if y is not None else "mixed up"))


@contextlib.contextmanager
def _without_the_doctor() -> Iterator[None]:
    """Some of the variations are meant to be bad ones, of which nobody has to be told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        yield


def _pool(X: Any, y: Any, random: np.random.Generator) -> _Pool:
    """Two thirds of the usual rows to train on, one to judge on, and half of the odd ones for each."""
    if isinstance(X, str) or hasattr(X, "__fspath__"):
        raise DataError(f"X is the path {str(X)!r}; give the data themselves, an array or a frame.")
    n = len(X) if not hasattr(X, "shape") else X.shape[0]
    if y is None:
        X = stacked(X, mixed_up(X, random))
        order = random.permutation(n)
        training, kept = order[n // 3 :], order[: n // 3]
        return _Pool(X, training, training + n, np.concatenate([kept, kept + n]), np.repeat([False, True], len(kept)))
    odd = odd_labels(y, n)
    if odd.sum() < 2 or (~odd).sum() < 6:
        raise DataError(f"y calls {int(odd.sum())} of {n} rows odd; at least two odd ones and six usual are needed.")
    usual, strange = random.permutation(np.flatnonzero(~odd)), random.permutation(np.flatnonzero(odd))
    test = np.concatenate([usual[: len(usual) // 3], strange[: len(strange) // 2]])
    return _Pool(X, usual[len(usual) // 3 :], strange[len(strange) // 2 :], test, odd[test])


def _layers(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths)) or "linear"


def _case(aspect: str, setting: str, own: AnomalyDetector, pool: _Pool, **settings: Any) -> _Case:
    """One thing of the autoencoder changed."""
    changed = clone(own).set_params(**{f"autoencoder__{name}": value for name, value in settings.items()})
    return _Case(aspect, setting, changed, pool.training)


def _spoiled(
    own: AnomalyDetector, pool: _Pool, shares: Sequence[float], random: np.random.Generator
) -> Iterator[_Case]:
    """Odd rows among those that it trains on."""
    for share in shares:
        wanted = round(share * len(pool.training) / (1 - share))
        odd = random.choice(pool.odd, wanted, replace=wanted > len(pool.odd))
        yield _Case("odd rows in training", f"{100 * share:g} %", clone(own), np.concatenate([pool.training, odd]))


def _trained(cases: Sequence[_Case], pool: _Pool, n_seeds: int, random_state: int) -> list[dict[str, float]]:
    """What each case came to, those on the same rows trained together; the first one is what others agree with."""
    rows = {id(case.rows): case.rows for case in cases}
    test = _safe_indexing(pool.X, pool.test)
    scores: dict[int, list[Any]] = {}
    for key, chosen in rows.items():
        mine = [case for case in cases if id(case.rows) == key]
        seeds = range(random_state, random_state + n_seeds)
        copies = [clone(case.detector).set_params(random_state=seed) for case in mine for seed in seeds]
        with _without_the_doctor():
            public("evaluation", "fit_many")(copies, _safe_indexing(pool.X, chosen))
        for place, case in enumerate(mine):
            of_case = copies[place * n_seeds : (place + 1) * n_seeds]
            scores[id(case)] = [(-one.score_samples(test), one.threshold_) for one in of_case]
    return [_measured(scores[id(case)], scores[id(cases[0])], pool.test_is_odd) for case in cases]


def _measured(own: Sequence[Any], base: Sequence[Any], odd: npt.NDArray[np.bool_]) -> dict[str, float]:
    curves = [roc_auc_score(odd, scores) for scores, _ in own]
    return {
        "auroc": float(np.mean(curves)),
        "sd": float(np.std(curves)),
        "agreement": float(np.mean([spearmanr(a, b)[0] for (a, _), (b, _) in zip(own, base, strict=True)])),
        "alarms": float(np.mean([(scores[~odd] > cut).mean() for scores, cut in own])),
    }


def _table(cases: Sequence[_Case], found: Sequence[dict[str, float]], own_names: Mapping[str, str]) -> Any:
    """The detector as it is stands once in each aspect."""
    import polars as pl

    rows: list[dict[str, Any]] = []
    for aspect in dict.fromkeys(case.aspect for case in cases):
        mine = [(case.setting, one) for case, one in zip(cases, found[1:], strict=True) if case.aspect == aspect]
        mine.insert(0, (own_names.get(aspect, AS_IT_IS), found[0]))
        if aspect == "code size":
            mine.sort(key=lambda pair: int(pair[0].split(",")[0]))
        rows += [{"aspect": aspect, "setting": setting} | one for setting, one in mine]
    return pl.DataFrame(rows)
