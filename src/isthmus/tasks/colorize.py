from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import giving
from isthmus.autoencoder import Autoencoder
from isthmus.damage import Grey
from isthmus.damage._colour import luma, painted
from isthmus.damage.base import Damage
from isthmus.data import Images
from isthmus.data._image_coloured import coloured
from isthmus.data._image_forms import resized
from isthmus.data._image_samples import ImageSamples
from isthmus.data.base import Data
from isthmus.errors import DataError
from isthmus.likelihoods import Quantised
from isthmus.module import AutoencoderModule
from isthmus.networks import Conv
from isthmus.tasks._looking import look, pictures
from isthmus.tasks._restoring import Restorer
from isthmus.training import Batch
from isthmus.variants import Denoising
from isthmus.variants.base import Variant

SIDE = 96  # pixels on a side of what the network looks at; larger pictures are made smaller for it
PATCH = 64
MAPS = (32, 64, 128, 128)  # down to a sixteenth, to see what things are
LEVELS = 24


class Colorizer(Restorer):
    """Gives grey pictures the colours that they may have had.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN

    Learns from pictures in colour, which it shows itself in grey. Only the colour is guessed: every pixel of an answer
    is as light as it was. The guess is made on a small version of the picture and laid over the whole of it, as the eye
    sees colours less sharply than light. Pictures in colour are read as if they were grey.

    Zhang et al. 2016, "Colorful Image Colorization", for what to do where several colours are as likely.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is a U-Net that looks at pictures
        of at most 96 x 96 pixels, trained on squares of 64 x 64.
    vivid : True learns how likely each of 24 levels of red, green and blue is and takes nearly the likeliest, for
        stronger colours where the mean of all that may be is grey; the error of the colours is larger then. For an
        autoencoder whose likelihood is "auto".
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder.

    Raises
    ------
    DataError : for what is no picture, and for pictures without colour to learn from.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Autoencoder, Colorizer, Training
    >>> light = np.random.default_rng(0).random((64, 8, 8, 1)).astype(np.float32)
    >>> photos = light * np.array([0.9, 1.0, 0.4], dtype=np.float32)  # all of one tint
    >>> model = Autoencoder(training=Training(max_epochs=2))
    >>> answer = Colorizer(model, random_state=0).fit(photos).transform(light[:5, ..., 0])
    >>> answer.shape, bool(np.abs(answer @ [0.299, 0.587, 0.114] - light[:5, ..., 0]).max() < 1e-5)
    ((5, 8, 8, 3), True)
    """

    only = "images"
    done: ClassVar[tuple[str, str, str]] = ("Coloured", "added", "the colour given to them")
    damage = "auto"

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        vivid: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.vivid = vivid
        self.random_state = random_state

    def typical(self, data: Data, X: Any) -> str | Damage:
        """All colour gone."""
        return Grey()

    def _suit(self, model: Autoencoder, X: Any, y: Any) -> None:
        owner = type(self).__name__
        images = pictures(model, owner)
        seen = look(images, X if y is None else y, owner)
        if seen.channels < 3:
            raise DataError(
                "the pictures to learn from are all grey; give pictures in colour, or grey ones with colour ones as "
                "their counterparts."
            )
        if model.data_type == "auto":
            images = Images(size=SIDE, patch=PATCH) if seen.side > SIDE else Images(patch=seen.side)
        images.mode = "colour" if images.mode == "auto" else images.mode
        model.data_type = images
        if model.network == "auto":
            model.network = Conv(MAPS, residual=1, skips=True, activation="relu")
        if self.vivid and model.likelihood == "auto":
            model.likelihood = Quantised(LEVELS, mean="annealed")

    def _damaging(self, model: Autoencoder, data: Data, X: Any, paired: bool) -> Variant | None:
        """Also beside another damage, and for pairs: nothing that is seen has colour."""
        return Denoising(Grey())

    def transform(self, X: Any) -> Any:
        """The pictures in colour: arrays (n, height, width, 3), or images and files with the same names and sizes."""
        check_is_fitted(self)
        model = self.autoencoder_
        data, dtype = model.data_, model.data_.number_type(X)
        samples = cast(ImageSamples, data.open(X))
        tints = giving.tensors(model.as_type(dtype), data, samples, dtype, _of_grey, model.verbose)
        return data.give_back(_laid_over(data, samples, tints, dtype), coloured(samples))


def _of_grey(module: AutoencoderModule, batch: Batch) -> Tensor:
    """What comes out where only the lightness is shown."""
    light = luma(batch.x[:, :3]).expand(-1, 3, -1, -1)
    return giving.mean(module, Batch(torch.cat([light, batch.x[:, 3:]], 1), batch.weight))


def _laid_over(data: Data, samples: ImageSamples, tints: Iterable[Tensor], dtype: torch.dtype) -> Iterator[Tensor]:
    """Each picture in its own size, as light as it is, in the colours of a smaller one."""
    whole = ImageSamples(samples.source, samples.container, None)
    for place, tint in enumerate(tints):
        height, width = samples.model_size(place)
        x = data.batch(whole.alone(place), slice(0, 1), dtype).x
        light = luma(x[:, :3])
        smooth = resized(tint[None, :3, :height, :width].to(light), (x.shape[2], x.shape[3]))
        yield torch.cat([painted(light, smooth), x[:, 3:]], 1)[0]
