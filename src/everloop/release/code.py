"""A user's own forecaster travels with the release: its module, or its whole package, below ``code/``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

__all__ = ["copy_code"]


def copy_code(cls: type, root: Path, target: Path) -> bool:
    """Copy the code of a class that lies in the project's folder; returns whether there was any.

    A module of its own is copied alone; of a package, all Python files. What the code imports from elsewhere in
    the project is not followed: put it into the same package.
    """
    top = sys.modules.get(cls.__module__.partition(".")[0])
    name = getattr(top, "__file__", None)
    if name is None or not Path(name).resolve().is_relative_to(root.resolve()):
        return False
    path = Path(name).resolve()
    if "site-packages" in path.parts or path.parent == Path(__file__).resolve().parents[1]:
        return False  # an environment within the project's folder is no code of the project
    if path.name != "__init__.py":
        target.mkdir()
        shutil.copyfile(path, target / path.name)
        return True
    package = path.parent
    for each in sorted(package.rglob("*.py")):
        copy = target / package.name / each.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each, copy)
    return True
