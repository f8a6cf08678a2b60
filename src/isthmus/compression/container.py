"""The container of compressed data: who made it, of what, and whether it is whole.

    magic · version · fingerprint of the model · checksum · length of the header · length of all · header · payload

The header is JSON, packed by zlib or lzma, whichever is shorter; the payload is what an entropy coder wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from isthmus.errors import DataError

MAGIC = b"ISTH"
VERSION = 1
FRONT = struct.Struct("<4sB8s8sIQ")
SUM = slice(FRONT.size - 20, FRONT.size - 12)  # where the checksum stands
RAW_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
MOST_HEADER = 2**31  # bytes that a header may unpack to


class Opened(NamedTuple):
    """What a container holds."""

    header: dict[str, Any]
    payload: bytes


def fingerprint(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Eight bytes that stand for a model: its weights, and all else that coding depends on."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.digest()[:8]


def seal(header: Mapping[str, Any], payload: bytes, model: bytes) -> bytes:
    """A container.

    >>> blob = seal({"n": 2}, b"payload", bytes(8))
    >>> opened = unseal(blob, bytes(8))
    >>> opened.header, opened.payload
    ({'n': 2}, b'payload')
    """
    packed = _pack(json.dumps(header, ensure_ascii=False, separators=(",", ":"), default=_plain).encode())
    length = FRONT.size + len(packed) + len(payload)
    front = FRONT.pack(MAGIC, VERSION, model, bytes(8), len(packed), length)
    blob = bytearray(front + packed + payload)
    blob[SUM] = _checksum(blob)
    return bytes(blob)


def unseal(blob: object, model: bytes) -> Opened:
    """What a container holds, once it is sure that it is one, whole, and made with this model."""
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise DataError(f"decompress was given a {type(blob).__name__}; give the bytes that compress returned.")
    data = bytes(blob)
    if data[: len(MAGIC)] != MAGIC:
        raise DataError("these bytes were not written by compress: they do not begin with ISTH; give another file.")
    if len(data) < FRONT.size:
        raise DataError(f"the container is cut off: it has {len(data)} bytes, less than its front; copy it again.")
    _, version, maker, checksum, header, length = FRONT.unpack_from(data)
    if version != VERSION:
        raise DataError(
            f"the container is of version {version}, and this Isthmus reads version {VERSION}; use the version that "
            "wrote it."
        )
    if len(data) != length:
        what = "cut off" if len(data) < length else "longer than it was"
        raise DataError(f"the container is {what}: {len(data):,} bytes instead of {length:,}; copy it again.")
    if _checksum(bytearray(data)) != checksum:
        raise DataError("the container was altered: its checksum is not that of its bytes; copy it again.")
    if maker != model:
        raise DataError(
            f"the container was written with another model ({maker.hex()}), and this one is {model.hex()}; decompress "
            "it with the model that compressed it."
        )
    middle = FRONT.size + header
    return Opened(_document(data[FRONT.size : middle]), data[middle:])


def _document(packed: bytes) -> dict[str, Any]:
    try:
        found = json.loads(_unpack(packed))
    except (ValueError, lzma.LZMAError, zlib.error, RecursionError) as error:
        raise DataError("the header of the container cannot be read; compress the data again.") from error
    if not isinstance(found, dict):
        raise DataError("the header of the container is none of ours; compress the data again.")
    return found


def _checksum(blob: bytearray) -> bytes:
    """Of all bytes but its own."""
    digest = hashlib.sha256(memoryview(blob)[: SUM.start])
    digest.update(memoryview(blob)[SUM.stop :])
    return digest.digest()[:8]


def _pack(text: bytes) -> bytes:
    short = zlib.compress(text, 9, wbits=-15)
    strong = lzma.compress(text, lzma.FORMAT_RAW, filters=RAW_LZMA) if len(text) > 2000 else text
    return min((b"Z" + short, b"L" + strong if strong is not text else b"T" + text), key=len)


def _unpack(packed: bytes) -> bytes:
    if packed[:1] == b"L":
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=RAW_LZMA).decompress(packed[1:], MOST_HEADER)
    if packed[:1] == b"T":
        return packed[1:]
    return zlib.decompressobj(wbits=-15).decompress(packed[1:], MOST_HEADER)


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot stand in a header")


def as_bytes(value: Any) -> bytes:
    """The inverse of what became of bytes in a header."""
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else b""
