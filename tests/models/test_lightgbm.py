"""LightGBM over all series: what it learns, what-ifs, intervals, cold starts, and a light load."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everloop.core.digest import digest_tree
from everloop.core.errors import ModelError
from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel
from everloop.models import boosting, lightgbm
from everloop.models.asking import ask
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.panel_groups import of_series
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.models.unseen import with_unseen

HORIZON = 14
STRIDE = 7


def shop(n: int = 40, periods: int = 260, seed: int = 1) -> Panel:
    """Poisson sales: a weekly wave, and a price that halves or doubles demand."""
    random = np.random.default_rng(seed)
    total = periods + HORIZON
    price = random.choice([1.0, 1.25], size=(n, total), p=[0.7, 0.3])
    level = np.exp(random.uniform(0, 3, n))[:, None]
    wave = 1 + 0.5 * np.sin(2 * np.pi * np.arange(total) / 7)[None, :]
    y = random.poisson(level * wave * np.where(price > 1.1, 0.5, 1.0))
    return Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"s{row:03d}",) for row in range(n)),
        15_000,
        np.arange(n + 1) * periods,
        y[:, :periods].astype(np.float32).ravel(),
        known={"price": price[:, :periods].astype(np.float32).ravel()},
        future=Future(HORIZON, {"price": np.ascontiguousarray(price[:, periods:], dtype=np.float32)}),
    )


@pytest.fixture(scope="module")
def panel() -> Panel:
    return shop()


@pytest.fixture(scope="module")
def model(panel: Panel) -> LightGBMForecaster:
    return LightGBMForecaster().fit(panel.until(panel.cutoff - HORIZON, horizon=HORIZON), FitContext(HORIZON))


def truth(panel: Panel) -> np.ndarray:
    return panel.last(HORIZON).astype(np.float64)


def test_it_is_far_better_than_the_seasonal_naive(panel: Panel, model: LightGBMForecaster) -> None:
    naive = SeasonalNaiveForecaster().fit(panel.until(panel.cutoff - HORIZON, horizon=HORIZON), FitContext(HORIZON))
    errors = [np.abs(ask(each, ForecastRequest(HORIZON)).mean - truth(panel)).sum() for each in (naive, model)]
    assert errors[1] < 0.75 * errors[0]
    assert model.learned()["objective"] == "tweedie"


def test_intervals_cover_what_they_promise_on_days_not_seen(panel: Panel, model: LightGBMForecaster) -> None:
    answer = ask(model, ForecastRequest(HORIZON, (80.0, 95.0)))
    for level in (80.0, 95.0):
        inside = (truth(panel) >= answer.lower[level]) & (truth(panel) <= answer.upper[level])
        assert abs(inside.mean() - level / 100) < 0.05
        assert (answer.lower[level] >= 0).all()


def test_a_what_if_moves_the_asked_series_and_step(model: LightGBMForecaster) -> None:
    row = np.array([7])
    before = ask(model, ForecastRequest(HORIZON, series=row)).mean[0]
    price = np.full((1, HORIZON), np.nan, dtype=np.float32)
    stored = model.series_panel().future.columns["price"][7]
    step = int(np.argmax(stored < 1.1))
    price[0, step] = 1.25
    after = ask(model, ForecastRequest(HORIZON, series=row, future={"price": price})).mean[0]
    assert after[step] < 0.7 * before[step]
    # later strides know of it as of any other sale; the other steps of its own do not
    stride = slice(step // STRIDE * STRIDE, (step // STRIDE + 1) * STRIDE)
    same = [place for place in range(stride.stop) if place != step]
    np.testing.assert_array_equal(after[same], before[same])
    start = time.perf_counter()
    for _ in range(20):
        ask(model, ForecastRequest(HORIZON, (80.0,), row, {"price": price}))
    assert (time.perf_counter() - start) / 20 < 0.05  # some 2 ms where nothing else runs


def with_days_after(panel: Panel, days: np.ndarray) -> Panel:
    """The panel with its known-ahead days as history, and these targets on them."""
    n, steps = days.shape
    length = int(panel.lengths[0])
    ahead = panel.future.columns["price"]
    joined = {
        "y": np.concatenate([panel.y.reshape(n, length), days.astype(np.float32)], axis=1),
        "price": np.concatenate([panel.known["price"].reshape(n, length), ahead[:, :steps]], axis=1),
    }
    return replace(
        panel,
        cutoff=panel.cutoff + steps,
        offsets=np.arange(n + 1) * (length + steps),
        y=joined["y"].ravel(),
        known={"price": joined["price"].ravel()},
        future=Future(HORIZON - steps, {"price": np.ascontiguousarray(ahead[:, steps:])}),
    )


def test_a_second_stride_is_forecast_as_if_the_first_had_come_true(panel: Panel) -> None:
    model = LightGBMForecaster(trees=30).fit(panel, FitContext(HORIZON))
    assert model.learned()["stride"] == STRIDE
    whole = ask(model, ForecastRequest(HORIZON)).mean
    come_true = model.update(with_days_after(panel, whole[:, :STRIDE]))
    np.testing.assert_array_equal(ask(come_true, ForecastRequest(STRIDE)).mean, whole[:, STRIDE:])


def test_how_far_the_trees_see_may_be_set(panel: Panel) -> None:
    assert LightGBMForecaster(trees=2, stride=30).fit(panel, FitContext(HORIZON)).learned()["stride"] == HORIZON
    assert LightGBMForecaster(trees=2, stride=3).fit(panel, FitContext(HORIZON)).learned()["stride"] == 3
    with pytest.raises(ModelError, match="-1 steps") as caught:
        LightGBMForecaster(stride=-1).fit(panel, FitContext(HORIZON))
    assert caught.value.path == "train.options.lightgbm.stride"
    # nobody knows an observed column for the days between
    observed = replace(panel, observed={"visits": panel.y.copy()})
    assert LightGBMForecaster(trees=2).fit(observed, FitContext(HORIZON)).learned()["stride"] == HORIZON


def test_missing_known_ahead_values_are_noted(panel: Panel, model: LightGBMForecaster) -> None:
    assert ask(model, ForecastRequest(HORIZON)).notes == ()
    bare = model.update(replace(panel, future=Future(0, {})))
    assert ask(bare, ForecastRequest(3)).notes == ("price: last known value used where none is known ahead",)


def test_a_new_series_gets_a_forecast_from_what_it_has_in_common(panel: Panel, model: LightGBMForecaster) -> None:
    n = panel.n_series
    price = np.full((1, HORIZON), 1.0, dtype=np.float32)
    grown = replace(
        panel,
        keys=(*panel.keys, ("t",)),
        offsets=np.append(panel.offsets, panel.offsets[-1] + 1),
        y=np.append(panel.y, np.float32(np.nan)),
        known={"price": np.append(panel.known["price"], np.float32(1.0))},
        future=Future(HORIZON, {"price": np.concatenate([panel.future.columns["price"], price])}),
    )
    mean = ask(model.update(grown), ForecastRequest(HORIZON)).mean
    assert 0.1 * panel.y.mean() < mean[n].mean() < 10 * panel.y.mean()
    np.testing.assert_array_equal(mean[:n], ask(model.update(panel), ForecastRequest(HORIZON)).mean)


def test_forecasts_go_with_the_size_of_the_series(panel: Panel) -> None:
    """In another unit the same sales give the same forecast, in that unit."""
    context = FitContext(HORIZON)
    plain = ask(LightGBMForecaster(trees=30).fit(panel, context), ForecastRequest(HORIZON)).mean
    large = replace(panel, y=panel.y * np.float32(1024))
    scaled = ask(LightGBMForecaster(trees=30).fit(large, context), ForecastRequest(HORIZON)).mean / 1024
    # not the same bits: equally good splits fall out otherwise after rounding
    assert np.abs(scaled - plain).sum() < 0.05 * plain.sum()


def test_targets_below_zero_are_learnt_by_squared_error() -> None:
    panel = example_panels()["monthly balance"]
    model = LightGBMForecaster(trees=30).fit(panel, FitContext(6))
    assert model.learned()["objective"] == "regression"
    with pytest.raises(ModelError, match="no negative target"):
        LightGBMForecaster(objective="tweedie").fit(panel, FitContext(6))
    with pytest.raises(ModelError) as caught:
        LightGBMForecaster(objective="tweedy").fit(panel, FitContext(6))
    assert "'tweedie'" in caught.value.hint


def test_a_panel_without_any_value_is_an_error(panel: Panel) -> None:
    with pytest.raises(ModelError, match="no target"):
        LightGBMForecaster().fit(replace(panel, y=np.full_like(panel.y, np.nan)), FitContext(3))


def test_rows_are_bounded_and_the_newest_are_kept(panel: Panel) -> None:
    context = FitContext(2)
    model = LightGBMForecaster(trees=2, max_rows=2000, histories=[0.1]).fit(panel, context)
    assert 1900 <= model.learned()["rows"] <= 2000
    old = panel.index_of_rows() < panel.cutoff - 50 - 2 - model.memory
    changed = replace(panel, y=np.where(old, np.float32(500), panel.y))
    other = LightGBMForecaster(trees=2, max_rows=2000, histories=[0.1]).fit(changed, context)
    assert [each.text for _, each in other.boosters()] == [each.text for _, each in model.boosters()]


def test_of_very_many_series_a_share_is_learnt_from_that_reaches_back(panel: Panel) -> None:
    model = LightGBMForecaster(trees=2, max_rows=1000, histories=[1]).fit(panel, FitContext(HORIZON))
    assert 900 <= model.learned()["rows"] <= 1100
    assert model.learned()["past_errors"] > 0


def test_sets_of_trees_of_several_histories_forecast_their_mean(panel: Panel, tmp_path: Path) -> None:
    model = LightGBMForecaster(trees=5, max_rows=1000, histories=[0.2, 0.4]).fit(panel, FitContext(HORIZON))
    assert model.learned()["sets_of_trees"] == 2
    (_, first), (_, second) = model.boosters()
    assert first.text != second.text
    request = ForecastRequest(3, (80.0,))
    both = ask(model, request)
    alone = [ask(model.with_boosters([booster]), request).mean for booster in (first, second)]
    np.testing.assert_allclose(both.mean, (alone[0] + alone[1]) / 2)
    model.save(tmp_path)
    again = ask(LightGBMForecaster.load(tmp_path), request)
    assert again.mean.tobytes() == both.mean.tobytes()
    assert again.upper[80.0].tobytes() == both.upper[80.0].tobytes()
    whole = LightGBMForecaster(trees=2, histories=[0.2, 0.4]).fit(panel, FitContext(HORIZON))
    assert whole.learned()["sets_of_trees"] == 1
    with pytest.raises(ModelError, match="no years"):
        LightGBMForecaster(histories=[]).fit(panel, FitContext(HORIZON))


def test_what_is_saved_does_not_depend_on_the_number_of_cores(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "_ROWS_PER_THREAD", 1_000)  # so that a set has threads of its own
    saved = []
    for cores in (1, 2, 4):
        options = {"trees": 10, "max_rows": 5_000, "histories": [0.2, 0.6]}
        fitted = LightGBMForecaster(**options).fit(panel, FitContext(HORIZON, threads=cores))
        folder = tmp_path / str(cores)
        folder.mkdir()
        fitted.save(folder)
        saved.append(digest_tree(folder))
    assert saved[0] == saved[1] == saved[2]
    assert "booster-2.txt" in saved[0]


def test_machine_code_for_many_series_gives_the_same_bits(
    panel: Panel, model: LightGBMForecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightgbm, "_MANY_SERIES", 1)
    past = panel.until(panel.cutoff - HORIZON, horizon=HORIZON)
    hastened = LightGBMForecaster().fit(past, FitContext(HORIZON))
    request = ForecastRequest(HORIZON, levels=(80.0,))
    found, expected = ask(hastened, request), ask(model, request)
    assert found.mean.tobytes() == expected.mean.tobytes()
    assert found.upper[80.0].tobytes() == expected.upper[80.0].tobytes()


def test_any_level_can_be_asked_and_a_short_history_has_none(panel: Panel, model: LightGBMForecaster) -> None:
    answer = ask(model, ForecastRequest(3, (99.9,)))
    assert np.isnan(answer.lower[99.9]).any()
    assert any("99.9 %" in note for note in answer.notes)
    short = LightGBMForecaster(trees=2).fit(panel.tail(20), FitContext(HORIZON))
    answer = ask(short, ForecastRequest(3, (80.0,)))
    assert np.isnan(answer.lower[80.0]).all()
    assert answer.notes


def launches(*, began: bool, seed: int = 3) -> tuple[Panel, Panel]:
    """Series of levels that nothing tells; the panel, and that of 120 series which begin with its last horizon.

    Of the others, half began one after the other in the last year, where ``began`` says so.
    """
    random = np.random.default_rng(seed)
    days, n = 500, 240
    lengths = np.where(np.arange(n) % 2 == 0, days, random.integers(30, 330, n) if began else days)
    lengths = np.concatenate([lengths, np.full(120, HORIZON)])
    level = random.gamma(1.5, 4.0, len(lengths))
    whole = Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"s{row:03d}",) for row in range(len(lengths))),
        15_000,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        random.poisson(np.repeat(level, lengths)).astype(np.float32),
    )
    return whole.until(whole.cutoff - HORIZON, horizon=HORIZON), of_series(whole, np.arange(n, n + 120))


@pytest.mark.parametrize("began", [True, False])
def test_intervals_of_a_series_without_history_are_as_wide_as_launches_were_far_off(began: bool) -> None:
    past, new = launches(began=began)
    model = LightGBMForecaster(trees=40).fit(past, FitContext(HORIZON))
    grown = model.update(with_unseen(past, new.keys, {}, {}))
    asked = ForecastRequest(HORIZON, (80.0, 95.0), np.array([grown.series_panel().position(key) for key in new.keys]))
    answer = ask(grown, asked)
    y = new.last(HORIZON)
    # each launch is a case, not each of its days
    for level, least in ((80.0, 0.7), (95.0, 0.88)):
        held = ((y >= answer.lower[level]) & (y <= answer.upper[level])).mean(axis=1)
        assert held.mean() > least
        known = ask(model, ForecastRequest(HORIZON, (level,)))
        assert (answer.upper[level] - answer.lower[level]).mean() > 1.3 * (
            known.upper[level] - known.lower[level]
        ).mean()
    # series that are known keep their bits beside new ones
    others = np.array([grown.series_panel().position(key) for key in past.keys])
    beside = ask(grown, replace(asked, series=others))
    assert beside.upper[80.0].tobytes() == ask(model, ForecastRequest(HORIZON, (80.0,))).upper[80.0].tobytes()


def test_a_model_of_before_launches_had_errors_of_their_own_is_read(model: LightGBMForecaster, tmp_path: Path) -> None:
    model.save(tmp_path)
    shutil.rmtree(tmp_path / "launches")
    assert LightGBMForecaster.load(tmp_path).learned_.launch_errors.scores.scores.tobytes() == (
        model.learned_.errors.scores.scores.tobytes()
    )


@pytest.mark.parametrize(
    "name",
    ["booster.txt", "model.json", "panel/head.json", "panel/y.npy", "errors/scores.npy", "launches/errors/scores.npy"],
)
def test_damaged_files_are_an_error(model: LightGBMForecaster, tmp_path: Path, name: str) -> None:
    model.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(ModelError):
        LightGBMForecaster.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError) as caught:
        LightGBMForecaster.load(tmp_path)
    assert caught.value.hint


def test_loading_and_asking_is_light(model: LightGBMForecaster, tmp_path: Path) -> None:
    model.save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from everloop.models.asking import ask\n"
        "from everloop.models.catalog import forecaster_class\n"
        "from everloop.models.forecaster import ForecastRequest\n"
        "model = forecaster_class('lightgbm').load(Path(sys.argv[1]))\n"
        "ask(model, ForecastRequest(14, (80.0,)))\n"
        "heavy = ('lightgbm', 'pandas', 'sklearn', 'polars', 'scipy', 'pyarrow', 'mlflow', 'joblib')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
