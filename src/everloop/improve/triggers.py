"""What starts a retraining: nobody in charge, the schedule, decay, drift, or a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from croniter import croniter
from croniter.croniter import CroniterError

from everloop.core.errors import SettingsError
from everloop.core.settings.releasing import RetrainSettings

__all__ = ["LastTraining", "Trigger", "due_trigger", "last_due", "next_due"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a retraining starts.

    ``kind`` is ``"no champion"``, ``"schedule"``, ``"decay"``, ``"drift"`` or ``"person"``.
    """

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class LastTraining:
    """When the last training began, and on which data."""

    at: datetime
    dataset_digest: str

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {"at": self.at.isoformat(), "dataset_digest": self.dataset_digest}

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> LastTraining | None:
        """Back from the store."""
        return None if value is None else cls(datetime.fromisoformat(value["at"]), value["dataset_digest"])


def due_trigger(
    settings: RetrainSettings,
    *,
    now: datetime,
    last: LastTraining | None,
    dataset_digest: str,
    has_champion: bool,
    on_trial: bool,
    decay_reason: str | None,
    drift_reason: str | None = None,
) -> Trigger | None:
    """What starts a retraining now, if anything does.

    Nothing does on data that were trained on already: the same data, code and seed give the same model. And nothing
    does while a challenger is on trial, since a newer one would end the trial before it can be decided; what was
    due meanwhile is made up for afterwards.
    """
    if last is not None and last.dataset_digest == dataset_digest:
        return None
    if not has_champion:
        cooled = last is None or now - last.at >= timedelta(hours=settings.cooldown_hours)
        return Trigger("no champion", "no release is in charge yet") if cooled else None
    if last is None or on_trial:
        return None
    planned = last_due(settings.schedule, now)
    if planned is not None and planned > last.at:
        return Trigger("schedule", f"planned for {planned:%Y-%m-%d %H:%M}Z by schedule '{settings.schedule}'")
    if now - last.at < timedelta(hours=settings.cooldown_hours):
        return None
    if decay_reason and "decay" in settings.on:
        return Trigger("decay", decay_reason)
    if drift_reason and "drift" in settings.on:
        return Trigger("drift", drift_reason)
    return None


def last_due(schedule: str, now: datetime) -> datetime | None:
    """The latest planned instant up to now; ``None`` for no schedule.

    Raises:
        SettingsError: the schedule cannot be read.
    """
    if not schedule:
        return None
    # croniter's previous instant is strictly before its start
    return _instant(_cron(schedule, now + timedelta(microseconds=1)).get_prev(float))


def next_due(schedule: str, now: datetime) -> datetime | None:
    """The next planned instant after now; ``None`` for no schedule."""
    return _instant(_cron(schedule, now).get_next(float)) if schedule else None


def _cron(schedule: str, start: datetime) -> croniter:
    try:
        return croniter(schedule, start.astimezone(UTC))
    except (CroniterError, ValueError, KeyError) as error:
        raise SettingsError(
            "schedule",
            f"{schedule!r} is not a schedule: {error}",
            hint="five fields: minute hour day month weekday, such as '0 3 * * 1'",
            path="retrain.schedule",
        ) from error


def _instant(seconds: Any) -> datetime:
    return datetime.fromtimestamp(round(float(seconds)), tz=UTC)
