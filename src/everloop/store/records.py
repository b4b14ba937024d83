"""What the store keeps, as records: they need no database library, which takes a server's start long to import."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from everloop.core.digest import digest_json

__all__ = [
    "KEY_PREFIX",
    "MILLION",
    "SCOPES",
    "Alert",
    "Key",
    "Outcome",
    "Prediction",
    "Recorded",
    "Role",
    "Scope",
    "Stage",
    "TrafficSplit",
]

Role = Literal["champion", "challenger"]
Scope: TypeAlias = Literal["predict", "outcomes", "read", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
KEY_PREFIX = "evl_"

MILLION = 1_000_000
"""Shares are kept to a millionth."""


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer; a server makes thousands of these a second.

    Attributes:
        id: its identifier, which the caller got too.
        at: when it was answered.
        release: the release's digest.
        state: the id of the serving state it was computed from; empty for the release's own.
        role: who answered: ``"champion"``, ``"challenger"`` for its share of a split, ``"named"`` where the caller
            named the release, ``"fallback"`` or ``"baseline"`` for who stepped in for one that failed, or ``"shadow"``
            for what a challenger would have said.
        kind: the door it came through: ``"forecast"``, ``"infer"``, ``"invocations"``, ``"batch"``, or
            ``"batch_new"`` for series beside a batch that were in no data yet.
        twin: for a shadow, the id of the champion's answer to the same request.
        first_time: the first instant that it speaks of; for a model without a time, when it was answered.
        last_time: the last one.
        request: what was asked; empty where only a share of the inputs is kept.
        response: the numbers, packed.
        unit: what the split was drawn by (a series, store or user), where there was one.
        experiment: the split that chose the release, where there was one.
    """

    id: str
    at: datetime
    release: str
    state: str
    role: str
    kind: str
    twin: str | None
    first_time: datetime
    last_time: datetime
    request: bytes
    response: bytes
    unit: str | None = None
    experiment: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What really happened to a series at an instant.

    A later outcome for the same series and time corrects an earlier one. ``id`` makes a repeat harmless: the
    caller's own, or else a digest of the content.
    """

    id: str
    received_at: datetime
    prediction: str | None
    series: str
    time: datetime
    value: float
    source: str
    seq: int = 0

    @staticmethod
    def content_id(series: str, time: datetime, value: float, prediction: str | None) -> str:
        """The id of an outcome whose sender gave none: the same content is the same outcome."""
        return digest_json([series, time.isoformat(), value, prediction])


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it was stored.

    Attributes:
        id: the id of its prediction.
        kind: the door it came through; it says how ``request`` is to be read.
        request: what was asked.
    """

    id: str
    kind: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Stage:
    """Weights in force from ``at`` on: the share of each release by digest, summing to 1; none for a split's end."""

    weights: dict[str, float]
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """A split with the history of its weights.

    Attributes:
        experiment: its id.
        salt: the key of the hash that places a unit.
        unit: what is drawn: ``"series"``, ``"header"``, or the name of a column.
        stages: its weights from the start to now, one at least.
        ended_at: when it ended, ``None`` while it is in force.
    """

    experiment: str
    salt: str
    unit: str
    stages: tuple[Stage, ...]
    ended_at: datetime | None = None

    @property
    def weights(self) -> dict[str, float]:
        """The present share of each release by digest."""
        return self.stages[-1].weights

    @property
    def label(self) -> str:
        """The name of the present stage, which predictions store."""
        return self.label_of(len(self.stages) - 1)

    def label_of(self, stage: int) -> str:
        """The name of a stage."""
        return f"{self.experiment}.{stage}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the store knows it: without its secret.

    Attributes:
        id: names it, in listings and logs; no secret.
        name: who or what it is for, in a person's words.
        hash: SHA-256 of the secret, hexadecimal.
        scopes: what its holder may do.
        rate: requests a second that its holder may make; ``None`` means ``access.rate``.
        created_at: when it was made.
        revoked_at: since when it is refused, ``None`` while it holds.
    """

    id: str
    name: str
    hash: str
    scopes: tuple[Scope, ...]
    rate: float | None
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is not as it should be.

    Attributes:
        code: what kind of thing, such as ``"decay"`` or ``"ingest"``.
        message: a sentence for a person.
        hint: what to do about it.
        since: when it began.
    """

    code: str
    message: str
    hint: str
    since: datetime
