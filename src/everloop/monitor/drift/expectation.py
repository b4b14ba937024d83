"""What a release expects of the world: learnt once from what it was trained on, then kept, small.

The raw reference is not needed again: rows may be deleted or corrected, and the expectation stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from everloop.core.digest import digest_json
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.monitor.drift.residuals import backtest_errors
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

__all__ = ["Expectation", "expectation_of", "reference_end"]

_FORMAT = 1
_Kept = tuple[int, Plan, tuple[StreamKey, ...], bytes]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a release expects.

    Attributes:
        end: the day after the last of the reference, days since 1970.
        plan: the streams of the table.
        errors: the streams of the release's errors.
        streams: what was learnt of both, the table's first.
    """

    end: int
    plan: Plan
    errors: tuple[StreamKey, ...]
    streams: Reference

    @property
    def keys(self) -> tuple[StreamKey, ...]:
        """All streams in their order."""
        return (*self.plan.keys, *self.errors)

    def pack(self) -> bytes:
        """The bytes to keep."""
        return msgspec.msgpack.encode([self.end, self.plan, self.errors, self.streams.pack()])

    @classmethod
    def unpack(cls, content: bytes) -> Expectation:
        """Back from :meth:`pack`.

        Raises:
            IntegrityError: the bytes are no expectation.
        """
        try:
            end, plan, errors, streams = msgspec.msgpack.decode(content, type=_Kept)
            return cls(end, plan, errors, Reference.unpack(streams))
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise IntegrityError("drift_reference", f"what a release expects cannot be read: {error}") from error


def reference_end(release: ReleaseRow) -> int:
    """The day after the last that a release saw, days since 1970."""
    return (release.cutoff.astimezone(UTC) - _EPOCH).days + 1


def expectation_of(
    project: Project, store: Store, release: ReleaseRow, watched: Watched, summary: Summary, *, now: datetime
) -> Expectation | None:
    """What a release expects, as it was kept, or learnt now from the table up to the release's cutoff.

    ``None`` where the table holds nothing up to it.

    Args:
        project: the project.
        store: where it is kept.
        release: the release.
        watched: what is watched.
        summary: the table's summary, from its beginning on.
        now: when.
    """
    data = project.settings.data
    digest = digest_json([_FORMAT, watched.source, data.known_ahead])
    with store.read() as tx:
        content = get_reference(tx, release.digest, digest)
    if content is not None:
        return Expectation.unpack(content)
    end = reference_end(release)
    reference = summary.until(end - watched.days)
    plan = plan_streams(reference, columns=watched.columns, target=data.target, known_ahead=data.known_ahead)
    backtest = backtest_errors(project.releases / release.digest, release, days=watched.days)
    keys, errors = error_streams(backtest)
    periods, values = side_by_side((reference.periods, streams_of(reference, plan)), (backtest.periods, errors))
    if not len(periods):
        return None
    made = Expectation(end, plan, keys, learn(periods, values, kinds_of((*plan.keys, *keys)), period_days=watched.days))
    with store.write() as tx:
        keep_reference(tx, release.digest, digest, made.pack(), at=now)
    return made
