"""The header of a model file, read as if it came from somebody hostile: nothing is believed before it is checked.

A safetensors file is 8 bytes of length, a JSON header (names, dtypes, shapes, offsets, metadata), then the tensors.
All checks here happen before anything large is allocated; each raises ModelFileError with one sentence.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from isthmus.errors import ModelFileError

FORMAT = 1
MAX_HEADER = 8 * 2**20  # bytes
MAX_DOCUMENT = 4 * 2**20  # characters
MAX_TENSORS = 20_000
MAX_DEPTH = 32
MAX_MARKS = 320_000  # brackets, colons and commas: parsed, a value can take 100 times the memory of its text
MAX_AXES = 32
MAX_SIZE = 2**60  # of an axis or offset, so that nothing overflows 64 bits
HASH_LENGTH = 64  # characters
DTYPES = {  # the file's word for it -> torch's word, bytes per element
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_BEFORE_HASH = b'\\"sha256\\":\\"'  # as it stands in the header, where the JSON text is a string inside JSON


@dataclass(frozen=True)
class Header:
    """A header that passed every check: `place` is where the hash stands in the file, `end` where the tensors begin."""

    document: dict[str, Any]
    sha256: str
    place: int
    end: int


def verified_header(file: BinaryIO, name: str) -> Header:
    """The header after its checks and after the whole file was held against its hash, a piece at a time."""
    header = read_header(file, name)
    file.seek(0)
    start = file.read(header.end)
    digest = hashlib.sha256(start[: header.place] + b"0" * HASH_LENGTH + start[header.place + HASH_LENGTH :])
    while chunk := file.read(2**20):
        digest.update(chunk)
    if digest.hexdigest() != header.sha256:
        raise ModelFileError(f"{name} is damaged: its content does not match its SHA-256; take another copy of it.")
    return header


def read_header(file: BinaryIO, name: str) -> Header:
    """The header after all checks but that of the hash; `name` is what errors call the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = _header_length(file.read(8), size, name)
    raw = file.read(length)
    header = _parse(raw, name)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or list(metadata) != ["isthmus"] or not isinstance(metadata["isthmus"], str):
        raise ModelFileError(
            f"{name} is a safetensors file, but not one that Isthmus wrote; it holds no model of ours."
        )
    document, sha256 = _envelope(_parse(metadata["isthmus"], name), name)
    check_tensors(header, size - 8 - length, name)
    place = raw.find(_BEFORE_HASH)
    if place < 0:
        raise ModelFileError(f"{name} is damaged: its SHA-256 is not where Isthmus writes it; take another copy of it.")
    return Header(document, sha256, 8 + place + len(_BEFORE_HASH), 8 + length)


def _header_length(first: bytes, size: int, name: str) -> int:
    if size < 8:
        raise ModelFileError(f"{name} is not a safetensors file: it has {size} bytes, too few for a header.")
    length = int.from_bytes(first, "little")
    if 2 <= length <= min(MAX_HEADER, size - 8):
        return length
    if first.startswith(b"PK") or (first[0] == 0x80 and first[1] <= 5):
        raise ModelFileError(f"{name} is not a safetensors file; it may be a pickle, which is never loaded.")
    raise ModelFileError(
        f"{name} is damaged or not a safetensors file: its first bytes promise a header of {length:,} bytes, "
        f"where at most {min(MAX_HEADER, size - 8):,} are possible."
    )


def _parse(raw: bytes | str, name: str) -> dict[str, Any]:
    """A JSON object, or a refusal: strict UTF-8, each key once, no NaN, not deep, not many values."""
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        if isinstance(raw, str) and len(text) > MAX_DOCUMENT:
            raise ValueError(f"the document has {len(text):,} characters, of which {MAX_DOCUMENT:,} are allowed")
        if sum(text.count(mark) for mark in "[{:,") > MAX_MARKS:
            raise ValueError(f"there are more values than {MAX_TENSORS:,} tensors and a document need")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        if _depth(value) > MAX_DEPTH:
            raise RecursionError
        return value
    except RecursionError:
        raise ModelFileError(f"{name} is refused: its header is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise ModelFileError(f"{name} is refused, its header is damaged or unsafe: {one_line(error)}.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError("a number is too large")
    return number


def _depth(value: Any) -> int:
    """How many brackets lie around the innermost value; level by level, for recursion could be made to overflow."""
    depth, level = 0, [value]
    while level:
        depth += 1
        values = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in values if isinstance(child, (dict, list))]
    return depth


def _envelope(envelope: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """Document and hash. The format's number comes first, for a newer one may look different in all else."""
    number, sha256, document = (envelope.get(key) for key in ("format", "sha256", "document"))
    if type(number) is int and number > FORMAT:
        raise ModelFileError(f"{name} was written by a newer Isthmus; upgrade Isthmus to load it.")
    hashed = isinstance(sha256, str) and re.fullmatch(f"[0-9a-f]{{{HASH_LENGTH}}}", sha256)
    if len(envelope) != 3 or type(number) is not int or number < 1 or not hashed or not isinstance(document, dict):
        raise ModelFileError(f"{name} is damaged: its metadata lacks a valid format, sha256 or document.")
    return document, str(sha256)


def check_tensors(tensors: dict[str, Any], size: int, name: str) -> None:
    """Each tensor is described in full, and together they fill `size` bytes: no overlap, no hole, no rest."""
    if len(tensors) > MAX_TENSORS:
        raise ModelFileError(f"{name} holds {len(tensors):,} tensors; a model file holds at most {MAX_TENSORS:,}.")
    end = 0
    for start, stop, key in sorted((*_span(entry, key, name), key) for key, entry in tensors.items()):
        if start != end:
            fault = "overlaps another one" if start < end else "leaves a hole before it"
            raise ModelFileError(f"{name} is refused: tensor {shortened(key)} {fault}.")
        end = stop
    if end != size:
        raise ModelFileError(
            f"{name} is damaged or incomplete: its tensors take {end:,} bytes, but {size:,} are there."
        )


def _span(entry: Any, key: str, name: str) -> tuple[int, int]:
    """Where one tensor starts and stops, counted from the end of the header."""
    fault = ""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{name} is refused: tensor {shortened(key)} lacks its dtype, shape or offsets.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        fault = f"the dtype {shortened(dtype)}; allowed are: {', '.join(DTYPES)}"
    # An axis of size zero hides huge ones from the product, but strides multiply the others all the same.
    elif not _sizes(shape) or len(shape) > MAX_AXES or math.prod(axis or 1 for axis in shape) >= MAX_SIZE:
        fault = f"the impossible shape {shortened(shape)}"
    elif not _sizes(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * DTYPES[dtype][1]:
        fault = f"offsets {shortened(offsets)} that do not match its shape"
    if fault:
        raise ModelFileError(f"{name} is refused: tensor {shortened(key)} has {fault}.")
    return offsets[0], offsets[1]


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < MAX_SIZE for value in values)


def shortened(value: object) -> str:
    """A value out of a file, harmless in a message: escaped and not long.

    >>> shortened("a" * 100), shortened("line\\nline")
    ("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...", "'line\\\\nline'")
    """
    text = ascii(value[:40] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def one_line(error: Exception) -> str:
    """What an error says, made part of a sentence of ours."""
    return ascii(" ".join(str(error).split())[:200])[1:-1].rstrip(".")
