from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss

from everloop.validate.metrics import Cells, metric_cells, past_scale, reduce_cells, step_cells

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)  # its docstrings hold odd escapes
    warnings.simplefilter("ignore", DeprecationWarning)
    from utilsforecast import losses

RNG = np.random.default_rng(7)
NAN = float("nan")


def case(series: int = 5, horizon: int = 6, past: int = 60) -> dict[str, np.ndarray]:
    history = RNG.poisson(4.0, (series, past)).astype(np.float64)
    actual = RNG.poisson(4.0, (series, horizon)).astype(np.float64)
    mean = actual + RNG.normal(0, 1, actual.shape)
    return {"history": history, "actual": actual, "mean": mean, "lower": mean - 1.5, "upper": mean + 2.0}


def cells_of(data: dict[str, np.ndarray], *, season: int = 7) -> dict[str, Cells]:
    history = data["history"]
    offsets = np.arange(len(history) + 1) * history.shape[1]
    return metric_cells(
        data["actual"],
        data["mean"],
        lower={80.0: data["lower"]},
        upper={80.0: data["upper"]},
        mase_scale=past_scale(history.ravel(), offsets, season),
        rmsse_scale=past_scale(history.ravel(), offsets, 1, is_squared=True),
    )


def frames(data: dict[str, np.ndarray]) -> tuple[pd.DataFrame, pd.DataFrame]:
    series, past = data["history"].shape
    horizon = data["actual"].shape[1]
    train = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), past),
            "ds": np.tile(np.arange(past), series),
            "y": data["history"].ravel(),
        }
    )
    test = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), horizon),
            "ds": np.tile(past + np.arange(horizon), series),
            "y": data["actual"].ravel(),
            "m": data["mean"].ravel(),
            "m-lo-80": data["lower"].ravel(),
            "m-hi-80": data["upper"].ravel(),
        }
    )
    return train, test


class TestOracles:
    """The same numbers as other people's code."""

    def test_mase_is_that_of_utilsforecast(self) -> None:
        data = case()
        train, test = frames(data)
        expected = losses.mase(test, models=["m"], seasonality=7, train_df=train)["m"].mean()
        assert reduce_cells(cells_of(data)["mase"])[0].value == pytest.approx(expected)

    def test_rmsse_is_that_of_utilsforecast(self) -> None:
        data = case()
        train, test = frames(data)
        expected = losses.rmsse(test, models=["m"], seasonality=1, train_df=train)["m"].mean()
        assert reduce_cells(cells_of(data)["rmsse"])[0].value == pytest.approx(expected)

    def test_coverage_is_that_of_utilsforecast(self) -> None:
        data = case()
        expected = losses.coverage(frames(data)[1], models=["m"], level=80)["m"].mean()
        assert reduce_cells(cells_of(data)["coverage_80"])[0].value == pytest.approx(expected)

    def test_pinball_is_that_of_sklearn_over_mean_demand(self) -> None:
        data = case()
        actual = data["actual"].ravel()
        loss = np.mean(
            [
                mean_pinball_loss(actual, data["lower"].ravel(), alpha=0.1),
                mean_pinball_loss(actual, data["upper"].ravel(), alpha=0.9),
            ]
        )
        expected = loss / np.abs(actual).mean()
        assert reduce_cells(cells_of(data)["pinball"])[0].value == pytest.approx(expected)

    def test_wape_and_bias_by_their_definition(self) -> None:
        data = case()
        error = data["mean"] - data["actual"]
        demand = np.abs(data["actual"]).sum()
        cells = cells_of(data)
        assert reduce_cells(cells["wape"])[0].value == pytest.approx(np.abs(error).sum() / demand)
        assert reduce_cells(cells["bias"])[0].value == pytest.approx(error.sum() / demand)


class TestWhatCannotBeTold:
    """A metric without a denominator is None with a reason, never a harmless number."""

    def test_zero_demand(self) -> None:
        data = case()
        data["actual"] = np.zeros_like(data["actual"])
        cells = cells_of(data)
        for name in ("wape", "bias", "pinball", "width_80"):
            measure = reduce_cells(cells[name])[0]
            assert measure.value is None
            assert measure.reason == "all demand is zero"
            assert measure.denominator == "sum of |actual|"
        assert reduce_cells(cells["mase"])[0].value is not None

    def test_constant_past(self) -> None:
        data = case()
        data["history"] = np.full_like(data["history"], 3.0)
        for name in ("mase", "rmsse"):
            measure = reduce_cells(cells_of(data)[name])[0]
            assert measure.value is None
            assert "constant" in measure.reason

    def test_one_constant_series_is_left_out_and_said(self) -> None:
        data = case()
        data["history"][0] = 3.0
        rest = {name: values[1:] for name, values in data.items()}
        measure = reduce_cells(cells_of(data)["mase"])[0]
        assert measure.value == pytest.approx(reduce_cells(cells_of(rest)["mase"])[0].value)
        assert measure.reason == "6 values left out: the series' past is constant or too short"

    def test_closed_days_enter_nothing(self) -> None:
        data = case()
        kept = {name: values if name == "history" else values[:, 2:] for name, values in data.items()}
        data["actual"][:, :2] = NAN
        for name, cells in cells_of(data).items():
            mine, other = reduce_cells(cells)[0], reduce_cells(cells_of(kept)[name])[0]
            assert mine.value == pytest.approx(other.value), name
            assert (mine.n, mine.reason) == (other.n, other.reason)

    def test_no_actual_values(self) -> None:
        data = case()
        data["actual"][:] = NAN
        for name, cells in cells_of(data).items():
            measure = reduce_cells(cells)[0]
            assert (measure.value, measure.n, measure.reason) == (None, 0, "there are no actual values"), name

    def test_a_forecast_that_is_no_number_is_no_number_here(self) -> None:
        data = case()
        data["mean"][1, 1] = NAN
        for name in ("wape", "bias", "mase", "rmsse"):
            measure = reduce_cells(cells_of(data)[name])[0]
            assert (measure.value, measure.reason) == (None, "1 forecasts are not finite"), name

    def test_missing_intervals_are_left_out_and_counted(self) -> None:
        data = case()
        data["lower"][0] = data["upper"][0] = NAN
        measure = reduce_cells(cells_of(data)["coverage_80"])[0]
        assert measure.n == 24
        assert measure.reason == "6 values left out: no interval was given there"


class TestGroups:
    """Sums by group are what the group alone would give."""

    def test_groups_equal_their_own_rows(self) -> None:
        data = case(series=8)
        groups = np.array([0, 1, 0, 2, -1, 1, 2, 0])
        for name, cells in cells_of(data).items():
            for number, measure in enumerate(reduce_cells(cells, groups, 3)):
                alone = {key: values[groups == number] for key, values in data.items()}
                assert measure.value == pytest.approx(reduce_cells(cells_of(alone)[name])[0].value), name

    def test_steps_equal_their_own_columns(self) -> None:
        data = case()
        for name, cells in cells_of(data).items():
            alone = {key: values if key == "history" else values[:, 2:3] for key, values in data.items()}
            expected = reduce_cells(cells_of(alone)[name])[0]
            assert reduce_cells(step_cells(cells, 2))[0].value == pytest.approx(expected.value), name

    @settings(max_examples=30, deadline=None)
    @given(order=st.permutations(range(6)), factor=st.floats(0.1, 100))
    def test_order_and_unit_do_not_matter(self, order: list[int], factor: float) -> None:
        rng = np.random.default_rng(3)
        data = {
            "history": rng.poisson(4.0, (6, 30)).astype(float),
            "actual": rng.poisson(4.0, (6, 4)).astype(float),
            "mean": rng.normal(4.0, 1.0, (6, 4)),
        }
        data |= {"lower": data["mean"] - 1, "upper": data["mean"] + 1}
        changed = {name: values[order] * factor for name, values in data.items()}
        for name, cells in cells_of(data).items():
            expected = reduce_cells(cells)[0].value
            assert reduce_cells(cells_of(changed)[name])[0].value == pytest.approx(expected), name


class TestPastScales:
    def test_series_do_not_touch_and_holes_are_skipped(self) -> None:
        y = np.array([1, 3, NAN, 4, 6, 100, 101], dtype=np.float32)
        absolute, squared = (past_scale(y, np.array([0, 5, 7, 7]), 1, is_squared=each) for each in (False, True))
        np.testing.assert_allclose(absolute, [2.0, 1.0, NAN])
        np.testing.assert_allclose(squared, [4.0, 1.0, NAN])

    def test_a_past_shorter_than_the_season_has_no_scale(self) -> None:
        absolute = past_scale(np.ones(3, np.float32), np.array([0, 3]), 7)
        assert np.isnan(absolute).all()
