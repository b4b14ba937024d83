"""The docstrings of large packages tell where everything is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["models", "serve"])
def test_the_map_of_a_package_names_all_that_is_there(name: str) -> None:
    package = importlib.import_module(f"everloop.{name}")
    folder = Path(package.__file__ or "").parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert set(re.findall(r"``(\w+)``", package.__doc__ or "")) == modules | packages
