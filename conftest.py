"""What all tests share, those in docstrings too."""

from __future__ import annotations

import contextlib
import signal

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("isthmus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isthmus")

# A job in the background is started with Ctrl-C switched off, for itself and all that it starts; tests press it.
with contextlib.suppress(ValueError):  # not in the main thread
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples in the docstrings of tasks and of what judges them train whole models."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and {"tasks", "evaluation"} & set(item.path.parts):
            item.add_marker(pytest.mark.slow)
