"""Releases for this folder's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everloop.release.bundle import Release
from releasing import release_once


@pytest.fixture
def release_of() -> Callable[..., Release]:
    """Examines, fits and releases a candidate."""
    return release_once
