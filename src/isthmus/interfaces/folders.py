"""Folders that results go into, one file for each sample; whether they can is asked before anything takes long."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator

from isthmus.atomic import storage_error
from isthmus.errors import IsthmusError, SettingError
from isthmus.interfaces.exits import Terminated
from isthmus.interfaces.held import TABLES, Held
from isthmus.interfaces.output import STREAM, check_output
from isthmus.words import several


def check_folder(found: Held, path: str | None, data: str | None, *, alone: bool, overwrite: bool) -> None:
    """Whether these results can be written there, beside what is read.

    Parameters
    ----------
    found : what the model is, whose data type has files with one sample each.
    path : what -o says.
    data : what is read; None where nothing is.
    alone : whether there is one sample, which may go into a file.
    overwrite : whether files may be replaced; never those that are read.
    """
    things = several(found.unit)
    if path is None or path == STREAM:
        given = "there is no -o" if path is None else "-o is -"
        raise SettingError(f"{given}, and the results are {things}, which go into files; give -o FOLDER.")
    try:
        if path.lower().endswith(found.endings) and not os.path.isdir(path):
            _check_file(path, data, found.unit, alone, overwrite)
        elif alone and os.path.splitext(path)[1] and not os.path.exists(path):
            raise SettingError(
                f"-o is {path!r}, whose ending is of no file that can be written; give one of "
                f"{', '.join(found.endings)}, or a folder, with / at its end."
            )
        else:
            _check_folder(path, data, things, overwrite)
    except (OSError, ValueError) as error:
        if isinstance(error, IsthmusError):
            raise
        raise storage_error(path, "written", error) from error


def _check_file(path: str, data: str | None, unit: str, alone: bool, overwrite: bool) -> None:
    if not alone:
        raise SettingError(f"-o is {path!r}, the name of one {unit}, and there may be several; give a folder.")
    if os.path.exists(path):
        check_output(path, *([data] if data else []))
        if not overwrite:
            raise SettingError(f"-o is {path!r}, which is there already; give another name, or --overwrite.")
    else:
        check_writable(os.path.dirname(path) or os.curdir)


def _check_folder(path: str, data: str | None, things: str, overwrite: bool) -> None:
    if os.path.exists(path) and not os.path.isdir(path):
        raise SettingError(f"-o is {path!r}, which is a file, and {things} go into a folder; give the path of one.")
    if path.lower().endswith(TABLES) and not os.path.exists(path):
        raise SettingError(f"-o is {path!r}, the name of a table, and the results are {things}; give a folder.")
    if data is not None:
        _check_apart(path, data)
    if os.path.isdir(path) and not overwrite and (there := sorted(os.listdir(path))):
        raise SettingError(
            f"-o is {path!r}, which is not empty ({there[0]!r}{' and more' if len(there) > 1 else ''}); give a new "
            "folder, or --overwrite to replace files of the same names."
        )
    check_writable(path)


def _check_apart(path: str, data: str) -> None:
    """Results beside what is read: they must not replace it, nor be read the next time."""
    target = os.path.realpath(path)
    if os.path.isdir(data):
        source = os.path.realpath(data)
        clash = inside(target, source) or inside(source, target)
    elif os.path.exists(data):
        clash = target == os.path.dirname(os.path.realpath(data))
    else:
        top = data[: glob.escape(data).index("[")]  # up to what is first a pattern
        deep = glob.has_magic(os.path.dirname(data))
        read = {os.path.dirname(os.path.realpath(one)) for one in glob.iglob(data, recursive=True)}
        clash = target in read or (deep and inside(target, os.path.realpath(os.path.dirname(top))))
    if target == os.path.realpath(data):
        raise SettingError(f"-o is {path!r}, which is also read; give the results a folder of their own.")
    if clash:
        raise SettingError(
            f"-o is {path!r} and what is read {data!r}, of which one lies in the other; give the results a folder "
            "beside it."
        )


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it; both are real paths."""
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:  # on several drives
        return False


def check_writable(folder: str) -> None:
    """Whether files can be made there, or in the nearest folder above that exists."""
    while not os.path.exists(folder):
        folder = os.path.dirname(os.path.abspath(folder))
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def filling(path: str) -> Iterator[None]:
    """Say what is there when somebody stops the writing: each file is whole or not there."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        how = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else "SIGTERM"
        raise type(error)(
            f"stopped by {how}; the files that are in {path!r} are whole, the rest is missing."
        ) from error
