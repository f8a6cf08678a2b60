"""Examples run from top to bottom, and what they build on is right."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).resolve().parent.parent / "examples"
#: What makes each of them quick.
SHORTENED = {"gan": ("--steps", "20", "--seeds", "1")}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_runs(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "error", str(path), *SHORTENED.get(path.stem, ())]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.fixture(scope="module")
def gan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gan", FOLDER / "gan.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gan"] = module
    spec.loader.exec_module(module)
    return module


def test_points_of_the_true_law_are_good_and_a_lost_group_is_counted(gan: ModuleType) -> None:
    random = torch.Generator().manual_seed(0)
    for groups, many in ((gan.ring(), 8), (gan.grid(), 25)):
        points = groups.draw(20_000, random)
        met, good, divergence = groups.quality(points)
        assert met == many and good == pytest.approx(0.9889, abs=0.003) and divergence < 0.003
        nearest = torch.cdist(points, groups.centres).argmin(1)
        met, _, divergence = groups.quality(points[nearest > 0])
        assert met == many - 1 and divergence == pytest.approx(-torch.tensor(1 - 1 / many).log().item(), abs=0.003)


@pytest.mark.slow
def test_the_game_teaches_the_generator(gan: ModuleType) -> None:
    """One wide group, away from zero: in 400 steps what is made goes there."""
    groups = gan.Groups(torch.tensor([[1.0, -1.0]]), 0.3)
    state = torch.get_rng_state()
    before, after = (gan.trained_points(groups, steps, seed=0) for steps in (0, 400))
    torch.set_rng_state(state)
    start, end = ((points - groups.centres).norm(dim=1).mean() for points in (before, after))
    assert float(end) < 0.8 * float(start)
