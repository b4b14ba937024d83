"""What is said of streams after their reference: whether each is still as it was, for a whole family at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.stats.drift.detector import Paths, detect, named
from everloop.stats.drift.dynamics import LONGEST_LAG, innovations, slow_level, step_responses
from everloop.stats.drift.reference import Reference
from everloop.stats.drift.season import grid

__all__ = ["Judgement", "Watched", "judge", "log_threshold", "watch"]

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

NEW_SHARE = 0.005
"""The share of unseen values that is an alarm at once: half of one percent, so that 1 % is not missed by chance."""

_SUDDEN_SHARE = 0.25
_FALSE_NAMES = 0.1
_YEAR_DAYS = 365.25
_LEARNING_DAYS = 28
_UNCERTAIN = 2.0
_UNCERTAIN_BIAS = 1.25
_WANDERING = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Streams beside what was expected of them, each of shape ``(q, m)``.

    Attributes:
        days: the periods, without holes, shape ``(q,)``.
        seen: what was seen, NaN where nothing is known.
        expected: season, level and autoregression together.
        usual: season and level only: what is expected if yesterday is not known.
        level: the level in that.
        errors: ``seen - expected``.
        counts: whether a period counts as evidence: it is known and comes after what was learnt anew.
    """

    days: Days
    seen: Floats
    expected: Floats
    usual: Floats
    level: Floats
    errors: Floats
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What is said of a family of ``m`` streams. Arrays have shape ``(m,)`` unless told otherwise.

    Attributes:
        any_alarm: whether the family is in alarm now.
        first_alarm: the first day at which it was, since the reference or the reset; ``None`` for never.
        threshold: the logarithm of the evidence that is an alarm.
        is_alarm: the streams that are named now; at most a tenth of them by mistake, on average.
        is_sudden: those whose newest alarm came from one period alone.
        is_judged: ``False`` where there is too little history, or not enough since the reset.
        log_evidence: the natural logarithm of each detector.
        since: the first day of the change, days since 1970, -1 where nothing speaks for one.
        day: the newest period with a value, -1 for none.
        expected: what was expected for that day.
        seen: what was seen.
        sd: of the error of that expectation.
        shift: the mean of seen minus usual since ``since`` (else over the last four weeks), in deviations of what
            season and level leave.
        watched: the days behind it.
        evidence: the evidence of each day, shape ``(q, m)``.
    """

    any_alarm: bool
    first_alarm: int | None
    threshold: float
    is_alarm: NDArray[np.bool_]
    is_sudden: NDArray[np.bool_]
    is_judged: NDArray[np.bool_]
    log_evidence: Floats
    since: Days
    day: Days
    expected: Floats
    seen: Floats
    sd: Floats
    shift: Floats
    watched: Watched
    evidence: Floats


def log_threshold(streams: int, *, false_alarms_per_year: float, period_days: int = 1) -> float:
    """The logarithm of the detector at which a family of streams is in alarm.

    A detector exceeds ``c`` once in ``c`` periods at most, so ``periods a year * streams / rate`` keeps the family's
    rate. A quarter of the rate is left for alarms by one period alone.

    >>> round(log_threshold(40, false_alarms_per_year=0.05), 2)
    12.87
    """
    periods = _YEAR_DAYS / period_days
    return math.log(periods * max(streams, 1) / (false_alarms_per_year * (1 - _SUDDEN_SHARE)))


def judge(
    reference: Reference,
    days: Days,
    values: Floats,
    *,
    false_alarms_per_year: float = 0.05,
    since: int | None = None,
    regressors: Floats | None = None,
) -> Judgement:
    """Judge all streams of a family by what came after their reference.

    The result depends on the reference and on the set of days and values only: it is the same whether the days came
    one by one or all at once, in whatever order, before or after a restart.

    Args:
        reference: what is expected.
        days: the first days of the periods since, ascending; those of the reference itself are passed over.
        values: shape ``(q, m)``, NaN where nothing is known.
        false_alarms_per_year: how many false alarms the whole family may raise a year.
        since: the last day before which all change is accepted; evidence starts after it.
        regressors: of the same days, as the reference was learnt with.

    Raises:
        ValueError: the values do not fit the reference.
    """
    watched = watch(reference, days, values, since=since, regressors=regressors)
    random = [kind != "unseen" for kind in reference.kinds]
    threshold = log_threshold(
        sum(random), false_alarms_per_year=false_alarms_per_year, period_days=reference.period_days
    )
    jumps = sudden(reference, watched, false_alarms_per_year=false_alarms_per_year)
    paths = gather(reference, watched, jumps, threshold)
    return _judgement(reference, watched, paths, jumps, threshold)


def watch(
    reference: Reference, days: Days, values: Floats, *, since: int | None = None, regressors: Floats | None = None
) -> Watched:
    """Streams beside what was expected of them; arguments as of :func:`judge`.

    Raises:
        ValueError: the values' shape is not that of the days and streams.
    """
    if values.shape != (len(days), len(reference.kinds)):
        raise ValueError(f"values of shape {values.shape} for {len(days)} days and {len(reference.kinds)} streams")
    start = reference.last_day + reference.period_days
    last = int(days[-1]) if len(days) else reference.last_day
    all_days, seen = grid(days, values, start, last, reference.period_days)
    extra = None
    if regressors is not None:
        extra = np.nan_to_num(grid(days, regressors, start, last, reference.period_days)[1])
    season = reference.columns(all_days, extra) @ reference.coefficients + reference.recurring_at(all_days)
    left = seen - season
    if extra is not None:
        # nobody knows what such a day does to a stream that never had a value on one, and the next build on none of it
        left[(extra != 0).astype(np.float64) @ (~reference.answered).astype(np.float64) > 0] = np.nan
    level = reference.follows * slow_level(left, reference.tail, reference.period_days)
    counts = np.isfinite(left) & ~reference.too_little
    if since is not None:
        level, counts = _renewed(reference, left, level, counts, all_days > since)
    earlier = slow_level(reference.tail, reference.tail[:0], reference.period_days)
    before = reference.tail - reference.follows * earlier
    errors = innovations(left - level, reference.lags, reference.period_days, before[-LONGEST_LAG:])
    return Watched(all_days, seen, seen - errors, season + level, level, errors, counts)


def _renewed(
    reference: Reference, left: Floats, level: Floats, counts: NDArray[np.bool_], after: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """The level learnt anew from the four weeks after an accepted change; evidence counts from then on."""
    place = int(np.argmax(after)) if after.any() else len(after)
    learning = -(-_LEARNING_DAYS // reference.period_days)
    fresh = left[place : place + learning]
    known = np.isfinite(fresh).sum(axis=0)
    offset = np.nansum(fresh, axis=0) / np.maximum(known, 1)
    later = reference.follows * slow_level(left[place:] - offset, left[:0], reference.period_days)
    renewed = np.concatenate([level[:place], later + offset])
    counts = counts.copy()
    counts[: place + learning] = False
    return renewed, counts


def sudden(reference: Reference, watched: Watched, *, false_alarms_per_year: float) -> Floats:
    """1 or -1 where a period alone is an alarm, 0 elsewhere, shape ``(q, m)``."""
    random = np.array([kind != "unseen" for kind in reference.kinds], dtype=bool)
    periods = _YEAR_DAYS / reference.period_days
    probability = false_alarms_per_year * _SUDDEN_SHARE / (periods * max(int(random.sum()), 1))
    scale = 1e-9 * (1 + np.abs(reference.coefficients).max(axis=0, initial=0.0))
    limit = np.maximum(reference.usual.sudden(probability), scale)
    errors = np.where(watched.counts, np.nan_to_num(watched.errors), 0.0)
    is_beyond = np.abs(errors) > limit
    for kind, places in _of_kinds(reference):
        if kind == "share":
            is_beyond[:, places] &= _matters(watched, places)
        elif kind == "unseen":
            is_beyond[:, places] = _matters(watched, places)
        elif kind == "bias":
            # one day, however bad, is no bias
            is_beyond[:, places] = False
        if kind in ("error", "unseen"):
            is_beyond[:, places] &= errors[:, places] > 0
    return np.where(is_beyond & watched.counts, np.sign(errors), 0.0)


def gather(reference: Reference, watched: Watched, jumps: Floats, threshold: float) -> Paths:
    """The evidence of each stream over time."""
    usual = reference.usual
    temper = np.sqrt(usual.temper)
    scores = np.where(watched.counts, usual.scores(watched.errors), np.nan) / temper
    one_sided = np.array([kind in ("error", "unseen") for kind in reference.kinds], dtype=bool)
    for kind, places in _of_kinds(reference):
        if kind == "share":
            here = scores[:, places]
            scores[:, places] = np.where(_matters(watched, places) | np.isnan(here), here, 0.0)
        elif kind == "unseen":
            scores[:, places] = np.where(np.isnan(scores[:, places]), np.nan, 0.0)
    # the scores have mean zero over the reference by construction; how far that is from their true mean, nobody knows,
    # and a mean that wandered before may do so again; of a bias no season had to be learnt
    is_bias = np.array([kind == "bias" for kind in reference.kinds], dtype=bool)
    uncertain = np.where(is_bias, _UNCERTAIN_BIAS, _UNCERTAIN)
    wandering = np.where(reference.is_pinned, 1.0, _WANDERING) * usual.wander
    allowed = uncertain / np.sqrt(np.maximum(usual.number, 1)) + wandering
    return detect(
        scores,
        steps=step_responses(reference.lags, reference.period_days),
        allowed=allowed,
        threshold=threshold,
        upper_only=one_sided,
        jumps=jumps,
    )


def _of_kinds(reference: Reference) -> list[tuple[str, NDArray[np.int64]]]:
    kinds = np.array(reference.kinds)
    return [(kind, np.flatnonzero(kinds == kind)) for kind in sorted(set(reference.kinds))]


def _share(arcsine: Floats) -> Floats:
    """Back from twice the arcsine of a share's root."""
    share: Floats = np.sin(np.clip(arcsine, 0, np.pi) / 2) ** 2
    return share


def _matters(watched: Watched, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a share is further from its usual one than what matters to anybody."""
    seen, usual = np.nan_to_num(watched.seen[:, places]), np.nan_to_num(watched.usual[:, places])
    matters: NDArray[np.bool_] = np.abs(_share(seen) - _share(usual)) >= NEW_SHARE
    return matters


def _judgement(reference: Reference, watched: Watched, paths: Paths, jumps: Floats, threshold: float) -> Judgement:
    streams = len(reference.kinds)
    evidence, start = paths.evidence, paths.start
    over: NDArray[np.bool_] = np.any(evidence >= threshold, axis=1)
    newest = evidence[-1] if len(evidence) else np.full(streams, -np.inf)
    is_alarm = np.zeros(streams, dtype=bool)
    if over.any() and over[-1]:
        is_alarm = named(newest, periods=float(watched.counts.sum(axis=0).max()), false_share=_FALSE_NAMES)
    last = _last_known(watched.seen)
    return Judgement(
        any_alarm=bool(is_alarm.any()),
        first_alarm=int(watched.days[np.argmax(over)]) if over.any() else None,
        threshold=threshold,
        is_alarm=is_alarm,
        is_sudden=is_alarm & (_at(jumps, start, 0.0) != 0),
        is_judged=watched.counts.any(axis=0) & ~reference.too_little,
        log_evidence=newest,
        since=_at(np.repeat(watched.days[:, None], streams, axis=1).astype(np.float64), start, -1).astype(np.int64),
        day=_at(np.repeat(watched.days[:, None], streams, axis=1).astype(np.float64), last, -1).astype(np.int64),
        expected=_at(watched.expected, last, np.nan),
        seen=_at(watched.seen, last, np.nan),
        sd=reference.usual.sd,
        shift=_shift(reference, watched, start),
        watched=watched,
        evidence=evidence,
    )


def _last_known(values: Floats) -> NDArray[np.int64]:
    """The newest row with a value, -1 for none, shape ``(m,)``."""
    order = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    last: NDArray[np.int64] = order.max(axis=0, initial=-1)
    return last


def _at(values: Floats, rows: NDArray[np.int64], otherwise: float) -> Floats:
    """One row of each column, and something else where the row is -1."""
    result = np.full(values.shape[1], otherwise)
    some = np.flatnonzero(rows >= 0)
    result[some] = values[rows[some], some]
    return result


def _shift(reference: Reference, watched: Watched, start: NDArray[np.int64]) -> Floats:
    """Seen minus usual, since the change or over the last four weeks, in deviations."""
    recent = len(watched.days) - -(-_LEARNING_DAYS // reference.period_days)
    begin = np.where(start >= 0, start, max(recent, 0))
    inside = (np.arange(len(watched.days))[:, None] >= begin) & np.isfinite(watched.seen)
    excess = np.where(inside, watched.seen - watched.usual, 0.0).sum(axis=0)
    mean = excess / np.maximum(inside.sum(axis=0), 1)
    spread = reference.usual.spread
    shift: Floats = np.where(spread > 0, mean / np.where(spread > 0, spread, 1.0), 0.0)
    return shift
