"""Drift against its claims: few false alarms a year, changes found and dated, and the same answer in any order."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from drift_streams import FIRST, autoregressive, streams
from everloop.stats.drift.judging import Judgement, gather, judge, log_threshold, sudden, watch
from everloop.stats.drift.reference import Reference, learn

Floats = NDArray[np.float64]
HISTORY = 730
FAMILY = 40
YEARS = 20


@cache
def learnt(shape: str) -> tuple[NDArray[np.int64], Floats, Reference]:
    days, values = streams(3, shape, number=FAMILY * YEARS)
    return days, values, learn(days[:HISTORY], values[:HISTORY], ["value"] * values.shape[1])


def evidence(reference: Reference, days: NDArray[np.int64], values: Floats, rate: float) -> tuple[Floats, Floats]:
    """The evidence and the sudden alarms of many families at once."""
    # the budget of one period is that of the family, though many families are judged at once
    families = values.shape[1] // FAMILY
    watched = watch(reference, days, values)
    jumps = sudden(reference, watched, false_alarms_per_year=rate * families)
    threshold = log_threshold(FAMILY, false_alarms_per_year=rate)
    return gather(reference, watched, jumps, threshold).evidence >= threshold, jumps


@pytest.mark.parametrize("shape", ["independent", "autocorrelated", "retail"])
def test_years_without_drift_raise_no_more_alarms_than_the_user_set(shape: str) -> None:
    days, values, reference = learnt(shape)
    rate = 0.2
    over, _ = evidence(reference, days[HISTORY:], values[HISTORY:], rate)
    years = over.any(axis=0).reshape(YEARS, FAMILY).any(axis=1)
    # at the lower end of its interval the rate of years with an alarm is not above what was set
    assert binomtest(int(years.sum()), YEARS, rate, alternative="greater").pvalue > 0.05


@pytest.mark.parametrize(("shift", "most"), [(2.0, 14), (4.0, 7), (30.0, 1)])
def test_a_shift_is_found_and_dated(shift: float, most: int) -> None:
    days, values, reference = learnt("seasonal")
    changed = values[HISTORY:].copy()
    changed[100:] += shift
    over, _ = evidence(reference, days[HISTORY:], changed, 0.05)
    quiet = ~over[:100].any(axis=0)
    delays = np.where(over[100:].any(axis=0), over[100:].argmax(axis=0) + 1, 999)[quiet]
    assert np.median(delays) <= most
    one = reference.select([5])
    stop = 100 + int(delays[5])
    found = judge(one, days[HISTORY:][:stop], changed[:stop, 5:6])
    assert abs(found.since[0] - days[HISTORY + 100]) <= 5
    assert found.shift[0] == pytest.approx(shift, rel=0.5)


def test_few_of_the_named_are_named_by_mistake() -> None:
    days, values, reference = learnt("retail")
    wrong = named = 0
    for year in range(YEARS):
        part = slice(year * FAMILY, (year + 1) * FAMILY)
        changed = values[HISTORY : HISTORY + 130, part].copy()
        changed[100:, :4] += 3.0
        found = judge(reference.select(np.arange(part.start, part.stop)), days[HISTORY : HISTORY + 130], changed)
        named += int(found.is_alarm.sum())
        wrong += int(found.is_alarm[4:].sum())
    assert named > 40
    assert binomtest(wrong, named, 0.1, alternative="greater").pvalue > 0.05


def same(first: Judgement, second: Judgement) -> bool:
    fields = ("is_alarm", "is_sudden", "is_judged", "log_evidence", "since", "day", "expected", "seen", "sd", "shift")
    return first.first_alarm == second.first_alarm and all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=name in ("expected", "seen"))
        for name in fields
    )


def test_one_go_day_by_day_and_after_a_restart_are_the_same() -> None:
    days, values, _ = learnt("retail")
    kinds = ["value"] * 6 + ["share", "bias", "error", "unseen"]
    own = values[:, :10].copy()
    own[:, 6] = 0.5 + 0.01 * own[:, 6]
    own[:, 9] = 0.0
    own[40:60, 2] = np.nan
    own[HISTORY + 50 : HISTORY + 53, 3] = np.nan
    own[HISTORY + 60 :, 1] += 2.5
    reference = learn(days[:HISTORY], own[:HISTORY], kinds)
    restarted = Reference.unpack(reference.pack())
    whole = judge(reference, days[HISTORY:], own[HISTORY:])
    assert whole.first_alarm is not None
    for stop in (HISTORY + 30, HISTORY + 75, HISTORY + 200):
        part = judge(restarted, days[HISTORY:stop], own[HISTORY:stop])
        length = stop - HISTORY
        assert np.array_equal(part.evidence, whole.evidence[:length])
        # days of the reference handed in again change nothing
        assert same(part, judge(reference, days[100:stop], own[100:stop]))
    # streams do not see one another, so their order does not matter
    order = np.random.default_rng(0).permutation(10)
    mixed = judge(reference.select(order), days[HISTORY:], own[HISTORY:][:, order])
    assert np.allclose(mixed.evidence, whole.evidence[:, order])


def test_an_unseen_category_of_one_percent_is_found_on_its_first_day() -> None:
    days = np.arange(FIRST, FIRST + 130)
    shares = np.zeros((130, 1))
    shares[120:] = 2 * np.arcsin(np.sqrt(0.01))
    reference = learn(days[:100], shares[:100], ["unseen"])
    assert not judge(reference, days[100:120], shares[100:120]).any_alarm
    found = judge(reference, days[100:121], shares[100:121])
    assert found.is_alarm.all()
    assert found.is_sudden.all()
    assert found.since[0] == days[120]


def test_a_bias_of_a_fifth_is_found_within_three_weeks() -> None:
    rng = np.random.default_rng(8)
    noise = 0.1 * autoregressive(rng, rng.uniform(0.2, 0.6, 100), rng.normal(size=(530, 100)))
    days = np.arange(FIRST, FIRST + 430)
    reference = learn(days[:180], noise[:180], ["bias"] * 100)
    changed = noise[180:].copy()
    changed[30:] += np.log(1.2)
    delays = []
    for place in range(100):
        found = judge(reference.select([place]), days[180:], changed[:, place : place + 1])
        delays.append(999 if found.first_alarm is None else found.first_alarm - int(days[210]) + 1)
    assert np.median(delays) <= 21


def test_too_little_history_is_said_and_weeks_have_a_weekday_season() -> None:
    days, values, _ = learnt("seasonal")
    few = learn(days[:20], values[:20, :3], ["value"] * 3)
    assert few.too_little.all()
    assert not judge(few, days[20:60], values[20:60, :3] + 50).is_judged.any()
    assert learn(days[:70], values[:70, :3], ["value"] * 3).season == "weekday"
    assert learn(days[:600], values[:600, :3], ["value"] * 3).season == "weekday and year"


def test_a_stream_with_a_shorter_past_learns_from_that_alone() -> None:
    rng = np.random.default_rng(6)
    days = np.arange(FIRST, FIRST + HISTORY + 120)
    values = rng.normal(size=(len(days), 3))
    values[: HISTORY - 90, 1:] = np.nan
    values[:, 1:] += 40 + 3 * ((days + 3) % 7 == 5)[:, None]
    reference = learn(days[:HISTORY], values[:HISTORY], ["value", "value", "error"])
    found = judge(reference, days[HISTORY:], values[HISTORY:])
    assert found.is_judged.all()
    assert found.first_alarm is None
    assert np.abs(found.watched.usual[:, 1:] - 40 - 3 * ((days[HISTORY:] + 3) % 7 == 5)[:, None]).max() < 1.2
    values[HISTORY + 60 :, 2] += 3
    assert judge(reference, days[HISTORY:], values[HISTORY:]).is_alarm.tolist() == [False, False, True]


def test_weekly_periods_work() -> None:
    weeks = np.arange(FIRST, FIRST + 7 * 160, 7)
    values = np.random.default_rng(4).normal(size=(160, 5))
    reference = learn(weeks[:104], values[:104], ["value"] * 5, period_days=7)
    assert not judge(reference, weeks[104:], values[104:]).any_alarm
    values[130:, 2] += 5
    found = judge(reference, weeks[104:], values[104:])
    assert found.is_alarm.tolist() == [False, False, True, False, False]


def test_an_accepted_change_is_the_new_usual() -> None:
    days, values, reference = learnt("independent")
    one = reference.select([0])
    changed = values[HISTORY:, :1].copy()
    changed[60:] += 3
    assert judge(one, days[HISTORY:][:100], changed[:100]).any_alarm
    accepted = int(days[HISTORY + 80])
    assert not judge(one, days[HISTORY:][:100], changed[:100], since=accepted).is_judged.any()
    later = judge(one, days[HISTORY:], changed, since=accepted)
    assert later.is_judged.all()
    assert not later.any_alarm
    changed[250:] += 3
    again = judge(one, days[HISTORY:][:290], changed[:290], since=accepted)
    assert again.is_alarm.all()
    assert again.since[0] == pytest.approx(days[HISTORY + 250], abs=5)


def test_a_constant_that_changes_is_an_alarm() -> None:
    days = np.arange(FIRST, FIRST + 120)
    values = np.full((120, 2), 3.0)
    reference = learn(days[:100], values[:100], ["value", "share"])
    assert not judge(reference, days[100:110], values[100:110]).any_alarm
    values[110:, 0] = 4.0
    assert judge(reference, days[100:111], values[100:111]).is_alarm.tolist() == [True, False]


@pytest.mark.filterwarnings("error")
def test_streams_with_holes_or_without_anything_are_borne() -> None:
    rng = np.random.default_rng(1)
    days = np.arange(FIRST, FIRST + 800)
    values = rng.normal(size=(800, 5))
    values[:, 1] = np.nan
    values[:790, 2] = np.nan
    values[::3, 3] = np.nan
    values[:, 4] = 0.0
    kept = np.ones(800, dtype=bool)
    kept[100:130] = kept[750:760] = False
    past, later = kept & (days < FIRST + HISTORY), kept & (days >= FIRST + HISTORY)
    reference = learn(days[past], values[past], ["value"] * 4 + ["share"])
    found = judge(reference, days[later], values[later])
    assert found.is_judged.tolist() == [True, False, False, True, True]
    assert not found.any_alarm
    assert judge(reference, days[:0], values[:0]).day.tolist() == [-1] * 5
    nothing = learn(days[:100], values[:100, :0], [])
    assert not judge(nothing, days[100:110], values[100:110, :0]).any_alarm


def test_holidays_may_be_given() -> None:
    rng = np.random.default_rng(2)
    days = np.arange(FIRST, FIRST + 800)
    holiday = (rng.random((800, 1)) < 0.02).astype(float)
    values = rng.normal(size=(800, 1)) + 15 * holiday
    reference = learn(days[:HISTORY], values[:HISTORY], ["value"], regressors=holiday[:HISTORY])
    found = judge(reference, days[HISTORY:], values[HISTORY:], regressors=holiday[HISTORY:])
    assert not found.any_alarm
    assert np.abs(found.watched.errors).max() < 6


def test_what_does_not_fit_is_refused() -> None:
    days = np.arange(FIRST, FIRST + 40)
    with pytest.raises(ValueError, match="expected"):
        learn(days, np.zeros((40, 1)), ["other"])
    reference = learn(days, np.zeros((40, 1)), ["value"])
    with pytest.raises(ValueError, match="shape"):
        judge(reference, days, np.zeros((40, 2)))
    with pytest.raises(ValueError, match="no reference"):
        Reference.unpack(b"x")
    with pytest.raises(ValueError, match="first days"):
        learn(days * 2, np.zeros((40, 1)), ["value"], period_days=7)
