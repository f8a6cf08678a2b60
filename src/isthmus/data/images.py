from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from isthmus.data import _image_files as files
from isthmus.data import _image_sources as sources
from isthmus.data import _image_state as stored
from isthmus.data._image_back import as_container, like, maps_like, plain, write_pictures
from isthmus.data._image_facts import facts_of
from isthmus.data._image_forms import CHANNELS, MODES, Extent, Form
from isthmus.data._image_samples import ImageSamples, PatchSamples, Stack, make_batch
from isthmus.data.base import Data, Rows, Samples
from isthmus.errors import DataError, SettingError
from isthmus.part import Limit
from isthmus.spec import SampleSpec
from isthmus.training.batch import Batch

LARGE = 512  # pixels on a side: larger pictures go through a network one at a time, and in tiles


class Images(Data):
    """Pictures: arrays, images, and files of any and of mixed sizes, grey or in colour, with or without alpha.

        DATA → corrupt → encoder → bottleneck → decoder → likelihood → DATA

    Takes arrays (n, height, width) and (n, height, width, channels); lists of arrays or of Pillow's images; a folder
    with all that lie inside it, a pattern such as "photos/*.jpg", or a list of files: PNG, JPEG, WebP, BMP and TIFF.
    Results are what came in: arrays of the same type, images of the same mode, or files that keep their names, sizes,
    modes, palettes and bit depth, which `write` puts into a folder. Files are turned as their EXIF says.

    In the tensor 0 is black and 1 is white: whole numbers of 8 and 16 bits are divided by 255 and 65535; other values
    are taken as they are where training's lie between 0 and 1, else their range is learned. NaN is a hole and has
    weight zero, as has what lies outside a picture that is smaller than the largest.

    The likelihood is normal, for it suits photos, whose values lie all over the range, and its mean is the picture with
    the least squared error. For drawings and digits, nearly black and white, likelihood="bernoulli" is sharper.

    Parameters
    ----------
    mode : what a picture is to the model: "grey", "grey_alpha", "colour", "colour_alpha", or "auto": colour where any
        picture of training has some, alpha likewise. Pictures of other modes are converted and come back in their own;
        alpha that the model does not see comes back untouched.
    size : side, or (height, width), in pixels, that pictures are brought to; results come back in their own size. None
        keeps sizes; then pictures may have any size where those of training differ.
    patch : side in pixels of the squares that training cuts pictures into, overlapping by half, at most 256 of
        each, and fewer where there are many pictures; other work is done on whole pictures, which then may have any
        size. None trains on whole pictures.
    damaged : "refuse" the data when a file cannot be used, or "skip" it, said in the log. Files are read whole once
        before anything else happens, so that no damage is found later.
    max_pixels : the largest picture that is decoded, in pixels; others count as damaged.

    Raises
    ------
    SettingError : for a setting that is none of these.
    DataError : in `fit` and `open`, for what is no picture, or does not fit what was learned; it names the file.
    MissingExtraError : for files or images where Pillow is missing: pip install 'isthmus[image]'.

    >>> import numpy as np
    >>> X = np.array([[[0, 51], [102, 255]]], dtype=np.uint8)
    >>> images = Images().fit(X)
    >>> x = images.batch(images.open(X), np.array([0])).x
    >>> x.shape, x.flatten().tolist(), images.from_tensor(x).tolist()
    (torch.Size([1, 1, 2, 2]), [0.0, 0.2, 0.4, 1.0], [[[0, 51], [102, 255]]])
    """

    owner: str = "Images"
    unit: ClassVar = "picture"
    endings: ClassVar = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff")
    limits: ClassVar = {"patch": Limit(1, whole=True, optional=True), "max_pixels": Limit(1, whole=True)}

    def __init__(
        self,
        mode: str = "auto",
        size: int | tuple[int, int] | None = None,
        patch: int | None = None,
        damaged: str = "refuse",
        max_pixels: int = 40_000_000,
    ):
        self.mode = mode
        self.size = size
        self.patch = patch
        self.damaged = damaged
        self.max_pixels = max_pixels

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(size=(6, 5)), cls(mode="grey", patch=4), cls(damaged="skip", max_pixels=70)]

    @classmethod
    def accepts(cls, X: Any) -> bool:
        return sources.accepts(X)

    def check(self) -> None:
        super().check()
        words = {"mode": ("auto", *MODES), "damaged": ("refuse", "skip")}
        for name, allowed in words.items():
            if (given := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} of images is {given!r}; it must be one of {', '.join(allowed)}.")
        sides = self._sides()
        if sides is not None and not (len(sides) == 2 and all(map(Limit(1, whole=True).allows, sides))):
            raise SettingError(f"size of images is {self.size!r}; it must be a side or (height, width), at least 1.")

    def _sides(self) -> tuple[int, ...] | None:
        if self.size is None or isinstance(self.size, (tuple, list)):
            return None if self.size is None else tuple(self.size)
        return (self.size, self.size)

    # ---- learning ----------------------------------------------------------------------------------------------

    def fit(self, X: Any) -> Self:
        self.check()
        gathered = sources.gather(X, self.damaged == "skip", self.max_pixels)
        whole = self._samples(gathered, (1, 1))
        forms = gathered.source.forms()
        channels = MODES.get(self.mode) or _widest(forms)
        found = gathered.source.extent() or Extent()
        samples = PatchSamples(whole, self.patch) if self.patch is not None else whole
        self._learned(
            stored.Learned(
                [],
                gathered.container,
                (channels, *samples.canvas),
                self.patch is not None or not whole.uniform,
                samples.gaps,
                _range(found),
                plain(next((form for form in forms if form.channels == channels), forms[0])),
            )
        )
        self._state.schema = self.schema = facts_of(samples, channels, self._state.extent, forms)
        return self

    @property
    def extent(self) -> Extent:
        """The values that are black and white, of types that do not say it."""
        return self._state.extent

    def _learned(self, learned: stored.Learned) -> None:
        """Write down what was learned, by `fit` or in a file."""
        self._state, self._said = learned, set[str]()
        self.schema, self.container = learned.schema, learned.container
        self.feature_names = list(CHANNELS[learned.shape[0]])
        self.spec = SampleSpec(learned.shape, channels=0, free=(1, 2) if learned.free else (), gaps=learned.gaps)

    def _samples(self, gathered: sources.Gathered, least: tuple[int, int]) -> ImageSamples:
        size = self._sides()
        return ImageSamples(gathered.source, gathered.container, size, least, gathered.skipped)  # type: ignore[arg-type]

    # ---- tensors out of pictures -------------------------------------------------------------------------------

    def open(self, X: Any) -> ImageSamples:
        if isinstance(X, ImageSamples):  # so that files need not be looked at once more
            return X
        gathered = sources.gather(X, self.damaged == "skip", self.max_pixels)
        sources.say(gathered.remarks(self.spec.shape[0]), self._said)
        _refuse_other_range(gathered.source.extent(), self._state.extent)
        height, width = self.spec.shape[1:]
        samples = self._samples(gathered, (height, width))
        if not self.spec.free:
            self._refuse_other_sizes(samples)
        return samples

    def _refuse_other_sizes(self, samples: ImageSamples) -> None:
        height, width = self.spec.shape[1:]
        for place in range(1 if isinstance(samples.source, Stack) else len(samples)):
            found = samples.model_size(place)
            if found != (height, width):
                name = samples.source.form(place).name or f"picture {place}"
                raise DataError(
                    f"{name} has {found[0]} x {found[1]} pixels (height x width) and the pictures of training had "
                    f"{height} x {width}; resize it, or fit with data_type='images(size=({height}, {width}))', or with "
                    "patch=, which makes sizes free."
                )

    @property
    def piece(self) -> str:
        return self.unit if self.patch is None else "patch"

    def for_training(self, samples: Any, rows: Any = None) -> tuple[Samples, np.ndarray[Any, Any]]:
        if self.patch is None:
            return super().for_training(samples, rows)
        cut = PatchSamples(samples, self.patch)
        return cut, np.arange(len(cut)) if rows is None else cut.rows_of(np.asarray(rows))

    def check_pairs(self, samples: Any, targets: Any) -> None:
        super().check_pairs(samples, targets)
        for place in range(len(samples)):
            pair = [one.source.form(place) for one in (samples, targets)]
            name = pair[0].name or f"picture {place}"
            if samples.model_size(place) != targets.model_size(place):
                first, second = (f"{form.height} x {form.width}" for form in pair)
                raise DataError(
                    f"{name} has {first} pixels (height x width) and its counterpart {second}; make the two of a pair "
                    "the same size."
                )
            if all(form.name for form in pair) and _stem(pair[0].name) != _stem(pair[1].name):
                raise DataError(
                    f"{pair[0].name} would be paired with {pair[1].name}; give the files of a pair the same name."
                )

    def batch(self, samples: Any, rows: Rows, dtype: torch.dtype = torch.float32) -> Batch:
        return make_batch(samples, rows, dtype, self.spec.shape[0], self._state.extent)

    def number_type(self, X: Any) -> torch.dtype:
        """float64 only where the pictures hold such wide values; 8 and 16 bits lose nothing in float32."""
        if isinstance(X, ImageSamples):
            X = (
                X.source.array
                if isinstance(X.source, Stack)
                else [one.source for one in getattr(X.source, "pictures", [])]
            )
        held = [X] if isinstance(X, np.ndarray) else X if isinstance(X, (list, tuple)) else []
        wide = any(isinstance(one, np.ndarray) and one.dtype.itemsize > 4 for one in held)
        return torch.float64 if wide else torch.float32

    # ---- pictures out of tensors -------------------------------------------------------------------------------

    def from_tensor(self, x: Tensor, container: str | None = None) -> Any:
        self._checked(x[0] if len(x) else x)
        return as_container(x, container or self.container, self._state.form, self._state.extent)

    def give_back(self, x: Tensor | Iterable[Tensor], samples: Any) -> Any:
        return like((self._checked(one) for one in x), samples, self._state.extent)

    def give_maps(self, maps: Iterable[Tensor], samples: ImageSamples) -> Any:
        """One number for each pixel of each sample, (1, height, width), in the sample's own size: float32 arrays
        (n, height, width) for an array, else a list of (height, width).
        """
        return maps_like(maps, samples)

    def singly(self, samples: ImageSamples) -> Iterator[Samples] | None:
        if not self.spec.free or (samples.uniform and max(samples.canvas) <= LARGE):
            return None
        return (samples.alone(place) for place in range(len(samples)))

    def _checked(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[0] != self.spec.shape[0]:
            raise DataError(
                f"the tensor has samples of shape {tuple(x.shape)}; they must be ({self.spec.shape[0]}, height, width)."
            )
        return x

    def describe(self, column: int, x_row: Tensor) -> str:
        """The mean of one channel, in the unit of training's pictures."""
        mean = x_row[column].double().mean().reshape(1, 1, 1, 1)
        low, high = self._state.extent.ends(self._state.form.dtype)
        return f"{float(mean) * (high - low) + low:.4g} on average"

    # ---- files and names ---------------------------------------------------------------------------------------

    @staticmethod
    def read(path: Any) -> files.ImageFiles:
        """The pictures of a folder, pattern, file or list of files; they are looked at when they are opened."""
        return files.find(path)

    @staticmethod
    def write(X: Any, path: Any) -> None:
        """Pictures into a folder: those of files under their names, others as 00000.png, 00001.png, ...; a single one
        also into a file. Floats between 0 and 1 are written with 8 bits.
        """
        write_pictures(X, path)

    def likelihood(self) -> str:
        return "normal(scale=0.1)"  # with a scale of 1 the constant hides the squared error of values from 0 to 1

    def network(self) -> str:
        return "conv(code='grid')" if self.spec.free else "conv"  # one vector cannot stand for pictures of any size

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return stored.to_state(self._state)

    def restore(self, document: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        self._learned(stored.from_state(document, tensors))
        return self


def _widest(forms: Sequence[Form]) -> int:
    """As many channels as it takes to lose nothing."""
    colour = any(form.channels > 2 for form in forms)
    alpha = any(form.channels in (2, 4) for form in forms)
    return (3 if colour else 1) + alpha


def _range(found: Extent) -> Extent:
    """The values that become 0 and 1, of types that do not say it."""
    if found.low >= 0 and found.high <= 1:
        return Extent()
    return Extent(found.low, found.high if found.high > found.low else found.low + 1.0)


def _refuse_other_range(found: Extent | None, learned: Extent) -> None:
    """Noise may lead out of the range, but not that far."""
    room = 10 * (learned.high - learned.low)
    if found is not None and (found.low < learned.low - room or found.high > learned.high + room):
        raise DataError(
            f"the pictures have values from {found.low:.4g} to {found.high:.4g}, and for the model {learned.low:.4g} "
            f"is black and {learned.high:.4g} is white; scale them, or give uint8 or uint16 as their type says."
        )


def _stem(name: str) -> str:
    return str(PurePath(name).with_suffix(""))
