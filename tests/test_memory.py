"""While a run trains, freed memory stays with the process; afterwards it goes back."""

from __future__ import annotations

import resource

import pytest
import torch

from isthmus.training import memory
from isthmus.training.memory import kept_memory

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(memory._library() is None, reason="this C library is not glibc")


def faults(n_numbers: int = 2_000_000, times: int = 20) -> int:
    """New pages that the kernel had to give while a large tensor was made and freed some times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(n_numbers)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_tensor_of_the_same_size_gets_the_same_pages_again() -> None:
    with kept_memory(CPU):
        faults()
        assert faults() < 2_000_000 * 4 / 4096  # not one tensor's pages in twenty


def test_within_another_it_lasts_until_the_outer_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, setting: int, value: int) -> int:
            said.append((setting, value))
            return 1

        def malloc_trim(self, _: int) -> None:
            said.append((0, 0))

    monkeypatch.setattr(memory, "_library", Library)
    with kept_memory(CPU), pytest.raises(KeyError), kept_memory(CPU):
        raise KeyError
    never = [(memory.MMAP_THRESHOLD, memory.NEVER), (memory.TRIM_THRESHOLD, memory.NEVER)]
    usual = [(memory.MMAP_THRESHOLD, memory.MMAP_USUAL), (memory.TRIM_THRESHOLD, memory.TRIM_USUAL), (0, 0)]
    assert said == never + usual


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_library", lambda: None)
    with kept_memory(CPU):
        pass
    assert memory._inside == 0
