"""What a release expects of the world: learnt once from what it was trained on, then kept, small.

The raw reference is not needed again: rows may be deleted or corrected, and the expectation stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.digest import digest_json
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.monitor.drift.events import event_columns
from everloop.monitor.drift.residuals import ErrorSums, backtest_errors
from everloop.monitor.drift.streams import (
    Plan,
    StreamKey,
    error_streams,
    kinds_of,
    plan_streams,
    side_by_side,
    streams_of,
)
from everloop.monitor.drift.summaries import Summary
from everloop.monitor.drift.tables import Watched
from everloop.stats.drift.reference import Reference, learn
from everloop.store.deployments import ReleaseRow
from everloop.store.drift import get_reference, keep_reference
from everloop.store.engine import Store

__all__ = ["Expectation", "Material", "expectation_of", "reference_end"]

_FORMAT = 4
_Kept = tuple[int, int, bool, Plan, tuple[StreamKey, ...], bytes]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_ERROR_PERIODS = {1: 28, 7: 26}
"""So many periods of errors are learnt from; where the backtest has fewer, the first live ones make them up."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a release expects.

    Attributes:
        end: the day after the last of the reference, days since 1970.
        live_until: the last live period whose errors were learnt from, days since 1970; before ``end`` for none.
        is_complete: whether nothing more is to be learnt.
        plan: the streams of the table.
        errors: the streams of the release's errors.
        streams: what was learnt of both, the table's first.
    """

    end: int
    live_until: int
    is_complete: bool
    plan: Plan
    errors: tuple[StreamKey, ...]
    streams: Reference

    @property
    def keys(self) -> tuple[StreamKey, ...]:
        """All streams in their order."""
        return (*self.plan.keys, *self.errors)

    def pack(self) -> bytes:
        """The bytes to keep."""
        content = [self.end, self.live_until, self.is_complete, self.plan, self.errors, self.streams.pack()]
        return msgspec.msgpack.encode(content)

    @classmethod
    def unpack(cls, content: bytes) -> Expectation:
        """Back from :meth:`pack`.

        Raises:
            IntegrityError: the bytes are no expectation.
        """
        try:
            end, live, is_complete, plan, errors, streams = msgspec.msgpack.decode(content, type=_Kept)
            return cls(end, live, is_complete, plan, errors, Reference.unpack(streams))
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise IntegrityError("drift_reference", f"what a release expects cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to learn from.

    Attributes:
        watched: what is watched in the table.
        summary: the table's summary, from its beginning on.
        live: the release's errors since it was made.
    """

    watched: Watched
    summary: Summary
    live: ErrorSums


def reference_end(release: ReleaseRow) -> int:
    """The day after the last that a release saw, days since 1970."""
    return (release.cutoff.astimezone(UTC) - _EPOCH).days + 1


def expectation_of(
    project: Project, store: Store, release: ReleaseRow, material: Material, *, now: datetime
) -> Expectation | None:
    """What a release expects, as it was kept, or learnt now from the table up to the release's cutoff.

    ``None`` where the table holds nothing up to it.

    Args:
        project: the project.
        store: where it is kept.
        release: the release.
        material: what there is to learn from.
        now: when.
    """
    digest = digest_json([_FORMAT, material.watched.source, project.settings.data.known_ahead])
    with store.read() as tx:
        content = get_reference(tx, release.digest, digest)
    kept = _opened(content) if content is not None else None
    if kept is not None and (kept.is_complete or not (material.live.periods > kept.live_until).any()):
        return kept
    made = _learn(project, release, material)
    if made is not None:
        with store.write() as tx:
            keep_reference(tx, release.digest, digest, made.pack(), at=now)
    return made


@lru_cache(maxsize=4)
def _opened(content: bytes) -> Expectation:
    """An expectation, opened once a process: that of hundreds of columns takes a second."""
    return Expectation.unpack(content)


def _learn(project: Project, release: ReleaseRow, material: Material) -> Expectation | None:
    data, days = project.settings.data, material.watched.days
    end = reference_end(release)
    reference = material.summary.until(end - days)
    plan = plan_streams(reference, columns=material.watched.columns, target=data.target, known_ahead=data.known_ahead)
    backtest = backtest_errors(project.releases / release.digest, release, days=days)
    keys, errors = error_streams(backtest)
    periods, errors, live_until, is_complete = _made_up(backtest.periods, errors, material.live, days)
    periods, values = side_by_side((reference.periods, streams_of(reference, plan)), (periods, errors))
    if not len(periods):
        return None
    regressors = event_columns(material.summary, plan.events, periods) if days == 1 else None
    streams = learn(periods, values, kinds_of((*plan.keys, *keys)), period_days=days, regressors=regressors)
    return Expectation(end, max(live_until, end - 1), is_complete, plan, keys, streams)


def _made_up(
    periods: NDArray[np.int64], errors: NDArray[np.float64], live: ErrorSums, days: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], int, bool]:
    """The errors of the backtest, and where they are few those of the first live periods.

    The live ones are set before the backtest's, whole weeks away from where they were: the order in which errors of
    one release are learnt from says nothing, their weekday does.

    Returns:
        The periods, the errors, the last live period among them (-1 for none), and whether they are enough.
    """
    lacking = _ERROR_PERIODS[days] - len(periods)
    values = error_streams(live)[1]
    usable = np.flatnonzero(np.isfinite(values).any(axis=1))[: max(lacking, 0)]
    if not len(usable):
        return periods, errors, -1, lacking <= 0
    own = live.periods[usable]
    first = int(periods[0]) if len(periods) else int(own[0])
    # the last of them comes before the first of the backtest
    weeks = max(-(-(int(own[-1]) - first + days) // 7), 0)
    return (
        np.concatenate([own - 7 * weeks, periods]),
        np.vstack([values[usable], errors]),
        int(own[-1]),
        len(usable) >= lacking,
    )
