"""Features left out, shuffled and weighed."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.models.explaining import Shuffled, TreeModel, gain_shares, shuffled
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.groups import group_of, groups_of, leave_out
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.search import search_space_of
from shop import sales


@pytest.fixture(scope="module")
def fitted() -> LightGBMForecaster:
    return LightGBMForecaster(trees=20).fit(sales(), FitContext(14, (80.0,)))


def test_every_feature_of_the_built_in_model_has_a_group_of_its_kind(fitted: LightGBMForecaster) -> None:
    names = fitted.learned_.spec.names
    groups = groups_of(names)
    assert set(groups) == {"step", "windows", "lags", "calendar", "price", "static"}
    assert sorted(place for places in groups.values() for place in places) == list(range(len(names)))
    by_column = groups_of([*names, "known_promo", "known_promo_to_usual", "static_city"], by_column=True)
    assert by_column["promo"] == (len(names), len(names) + 1)
    assert {"price", "dept", "city"} <= set(by_column)
    assert group_of("of_a_kind_yet_to_come") == "other"


def test_trees_never_ask_for_what_was_left_out(fitted: LightGBMForecaster) -> None:
    panel, context = sales(), FitContext(14, (80.0,))
    lacking = LightGBMForecaster(trees=20, without=["price", "calendar"]).fit(panel, context)
    shares = gain_shares(lacking)
    assert not {name for name, share in shares.items() if share > 0 and group_of(name) in ("price", "calendar")}
    assert sum(share for name, share in gain_shares(fitted).items() if group_of(name) == "price") > 0
    # so a price that is asked for later changes nothing
    future = {"price": np.full((panel.n_series, 14), 9.0, dtype=np.float32)}
    plain, what_if = (lacking.forecast(ForecastRequest(14, future=each)).mean for each in ({}, future))
    assert np.array_equal(plain, what_if)
    assert lacking.parameters()["without"] == ["price", "calendar"]
    assert "without" not in search_space_of("lightgbm")


def test_leaving_out_goes_by_feature_group_or_column() -> None:
    names = ["lag_1", "known_price", "known_price_to_last", "known_promo"]
    for without, gone in ((["lags"], [0]), (["price"], [1, 2]), (["promo"], [3]), (["known_price"], [1]), ([], [])):
        matrix = np.ones((3, 4), dtype=np.float32)
        leave_out(matrix, names, without)
        assert np.flatnonzero(np.isnan(matrix).all(axis=0)).tolist() == gone
        assert np.isnan(matrix).sum() == 3 * len(gone)


def test_shuffling_moves_the_rows_of_the_group_together_and_nothing_else() -> None:
    class Rows:
        text = ""

        def predict(self, rows: np.ndarray, *, raw: bool = False, threads: int = 1) -> np.ndarray:
            self.seen = rows
            return rows.sum(axis=1)

    inner, rows = Rows(), np.arange(400, dtype=np.float32).reshape(100, 4)
    before = rows.copy()
    Shuffled(inner, [1, 3], 5).predict(rows)
    assert np.array_equal(rows, before)
    assert np.array_equal(inner.seen[:, [0, 2]], rows[:, [0, 2]])
    assert np.array_equal(inner.seen[:, 3] - inner.seen[:, 1], np.full(100, 2.0))
    assert not np.array_equal(inner.seen[:, 1], rows[:, 1])
    assert np.array_equal(np.sort(inner.seen[:, 1]), rows[:, 1])
    first = inner.seen
    Shuffled(inner, [1, 3], 5).predict(rows)
    assert np.array_equal(inner.seen, first)


def test_a_shuffled_copy_leaves_the_model_as_it_is(fitted: LightGBMForecaster) -> None:
    request = ForecastRequest(14)
    before = fitted.forecast(request).mean
    names = fitted.learned_.spec.names
    assert isinstance(fitted, TreeModel)
    mixed = shuffled(fitted, names, 3)
    nothing = shuffled(fitted, ["no such feature"], 3)
    assert not np.allclose(mixed.forecast(request).mean, before)  # type: ignore[attr-defined]
    assert np.array_equal(nothing.forecast(request).mean, before)  # type: ignore[attr-defined]
    assert np.array_equal(fitted.forecast(request).mean, before)


def test_shares_of_the_gain_sum_to_one_and_fall(fitted: LightGBMForecaster) -> None:
    shares = list(gain_shares(fitted).values())
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
