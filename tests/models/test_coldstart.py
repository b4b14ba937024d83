"""New series: levels of siblings are found, own days count as far as they carry, and nothing later is read."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.core.digest import digest_tree
from everloop.core.errors import RequestError
from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel
from everloop.models.coldstart import ColdStart
from everloop.models.coldstart_learning import Task
from everloop.models.credibility import learn_effects
from everloop.models.forecaster import Forecast, ForecastRequest
from everloop.models.unseen import with_unseen

CUTOFF, DAYS, HORIZON = 15_003, 500, 14
KINDS = {"bread": 8.0, "cake": 2.0, "tea": 0.5}
RNG = np.random.default_rng


def shop(first: NDArray[np.int64], rate: NDArray[np.float64], kind: NDArray[np.int64], seed: int = 1) -> Panel:
    """Items of some kinds that begin ``first`` days before the cutoff, with a sale on their first day."""
    random = RNG(seed)
    y, lengths = [], first + 1
    for row, length in enumerate(lengths.tolist()):
        sales = random.poisson(rate[row], length).astype(np.float32)
        sales[0] = max(sales[0], 1.0)
        y.append(sales)
    price = (20.0 - 2 * kind).astype(np.float32)
    return Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"{row:04d}",) for row in range(len(first))),
        CUTOFF,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(y),
        known={"price": np.repeat(price, lengths)},
        static={"kind": kind.astype(np.float32)},
        categories={"kind": tuple(KINDS)},
        future=Future(HORIZON, {"price": np.tile(price[:, None], (1, HORIZON))}),
    )


def launches(n: int = 240, seed: int = 0) -> Panel:
    """Items of three kinds whose levels scatter about their kind's as a gamma variable of shape 2."""
    random = RNG(seed)
    kind = np.arange(n) % 3
    rate = np.array(list(KINDS.values()))[kind] * random.gamma(2.0, 0.5, n)
    first = np.where(np.arange(n) < 12, DAYS, random.integers(60, DAYS - 60, n))
    return shop(first, rate, kind, seed)


@cache
def learned() -> ColdStart:
    return ColdStart.learn(launches(), horizon=HORIZON, seed=3)


def test_levels_of_siblings_are_found() -> None:
    cold = learned()
    assert cold.launches == 228
    new = shop(np.zeros(3, np.int64), np.ones(3), np.arange(3))
    nothing = replace(new, y=np.full(3, np.nan, dtype=np.float32))
    mean = cold.mean(nothing, np.arange(3), HORIZON).mean(axis=1)
    assert np.all(np.abs(np.log(mean / np.array([8.0, 2.0, 0.5]))) < 0.25)


def test_a_kind_not_seen_has_the_mean_of_all() -> None:
    new = shop(np.zeros(1, np.int64), np.ones(1), np.zeros(1, np.int64))
    strange = replace(
        new,
        y=np.full(1, np.nan, dtype=np.float32),
        static={"kind": np.array([np.nan], np.float32)},
        known={},
        future=Future(0, {}),
    )
    level = learned().mean(strange, np.array([0]), HORIZON).mean()
    assert 1.5 < level < 5.5


@pytest.mark.parametrize("age", [3, 7, 20])
def test_own_days_and_siblings_together_beat_either(age: int) -> None:
    random = RNG(9)
    n = 1500
    kind = np.arange(n) % 3
    rate = np.array(list(KINDS.values()))[kind] * random.gamma(2.0, 0.5, n)
    new = shop(np.full(n, age), rate, kind, seed=4)
    mean = learned().mean(new, np.arange(n), HORIZON).mean(axis=1)
    own = new.last(age).mean(axis=1)
    group = np.array(list(KINDS.values()))[kind]
    loss = [float((((found - rate) ** 2) / group).mean()) for found in (mean, own, group)]
    assert loss[0] < loss[1]
    assert loss[0] < loss[2]
    # the best that could be done: the posterior mean under the true prior
    best = group * (2.0 + own * age) / (2.0 + group * age)
    assert loss[0] < 1.6 * float((((best - rate) ** 2) / group).mean())


def test_intervals_cover_launches_of_another_draw() -> None:
    random = RNG(12)
    n = 900
    kind = np.arange(n) % 3
    rate = np.array(list(KINDS.values()))[kind] * random.gamma(2.0, 0.5, n)
    truth = random.poisson(rate[:, None], (n, HORIZON))
    for age in (4, 14):
        answer = learned().forecast(shop(np.full(n, age), rate, kind, seed=5), ForecastRequest(HORIZON, (80.0, 95.0)))
        for level in (80.0, 95.0):
            covered = ((truth >= answer.lower[level]) & (truth <= answer.upper[level])).mean(axis=1)
            margin = 3 * covered.std() / np.sqrt(n) + 0.02  # 228 launches were learnt from, they vary too
            assert level / 100 - margin < covered.mean() < level / 100 + margin + 0.06  # counts cover more


def test_an_interval_is_wider_the_less_is_known() -> None:
    n = 90
    kind = np.arange(n) % 3
    rate = np.array(list(KINDS.values()))[kind]
    width = []
    for age in (0, 2, 20):
        panel = shop(np.full(n, age), rate, kind)
        if age == 0:
            panel = replace(panel, y=np.full(n, np.nan, dtype=np.float32))
        answer = learned().forecast(panel, ForecastRequest(HORIZON, (80.0,)))
        width.append(float(((answer.upper[80.0] - answer.lower[80.0]) / np.sqrt(answer.mean)).mean()))
    assert width[0] > width[1] > width[2]


def test_who_is_new() -> None:
    panel = shop(np.array([0, 27, 28, 60, 60]), np.full(5, 3.0), np.zeros(5, np.int64))
    y = panel.y.copy()
    y[panel.offsets[3] : panel.offsets[3] + 50] = 0.0  # on the list for 50 days, sold since
    y[panel.offsets[3] + 50] = 1.0
    y[panel.offsets[4] :] = 0.0  # never sold in two months
    assert learned().is_new(replace(panel, y=y)).tolist() == [True, True, False, True, False]


def test_zeros_without_a_sale_lower_the_level() -> None:
    panel = shop(np.array([12, 0]), np.array([2.0, 2.0]), np.array([1, 1]))
    y = np.zeros_like(panel.y)
    y[-1] = np.nan
    mean = learned().mean(replace(panel, y=y), np.arange(2), HORIZON).mean(axis=1)
    assert mean[0] < 0.5 * mean[1]


def test_an_answer_replaces_new_series_alone() -> None:
    panel = shop(np.array([5, 300, 3]), np.full(3, 3.0), np.arange(3))
    flat = np.full((2, HORIZON), 7.0)
    base = Forecast(np.array([2, 1]), CUTOFF, flat, {80.0: flat - 1}, {80.0: flat + 1})
    answer = learned().answer(base, learned().prepare(panel))
    assert (answer.mean[1] == 7.0).all()
    assert (answer.upper[80.0][1] == 8.0).all()
    alone = learned().forecast(panel, ForecastRequest(HORIZON, (80.0,), np.array([2])))
    np.testing.assert_array_equal(answer.mean[0], alone.mean[0])
    np.testing.assert_array_equal(answer.upper[80.0][0], alone.upper[80.0][0])
    old = replace(base, series=np.array([1]), mean=flat[:1])
    assert learned().answer(old, learned().prepare(panel)) is old


def test_a_series_alone_has_the_same_bits_and_a_tail_is_enough() -> None:
    panel = shop(np.array([5, 300, 3, 0, 27]), np.full(5, 3.0), np.array([0, 1, 2, 0, 1]))
    together = learned().mean(panel, np.arange(5), HORIZON)
    for row in range(5):
        np.testing.assert_array_equal(learned().mean(panel, np.array([row]), HORIZON)[0], together[row])
    np.testing.assert_array_equal(learned().mean(panel.tail(56), np.arange(5), HORIZON), together)


def test_what_is_judged_knows_nothing_later() -> None:
    """A launch is expected from what was known before it: spoiling all that came later moves nothing."""
    random = RNG(6)
    k, young, horizon = 200, 28, 14
    first = np.sort(random.integers(1000, 1400, k))
    flat = random.poisson(3.0, (k, 1 + young + horizon)).astype(np.float64)
    flat[:, 0] = np.nan
    codes = random.integers(0, 4, (1, k))
    task = Task(flat, np.ones_like(flat), codes, [4], first, 1450, True, young, 7, True)
    trial = task._trial(200.0, 1)
    assert len(trial.rows) > 150
    middle = int(np.quantile(first, 0.5))
    begin = first[np.searchsorted(first, middle)]
    later = first[:, None] + np.arange(flat.shape[1]) >= begin
    spoiled = replace(task, flat=np.where(later, flat * 100, flat))._trial(200.0, 1)
    early = first[trial.rows] <= begin
    np.testing.assert_array_equal(spoiled.level[early], trial.level[early])
    assert not np.array_equal(spoiled.level[~early], trial.level[~early])


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ColdStart.learn(launches(), horizon=HORIZON, seed=3).save(tmp_path / name)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    again = ColdStart.load(tmp_path / "one")
    assert again.learned() == learned().learned()
    panel = shop(np.array([5, 0, 3]), np.full(3, 3.0), np.arange(3))
    request = ForecastRequest(HORIZON, (80.0,))
    np.testing.assert_array_equal(
        again.forecast(panel, request).upper[80.0], learned().forecast(panel, request).upper[80.0]
    )


def test_without_launches_all_series_stand_in() -> None:
    old = shop(np.full(90, 200), np.repeat(np.array(list(KINDS.values())), 30), np.repeat(np.arange(3), 30))
    cold = ColdStart.learn(old, horizon=HORIZON, seed=3)
    assert cold.learned()["stand_ins"] == 90
    new = shop(np.zeros(3, np.int64), np.ones(3), np.arange(3))
    mean = cold.mean(replace(new, y=np.full(3, np.nan, dtype=np.float32)), np.arange(3), HORIZON).mean(axis=1)
    np.testing.assert_allclose(mean, [8.0, 2.0, 0.5], rtol=0.3)


def test_targets_of_both_signs_are_added() -> None:
    panel = launches()
    both = replace(panel, y=(panel.y - 4).astype(np.float32))
    cold = ColdStart.learn(both, horizon=HORIZON, seed=3)
    new = shop(np.zeros(3, np.int64), np.ones(3), np.arange(3))
    mean = cold.mean(replace(new, y=np.full(3, np.nan, dtype=np.float32)), np.arange(3), HORIZON).mean(axis=1)
    np.testing.assert_allclose(mean, [4.0, -2.0, -3.5], atol=1.2)
    answer = cold.forecast(new, ForecastRequest(HORIZON, (80.0,)))
    assert (answer.lower[80.0] < answer.mean).all()


def test_groups_that_differ_by_chance_drop_out_and_others_are_found() -> None:
    random = RNG(2)
    truth = np.array([0.5, 1.0, 2.0])
    codes = np.stack([random.integers(0, 3, 600), random.integers(0, 40, 600)])
    level = 5 * truth[codes[0]] * random.gamma(4.0, 0.25, 600)
    effects = learn_effects(level, np.ones(600), codes, [3, 40], is_ratio=True)
    ratio = effects.groups[0][:3] / effects.groups[0][1]
    np.testing.assert_allclose(ratio, truth, rtol=0.2)
    assert effects.groups[1].std() < 0.08 < np.array([level[codes[1] == group].mean() / 6 for group in range(40)]).std()
    assert effects.groups[0][-1] == 1.0  # unknown


def test_a_small_group_is_drawn_to_none_more_than_a_large_one() -> None:
    codes = np.array([[0] * 100 + [1] * 100 + [2] * 2])
    random = RNG(5)
    level = np.concatenate([random.gamma(4.0, 0.25, 100), 3 * random.gamma(4.0, 0.25, 100), [3.0, 3.0]])
    effects = learn_effects(level, np.ones(202), codes, [3], is_ratio=True).groups[0]
    assert effects[0] < 1 < effects[2] < effects[1]


def test_a_series_that_the_panel_does_not_hold() -> None:
    panel = shop(np.array([300, 200]), np.array([8.0, 2.0]), np.array([0, 1]))
    price = np.array([[16.0] * HORIZON, [20.0] * HORIZON], dtype=np.float32)
    wider = with_unseen(panel, [("zz",), ("0000a",)], {"kind": ["tea", "bread"]}, {"price": price})
    assert [key[0] for key in wider.keys] == ["0000", "0000a", "0001", "zz"]
    assert wider.static["kind"].tolist() == [0.0, 0.0, 1.0, 2.0]
    assert wider.future.columns["price"][:, 0].tolist() == [20.0, 20.0, 18.0, 16.0]
    np.testing.assert_array_equal(wider.last(50)[[0, 2]], panel.last(50))
    assert learned().is_new(wider).tolist() == [False, True, False, True]
    mean = learned().mean(wider, np.array([1, 3]), HORIZON).mean(axis=1)
    assert mean[0] > 5 > 1 > mean[1]


@pytest.mark.parametrize(
    ("keys", "static", "code"),
    [
        ([("0000",)], {}, "series_known"),
        ([("a", "b")], {}, "series_key"),
        ([("a",)], {"kin": ["tea"]}, "static_unknown"),
        ([("a",)], {"kind": ["tea", "tea"]}, "future_shape"),
    ],
)
def test_what_does_not_fit_is_an_error(
    keys: list[tuple[str, ...]], static: dict[str, list[str | float | None]], code: str
) -> None:
    panel = shop(np.array([30]), np.array([8.0]), np.array([0]))
    with pytest.raises(RequestError) as raised:
        with_unseen(panel, keys, static, {})
    assert raised.value.code == code
