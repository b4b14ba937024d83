"""Where a batch goes, as a person names it: a file, a Delta table, or a table of a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from everloop.core.errors import UsageError
from everloop.serve.batch.rows import BatchRows

__all__ = ["Place"]

_DELTA = "delta:"
_SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch goes.

    Attributes:
        kind: a file holds one batch, a table one for each cutoff.
        location: the file's path, the Delta table's folder or URL, or the database's URL.
        table: the table's name in a database.
        keep: how many of the newest cutoffs a table keeps; 0 means all.
    """

    kind: Literal["file", "delta", "database"]
    location: str
    table: str = ""
    keep: int = 0

    @classmethod
    def parse(cls, out: str, *, table: str = "forecasts", keep: int = 0) -> Place:
        """The place that a text names.

        Raises:
            UsageError: it is of no known form.

        >>> Place.parse("delta:lake/forecasts", keep=30)
        Place(kind='delta', location='lake/forecasts', table='', keep=30)
        """
        if out.startswith(_DELTA) and out != _DELTA:
            return cls("delta", out.removeprefix(_DELTA), keep=keep)
        if "://" in out:
            return cls("database", out, table=table, keep=keep)
        if Path(out).suffix in _SUFFIXES:
            return cls("file", out)
        raise UsageError(
            "format",
            f"cannot write {out!r}",
            hint="end a file's name in .parquet or .csv; or name delta:FOLDER, or a database: sqlite:///forecasts.db",
            path="--out",
        )

    @property
    def text(self) -> str:
        """The place for people to read, without a password."""
        if self.kind != "database":
            return self.location
        from sqlalchemy.engine import make_url  # only where a database is written

        return f"table {self.table} of {make_url(self.location).render_as_string(hide_password=True)}"

    def write(self, rows: BatchRows) -> bool:
        """Write a batch, all of it or nothing; whether anything was written.

        Raises:
            UsageError: the place holds something else, or cannot be written.
            ConflictError: somebody else wrote there at the same time.
            UnavailableError: the place does not answer.
        """
        if self.kind != "file":
            rows.check_names()
        # each of these brings a library of its own
        if self.kind == "delta":
            from everloop.serve.batch.delta import write_delta

            return write_delta(rows, self.location, keep=self.keep)
        if self.kind == "database":
            from everloop.serve.batch.database import write_table

            return write_table(rows, self.location, self.table, keep=self.keep)
        from everloop.serve.batch.files import write_file

        write_file(rows, Path(self.location))
        return True
