"""Drift: years without any drift that raise an alarm, days until a change is found, and names that are wrong.

All is simulated on :mod:`decisions.drift_generators`, which the method was not made on; the real columns are M5's.
Beside it a plain CUSUM on the same residuals, Kolmogorov and Smirnov's test of each day's rows, NannyML and Evidently
where they install, and what a detector could do that knows all but the day of the change.

A change's size is in deviations of one store's own values over the days, which is what a test on rows sees (what stores
differ by is left out). The same sizes in deviations of the daily mean over all stores, as it is plotted with its
season, and of what its season leaves, are given beside it: they are several times smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from decisions.drift_families import draw_family
from decisions.drift_generators import COLUMNS, HISTORY, SHAPES, Job, draw_job, forecast_bias
from decisions.drift_oracle import Oracle
from decisions.drift_peers import peer_years
from decisions.drift_real import SETTLED_ON, RealJob, real_jobs
from decisions.drift_speed import measure_speed
from decisions.rates import at_most, rate_row
from everloop.stats.drift.judging import Watched, gather, judge, log_threshold, sudden, watch
from everloop.stats.drift.reference import Reference, learn
from measuring.claims import claim_of

__all__ = ["measure"]

Floats = NDArray[np.float64]
Rows = list[dict[str, Any]]

ALPHA = 0.05
STREAMS = 2 * COLUMNS
START = 120
"""The watched day on which a change comes."""
NEVER = 9_999
FAMILY = "broadly drawn"
ORACLE = "a detector that knows all but the day"


@dataclass(frozen=True)
class Learnt:
    """A job with what was learnt of it."""

    days: NDArray[np.int64]
    watched: Floats
    history: Floats
    reference: Reference

    @classmethod
    def of(cls, days: NDArray[np.int64], streams: Floats) -> Learnt:
        """Learn from a job's first two years."""
        past = streams[:HISTORY]
        reference = learn(days[:HISTORY], past, ["value"] * past.shape[1])
        return cls(days[HISTORY:], streams[HISTORY:], past, reference)

    @classmethod
    def of_job(cls, job: Job) -> Learnt:
        """Learn from the streams of a table."""
        return cls.of(job.days, job.streams)

    def over(self, values: Floats, rate: float = ALPHA) -> tuple[NDArray[np.bool_], Watched]:
        """At which days each stream's evidence is an alarm, shape ``(q, m)``."""
        watched = watch(self.reference, self.days[: len(values)], values)
        threshold = log_threshold(values.shape[1], false_alarms_per_year=rate)
        jumps = sudden(self.reference, watched, false_alarms_per_year=rate)
        return gather(self.reference, watched, jumps, threshold).evidence >= threshold, watched


def measure(*, quick: bool) -> tuple[Rows, Rows]:
    """The table and the claims."""
    runs = 12 if quick else 400
    rows: Rows = []
    claims: Rows = []
    for shape in (*SHAPES, FAMILY):
        found = _quiet_years(shape, runs)
        rows += found
        claims.append(
            at_most(
                f"drift-quiet-{shape.replace(' ', '-')}",
                f"years without drift with an alarm, {COLUMNS} {shape} columns, share of job-years",
                round(found[0]["rate"] * runs),
                runs,
                ALPHA,
            )
        )
    for part in (_changes, _names, _bias, _unseen):
        more, claimed = part(runs if part is _bias else max(runs // 4, 8))
        rows += more
        claims += claimed
    rows += _real_years() + _rows_tested(2 if quick else 20) + peer_years(1 if quick else 10)
    speed, claimed = measure_speed()
    return rows + speed, claims + claimed


def _quiet_years(shape: str, runs: int) -> Rows:
    """Alarms in years without drift, ours and a CUSUM's on the same errors."""
    ours = cusum = days = 0
    limit = _cusum_limit(ALPHA)
    for number in range(runs):
        learnt = Learnt.of(*draw_family(number)) if shape == FAMILY else Learnt.of_job(draw_job(shape, number))
        over, watched = learnt.over(learnt.watched)
        ours += bool(over.any())
        days += int(over.any(axis=1).sum())
        cusum += bool((_cusum(watched.errors / learnt.reference.usual.sd) > limit).any())
    share = round(days / runs / len(over), 5)
    return [
        rate_row("years without drift with an alarm", shape, ours, runs, method="everloop", days_in_alarm=share),
        rate_row("years without drift with an alarm", shape, cusum, runs, method="CUSUM on the same errors"),
    ]


def _changes(runs: int) -> tuple[Rows, Rows]:
    """Days until a change of one column in a retailer's table is found."""
    delays: dict[str, list[int]] = {}
    names = {"a store's values": (0.5, 1.0), "the daily mean": (0.5, 1.0), "what its season leaves": (1.0, 2.0)}
    limit = _cusum_limit(ALPHA)
    for number in range(runs):
        job = draw_job("retail", 10_000 + number)
        learnt = Learnt.of_job(job)
        for place in range(0, COLUMNS, 4):
            own = float(np.median(job.rows[:HISTORY, place].std(axis=0)))
            oracle = Oracle(job.days, job.streams[:, place], HISTORY)
            units = (own, learnt.history[:, place].std(), learnt.reference.usual.spread[place])
            for (name, sizes), unit in zip(names.items(), units, strict=True):
                for size in sizes:
                    shift = size * unit * (-1) ** number
                    _add_delay(delays, f"{size:g} sd of {name}", learnt, place, shift, limit)
                    if name == "the daily mean":
                        best = oracle.delay(shift, start=START, streams=STREAMS, rate=ALPHA)
                        delays.setdefault(f"{size:g} sd of {name} ({ORACLE})", []).append(best or NEVER)
            _add_delay(delays, "rows' sd x 1.5", learnt, COLUMNS + place, math.log(1.5), limit)
    rows = [_delay_row(name, found) for name, found in delays.items()]
    claims = [
        _delay_claim(f"drift-{code}-{size:g}sd", f"days until {size:g} sd of {name} is found, median", target, found)
        for code, name in (("row", "a store's values"), ("daily", "the daily mean"))
        for size, target in ((1.0, 9), (0.5, 35))
        for found in (delays[f"{size:g} sd of {name}"],)
    ]
    return rows, claims


def _add_delay(delays: dict[str, list[int]], name: str, learnt: Learnt, place: int, shift: float, limit: float) -> None:
    """Days from the change until the changed stream is an alarm; streams in alarm before are left out."""
    values = learnt.watched[:, place : place + 1].copy()
    values[START:] += shift
    one = Learnt(learnt.days, values, learnt.history, learnt.reference.select([place]))
    watched = watch(one.reference, one.days, values)
    # one stream is looked at, but it answers for its family
    threshold = log_threshold(STREAMS, false_alarms_per_year=ALPHA)
    jumps = sudden(one.reference, watched, false_alarms_per_year=ALPHA / STREAMS)
    over = gather(one.reference, watched, jumps, threshold).evidence[:, 0] >= threshold
    beyond = _cusum(watched.errors / one.reference.usual.sd)[:, 0] > limit
    for method, found in (("everloop", over), ("CUSUM on the same errors", beyond)):
        if not found[:START].any():
            key = name if method == "everloop" else f"{name} ({method})"
            delays.setdefault(key, []).append(int(found[START:].argmax()) + 1 if found[START:].any() else NEVER)


def _names(runs: int) -> tuple[Rows, Rows]:
    """Wrong names among the named, eight weeks after three of twenty columns changed."""
    wrong = named = 0
    shares: list[float] = []
    for number in range(runs):
        learnt = Learnt.of_job(draw_job("retail", 20_000 + number))
        values = learnt.watched[: START + 56].copy()
        values[START:, :3] += learnt.history[:, :3].std(axis=0)
        found = judge(learnt.reference, learnt.days[: len(values)], values, false_alarms_per_year=ALPHA)
        columns = found.is_alarm[:COLUMNS] | found.is_alarm[COLUMNS:]
        named += int(columns.sum())
        wrong += int(columns[3:].sum())
        shares.append(float(columns[3:].sum() / max(columns.sum(), 1)))
    row = rate_row("wrong among the named columns", "retail, 3 of 20 changed by 1 sd", wrong, max(named, 1))
    mean, error = float(np.mean(shares)), float(np.std(shares) / math.sqrt(len(shares)))
    claim = claim_of(
        "drift-names", "wrong names among the named, mean share", "share", 0.1, mean,
        (max(mean - 1.96 * error, 0.0), mean + 1.96 * error), is_most=True,
    )  # fmt: skip
    return [row], [claim]


def _bias(runs: int) -> tuple[Rows, Rows]:
    """The signed error of a forecast: years without a change, and a bias of a fifth."""
    errors = forecast_bias(4, runs)
    days = np.arange(len(errors)) + 17_000
    reference = learn(days[:182], errors[:182], ["bias"] * runs)
    threshold = log_threshold(1, false_alarms_per_year=ALPHA)
    delays: list[int] = []
    alarms = 0
    for shift in (0.0, math.log(1.2)):
        values = errors[182:].copy()
        values[START:] += shift
        watched = watch(reference, days[182:], values)
        jumps = sudden(reference, watched, false_alarms_per_year=ALPHA * runs)
        over = gather(reference, watched, jumps, threshold).evidence >= threshold
        if not shift:
            alarms = int(over.any(axis=0).sum())
        else:
            later = over[START:, ~over[:START].any(axis=0)]
            delays = np.where(later.any(axis=0), later.argmax(axis=0) + 1, NEVER).tolist()
    rows = [
        rate_row("years without drift with an alarm", "signed forecast error", alarms, runs, method="everloop"),
        _delay_row("a forecast bias of 20 %", delays),
    ]
    claims = [
        at_most("drift-quiet-bias", "years without a bias with an alarm, share", alarms, runs, ALPHA),
        _delay_claim("drift-bias", "days until a bias of 20 % is found, median", 21, delays),
    ]
    return rows, claims


def _unseen(runs: int) -> tuple[Rows, Rows]:
    """A category that was never seen comes in one row of a hundred, of 2,000 a day."""
    rng = np.random.default_rng(77)
    days = np.arange(100 + 30) + 17_000
    reference = learn(days[:100], np.zeros((100, 1)), ["unseen"])
    delays = []
    for _ in range(runs):
        shares = rng.binomial(2_000, 0.01, 30) / 2_000
        found = judge(reference, days[100:], 2 * np.arcsin(np.sqrt(shares))[:, None])
        delays.append(NEVER if found.first_alarm is None else found.first_alarm - int(days[100]) + 1)
    claim = _delay_claim("drift-unseen", "days until an unseen category of 1 % is found, median", 1, delays)
    return [_delay_row("an unseen category of 1 %", delays)], [claim]


def _delay_row(what: str, delays: list[int]) -> dict[str, Any]:
    low, high = _median_interval(delays)
    share = round(float(np.mean(np.array(delays) < NEVER)), 3)
    row = {"what": f"days until found: {what}", "runs": len(delays), "median": _median(delays)}
    return {
        **row,
        "low": low,
        "high": high,
        "ninth_decile": float(np.quantile(delays, 0.9, method="higher")),
        "found": share,
    }


def _delay_claim(name: str, claim: str, target: float, delays: list[int]) -> dict[str, Any]:
    return claim_of(
        name, claim, "days", target, _median(delays), _median_interval(delays), is_most=True
    )  # fmt: skip


def _median(values: list[int]) -> float:
    """The median, of an even number the larger one in the middle: never half of a change that was not found."""
    return float(np.sort(values)[len(values) // 2])


def _median_interval(values: list[int]) -> tuple[float, float]:
    """The interval of 95 % of a median, from the ranks of the sample."""
    ordered = np.sort(values)
    half = 0.98 * math.sqrt(len(ordered))
    low, high = int(len(ordered) / 2 - half), math.ceil(len(ordered) / 2 + half)
    return float(ordered[max(low, 0)]), float(ordered[min(high, len(ordered) - 1)])


def _cusum(scores: Floats, allowance: float = 0.5) -> Floats:
    """The larger of the two one-sided CUSUMs, shape ``(q, m)``."""
    up = down = np.zeros(scores.shape[1])
    out = np.empty(scores.shape)
    for period, score in enumerate(np.nan_to_num(scores)):
        up, down = np.maximum(up + score - allowance, 0), np.maximum(down - score - allowance, 0)
        out[period] = np.maximum(up, down)
    return out


def _cusum_limit(rate: float, allowance: float = 0.5) -> float:
    """The limit at which independent normal errors alarm ``rate`` times a year in a family (Siegmund 1985, 2.56)."""
    length = 365.25 * STREAMS * 2 / rate

    def excess(limit: float) -> float:
        reach = 2 * allowance * (limit + 1.166)
        return math.log((math.exp(reach) - reach - 1) / (2 * allowance**2)) - math.log(length)

    return float(optimize.brentq(excess, 1, 60))


def _real_years() -> Rows:
    jobs, reason = real_jobs()
    if not jobs:
        return [{"what": "years of real columns with an alarm", "case": f"skipped: {reason}"}]
    rows = []
    for case in dict.fromkeys(each.case for each in jobs):
        for is_settled, word in ((False, "stores held back"), (True, "stores that were settled on")):
            chosen = [each for each in jobs if each.case == case and (each.store in SETTLED_ON) == is_settled]
            if chosen[0].events.shape[1]:
                rows.append(_real_row(f"{case}, {word}, events unknown", chosen, has_events=False))
            rows.append(_real_row(f"{case}, {word}", chosen))
    return rows


def _real_row(case: str, jobs: Sequence[RealJob], *, has_events: bool = True) -> dict[str, Any]:
    """Alarms of some years, how many of them by one day alone, and the streams that are most often in alarm."""
    alarms = sudden_years = 0
    named: list[str] = []
    for each in jobs:
        events = each.events if has_events else each.events[:, :0]
        past, later = slice(HISTORY), slice(HISTORY, None)
        reference = learn(each.days[past], each.streams[past], list(each.kinds), regressors=events[past])
        found = judge(
            reference,
            each.days[later],
            each.streams[later],
            false_alarms_per_year=ALPHA,
            regressors=events[later],
        )
        over = found.evidence >= found.threshold
        if found.first_alarm is None:
            continue
        alarms += 1
        first = int(over.any(axis=1).argmax())
        sudden_years += bool((sudden(reference, found.watched, false_alarms_per_year=ALPHA)[first] != 0).any())
        named += [each.names[place] for place in np.flatnonzero(over.any(axis=0))]
    common = sorted(set(named), key=lambda name: -named.count(name))[:3]
    row = rate_row("years of real columns with an alarm", case, alarms, len(jobs), method="everloop")
    return row | {"by_one_day": sudden_years, "streams": jobs[0].streams.shape[1], "most_often": common}


def _rows_tested(runs: int) -> Rows:
    """Kolmogorov and Smirnov's test of each day's rows against the reference, by Bonferroni over the columns."""
    rows = []
    for shape in SHAPES:
        years = days = 0
        for number in range(runs):
            job = draw_job(shape, number)
            found = np.stack([_ks(job, column) for column in range(COLUMNS)], axis=1).min(axis=1) < ALPHA / COLUMNS
            years += bool(found.any())
            days += int(found.sum())
        share = round(days / runs / len(found), 3)
        rows.append(
            rate_row("years without drift with an alarm", shape, years, runs, method="KS test of a day's rows")
            | {"days_in_alarm": share}
        )
    return rows


def _ks(job: Job, column: int) -> Floats:
    """The p-values of the watched days (the limiting distribution with Stephens's correction of 1970)."""
    past = np.sort(job.rows[:HISTORY, column].ravel())
    rows = np.sort(job.rows[HISTORY:, column], axis=1)
    each = rows.shape[1]
    below = np.searchsorted(past, rows, "left") / len(past), np.searchsorted(past, rows, "right") / len(past)
    step = np.arange(each) / each
    distance = np.maximum(np.abs(below[0] - step).max(axis=1), np.abs(below[1] - step - 1 / each).max(axis=1))
    root = math.sqrt(len(past) * each / (len(past) + each))
    p_values: Floats = special.kolmogorov((root + 0.12 + 0.11 / root) * distance)
    return p_values
