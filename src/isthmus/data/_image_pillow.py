"""Everything that knows Pillow: what a file holds, whether it can be read whole, its pixels, and the way back.

A file is a stranger: its first bytes say what it is, only five kinds are read, its size is known before anything is
decoded, and whatever a decoder says about it becomes one sentence that names it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from isthmus.atomic import shown
from isthmus.data._image_forms import Extent, Form, Pixels, extent_of
from isthmus.data._image_modes import ENDINGS, decode_image, form_of, kind_by_name, missing_pillow, turn_of, turned
from isthmus.errors import DataError, MissingExtraError

#: Pictures and documents that people take for pictures, told from their first bytes.
STRANGERS = {b"GIF8": "a GIF", b"8BPS": "a Photoshop file", b"%PDF": "a PDF document", b"PK\x03\x04": "a ZIP archive"}
ADVICE = "replace or remove it, or leave such files out with damaged='skip'"
_alone = threading.RLock()  # warnings and Pillow's limit belong to the whole process


@dataclass(frozen=True)
class Checked:
    """A file that was read whole.

    Parameters
    ----------
    form : what it is like.
    extent : from where to where its values reach, where its type does not say.
    frames : how many pictures it holds; the first is taken.
    deep : whether it holds more than the 8 bits for each colour that are read.
    """

    form: Form
    extent: Extent | None
    frames: int = 1
    deep: bool = False


def check_all(paths: Sequence[str], names: Sequence[str], max_pixels: int) -> list[Checked | DataError]:
    """Read files whole, once, and say what each is; a DataError that names it for one that cannot be used."""
    return _in_parallel(lambda place: _found(paths[place], names[place], max_pixels), range(len(paths)), max_pixels)


def decode_all(sources: Sequence[Any], max_pixels: int) -> list[Pixels]:
    """The pixels of files, (h, w, c) each, turned as they ask for, of several pictures in one the first; or of images
    of Pillow's, as they are.
    """
    return _in_parallel(lambda source: _decode(source, max_pixels), sources, max_pixels)


def _in_parallel(work: Callable[[Any], Any], items: Sequence[Any], max_pixels: int) -> list[Any]:
    """A few files at a time, as decoders leave the other processors free."""
    with patient(max_pixels):
        if len(items) < 4 or not isinstance(items[0], (str, int)):  # two threads must not load one image
            return [work(item) for item in items]
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            return list(pool.map(work, items))


def _found(path: str, name: str, max_pixels: int) -> Checked | DataError:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return DataError(f"{shown(path)} is no plain file; give picture files, or a folder that holds them.")
        found = _check(path, status.st_size, status.st_mtime_ns, max_pixels)
    except DataError as error:
        return error
    except FileNotFoundError:
        return DataError(f"{shown(path)} does not exist; check the path.")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        return DataError(f"{shown(path)} cannot be opened: {said}; check the path and its rights.")
    return replace(found, form=replace(found.form, name=name))


@lru_cache(maxsize=100_000)
def _check(path: str, n_bytes: int, changed: int, max_pixels: int) -> Checked:
    """The file as it was at that moment, so that a folder that is opened again is not decoded again."""
    with _opened(path, max_pixels) as image:
        frames = int(getattr(image, "n_frames", 1))
        # Pillow turns these into 8 bits
        deep = image.mode in ("RGB", "RGBA", "CMYK") and ";16" in str(image.tile[:1])
        extent = None
        if image.format == "JPEG":
            form = turned(form_of(image, image.mode, 1 if image.mode == "L" else 3, "uint8"), turn_of(image))
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))  # an eighth shows all damage
            image.load()
        else:
            pixels, form = decode_image(image, turning=True)
            extent = finite_extent(pixels, shown(path))
        return Checked(form, extent, frames, deep)


def _decode(source: Any, max_pixels: int) -> Pixels:
    if not isinstance(source, str):
        with complaints("an image"):
            return decode_image(source)[0]
    with _opened(source, max_pixels) as image:
        return decode_image(image, turning=True)[0]


@contextlib.contextmanager
def _opened(path: str, max_pixels: int) -> Iterator[Any]:
    """The file as Pillow's image, its pixels still unread; every complaint inside becomes a sentence."""
    try:
        file = open(path, "rb")  # an error of the disk is no damage
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be opened: {error.strerror}; check the path and its rights.") from error
    with file, complaints(shown(path)):
        yield _image(file, path, max_pixels)


@contextlib.contextmanager
def complaints(name: str) -> Iterator[None]:
    """Whatever a decoder says becomes a sentence with this name."""
    try:
        yield
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # decoders raise whatever comes to their mind
        said = " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
        raise DataError(f"{name} is damaged, its pixels cannot be read ({said}); {ADVICE}.") from error


def _image(file: BinaryIO, path: str, max_pixels: int) -> Any:
    name, head = shown(path), file.read(64)
    kind = kind_of(head)
    if kind is None:
        raise DataError(f"{name} {_stranger(head)}; {ADVICE}.")
    if kind_by_name(path) != kind:
        raise DataError(
            f"{name} is a {kind} inside, which its name does not say; rename it to end in {ENDINGS[kind][0]}."
        )
    if kind == "WebP":  # its decoder takes the memory for all pixels before it can be asked for their number
        refuse_large(name, *_webp_size(head), max_pixels)
    file.seek(0)
    image = _plugin(kind)(file)
    refuse_large(name, image.width, image.height, max_pixels)
    return image


def kind_of(head: bytes) -> str | None:
    """What a file is, from its first bytes."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    starts = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "BMP": b"BM"}
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    return next((kind for kind, start in starts.items() if head.startswith(start)), None)


def _stranger(head: bytes) -> str:
    if not head:
        return "is empty (0 bytes)"
    if head[4:8] == b"ftyp":
        return "is a HEIC, AVIF or video file; known are PNG, JPEG, WebP, BMP and TIFF"
    for start, what in STRANGERS.items():
        if head.startswith(start):
            return f"is {what}; known are PNG, JPEG, WebP, BMP and TIFF"
    text = all(byte >= 32 or byte in b"\t\r\n" for byte in head)
    return "holds text, not a picture" if text else "is no picture: it is no PNG, JPEG, WebP, BMP or TIFF"


def _plugin(kind: str) -> Any:
    """The one reader for this kind: `Image.open` would try all that there are."""
    try:
        from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
    except ImportError as error:
        raise missing_pillow() from error
    return {
        "PNG": PngImagePlugin.PngImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
    }[kind]


@contextlib.contextmanager
def patient(max_pixels: int) -> Iterator[None]:
    """What Pillow and its libraries mumble about odd files is ours to say, and our limit is the one that counts."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_pillow() from error
    with _alone, warnings.catch_warnings(), _quiet_tiff(str(vars(Image)["core"].__file__)):
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None if limit is None else max(limit, max_pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextlib.contextmanager
def _quiet_tiff(library: str) -> Iterator[None]:
    """libtiff writes to the error stream what it also raises."""
    log = logging.getLogger("PIL.TiffImagePlugin")
    hand_over, before = None, None
    with contextlib.suppress(OSError, AttributeError):  # where it is no part of a shared library it may go on talking
        hand_over = ctypes.CDLL(library).TIFFSetErrorHandler
        hand_over.argtypes, hand_over.restype = [ctypes.c_void_p], ctypes.c_void_p
        before = hand_over(None)
    log.disabled, disabled = True, log.disabled
    try:
        yield
    finally:
        log.disabled = disabled
        if hand_over is not None:
            hand_over(before)


def refuse_large(name: str, width: int, height: int, max_pixels: int) -> None:
    shown_size, n_pixels = f"{width:,} x {height:,} pixels (width x height)", width * height
    if width < 1 or height < 1:
        raise DataError(f"{name} has {shown_size}, so there is nothing to see; {ADVICE}.")
    if n_pixels > max_pixels:
        trust = f"if you trust it, set max_pixels={n_pixels}, or " if n_pixels < 10**9 else ""
        raise DataError(
            f"{name} has {shown_size}, {n_pixels:,} in all, more than max_pixels={max_pixels} allows; {trust}{ADVICE}."
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height, from the first of the three kinds of chunk that a WebP file may begin with."""
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def finite_extent(pixels: Pixels, name: str) -> Extent | None:
    """From where to where values reach; infinite ones are refused."""
    found = extent_of(pixels)
    if found is not None and not (np.isfinite(found.low) and np.isfinite(found.high)):
        raise DataError(f"{name} holds infinite values; replace them by numbers, or by NaN where a value is absent.")
    return found
