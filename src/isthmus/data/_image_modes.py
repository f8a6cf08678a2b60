"""Images of Pillow's and their pixels, in every mode that a picture file has; and the way back into a file.

Axes: h height, w width, c channels; pixels are (h, w, c).
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from isthmus.atomic import shown
from isthmus.data._image_forms import Form, Pixels
from isthmus.errors import DataError, MissingExtraError

ENDINGS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
KINDS = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
ORIENTATION = 0x0112
#: Pillow's modes whose values are taken as they are.
PLAIN = ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def missing_pillow() -> MissingExtraError:
    return MissingExtraError("picture files need Pillow; install it with: pip install 'isthmus[image]'.")


def kind_by_name(path: str) -> str | None:
    """What the ending of a name promises."""
    return KINDS.get(os.path.splitext(path)[1].lower())


# ---- from Pillow's images to pixels


def decode_image(image: Any, turning: bool = False) -> tuple[Pixels, Form]:
    """Pixels (h, w, c) and form of an image, if asked for turned as it says; the image itself stays as it is."""
    image.load()  # before anything else is asked: some remarks stand behind the pixels, and asking hides their damage
    turn = turn_of(image) if turning else 1
    if image.mode == "P":
        pixels, palette = _without_palette(image.copy())
        form = replace(form_of(image, "P", pixels.shape[2], "uint8"), palette=palette)
    else:
        plain = _plain(image)
        pixels = np.asarray(plain)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        form = form_of(image, _mode(image, plain), pixels.shape[2], pixels.dtype.name)
    return np.ascontiguousarray(_turn_pixels(pixels, turn)), turned(form, turn)


def _plain(image: Any) -> Any:
    """The same in a mode whose values can be taken as they are."""
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:  # one colour that stands for nothing
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode in PLAIN:
        return image
    return image.convert({"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(image.mode, "RGB"))


def _mode(image: Any, plain: Any) -> str:
    """The mode to go back to: of the image where one can, else of what it was turned into."""
    if image.mode.startswith("I;16"):
        return "I;16"
    return str(image.mode if image.mode in ("CMYK", "YCbCr", "HSV") else plain.mode)


def _without_palette(image: Any) -> tuple[Pixels, bytes]:
    """Grey or colour, with alpha where there is some; and the palette."""
    image.apply_transparency()
    table = np.frombuffer(bytes(image.getpalette("RGBA")), dtype=np.uint8).reshape(-1, 4)
    black = np.tile(np.array([[0, 0, 0, 255]], dtype=np.uint8), (256 - len(table), 1))
    indices = np.asarray(image)
    seen = np.concatenate([table, black])[np.bincount(indices.ravel(), minlength=256) > 0]
    grey = bool((seen[:, :1] == seen[:, 1:3]).all())
    taken = [0] if grey else [0, 1, 2]
    taken += [3] if bool((seen[:, 3] < 255).any()) else []
    return np.concatenate([table, black])[:, taken][indices], table.tobytes()


def form_of(image: Any, mode: str, channels: int, dtype: str) -> Form:
    """What an image is like, before it is turned."""
    kinds = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "WEBP": "WebP", "BMP": "BMP", "TIFF": "TIFF"}
    resolution = image.info.get("dpi")
    good = isinstance(resolution, tuple) and len(resolution) == 2 and all(0 < float(one) < 1e5 for one in resolution)
    return Form(
        image.height,
        image.width,
        channels,
        dtype,
        kind=kinds.get(image.format or "", ""),
        mode=mode,
        profile=_once(bytes(image.info.get("icc_profile") or b"")),
        resolution=(float(resolution[0]), float(resolution[1])) if good else None,
    )


@lru_cache(maxsize=64)
def _once(profile: bytes) -> bytes:
    """Thousands of photos share one profile; so does the memory."""
    return profile


def turn_of(image: Any) -> int:
    """How a file asks to be turned, in EXIF's count; Pillow turns TIFF by itself."""
    if image.format not in ("JPEG", "PNG", "WEBP"):
        return 1
    try:
        turn = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged remarks do not make a damaged picture
        return 1
    return turn if 1 <= turn <= 8 else 1


def _turn_pixels(pixels: Pixels, turn: int) -> Pixels:
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    upside_down, mirrored = turn in (3, 4, 7, 8), turn in (2, 3, 6, 7)
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def turned(form: Form, turn: int) -> Form:
    return replace(form, height=form.width, width=form.height) if turn >= 5 else form


# ---- and back


def to_image(pixels: Pixels, form: Form) -> Any:
    """Pixels (h, w, c) as Pillow's image in the mode of the form."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_pillow() from error
    if form.mode == "P":
        return _with_palette(pixels, form.palette, Image)
    values = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(values)
    if form.mode in ("", image.mode):
        return image
    return image.convert(form.mode, dither=Image.Dither.NONE) if form.mode == "1" else image.convert(form.mode)


def _with_palette(pixels: Pixels, palette: bytes, Image: Any) -> Any:
    """Every pixel takes the nearest colour that the palette has."""
    table = np.frombuffer(palette, dtype=np.uint8).reshape(-1, 4)
    colours, channels = table.astype(np.float64), pixels.shape[2]
    alpha = pixels[..., -1:] if channels in (2, 4) else np.full_like(pixels[..., :1], 255)
    plain = pixels[..., :1].repeat(3, axis=2) if channels < 3 else pixels[..., :3]
    nearest = cKDTree(colours).query(np.concatenate([plain, alpha], axis=2).reshape(-1, 4))[1]
    image = Image.fromarray(nearest.astype(np.uint8).reshape(pixels.shape[:2]))  # of mode L, which P is in memory
    opaque = bool((table[:, 3] == 255).all())
    image.putpalette((table[:, :3] if opaque else table).tobytes(), "RGB" if opaque else "RGBA")
    return image


def encode(pixels: Pixels, form: Form, name: str) -> bytes:
    """The file, of the kind that its name's ending says."""
    kind = kind_by_name(name) or "PNG"
    own: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WebP": {"lossless": True, "exact": True},
        "TIFF": {"compression": "tiff_deflate"},
    }
    options = own.get(kind, {})
    if form.profile and kind != "BMP":
        options["icc_profile"] = form.profile
    if form.resolution is not None and kind != "WebP":
        options["dpi"] = form.resolution
    stream = io.BytesIO()
    try:
        to_image(pixels, form).save(stream, kind.upper(), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        kept = f"{pixels.dtype.name} values in {pixels.shape[2]} channels"
        raise DataError(
            f"{shown(name)} cannot hold {kept} as a {kind}; convert them to 8 bits, or write TIFF."
        ) from error
    return stream.getvalue()
