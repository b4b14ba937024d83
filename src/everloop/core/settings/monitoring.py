"""How live accuracy and drift are watched."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key

__all__ = ["MonitorSettings"]


class MonitorSettings(Section):
    """How live accuracy is watched."""

    window_days: int = key(28, unit="days", help="How far back live accuracy looks.", ge=1)
    max_decay: float = key(
        0.15,
        unit="share",
        help="Live error above the backtest's by more than this, beyond doubt, is decay.",
        ge=0,
    )
    alpha: float = key(0.05, unit="probability", help="The doubt that is left when decay is said.", gt=0, lt=1)
    min_outcomes: int = key(100, unit="outcomes", help="Fewer joined outcomes than this give no verdict.", ge=1)
    drift: bool = key(True, help="Whether inputs, forecasts and their errors are watched for drift.")
    false_alarms_per_year: float = key(
        0.05,
        unit="alarms/year",
        help="How often drift may be said where there is none, over all that is watched together: 0.05 means that one "
        "year in twenty brings a false alarm.",
        gt=0,
        le=12,
    )
    groups: str = key(
        "", help="A series or static column by whose values drift is also told, such as the store; empty means none."
    )
    max_groups: int = key(
        30, unit="groups", help="The most groups that are watched: the largest; more of them cost power.", ge=1, le=1000
    )
    leave_out: list[str] = key([], help="Columns that are not watched for drift.")
    period: Literal["", "1d", "1w"] = key(
        "",
        help="What one observation of drift covers: a day or a week. Empty means a day, or the step of the data where "
        "that is longer.",
    )
