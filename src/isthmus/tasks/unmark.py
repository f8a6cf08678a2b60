from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.damage import Marks
from isthmus.damage.base import Damage
from isthmus.data import Images
from isthmus.data._image_samples import ImageSamples
from isthmus.data.base import Data
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv
from isthmus.tasks._looking import look, pictures
from isthmus.tasks._restoring import Restorer
from isthmus.tasks._unmarking import found, without_mark
from isthmus.training import Batch
from isthmus.variants import Denoising
from isthmus.variants.base import Variant

PATCH = 128  # pixels on a side of what training sees
MAPS = (24, 48, 96, 128)  # down to a sixteenth, to see a mark as a whole
#: Ways to look at a picture: the axes along which it is mirrored, and whether rows then become columns.
WAYS = [(axes, across) for across in (False, True) for axes in ((), (2, 3), (3,), (2,))]


class WatermarkRemover(Restorer):
    """Takes watermarks off pictures: half-transparent texts, logos, stamps and lines.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN

    Learns from clean pictures, on which it draws marks itself, ever new ones, or from pairs of a marked and a clean
    one: `fit(marked, clean)`, turned and mirrored in eight ways. The network only learns to say where marks lie. There,
    what is below at large is guessed from around, and what is fine is taken from what shines through; all other pixels
    come back exactly as they came. What an opaque mark hides is lost: there the guess from around is all.

    Dekel et al. 2017, "On the Effectiveness of Visible Watermarks", CVPR, for how much half-transparent marks leave to
    be seen.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is a U-Net, trained on patches of
        128 x 128 pixels.
    damage : the marks to learn: `Marks()`, with settings if need be, or another Damage object. "auto" is none to three
        marks in each patch, which hide from a fifth to nine tenths of what is below.
    threshold : how sure the network must be, between 0 and 1, that a pixel is marked; more takes off less, and 1 leaves
        all as it came. It may be changed after fitting.
    looks : in how many ways `transform` turns and mirrors a picture to look for marks, 1 to 8; fewer take less time and
        find less.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder.

    Raises
    ------
    SettingError : for a threshold or looks out of range, and for a damage beside pairs or beside the variant denoising.
    DataError : for what is no picture, and for counterparts that do not fit their pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Autoencoder, Training, WatermarkRemover
    >>> photos = np.random.default_rng(0).random((64, 16, 16, 3)).astype(np.float32)
    >>> model = WatermarkRemover(Autoencoder(training=Training(max_epochs=1)), random_state=0)
    >>> model.fit(photos).transform(photos[:5]).shape
    (5, 16, 16, 3)
    """

    only = "images"
    finds = True
    done: ClassVar[tuple[str, str, str]] = ("Cleared", "removed", "what was taken off")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        damage: str | Damage = "auto",
        threshold: float = 0.5,
        looks: int = 8,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.damage = damage
        self.threshold = threshold
        self.looks = looks
        self.random_state = random_state

    def typical(self, data: Data, X: Any) -> str | Damage:
        """Few marks or none, of any strength that can be undone."""
        return Marks(alpha=(0.2, 0.9), count=(0, 3))

    def _suit(self, model: Autoencoder, X: Any, y: Any) -> None:
        self._check()
        images = pictures(model, type(self).__name__)
        side = look(images, X, type(self).__name__).side
        model.data_type = Images(patch=min(PATCH, side)) if model.data_type == "auto" else images
        if model.network == "auto":
            model.network = Conv(MAPS, residual=1, skips=True, activation="relu", normalisation="batch")
        if model.likelihood == "auto":
            model.likelihood = "bernoulli"

    def _damaging(self, model: Autoencoder, data: Data, X: Any, paired: bool) -> Variant | None:
        """What spoils the pictures also asks where it did; where something else does that, it only asks."""
        own = super()._damaging(model, data, X, paired)
        return Denoising(own.damage if isinstance(own, Denoising) else Marks(count=0), asks="where", turns=True)

    def _check(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold is {self.threshold!r}; it must be a number between 0 and 1.")
        whole = isinstance(self.looks, (int, np.integer)) and not isinstance(self.looks, bool)
        if not whole or not 1 <= self.looks <= len(WAYS):
            raise SettingError(f"looks is {self.looks!r}; it must be a whole number from 1 to {len(WAYS)}.")

    def transform(self, X: Any) -> Any:
        """The pictures without marks, in the form of X: arrays, images, or files with the same names and sizes."""
        check_is_fitted(self)
        self._check()
        model = self.autoencoder_
        data, dtype = model.data_, model.data_.number_type(X)
        samples = cast(ImageSamples, data.open(X))
        read = partial(_where_marked, looks=self.looks)
        likely = giving.tensors(model.as_type(dtype), data, samples, dtype, read, model.verbose)
        return data.give_back(_cleared(data, samples, likely, dtype, self.threshold), samples)


def _where_marked(module: AutoencoderModule, batch: Batch, looks: int) -> Tensor:
    """How likely each pixel is marked, (B, 1, H, W): the mean over the ways to look at it."""
    turns = giving.takes_any_size(module) or batch.x.shape[2] == batch.x.shape[3]
    ways = [way for way in WAYS[:looks] if turns or not way[1]]
    likely = torch.zeros_like(batch.x[:, :1])
    for axes, across in ways:
        x, weight = (None if one is None else _turned(one.flip(axes), across) for one in (batch.x, batch.weight))
        assert x is not None
        likely += _turned(giving.mean(module, Batch(x, weight)).mean(1, keepdim=True), across).flip(axes)
    return likely / len(ways)


def _turned(x: Tensor, across: bool) -> Tensor:
    return x.transpose(2, 3) if across else x


def _cleared(
    data: Data, samples: ImageSamples, likely: Iterable[Tensor], dtype: torch.dtype, threshold: float
) -> Iterator[Tensor]:
    """Each picture in the size that the network saw; alpha stays as it is."""
    for place, one in enumerate(likely):
        height, width = samples.model_size(place)
        batch = data.batch(samples.alone(place), slice(0, 1), dtype)
        x, weight = batch.x[0], None if batch.weight is None else batch.weight[0]
        n_colours = 1 if len(x) < 3 else 3
        marked = found(one[0, :height, :width], threshold)
        clear = without_mark(x[:n_colours], marked, None if weight is None else weight[:n_colours])
        yield torch.cat([clear, x[n_colours:]])
