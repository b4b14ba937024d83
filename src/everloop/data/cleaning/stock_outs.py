"""Stock-outs inferred from runs of zeros: runs that the series' own recent behaviour makes too unlikely.

Without stock-outs, whether an article sells on a day is taken for a Markov chain of two states whose chance of
a zero depends on the weekday and on whether the day before was a zero (Willemain, Smart and Schwarz 2004, "A new
approach to forecasting intermittent demand for service parts inventories"; that abnormally long runs of zeros
show stock-outs is the idea of Montoya and Gonzalez 2019, "A hidden Markov model to detect on-shelf out-of-stocks
using point-of-sale data", whose hidden state is left out here). From the periods before a run began:

- ``p_w``: the share of zeros on the weekday ``w`` in the long window, drawn towards the share of all weekdays with
  the weight of four observations, and raised by the factor by which zeros are more frequent in the recent window;
- ``p_00``: the share of zeros after a zero in the long window, drawn likewise.

The probability that a run beginning on a given day gets as long as it is, is at most the product of ``p_w`` on its
first day and ``max(p_w, p_00)`` on each later one. Where the chain is the truth, the chance that a run reaching a
product of ``b`` begins on a given day is at most ``b``, so by the union bound at most ``b`` times the number of series
and days are marked wrongly, however long each series is: ``b`` is set as that rate. No probability is taken below 2 %.

A run is marked as a whole once its product is small enough, and each day of it is known to be marked from that day
on. Earlier stock-outs would make zeros look common: so zeros of a suspect run (a product of the ``p_w`` alone below
one in a thousand) do not count in the rates of later runs. That trims a little of what chance does, too, and the rates
are estimates: so a product must come to a third of ``b``. With it, under simulated chains of weak to strong
persistence, the rate of wrongly marked runs stays below ``b``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.data.cleaning.block import counts_before, seasonal_counts_before
from everloop.data.cleaning.windows import Reach

__all__ = ["find_runs"]

_WEIGHT = 4.0
_LEAST_P = 0.02
_CAUTION = 3.0
_LOG_SUSPECT = np.log(1e-3)
_LEAST_SEEN = 2
"""So many times the recent window must have been seen in the long one, and half of the recent one."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Runs:
    """Stretches without a sale: their series' row, first column and length in periods."""

    row: Ints
    start: Ints
    length: Ints


def find_runs(
    y: NDArray[np.float32], hidden: NDArray[np.bool_], reach: Reach, *, bound: float, longest: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which cells lie in a run of zeros too long to be chance, and the column at which that was known.

    Args:
        y: targets, shape ``(n, columns)``, NaN where there is none.
        hidden: cells that say nothing: closed days, told stock-outs. They neither break a run nor lengthen it.
        reach: the windows.
        bound: the rate of wrongly marked runs per series and period.
        longest: only so many periods from the beginning of a run are marked.
    """
    is_seen = np.isfinite(y) & ~hidden
    is_zero = is_seen & (y == 0)
    runs = _stretches(is_zero, is_seen)
    by_place, _ = _rates(is_seen, is_zero, runs, reach)
    enough = float(np.log(bound / _CAUTION))
    suspect, _ = _judge(
        is_zero, runs, by_place, by_place.min(axis=1, initial=1.0), (max(enough, _LOG_SUSPECT), longest)
    )
    by_place, after_zero = _rates(is_seen & ~suspect, is_zero & ~suspect, runs, reach)
    return _judge(is_zero, runs, by_place, after_zero, (enough, longest))


def _stretches(is_zero: NDArray[np.bool_], is_seen: NDArray[np.bool_]) -> _Runs:
    """Stretches of two zeros or more with no sale between; each begins with a zero."""
    is_sale = is_seen & ~is_zero
    columns = np.arange(is_zero.shape[1], dtype=np.int32)[None, :]
    # the newest sale and the newest zero before each cell: a run begins at a zero after which no zero came since a sale
    last_sale = np.maximum.accumulate(np.where(is_sale, columns, np.int32(-1)), axis=1)
    last_zero = np.maximum.accumulate(np.where(is_zero, columns, np.int32(-2)), axis=1)
    before = np.concatenate([np.full((len(is_zero), 1), -2, dtype=np.int32), last_zero[:, :-1]], axis=1)
    row, start = np.nonzero(is_zero & (before <= last_sale))
    next_sale = np.where(is_sale, columns, np.int32(is_zero.shape[1]))
    next_sale = np.minimum.accumulate(next_sale[:, ::-1], axis=1)[:, ::-1]
    length = next_sale[row, start] - start
    long = (length > 1) & (last_sale[row, start] >= 0)
    return _Runs(row[long], start[long], length[long].astype(np.int64))


def _judge(
    is_zero: NDArray[np.bool_],
    runs: _Runs,
    rates: Floats,
    after_zero: Floats,
    limits: tuple[float, int],
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Mark the runs whose probability falls below the bound, and no more of each than the longest run."""
    log_bound, longest = limits
    marked = np.zeros(is_zero.shape, dtype=bool)
    known_from = np.zeros(is_zero.shape, dtype=np.int32)
    length = np.minimum(runs.length, longest)
    # a run that would not do with its smallest probability on all days needs no closer look
    can = length * np.log(rates.min(axis=1, initial=1.0)) <= log_bound
    row, start, length, rates, after_zero = (each[can] for each in (runs.row, runs.start, length, rates, after_zero))
    if not len(row):
        return marked, known_from
    run = np.repeat(np.arange(len(row)), length)
    day = np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length)
    cell = (row[run], start[run] + day)
    p = rates[run, day % rates.shape[1]]
    p = np.where(day > 0, np.maximum(p, after_zero[run]), p)
    terms = np.where(is_zero[cell], np.log(p), 0.0)
    # summed run by run, so that a sum has the same bits wherever the run lies
    sums = _sums_within(terms, run, day, length)
    is_enough = sums <= log_bound
    crossing = np.full(len(row), np.iinfo(np.int64).max)
    np.minimum.at(crossing, run[is_enough], day[is_enough])
    hit = (crossing[run] < np.iinfo(np.int64).max) & is_zero[cell]
    marked[cell[0][hit], cell[1][hit]] = True
    known_from[cell[0][hit], cell[1][hit]] = (start[run] + np.maximum(day, crossing[run]))[hit]
    return marked, known_from


def _sums_within(terms: Floats, run: Ints, day: Ints, length: Ints) -> Floats:
    """The running sum of the terms of each run."""
    width = int(length.max())
    sums = np.empty(len(terms))
    for first in range(0, len(length), 20_000):
        part = slice(int(length[:first].sum()), int(length[: first + 20_000].sum()))
        block = np.zeros((min(20_000, len(length) - first), width))
        block[run[part] - first, day[part]] = terms[part]
        sums[part] = np.cumsum(block, axis=1)[run[part] - first, day[part]]
    return sums


def _rates(
    is_known: NDArray[np.bool_], known_zero: NDArray[np.bool_], runs: _Runs, reach: Reach
) -> tuple[Floats, Floats]:
    """For each run the chance of a zero by place in the season, from its first day's on, and that after a zero.

    Both are 1 where too little was seen before the run.
    """
    place = (runs.row, runs.start)
    seen = counts_before(is_known, reach.long)[place]
    zeros = counts_before(known_zero, reach.long)[place]
    overall = (zeros + 0.5) / (seen + 1)
    seen_recently = counts_before(is_known, reach.recent)[place]
    recent = (counts_before(known_zero, reach.recent)[place] + 0.5) / (seen_recently + 1)
    rise = np.maximum(recent / overall, 1.0)
    by_place = np.empty((len(runs.row), reach.season))
    seasonal_seen = seasonal_counts_before(is_known, reach.long, reach.season)
    seasonal_zeros = seasonal_counts_before(known_zero, reach.long, reach.season)
    for ahead in range(reach.season):
        # the same weekday's cell within the week before the run, whose own count is added to those before it
        back = np.maximum(runs.start - (reach.season - ahead), 0) if ahead else runs.start
        n = seasonal_seen[runs.row, back] + (is_known[runs.row, back] if ahead else 0)
        z = seasonal_zeros[runs.row, back] + (known_zero[runs.row, back] if ahead else 0)
        by_place[:, ahead] = (z + _WEIGHT * overall) / (n + _WEIGHT) * rise
    pairs = np.zeros(is_known.shape, dtype=bool)
    pairs[:, 1:] = known_zero[:, :-1] & is_known[:, 1:]
    twos = np.zeros(is_known.shape, dtype=bool)
    twos[:, 1:] = known_zero[:, :-1] & known_zero[:, 1:]
    after = (counts_before(twos, reach.long)[place] + _WEIGHT * overall) / (
        counts_before(pairs, reach.long)[place] + _WEIGHT
    )
    too_few = (seen < _LEAST_SEEN * reach.recent) | (seen_recently < reach.recent // 2)
    by_place[too_few], after[too_few] = 1.0, 1.0
    return np.clip(by_place, _LEAST_P, 1.0), np.clip(after, _LEAST_P, 1.0)
