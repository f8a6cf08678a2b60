from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, from_numpy

from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.module import resolve_variants
from isthmus.saving import Packed
from isthmus.storage import tensor_text, text_tensor
from isthmus.tasks._codes import codes_of, on_sphere, suited
from isthmus.tasks._search import SHOWN, Distances, Places, Search, in_tables, search_for, without_itself
from isthmus.tasks._sheet import Files, Hit, Line, check_path, draw_sheet, named
from isthmus.tasks.base import Answer, Plan, Task
from isthmus.variants import Binary
from isthmus.words import counted

SEARCHES = ("exact", "faiss")
METRICS = ("auto", "euclidean", "cosine")


class Retriever(Task):
    """Finds what is most like a sample: among pictures in a folder, rows of a table.

        corrupt → encoder → CODE, ITS NEAREST

    Training also makes an index: the code of every sample, and the name of its file. `query` and `kneighbors` look
    samples up in it; `index` and `add` change what is in it without training again. Codes of bits (variant="binary")
    are compared by how many of them differ, counted on packed bits: 64 bits are 8 bytes for each item.

    Krizhevsky & Hinton 2011, "Using Very Deep Autoencoders for Content-Based Image Retrieval"; Salakhutdinov & Hinton
    2009, "Semantic Hashing".

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes one that undoes masking. Pictures that are larger than
        64 x 64 pixels, or of several sizes, are made smaller, unless its data type says a size; small ones get dense
        layers where its network is "auto".
    n_neighbors : how many items to find, unless a call says otherwise.
    metric : how codes that are numbers are compared: euclidean; cosine, 1 - the cosine of the angle at the mean code,
        which leaves out how strongly something is there; "auto" is cosine for pictures, else euclidean.
    search : exact looks at every item; faiss, for millions, only where near ones are likely, and may miss some; it
        needs the retrieval extra.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; codes_ : of the indexed items, numbers or packed bits;
    names_ : of the indexed items, those of their files, else their places as words; n_items_ : how many there are.

    Raises
    ------
    SettingError : for an n_neighbors below 1 or above the number of items, or another search or metric;
    MissingExtraError : for search="faiss" without faiss.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from isthmus import Retriever
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> retriever = Retriever(random_state=0).fit(X[:400])
    >>> found = retriever.query(X[400:], n_neighbors=1)  # places among the indexed
    >>> bool((y[found[:, 0]] == y[400:]).mean() > 0.85)
    True
    """

    verbs = ("query",)

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        n_neighbors: int = 5,
        metric: str = "auto",
        search: str = "exact",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.search = search
        self.random_state = random_state

    def default(self) -> Autoencoder:
        """An autoencoder that fills in what was masked, for which it must know what goes together."""
        return Autoencoder(variant="denoising(damage='masking(share=(0, 0.5))')")

    # -- learning

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X and index it. y is ignored."""
        plan = self._plan(X)
        plan.autoencoder.fit_rows(X)
        return self._conclude(X, plan)

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        return suited(self._fresh(), X, type(self).__name__, self.random_state)

    def _plan(self, X: Any) -> Plan:
        for name, allowed in (("search", SEARCHES), ("metric", METRICS)):
            if (given := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} is {given!r}; it must be one of {', '.join(allowed)}.")
        _check_number(self.n_neighbors)
        return Plan(self.prepared(X))

    def _conclude(self, X: Any, plan: Plan) -> Self:
        self.autoencoder_ = plan.autoencoder
        self.autoencoder_.data_.owner = type(self).__name__
        X = self._looked_at(X)
        self._middle = codes_of(self.autoencoder_, X).mean(0)
        return self.index(X)

    def index(self, X: Any, names: Sequence[str] | None = None) -> Self:
        """Put these samples into the index, instead of those that were in it; nothing is trained.

        Parameters
        ----------
        X : the data.
        names : one for each sample; None takes those of files, else places.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        self.codes_ = self._codes(X)
        self._names, self._paths = named(X, names, len(self.codes_))
        return self._built()

    def add(self, X: Any, names: Sequence[str] | None = None) -> Self:
        """Put these samples into the index too, after those that are in it; nothing is trained.

        Parameters
        ----------
        X : the data.
        names : one for each sample, where those in the index have names; None takes those of files.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        codes = self._codes(X)
        more, paths = named(X, names, len(codes))
        if bool(more) != bool(self._names):
            has, new = ("have names", "none") if self._names else ("have no names", "some")
            raise DataError(f"the samples in the index {has}, and the new ones {new}; give all of them names, or none.")
        self.codes_ = np.concatenate([self.codes_, codes])
        self._names, self._paths = [*self._names, *more], [*self._paths, *paths]
        return self._built()

    def _built(self) -> Self:
        self._search: Search = search_for(self.codes_, self.search)
        return self

    def _looked_at(self, X: Any) -> Any:
        """Pictures opened, so that files are looked at once; other data as they are."""
        data = self.autoencoder_.data_
        return data.open(X) if isinstance(data, Images) else X

    def _codes(self, X: Any) -> npt.NDArray[Any]:
        """Codes as they stand in the index: float32, (n, d), or packed bits in uint8."""
        codes = codes_of(self.autoencoder_, X)
        if self._by_bits:
            return np.packbits(codes > 0, axis=1)  # the lower value is -1 or 0
        if self._by_angle:
            codes = on_sphere(codes - self._middle)
        return codes.astype(np.float32)

    @property
    def _by_bits(self) -> bool:
        return any(isinstance(variant, Binary) for variant in resolve_variants(self.autoencoder_.variant))

    @property
    def _by_angle(self) -> bool:
        """Whether codes stand on a sphere around the mean code, where Euclidean distances go as cosines do."""
        pictures = isinstance(self.autoencoder_.data_, Images)
        return self.metric == "cosine" or (self.metric == "auto" and pictures)

    def _nearest(self, codes: npt.NDArray[Any], k: int) -> tuple[Distances, Places]:
        far, places = self._search.nearest(codes, k)
        return (far if self._by_bits or not self._by_angle else np.square(far) / 2), places

    @property
    def n_items_(self) -> int:
        """How many items are in the index."""
        check_is_fitted(self)
        return len(self.codes_)

    @property
    def names_(self) -> list[str]:
        """The names of the items in the index."""
        check_is_fitted(self)
        return list(self._names) or [str(place) for place in range(len(self.codes_))]

    # -- looking up

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[Distances, Places] | Places:
        """The nearest items to each sample: distances and places in the index, twice (n_samples, n_neighbors).

        Parameters
        ----------
        X : the data; None looks up every item of the index among the others.
        n_neighbors : how many; None takes the setting.
        return_distance : False gives the places alone.
        """
        check_is_fitted(self)
        n_others = self.n_items_ - (X is None)
        k = min(self.n_neighbors, n_others) if n_neighbors is None else _check_number(n_neighbors)
        if not 1 <= k <= n_others:
            held = counted(n_others, "other item" if X is None else "item")
            raise SettingError(f"n_neighbors is {k}, and there are {held} in the index; ask for fewer, or index more.")
        if X is None:
            found = without_itself(*self._nearest(self.codes_, k + 1))
        else:
            found = self._nearest(self._codes(X), k)
        return found if return_distance else found[1]

    def query(self, X: Any, n_neighbors: int | None = None) -> Places:
        """The places in the index of what is most like each sample, the nearest first, (n_samples, n_neighbors).

        Parameters
        ----------
        X : the data.
        n_neighbors : how many; None takes the setting.
        """
        return np.asarray(self.kneighbors(X, n_neighbors, return_distance=False))

    def answer(self, X: Any, n_neighbors: int | None = None) -> Answer:
        """What is most like each sample: names and distances.

        Parameters
        ----------
        X : the data.
        n_neighbors : how many items to find for each sample, at least 1; None takes the setting.
        """
        check_is_fitted(self)
        X = self._looked_at(X)
        distances, places = self.kneighbors(X, n_neighbors)
        files = X.names if isinstance(self.autoencoder_.data_, Images) else []
        table, shown = in_tables(files, self._names, distances, places)
        unit = self.autoencoder_.data_.unit
        asked, among = counted(len(places), unit), counted(self.n_items_, unit)
        measure = "1 - cosine of codes" if self._by_angle else "Euclidean, between codes"
        headline = f"Looked for {asked} among {among}; distances are {'bits' if self._by_bits else measure}."
        return Answer(table, headline, shown, unit=unit)

    def contact_sheet(
        self,
        X: Any,
        path: str | Path,
        n_neighbors: int | None = None,
        folder: str | None = None,
        pictures: Any = None,
    ) -> Path:
        """Draw pictures beside what is most like them, in one picture file: each at the left, then the nearest.

        Parameters
        ----------
        X : the pictures to look up.
        path : the file to write, .png or .jpg.
        n_neighbors : how many items to find for each; None takes the setting.
        folder : where the indexed files lie now, if they were moved.
        pictures : the indexed pictures, where they lie in no files.

        Raises
        ------
        DataError : where samples are no pictures, or the indexed ones are not to be found; it says where they were.
        """
        check_is_fitted(self)
        check_path(path)
        if not isinstance(self.autoencoder_.data_, Images):
            name = self.autoencoder_.data_.name()
            raise DataError(f"a contact sheet shows pictures, and this model is for {name}; `answer` gives its table.")
        asked = self._looked_at(X)
        distances, places = self.kneighbors(asked, n_neighbors)
        distances, places = distances[:SHOWN], places[:SHOWN]
        files = Files(self._names, self._paths, self.n_items_)
        held = files.pixels(np.unique(places).tolist(), folder, pictures)
        names, written = self.names_, "{:.0f} bits" if self._by_bits else "{:.3g}"
        lines = []
        for row in range(len(places)):
            found = zip(places[row].tolist(), distances[row].tolist(), strict=True)
            hits = [Hit(names[place], written.format(far), held[place]) for place, far in found]
            lines.append(
                Line(asked.names[row] if asked.names else str(row), asked.source.pixels(np.array([row]))[0], hits)
            )
        return draw_sheet(lines, path)

    # -- files

    def _learned(self) -> Packed:
        tensors = {"codes": from_numpy(self.codes_), "names": text_tensor(self._names)}
        return {}, tensors | {"paths": text_tensor(self._paths), "middle": from_numpy(self._middle)}

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.codes_, self._middle = tensors["codes"].numpy(), tensors["middle"].numpy()
        self._names, self._paths = tensor_text(tensors["names"]), tensor_text(tensors["paths"])
        size = self.autoencoder_.code_density_.size
        width = -(-size // 8) if self.codes_.dtype == np.uint8 else size
        if self.codes_.ndim != 2 or self.codes_.shape[1] != width or self._middle.shape != (size,):
            raise ModelFileError("the codes in this index are not those of its autoencoder.")
        if any(words and len(words) != len(self.codes_) for words in (self._names, self._paths)):
            raise ModelFileError("the names in this index and its codes do not go together.")
        self._built()


def _check_number(n_neighbors: object) -> int:
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, (int, np.integer)) or n_neighbors < 1:
        raise SettingError(f"n_neighbors is {n_neighbors!r}; it must be a whole number of at least 1.")
    return int(n_neighbors)
