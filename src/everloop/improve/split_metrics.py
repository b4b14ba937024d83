"""The metrics of a split: what each unit's forecasts came to, by day, against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import SettingsError
from everloop.core.frequency import Frequency
from everloop.core.settings.releasing import ReleaseSettings
from everloop.improve.split_frame import SplitFrame
from everloop.monitor.joining import JoinedForecast
from everloop.stats.paired.losses import Loss
from everloop.stats.split.metrics import UnitMetric
from everloop.store.measurements import Measurement

__all__ = [
    "BEFORE_DAYS",
    "BUILT_IN",
    "MetricSpec",
    "Truths",
    "expected_of",
    "failure_metric",
    "forecast_metric",
    "guardrail_of",
    "measured_metric",
    "primary_of",
    "unit_metric",
]

BEFORE_DAYS = 28
"""How far back a unit's own past is looked at."""

BUILT_IN = ("error", "over", "under", "outside", "failures")
_DIFFERENCES = ("outside", "failures")

Floats = NDArray[np.float64]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric as it was set.

    Attributes:
        name: its name.
        better: which way is better.
        margin: the worsening that is borne.
    """

    name: str
    better: Better
    margin: float

    @property
    def is_measured(self) -> bool:
        """Whether it is measured outside, not computed from forecasts and outcomes."""
        return self.name not in BUILT_IN

    @property
    def scale(self) -> Literal["relative", "absolute"]:
        """Whether effects are shares of the champion's value, or differences of shares."""
        return "absolute" if self.name in _DIFFERENCES else "relative"


def primary_of(settings: ReleaseSettings) -> MetricSpec:
    """The metric that decides."""
    better: Better = "lower" if settings.metric in BUILT_IN else settings.better
    return MetricSpec(settings.metric, better, settings.margin)


def guardrail_of(text: str) -> MetricSpec:
    """A guardrail as it is written: ``NAME``, ``NAME:MARGIN``, ``NAME:lower:MARGIN`` or ``NAME:higher:MARGIN``.

    Raises:
        SettingsError: it cannot be read.

    >>> guardrail_of("returns:lower:0.05")
    MetricSpec(name='returns', better='lower', margin=0.05)
    """
    name, *rest = text.split(":")
    direction = rest.pop(0) if rest and rest[0] in ("lower", "higher") else ""
    try:
        margin = float(rest[0]) if rest else 0.0
    except ValueError:
        margin = -1.0
    is_known = name in BUILT_IN
    if not name or len(rest) > 1 or not 0 <= margin < 1 or (is_known and direction) or (not is_known and not direction):
        raise SettingsError(
            "setting_guardrail",
            f"{text!r} is no guardrail",
            hint=f"write 'NAME:MARGIN' for one of {', '.join(BUILT_IN)}, or 'NAME:lower:MARGIN' for a measurement",
            path="release.guardrails",
        )
    return MetricSpec(name, "higher" if direction == "higher" else "lower", margin)


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """Forecasts beside the truth, as a split needs them.

    Attributes:
        frame: the split's units and days.
        settled: of how many of its days the truth has come.
        label: the name of its present stage.
        champion: the champion's digest.
        joined: forecasts beside the truth, also those of the weeks before the split.
        measured: measurements of units, likewise.
        frequency: of the grid.
        unit_of: the unit of a series, ``None`` where that cannot be told.
        loss: what an error costs.
        reduction: what reduces the variance: ``"before"``, ``"forecast"`` or ``"none"``.
    """

    frame: SplitFrame
    settled: int
    label: str
    champion: str
    joined: Sequence[JoinedForecast]
    measured: Sequence[Measurement]
    frequency: Frequency
    unit_of: Callable[[str], str | None]
    loss: Loss
    reduction: str

    def dates(self, each: JoinedForecast) -> NDArray[np.datetime64]:
        """The day of each instant that a forecast speaks of."""
        return self.frequency.times(each.index).astype("M8[D]")


def unit_metric(spec: MetricSpec, truths: Truths) -> UnitMetric:
    """A metric of the split's units, less what was known of each before.

    Days whose truth has not come yet add nothing to it.
    """
    if spec.name == "failures":
        return failure_metric(spec, truths.frame)
    return measured_metric(spec, truths) if spec.is_measured else forecast_metric(spec, truths)


def measured_metric(spec: MetricSpec, truths: Truths) -> UnitMetric:
    """What was measured of each unit, by day from its first answer on; nothing measured counts as zero."""
    frame, place = truths.frame, truths.frame.place
    sums, before = np.zeros((len(frame.units), frame.days)), np.zeros(len(frame.units))
    for each in truths.measured:
        row = place.get(each.unit, -1) if each.metric == spec.name else -1
        day = (each.at.astimezone(UTC).date() - frame.first).days
        if row >= 0 and day < 0:
            before[row] += each.value
        elif row >= 0 and frame.entered[row] <= day < truths.settled:
            sums[row, day] += each.value
    return UnitMetric(
        spec.name,
        sums,
        before=before if truths.reduction == "before" and before.any() else None,
        expected=expected_of(truths) if truths.reduction == "forecast" else None,
        better=spec.better,
        margin=spec.margin,
    )


def failure_metric(spec: MetricSpec, frame: SplitFrame) -> UnitMetric:
    """The share of a unit's answers that another release had to give."""
    return UnitMetric(spec.name, frame.failures, frame.answers, better="lower", margin=spec.margin, scale="absolute")


def forecast_metric(spec: MetricSpec, truths: Truths) -> UnitMetric:
    """A metric of the forecasts that the split's arms gave, less what was known of each unit before."""
    frame, measure = truths.frame, _MEASURES[spec.name]
    place = frame.place
    sums, counts = np.zeros((2, len(frame.units), frame.days))
    for each in truths.joined:
        row = place.get(each.unit or "", -1) if each.experiment == truths.label and each.role != "shadow" else -1
        if row < 0:
            continue
        column = frame.column(truths.dates(each))
        inside = (column >= frame.entered[row]) & (column < truths.settled)
        if inside.any():
            top, bottom = measure(each, truths.loss)
            np.add.at(sums[row], column[inside], top.sum(axis=0)[inside])
            np.add.at(counts[row], column[inside], bottom.sum(axis=0)[inside])
    before, before_counts, expected = None, None, None
    if truths.reduction == "before":
        before, before_counts = _before(measure, truths)
    elif truths.reduction == "forecast":
        expected = expected_of(truths)
    return UnitMetric(spec.name, sums, counts, before, before_counts, expected, spec.better, spec.margin, spec.scale)


def expected_of(truths: Truths) -> Floats | None:
    """What the champion forecast for each unit before the split began, a day, shape ``(units, days)``.

    ``None`` where nothing is known of any unit; a unit that nothing is known of gets the others' mean.
    """
    frame = truths.frame
    newest: dict[str, tuple[datetime, float]] = {}
    for each in truths.joined:
        ahead = frame.column(truths.dates(each)) >= 0
        if each.release != truths.champion or each.at is None or each.at.date() >= frame.first or not ahead.any():
            continue
        for series, mean in zip(each.series, each.mean[:, ahead].mean(axis=1).tolist(), strict=True):
            if series not in newest or newest[series][0] <= each.at:
                newest[series] = (each.at, mean)
    found = _by_unit(frame, ((truths.unit_of(series), (mean,)) for series, (_, mean) in newest.items()), 1)[:, 0]
    if not np.isfinite(found).any():
        return None
    filled = np.where(np.isfinite(found), found, np.nanmean(found))
    return np.repeat(filled[:, None], frame.days, axis=1)


Measure = Callable[[JoinedForecast, Loss], tuple[Floats, Floats]]


def _before(measure: Measure, truths: Truths) -> tuple[Floats | None, Floats | None]:
    """The metric of the champion's forecasts for each unit in the weeks before the split."""

    def cases() -> Iterable[tuple[str | None, tuple[float, ...]]]:
        for each in truths.joined:
            column = truths.frame.column(truths.dates(each))
            past = (column < 0) & (column >= -BEFORE_DAYS)
            if each.release == truths.champion and each.role == "champion" and past.any():
                top, bottom = (block[:, past].sum(axis=1) for block in measure(each, truths.loss))
                for row, series in enumerate(each.series):
                    yield truths.unit_of(series), (float(top[row]), float(bottom[row]))

    found = _by_unit(truths.frame, cases(), 2)
    return (found[:, 0], found[:, 1]) if np.isfinite(found).any() else (None, None)


def _by_unit(frame: SplitFrame, cases: Iterable[tuple[str | None, tuple[float, ...]]], width: int) -> Floats:
    """Sums by unit, NaN for one without any case."""
    place = frame.place
    found = np.full((len(frame.units), width), np.nan)
    for unit, values in cases:
        row = place.get(unit or "", -1)
        if row >= 0:
            found[row] = np.nan_to_num(found[row]) + values
    return found


def _error(each: JoinedForecast, loss: Loss) -> tuple[Floats, Floats]:
    known, actual = _known(each)
    # what is lost for each unit of truth, so that large and small series weigh by their size; squares by the case
    size: Floats = known.astype(np.float64) if loss.name == "squared" else np.abs(actual)
    return np.where(known, loss.of(each.mean, actual), 0.0), size


def _over(each: JoinedForecast, loss: Loss) -> tuple[Floats, Floats]:
    known, actual = _known(each)
    return np.where(known, np.maximum(each.mean - actual, 0.0), 0.0), np.abs(actual)


def _under(each: JoinedForecast, loss: Loss) -> tuple[Floats, Floats]:
    known, actual = _known(each)
    return np.where(known, np.maximum(actual - each.mean, 0.0), 0.0), np.abs(actual)


def _outside(each: JoinedForecast, loss: Loss) -> tuple[Floats, Floats]:
    """Truths outside of the narrowest interval that is given."""
    known, actual = _known(each)
    if not each.lower:
        return np.zeros_like(actual), np.zeros_like(actual)
    level = min(each.lower)
    is_outside = known & ((actual < each.lower[level]) | (actual > each.upper[level]))
    return is_outside.astype(np.float64), known.astype(np.float64)


def _known(each: JoinedForecast) -> tuple[NDArray[np.bool_], Floats]:
    known = np.isfinite(each.actual)
    return known, np.where(known, each.actual, 0.0)


_MEASURES: dict[str, Measure] = {"error": _error, "over": _over, "under": _under, "outside": _outside}
