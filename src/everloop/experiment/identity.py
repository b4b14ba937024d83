"""What the result of a computation follows from, beside its data and options: the code that computes it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import everloop
from everloop.core.digest import digest_file, digest_json, digest_tree
from everloop.experiment.lineage import installed_packages

__all__ = ["code_identity"]


def code_identity(root: Path) -> list[Any]:
    """JSON values that change with this package's code, the installed packages, or a project's own code at ``root``."""
    return [_code(), list(installed_packages()), _own_code(root)]


@cache
def _code() -> str:
    """The digest of this package's files: a version that is being worked on has many contents."""
    return digest_json(digest_tree(Path(everloop.__file__).parent))


def _own_code(root: Path) -> dict[str, str]:
    """The digest of every Python file of a project, but for hidden folders and environments."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not (Path(folder) / name / "pyvenv.cfg").exists()
        )
        for name in files:
            path = Path(folder) / name
            if path.suffix == ".py":
                found[path.relative_to(root).as_posix()] = digest_file(path)
    return found
