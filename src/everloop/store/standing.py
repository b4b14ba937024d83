"""What the newest looks of the monitor came to, as numbers: kept for whoever shows them, such as the server's metrics.

One mark for each kind of look, replaced by the next; history is in the events and the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from everloop.core.errors import IntegrityError
from everloop.store.marks import get_mark, set_mark

__all__ = [
    "ColumnStanding",
    "DriftStanding",
    "LevelStanding",
    "LiveStanding",
    "drift_standing",
    "keep_drift_standing",
    "keep_live_standing",
    "live_standing",
]

S = TypeVar("S", bound=msgspec.Struct)

_DRIFT = "standing:drift"
_LIVE = "standing:live"


class ColumnStanding(msgspec.Struct, frozen=True, array_like=True):
    """One aspect of a watched column.

    Attributes:
        column: its name.
        kind: ``"target"``, ``"input"``, ``"prediction"``, ``"residual"`` or ``"rows"``.
        aspect: such as ``"level"`` or ``"missing"``.
        ratio: the logarithm of the strongest evidence over that of the threshold; from 1 on the threshold is reached.
        since: the first day of the change as ISO date, ``None`` where there is no alarm.
    """

    column: str
    kind: str
    aspect: str
    ratio: float
    since: str | None


class DriftStanding(msgspec.Struct, frozen=True):
    """What a look at drift came to.

    Attributes:
        release: the release's digest.
        verdict: ``"drift"``, ``"no drift"`` or ``"cannot tell"``.
        at: when it was looked.
        columns: what was judged.
    """

    release: str
    verdict: str
    at: datetime
    columns: tuple[ColumnStanding, ...]


class LevelStanding(msgspec.Struct, frozen=True, array_like=True):
    """One level of a release's live errors against its range.

    Attributes:
        kind: such as ``"error"``, ``"bias"`` or ``"coverage"``.
        steps: the steps ahead, such as ``"1-7"``; empty for a model of rows.
        live: the level over the last judged days, ``None`` where no day was judged.
        lower: the lower end of the range, ``None`` where it is open or not known.
        upper: the upper end, likewise.
        verdict: ``"within"``, ``"above"``, ``"below"`` or ``"cannot tell"``.
    """

    kind: str
    steps: str
    live: float | None
    lower: float | None
    upper: float | None
    verdict: str


class LiveStanding(msgspec.Struct, frozen=True):
    """What a look at live errors came to.

    Attributes:
        release: the release's digest.
        at: when it was looked.
        levels: what was judged.
    """

    release: str
    at: datetime
    levels: tuple[LevelStanding, ...]


def keep_drift_standing(
    connection: Connection, release: str, verdict: str, columns: Sequence[ColumnStanding], *, at: datetime
) -> None:
    """Keep what a look at drift came to."""
    _keep(connection, _DRIFT, DriftStanding(release, verdict, at, tuple(columns)), at)


def keep_live_standing(connection: Connection, release: str, levels: Sequence[LevelStanding], *, at: datetime) -> None:
    """Keep what a look at live errors came to."""
    _keep(connection, _LIVE, LiveStanding(release, at, tuple(levels)), at)


def drift_standing(connection: Connection) -> DriftStanding | None:
    """What the newest look at drift came to, ``None`` where nobody has looked.

    Raises:
        IntegrityError: what was kept cannot be read.
    """
    return _read(connection, _DRIFT, DriftStanding)


def live_standing(connection: Connection) -> LiveStanding | None:
    """What the newest look at live errors came to, ``None`` where nobody has looked.

    Raises:
        IntegrityError: what was kept cannot be read.
    """
    return _read(connection, _LIVE, LiveStanding)


def _keep(connection: Connection, name: str, value: msgspec.Struct, at: datetime) -> None:
    set_mark(connection, name, msgspec.to_builtins(value), at=at)


def _read(connection: Connection, name: str, type_: type[S]) -> S | None:
    value = get_mark(connection, name)
    if value is None:
        return None
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise IntegrityError("standing", f"what a look of the monitor came to cannot be read: {error}") from error
