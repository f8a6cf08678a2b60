"""Pictures in files: finding them in folders, patterns and lists, and writing results under the same names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, overload

import numpy as np

from isthmus.atomic import replace_file, shown, storage_error
from isthmus.data import _image_modes as modes
from isthmus.data import _image_pillow as pillow
from isthmus.data._image_forms import Form, Pixels
from isthmus.errors import DataError, SettingError

MAX_PIXELS = 40_000_000


@dataclass(frozen=True, eq=False)
class ImageFile:
    """One picture: in the file at `path`, or, of a result, its `pixels` (h, w, c) and their `form`."""

    name: str
    path: str = ""
    pixels: Pixels | None = None
    form: Form | None = None


class ImageFiles(Sequence[Any]):
    """Pictures with the names of their files: what a folder holds, or what becomes of it.

    A picture is decoded when it is asked for, as an array (height, width), or (height, width, channels). A result keeps
    names, sizes, modes and bit depth; `write` makes a file of each.

    Parameters
    ----------
    files : the pictures, in order.
    ignored : names of files in the same folder that are no pictures.

    >>> import numpy as np, os, tempfile
    >>> from isthmus.data import Images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Images.write(np.zeros((2, 4, 6), dtype=np.uint8), os.path.join(folder, "made"))
    ...     files = Images.read(os.path.join(folder, "made"))
    ...     files.names, files[0].shape
    (['00000.png', '00001.png'], (4, 6))
    """

    def __init__(self, files: Sequence[ImageFile], ignored: Sequence[str] = ()):
        self.files = list(files)
        self.ignored = list(ignored)

    @property
    def names(self) -> list[str]:
        """The names of the files, with the folders inside the one that was given."""
        return [file.name for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, place: int) -> Pixels: ...
    @overload
    def __getitem__(self, place: slice) -> ImageFiles: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return ImageFiles(self.files[place])
        file = self.files[place]
        pixels = pillow.decode_all([file.path], MAX_PIXELS)[0] if file.pixels is None else file.pixels
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def __iter__(self) -> Iterator[Pixels]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """The same names and the same pixels; decodes what is still in files."""
        if not isinstance(other, ImageFiles):
            return NotImplemented
        return self.names == other.names and all(
            first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
            for first, second in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        few = ", ".join(self.names[:3]) + (", ..." if len(self) > 3 else "")
        return f"<{len(self)} picture{'' if len(self) == 1 else 's'}: {few}>"

    def copy(self) -> ImageFiles:
        """The same pictures; those of a result no longer share their memory."""
        own = [file if file.pixels is None else replace(file, pixels=file.pixels.copy()) for file in self.files]
        return ImageFiles(own, self.ignored)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Each picture as a file of its name in `folder`, which is made where it is missing.

        PNG, TIFF, BMP and WebP files hold every value as it is, JPEG files are written in quality 95.

        Raises
        ------
        SettingError : where a file would replace the picture that it was made from.
        DataError : for a picture that its kind of file cannot hold.
        StorageError : if the disk refuses; a file is whole or not there.
        """
        for file in self.files:
            target = os.path.join(os.fspath(folder), *_steps(file.name))
            if file.path and os.path.exists(target) and os.path.samefile(file.path, target):
                raise SettingError(f"{shown(target)} is read and would be replaced; give another folder to write to.")
            write_file(target, *_held(file))


def _held(file: ImageFile) -> tuple[Pixels, Form]:
    if file.pixels is not None and file.form is not None:
        return file.pixels, file.form
    found = pillow.check_all([file.path], [file.name], MAX_PIXELS)[0]
    if isinstance(found, DataError):
        raise found
    return pillow.decode_all([file.path], MAX_PIXELS)[0], found.form


def _steps(name: str) -> list[str]:
    """The folders and the file of a name, which must not lead out of the folder."""
    steps = list(PurePath(name).parts)
    if not steps or PurePath(name).is_absolute() or ".." in steps or "\0" in name:
        raise DataError(f"a picture is called {name!r}, which cannot be a file inside a folder; rename it.")
    return steps


def write_file(path: str, pixels: Pixels, form: Form) -> None:
    """One picture, whole or not at all."""
    data = modes.encode(pixels, form, path)
    try:
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
    except OSError as error:
        raise storage_error(path, "saved", error) from error
    replace_file(path, [data])


# ---- finding them


def is_path(X: Any) -> bool:
    return isinstance(X, (str, os.PathLike)) and isinstance(os.fspath(X), str)


def looks_like_pictures(path: str) -> bool:
    """A picture file by its name, a pattern that finds one, or a folder that holds one; opens no file."""
    if os.path.isdir(path):
        return any(modes.kind_by_name(name) for name in _inside(path))
    if glob.has_magic(path) and not os.path.exists(path):
        return any(modes.kind_by_name(found) for found in glob.iglob(path, recursive=True))
    return modes.kind_by_name(path) is not None


def find(X: Any) -> ImageFiles:
    """The pictures in a folder and those inside it, of a pattern, or of a list of files; none is opened yet."""
    if isinstance(X, ImageFiles):
        return X
    if not is_path(X):
        return ImageFiles(_named([os.fspath(path) for path in X]))
    path = os.fspath(X)
    if os.path.isdir(path):
        return _of_folder(path)
    if glob.has_magic(path) and not os.path.exists(path):
        return _of_pattern(path)
    return ImageFiles([ImageFile(os.path.basename(path), path)])


def _of_folder(path: str) -> ImageFiles:
    names = sorted(_inside(path))
    files = [ImageFile(name, os.path.join(path, *name.split("/"))) for name in names if modes.kind_by_name(name)]
    if not files:
        known = ", ".join(modes.KINDS)
        raise DataError(f"the folder {shown(path)} holds no picture files; their names end in {known}.")
    return ImageFiles(files, [name for name in names if not modes.kind_by_name(name)])


def _of_pattern(path: str) -> ImageFiles:
    found = sorted(one for one in glob.glob(path, recursive=True) if os.path.isfile(one))
    pictures = [one for one in found if modes.kind_by_name(one)]
    if not pictures:
        raise DataError(f"the pattern {shown(path)} finds no picture files; check it, and quote it in a shell.")
    return ImageFiles(_named(pictures), [os.path.basename(one) for one in found if not modes.kind_by_name(one)])


def _inside(folder: str) -> Iterator[str]:
    """The names of all files in a folder and those inside it, apart from hidden ones, with / between steps."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        steps = [] if where == folder else os.path.relpath(where, folder).split(os.sep)
        yield from ("/".join([*steps, name]) for name in files if not name.startswith("."))


def _named(paths: Iterable[str]) -> list[ImageFile]:
    """Names that keep apart what lies in several folders."""
    listed = list(paths)
    folders = {os.path.dirname(os.path.abspath(path)) for path in listed}
    try:
        top = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        return [ImageFile(os.path.basename(path), path) for path in listed]
    return [ImageFile(os.path.relpath(os.path.abspath(path), top).replace(os.sep, "/"), path) for path in listed]
