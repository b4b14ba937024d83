"""Objects named by text: ``"package.module:Name"``, the one door for a user's own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from everloop.core.errors import UsageError, nearest

__all__ = ["load_object", "name_object"]


def load_object(name: str, *, root: Path | None = None) -> Any:
    """The object that ``"module:Name"`` names; ``root`` is put on the import path first.

    Raises:
        UsageError: the text has another form, the module cannot be imported, or it has no such name.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise UsageError(
            "object_name",
            f"{name!r} does not name an object",
            hint="write 'module:Name', such as 'my_package.models:MyForecaster'",
        )
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            "object_module",
            f"cannot import {error.name!r} for {name!r}",
            hint=f"is it installed, or a file below {root or Path.cwd()}?",
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise UsageError(
            "object_missing",
            f"module {module_name!r} has no {attribute!r}",
            hint=nearest(attribute, [each for each in vars(module) if not each.startswith("_")]),
        ) from None


def name_object(cls: type) -> str:
    """The text that names a class for :func:`load_object`."""
    return f"{cls.__module__}:{cls.__qualname__}"
