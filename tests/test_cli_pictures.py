"""The command line with folders of pictures, and with tasks that answer with samples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import isthmus
from isthmus import Autoencoder, Denoiser, Training
from isthmus.data import Images
from isthmus.data import _image_modes as modes
from isthmus.interfaces.cli import cli
from isthmus.interfaces.held import held
from isthmus.interfaces.signatures import Source, attribute, listed
from isthmus.networks import Conv

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore::isthmus.errors.DoctorWarning")

CODE = "from isthmus.interfaces.cli import main; main()"
SMALL = ("--network", "conv(channels=(4,8))", "--max-epochs", "2", "--n-components", "4", "--seed", "0")


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(cli, list(words))


def error_of(result: Result, code: int = 2) -> str:
    """The one line of an error."""
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.output and "defect" not in result.output, result.stderr
    assert result.stdout == "" and lines[0].rstrip().endswith((".", "?"))
    return lines[0]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def draw(folder: Path, n: int, noise: float = 0.0) -> None:
    """Small bright squares on a dark ground, each at a place of its own."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(n)
    for place in range(n):
        picture = np.full((8, 8), 0.1)
        picture[place % 5 : place % 5 + 3, place // 5 % 5 : place // 5 % 5 + 3] = 0.9
        seen = np.clip(picture + noise * random.normal(size=picture.shape), 0, 1)
        Image.fromarray((255 * seen).astype(np.uint8)).save(folder / f"{place:03d}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, noisy ones, a table; a denoiser and a plain autoencoder of each, made once."""
    path = tmp_path_factory.mktemp("pictures")
    draw(path / "clean", 30)
    draw(path / "noisy", 30, 0.1)
    (path / "empty").mkdir()
    table = pl.DataFrame({"a": np.linspace(-1, 1, 40), "b": np.linspace(-2, 2, 40)})
    table.write_csv(path / "table.csv")
    network = Conv(channels=(4, 8))
    made = Autoencoder(4, network=network, training=Training(max_epochs=2), random_state=0, verbose=False)
    Denoiser(made).fit(str(path / "clean")).save(path / "denoise.st")
    made.fit(str(path / "clean")).save(path / "plain.st")
    quick = Autoencoder(1, training=Training(max_epochs=2), random_state=0, verbose=False)
    Denoiser(quick).fit(table).save(path / "rows.st")
    return path


# ---- what is known without torch


def test_a_model_file_tells_its_kind_of_data(folder: Path) -> None:
    pictures, rows = held(str(folder / "denoise.st")), held(str(folder / "rows.st"))
    assert (pictures.kind, pictures.data_type, pictures.unit) == ("Denoiser", "images", "picture")
    assert (rows.data_type, rows.unit, rows.endings) == ("tables", "row", ())
    assert held(str(folder / "plain.st")).endings == Images.endings


def test_endings_are_those_that_can_be_read_and_written() -> None:
    assert Images.endings == tuple(modes.KINDS)


def test_attributes_read_from_the_source_are_those_of_the_classes() -> None:
    for name, source in (listed("data") | listed("tasks")).items():
        cls = getattr(isthmus.data if source.module.startswith("isthmus.data") else isthmus.tasks, name)
        for one in ("unit", "endings", "pairs", "gives_samples", "verbs"):
            if hasattr(cls, one):
                assert attribute(source, one) == getattr(cls, one)
    assert attribute(Source("isthmus.data", "Images"), "none_such") is None


# ---- the way through


def test_denoise_writes_pictures_of_the_same_names_and_says_what_it_did(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "restored"
    result = run("denoise", str(folder / "denoise.st"), str(folder / "noisy"), "-o", str(out))
    assert result.exit_code == 0 and result.stdout == "", result.stderr
    assert "wrote 30 pictures" in result.stderr and "Cleaned 30 pictures" in result.stderr
    expected = isthmus.load(folder / "denoise.st").transform(str(folder / "noisy"))
    assert expected == Images.read(out)


def test_json_beside_o_holds_what_was_done_to_each_picture(folder: Path, tmp_path: Path) -> None:
    words = ("denoise", str(folder / "denoise.st"), str(folder / "noisy"), "--json")
    rows = [json.loads(line) for line in run(*words, "-o", str(tmp_path / "out"), "-q").stdout.splitlines()]
    assert [row["file"] for row in rows] == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "there is no -o" in error_of(run(*words))


def test_a_single_picture_may_go_to_a_file_or_a_folder(folder: Path, tmp_path: Path) -> None:
    words = ("denoise", str(folder / "denoise.st"), str(folder / "noisy" / "003.png"), "-q", "-o")
    assert run(*words, str(tmp_path / "one.tif")).exit_code == run(*words, str(tmp_path / "many")).exit_code == 0
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("one.tif", "many/003.png"))
    assert np.array_equal(first, second)
    assert "which is there already" in error_of(run(*words, str(tmp_path / "one.tif")))
    assert run(*words, str(tmp_path / "one.tif"), "--overwrite").exit_code == 0


def test_overwrite_replaces_files_of_the_same_names_alone(folder: Path, tmp_path: Path) -> None:
    words = ("reconstruct", str(folder / "plain.st"), str(folder / "noisy"), "-o", str(tmp_path / "out"))
    assert run(*words).exit_code == 0
    before = content(tmp_path)
    (tmp_path / "out" / "000.png").write_bytes(b"old")
    (tmp_path / "out" / "note.txt").write_bytes(b"mine")
    assert "which is not empty ('000.png' and more)" in error_of(run(*words))
    assert content(tmp_path)["out/000.png"] == b"old"
    assert run(*words, "--overwrite").exit_code == 0
    assert content(tmp_path) == before | {"out/note.txt": b"mine"}


def test_generate_and_encode(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "plain.st")
    assert run("generate", model, "-n", "4", "--seed", "1", "-o", str(tmp_path / "drawn")).exit_code == 0
    assert Images.read(tmp_path / "drawn") == isthmus.load(model).sample(4, random_state=1)
    rows = [json.loads(line) for line in run("encode", model, str(folder / "noisy"), "--json").stdout.splitlines()]
    assert rows[7]["file"] == "007.png"
    codes = isthmus.load(model).transform(str(folder / "noisy"))
    assert np.allclose([row["autoencoder3"] for row in rows], codes[:, 3], atol=1e-6)


def test_a_pattern_is_read_as_such(folder: Path, tmp_path: Path) -> None:
    words = ("denoise", str(folder / "denoise.st"), str(folder / "noisy" / "00*.png"), "-o")
    assert run(*words, str(tmp_path / "out")).exit_code == 0 and len(content(tmp_path)) == 10
    assert "of which one lies in the other" in error_of(run(*words, str(folder / "noisy"), "--overwrite"))
    nothing = run("denoise", str(folder / "denoise.st"), str(folder / "none*.png"), "-o", str(tmp_path / "more"))
    assert "finds no file" in error_of(nothing)


def test_rows_are_cleaned_into_a_stream_or_a_file(folder: Path, tmp_path: Path) -> None:
    words = ("denoise", str(folder / "rows.st"), str(folder / "table.csv"))
    expected = isthmus.load(folder / "rows.st").transform(str(folder / "table.csv"))
    plain = run(*words)
    assert pl.read_csv(plain.stdout.encode()).equals(expected) and "Cleaned 40 rows" in plain.stderr
    lines = run(*words, "--json").stdout.splitlines()
    assert pl.DataFrame([json.loads(line) for line in lines]).equals(expected)
    both = run(*words, "-o", str(tmp_path / "x.parquet"), "--json")
    assert pl.read_parquet(tmp_path / "x.parquet").equals(expected)
    assert set(json.loads(both.stdout.splitlines()[0])) == {"row", "removed"} and "Cleaned" in both.stderr
    assert "give one of them" in error_of(run(*words, "-o", "-", "--json"))


def test_fit_on_a_folder_speaks_of_pictures(folder: Path, tmp_path: Path) -> None:
    model = str(tmp_path / "m.st")
    said = run("fit", str(folder / "clean"), "-o", model, *SMALL)
    assert said.exit_code == 0 and "clean: 30 pictures" in said.stderr and "nats per picture" in said.stderr
    assert not any("row" in line for line in said.stderr.splitlines() if not line.startswith("note: "))
    text = run("info", model).stdout
    assert "Data:      30 pictures, 1 x 8 x 8 numbers each; images\n  grey: numeric\n" in text
    assert "training(max_epochs=2)" in text
    facts = json.loads(run("info", model, "--json").stdout)
    assert (facts["unit"], facts["n_samples"], facts["shape"], facts["any_size"]) == ("picture", 30, [1, 8, 8], False)


@pytest.mark.slow
def test_pairs_are_trained_on_as_python_does(folder: Path, tmp_path: Path) -> None:
    model, noisy, clean = str(tmp_path / "m.st"), str(folder / "noisy"), str(folder / "clean")
    said = run("fit", noisy, "--target", clean, "--for", "denoise", "-o", model, *SMALL)
    assert said.exit_code == 0 and f"next: isthmus denoise {model} {noisy} -o results" in said.stderr
    network, training = "conv(channels=(4,8))", Training(max_epochs=2)
    ours = Autoencoder(4, network=network, training=training, random_state=0, verbose=False)
    assert isthmus.load(model).transform(noisy) == Denoiser(ours).fit(noisy, clean).transform(noisy)
    assert "--target belongs to the tasks colorize, denoise" in error_of(
        run("fit", noisy, "--target", clean, "-o", str(tmp_path / "n.st"))
    )
    assert "--target" in run("fit", "--for", "denoise", "--help").stdout
    assert "--target" not in run("fit", "--for", "detect", "--help").stdout.partition("Examples:")[0]


@pytest.mark.slow
def test_a_dry_run_shows_what_would_be_trained(folder: Path) -> None:
    words = ("fit", str(folder / "clean"), "--dry-run")
    plain = run(*words).stdout
    assert plain.startswith("Pictures:    30\n") and "for 64 numbers a picture (1 x 8 x 8)" in plain
    assert "Channels:\nchannel" in plain
    cut = json.loads(run(*words, "--data-type", "images(patch=4)", "--json").stdout)
    assert (cut["n_samples"], cut["n_pieces"], cut["piece"], cut["shape"]) == (30, 270, "patch", [1, 4, 4])
    denoise = json.loads(run(*words, "--for", "denoise", "--damage", "gaussian(sigma=0.2)", "--json").stdout)
    assert denoise["variants"] == ["Denoising(damage=Gaussian(sigma=0.2))"]
    pairs = run("fit", str(folder / "noisy"), "--target", str(folder / "clean"), "--for", "denoise", "--dry-run")
    assert pairs.exit_code == 0 and "Variants:    none" in pairs.stdout


def test_settings_of_names_stand_in_the_help() -> None:
    said = " ".join(run("fit", "--help").stdout.split())
    assert "images(mode, size, patch, damaged, max_pixels)" in said


# ---- what is refused: one sentence, exit 2, nothing written


WRONG: dict[str, tuple[str, ...]] = {
    "'{f}/empty' holds no file of a known kind; their names end in .png": ("fit", "{f}/empty", "-o", "{o}"),
    "the folder {f}/empty holds no picture files": ("denoise", "{f}/denoise.st", "{f}/empty", "-o", "{o}"),
    "there is no -o, and the results are pictures": ("denoise", "{f}/denoise.st", "{f}/noisy"),
    "there is no -o": ("generate", "{f}/plain.st"),
    "-o is -, and the results are pictures": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "-"),
    "-o is '{f}/noisy', which is also read": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "{f}/noisy"),
    "'{f}/noisy/out' and what is read": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "{f}/noisy/out"),
    "'{f}/noisy/' and": ("denoise", "{f}/denoise.st", "{f}/noisy/001.png", "-o", "{f}/noisy/", "--overwrite"),
    "'{f}' and what is read": ("reconstruct", "{f}/plain.st", "{f}/noisy", "-o", "{f}", "--overwrite"),
    "which is also read; give the result a name": (
        *("denoise", "{f}/denoise.st", "{f}/noisy/001.png", "-o", "{f}/noisy/001.png", "--overwrite"),
    ),
    "'{f}/table.csv', which is a file": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "{f}/table.csv"),
    "'{o}.png', the name of one picture": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "{o}.png"),
    "'{o}.PNG', the name of one picture": ("generate", "{f}/plain.st", "-n", "2", "-o", "{o}.PNG"),
    "whose ending is of no file": ("denoise", "{f}/denoise.st", "{f}/noisy/001.png", "-o", "{o}.gif"),
    "'{o}.csv', the name of a table": ("denoise", "{f}/denoise.st", "{f}/noisy", "-o", "{o}.csv"),
    "has the name of a table": ("denoise", "{f}/denoise.st", "{f}/table.csv", "-o", "{o}"),
    "'{f}/table.csv' has the name of a table": ("encode", "{f}/plain.st", "{f}/table.csv"),
    "DATA is -, ": ("encode", "{f}/plain.st", "-"),
    "is a folder, and '{f}/rows.st' was fitted on the rows": ("denoise", "{f}/rows.st", "{f}/noisy"),
    "has an ending that is no table's": ("denoise", "{f}/rows.st", "{f}/noisy/001.png"),
    "a table's name ends in .csv": ("denoise", "{f}/rows.st", "{f}/table.csv", "-o", "{o}"),
    "--json writes rows": ("generate", "{f}/plain.st", "--json"),
    "'{f}/plain.st' holds an Autoencoder, and denoise needs a Denoiser": (
        *("denoise", "{f}/plain.st", "{f}/noisy", "-o", "{o}"),
    ),
    "did you mean '{f}/noisy'?": ("denoise", "{f}/denoise.st", "{f}/nosy", "-o", "{o}"),
    "put a pattern in quotes": ("encode", "{f}/plain.st", "{f}/noisy/001.png", "{f}/noisy/002.png"),
    "--target is '{f}/noisy', which is DATA too": (
        *("fit", "{f}/noisy", "--target", "{f}/noisy", "--for", "denoise", "-o", "{o}"),
    ),
    "holds images and '{f}/table.csv' holds tables": (
        *("fit", "{f}/noisy", "--target", "{f}/table.csv", "--for", "denoise", "-o", "{o}"),
    ),
    "'{f}/cleen' does not exist": ("fit", "{f}/noisy", "--target", "{f}/cleen", "--for", "denoise", "-o", "{o}"),
    "damage is 'swap', ": (
        *("fit", "{f}/noisy", "--target", "{f}/clean", "--for", "denoise", "--damage", "swap", "-o", "{o}"),
    ),
    "images has no setting 'pach'; did you mean 'patch'?": (
        *("fit", "{f}/noisy", "--data-type", "images(pach=4)", "-o", "{o}"),
    ),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_command_line_loses_nothing(sentence: str, folder: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {"f": folder, "o": tmp_path / "out"}
    before = content(folder)
    said = error_of(run(*(word.format(**names) for word in WRONG[sentence])))
    assert sentence.format(**names) in said, said
    assert content(folder) == before and list(tmp_path.iterdir()) == [] and (folder / "empty").is_dir()


@pytest.mark.parametrize("place", ["file", "closed"])
def test_a_folder_that_cannot_be_written_is_known_before_the_work(place: str, folder: Path, tmp_path: Path) -> None:
    if place == "closed" and os.geteuid() == 0:
        pytest.skip("nothing is closed to root")
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o500)
    words = ("denoise", str(folder / "denoise.st"), str(folder / "noisy"), "-o", str(tmp_path / place / "out"))
    error_of(run(*words), 4)


def test_damaged_pictures_are_named_and_left_out_if_wanted(folder: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    draw(mixed, 12)
    (mixed / "cut.png").write_bytes((mixed / "003.png").read_bytes()[:60])
    (mixed / "a.png").write_text("no picture")
    words = ("fit", str(mixed), "-o", str(tmp_path / "m"), *SMALL)
    assert f"{mixed / 'a.png'} holds text, not a picture" in error_of(run(*words))
    (mixed / "a.png").unlink()
    assert f"{mixed / 'cut.png'} is damaged" in error_of(run(*words))
    refused = run("denoise", str(folder / "denoise.st"), str(mixed), "-o", str(tmp_path / "out"))
    assert f"{mixed / 'cut.png'} is damaged" in error_of(refused)
    assert not (tmp_path / "m").exists() and not (tmp_path / "out").exists()
    done = run(*words, "--data-type", 'images(damaged="skip")', "--json")
    assert done.exit_code == 0 and f"left out: {mixed / 'cut.png'} is damaged" in done.stderr
    assert json.loads(done.stdout)["n_samples"] == 12
    again = run("reconstruct", str(tmp_path / "m"), str(mixed), "-o", str(tmp_path / "out"))
    assert again.exit_code == 0 and len(content(tmp_path / "out")) == 12


# ---- stopping


def test_a_stop_between_two_pictures_is_said_and_leaves_whole_ones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus import atomic

    before, written = os.replace, []

    def replace(source: str, target: str) -> None:
        written.append(target)
        if len(written) == 4:
            raise KeyboardInterrupt
        before(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    out = tmp_path / "out"
    result = run("denoise", str(folder / "denoise.st"), str(folder / "noisy"), "-o", str(out))
    assert f"stopped by Ctrl-C; the files that are in {str(out)!r} are whole" in error_of(result, 130)
    assert sorted(content(out)) == ["000.png", "001.png", "002.png"]
    assert all(np.asarray(Image.open(path)).shape == (8, 8) for path in out.iterdir())


@pytest.mark.slow
def test_sigterm_in_the_middle_leaves_whole_pictures(folder: Path, tmp_path: Path) -> None:
    for place in range(600):
        os.makedirs(tmp_path / "many", exist_ok=True)
        os.link(folder / "noisy" / f"{place % 30:03d}.png", tmp_path / "many" / f"{place:04d}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-c", CODE, "denoise", str(folder / "denoise.st"), str(tmp_path / "many")]
    ours = {"PYTHONPATH": str(Path(isthmus.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    going = subprocess.Popen([*command, "-o", str(out)], stderr=subprocess.PIPE, text=True, env=os.environ | ours)
    while going.poll() is None and not (out.is_dir() and len(os.listdir(out)) > 5):
        time.sleep(0.005)
    going.send_signal(signal.SIGTERM)
    said = going.communicate(timeout=60)[1]
    if going.returncode == 0:
        pytest.skip("the machine was too fast to be stopped")
    assert going.returncode == 143 and said.startswith("error: stopped by SIGTERM; the files that are in"), said
    names = sorted(os.listdir(out))
    assert 0 < len(names) < 600 and all(name.endswith(".png") for name in names)
    assert all(np.asarray(Image.open(out / name)).shape == (8, 8) for name in names)
