"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["appearing_folder", "sync_tree"]


@contextmanager
def appearing_folder(parent: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder to fill, which then takes the name that the block appended to the list.

    Within ``parent`` the folder appears by one rename, after its content is on the disk. When the block fails,
    or the process dies, no folder of that name is left; where one of that name is there already it stays, since
    names are digests of the content.
    """
    parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
    name: list[str] = []
    try:
        yield making, name
        target = parent / name[0]
        if not target.exists():
            sync_tree(making)
            making.chmod(0o755)
            try:
                making.rename(target)
            except OSError:
                if not target.is_dir():  # another process was first with the same content
                    raise
            sync_folder(parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Bring every file below a folder to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's own entries to the disk, where the system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
