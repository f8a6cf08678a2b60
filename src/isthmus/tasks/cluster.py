from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, from_numpy

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.saving import Packed, put, take
from isthmus.tasks._codes import Codes, codes_of, suited
from isthmus.tasks._grouping import ENOUGH_FOR_GRAPH, METHODS, grouped, restored, stored
from isthmus.tasks.base import Answer, Plan, Task
from isthmus.words import counted

Labels = npt.NDArray[np.int64]
TYPICAL = 3  # members of each group that are shown


class Clusterer(ClusterMixin, Task):
    """Groups samples that are alike, by their codes: rows of a table, pictures.

        corrupt → encoder → CODE, GROUPED

    An autoencoder that undoes masking learns what belongs together in a sample; its code leaves out most of what does
    not. The codes are then grouped by scikit-learn. Groups are numbered from 0, the largest first. Nothing here says
    whether there are groups at all: look at the map, and at k-means on the columns themselves.

    McConville et al. 2021, "N2D: (Not Too) Deep Clustering"; Ng, Jordan & Weiss 2002, "On Spectral Clustering".

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that undoes masking. Pictures that are larger than
        64 x 64 pixels, or of several sizes, are made smaller, unless its data type says a size; small ones get dense
        layers where its network is "auto".
    n_clusters : how many groups; "auto" takes as many as have the best silhouette (of a mixture the best BIC), at most
        15, and says so in the log.
    method : kmeans (round groups of one size), mixture (normal laws: long groups, of several sizes), graph (groups of
        any shape, cut out of the graph of nearest neighbours), or density (HDBSCAN: dense groups, as many as it finds;
        -1 for what lies between them); "auto" is graph from 200 samples on, kmeans below.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; labels_ : the group of each training sample;
    cluster_centers_ : the middle of each group, decoded: samples in the form of the data; n_clusters_ : how many.

    Raises
    ------
    SettingError : for a method that is none of these, or an n_clusters that is no whole number of at least 1.
    DataError : for fewer samples than groups.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.metrics import adjusted_rand_score
    >>> from isthmus import Clusterer
    >>> X, y = make_blobs(300, 10, centers=4, random_state=0)
    >>> clusterer = Clusterer(random_state=0).fit(X)
    >>> clusterer.n_clusters_, bool(adjusted_rand_score(y, clusterer.labels_) > 0.95)
    (4, True)
    """

    verbs = ("predict",)

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        n_clusters: int | Literal["auto"] = "auto",
        method: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.n_clusters = n_clusters
        self.method = method
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """An autoencoder that fills in what was masked, for which it must know what goes together."""
        return Autoencoder(variant="denoising(damage='masking(share=(0, 0.5))')")

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and group its samples. y is ignored."""
        plan = self._plan(X)
        plan.autoencoder.fit_rows(X)
        return self._conclude(X, plan)

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        return suited(self._fresh(), X, type(self).__name__, self.random_state)

    def _plan(self, X: Any) -> Plan:
        if self.method not in ("auto", *METHODS):
            raise SettingError(f"method is {self.method!r}; it must be one of auto, {', '.join(METHODS)}.")
        wanted = self.n_clusters
        whole = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool) and wanted >= 1
        if not whole and not (isinstance(wanted, str) and wanted == "auto"):
            raise SettingError(f"n_clusters is {wanted!r}; it must be a whole number of at least 1, or 'auto'.")
        return Plan(self.prepared(X))

    def _conclude(self, X: Any, plan: Plan) -> Self:
        self.autoencoder_ = plan.autoencoder
        self.autoencoder_.data_.owner = type(self).__name__
        codes = codes_of(self.autoencoder_, X)
        wanted = None if isinstance(self.n_clusters, str) else int(self.n_clusters)
        if wanted is not None and wanted > len(codes):
            raise DataError(f"n_clusters is {wanted}, and there are {len(codes)} samples; give more, or ask for fewer.")
        method = self.method
        if method == "auto":
            method = "graph" if len(codes) >= ENOUGH_FOR_GRAPH else "kmeans"
        seed = int(fitting.random_numbers(self.autoencoder_.random_state).randint(2**31))
        self._rule = grouped(codes, wanted, method, seed)
        self.labels_ = self._rule.of(codes)
        self.center_codes_ = _centers(codes, self.labels_, exact=method in ("kmeans", "mixture"))
        return self

    @property
    def n_clusters_(self) -> int:
        """How many groups there are."""
        check_is_fitted(self)
        return len(self.center_codes_)

    @property
    def cluster_centers_(self) -> Any:
        """The middle of each group, decoded: samples in the form of the data that were fitted on.

        Of groups of any shape it is the member that lies nearest to the mean, which itself may lie outside.
        """
        check_is_fitted(self)
        return self.autoencoder_.inverse_transform(self.center_codes_)

    def predict(self, X: Any) -> Labels:
        """The group of each sample, shape (n_samples,); -1 for none, which only density gives."""
        check_is_fitted(self)
        return self._rule.of(codes_of(self.autoencoder_, X))

    def answer(self, X: Any) -> Answer:
        """The group of every sample, how far it lies from the group's middle, and typical members of each group.

        Parameters
        ----------
        X : the data.
        """
        check_is_fitted(self)
        data = self.autoencoder_.data_
        X = data.open(X) if data.endings else X  # files are looked at once
        codes = codes_of(self.autoencoder_, X)
        labels = self._rule.of(codes)
        middle = self.center_codes_[labels] if len(self.center_codes_) else codes
        distances = np.where(labels < 0, np.nan, np.linalg.norm(codes - middle, axis=1))
        table = pl.DataFrame({"row": np.arange(len(codes)), "cluster": labels, "distance": distances})
        if names := getattr(X, "names", None) if data.endings else None:
            table.insert_column(1, pl.Series("file", names, dtype=pl.String))
        return Answer(table, self._told(labels), _typical(table), unit=data.unit)

    def _told(self, labels: Labels) -> str:
        sizes = np.bincount(labels[labels >= 0], minlength=self.n_clusters_)
        listed = ", ".join(f"{place}: {size:,}" for place, size in enumerate(sizes[:20].tolist()))
        more = f" and {len(sizes) - 20} smaller ones" if len(sizes) > 20 else ""
        between = f"; {int((labels < 0).sum()):,} between them" if (labels < 0).any() else ""
        many = counted(len(labels), self.autoencoder_.data_.unit)
        return f"{many} in {counted(len(sizes), 'group')} ({listed}{more}{between}); distances are between codes."

    def _learned(self) -> Packed:
        tensors = {"labels": from_numpy(self.labels_), "centers": from_numpy(self.center_codes_)}
        return {"rule": self._rule.name}, tensors | put(stored(self._rule), "rule")

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self._rule = restored(learned["rule"], take(tensors, "rule"))
        self.labels_, self.center_codes_ = tensors["labels"].numpy(), tensors["centers"].numpy()
        if self.center_codes_.ndim != 2 or self.center_codes_.shape[1] != self.autoencoder_.code_density_.size:
            raise ModelFileError("the centres of the groups in this file are no codes of its autoencoder.")


def _centers(codes: Codes, labels: Labels, exact: bool) -> Codes:
    """The mean code of each group, (k, n); or the member nearest to it."""
    found = []
    for group in range(int(labels.max(initial=-1)) + 1):
        members = codes[labels == group]
        mean = members.mean(0)
        found.append(mean if exact else members[np.square(members - mean).sum(1).argmin()])
    return np.array(found).reshape(len(found), codes.shape[1])


def _typical(table: pl.DataFrame) -> pl.DataFrame:
    """The members of each group that lie nearest to its middle."""
    inside = table.filter(pl.col("cluster") >= 0).sort("cluster", "distance", "row")
    return inside.group_by("cluster", maintain_order=True).head(TYPICAL).select(table.columns)
