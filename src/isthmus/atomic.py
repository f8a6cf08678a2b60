"""Files that appear whole or not at all, whatever the disk does meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Iterable

from isthmus.errors import StorageError

_replacing = threading.Lock()  # two threads of one process share the temporary name


def replace_file(path: str | os.PathLike[str], pieces: Iterable[memoryview | bytes]) -> None:
    """Write the pieces one after the other as the file at `path`; until all is on the disk an old file stays as it was.

    The file's mode follows the umask. What processes that were killed while writing this very file left behind goes.

    Raises
    ------
    StorageError : if the disk refuses: full, not allowed, directory missing.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(f"{folder}/note", [b"one, ", b"two"])
    ...     pathlib.Path(folder, "note").read_text()
    'one, two'
    """
    directory, file_name = os.path.split(os.fspath(path))
    try:
        with _replacing:
            _sweep(directory or os.curdir, file_name)
            _replace(directory or os.curdir, file_name, pieces)
    except (OSError, ValueError) as error:  # a path with a NUL character is a ValueError
        raise storage_error(path, "saved", error) from error


def storage_error(path: str | os.PathLike[str], verb: str, error: Exception) -> StorageError:
    """One sentence for what the system says; `errno` is kept."""
    cause = getattr(error, "strerror", None) or error
    if isinstance(error, FileNotFoundError):
        cause = "its directory does not exist"
    raised = StorageError(f"{shown(path)} could not be {verb}: {cause}; check the path, the permissions and the disk.")
    raised.errno = getattr(error, "errno", None)
    return raised


def shown(path: str | os.PathLike[str]) -> str:
    r"""The path as people know it, kept on one line.

    >>> shown("models/tiny"), shown("two\nlines")
    ('models/tiny', "'two\\nlines'")
    """
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)


def _replace(directory: str, file_name: str, pieces: Iterable[memoryview | bytes]) -> None:
    """Temporary name, write, sync, rename, sync the directory; on any error the temporary file goes."""
    temporary = os.path.join(directory, f".{file_name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:  # a signal may end us as soon as the file is there
        descriptor = os.open(temporary, flags, 0o666)  # the system takes the umask off, without a race between threads
        try:
            for piece in pieces:
                _write(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, os.path.join(directory, file_name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


def _write(descriptor: int, piece: memoryview | bytes) -> None:
    """All of it: the system may take less than it was given, without an error."""
    rest = memoryview(piece)
    while rest:
        taken = os.write(descriptor, rest)
        if taken < 1:
            raise OSError(errno.EIO, "the disk takes no more bytes")
        rest = rest[taken:]


def _sync_directory(directory: str) -> None:
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def _sweep(directory: str, file_name: str) -> None:
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory):
            match = re.fullmatch(rf"\.{re.escape(file_name)}\.(\d{{1,20}})\.tmp", entry)
            if match and not _alive(int(match[1])):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, entry))


def _alive(process: int) -> bool:
    if process == os.getpid():  # left by an earlier process with our number: under the lock we have none open
        return False
    if os.name == "nt":  # signal 0 would not be harmless there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
