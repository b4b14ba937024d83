"""What the tests of the doors share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everloop.core.project import parse_settings
from everloop.core.settings.whole import Settings


@pytest.fixture
def access() -> Callable[..., Settings]:
    """Makes settings with keys of ``[access]``."""
    return lambda **keys: parse_settings({"project": {"name": "shop", "task": "regression"}, "access": keys})
