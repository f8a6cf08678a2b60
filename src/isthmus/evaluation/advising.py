"""Advise: how many numbers a code should have."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data.base import Data, Samples
from isthmus.errors import DataError, IsthmusWarning, SettingError
from isthmus.evaluation._advice import Advice, Tried, conclusion
from isthmus.evaluation._dimension import Dimension, intrinsic_dimension
from isthmus.evaluation._harness import Rows, fill, read, spread
from isthmus.evaluation._target import Target, target_of
from isthmus.evaluation.many import fit_many
from isthmus.metrics import explained_variance
from isthmus.networks import Dense
from isthmus.training import Training
from isthmus.words import counted

MOST_ROWS = 3_000  # that are learned from and measured on
MOST_SIZE = 64
FEW = 9  # sizes up to here are all tried
SIDE = 32  # pixels that larger pictures are brought to
HELD_OUT = 0.25
WIDEST, STEPS = 128, 60_000  # units of the first layer; rows times epochs


def advise(
    X: Any,
    y: Any = None,
    *,
    sizes: Sequence[int] | Literal["auto"] = "auto",
    seeds: int = 3,
    share: float = 0.95,
    autoencoder: Autoencoder | None = None,
    random_state: int = 0,
) -> Advice:
    """How many numbers a code for these data should have, found by trying.

    Autoencoders with codes of several sizes, each with several seeds, are fitted together on three quarters of the
    samples and measured on the rest. The size to take is the smallest that explains nearly as much as the best one
    does, or that the data themselves have directions for: more numbers carry noise, and let the network copy.

    Parameters
    ----------
    X : the data, as `Autoencoder` takes them; of more than 3,000 samples evenly spread ones. Pictures with sides above
        32 pixels are looked at in that size.
    y : a class or an amount for each sample, missing ones None or NaN: the table then also says how well nearest
        neighbours tell it from the codes. It does not change the advice, which is for all uses.
    sizes : which to try; "auto" goes by the principal components and by the distances between neighbours.
    seeds : how many autoencoders of each size, at least 1; several show how much of a difference is chance.
    share : of what the best size explains, how much is enough.
    autoencoder : the settings to try the sizes with; None takes a dense network, which suits many small models at once.
    random_state : decides the rows that are held out, and the seeds.

    Returns
    -------
    An `Advice`: print it, or take `.n_components`, `.reason`, `.table`, `.plot()`, `.to_html("page.html")`.

    Raises
    ------
    SettingError : for sizes, seeds or a share that cannot be.
    DataError : for fewer than 20 samples, ones of different sizes, or a y that does not fit.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(400, 2)) @ random.normal(size=(2, 10)) + 0.05 * random.normal(size=(400, 10))
    >>> found = advise(X, sizes=[1, 2, 3], seeds=2)
    >>> found.n_components
    2
    """
    _check(sizes, seeds, share)
    template = _template(autoencoder, X)
    data = fitting.data_type(template.data_type, X, "advise").fit(X)
    samples = data.open(X)
    learned, held = _split(data, samples, random_state)
    rows = np.concatenate([learned, held])
    target = None if y is None else target_of(y, len(samples), rows)
    known = tensors(data, samples, rows)
    filled = fill(*known)
    dimension = intrinsic_dimension(filled, random_state)
    curve = pca_curve(known, filled, len(learned))
    tried = _sizes(sizes, dimension, curve)
    models = [
        clone(template).set_params(n_components=size, random_state=random_state + seed, verbose=False)
        for size in tried
        for seed in range(seeds)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IsthmusWarning)  # small and large codes are what is looked for
        fit_many(models, X, rows=learned)
    judged = np.array([_judged(model, X, rows, len(learned), target) for model in models]).reshape(len(tried), seeds, 2)
    told = None if target is None else judged[..., 1]
    return conclusion(Tried(tried, judged[..., 0], told, curve, dimension), share)


def _check(sizes: object, seeds: object, share: object) -> None:
    if sizes != "auto" and not (isinstance(sizes, (list, tuple, range)) and sizes and all(map(_whole, sizes))):
        raise SettingError(f"sizes is {sizes!r}; it must be 'auto' or whole numbers of at least 1, such as [1, 2, 4].")
    if not _whole(seeds):
        raise SettingError(f"seeds is {seeds!r}; it must be a whole number of at least 1.")
    if not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise SettingError(f"share is {share!r}; it must be above 0 and at most 1.")


def _whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


def _template(given: Autoencoder | None, X: Any) -> Autoencoder:
    """The settings to try sizes with: many small models in little time."""
    if given is not None:
        return given
    data_type: str | Data = "auto"
    if Images.accepts(X):
        canvas = Images().fit(X).spec.shape[1:]
        data_type = Images(size=None if max(canvas) <= SIDE else SIDE)
    data = fitting.data_type(data_type, X, "advise").fit(X)
    width = min(WIDEST, max(64, 2 * data.spec.size))
    epochs = max(60, min(300, STEPS // max(1, len(data.open(X)))))
    training = Training(max_epochs=epochs, learning_rate=3e-3)
    return Autoencoder(network=Dense((width, width // 2)), data_type=data_type, training=training)


def _split(data: Data, samples: Samples, seed: int) -> tuple[Rows, Rows]:
    """The rows to learn from, and those that are held out."""
    if len(samples) < 20:
        raise DataError(f"X holds {counted(len(samples), data.unit)}; advice needs at least 20, better 500.")
    if data.spec.free:
        raise DataError(
            f"the {data.unit}s differ in size, so that a code of a few numbers means nothing; bring them to one: "
            "autoencoder=Autoencoder(data_type='images(size=32)') for pictures."
        )
    rows = spread(len(samples), MOST_ROWS)
    order = np.random.default_rng(seed).permutation(rows)
    cut = max(5, round(HELD_OUT * len(order)))
    return np.sort(order[cut:]), np.sort(order[:cut])


def tensors(data: Data, samples: Samples, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """These rows, (n, size), and what of them is present."""
    batch = data.batch(samples, rows)
    return batch.x.flatten(1), None if batch.weight is None else batch.weight.flatten(1)


def pca_curve(known: tuple[Tensor, Tensor | None], filled: np.ndarray, n_learned: int) -> list[float]:
    """The explained variance of held-out rows by PCA with 1, 2, ... components; the first rows are learned from."""
    x, weight = known
    most = min(MOST_SIZE, filled.shape[1], n_learned - 1)
    fitted = PCA(most, random_state=0).fit(filled[:n_learned])
    scores, back, curve = fitted.transform(filled[n_learned:]), np.tile(fitted.mean_, (len(filled) - n_learned, 1)), []
    held = x[n_learned:].double(), None if weight is None else weight[n_learned:].double()
    for place in range(most):
        back = back + scores[:, [place]] * fitted.components_[place]
        curve.append(explained_variance(held[0], torch.from_numpy(back), held[1]))
    return curve


def _sizes(asked: Sequence[int] | str, dimension: Dimension, curve: list[float]) -> list[int]:
    """All small sizes, and further apart the larger they are; beyond what PCA needs none is worth a try."""
    if not isinstance(asked, str):
        return sorted({int(size) for size in asked})
    enough = 1 + int(np.argmax(np.asarray(curve) >= 0.97 * max(curve)))
    most = max(2, min(len(curve) - 1, MOST_SIZE, max(enough, math.ceil(1.5 * dimension.likelihood)) + 2))
    found = list(range(1, min(most, FEW) + 1))
    while found[-1] < most:
        found.append(min(most, math.ceil(1.25 * found[-1])))
    return found


def _judged(model: Autoencoder, X: Any, rows: Rows, n_learned: int, target: Target | None) -> tuple[float, float]:
    """The explained variance of the rows after the first, and how well y is told from their codes."""
    batch, back, codes, _ = read(model, model.data_.open(X), rows)
    held = slice(n_learned, None)
    weight = None if batch.weight is None else batch.weight.flatten(1)[held]
    explained = explained_variance(batch.x.flatten(1)[held], back[held], weight)
    if target is None:
        return explained, math.nan
    learned, new = target.known[target.known < n_learned], target.known[target.known >= n_learned]
    near = KNeighborsClassifier if target.classes else KNeighborsRegressor
    teller = make_pipeline(StandardScaler(), near(min(5, len(learned)))).fit(codes[learned], target.values[learned])
    return explained, float(teller.score(codes[new], target.values[new]))
