"""One definition of the features: the same bits from a tail, no look ahead, and mlforecast's numbers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from everloop.data.panel import Panel
from everloop.models.blocks import Block
from everloop.models.examples import example_panels
from everloop.models.feature_spec import FeatureSpec
from everloop.models.features import Features, Rows, features_of

HORIZON = 14


@pytest.fixture(params=["daily shop", "monthly balance"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return example_panels()[request.param]


def ahead(panel: Panel, columns: int, spec: FeatureSpec | None = None) -> Features:
    spec = spec or FeatureSpec.of(panel, HORIZON, neighbours=True)
    block = Block.cut(panel, spec, np.arange(panel.n_series), columns=columns, steps=HORIZON)
    return features_of(spec, block, Rows.ahead(panel.n_series, columns, HORIZON), least=0.1, unseen=1.0)


def test_a_tail_gives_the_same_bits_as_the_whole_panel(panel: Panel) -> None:
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    whole = ahead(panel, int(panel.lengths.max()))
    for columns in (spec.memory, spec.memory + 1, 3 * spec.memory):
        tail = ahead(panel.tail(spec.memory), columns)
        assert tail.matrix.tobytes() == whole.matrix.tobytes()
        assert tail.scale.tobytes() == whole.scale.tobytes()


def test_a_shorter_memory_would_not_do(panel: Panel) -> None:
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    assert panel.lengths.max() >= spec.windows[-2]
    needed = min(spec.memory, int(panel.lengths.max()))
    assert ahead(panel.tail(needed - 1), spec.memory).matrix.tobytes() != ahead(panel, spec.memory).matrix.tobytes()


def test_a_training_row_equals_the_forecast_row_of_its_origin(panel: Panel) -> None:
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    columns = int(panel.lengths.max())
    block = Block.cut(panel, spec, np.arange(panel.n_series), columns=columns)
    for back in (14, 20):
        steps = np.arange(1, HORIZON + 1)
        rows = Rows(
            np.repeat(np.arange(panel.n_series), HORIZON),
            np.full(panel.n_series * HORIZON, columns - 1 - back),
            np.tile(steps, panel.n_series),
        )
        trained = features_of(spec, block, rows, least=0.1, unseen=1.0)
        live = ahead(panel.until(panel.cutoff - back, horizon=HORIZON), spec.memory, spec)
        assert live.matrix.tobytes() == trained.matrix.tobytes()


def test_nothing_after_the_origin_enters_but_what_is_known_ahead() -> None:
    panel = example_panels()["daily shop"]
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    columns = int(panel.lengths.max())
    origin, step = columns - 30, 5
    rows = Rows(np.arange(panel.n_series), np.full(panel.n_series, origin), np.full(panel.n_series, step))

    def features(changed: Panel) -> np.ndarray:
        block = Block.cut(changed, spec, np.arange(panel.n_series), columns=columns)
        return features_of(spec, block, rows, least=0.1, unseen=1.0).matrix

    later = panel.index_of_rows() > panel.cutoff - columns + 1 + origin
    wild = np.where(later, np.float32(999), panel.y)
    visitors = {"visitors": np.where(later, np.float32(999), panel.observed["visitors"])}
    before = features(panel)
    np.testing.assert_array_equal(features(replace(panel, y=wild, observed=visitors)), before)
    price = {**panel.known, "price": np.where(later, np.float32(999), panel.known["price"])}
    changed = np.flatnonzero((features(replace(panel, known=price)) != before).any(axis=0))
    named = {spec.names[column] for column in changed if not np.isnan(before[:, column]).any()}
    assert named == {"known_price", "known_price_to_usual", "known_price_to_last"}


def test_names_and_columns_agree(panel: Panel) -> None:
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    assert len(set(spec.names)) == len(spec.names) == ahead(panel, spec.memory).matrix.shape[1]
    assert FeatureSpec.from_json(spec.to_json()) == spec
    found = ahead(panel, spec.memory)
    np.testing.assert_array_equal(found.matrix[:HORIZON, spec.names.index("step")], np.arange(1, HORIZON + 1))
    weekdays = panel.ahead(HORIZON).astype("M8[D]").astype(object)
    if "calendar_weekday" in spec.names:
        column = found.matrix[:HORIZON, spec.names.index("calendar_weekday")]
        assert column.tolist() == [day.weekday() for day in weekdays]
        month = found.matrix[:HORIZON, spec.names.index("calendar_monthday")]
        assert month.tolist() == [day.day for day in weekdays]


def test_windows_and_lags_equal_mlforecasts() -> None:
    """Oracle: mlforecast's lags and rolling means at lag 14, on series without holes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pandas = pytest.importorskip("pandas")
        mlforecast = pytest.importorskip("mlforecast")
        transforms = pytest.importorskip("mlforecast.lag_transforms")
    random = np.random.default_rng(2)
    periods, n = 260, 3
    base = example_panels()["daily shop"]
    y = random.poisson(4, (n, periods)).astype(np.float32)
    panel = Panel(
        base.frequency,
        ("item",),
        tuple((f"s{row}",) for row in range(n)),
        base.cutoff,
        np.arange(n + 1) * periods,
        y.ravel(),
    )
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    frame = pandas.DataFrame(
        {
            "unique_id": np.repeat([key[0] for key in panel.keys], periods),
            "ds": np.tile(panel.frequency.times(panel.cutoff - periods + 1 + np.arange(periods)), n),
            "y": y.ravel().astype(np.float64),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = mlforecast.MLForecast(
            models=[],
            freq="D",
            lags=[14, 21, 28],
            lag_transforms={
                14: [transforms.RollingMean(window) for window in spec.windows]
                + [transforms.SeasonalRollingMean(season_length=7, window_size=terms) for terms in (4, 8)]
            },
        ).preprocess(frame, dropna=True)
    column = ((peer["ds"].to_numpy() - frame["ds"].to_numpy()[0]) / np.timedelta64(1, "D")).astype(int)
    row = peer["unique_id"].str[1:].astype(int).to_numpy()
    block = Block.cut(panel, spec, np.arange(n), columns=periods)
    rows = Rows(row, column - 14, np.full(len(row), 14))
    found = features_of(spec, block, rows, least=0.1, unseen=1.0)
    expected = {
        **{f"mean_{window}": f"rolling_mean_lag14_window_size{window}" for window in spec.windows},
        **{f"seasonal_lag_{which}": f"lag{7 * (which + 1)}" for which in (1, 2, 3)},
        **{
            f"seasonal_mean_{terms}": f"seasonal_rolling_mean_lag14_season_length7_window_size{terms}"
            for terms in (4, 8)
        },
    }
    assert len(row) > 100
    for name, peers in expected.items():
        ours = found.matrix[:, spec.names.index(name)] * found.scale
        np.testing.assert_allclose(ours, peer[peers].to_numpy(), rtol=2e-6, atol=1e-6, err_msg=name)


def test_missing_values_ahead_become_the_last_known_one() -> None:
    panel = example_panels()["daily shop"]
    spec = FeatureSpec.of(panel, HORIZON, neighbours=True)
    series = np.array([1])
    last = panel.known["price"][panel.offsets[2] - 1]
    future = {"price": np.full((1, 40), np.nan, dtype=np.float32)}
    future["price"][0, 30] = 7.0
    block = Block.cut(panel, spec, series, columns=spec.memory, steps=40, future=future)
    stored = panel.future.columns["price"][1]
    ahead_of = block.known["price"][0, spec.memory :]
    np.testing.assert_array_equal(ahead_of[:21], stored)
    assert (ahead_of[21:30] == stored[-1]).all()
    assert (ahead_of[30:] == 7.0).all()
    assert block.filled == ("price",)
    bare = replace(panel, future=replace(panel.future, columns={}, steps=0))
    block = Block.cut(bare, spec, series, columns=spec.memory, steps=3)
    assert (block.known["price"][0, spec.memory :] == last).all()
    assert np.isnan(block.known["event"][0, spec.memory :]).all()
