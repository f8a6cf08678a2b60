"""Memory that one training step gives back is kept for the next: pages that are new cost more than many a product."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch

#: Numbers that glibc's mallopt gives to its settings.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
#: What glibc arrives at by itself for a program that once freed something large.
TRIM_USUAL, MMAP_USUAL = 2**26, 2**25
#: As good as never.
NEVER = 2**30

_lock = threading.Lock()
_inside = 0


@contextlib.contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """Within it, what the CPU's allocator is given back stays with the process; at the end what is free goes.

    By default glibc asks the kernel for every large tensor anew, which then has to clear each of its pages: a third of
    the time of an LSTM's step. Where there is no glibc, or the work is on a GPU, nothing changes.

    >>> with kept_memory(torch.device("cpu")):
    ...     torch.zeros(2).tolist()
    [0.0, 0.0]
    """
    library = _library() if device.type == "cpu" else None
    if library is None:
        yield
        return
    _enter(library, 1)
    try:
        yield
    finally:
        _enter(library, -1)


def _enter(library: Any, step: int) -> None:
    """Count who is inside; the first one in changes the settings, and the last one out puts usual ones."""
    global _inside
    with _lock:
        before, _inside = _inside, _inside + step
        if not before:
            library.mallopt(MMAP_THRESHOLD, NEVER) or library.mallopt(MMAP_THRESHOLD, MMAP_USUAL)
            library.mallopt(TRIM_THRESHOLD, NEVER)
        elif not _inside:
            library.mallopt(MMAP_THRESHOLD, MMAP_USUAL)
            library.mallopt(TRIM_THRESHOLD, TRIM_USUAL)
            library.malloc_trim(0)


@functools.cache
def _library() -> Any:
    """The C library, where it is glibc."""
    try:
        found = ctypes.CDLL(None)
        return found if found.mallopt and found.malloc_trim and found.gnu_get_libc_version else None
    except (AttributeError, OSError, TypeError):
        return None
