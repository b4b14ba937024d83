"""How large the errors are that no truth has been told of yet: an estimate from the widths of the intervals.

In the backtest the absolute error was so much for each unit of an interval's width. Where the model widens its
intervals, because it is less sure, the estimate rises with them. It is an estimate and is marked as one: what the
model does not notice it cannot show, so its calibration is watched as truth comes in, and drift weakens it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everloop.monitor.live_days import LiveDays
from everloop.stats.evidence import Evidence
from everloop.validate.expected import Expected

__all__ = ["EstimateRow", "LiveEstimate", "estimate_ahead"]


@dataclass(frozen=True, slots=True)
class EstimateRow:
    """The estimated WAPE of the forecasts of one group of steps that have no truth yet, and its range."""

    steps: str
    forecasts: int
    wape: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class LiveEstimate:
    """The estimates, and their evidence, which is marked as one of an estimate."""

    rows: tuple[EstimateRow, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"rows": [asdict(row) for row in self.rows], "evidence": self.evidence.to_dict()}


def estimate_ahead(
    expected: Expected, days: LiveDays, name_day: Callable[[int], str], *, is_drifting: bool
) -> LiveEstimate | None:
    """The estimated error of all days that have no truth at all yet.

    Args:
        expected: the release's ranges.
        days: the sums, days ahead among them.
        name_day: what a day is called.
        is_drifting: whether drift is said now.

    Returns:
        ``None`` where no forecast is open, or the release gives no intervals.
    """
    rows, error, volume = [], 0.0, 0.0
    is_open = days.column("known").sum(axis=1) == 0
    by_day = np.zeros((2, int(is_open.sum())))
    for place, bucket in enumerate(expected.buckets):
        width = days.column("width_ahead")[is_open, place]
        forecast = days.column("forecast_ahead")[is_open, place]
        if bucket.per_width is None or bucket.estimate is None or width.sum() <= 0 or forecast.sum() <= 0:
            continue
        by_day += np.array([bucket.per_width * width, forecast])
        error, volume = error + bucket.per_width * float(width.sum()), volume + float(forecast.sum())
        wape = bucket.per_width * float(width.sum()) / float(forecast.sum())
        low, high = (
            None if end is None else wape * math.exp(end) for end in (bucket.estimate.lower, bucket.estimate.upper)
        )
        rows.append(EstimateRow(bucket.name, int(days.column("forecasts")[is_open, place].sum()), wape, low, high))
    if not rows or volume <= 0:
        return None
    lowers, uppers = [row.lower for row in rows], [row.upper for row in rows]
    names = [name_day(each) for each in days.observations[is_open].tolist()]
    usable = by_day[1] > 0
    daily = np.divide(by_day[0], by_day[1], out=np.full(by_day.shape[1], np.nan), where=usable)
    warning = "drift is said now: the intervals were made for a world that has changed, so the errors may be larger"
    evidence = Evidence(
        question="How large are the errors that no truth has been told of yet?",
        verdict="estimate",
        reason=f"estimated WAPE {error / volume:.1%} from {names[0]} to {names[-1]}, from the intervals' widths",
        effect=error / volume,
        unit="share of the forecast sales",
        lower=None if None in lowers else min(low for low in lowers if low is not None),
        upper=None if None in uppers else max(high for high in uppers if high is not None),
        n=len(names),
        observation="one day without truth over all series",
        method="absolute error for each unit of interval width, as in the backtest",
        guarantee=f"in the backtest {2 * expected.confidence - 1:.0%} of windows lay within; whether that still holds "
        "is watched as truth comes in, and not guaranteed",
        would_change="the truth",
        series={"day": names, "effect": [float(each) if np.isfinite(each) else None for each in daily]},
        kind="estimate",
        warnings=(warning,) if is_drifting else (),
        is_estimate=True,
    )
    return LiveEstimate(tuple(rows), evidence)
