"""Model files made by strangers: every one is refused, at once, in one sentence, and before it can cost memory."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from isthmus import storage
from isthmus.errors import ModelFileError

ZEROS = "0" * 64
ENVELOPE = f'{{"format":1,"sha256":"{ZEROS}","document":{{}}}}'


def refusal(action: Callable[[], object], name: str) -> str:
    """The message of a refusal: quick, one line, and it names the file."""
    start = time.process_time()  # a busy machine is no fault of ours
    with pytest.raises(ModelFileError) as raised:
        action()
    assert time.process_time() - start < 3
    message = str(raised.value)
    assert name in message
    assert message.isprintable()
    assert len(message) < 500
    return message


def forged(text: str | bytes, body: bytes = b"") -> bytes:
    """A file with this header text and these tensor bytes, whose hash is right if there is a place for it."""
    head = text.encode() if isinstance(text, str) else text
    data = len(head).to_bytes(8, "little") + head + body
    return data.replace(ZEROS.encode(), hashlib.sha256(data).hexdigest().encode(), 1)


def described(entries: dict[str, Any] | str, body: bytes = b"", envelope: str = ENVELOPE) -> bytes:
    """A file whose metadata is ours and whose tensors are described by `entries`."""
    text = entries if isinstance(entries, str) else json.dumps(entries)[1:-1]
    return forged(f'{{"__metadata__":{{"isthmus":{json.dumps(envelope)}}}{"," if text else ""}{text}}}', body)


def enveloped(document: str, number: str = "1", more: str = "") -> bytes:
    return described({}, envelope=f'{{"format":{number},"sha256":"{ZEROS}","document":{document}{more}}}')


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def one(*arguments: Any, body: int = 8, **more: Any) -> bytes:
    return described({"a": entry(*arguments, **more)}, bytes(body))


def test_the_forger_can_also_make_a_good_file() -> None:
    assert storage.from_bytes(one()).tensors["a"].tolist() == [0.0, 0.0]
    assert storage.from_bytes(enveloped('{"a": [1e3]}')).document == {"a": [1000.0]}


HOSTILE: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "empty": (b"", "not a safetensors"),
    "seven bytes": (b"\2\0\0\0\0\0\0", "not a safetensors"),
    "no header": (bytes(8), "not a safetensors"),
    "text": (b"age,income\n1,2\n3,4\n", "not a safetensors"),
    "huge header": ((2**62).to_bytes(8, "little") + b"{}", "header of 4,611,686,018,427,387,904 bytes"),
    "header of 9 MiB": (lambda: forged("{" + " " * (9 * 2**20) + "}"), "header of"),
    "header beyond the end": ((100).to_bytes(8, "little") + b"{}", "header of 100 bytes"),
    "pickle": (pickle.dumps({"weight": list(range(100))}), "may be a pickle, which is never loaded"),
    "old pickle": (pickle.dumps({"weight": list(range(100))}, protocol=2), "may be a pickle"),
    "not UTF-8": (forged(b'{"\xff":1}'), "damaged or unsafe"),
    "not JSON": (forged('{"a":}'), "damaged or unsafe"),
    "a list": (forged("[1, 2]"), "no JSON object"),
    "other safetensors": (forged('{"a":' + json.dumps(entry()) + "}", bytes(8)), "not one that Isthmus wrote"),
    "other metadata": (forged('{"__metadata__":{"format":"pt"}}'), "not one that Isthmus wrote"),
    "two keys": (
        forged(f'{{"__metadata__":{{"isthmus":{json.dumps(ENVELOPE)},"x":""}}}}'),
        "not one that Isthmus wrote",
    ),
    "metadata is a list": (forged('{"__metadata__":["isthmus"]}'), "not one that Isthmus wrote"),
    "metadata is no text": (forged('{"__metadata__":{"isthmus":{}}}'), "not one that Isthmus wrote"),
    "key twice": (described('"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}', bytes(8)), "twice"),
    "tensor twice": (described(", ".join([json.dumps({"a": entry()})[1:-1]] * 2), bytes(8)), "twice"),
    "metadata twice": (forged(f'{{"__metadata__":{{"isthmus":{json.dumps(ENVELOPE)}}},"__metadata__":{{}}}}'), "twice"),
    "document key twice": (enveloped('{"a":1,"a":2}'), "twice"),
    "33 deep": (enveloped('{"a":' + "[" * 31 + "]" * 31 + "}"), "nested deeper than 32"),
    "5,000 deep": (enveloped('{"a":' + "[" * 5000 + "]" * 5000 + "}"), "nested deeper than 32"),
    "header 5,000 deep": (described('"a":' + "[" * 5000 + "]" * 5000), "nested deeper than 32"),
    "4 million deep": (lambda: forged("[" * 4_000_000), "more values"),
    "NaN": (enveloped('{"a":NaN}'), "NaN"),
    "infinity": (enveloped('{"a":-Infinity}'), "Infinity"),
    "1e999": (enveloped('{"a":1e999}'), "too large"),
    "NaN in the header": (described('"a":NaN'), "NaN"),
    "5,000 digits": (described('"a":' + "9" * 5000), "damaged or unsafe"),
    "newer": (enveloped("{}", "2"), "newer Isthmus; upgrade"),
    "newer and otherwise": (described({}, envelope='{"format":7,"hash":"blake"}'), "newer Isthmus; upgrade"),
    "format 0": (enveloped("{}", "0"), "lacks a valid format"),
    "format true": (enveloped("{}", "true"), "lacks a valid format"),
    "format 1.0": (enveloped("{}", "1.0"), "lacks a valid format"),
    "document is a list": (enveloped("[]"), "lacks a valid format"),
    "one key more": (enveloped("{}", more=',"code":"import os"'), "lacks a valid format"),
    "hash too short": (described({}, envelope='{"format":1,"sha256":"00","document":{}}'), "lacks a valid format"),
    "key in capitals": (enveloped("{}").replace(b"sha256", b"SHA256"), "lacks a valid format"),
    "hash in capitals": (described({}, envelope=ENVELOPE.replace(ZEROS, "A" * 64)), "lacks a valid format"),
    "hash after a space": (described({}, envelope=ENVELOPE.replace(':"0', ': "0')), "not where Isthmus writes it"),
    "wrong hash": (one()[:-1] + b"\1", "damaged: its content does not match"),
    "hash elsewhere": (
        described({}, envelope=json.dumps({"document": {"sha256": ZEROS}, "format": 1, "sha256": "a" * 64})),
        "not where Isthmus writes it",
    ),
    "hash of another place": (
        described({}, envelope=f'{{"document":{{"sha256":"{ZEROS}"}},"format":1,"sha256":"{"a" * 64}"}}'),
        "does not match",
    ),
    "document of 5 MiB": (lambda: enveloped(json.dumps({"a": "a" * 5 * 2**20})), "5,242,"),
    "20,001 tensors": (lambda: described({str(name): entry("U8", [0], [0, 0]) for name in range(20_001)}), "20,001"),
    "500,000 names": (lambda: described(",".join(f'"{name}":{{}}' for name in range(500_000))), "more values"),
    "tensor is a number": (described({"a": 1}), "lacks its dtype"),
    "no dtype": (described({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)), "lacks its dtype"),
    "more about a tensor": (one(device="cuda"), "lacks its dtype"),
    "unknown dtype": (one("F8_E4M3", [8]), "the dtype 'F8_E4M3'; allowed are"),
    "dtype is a list": (one(["F32"]), "the dtype ['F32']"),
    "negative shape": (one(shape=[-2]), "impossible shape"),
    "twice negative shape": (one(shape=[-1, -2]), "impossible shape"),
    "shape of true": (one(shape=[True, 2]), "impossible shape"),
    "shape of floats": (one(shape=[2.0]), "impossible shape"),
    "shape is a number": (one(shape=2), "impossible shape"),
    "shape of 2**64 + 2": (one(shape=[2**64 + 2]), "impossible shape"),
    "product beyond 64 bits": (one(shape=[2**32, 2**32, 2]), "impossible shape"),
    "zero times huge": (one(shape=[0, 2**40, 2**40], offsets=[0, 0], body=0), "impossible shape"),
    "40 axes": (one(shape=[1] * 39 + [2]), "impossible shape"),
    "negative offsets": (one(offsets=[-8, 0]), "do not match its shape"),
    "offsets backwards": (one(offsets=[8, 0]), "do not match its shape"),
    "three offsets": (one(offsets=[0, 8, 8]), "do not match its shape"),
    "offsets are text": (one(offsets="08"), "do not match its shape"),
    "offsets are floats": (one(offsets=[0.0, 8.0]), "do not match its shape"),
    "offsets too wide": (one(offsets=[0, 12], body=12), "do not match its shape"),
    "huge tensor": (one(shape=[2**50], offsets=[0, 2**52]), "damaged or incomplete"),
    "overlap": (described({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "overlaps another"),
    "same place": (described({"a": entry(), "b": entry()}, bytes(8)), "overlaps another"),
    "hole": (described({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)), "leaves a hole"),
    "hole at the start": (one(offsets=[8, 16], body=16), "leaves a hole"),
    "bytes at the end": (one(body=9), "damaged or incomplete"),
    "bytes but no tensors": (described({}, b"import os"), "damaged or incomplete"),
    "bytes missing": (one(body=7), "damaged or incomplete"),
    "escapes in a name": (described({"\n\x1b[31m\ud800" * 50: entry("X")}, bytes(8)), "the dtype 'X'"),
    "long dtype": (one("F" * 1_000_000), "the dtype 'FFFF"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, case: str) -> None:
    content, reason = HOSTILE[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content() if callable(content) else content)
    tracemalloc.start()
    try:
        message = refusal_slowly(lambda: storage.load(path), path.name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason in message
    assert peak < path.stat().st_size + 64 * 2**20
    assert refusal(lambda: storage.load(path), path.name) == message
    assert refusal(lambda: storage.read_document(path), path.name) == message


def refusal_slowly(action: Callable[[], object], name: str) -> str:
    """As `refusal`, while memory is traced, which takes its time."""
    with pytest.raises(ModelFileError, match=name) as raised:
        action()
    return str(raised.value)


DEAREST = {  # within all limits, as much memory as a header can take; the last sign widens every other one
    "lists": "[" + "[]," * 155_000 + '"\N{DESERT ISLAND}"]',
    "names": "{" + ",".join(f'"{number:040}":0' for number in range(159_000)) + ',"\N{DESERT ISLAND}":0}',
    "objects": "[" + '{"a":[]},' * 78_000 + '"\N{DESERT ISLAND}"]',
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DEAREST)
def test_no_header_costs_much_memory(case: str) -> None:
    data = forged(f'{{"a":{DEAREST[case]}}}')
    tracemalloc.start()
    try:
        message = refusal_slowly(lambda: storage.from_bytes(data), "the model file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "not one that Isthmus wrote" in message  # it was parsed
    assert peak < len(data) + 64 * 2**20


def test_a_long_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(one(offsets=[8, 16], body=16))
    os.truncate(path, 2**30)  # takes no room on the disk
    tracemalloc.start()
    try:
        message = refusal_slowly(lambda: storage.load(path), path.name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "leaves a hole" in message
    assert peak < 2**20


def test_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1, 2, 3]))
    assert "may be a pickle, which is never loaded" in refusal(lambda: storage.load(path), path.name)
    torch.save({"weight": torch.ones(3)}, path)
    assert "may be a pickle, which is never loaded" in refusal(lambda: storage.load(path), path.name)


def test_a_pickle_inside_a_model_file_stays_bytes(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = pickle.dumps(Bomb(str(marker)))
    found = storage.from_bytes(described({"a": entry("U8", [len(code)], [0, len(code)])}, code))
    assert bytes(found.tensors["a"].tolist()) == code
    assert not marker.exists()


class Bomb:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def test_another_safetensors_file_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bert.safetensors"
    save_file({"weight": torch.ones(3)}, path, metadata={"format": "pt"})
    message = refusal(lambda: storage.load(path), path.name)
    assert "is a safetensors file, but not one that Isthmus wrote" in message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("missing", "does not exist"),
        ("none/missing", "does not exist"),
        ("file/below", "does not exist"),
        ("", "directory or device"),
        ("pipe", "directory or device"),  # opening it would wait for ever
        ("nul\0", "cannot be the path"),
    ):
        message = refusal(lambda name=name: storage.load(tmp_path / name), tmp_path.name)  # type: ignore[misc]
        assert reason in message
    assert "directory or device" in refusal(lambda: storage.read_document("/dev/zero"), "/dev/zero")
    refusal(lambda: storage.load(tmp_path / "two\nlines"), r"two\nlines")


def test_random_edits_never_do_worse_than_a_refusal() -> None:
    generator = random.Random(1)
    whole = storage.to_bytes({"a": [1, "ä"]}, {"weight": torch.randn(5, 3), "step": torch.tensor(7)})
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 5)):
            start = generator.randrange(len(damaged) + 1)
            stop = start + generator.randint(0, 8)
            damaged[start:stop] = generator.choice([b"", b"[", b'"', b"9", b"\0", b"\xff", damaged[:20], b"{}"])
        if damaged != whole:
            with pytest.raises(ModelFileError):
                storage.from_bytes(bytes(damaged))
