from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from isthmus.autoencoder import Autoencoder
from isthmus.damage import Gaussian, Swap
from isthmus.damage.base import Damage
from isthmus.data import Images
from isthmus.data.base import Data
from isthmus.tasks._restoring import Restorer


class Denoiser(Restorer):
    """Cleans what is noisy: pictures, tables, in the form that they came in.

        CORRUPT → encoder → bottleneck → decoder → likelihood → MEAN

    Learns from clean samples, which it spoils itself in ever new ways, or from pairs of a noisy and a clean one:
    `fit(noisy, clean)`. Pictures of any size are cleaned, large ones in tiles.

    Vincent et al. 2010, "Stacked Denoising Autoencoders", JMLR 11:3371; Zhang et al. 2017, "Beyond a Gaussian
    Denoiser", IEEE TIP 26:3142, for one network over all levels of noise.

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; where its network is "auto" it is chosen by the data: for
        pictures a U-Net, trained on patches of 48 x 48 pixels; for tables a wide layer and a code as wide as the table.
    damage : the noise to learn: gaussian, salt_and_pepper, masking, swap, or a Damage object, such as
        `Gaussian(sigma=(0, 0.5))` for noise of unknown level. "auto" is gaussian noise of unknown level, up to a
        quarter of the way from black to white for pictures and half a standard deviation for numbers; tables with words
        have cells swapped. Pairs bring their own damage, as does an autoencoder with the variant denoising.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder.

    Raises
    ------
    SettingError : for a damage beside pairs, or beside the variant denoising.
    DataError : for counterparts that do not fit their samples.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Denoiser
    >>> random = np.random.default_rng(0)
    >>> clean = random.normal(size=(500, 2)) @ random.normal(size=(2, 10))
    >>> noisy = clean + 0.4 * clean.std(0) * random.normal(size=clean.shape)
    >>> cleaned = Denoiser(random_state=0).fit(clean).transform(noisy)
    >>> bool(np.square(cleaned - clean).mean() < 0.4 * np.square(noisy - clean).mean())
    True
    """

    done: ClassVar[tuple[str, str, str]] = ("Cleaned", "removed", "taken away")

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        damage: str | Damage = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.damage = damage
        self.random_state = random_state

    def typical(self, data: Data, X: Any) -> str | Damage:
        """Gaussian noise of unknown level, and for tables with words swapped cells."""
        if isinstance(data, Images):
            return Gaussian((0.0, 0.25))
        words = any(column.kind == "categorical" for column in data.fit(X).spec.columns)
        return Swap((0.0, 0.3)) if words else Gaussian((0.0, 0.5))
