"""The one file format: bytes <-> tensors + JSON. Knows no class of ours, and torch only where tensors are made.

A model file is a safetensors file that any safetensors reader opens. Its metadata has one key, "isthmus", with a JSON
text `{"format": 1, "sha256": "...", "document": {...}}`. The SHA-256 is taken over the whole file with its own 64
characters replaced by zeros. Files come from strangers: `header.py` checks every length, name, shape and offset before
anything large is allocated, and the hash before the document is handed out; nothing in a file can run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from isthmus.atomic import replace_file, shown, storage_error
from isthmus.errors import ModelFileError
from isthmus.header import DTYPES, FORMAT, HASH_LENGTH, one_line, read_header, shortened, verified_header

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Stored:
    """What a model file holds: `document` is plain JSON, `tensors` are on the CPU and own their memory."""

    document: dict[str, Any]
    tensors: dict[str, Tensor]


def save(path: str | os.PathLike[str], document: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a model file: the new one appears whole, or the old one stays as it was.

    Parameters
    ----------
    path : where to; its directory must exist. The file's mode follows the umask.
    document : plain JSON with words as keys, at most 4 MiB; comes back with sorted keys, and lists for tuples.
    tensors : at most 20,000 by name, dense, from any device; those that share memory are stored apart.

    Raises
    ------
    ModelFileError : if the document or a tensor cannot be stored.
    StorageError : if the disk refuses: full, not allowed, directory missing.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/model.safetensors", {"k": 2}, {"weight": torch.ones(2)})
    ...     load(f"{folder}/model.safetensors")
    Stored(document={'k': 2}, tensors={'weight': tensor([1., 1.])})
    """
    replace_file(path, _pieces(document, tensors, shown(path)))


def load(path: str | os.PathLike[str]) -> Stored:
    """Read a model file; see `save`. While it reads it needs about twice the file's size in memory.

    Raises
    ------
    ModelFileError : if there is no such file, or it is damaged, unsafe, too new or not one of ours.
    StorageError : if the disk or the file's permissions do not let it be read.
    """
    with _opened(path) as file:
        read_header(file, shown(path))  # refuses what it can before the whole file is in memory
        file.seek(0)
        return from_bytes(file.read(), shown(path))


def read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document alone, after the same checks as in `load`, hash included; no tensor is made, torch stays away."""
    with _opened(path) as file:
        return verified_header(file, shown(path)).document


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """The document and the tensors as NumPy arrays, after the same checks as in `load`; torch stays away.

    Raises what `load` does, and ModelFileError for tensors that NumPy has no type for (bfloat16).
    """
    with _opened(path) as file:
        read_header(file, shown(path))
        file.seek(0)
        data = file.read()
    header = verified_header(io.BytesIO(data), shown(path))
    from safetensors import SafetensorError
    from safetensors.numpy import load as read_tensors

    try:
        return header.document, read_tensors(data)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ModelFileError(f"{shown(path)} cannot be read without torch: {one_line(error)}.") from error


def to_bytes(document: dict[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes that `save` writes; the same input gives the same bytes.

    >>> import torch
    >>> from_bytes(to_bytes({"name": "tiny"}, {"steps": torch.tensor(7)}))
    Stored(document={'name': 'tiny'}, tensors={'steps': tensor(7)})
    """
    return b"".join(_pieces(document, tensors, "the model"))


def from_bytes(data: bytes, name: str = "the model file") -> Stored:
    """The inverse of `to_bytes`; `name` is what errors call it. Raises ModelFileError as `load` does."""
    header = verified_header(io.BytesIO(data), name)
    from safetensors import SafetensorError
    from safetensors.torch import load as read_tensors

    try:
        return Stored(header.document, read_tensors(data))
    except SafetensorError as error:  # our checks are meant to be the stricter ones; theirs are a second pair of eyes
        raise ModelFileError(f"{name} is refused by the safetensors library: {one_line(error)}.") from error


def text_tensor(texts: Sequence[str]) -> Tensor:
    """A long list of words (categories, item ids) as bytes, shape (n_bytes,), so that the document stays small.

    >>> tensor_text(text_tensor(["red", "grün", ""]))
    ['red', 'grün', '']
    """
    import torch

    if not all(isinstance(text, str) for text in texts):
        raise ModelFileError("a list of words can only be stored if every one is a str; convert the others first.")
    # JSON, because a word may hold any separator; raw UTF-8 in it, because escapes would join lone surrogates.
    data = json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def tensor_text(tensor: Tensor) -> list[str]:
    """The inverse of `text_tensor`. Raises ModelFileError for a tensor that holds anything else."""
    import torch

    try:
        if tensor.dtype != torch.uint8 or tensor.ndim != 1:
            raise ValueError("it is not a row of bytes")
        texts = json.loads(tensor.cpu().numpy().tobytes().decode("utf-8", "surrogatepass"))
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("it holds something else than words")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"a list of words in the model file cannot be read: {one_line(error)}.") from error
    return cast(list[str], texts)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file at `path`, if it is a plain one: a pipe could block, a device never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ModelFileError(f"{shown(path)} is a directory or device; give the path of a model file.")
        with open(path, "rb") as file:
            yield file
    except ModelFileError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"{shown(path)} does not exist; check the path of the model file.") from error
    except ValueError as error:  # a NUL character
        raise ModelFileError(f"{shown(path)} cannot be the path of a file: {one_line(error)}.") from error
    except OSError as error:
        raise storage_error(path, "read", error) from error


def _pieces(document: dict[str, Any], tensors: Mapping[str, Tensor], name: str) -> list[memoryview | bytes]:
    """The file in three pieces, of which the hash is the middle one."""
    from safetensors.torch import save as write_tensors

    try:
        words = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))
        text = f'{{"format":{FORMAT},"sha256":"{"0" * HASH_LENGTH}","document":{words}}}'
        plain = {key: _plain(tensor, key, name) for key, tensor in tensors.items()}
        data = write_tensors(plain, metadata={"isthmus": text})
    except ModelFileError:
        raise
    except (TypeError, ValueError, RecursionError) as error:  # no plain JSON, or a name that is no valid Unicode
        raise ModelFileError(f"{name} cannot be saved: {one_line(error)}.") from error
    header = read_header(io.BytesIO(data), name)  # what could not be read again is not written
    digest = hashlib.sha256(data).hexdigest().encode()
    view = memoryview(data)
    return [view[: header.place], digest, view[header.place + HASH_LENGTH :]]


def _plain(tensor: Tensor, key: str, name: str) -> Tensor:
    """A dense copy on the CPU; a copy, because safetensors refuses tensors that share memory."""
    import torch

    allowed = [word for word, _ in DTYPES.values()]
    if not isinstance(tensor, torch.Tensor) or not isinstance(key, str) or key == "__metadata__":
        raise ModelFileError(f"{name} cannot be saved: {shortened(key)} is not the name of a tensor.")
    word = str(tensor.dtype).removeprefix("torch.")
    if word not in allowed or tensor.layout != torch.strided or tensor.is_meta:
        raise ModelFileError(
            f"{name} cannot be saved: tensor {shortened(key)} is {word}, {tensor.layout}, on {tensor.device}; "
            f"it must be dense and one of: {', '.join(allowed)}."
        )
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
