"""The ways in which Isthmus says that something is wrong: one sentence each, with what was given and what to do.

Everything a user can cause is an `IsthmusError`; anything else that escapes is a defect of ours.
"""

from __future__ import annotations


class IsthmusError(Exception):
    """Base of all errors that a user can cause and mend."""


class SettingError(IsthmusError, ValueError):
    """An argument has a value that is not allowed, or two arguments contradict each other."""


class DataError(IsthmusError, ValueError):
    """The data cannot be used as they are."""


class ModelFileError(IsthmusError, ValueError):
    """A model file is damaged, unsafe, too new, or needs parts that were not given."""


class StorageError(IsthmusError, OSError):
    """The disk refuses: it is full, the directory is missing, or reading or writing there is not allowed."""


class TrainingError(IsthmusError, RuntimeError):
    """Training cannot go on."""


class MissingExtraError(IsthmusError, ImportError):
    """An optional library is needed; the message names the extra that installs it."""


class IsthmusWarning(UserWarning):
    """Base of all warnings of ours."""


class DoctorWarning(IsthmusWarning):
    """A finding of the doctor: what was seen, why it matters, what to do."""


class TrainingWarning(IsthmusWarning):
    """Training ended earlier or otherwise than planned; what was kept is said."""
