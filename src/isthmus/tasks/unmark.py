from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.damage import Marks
from isthmus.damage.base import Damage
from isthmus.data import Images
from isthmus.data.base import Data
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv
from isthmus.tasks._looking import look, pictures
from isthmus.tasks._restoring import Restorer
from isthmus.training import Batch

PATCH = 128  # pixels on a side of what training sees
MAPS = (32, 64, 128)
AROUND = 5  # pixels on a side of what is judged together


class WatermarkRemover(Restorer):
    """Takes watermarks off pictures: half-transparent texts, logos, stamps and lines.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN

    Learns from clean pictures, on which it draws marks itself, ever new ones, or from pairs of a marked and a clean
    one: `fit(marked, clean)`. It finds the marks by itself; pixels that it believes untouched come back exactly as they
    came. What an opaque mark hides is lost: use an `Inpainter` for that.

    Dekel et al. 2017, "On the Effectiveness of Visible Watermarks", CVPR, for how much half-transparent marks leave to
    be seen.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is a U-Net, trained on patches of
        128 x 128 pixels.
    damage : the marks to learn: `Marks()`, with settings if need be, or another Damage object. "auto" is none to three
        marks in each patch, which hide from a fifth to nine tenths of what is below.
    threshold : how much a pixel must be changed, with its neighbours, to be changed at all, as a part of the way from
        black to white; 0 takes every pixel from the network.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder.

    Raises
    ------
    SettingError : for a negative threshold, and for a damage beside pairs or beside the variant denoising.
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
    done: ClassVar[tuple[str, str, str]] = ("Cleared", "removed", "what was taken off")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        damage: str | Damage = "auto",
        threshold: float = 0.05,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.damage = damage
        self.threshold = threshold
        self.random_state = random_state

    def typical(self, data: Data, X: Any) -> str | Damage:
        """Few marks or none, of any strength that can be undone."""
        return Marks(alpha=(0.2, 0.9), count=(0, 3))

    def _suit(self, model: Autoencoder, X: Any, y: Any) -> None:
        if not self.threshold >= 0:
            raise SettingError(f"threshold is {self.threshold!r}; it must be a number of at least 0.")
        images = pictures(model, type(self).__name__)
        side = look(images, X, type(self).__name__).side
        model.data_type = Images(patch=min(PATCH, side)) if model.data_type == "auto" else images
        if model.network == "auto":
            model.network = Conv(MAPS, residual=1, skips=True, activation="relu")

    def transform(self, X: Any) -> Any:
        """The pictures without marks, in the form of X: arrays, images, or files with the same names and sizes."""
        check_is_fitted(self)
        model = self.autoencoder_
        data, dtype = model.data_, model.data_.number_type(X)
        read = partial(_where_marked, threshold=self.threshold)
        return giving.give(model.as_type(dtype), data, data.open(X), dtype, read, model.verbose)


def _where_marked(module: AutoencoderModule, batch: Batch, threshold: float) -> Tensor:
    """What comes out where that is another thing than what came in; the very thing that came in elsewhere."""
    back = giving.mean(module, batch)
    change = (back - batch.x).abs().amax(1, keepdim=True)
    around = functional.avg_pool2d(change, AROUND, 1, AROUND // 2, count_include_pad=False)
    return torch.where(around > threshold, back, batch.x)
