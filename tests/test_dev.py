"""dev.py without a network: what it decides, what it says when it cannot go on, and when it installs again."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for Python and pip are shell scripts")


@pytest.fixture
def dev(tmp_path: Path) -> ModuleType:
    """dev.py as a module, in a folder of its own with small files beside it."""
    spec = importlib.util.spec_from_file_location("dev_under_test", ROOT / "dev.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = tmp_path
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    return module


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def environment(dev: ModuleType, pip: str = "exit 0") -> Path:
    """A stand-in for .venv whose Python notes how it was called; `pip` is what happens then. Gives the notes."""
    notes = dev.ROOT / "calls"
    script(dev.tool("python"), f'echo "$@" >> {notes}\n{pip}')
    (dev.ROOT / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    notes.touch()
    return notes


# ---- what it says


def test_the_listing_names_every_command(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["help"], ["--help"]):
        assert dev.main(arguments) == 0
        listed = re.findall(r"^  (\w+) ", capsys.readouterr().out, flags=re.MULTILINE)
        assert listed == ["demo", "test", "check", "docs", "bench"]


def test_an_unknown_command_is_one_sentence(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["tset"]) == 2
    assert capsys.readouterr().err == "error: dev.py has no command 'tset'; it has: demo, test, check, docs, bench.\n"


def test_an_unknown_benchmark_is_one_sentence(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    script(dev.ROOT / "benchmarks" / "speed.py", "")
    assert dev.main(["bench", "sped"]) == 2
    assert capsys.readouterr().err == "error: no benchmark is called 'sped'; there are: speed.\n"
    assert dev.main(["bench"]) == 2
    assert capsys.readouterr().err == "error: which benchmark; there are: speed.\n"


# ---- Python itself


@posix
def test_an_old_python_is_one_sentence(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    script(tmp_path / "bin" / "python3.12", "exit 127")  # stands on the path, and does not run
    assert dev.main(["demo"], version=(3, 9, 2)) == 2
    assert capsys.readouterr().err == (
        "error: Isthmus needs Python 3.11 or newer and this is 3.9; "
        "none of python3.13, python3.12, python3.11 is on the path.\n"
    )


@posix
def test_an_old_python_hands_over_to_a_newer_one(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    script(tmp_path / "bin" / "python3.13", "exit 1")
    script(tmp_path / "bin" / "python3.12", f'[ "$1" = -c ] && exit 0; echo "$@" > {tmp_path}/handed; exit 7')
    assert dev.main(["test", "--cpu", "-x"], version=(3, 6, 15)) == 7
    assert (tmp_path / "handed").read_text() == f"{tmp_path / 'dev.py'} test --cpu -x\n"


def test_an_old_python_can_read_it() -> None:
    """Nothing that Python 3.6 stumbles over before it can say that it is too old."""
    text = (ROOT / "dev.py").read_text()
    compile(text, "dev.py", "exec", dont_inherit=True)
    assert "from __future__" not in text
    assert not re.search(r":=|^\s*match |removeprefix|\bdataclass", text, flags=re.MULTILINE)
    unquoted = re.findall(r"(?:->|\w:) (?:list|tuple|dict|set)\[|(?:->|\w:) \w+ \| ", text)
    assert not unquoted, "these annotations are evaluated, so that they need quotes"


# ---- making the environment


def test_a_python_without_venv_is_one_sentence(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    monkeypatch.setenv("PATH", "")
    assert dev.main(["test"]) == 2
    said = capsys.readouterr().err
    version = "{}.{}".format(*sys.version_info[:2])
    assert said.startswith("error: ") and said.count("\n") == 1
    assert f"sudo apt install python{version}-venv" in said
    assert not (dev.ROOT / ".venv").exists()


@posix
@pytest.mark.parametrize("maker", ["virtualenv", "uv"])
def test_without_venv_another_maker_is_taken(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, maker: str
) -> None:
    monkeypatch.setattr(dev, "has_venv", lambda: False)
    python = dev.tool("python")
    script(
        tmp_path / "bin" / maker,
        f'mkdir -p {python.parent}; echo "{maker} $@" > {tmp_path}/made; cp /bin/sh {python}',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(dev.shutil, "which", lambda name: name if name == maker else None)
    dev.make_environment()
    assert python.exists()
    made = (tmp_path / "made").read_text()
    assert made.endswith(f"--python {sys.executable} {tmp_path / '.venv'}\n")
    assert ("--seed" in made) == (maker == "uv")  # uv leaves pip out unless asked


@posix
def test_a_venv_that_fails_shows_its_last_words_and_leaves_nothing(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = script(tmp_path / "bin" / "python", f"mkdir -p {tmp_path}/.venv/bin; echo no space left; exit 1")
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    assert dev.main(["test"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["no space left", f"error: {broken} could not make {tmp_path}/.venv; its last words stand above."]
    assert not (tmp_path / ".venv").exists()


def test_a_real_environment_is_made(dev: ModuleType) -> None:
    if not dev.has_venv():
        pytest.skip("this Python has no venv module")
    dev.makers = lambda target: [[sys.executable, "-m", "venv", "--without-pip", str(target)]]
    dev.make_environment()
    version = subprocess.run([dev.tool("python"), "-V"], capture_output=True, text=True, check=True).stdout
    assert version == "Python {}.{}.{}\n".format(*sys.version_info[:3])


# ---- installing


@posix
def test_torch_comes_first_and_all_under_constraints(dev: ModuleType) -> None:
    notes = environment(dev)
    dev.environment(dev.DEV, cpu=False)
    torch, rest = notes.read_text().splitlines()
    assert torch.startswith("-m pip install") and torch.endswith("--constraint constraints.txt torch")
    assert rest.endswith("--constraint constraints.txt --editable .[demo,dev]")


@posix
def test_the_second_run_installs_nothing(dev: ModuleType) -> None:
    notes = environment(dev)
    dev.environment(dev.DEV, cpu=False)
    first = notes.read_text()
    dev.environment(dev.DEV, cpu=False)
    dev.environment(dev.DEMO, cpu=False)  # holds what the tests hold, and less
    assert notes.read_text() == first
    dev.environment(dev.DOCS, cpu=False)
    assert notes.read_text().endswith("--editable .[demo,dev,docs]\n")


@posix
@pytest.mark.parametrize("change", ["pyproject.toml", "constraints.txt", ".venv/pyvenv.cfg", "stamp"])
def test_what_changes_is_installed_again(dev: ModuleType, change: str) -> None:
    environment(dev)
    dev.environment(dev.DEMO, cpu=False)
    assert dev.is_installed(dev.DEMO)
    path = dev.stamp() if change == "stamp" else dev.ROOT / change
    path.write_text(path.read_text().replace("3.11.7", "3.12.1") if change.endswith("cfg") else "something else\n")
    assert not dev.is_installed(dev.DEMO)


@posix
def test_a_moved_folder_is_installed_again(dev: ModuleType, tmp_path: Path) -> None:
    environment(dev)
    dev.environment(dev.DEMO, cpu=False)
    moved = tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)
    dev.ROOT = moved
    assert not dev.is_installed(dev.DEMO)


@posix
@pytest.mark.parametrize("way", ["option", "variable", "neither"])
def test_the_cpu_build_is_asked_for(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    notes = environment(dev)
    script(dev.tool("isthmus"), "exit 0")
    monkeypatch.setenv("ISTHMUS_TORCH", "cpu" if way == "variable" else "")
    assert dev.main(["demo", *(["--cpu"] if way == "option" else [])]) == 0
    torch, rest = notes.read_text().splitlines()
    assert ("--extra-index-url https://download.pytorch.org/whl/cpu torch" in torch) == (way != "neither")
    assert "index" not in rest


@posix
def test_pip_gets_a_second_chance(dev: ModuleType) -> None:
    notes = environment(dev, pip=f"[ -e {dev.ROOT}/tried ] || {{ touch {dev.ROOT}/tried; exit 1; }}")
    dev.environment(dev.DEMO, cpu=False)
    assert len(notes.read_text().splitlines()) == 3
    assert dev.is_installed(dev.DEMO)


@posix
def test_pip_that_fails_twice_shows_its_last_lines(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    notes = environment(dev, pip="i=1; while [ $i -le 30 ]; do echo line $i; i=$((i+1)); done; exit 1")
    assert dev.main(["test"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-21:] == [
        *(f"line {number}" for number in range(11, 31)),
        "error: pip could not install torch; its last words stand above.",
    ]
    assert len(notes.read_text().splitlines()) == 2
    assert not dev.stamp().exists()


# ---- running


@posix
def test_tests_run_in_two_processes_unless_told_otherwise(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    notes = environment(
        dev, pip='[ "$1" != -m ] || [ "$2" != pytest ] || echo threads $OMP_NUM_THREADS >> ' + str(dev.ROOT / "threads")
    )
    for arguments, expected in {
        (): "-m pytest -n 2 --dist loadfile",
        ("--quick", "-x"): "-m pytest -m not slow -n 2 --dist loadfile -x",
        ("-n", "0", "tests"): "-m pytest -n 0 tests",
    }.items():
        assert dev.main(["test", *arguments]) == 0
        assert notes.read_text().splitlines()[-1] == expected
    assert (dev.ROOT / "threads").read_text() == "threads 1\n" * 3


@posix
@pytest.mark.parametrize(("end", "code"), [("exit 5", 5), ("kill -TERM $$", 143)])
def test_the_exit_code_comes_through(dev: ModuleType, end: str, code: int) -> None:
    environment(dev)
    script(dev.tool("isthmus"), end)
    assert dev.main(["demo"]) == code


@posix
def test_check_runs_every_step_and_names_what_failed(dev: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    notes = environment(dev, pip='case "$*" in *mypy*|*format*) exit 1;; esac')
    assert dev.main(["check"]) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "check: format, types failed"
    assert len(notes.read_text().splitlines()) == 2 + 4


@posix
def test_commands_find_the_environment_first(dev: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    environment(dev)
    script(dev.tool("isthmus"), 'echo "$VIRTUAL_ENV"; echo "$PATH"; pwd')
    assert dev.main(["demo"]) == 0
    home, path, here = capfd.readouterr().out.splitlines()
    assert (home, path.split(os.pathsep)[0]) == (str(dev.ROOT / ".venv"), str(dev.ROOT / ".venv" / "bin"))
    assert Path(here).samefile(dev.ROOT)
