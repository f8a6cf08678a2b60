"""A file that is written appears whole or not at all, whatever the disk does meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isthmus import storage
from isthmus.atomic import replace_file
from isthmus.errors import IsthmusError, StorageError

DOCUMENT = {"old": 1}


def tensors() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(6.0), "step": torch.tensor(7)}


CALLS = ("listdir", "open", "write", "fsync", "close", "replace")


@contextlib.contextmanager
def faulty(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> Iterator[list[str]]:
    """The `number`-th call to the system fails with this error; gives the list of calls made."""
    made: list[str] = []

    def watched(call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **settings: Any) -> Any:
            made.append(call)
            fails = len(made) - 1 == number
            if fails and call == "close":
                real(*arguments)
            if fails:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **settings)

        return act

    with monkeypatch.context() as patch:
        for call in CALLS:
            patch.setattr(os, call, watched(call, getattr(os, call)))
        yield made


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EFBIG])
def test_a_fault_at_any_call_leaves_a_whole_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    path = tmp_path / "model.safetensors"
    new = storage.to_bytes({"new": 1}, tensors())
    with faulty(monkeypatch, -1, code) as calls:
        storage.save(path, {"new": 1}, tensors())
    assert set(calls) == set(CALLS)
    rename = calls.index("replace")
    assert "fsync" in calls[:rename]  # the content, before it gets its name
    assert "fsync" in calls[rename:]  # the name
    for number, call in enumerate(calls):
        storage.save(path, DOCUMENT, tensors())
        old = path.read_bytes()
        with faulty(monkeypatch, number, code), contextlib.suppress(StorageError) as _:
            storage.save(path, {"new": 1}, tensors())
            assert call == "listdir"  # sweeping is a courtesy: it may fail
        assert path.read_bytes() == (old if call != "listdir" and number <= rename else new)
        assert os.listdir(tmp_path) == [path.name]


def test_a_signal_right_after_the_file_is_made_leaves_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = os.open

    def interrupted(path: str, flags: int, *mode: int) -> int:
        os.close(opened(path, flags, *mode))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "open", interrupted)
        replace_file(tmp_path / "note", [b"one"])
    assert os.listdir(tmp_path) == []


def test_a_fault_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with faulty(monkeypatch, 2, errno.ENOSPC), pytest.raises(StorageError) as raised:
        storage.save(path, DOCUMENT, tensors())
    assert isinstance(raised.value, IsthmusError)
    assert isinstance(raised.value, OSError)
    assert raised.value.errno == errno.ENOSPC
    message = f"{path} could not be saved: No space left on device; check the path, the permissions and the disk."
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["none/model.safetensors", "folder", "a" * 250, "nul\0", "file/model"])
def test_impossible_places_are_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="could not be saved") as raised:
        storage.save(tmp_path / name, {}, {})
    assert str(raised.value).isprintable()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_file_that_may_not_be_read_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, {}, {})
    with faulty_stat(monkeypatch), pytest.raises(StorageError, match="could not be read: Permission denied"):
        storage.load(path)


@contextlib.contextmanager
def faulty_stat(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        yield


def test_short_writes_are_continued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        storage.save(path, DOCUMENT, tensors())
    assert path.read_bytes() == storage.to_bytes(DOCUMENT, tensors())
    monkeypatch.setattr(os, "write", lambda descriptor, data: 0)
    with pytest.raises(StorageError, match="takes no more bytes"):
        storage.save(path, {}, {})
    assert os.listdir(tmp_path) == [path.name]
    storage.load(path)


def test_an_interruption_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    storage.save(path, DOCUMENT, tensors())

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.save(path, {}, {})
    assert storage.load(path).document == DOCUMENT
    assert os.listdir(tmp_path) == [path.name]


def test_a_real_limit_of_the_system_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    script = """
        import resource, sys
        from isthmus.atomic import replace_file
        from isthmus.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            replace_file(sys.argv[1], [b"a" * 600, b"b" * 600])
        except StorageError as error:
            print(error)
    """
    assert "could not be saved: File too large" in run(script, path).stdout
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_kill_at_any_call_leaves_a_whole_file_and_is_swept_up(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    script = """
        import os, sys
        from isthmus.atomic import replace_file
        made = 0
        def deadly(real):
            def act(*arguments):
                global made
                made += 1
                if made == int(sys.argv[2]):
                    os._exit(9)
                return real(*arguments)
            return act
        for call in ("open", "write", "fsync", "close", "replace"):
            setattr(os, call, deadly(getattr(os, call)))
        replace_file(sys.argv[1], [b"new", b"est"])
    """
    left = []
    for number in range(1, 12):
        path.write_bytes(b"old")
        code = run(script, path, str(number)).returncode
        assert path.read_bytes() in (b"old", b"newest")
        left.append(len(os.listdir(tmp_path)) - 1)
        replace_file(path, [b"next"])
        assert os.listdir(tmp_path) == [path.name]
        if code == 0:
            break
    assert code == 0
    assert max(left) == 1


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_only_what_the_dead_left_for_this_file_is_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = [f".model.{dead.pid}.tmp", f".model.{os.getpid()}.tmp", ".model.99999999999999.tmp"]
    kept = [f".model.{os.getppid()}.tmp", f".other.{dead.pid}.tmp", f".model.x.{dead.pid}.tmp", ".model.tmp"]
    for name in (*gone, *kept):
        (tmp_path / name).write_bytes(b"half")
    storage.save(tmp_path / "model", {}, {})
    assert sorted(os.listdir(tmp_path)) == sorted(["model", *kept])


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000, 0o137])
def test_the_mode_follows_the_umask(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "model.safetensors"
    before = os.umask(mask)
    try:
        storage.save(path, {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_name_without_a_directory_means_the_current_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    storage.save("model.safetensors", DOCUMENT, {})
    assert storage.load("model.safetensors").document == DOCUMENT


def test_threads_that_save_the_same_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                storage.save(path, {"number": number}, {"a": torch.full((1000,), number)})
                found = storage.load(path)
                assert bool((found.tensors["a"] == found.document["number"]).all())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert os.listdir(tmp_path) == [path.name]
