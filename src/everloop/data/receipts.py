"""Receipts: what a table took in last, so that a source that did not change since is not read again.

A receipt is left only where taking the same source in again would do nothing, today and later: all of its rows were
good and had a target. (A row of a day to come may lack its target until that day is over, and a row that was
set aside for its date may be good later.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

import everloop
from everloop.core.digest import digest_file, digest_json
from everloop.core.project import Project
from everloop.data.sources import is_of_files, source_files

__all__ = ["Receipt", "find_receipt", "keep_receipt", "origin_of"]


class Receipt(msgspec.Struct, frozen=True):
    """What was taken in.

    Attributes:
        origin: the digest of the source's files and of how they were read.
        table: the digest of the table's content after it.
        rows: the source's rows.
        newest: the latest time that had a target.
        gaps: the holes inside series that are longer than the contract allows.
    """

    origin: str
    table: str
    rows: int
    newest: datetime | None
    gaps: int


def origin_of(project: Project, source: str) -> str | None:
    """The digest of a source's files and of all that decides how they are read; ``None`` for one without files.

    Raises:
        DataError: there is no such file.
    """
    if not is_of_files(source):
        return None
    files = {path.as_posix(): digest_file(path) for path in source_files(project, source)}
    data: Mapping[str, Any] = project.settings.data.model_dump()
    return digest_json([everloop.__version__, files, data])


def find_receipt(table: Path, origin: str, content: str) -> Receipt | None:
    """The receipt of a table, where it is of this origin and the table has the same content still."""
    try:
        receipt = msgspec.json.decode(_place(table).read_bytes(), type=Receipt)
    except (OSError, msgspec.MsgspecError):
        return None  # none was kept, or by another version of Everloop: the source is read
    return receipt if (receipt.origin, receipt.table) == (origin, content) else None


def keep_receipt(table: Path, receipt: Receipt) -> None:
    """Keep a table's receipt in place of the one before, in one step."""
    place = _place(table)
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    partial.write_bytes(msgspec.json.encode(receipt))
    partial.replace(place)


def _place(table: Path) -> Path:
    return table.with_name(f"{table.name}.taken.json")
