#!/usr/bin/env python3
"""What one types in a fresh clone: `python3 dev.py demo` and `python3 dev.py test`; `python3 dev.py` lists the rest.

Needs nothing but Python. The first command makes `.venv` beside this file and installs what it needs, under
constraints.txt; later ones see by a stamp that nothing has changed and start at once.
"""

# Annotations are quoted, not postponed, so that Python 3.6 can still read this file and say that it is too old.

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DEMO, DEV, DOCS = ("demo",), ("demo", "dev"), ("demo", "dev", "docs")


class Refusal(Exception):
    """Something that the person at the keyboard has to mend; its message is one sentence."""


# ---- commands: the first line of each docstring is its line in the listing


def demo(arguments: "list[str]", cpu: bool) -> int:
    """Go the whole way on real data: find odd rows and pictures, clean, draw, map, report."""
    environment(DEMO, cpu)
    return run([str(tool("isthmus")), "demo", *arguments])


def test(arguments: "list[str]", cpu: bool) -> int:
    """Run the tests; --quick leaves out the slow ones, everything else goes to pytest."""
    python = environment(DEV, cpu)
    options = ["-m", "not slow"] if "--quick" in arguments else []
    chosen = [argument for argument in arguments if argument != "--quick"]
    if not any(argument in ("-n", "--pdb", "no:xdist") for argument in chosen) and has(python, "xdist"):
        options += ["-n", "2", "--dist", "loadfile"]  # what a file prepares is prepared once
    return run([str(python), "-m", "pytest", *options, *chosen], threads="1")


def check(arguments: "list[str]", cpu: bool) -> int:
    """Check format, lint, types, and the rules of the house (layers, stubs, sizes)."""
    python = str(environment(DEV, cpu))
    steps = {
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "lint": [python, "-m", "ruff", "check", "."],
        "types": [python, "-m", "mypy"],
        "house": [python, "-m", "pytest", "-q", "tests/test_layers.py", "tests/test_house.py"],
    }
    failed = [name for name, command in steps.items() if run(command, threads="1") != 0]
    say(f"check: {', '.join(failed)} failed" if failed else f"check: {', '.join(steps)} passed")
    return 1 if failed else 0


def docs(arguments: "list[str]", cpu: bool) -> int:
    """Run every block of the documentation, then build its pages into build/docs."""
    python = str(environment(DOCS, cpu))
    code = run([python, "-m", "pytest", "-q", "tests/test_docs.py"], threads="1")
    return code or run([python, "-m", "sphinx", "-q", "-W", "--keep-going", *arguments, "docs", "build/docs"])


def bench(arguments: "list[str]", cpu: bool) -> int:
    """Run one benchmark by NAME and print its table; what follows the name goes to it."""
    scripts = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    if not arguments or arguments[0] not in scripts:
        given = f"no benchmark is called {arguments[0]!r}" if arguments else "which benchmark"
        raise Refusal(f"{given}; there are: {', '.join(scripts) or 'none yet'}.")
    python = environment(DEV, cpu)
    return run([str(python), str(scripts[arguments[0]]), *arguments[1:]])


COMMANDS = {"demo": demo, "test": test, "check": check, "docs": docs, "bench": bench}


def listing() -> str:
    """What this script can do, one line a command."""
    lines = [f"  {name:<6} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "python3 dev.py COMMAND [--cpu] [arguments]",
            "",
            *lines,
            "",
            "  --cpu  (or ISTHMUS_TORCH=cpu) installs PyTorch's much smaller build for machines without a GPU",
        ]
    )


# ---- the environment


def environment(extras: "tuple[str, ...]", cpu: bool) -> Path:
    """The Python of `.venv`, in which these extras are installed as the files beside this one ask for them."""
    if not tool("python").exists():
        make_environment()
    if not is_installed(extras):
        install(extras, cpu)
    return tool("python")


def tool(name: str) -> Path:
    """Where a command of `.venv` lies."""
    folder, ending = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    return ROOT / ".venv" / folder / (name + ending)


def make_environment() -> None:
    """Make `.venv` with what this machine has: venv, else virtualenv, else uv."""
    target = ROOT / ".venv"
    output = ""
    for command in makers(target):
        shutil.rmtree(str(target), ignore_errors=True)  # a half-made one would be taken for whole
        try:
            made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except BaseException:
            shutil.rmtree(str(target), ignore_errors=True)
            raise
        if made.returncode == 0 and tool("python").exists():
            return
        output = made.stdout
    shutil.rmtree(str(target), ignore_errors=True)
    if has_venv():
        say(tail(output))
        raise Refusal(f"{sys.executable} could not make {target}; its last words stand above.")
    version = "{}.{}".format(*sys.version_info[:2])
    raise Refusal(
        f"{sys.executable} comes without its venv module; install it (on Debian and Ubuntu: "
        f"sudo apt install python{version}-venv) and try again."
    )


def makers(target: Path) -> "list[list[str]]":
    """Commands that make an environment with pip in it, the preferred one first."""
    found = [[sys.executable, "-m", "venv", str(target)]] if has_venv() else []
    if shutil.which("virtualenv"):
        found.append(["virtualenv", "--python", sys.executable, str(target)])
    if shutil.which("uv"):
        found.append(["uv", "venv", "--seed", "--python", sys.executable, str(target)])
    return found


def has_venv() -> bool:
    """Whether `python -m venv` can work; Debian's Python lacks ensurepip until python3-venv is installed."""
    return all(importlib.util.find_spec(module) is not None for module in ("venv", "ensurepip"))


def is_installed(extras: "tuple[str, ...]") -> bool:
    """Whether the stamp says that these extras were installed from the files as they are now."""
    try:
        names, digest = stamp().read_text().split()
    except (OSError, ValueError):
        return False
    installed = tuple(names.split(","))
    return set(extras) <= set(installed) and digest == fingerprint(installed)


def install(extras: "tuple[str, ...]", cpu: bool) -> None:
    """Install torch first, so that nothing else decides which build of it comes, then Isthmus with its extras."""
    if stamp().exists():
        stamp().unlink()
    started = time.time()
    say("setting up .venv; the first time this downloads PyTorch and takes a while")
    pip(["torch"], ("--extra-index-url", CPU_INDEX) if cpu else ())
    pip(["--editable", ".[{}]".format(",".join(extras))])
    stamp().write_text("{} {}\n".format(",".join(extras), fingerprint(extras)))
    say(f"ready after {time.time() - started:.0f} s")


def pip(what: "list[str]", options: "tuple[str, ...]" = ()) -> None:
    """Install under constraints.txt; a second try, because networks stumble."""
    command = [str(tool("python")), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--constraint", "constraints.txt", *options, *what]
    for attempt in (1, 2):
        done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0:
            return
        if attempt == 1:
            say("pip failed; trying once more")
    say(tail(done.stdout))
    raise Refusal(f"pip could not install {what[-1]}; its last words stand above.")


def stamp() -> Path:
    """The file that says what was installed."""
    return ROOT / ".venv" / "isthmus-installed"


def fingerprint(extras: "tuple[str, ...]") -> str:
    """SHA-256 of all that decides what is installed, and of the place, since `.venv` cannot be moved."""
    configuration = ROOT / ".venv" / "pyvenv.cfg"
    found = re.search(r"^version\w* *= *(\d+\.\d+\.\d+)", configuration.read_text(), flags=re.MULTILINE)
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes() + b"\0")
    digest.update("\0".join([found.group(1) if found else "", str(ROOT), *extras]).encode())
    return digest.hexdigest()


# ---- running


def run(command: "list[str]", threads: str = "") -> int:
    """Run a command inside `.venv`, from the folder of this file, and give its exit code."""
    variables = dict(os.environ, VIRTUAL_ENV=str(ROOT / ".venv"))
    variables["PATH"] = str(tool("python").parent) + os.pathsep + variables.get("PATH", "")
    if threads:
        variables.setdefault("OMP_NUM_THREADS", threads)  # two test processes that each take all cores are slower
    code = subprocess.call(command, cwd=str(ROOT), env=variables)
    return 128 - code if code < 0 else code  # ended by a signal: as shells count it


def has(python: Path, module: str) -> bool:
    """Whether a module is installed in `.venv`."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.call([str(python), "-c", code, module]) == 0


def say(text: str) -> None:
    """A message of this script; standard output belongs to the command."""
    print(text, file=sys.stderr, flush=True)


def tail(output: str) -> str:
    """The last 20 lines."""
    return "\n".join(output.splitlines()[-20:])


def newer_python() -> str:
    """The newest Python on the path that runs and is new enough; empty where there is none."""
    question = f"import sys; sys.exit(sys.version_info < {OLDEST!r})"
    for name in NEWER:
        path = shutil.which(name)
        if path and subprocess.call([path, "-c", question], stderr=subprocess.DEVNULL) == 0:
            return path
    return ""


def start_again_with_newer(version: "tuple[int, ...]", arguments: "list[str]") -> int:
    """Hand over to a newer Python, or say in one line that there is none."""
    path = newer_python()
    if not path:
        wanted, given = (".".join(str(number) for number in numbers[:2]) for numbers in (OLDEST, version))
        raise Refusal(
            f"Isthmus needs Python {wanted} or newer and this is {given}; none of {', '.join(NEWER)} is on the path."
        )
    return subprocess.call([path, str(ROOT / "dev.py"), *arguments])


def main(arguments: "list[str]", version: "tuple[int, ...]" = tuple(sys.version_info[:3])) -> int:
    """Run one command and give its exit code; 2 where it was called wrongly."""
    rest = [argument for argument in arguments if argument != "--cpu"]
    cpu = len(rest) < len(arguments) or os.environ.get("ISTHMUS_TORCH", "").lower() == "cpu"
    try:
        if version < OLDEST:
            return start_again_with_newer(version, arguments)
        if not rest or rest[0] in ("help", "-h", "--help"):
            print(listing())
            return 0
        if rest[0] not in COMMANDS:
            raise Refusal(f"dev.py has no command {rest[0]!r}; it has: {', '.join(COMMANDS)}.")
        return COMMANDS[rest[0]](rest[1:], cpu)
    except Refusal as refusal:
        say(f"error: {refusal}")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
