"""What all tests share, those in docstrings too."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("isthmus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isthmus")
