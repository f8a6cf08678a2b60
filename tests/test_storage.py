"""The model file: what goes in comes out, what is damaged or hostile is refused, what fails changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from isthmus import header, storage
from isthmus.errors import ModelFileError

DTYPES = [getattr(torch, word) for word, _ in header.DTYPES.values()]
DOCUMENT = {"kind": "tiny", "settings": {"k": 4, "share": 0.25, "names": ["ä", "\n"], "none": None, "on": True}}
ZEROS = "0" * 64
# Written by format 1. Files of a released format must load for ever: add to these, never change them.
GOLDEN = (
    "eAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJpc3RobXVzIjoie1wiZm9ybWF0XCI6MSxcInNoYTI1NlwiOlwiMWYzZTU5ODRiODFm"
    "MDg5MDk1ZjAwYjMyNWI5MzQ0YzljOGU3MTc0NGRhYmZiNmZlMTA1MTA0NTQwMjBlZWI2MlwiLFwiZG9jdW1lbnRcIjp7XCJraW5k"
    "XCI6XCJnb2xkZW5cIixcInNoYXJlXCI6MC4xLFwid29yZHNcIjpbXCJcXHUwMGU0XCJdfX0ifSwic3RlcCI6eyJkdHlwZSI6Ikk2"
    "NCIsInNoYXBlIjpbXSwiZGF0YV9vZmZzZXRzIjpbMCw4XX0sIndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMSwyXSwi"
    "ZGF0YV9vZmZzZXRzIjpbOCwxNl19LCJ3b3JkcyI6eyJkdHlwZSI6IlU4Iiwic2hhcGUiOls2XSwiZGF0YV9vZmZzZXRzIjpbMTYs"
    "MjJdfX0gICAgAwAAAAAAAAAAAAA/AAAAwFsiw6kiXQ=="
)


def tensors() -> dict[str, torch.Tensor]:
    return {
        "weight": torch.arange(6.0).reshape(2, 3),
        "bias": torch.tensor([1.5, float("nan")], dtype=torch.float64),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "mask": torch.tensor([True, False, True]),
        "step": torch.tensor(7),
        "nothing": torch.zeros(0, 3),
        "words": storage.text_tensor(["red", "grün"]),
    }


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal to the last bit, NaN included."""
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert raw(found[name]) == raw(tensor)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


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


# ---- there and back ------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@st.composite
def any_tensor(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype, any small shape, any bits."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n_bytes = torch.Size(shape).numel() * dtype.itemsize
    high = 2 if dtype == torch.bool else 256
    data = torch.randint(0, high, (n_bytes,), dtype=torch.uint8, generator=generator)
    return data.view(dtype).reshape(shape)


@settings(deadline=None, max_examples=100)
@given(
    document=st.dictionaries(words, values, max_size=4),
    stored=st.dictionaries(words.filter(lambda word: word != "__metadata__"), any_tensor(), max_size=6),
)
def test_what_goes_in_comes_out(document: dict[str, Any], stored: dict[str, torch.Tensor]) -> None:
    data = storage.to_bytes(document, stored)
    found = storage.from_bytes(data)
    assert found.document == document
    assert_same(found.tensors, stored)
    assert storage.to_bytes(found.document, found.tensors) == data


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=20))
def test_lists_of_words_come_back(texts: list[str]) -> None:
    tensor = storage.text_tensor(texts)
    assert tensor.dtype == torch.uint8
    assert storage.tensor_text(tensor) == texts


def test_words_with_separators_and_lone_surrogates_come_back() -> None:
    texts = ["a\0b", '"', ",", "\ud83d\ude00", "\udcff", "😀", " "]
    assert storage.tensor_text(storage.text_tensor(texts)) == texts


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": "b"}', b"\xff", b"[" * 100_000, b'["a"', b"NaN"])
def test_a_tensor_that_holds_no_words_is_refused(content: bytes) -> None:
    tensor = torch.tensor(list(content), dtype=torch.uint8)
    refusal(lambda: storage.tensor_text(tensor), "list of words")


def test_text_tensors_refuse_other_types() -> None:
    refusal(lambda: storage.tensor_text(torch.zeros(3)), "list of words")
    refusal(lambda: storage.tensor_text(torch.tensor(65, dtype=torch.uint8)), "list of words")
    refusal(lambda: storage.text_tensor(["a", 1]), "list of words")  # type: ignore[list-item]


def test_a_file_holds_what_bytes_hold(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, DOCUMENT, tensors())
    assert path.read_bytes() == storage.to_bytes(DOCUMENT, tensors())
    assert storage.load(str(path)).document == storage.read_document(path) == DOCUMENT
    assert_same(storage.load(path).tensors, tensors())


def test_the_order_of_names_does_not_change_the_bytes() -> None:
    backwards = {"settings": dict(reversed(DOCUMENT["settings"].items())), "kind": "tiny"}  # type: ignore[attr-defined]
    assert storage.to_bytes(backwards, dict(reversed(tensors().items()))) == storage.to_bytes(DOCUMENT, tensors())


def test_the_safetensors_library_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, DOCUMENT, tensors())
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert_same({name: file.get_tensor(name) for name in file.keys()}, tensors())
    assert list(metadata) == ["isthmus"]
    assert list(json.loads(metadata["isthmus"])) == ["format", "sha256", "document"]


def test_the_hash_is_the_one_promised() -> None:
    data = storage.to_bytes(DOCUMENT, tensors())
    (sha256,) = (json.loads(json.loads(data[8 : data.rindex(b"}") + 1])["__metadata__"]["isthmus"])["sha256"],)
    assert hashlib.sha256(data.replace(sha256.encode(), ZEROS.encode())).hexdigest() == sha256


def test_a_document_that_looks_like_the_hash_is_no_trouble() -> None:
    document = {"sha256": ZEROS, "a": '\\"sha256\\":\\"', "format": {"sha256": ZEROS}}
    stored = {'\\"sha256\\":\\"' + ZEROS: torch.ones(1)}
    assert storage.from_bytes(storage.to_bytes(document, stored)).document == document


def test_tensors_are_stored_as_they_are_seen() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    parameter = torch.nn.Parameter(base.clone())
    odd = {"view": base.T, "part": base[:, 1:3], "same": base, "again": base, "parameter": parameter, "one": base[0, 0]}
    odd["negative"] = torch.complex(torch.ones(2), torch.ones(2)).conj().imag  # negated only when looked at
    odd["wide"] = torch.ones(1).expand(5)
    found = storage.from_bytes(storage.to_bytes({}, odd)).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in odd.items())
    assert not any(tensor.requires_grad for tensor in found.values())
    found["same"].zero_()
    assert torch.equal(found["again"], base)


def test_files_of_format_1_load_for_ever() -> None:
    found = storage.from_bytes(base64.b64decode(GOLDEN))
    assert found.document == {"kind": "golden", "share": 0.1, "words": ["ä"]}
    expected = {"step": torch.tensor(3), "weight": torch.tensor([[0.5, -2.0]]), "words": storage.text_tensor(["é"])}
    assert_same(found.tensors, expected)


def test_the_document_is_read_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, DOCUMENT, tensors())
    script = (
        "import sys, json, isthmus.storage as s; document = s.read_document(sys.argv[1]);"
        "print(json.dumps([document, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == [DOCUMENT, False]


# ---- what cannot be stored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "stored"),
    [
        ({"rate": float("nan")}, {}),
        ({"rate": float("inf")}, {}),
        ({"set": {1, 2}}, {}),
        ({"object": object()}, {}),
        ({1: "a", "1": "b"}, {}),
        ({1: "a", "b": "b"}, {}),
        ({"large": 10**5000}, {}),
        ({"text": "a" * (header.MAX_DOCUMENT + 1)}, {}),
        ({"many": [0] * 600_000}, {}),
        ({"weights": torch.ones(2)}, {}),
        ([], {}),
        ({}, {"a": torch.ones(2, dtype=torch.complex64)}),
        ({}, {"a": torch.ones(2, dtype=torch.uint16)}),
        ({}, {"a": torch.ones(2).to_sparse()}),
        ({}, {"a": torch.ones(2, device="meta")}),
        ({}, {"a": [1.0, 2.0]}),
        ({}, {1: torch.ones(2)}),
        ({}, {"\ud800": torch.ones(2)}),
        ({}, {"__metadata__": torch.ones(2)}),
        ({}, {str(name): torch.zeros(0) for name in range(header.MAX_TENSORS + 1)}),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, document: Any, stored: Any) -> None:
    with pytest.raises(ModelFileError) as raised:
        storage.save(tmp_path / "model.safetensors", document, stored)
    assert str(raised.value).isprintable()
    assert "model.safetensors" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("levels", "allowed"), [(30, True), (31, False), (100_000, False)])
def test_documents_nest_as_deep_as_they_can_be_read(levels: int, allowed: bool) -> None:
    inner: Any = []
    for _ in range(levels - 1):
        inner = [inner]
    if allowed:  # with the document and what holds it: 32
        assert storage.from_bytes(storage.to_bytes({"deep": inner}, {})).document == {"deep": inner}
    else:
        refusal(lambda: storage.to_bytes({"deep": inner}, {}), "the model")


@pytest.mark.slow
def test_as_many_tensors_as_allowed_fit() -> None:
    stored = {f"layers.{number}.weight": torch.zeros(0, 1, 1, 1) for number in range(header.MAX_TENSORS)}
    assert len(storage.from_bytes(storage.to_bytes(DOCUMENT, stored)).tensors) == header.MAX_TENSORS


# ---- damage --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_thousand_flipped_bits_are_all_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, DOCUMENT, tensors() | {"large": torch.randn(40, 40)})
    whole = path.read_bytes()
    generator = random.Random(0)
    for place in generator.sample(range(8 * len(whole)), 1000):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        refusal(lambda: storage.load(path), path.name)
        with pytest.raises(ModelFileError):
            storage.read_document(path)
    path.write_bytes(whole)
    storage.load(path)


def test_every_bit_of_a_small_file_counts() -> None:
    whole = storage.to_bytes({"k": 1}, {"a": torch.ones(2)})
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(ModelFileError):
            storage.from_bytes(bytes(damaged))


def test_every_truncation_and_every_addition_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = storage.to_bytes(DOCUMENT, tensors())
    for length in range(len(whole)):
        with pytest.raises(ModelFileError):
            storage.from_bytes(whole[:length])
    for damaged in (whole[:-1], whole[:100], whole + b"\0", whole + whole, b"\0" + whole, whole[1:]):
        path.write_bytes(damaged)
        refusal(lambda: storage.load(path), path.name)
