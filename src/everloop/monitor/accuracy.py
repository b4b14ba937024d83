"""Live accuracy, held against what the backtest promised, like with like.

A live window holds more short steps than long ones at its edge, and other series than the backtest. So the
expected error is not the backtest's overall one but its error at each step, weighted by the actual sales that the
live pairs of that step have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.monitor.joining import JoinedForecast
from everloop.stats.evidence import Evidence
from everloop.stats.sequential import mean_sequence

__all__ = ["Accuracy", "DailyErrors", "assess_decay", "daily_errors", "measure"]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good a release's answers turned out to be.

    Attributes:
        release: its digest.
        n: pairs of forecast and outcome.
        days: distinct instants among them.
        wape: sum of absolute errors over sum of absolute outcomes; ``None`` where the latter is zero.
        bias: sum of errors (forecast minus outcome) over the same sum.
        coverage: share of outcomes within each interval, by level in percent.
        expected_wape: what the backtest promised for the same steps; ``None`` where it says nothing.
        hindsight: values that were known before they were forecast, left out.
        waiting: forecast values without an outcome so far.
        by_step: ``{"step", "n", "wape", "expected"}`` by steps ahead.
        reason: why a number is missing.
        left_out: known outcomes that are no true picture of demand (``data.cleaning``), left out.
    """

    release: str
    n: int
    days: int
    wape: float | None
    bias: float | None
    coverage: dict[str, float | None]
    expected_wape: float | None
    hindsight: int
    waiting: int
    by_step: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class DailyErrors:
    """Errors summed by the instant they are about: arrays of equal length, in time order.

    ``expected`` is the absolute error that the backtest promised for the same pairs, NaN where unknown.
    """

    index: NDArray[np.int64]
    absolute: NDArray[np.float64]
    signed: NDArray[np.float64]
    actual: NDArray[np.float64]
    expected: NDArray[np.float64]
    n: NDArray[np.int64]


def measure(release: str, joined: Sequence[JoinedForecast], expected_by_step: Mapping[int, float]) -> Accuracy:
    """The accuracy of one release over joined predictions.

    Args:
        release: its digest; predictions of others are passed over.
        joined: predictions beside the truth.
        expected_by_step: the backtest's WAPE by steps ahead.
    """
    own = [each for each in joined if each.release == release]
    steps, forecast, actual = _pairs(own)
    hindsight = sum(each.hindsight for each in own)
    left_out = sum(each.left_out for each in own)
    waiting = sum(int(np.isnan(each.actual).sum()) for each in own) - hindsight - left_out
    total = float(np.abs(actual).sum())
    levels = sorted({level for each in own for level in each.lower})
    coverage = {f"{level:g}": _coverage(own, level) for level in levels}
    by_step = _by_step(steps, forecast, actual, expected_by_step)
    days = len(np.unique(np.concatenate([_days(each) for each in own]))) if own else 0
    if total == 0:
        reason = "no outcome has met a prediction yet" if not len(actual) else "all outcomes are zero"
        return Accuracy(
            release, len(actual), days, None, None, coverage, None, hindsight, waiting, by_step, reason, left_out
        )
    error = forecast - actual
    return Accuracy(
        release=release,
        n=len(actual),
        days=days,
        wape=float(np.abs(error).sum() / total),
        bias=float(error.sum() / total),
        coverage=coverage,
        expected_wape=_expected(by_step),
        hindsight=hindsight,
        waiting=waiting,
        by_step=by_step,
        left_out=left_out,
    )


def daily_errors(joined: Iterable[JoinedForecast], expected_by_step: Mapping[int, float]) -> DailyErrors:
    """The errors of some predictions, by the instant they are about."""
    index, steps, forecast, actual = [], [], [], []
    for each in joined:
        known = np.isfinite(each.actual)
        place = np.nonzero(known)[1]
        index.append(each.index[place])
        steps.append(each.steps[place])
        forecast.append(each.mean[known])
        actual.append(each.actual[known])
    if not index:
        empty = np.zeros(0)
        none = np.zeros(0, dtype=np.int64)
        return DailyErrors(none, empty, empty, empty, empty, none)
    when, where = np.unique(np.concatenate(index), return_inverse=True)
    error = np.concatenate(forecast) - np.concatenate(actual)
    sales = np.abs(np.concatenate(actual))
    promised = _lookup(expected_by_step, np.concatenate(steps)) * sales
    size = len(when)
    return DailyErrors(
        index=when,
        absolute=_sums(where, np.abs(error), size),
        signed=_sums(where, error, size),
        actual=_sums(where, sales, size),
        expected=_sums(where, promised, size),
        n=np.bincount(where, minlength=size),
    )


def assess_decay(
    daily: DailyErrors, *, max_decay: float, alpha: float, min_outcomes: int, min_days: int = 7
) -> Evidence:
    """Whether live error exceeds the backtest's by more than ``max_decay``, beyond the doubt ``alpha``.

    Each day's excess is ``|error| - (1 + max_decay) * promised``, over the mean daily promise; decay is said when
    the lower bound of its mean is above zero.
    """
    usable = np.isfinite(daily.expected) & (daily.n > 0)
    promised = daily.expected[usable]
    scale = float(promised.mean()) if usable.any() else 0.0
    outcomes = int(daily.n[usable].sum())
    excess = (daily.absolute[usable] - (1 + max_decay) * promised) / scale if scale > 0 else np.zeros(0)
    result = mean_sequence(excess, alpha=alpha, min_n=min_days)
    ratio = float(daily.absolute[usable].sum() / promised.sum()) - 1 if scale > 0 else None
    if outcomes < min_outcomes or result.lower is None:
        why = result.reason if outcomes >= min_outcomes else f"{outcomes} of at least {min_outcomes} outcomes"
        verdict, reason = (
            "cannot tell",
            f"too little truth so far: {why or 'the backtest promises nothing to compare with'}",
        )
    elif result.lower > 0:
        verdict = "decay"
        reason = (
            f"live error is {ratio:+.1%} against the backtest's over {result.n} days, and surely above {max_decay:+.0%}"
        )
    else:
        verdict = "no decay"
        reason = (
            f"live error is {ratio:+.1%} against the backtest's over {result.n} days; not surely above {max_decay:+.0%}"
        )
    return Evidence(
        question=f"Is the live error more than {max_decay:.0%} above the backtest's?",
        verdict=verdict,
        reason=reason,
        effect=ratio,
        unit="share of the promised absolute error",
        lower=None if result.lower is None else result.lower + max_decay,
        upper=None if result.upper is None else result.upper + max_decay,
        n=result.n,
        observation="one day's absolute errors, summed over series and steps",
        method="asymptotic confidence sequence (Waudby-Smith et al. 2024) with long-run variance",
        guarantee=f"says decay wrongly in at most {alpha:.0%} of cases, however often it is looked at, while the "
        "dependence between days fades within about two weeks",
        would_change="more days of truth" if verdict != "decay" else "live errors falling back to the promised level",
        series={
            "index": daily.index[usable].tolist(),
            "absolute": daily.absolute[usable].tolist(),
            "expected": promised.tolist(),
        },
    )


def _sums(where: NDArray[np.int64], weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.bincount(where, weights, size).astype(np.float64)


def _pairs(joined: Sequence[JoinedForecast]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    if not joined:
        return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
    masks = [np.isfinite(each.actual) for each in joined]
    steps = [np.broadcast_to(each.steps, each.mean.shape)[mask] for each, mask in zip(joined, masks, strict=True)]
    forecast = [each.mean[mask] for each, mask in zip(joined, masks, strict=True)]
    actual = [each.actual[mask] for each, mask in zip(joined, masks, strict=True)]
    return np.concatenate(steps), np.concatenate(forecast), np.concatenate(actual)


def _days(each: JoinedForecast) -> NDArray[np.int64]:
    return each.index[np.isfinite(each.actual).any(axis=0)]


def _coverage(joined: Sequence[JoinedForecast], level: float) -> float | None:
    inside = total = 0
    for each in joined:
        if level not in each.lower:
            continue
        low, high = each.lower[level], each.upper[level]
        known = np.isfinite(each.actual) & np.isfinite(low) & np.isfinite(high)
        inside += int(((each.actual >= low) & (each.actual <= high) & known).sum())
        total += int(known.sum())
    return inside / total if total else None


def _by_step(
    steps: NDArray[np.int64],
    forecast: NDArray[np.float64],
    actual: NDArray[np.float64],
    expected: Mapping[int, float],
) -> list[dict[str, Any]]:
    table = []
    for step in np.unique(steps).tolist():
        here = steps == step
        total = float(np.abs(actual[here]).sum())
        error = float(np.abs(forecast[here] - actual[here]).sum())
        table.append(
            {
                "step": step,
                "n": int(here.sum()),
                "actual": total,
                "wape": error / total if total else None,
                "expected": expected.get(step),
            }
        )
    return table


def _expected(by_step: Sequence[Mapping[str, Any]]) -> float | None:
    known = [row for row in by_step if row["expected"] is not None]
    total = sum(row["actual"] for row in known)
    return sum(row["expected"] * row["actual"] for row in known) / total if total else None


def _lookup(table: Mapping[int, float], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    longest = max([*table, int(steps.max(initial=0))])
    dense = np.full(longest + 2, np.nan)
    for step, value in table.items():
        dense[step] = value
    return dense[np.clip(steps, 0, longest + 1)]
