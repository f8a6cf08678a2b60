"""`isthmus` for tests that call it often: a process that has everything imported waits and forks for each call.

Each call is a process of its own with the arguments, folder, environment and streams of whoever calls; only the two
seconds are saved that PyTorch takes to be imported. POSIX only.
"""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

LONGEST = 1 << 20  # bytes of arguments and environment

CALLER = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect(sys.argv[1])
    said = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(line, [len(said).to_bytes(4, "big")], [0, 1, 2])
    line.sendall(said)
    code = line.recv(1)
sys.exit(code[0] if code else 1)
"""


@functools.cache
def shell_function() -> str:
    """A definition of `isthmus` for bash."""
    place = f"{tempfile.mkdtemp()}/isthmus"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = subprocess.Popen(
        [sys.executable, __file__, place], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    atexit.register(server.kill)
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    return f'isthmus() {{ {shlex.quote(sys.executable)} -S -E -c {shlex.quote(CALLER)} {place} "$@"; }}'


def serve(place: str) -> None:
    """Take calls until the end."""
    import sklearn.cluster
    import sklearn.neighbors  # noqa: F401
    import torch

    import isthmus
    from isthmus.interfaces import cli

    torch.set_num_threads(1)
    for name in isthmus.__all__:
        getattr(isthmus, name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(place)
        door.listen(64)
        os.write(1, b"ready\n")
        while True:
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(line, cli.main)
            line.close()


def _answer(line: socket.socket, main: object) -> None:
    """Be that process, and say how it ended."""
    length, streams, *_ = socket.recv_fds(line, 4, 3)
    said = b""
    while len(said) < int.from_bytes(length, "big"):
        piece = line.recv(LONGEST)
        if not piece:  # who called is gone
            os._exit(1)
        said += piece
    arguments, folder, environment = json.loads(said)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)
    sys.stdout, sys.stderr = (io.TextIOWrapper(open(at, "wb", 0, closefd=False), write_through=True) for at in (1, 2))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["isthmus", *arguments]
    code = 1
    try:
        main()  # type: ignore[operator]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        line.sendall(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    sys.path = [path for path in sys.path if path != str(Path(__file__).parent)]
    serve(sys.argv[1])
