"""How long a trial would take, by the project's own past: a split, a split with each unit's past, or a shadow.

Nothing but the table is needed. Where the metric is an error, two simple forecasts stand for the models: the mean of
the last four same weekdays for the champion, and that of the last three for how a challenger may differ from it. How
alike their losses are is told, since a shadow is the faster the more alike they are; a split does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import DataError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data import table
from everloop.data.loading import truth
from everloop.data.panel import split_key
from everloop.improve.split import rule_of
from everloop.improve.split_metrics import BEFORE_DAYS
from everloop.stats.paired.losses import loss_of
from everloop.stats.paired.paths import PairedRule, paired_paths
from everloop.stats.split.metrics import UnitMetric
from everloop.stats.split.planning import PlannedDays, decision_days
from everloop.validate.clusters import choose_cluster

__all__ = ["SplitPlan", "plan_trial"]

Floats = NDArray[np.float64]
PlanMetric = Literal["error", "target"]

_WEEKS = 4
_REPLICATIONS = 400
_SHADOWS = 200


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How long each way of trying a challenger would take.

    Attributes:
        metric: ``"error"`` or ``"target"``.
        unit: what would be split by.
        units: how many there are.
        cluster: what is independent for a shadow.
        clusters: how many there are.
        share: the challenger's share of the units.
        alpha: the bound on promoting one that is not better.
        max_days: the last day of a trial.
        past_days: the days of the past that the plan rests on.
        likeness: the correlation of the losses of the two forecasts that stand for the models, by case.
        split: by effect, without what was known before.
        adjusted: by effect, with each unit's own past (CUPED).
        shadow: by effect, where a shadow would do; empty where it cannot.
        advice: what follows, as sentences.
    """

    metric: PlanMetric
    unit: str
    units: int
    cluster: str
    clusters: int
    share: float
    alpha: float
    max_days: int
    past_days: int
    likeness: float | None
    split: tuple[PlannedDays, ...]
    adjusted: tuple[PlannedDays, ...]
    shadow: tuple[PlannedDays, ...]
    advice: tuple[str, ...]


def plan_trial(
    project: Project, *, metric: PlanMetric = "error", effects: Sequence[float] = (0.02, 0.05, 0.1)
) -> SplitPlan:
    """How long it would take to find each effect.

    Args:
        project: the project, whose table holds the past.
        metric: the error of forecasts, or the target itself, such as sales, which only a split can tell of.
        effects: improvements, shares of the champion's value.

    Raises:
        DataError: there is too little past, or there are too few units.
        SettingsError: ``release.split_unit`` or ``release.cluster`` is no column that names a series.
    """
    settings = project.settings.release
    names, block = _past(project, days=settings.max_days + BEFORE_DAYS + 7 * _WEEKS)
    unit = settings.split_unit if settings.split_unit != "header" else "series"
    groups = [_group(project, unit, name) for name in names]
    past, days = BEFORE_DAYS, block.shape[1] - BEFORE_DAYS - 7 * _WEEKS
    if days < settings.min_days or len(set(groups)) < 4:
        raise DataError(
            "plan_data",
            f"{len(set(groups))} units over {block.shape[1]} days are too few for a plan",
            hint=f"a plan needs 4 units and {past + 7 * _WEEKS + settings.min_days} days of data",
        )
    days = min(days, settings.max_days)
    champion, challenger, actual = (each[:, -days - past :] for each in _losses(project, block))
    labels, member = np.unique(groups, return_inverse=True)
    sums, sizes = (_summed(each, member, len(labels)) for each in (champion, actual))
    rule, share = rule_of(settings), settings.canary_share if settings.rollout == "canary" else 0.5
    plans = []
    for with_past in (False, True):
        measured = _metric(metric, sums, sizes, with_past=with_past)
        plan = decision_days(measured, effects=effects, share=share, rule=rule, replications=_REPLICATIONS)
        plans.append(tuple(plan))
    cluster, cluster_of = choose_cluster(project.settings.data.series, names, settings.cluster)
    kinds, kind = np.unique([cluster_of(name) for name in names], return_inverse=True)
    shadow: tuple[PlannedDays, ...] = ()
    likeness: float | None = None
    if metric == "error":
        paired = PairedRule(
            alpha=settings.alpha, margin=settings.margin, min_days=settings.min_days, max_days=settings.max_days
        )
        pair = (_summed(each, kind, len(kinds))[:, -days:].T for each in (champion, challenger))
        likeness = float(np.corrcoef(champion.ravel(), challenger.ravel())[0, 1]) if champion.std() > 0 else None
        shadow = _shadow_days(*pair, effects=effects, rule=paired)
    return SplitPlan(
        metric, unit, len(labels), cluster, len(kinds), share, settings.alpha, settings.max_days, block.shape[1],
        likeness,
        plans[0], plans[1], shadow, _advice(metric, plans[1], shadow),
    )  # fmt: skip


def _past(project: Project, *, days: int) -> tuple[list[str], Floats]:
    """The targets of the last days by series and day, zero where there was none, with the series' texts."""
    settings = project.settings.data
    frequency = Frequency.parse(settings.frequency)
    newest = table.last_known(project.table, settings.time, settings.target)
    if newest is None:
        raise DataError("plan_data", "there are no data yet", hint="bring some: everloop ingest")
    frame = truth(project, since=newest.replace(hour=0, minute=0, tzinfo=UTC) - timedelta(days=days - 1))
    day = frame["time"].to_numpy().astype("M8[D]").astype(np.int64)
    names, row = np.unique(frame["series"].to_numpy().astype(str), return_inverse=True)
    block = np.zeros((len(names), int(day.max() - day.min()) + 1))
    np.add.at(block, (row, day - day.min()), np.nan_to_num(frame["actual"].to_numpy().astype(np.float64)))
    if frequency.text.endswith(("w", "mo", "q", "y")):
        raise DataError(
            "plan_data", "a plan needs data by the day or finer", hint="data.frequency is " + frequency.text
        )
    return names.tolist(), block


def _group(project: Project, unit: str, series: str) -> str:
    columns = project.settings.data.series
    return split_key(series)[columns.index(unit)] if unit in columns else series


def _losses(project: Project, block: Floats) -> tuple[Floats, Floats, Floats]:
    """The losses of two simple forecasts, and the truth, from the fifth week on."""
    loss = loss_of(project.settings.release.loss)
    first = 7 * _WEEKS
    weeks = np.stack([block[:, first - 7 * back : block.shape[1] - 7 * back] for back in range(1, _WEEKS + 1)])
    actual = block[:, first:]
    return loss.of(weeks.mean(axis=0), actual), loss.of(weeks[:-1].mean(axis=0), actual), actual


def _summed(block: Floats, member: NDArray[np.int64], groups: int) -> Floats:
    sums = np.zeros((groups, block.shape[1]))
    np.add.at(sums, member, block)
    return sums


def _metric(metric: PlanMetric, loss: Floats, size: Floats, *, with_past: bool) -> UnitMetric:
    past, now = slice(None, BEFORE_DAYS), slice(BEFORE_DAYS, None)
    if metric == "target":
        before = size[:, past].sum(axis=1) if with_past else None
        return UnitMetric("target", size[:, now], before=before)
    size = np.abs(size)
    before, counts = (each[:, past].sum(axis=1) if with_past else None for each in (loss, size))
    return UnitMetric("error", loss[:, now], size[:, now], before, counts, better="lower")


def _shadow_days(
    champion: Floats, challenger: Floats, *, effects: Sequence[float], rule: PairedRule
) -> tuple[PlannedDays, ...]:
    """Clusters are drawn with repetition, and the two forecasts' difference moved to each effect."""
    rng = np.random.default_rng(1)
    drawn = rng.integers(champion.shape[1], size=(_SHADOWS, champion.shape[1]))
    lost, other = (np.moveaxis(each[:, drawn], 1, 0) for each in (champion, challenger))
    noise = lost - other
    noise = noise - lost * (champion - challenger).sum() / champion.sum()
    plans = []
    for effect in effects:
        lower = paired_paths(noise + effect * lost, lost, rule).lower
        is_over = np.nan_to_num(lower, nan=-np.inf) > -rule.margin
        is_over[:, : rule.min_days - 1] = False
        first = np.where(is_over.any(axis=1), is_over.argmax(axis=1) + 1, 0)
        plans.append(PlannedDays.of(effect, first, champion.shape[0]))
    return tuple(plans)


def _advice(metric: PlanMetric, split: Sequence[PlannedDays], shadow: Sequence[PlannedDays]) -> tuple[str, ...]:
    found = []
    if metric == "target":
        found.append("a shadow cannot tell: what units come to shows only where the challenger's answers are used")
    else:
        faster = [
            plan.effect
            for plan, other in zip(shadow, split, strict=True)
            if plan.median is not None and (other.median is None or plan.median <= other.median)
        ]
        if faster:
            shown = ", ".join(f"{effect:.0%}" for effect in faster)
            found.append(
                f"a shadow would do (release.rollout = 'shadow'): no slower for {shown}, and nobody is at risk"
            )
        found.append("only a split tells what better forecasts do to what is forecast, such as sales")
    unseen = [f"{plan.effect:.0%}" for plan in split if plan.median is None and plan.effect > 0]
    if unseen:
        found.append(f"a split would mostly not find {', '.join(unseen)} in time: raise release.max_days or the share")
    return tuple(found)
