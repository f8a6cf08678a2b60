from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
from sklearn.utils.validation import check_is_fitted

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Images
from isthmus.data._image_back import returned
from isthmus.data.base import Data
from isthmus.tasks._hiding import Filler
from isthmus.tasks._picture_filling import filled, lossless
from isthmus.tasks._picture_gaps import Gaps
from isthmus.tasks.base import Answer
from isthmus.variants import Holes
from isthmus.variants.base import Variant
from isthmus.words import counted

SHOWN = 10


class Inpainter(Filler):
    """Fills what is missing in pictures: lost pixels, scratches, holes; what is there comes back untouched.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN where the weight is 0

    Learns from whole pictures, of which it hides single pixels and boxes in ever new ways. A pixel is missing where it
    is NaN, where its alpha is 0 (it comes back opaque), or where a mask says so. Pictures may have any size, large ones
    are filled in tiles. Files keep names, sizes, modes and depth; only JPEG, which would change every pixel, becomes
    PNG.

    Pathak et al. 2016, "Context Encoders", CVPR; Ronneberger et al. 2015, "U-Net".

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is a U-Net, trained on patches of
        48 x 48 pixels.
    hiding : what training hides: "auto" for pixels and boxes (holes), masked, or a variant that hides, such as
        `Holes(share=(0.4, 0.6), count=0)` for pixels alone.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder.

    Raises
    ------
    DataError : for data that are no pictures, and masks that do not fit them.
    SettingError : for a `hiding` that hides nothing, or beside an autoencoder that hides by itself.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Autoencoder, Inpainter, Training
    >>> from isthmus.networks import Conv
    >>> whole = np.add.outer(np.arange(200) / 5, np.add.outer(np.arange(8), np.arange(8))).astype(np.float32) / 54
    >>> holed = whole.copy()
    >>> holed[:, 2:5, 3:5] = np.nan
    >>> model = Autoencoder(network=Conv((8, 16), skips=True), training=Training(max_epochs=10), random_state=0)
    >>> filled = Inpainter(model).fit(whole).transform(holed)
    >>> present = ~np.isnan(holed)
    >>> bool((filled[present] == holed[present]).all()), bool(np.abs(filled - whole).max() < 0.2)
    (True, True)
    """

    only = "images"
    fills = ("pictures", "for tables take Imputer")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        hiding: str | Variant = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.hiding = hiding
        self.random_state = random_state

    def typical_hiding(self, data: Data, X: Any) -> Variant:
        """Single pixels, boxes, and both."""
        return Holes()

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = super().prepared(X)
        data = cast(Images, fitting.data_type(model.data_type, X, type(self).__name__))
        if data.mode == "auto" and (channels := data.fit(X).spec.shape[0]) in (2, 4):
            # what is seen through is missing, so that alpha is nothing to learn
            mode = "grey" if channels == 2 else "colour"
            model.data_type = Images(**{**data.get_params(deep=False), "mode": mode})
        return model

    def transform(self, X: Any, mask: Any = None) -> Any:
        """The filled pictures, in the form of X; every value that was there is the same.

        Parameters
        ----------
        X : the pictures; NaN and pixels of alpha 0 are missing.
        mask : which pixels are missing besides, where it is brighter than half of its brightest: an array (height,
            width) for all pictures or (n, height, width), a list of arrays, or the path of a picture for all or of a
            folder with one for each, of the same names.
        """
        check_is_fitted(self)
        gaps = Gaps(cast(Images, self.autoencoder_.data_).open(X), mask)
        return returned(filled(self.autoencoder_, gaps, []), gaps.samples, lossless(gaps.samples))

    def answer(self, X: Any, mask: str | None = None) -> Answer:
        """The filled pictures, and how much of each was missing.

        Parameters
        ----------
        X : the data.
        mask : a picture that is white where pixels are missing, for all, or a folder with one of the same name for
            each; NaN and pixels of alpha 0 are missing in any case.
        """
        check_is_fitted(self)
        gaps, shares = Gaps(cast(Images, self.autoencoder_.data_).open(X), mask), list[float]()
        samples = gaps.samples
        made = returned(filled(self.autoencoder_, gaps, shares), samples, lossless(samples))
        table = pl.DataFrame({"row": np.arange(len(shares)), "missing": shares})
        if samples.names:
            table.insert_column(1, pl.Series("file", samples.names, dtype=pl.String))
        many = counted(int(np.count_nonzero(shares)), "picture")
        headline = f"Filled {many} of {len(shares)}; {100 * np.mean(shares):.3g} % of all pixels were missing."
        if not any(shares):
            headline = (
                f"Nothing is missing in {counted(len(shares), 'picture')}; what is must be NaN or have alpha 0, or a "
                "mask must say so."
            )
        return Answer(table, headline, table.sort("missing", descending=True)[:SHOWN], made, "picture")
