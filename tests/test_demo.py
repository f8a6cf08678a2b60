"""The demo: what it says is true, it leaves what it says, and it goes on without what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import isthmus
from isthmus.errors import MissingExtraError, SettingError
from isthmus.interfaces import demo, demo_digits, demo_drawing, demo_pictures, demo_table
from isthmus.interfaces.demo_shared import FILES, FOLDERS, Places, make_places, unless_missing

ROOT = Path(__file__).resolve().parent.parent
CODE = "from isthmus.interfaces.cli import main; main()"


@pytest.fixture(scope="module")
def digits() -> demo_digits.Digits:
    return demo_digits.real_digits()


# ---- what is planted and measured


def test_the_table_is_spoiled_as_it_is_said() -> None:
    before = demo_table.real_table()[: demo_table.N_TABLE]
    after, planted = demo_table.plant(before)
    changed = [row for row in range(before.height) if before.row(row) != after.row(row)]
    assert changed == sorted(one.row for one in planted) and len(changed) == 5
    found = demo_table.changes(before, after)
    inside = [before[name].min() <= value <= before[name].max() for name, value in found]  # type: ignore[operator]
    assert (len(found), sum(inside)) == (6, 5)


def test_the_digits_are_spoiled_as_it_is_said(digits: demo_digits.Digits) -> None:
    known, planted = demo_digits.plant(digits)
    changed = np.flatnonzero((known != digits.known).any((1, 2)))
    assert changed.tolist() == sorted(one.row for one in planted) and len(changed) == 7
    for one in planted:
        assert one.what.startswith(f"this {digits.figures[one.row]} ")
    by_what = {one.what[7:]: one.row for one in planted}
    row = by_what["has black and white exchanged"]
    assert (known[row] == 255 - digits.known[row]).all()
    row = by_what["has its left and its right half exchanged"]
    assert (known[row][:, :4] == digits.known[row][:, 4:]).all()
    assert (known[row][:, 4:] == digits.known[row][:, :4]).all()


def test_new_digits_are_kept_out_of_training(digits: demo_digits.Digits) -> None:
    from sklearn.datasets import load_digits

    assert len(digits.known) + len(digits.new) == len(load_digits().images)
    known = {picture.tobytes() for picture in digits.known}
    assert not any(picture.tobytes() in known for picture in digits.new)


def test_the_noise_is_as_strong_as_it_is_said() -> None:
    grey = np.full((500, 8, 8), 128, dtype=np.uint8)
    noisy = demo_digits.with_noise(grey, np.random.default_rng(0))
    inside = noisy[(noisy > 0) & (noisy < 255)]
    lost = 2 * 0.0478  # beyond 127 / (255 * 0.3) = 1.66 standard deviations on either side
    assert np.isclose(len(inside), (1 - lost) * noisy.size, rtol=0.01)
    assert np.isclose(demo_digits.decibels(noisy, grey), -20 * np.log10(0.3 * 0.94), atol=0.4)  # cut off at the ends


def test_clear_means_what_is_said(digits: demo_digits.Digits) -> None:
    """Judged one by one with plain distances."""
    some = digits.new[:40]
    flat = demo_digits.flattened(digits.known)
    expected = []
    for picture in demo_digits.flattened(some):
        near = np.argsort(np.square(flat - picture).sum(1), kind="stable")[:10]
        expected.append(np.bincount(digits.figures[near]).max() >= 9)
    assert demo_drawing.clear(digits, some) == np.mean(expected)
    random = np.random.default_rng(0).integers(0, 256, (200, 8, 8)).astype(np.uint8)
    assert demo_drawing.clear(digits, random) < 0.5 < demo_drawing.clear(digits, digits.new)


def test_the_normal_law_is_that_of_the_pixels(digits: demo_digits.Digits) -> None:
    drawn = demo_drawing.normal_law(digits.known, 0)
    inner = (slice(None), slice(2, 6), slice(3, 5))  # where little is cut off at black and white
    assert np.allclose(drawn[inner].mean(0), digits.known[inner].mean(0), atol=16)
    assert demo_drawing.nearest(digits.known, drawn) > demo_drawing.nearest(digits.known, digits.new)


# ---- pictures


def test_a_strip_shows_where_a_picture_is_white(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((1, 4, 4), dtype=np.uint8)
    picture[0, 0, 0] = picture[0, 1, 1] = picture[0, 2, 2] = picture[0, 3, 2] = 255
    monkeypatch.setattr(demo_pictures, "_knows_blocks", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert demo_pictures.strip(picture, ["odd"]) == ["  ▀▄", "    █", "  odd"]
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    black, white = 232, 255
    upper = re.findall(r"\x1b\[38;5;(\d+);48;5;(\d+)m▀", demo_pictures.strip(picture)[0])
    assert upper == [(str(white), str(black)), (str(black), str(white))] + 2 * [(str(black), str(black))]
    monkeypatch.setattr(demo_pictures, "_knows_blocks", lambda: False)
    assert demo_pictures.strip(picture) == ["  oo", "    @"]


def test_the_sheet_shows_pixels_frames_and_the_map(digits: demo_digits.Digits) -> None:
    pictures = digits.new[:20]
    codes = np.stack([np.linspace(0, 1, 20), np.linspace(0, 1, 20)], 1)
    parts = [demo_pictures.Row("Row", pictures, (1,)), demo_pictures.Map("Map", pictures, codes, np.full(20, 3))]
    whole = np.asarray(demo_pictures.sheet(parts))
    zoom, edge, line, gap = (getattr(demo_pictures, name) for name in ("ZOOM", "EDGE", "LINE", "GAP"))
    top, step = edge + line, 8 * zoom + gap
    for place, (x, y) in {0: (0, 0), 2: (2, 0), 19: (3, 1)}.items():
        field = whole[top + y * step :, edge + x * step :][: 8 * zoom, : 8 * zoom]
        assert (field[::zoom, ::zoom] == pictures[place][..., None]).all()
    assert tuple(whole[top, edge + step]) == demo_pictures.FRAME
    below = whole[top + 2 * step + line :].reshape(-1, 3)
    assert (below == demo_pictures.COLOURS[3]).all(1).any() and not (below == demo_pictures.COLOURS[4]).all(1).any()


# ---- the folder, and what is missing


def test_a_folder_may_be_used_again_and_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        places = make_places(str(tmp_path / "d"), 0)
        for name in FILES:
            places.of(name).write_text("of an earlier run")
        for name in FOLDERS:
            places.of(name).mkdir(exist_ok=True)
    places.of("noisy").rmdir()
    places.of("noisy").write_text("a file")
    with pytest.raises(SettingError, match="noisy' is a file, and the demo puts a folder there; move it away"):
        make_places(str(tmp_path / "d"), 0)


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in ("PIL", "PIL.Image", "matplotlib", "jinja2"):
        monkeypatch.setitem(sys.modules, module, None)
    yield


@pytest.mark.usefixtures("without_extras")
def test_without_extras_the_demo_says_what_is_left_out(
    digits: demo_digits.Digits, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    places = Places(tmp_path, 0)
    row = demo_pictures.Row("Row", digits.new[:1])
    steps = {
        "digits": lambda: demo_digits.write_folder(digits.new[:2], places.of("digits")),
        "demo.png": lambda: demo_drawing.write_sheet([row], places),
    }
    for name, step in steps.items():
        with pytest.raises(MissingExtraError):
            step()
        assert not unless_missing(places, [name], step)
        said = " ".join(capfdbinary.readouterr().out.decode().split())
        assert said.startswith(f"Left out, {name}: ") and "pip install 'isthmus[image]'" in said
    assert list(tmp_path.iterdir()) == []
    assert places.there() == [name for name in FILES if name != "demo.png"] + ["noisy/", "cleaned/"]


def test_only_the_tables_where_they_are_asked_for(tmp_path: Path) -> None:
    demo.run(str(tmp_path / "d"), 0, tables=True)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["new.csv", "table.csv"]


# ---- all of it


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run into a folder in which an earlier one left its files."""
    import resource

    folder = tmp_path_factory.mktemp("demo")
    old = folder / "d" / "noisy" / "00000.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier run")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", CODE, "demo", "--into", "d"],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(isthmus.__file__).parents[1]), "COLUMNS": "80", "NO_COLOR": "1"},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 90  # of one core, whatever else runs here
    return folder / "d", done.stdout.decode()


def numbers(text: str, pattern: str) -> list[float]:
    found = re.search(pattern, " ".join(text.split()))
    assert found, pattern
    return [float(group.replace(",", "")) for group in found.groups()]


@pytest.mark.slow
def test_the_demo_finds_cleans_draws_and_maps(whole: tuple[Path, str]) -> None:
    _, said = whole
    assert max(map(len, said.splitlines())) <= 80
    assert numbers(said, r"Of the 5 planted rows .*?among the (\d+) oddest of 500")[0] <= 30
    ours = numbers(said, r"Of the 7 planted ones .*?among the (\d+) oddest of 1,400\. By")[0]
    theirs = numbers(said, r"By what 8 principal .*? among the (\d+) oddest of 1,400")[0]
    assert ours < theirs
    noisy, median, components, cleaned = numbers(
        said, r"noisy ([\d.]+) dB; .*?filter ([\d.]+) dB; .*?, ([\d.]+) dB; cleaned by the autoencoder ([\d.]+) dB"
    )
    assert cleaned > components + 1 and cleaned > max(noisy, median) + 3
    drawn, real, normal = numbers(said, r"one figure: (\d+) % of .*? are, (\d+) % of .*?, and (\d+) % of those drawn")
    assert normal + 15 < drawn <= real
    assert numbers(said, r"same figure for (\d+) % of the digits; with two principal components it is (\d+) %")[0] > 75


@pytest.mark.slow
def test_the_demo_leaves_what_it_says(whole: tuple[Path, str]) -> None:
    folder, said = whole
    assert {path.name for path in folder.iterdir()} == {*FILES, *FOLDERS}
    assert "loaded again, its scores are the same to the last bit" in " ".join(said.split())
    for name in FOLDERS:
        assert [path.name for path in sorted((folder / name).iterdir())] == [f"{place:05d}.png" for place in range(100)]
    detector = isthmus.load(folder / "table.safetensors")
    scores = -detector.score_samples(pl.read_csv(folder / "new.csv"))
    assert np.allclose(scores, pl.read_csv(folder / "scores.csv")["score"])
    cleaned = isthmus.load(folder / "denoiser.safetensors").transform(folder / "noisy")
    cleaned.write(folder.parent / "again")
    for name in ("00000.png", "00099.png"):
        first, second = (Image.open(where / name) for where in (folder / "cleaned", folder.parent / "again"))
        assert np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max() <= 1  # one batch or many
    odd = isthmus.load(folder / "digits.safetensors")
    assert 5 <= (odd.predict(folder / "digits") == -1).sum() <= 15
    assert isthmus.load(folder / "drawing.safetensors").sample(2).shape == (2, 8, 8)
    assert isthmus.load(folder / "map.safetensors").transform(folder / "digits").shape == (100, 2)
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_the_readme_shows_what_the_demo_says(whole: tuple[Path, str]) -> None:
    """Line by line, but for the numbers, which differ a little from machine to machine."""

    def masked(text: str) -> str:
        without = re.sub(r"\d[\d,.]*\d|\d", "#", " ".join(text.split()))
        return re.sub(r"(all #|# are among the # oddest, and all #)( are)? among the # oddest of #", "...", without)

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^```text\n(1\. A real table.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert shown is not None
    for part in re.split(r"\n\n|^\.\.\.$", shown[1], flags=re.MULTILINE):
        assert masked(part) in masked(whole[1]), part
    with Image.open(ROOT / "docs" / "pictures" / "demo.png") as ours, Image.open(whole[0] / "demo.png") as made:
        assert ours.size == made.size
