"""How a run ends: one line on standard error where something is wrong, and an exit code that says of which kind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from isthmus.errors import IsthmusError, ModelFileError, StorageError
from isthmus.interfaces.messages import plain

UNEXPECTED, USAGE, MODEL_FILE, RESOURCE, CHECK, CTRL_C, PIPE, TERMINATED = 1, 2, 3, 4, 5, 130, 141, 143


class Terminated(BaseException):
    """The system asks to end (SIGTERM); the message is what the person should know."""


def guarded(run: Callable[[], int], trace: bool) -> int:
    """Run, and turn whatever ends it early into one line and a code."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except click.ClickException as error:
        return _said(usage_sentence(error), USAGE)
    except Terminated as error:
        return _said(str(error) or "stopped by SIGTERM; nothing was saved.", TERMINATED)
    except KeyboardInterrupt as error:
        return _said(str(error) or "stopped by Ctrl-C; nothing was saved.", CTRL_C)
    except Exception as error:
        return _failed(error, trace)


def _failed(error: Exception, trace: bool) -> int:
    if getattr(error, "errno", None) == errno.EPIPE:  # whoever read has gone: what is in the buffer goes nowhere
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    code = exit_code(error)
    if code != UNEXPECTED:
        return _said(_sentence(error), code)
    if trace:
        traceback.print_exc()
    what = f"{type(error).__name__}: {error}".rstrip(".: ")
    return _said(f"unexpected {what}; this is a defect of Isthmus, please report it with what --traceback shows.", code)


def exit_code(error: Exception) -> int:
    """Which kind of error this is.

    >>> from isthmus.errors import DataError
    >>> exit_code(DataError("...")), exit_code(StorageError("...")), exit_code(KeyError("..."))
    (2, 4, 1)
    """
    if isinstance(error, ModelFileError):
        return MODEL_FILE
    if isinstance(error, (StorageError, MemoryError)) or _out_of_memory(error):
        return RESOURCE
    if isinstance(error, IsthmusError):
        return USAGE
    return RESOURCE if isinstance(error, OSError) else UNEXPECTED


def _out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _sentence(error: Exception) -> str:
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return "there is not enough memory; give fewer rows at a time, or a smaller network or batch size."
    return str(error)


def _said(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.write(f"error: {plain(sentence)}\n")
        sys.stderr.flush()
    return code


def usage_sentence(error: click.ClickException) -> str:
    """One sentence for a wrong command line."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "isthmus"
    text = error.format_message().partition("\n")[0].rstrip(". ")
    if isinstance(error, click.NoSuchOption):
        close = (error.possibilities or [""])[0]
        text = f"there is no option {error.option_name}" + (f"; did you mean {close}?" if close else "")
    elif isinstance(error, click.MissingParameter) and error.param is not None:
        option = isinstance(error.param, click.Option)
        name = f"option {error.param.opts[0]} {error.param.metavar}" if option else f"argument {error.param.metavar}"
        text = f"the {name} is missing"
    elif "unexpected extra argument" in text:
        takes_data = context is not None and any(one.name == "data" for one in context.command.params)
        text = f"{text[:77]}...)" if len(text) > 80 else text
        text += "; put a pattern in quotes, or give a folder" if takes_data else ""
    return f"{text[:1].lower()}{text[1:]}{' See' if text.endswith('?') else '; see'} {path} --help."


@contextlib.contextmanager
def until_terminated() -> Iterator[None]:
    """SIGTERM becomes an exception meanwhile, so that temporary files go and the exit code is right."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
